//! Hands `srtp_unprotect` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meeshy_sfu_fuzz::run("srtp_unprotect", data));
