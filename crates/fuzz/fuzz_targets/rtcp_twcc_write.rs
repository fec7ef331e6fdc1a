//! Hands `rtcp_twcc_write` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meeshy_sfu_fuzz::run("rtcp_twcc_write", data));
