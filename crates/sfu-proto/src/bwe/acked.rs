//! The rate at which packets arrive, from the receiver's feedback.
//!
//! # Job
//! Weighs rates of windows of 150 ms by how far they lie from the estimate so far (libwebrtc's Bayesian estimator), and
//! keeps the last arrivals for the rate of the last 100 ms.
//!
//! # Invariants
//! - Without new arrivals for two seconds of our own time there is no rate: it has aged.
//! - A receiver whose clock stands still or steps back starts a new window and never a rate beyond what was sent in one.
//!
//! draft-ietf-rmcat-gcc-02 §5.5 asks for such a rate.

use crate::bwe::clock::{Micros, since};

const FIRST_WINDOW: i64 = 500_000;
const WINDOW: i64 = 150_000;
const MAX_AGE: Micros = 2_000_000;
/// Packets that [`Acked::delivered`] takes.
const FEWEST: usize = 5;
const KEPT: usize = 128;
const UNCERTAINTY: f64 = 10.0;
const FIRST_VARIANCE: f64 = 50.0;

/// The acknowledged rate of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    window_start: Option<i64>,
    window_bytes: u64,
    /// kbit/s.
    rate: Option<f64>,
    variance: f64,
    updated_at: Micros,
    /// Arrival and size of the last packets; a ring.
    recent: [(i64, u16); KEPT],
    count: usize,
}

impl Default for Acked {
    fn default() -> Self {
        Self {
            window_start: None,
            window_bytes: 0,
            rate: None,
            variance: FIRST_VARIANCE,
            updated_at: 0,
            recent: [(0, 0); KEPT],
            count: 0,
        }
    }
}

impl Acked {
    /// Takes a packet that arrived at `arrival` of the receiver's time.
    pub(crate) fn add(&mut self, arrival: i64, size: u16, now: Micros) {
        if now.saturating_sub(self.updated_at) > MAX_AGE {
            *self = Self::default();
        }
        self.updated_at = now;
        self.recent[self.count % KEPT] = (arrival, size);
        self.count += 1;
        let start = *self.window_start.get_or_insert(arrival);
        let length = if self.rate.is_some() {
            WINDOW
        } else {
            FIRST_WINDOW
        };
        let passed = since(arrival, start);
        if passed < -length || passed > MAX_AGE.cast_signed() {
            self.window_start = Some(arrival);
            self.window_bytes = 0;
        } else if passed >= length {
            self.weigh(self.window_bytes as f64 * 8_000.0 / passed as f64);
            self.window_start = Some(arrival);
            self.window_bytes = 0;
        }
        self.window_bytes += u64::from(size);
    }

    fn weigh(&mut self, sample: f64) {
        let Some(rate) = self.rate else {
            self.rate = Some(sample);
            return;
        };
        let uncertainty = UNCERTAINTY * (rate - sample).abs() / rate.max(1.0);
        let variance = uncertainty * uncertainty;
        let predicted = self.variance + 5.0;
        let total = variance + predicted;
        self.rate = Some((variance * rate + predicted * sample) / total);
        self.variance = variance * predicted / total;
    }

    /// Returns the rate in bit/s, while it is fresh.
    pub(crate) fn rate(&self, now: Micros) -> Option<f64> {
        let fresh = now.saturating_sub(self.updated_at) <= MAX_AGE;
        self.rate.filter(|_| fresh).map(|rate| rate * 1000.0)
    }

    /// Returns the rate in bit/s of the last `span` microseconds before the last arrival, if five packets came in them.
    pub(crate) fn delivered(&self, span: i64, now: Micros) -> Option<f64> {
        let last = self.count.checked_sub(1)?;
        let newest = self.recent[last % KEPT].0;
        let recent = &self.recent[..self.count.min(KEPT)];
        let (mut packets, mut bytes) = (0, 0u64);
        for (arrival, size) in recent {
            if (0..span).contains(&since(newest, *arrival)) {
                packets += 1;
                bytes += u64::from(*size);
            }
        }
        let fresh = now.saturating_sub(self.updated_at) <= MAX_AGE;
        (fresh && packets >= FEWEST).then(|| bytes as f64 * 8e6 / span as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_arrivals_and_follows_a_step() {
        let mut acked = Acked::default();
        // 1000 bytes each 8 ms: 1 Mbit/s, known after half a second.
        for n in 0..62i64 {
            acked.add(n * 8_000, 1000, n.cast_unsigned() * 8_000);
        }
        assert_eq!(acked.rate(500_000), None);
        for n in 62..250i64 {
            acked.add(n * 8_000, 1000, n.cast_unsigned() * 8_000);
        }
        let rate = acked.rate(2_000_000).expect("known");
        assert!((990e3..1010e3).contains(&rate), "{rate}");
        let delivered = acked.delivered(100_000, 2_000_000).expect("known");
        assert!((960e3..1050e3).contains(&delivered), "{delivered}");
        // 4 Mbit/s for a second: after so steady a rate the weight of a new one is small.
        for n in 0..500i64 {
            acked.add(2_000_000 + n * 2_000, 1000, 3_000_000);
        }
        let rate = acked.rate(3_000_000).expect("known");
        assert!((1_500e3..4_010e3).contains(&rate), "{rate}");
    }

    #[test]
    fn a_rate_ages() {
        let mut acked = Acked::default();
        for n in 0..100i64 {
            acked.add(n * 8_000, 1000, 1_000);
        }
        assert!(acked.rate(2_001_000).is_some() && acked.delivered(100_000, 2_001_000).is_some());
        assert_eq!(
            (acked.rate(2_001_001), acked.delivered(100_000, 2_001_001)),
            (None, None)
        );
    }

    #[test]
    fn a_clock_that_stands_still_or_jumps_makes_no_rate() {
        let mut acked = Acked::default();
        for arrival in [5, i64::MAX, i64::MIN, 0, i64::MIN, -7, i64::MAX] {
            for _ in 0..300 {
                acked.add(arrival, 1200, 9);
            }
        }
        assert_eq!(acked.rate(9), None);
    }
}
