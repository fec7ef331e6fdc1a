//! Estimates a sender's path from the arrival times of its packets, for REMB.
//!
//! # Job
//! Compares departure (abs-send-time) and arrival of groups of packets: if the path's queue grows, the estimate falls
//! below the received rate; else it rises. Writing REMB belongs to `router::report`.
//!
//! # Invariants
//! - The estimate is never above one and a half times the received rate (or the start value), so it stays meaningful
//!   when the sender is the limit.
//!
//! # Cost
//! O(1) per packet; 150 bytes per transport.
//!
//! # Left out
//! Kalman filter and adaptive threshold of the draft; transports with transport-wide feedback do not use this.
//!
//! draft-alvestrand-rmcat-remb-03, draft-ietf-rmcat-gcc-02 §4 (arrival groups, rate control).

/// Microseconds.
type Micros = u64;

const MIN_BPS: u64 = 100_000;
const START_BPS: u64 = 1_000_000;
/// Packets sent within this time form one group.
const GROUP: i64 = 5_000;
/// Queue growth that counts as overuse.
const OVERUSE: f64 = 12_500.0;
const RATE_WINDOW: Micros = 500_000;
const HOLD: Micros = 1_000_000;
/// After a longer silence, or a departure further back, earlier packets say nothing of the path: the sender chose the
/// rate, and send times wrap every 64 s.
const BREAK: Micros = 1_000_000;

/// State of one sender's path.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArrivalEstimator {
    estimate: u64,
    updated_at: Micros,
    decreased_at: Micros,
    received_at: Micros,
    window_start: Micros,
    window_bytes: u64,
    rate: Option<u64>,
    group: Option<Group>,
    previous: Option<Group>,
    /// Smoothed growth of the queue, microseconds.
    queue: f64,
}

/// Packets sent together; departures in 6.18 seconds.
#[derive(Clone, Copy, Debug)]
struct Group {
    first_departure: u32,
    departure: u32,
    arrival: Micros,
}

/// Returns the difference of two 6.18 times in microseconds.
fn between(later: u32, earlier: u32) -> i64 {
    let difference = (later.wrapping_sub(earlier) << 8) as i32 >> 8;
    i64::from(difference) * 1_000_000 / (1 << 18)
}

impl ArrivalEstimator {
    /// Takes a packet of `len` bytes; `departure` is its abs-send-time.
    pub(crate) fn received(&mut self, departure: u32, len: usize, now: Micros) {
        if self.estimate == 0 {
            self.estimate = START_BPS;
            self.window_start = now;
            self.updated_at = now;
        }
        if now.saturating_sub(self.received_at) >= BREAK {
            self.forget_path(now);
        }
        self.received_at = now;
        self.window_bytes += len as u64;
        let passed = now.saturating_sub(self.window_start);
        if passed >= RATE_WINDOW {
            let rate = self.window_bytes * 8_000_000 / passed;
            self.rate = Some(self.rate.map_or(rate, |old| (old + rate) / 2));
            self.window_start = now;
            self.window_bytes = 0;
        }
        let fresh = Group {
            first_departure: departure,
            departure,
            arrival: now,
        };
        let Some(group) = &mut self.group else {
            self.group = Some(fresh);
            return;
        };
        let since = between(departure, group.first_departure);
        if since < 0 {
            if since.unsigned_abs() >= BREAK {
                self.forget_path(now);
            }
            return;
        }
        if since <= GROUP {
            group.departure = departure;
            group.arrival = now;
            return;
        }
        let finished = std::mem::replace(group, fresh);
        if let Some(previous) = self.previous.replace(finished) {
            let sent = between(finished.departure, previous.departure);
            let arrived = finished.arrival.saturating_sub(previous.arrival) as i64;
            // The queue drains by itself: one late group is no trend.
            self.queue = ((self.queue + (arrived - sent) as f64) * 0.95).max(0.0);
        }
        self.adapt(now);
    }

    /// Starts again, keeping the estimate.
    fn forget_path(&mut self, now: Micros) {
        self.group = None;
        self.previous = None;
        self.queue = 0.0;
        self.window_start = now;
        self.window_bytes = 0;
    }

    fn adapt(&mut self, now: Micros) {
        let passed = now.saturating_sub(self.updated_at);
        self.updated_at = now;
        let rate = self.rate.unwrap_or(START_BPS);
        if self.queue > OVERUSE && now >= self.decreased_at + HOLD / 2 {
            self.estimate = (rate * 85 / 100).max(MIN_BPS);
            self.decreased_at = now;
            self.queue = 0.0;
        } else if now >= self.decreased_at + HOLD {
            // Eight per cent per second.
            let growth = self.estimate as f64 * 0.08 * passed.min(1_000_000) as f64 / 1e6;
            let ceiling = (rate * 3 / 2).max(START_BPS);
            self.estimate = (self.estimate + growth.ceil() as u64).min(ceiling);
        }
    }

    /// Returns the estimate, once media has arrived.
    pub(crate) fn estimate_bps(&self) -> Option<u64> {
        (self.estimate > 0).then_some(self.estimate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departure(micros: u64) -> u32 {
        ((micros * (1 << 18) / 1_000_000) & 0xff_ffff) as u32
    }

    #[test]
    fn without_queueing_the_estimate_rises_with_the_sender() {
        let mut estimator = ArrivalEstimator::default();
        for packet in 0..10_000u64 {
            let now = packet * 5_000;
            estimator.received(departure(now), 1250, now + 20_000);
        }
        // 2 Mbit/s arrive.
        let estimate = estimator.estimate_bps().expect("media came");
        assert!((2_500_000..=3_100_000).contains(&estimate), "{estimate}");
    }

    #[test]
    fn silence_of_any_length_is_no_queueing() {
        for silence in [3, 40, 70, 100] {
            let mut estimator = ArrivalEstimator::default();
            for packet in 0..4_000u64 {
                let now = packet * 5_000;
                estimator.received(departure(now), 1250, now + 20_000);
            }
            let before = estimator.estimate_bps().expect("media came");
            let start = 4_000 * 5_000 + silence * 1_000_000;
            for packet in 0..400u64 {
                let now = start + packet * 5_000;
                estimator.received(departure(now), 1250, now + 20_000);
                let estimate = estimator.estimate_bps().expect("media came");
                assert!(estimate >= before, "{silence} s: {estimate} of {before}");
            }
        }
    }

    #[test]
    fn a_sender_whose_clock_steps_back_is_still_estimated() {
        let mut estimator = ArrivalEstimator::default();
        for packet in 0..4_000u64 {
            let now = packet * 5_000;
            estimator.received(departure(now + 20_000_000), 1250, now);
        }
        let start = 4_000 * 5_000;
        for packet in 0..400u64 {
            // Sent every 5 ms by a clock 20 s behind, carried every 8 ms.
            let departed = departure(start + packet * 5_000);
            estimator.received(departed, 1250, start + packet * 8_000);
        }
        let estimate = estimator.estimate_bps().expect("media came");
        assert!(estimate < 1_300_000, "{estimate}");
    }

    #[test]
    fn a_growing_queue_lowers_the_estimate_below_the_received_rate() {
        let mut estimator = ArrivalEstimator::default();
        for packet in 0..2_000u64 {
            let now = packet * 5_000;
            estimator.received(departure(now), 1250, now);
        }
        let start = 2_000 * 5_000;
        for packet in 0..400u64 {
            // Sent every 5 ms, carried every 8 ms: 1.25 Mbit/s.
            estimator.received(
                departure(start + packet * 5_000),
                1250,
                start + packet * 8_000,
            );
        }
        let estimate = estimator.estimate_bps().expect("media came");
        assert!(estimate < 1_300_000, "{estimate}");
    }
}
