//! libFuzzer's way into [`cairn_fuzz::record`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::record::run(data));
