//! libFuzzer's way into [`cairn_fuzz::selectors`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::selectors::run(data));
