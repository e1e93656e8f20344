//! libFuzzer's way into [`cairn_fuzz::filter_policy`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cairn_fuzz::filter_policy::run(data));
