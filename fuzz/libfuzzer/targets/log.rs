//! libFuzzer's way into [`cairn_fuzz::log`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::log::run(data));
