//! Hands `payload_vp9` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meeshy_sfu_fuzz::run("payload_vp9", data));
