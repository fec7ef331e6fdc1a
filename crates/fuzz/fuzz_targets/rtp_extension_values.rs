//! Hands `rtp_extension_values` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meeshy_sfu_fuzz::run("rtp_extension_values", data));
