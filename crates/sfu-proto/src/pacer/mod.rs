//! Decides when a transport may send its pending packets.
//!
//! # Job
//! A transport asks before each packet of a flush. Choosing what is sent belongs to consumers, the budget to `bwe`.
//!
//! # Left out
//! Pacing. `Immediate` sends everything at once, which is right as long as nothing probes for bandwidth and the flush
//! window spreads a key frame.

/// Decides when packets are sent.
pub trait Pacer {
    /// Returns whether a datagram of this length may be sent now. If not, it and those behind it wait for the next
    /// flush.
    fn may_send(&mut self, len: usize) -> bool;
}

/// No pacing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Immediate;

impl Pacer for Immediate {
    #[inline]
    fn may_send(&mut self, _len: usize) -> bool {
        true
    }
}
