//! The rate that delays allow: up while the queue does not grow, down below what arrives when it does.
//!
//! # Job
//! Additive and multiplicative increase, multiplicative decrease. Whether the queue grows is `trendline`'s to say.
//!
//! # Invariants
//! - What arrives bounds only a rise: a sender with nothing to send keeps its estimate.
//! - Over-use never raises the rate, and without over-use it never falls.
//!
//! draft-ietf-rmcat-gcc-02 §5.5, with 1.3 in place of 1.5 times the acknowledged rate as bound of a rise.

use crate::bwe::clock::Micros;
use crate::bwe::trendline::Usage;

/// Lowest estimate, bit/s.
pub(crate) const FLOOR: f64 = 30_000.0;
const DECREASE: f64 = 0.85;
const INCREASE: f64 = 1.08;
const HEADROOM: f64 = 1.3;
const HEADROOM_BPS: f64 = 10_000.0;
const SLOWEST_RISE: f64 = 4_000.0;
/// Weight of a sample of the capacity, and bounds of its variance relative to the mean, in kbit/s.
const CAPACITY_WEIGHT: f64 = 0.05;
const CAPACITY_VARIANCE: (f64, f64) = (0.4, 2.5);

/// What is known when a rate is decided on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// Acknowledged rate, bit/s; `None` if unknown or aged.
    pub(crate) acked: Option<f64>,
    /// Rate of the last 100 ms, bit/s.
    pub(crate) delivered: Option<f64>,
    pub(crate) rtt: Micros,
    /// Bound of a rise, bit/s.
    pub(crate) ceiling: f64,
}

/// Rate control of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aimd {
    rate: f64,
    updated_at: Micros,
    decreased_at: Option<Micros>,
    hold: bool,
    capacity: Capacity,
}

/// Where over-use was found before, in kbit/s.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    mean: Option<f64>,
    variance: f64,
}

impl Capacity {
    const UNKNOWN: Self = Self {
        mean: None,
        variance: CAPACITY_VARIANCE.0,
    };

    /// Forgets the capacity if the rate lies outside of three deviations in the given direction.
    fn check(&mut self, rate: f64, upwards: bool) {
        let Some(mean) = self.mean else { return };
        let distance = if upwards { rate - mean } else { mean - rate };
        if distance > 3.0 * (self.variance * mean).sqrt() {
            *self = Self::UNKNOWN;
        }
    }

    fn add(&mut self, rate: f64) {
        let Some(mean) = self.mean else {
            self.mean = Some(rate);
            return;
        };
        let error = mean - rate;
        let mean = mean + (rate - mean) * CAPACITY_WEIGHT;
        self.mean = Some(mean);
        self.variance = ((1.0 - CAPACITY_WEIGHT) * self.variance
            + CAPACITY_WEIGHT * error * error / mean.max(1.0))
        .clamp(CAPACITY_VARIANCE.0, CAPACITY_VARIANCE.1);
    }
}

impl Aimd {
    pub(crate) fn new(start: f64, now: Micros) -> Self {
        Self {
            rate: start.max(FLOOR),
            updated_at: now,
            decreased_at: None,
            hold: false,
            capacity: Capacity::UNKNOWN,
        }
    }

    /// Returns the rate, bit/s.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Multiplies the rate, for congestion that is seen by other means.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.rate = (self.rate * factor).max(FLOOR);
        self.hold = true;
    }

    /// Takes the state of the path after a feedback.
    pub(crate) fn update(&mut self, usage: Usage, path: Path, now: Micros) {
        let passed = now.saturating_sub(self.updated_at).min(1_000_000) as f64 / 1e6;
        self.updated_at = now;
        match usage {
            Usage::Overuse => self.decrease(path, now),
            Usage::Underuse => self.hold = true,
            // The feedback after a hold starts the rise.
            Usage::Normal if std::mem::take(&mut self.hold) => {}
            Usage::Normal => self.increase(path, passed),
        }
    }

    fn decrease(&mut self, path: Path, now: Micros) {
        self.hold = true;
        let spacing = path.rtt.clamp(10_000, 200_000);
        let early = self
            .decreased_at
            .is_some_and(|at| now.saturating_sub(at) < spacing);
        if early && path.acked.is_none_or(|acked| acked * 2.0 >= self.rate) {
            return;
        }
        let arrives = match (path.acked, path.delivered) {
            (Some(acked), Some(delivered)) => Some(acked.max(delivered)),
            (acked, delivered) => acked.or(delivered),
        };
        let wanted = arrives.unwrap_or(self.rate) * DECREASE;
        self.rate = self.rate.min(wanted).max(FLOOR);
        self.decreased_at = Some(now);
        if let Some(arrives) = arrives {
            self.capacity.check(arrives / 1000.0, false);
            self.capacity.add(arrives / 1000.0);
        }
    }

    fn increase(&mut self, path: Path, passed: f64) {
        let Some(acked) = path.acked else { return };
        self.capacity.check(acked / 1000.0, true);
        let risen = if self.capacity.mean.is_some() {
            let frame = self.rate / 30.0;
            let packet = frame / (frame / 9_600.0).ceil();
            let response = 2.0 * (path.rtt as f64 / 1e6 + 0.1);
            self.rate + (packet / response).max(SLOWEST_RISE) * passed
        } else {
            self.rate * INCREASE.powf(passed)
        };
        let bound = (HEADROOM * acked + HEADROOM_BPS).min(path.ceiling);
        self.rate = self.rate.max(risen.min(bound));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(acked: f64) -> Path {
        Path {
            acked: Some(acked),
            delivered: None,
            rtt: 100_000,
            ceiling: f64::INFINITY,
        }
    }

    #[test]
    fn over_use_falls_to_85_percent_of_what_arrives_once_per_round_trip() {
        let mut aimd = Aimd::new(1e6, 0);
        aimd.update(Usage::Overuse, path(800e3), 10_000);
        assert_eq!(aimd.rate(), 680e3);
        aimd.update(Usage::Overuse, path(500e3), 109_999);
        assert_eq!(aimd.rate(), 680e3);
        aimd.update(Usage::Overuse, path(500e3), 110_000);
        assert_eq!(aimd.rate(), 425e3);
        // What arrives is far less: no waiting.
        aimd.update(Usage::Overuse, path(200e3), 110_001);
        assert_eq!(aimd.rate(), 170e3);
        aimd.update(Usage::Overuse, path(5e6), 400_000);
        assert_eq!(aimd.rate(), 170e3, "over-use never raises");
    }

    #[test]
    fn the_rate_of_the_last_moment_counts_if_it_is_higher() {
        let mut aimd = Aimd::new(2e6, 0);
        let delivered = Some(1e6);
        let seen = Path {
            delivered,
            ..path(300e3)
        };
        aimd.update(Usage::Overuse, seen, 10_000);
        assert_eq!(aimd.rate(), 850e3);
    }

    #[test]
    fn the_rise_is_8_percent_a_second_and_bounded_by_what_arrives_and_the_ceiling() {
        let mut aimd = Aimd::new(1e6, 0);
        for n in 1..=10 {
            aimd.update(Usage::Normal, path(1e6), n * 100_000);
        }
        assert!((aimd.rate() - 1_080e3).abs() < 1.0, "{}", aimd.rate());
        for n in 11..=100 {
            aimd.update(Usage::Normal, path(1e6), n * 100_000);
        }
        assert_eq!(aimd.rate(), 1_310e3);
        let ceiling = Path {
            ceiling: 1_400e3,
            ..path(3e6)
        };
        for n in 101..=200 {
            aimd.update(Usage::Normal, ceiling, n * 100_000);
        }
        assert_eq!(aimd.rate(), 1_400e3);
        // Neither bound lowers what is there.
        aimd.update(
            Usage::Normal,
            Path {
                ceiling: 1e5,
                ..path(1e4)
            },
            20_100_000,
        );
        assert_eq!(aimd.rate(), 1_400e3);
    }

    #[test]
    fn near_a_known_capacity_the_rise_is_one_packet_per_response() {
        let mut aimd = Aimd::new(340e3, 0);
        aimd.update(Usage::Overuse, path(300e3), 100_000);
        aimd.update(Usage::Normal, path(300e3), 200_000);
        assert_eq!(aimd.rate(), 255e3, "the first feedback after a hold");
        aimd.update(Usage::Normal, path(300e3), 300_000);
        // 8500 bits a frame, one packet, in 400 ms: 21,250 bit/s per second.
        assert!((aimd.rate() - 257_125.0).abs() < 1.0, "{}", aimd.rate());
    }

    #[test]
    fn without_an_acknowledged_rate_nothing_rises() {
        let mut aimd = Aimd::new(600e3, 0);
        let unknown = Path {
            acked: None,
            ..path(0.0)
        };
        aimd.update(Usage::Normal, unknown, 1_000_000);
        assert_eq!(aimd.rate(), 600e3);
        aimd.update(Usage::Overuse, unknown, 2_000_000);
        assert_eq!(aimd.rate(), 510e3);
        aimd.scale(0.0);
        assert_eq!(aimd.rate(), FLOOR);
    }
}
