//! Bandwidth estimation: towards a receiver from its feedback, and of a sender's path for REMB.
//!
//! # Job
//! `SendSide` estimates the path to a receiver from transport-wide feedback. `BandwidthEstimator` takes the receiver's
//! feedback; layer selection will read its budget. `arrival` estimates a sender's path from arrival times, for senders
//! without transport-wide feedback.
//!
//! # Left out
//! Transports do not hold a `SendSide` yet: their `Unlimited` only stores what was reported.

pub(crate) mod acked;
pub(crate) mod aimd;
pub(crate) mod arrival;
pub(crate) mod clock;
pub(crate) mod groups;
pub(crate) mod least;
pub(crate) mod loss;
pub(crate) mod queue;
pub mod send_side;
pub(crate) mod sent;
pub(crate) mod trendline;

pub use send_side::{PathState, SendSide};

/// Takes a receiver's feedback.
pub trait BandwidthEstimator {
    /// Takes one transport-wide feedback: packets reported received and missing.
    fn on_feedback(&mut self, received: u32, missing: u32);
    /// Takes the receiver's own estimate.
    fn on_remb(&mut self, bitrate_bps: u64);
    /// Returns the send budget; `None` is unlimited.
    fn budget_bps(&self) -> Option<u64>;
}

/// No limit; stores the last reports for statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited {
    remb_bps: Option<u64>,
    loss: f64,
}

impl Unlimited {
    /// Returns the receiver's last REMB.
    pub fn remb_bps(&self) -> Option<u64> {
        self.remb_bps
    }

    /// Returns the share of packets reported missing, smoothed over about ten feedbacks.
    pub fn loss(&self) -> f64 {
        self.loss
    }
}

impl BandwidthEstimator for Unlimited {
    fn on_feedback(&mut self, received: u32, missing: u32) {
        let total = received + missing;
        if total > 0 {
            self.loss += (f64::from(missing) / f64::from(total) - self.loss) * 0.1;
        }
    }

    fn on_remb(&mut self, bitrate_bps: u64) {
        self.remb_bps = Some(bitrate_bps);
    }

    fn budget_bps(&self) -> Option<u64> {
        None
    }
}
