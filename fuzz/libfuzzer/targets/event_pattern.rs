//! libFuzzer's way into [`cairn_fuzz::event_pattern`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::event_pattern::run(data));
