//! libFuzzer's way into [`cairn_fuzz::announcement`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::announcement::run(data));
