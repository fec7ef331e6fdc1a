//! Hands `router_call` to libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meeshy_sfu_fuzz::run("router_call", data));
