//! libFuzzer's way into [`cairn_fuzz::digest`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::digest::run(data));
