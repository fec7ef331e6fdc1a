//! When a transport may send what waits for it.
//!
//! # Job
//! A transport asks before each packet of a flush. Choosing what is sent belongs to consumers, the budget
//! to `bwe`.
//!
//! # Left out
//! Pacing. `Immediate` lets everything go at once, which is right while nothing probes for bandwidth and
//! the window of a flush spreads a key frame by itself.

/// Decides when packets go.
pub trait Pacer {
    /// May a datagram of this length go now? If not, it and what is behind it wait for the next flush.
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
