//! libFuzzer's way into [`cairn_fuzz::filter_pattern`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::filter_pattern::run(data));
