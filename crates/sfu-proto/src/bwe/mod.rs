//! What a path carries: towards a receiver (from its feedback), and from a sender (told to it as REMB).
//!
//! # Job
//! `BandwidthEstimator` digests what receivers report; layer selection will ask it for a budget.
//! `arrival` estimates a sender's path from arrivals here, for senders without transport-wide feedback.
//!
//! # Left out
//! Estimation towards receivers. `Unlimited` only remembers what was reported.

pub(crate) mod arrival;

/// Digests a receiver's feedback.
pub trait BandwidthEstimator {
    /// One transport-wide feedback: packets it reports as received and as missing.
    fn on_feedback(&mut self, received: u32, missing: u32);
    /// The receiver's own estimate.
    fn on_remb(&mut self, bitrate_bps: u64);
    /// What may be sent; `None` is everything.
    fn budget_bps(&self) -> Option<u64>;
}

/// No limit; keeps the last reports for statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited {
    remb_bps: Option<u64>,
    loss: f64,
}

impl Unlimited {
    /// The receiver's last REMB.
    pub fn remb_bps(&self) -> Option<u64> {
        self.remb_bps
    }

    /// Share of packets reported missing, smoothed over some ten feedbacks.
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
