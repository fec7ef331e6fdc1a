//! Fuzz targets: one function per parser, and one for the state behind them, over any bytes, that panics where a
//! promise is broken.
//!
//! # Job
//! Feeds bytes in, uses all that comes out, and checks what must hold: nothing reaches past the input, and what
//! was read and written again reads the same. [`TARGETS`] is the one list of them; `fuzz_targets/` hands each
//! to libFuzzer, and `crates/sfu-proto/tests/fuzz_regressions.rs` replays `corpus/` and `regressions/` and
//! mutates them on stable Rust.
//!
//! # Left out
//! Finding inputs: that is libFuzzer's, or the test's.
#![forbid(unsafe_code)]

mod link;
mod payload;
mod router;
mod rtcp;
mod rtp;
mod srtp;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the binary, and of the folders in `corpus/` and `regressions/`.
    pub name: &'static str,
    /// Takes any bytes; panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs a plain test can afford; those that start a handshake or a call are few.
    pub budget: usize,
    /// What the number of inputs of a long run is divided by: 10 where each starts a handshake or a call.
    pub cost: usize,
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        budget: 50_000,
        cost: 1,
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("rtp_header", rtp::header),
    target("rtp_extension_values", rtp::extension_values),
    target("rtp_sequence", rtp::sequence),
    target("rtcp_compound", rtcp::compound),
    target("rtcp_sr", rtcp::sr),
    target("rtcp_rr", rtcp::rr),
    target("rtcp_sdes", rtcp::sdes),
    target("rtcp_bye", rtcp::bye),
    target("rtcp_nack", rtcp::nack),
    target("rtcp_twcc", rtcp::twcc),
    target("rtcp_twcc_write", rtcp::twcc_write),
    target("rtcp_pli", rtcp::pli),
    target("rtcp_fir", rtcp::fir),
    target("rtcp_remb", rtcp::remb),
    target("rtcp_xr", rtcp::xr),
    target("srtp_unprotect", srtp::unprotect),
    target("srtp_stream", srtp::stream),
    target("payload_vp8", payload::vp8),
    target("payload_vp9", payload::vp9),
    target("payload_h264", payload::h264),
    target("payload_av1", payload::av1),
    target("payload_opus", payload::opus),
    target("net_classify", link::classify),
    Target {
        budget: 5_000,
        cost: 10,
        ..target("link_stun", link::stun)
    },
    Target {
        budget: 500,
        cost: 10,
        ..target("link_dtls", link::dtls)
    },
    Target {
        budget: 10_000,
        cost: 10,
        ..target("router_call", router::call)
    },
];

/// Runs the target of that name; the one line of each binary.
///
/// # Panics
/// If there is no such target, or if it finds a broken promise.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("invariant: the binary is named as its target");
    (target.run)(data);
}
