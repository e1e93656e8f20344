//! libFuzzer's way into [`cairn_fuzz::split`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::split::run(data));
