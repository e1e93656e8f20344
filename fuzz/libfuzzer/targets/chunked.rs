//! libFuzzer's way into [`cairn_fuzz::chunked`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::chunked::run(data));
