//! Delay that varies without changing the order: what a queue somewhere on the path adds.
//!
//! # Job
//! A delay for every moment, between zero and a range. Whether a datagram arrives at all belongs to `impair`.
//!
//! # Invariants
//! - Over time every delay of the range is equally frequent, at any packet rate.
//! - The delay never falls faster than time passes, so what is sent later does not arrive earlier.
//!
//! A delay drawn for each datagram cannot have both: of datagrams sent within the range of each other the later ones
//! wait for the one that drew the most, and at a thousand a second nearly all arrive with nearly the whole range.
//!
//! # Cost
//! A comparison and a multiplication a datagram.

use crate::random::Random;

/// Lengths of a rise and of a fall, least and most, in ranges. A queue fills fast and drains slowly; packets 20 ms apart
/// differ about as much as independent draws would.
const RISE: (f64, f64) = (0.25, 0.75);
const FALL: (f64, f64) = (1.25, 2.75);
/// After this many ranges without a datagram the past does not matter any more.
const FORGET: f64 = 32.0;

/// The delay of one link over time: it rises to the range and falls to zero in turn, each within a random time.
#[derive(Debug)]
pub(crate) struct Jitter {
    random: Random,
    range_ns: f64,
    rising: bool,
    begin_ns: f64,
    length_ns: f64,
    /// Times are counted from the first datagram: Unix nanoseconds need more digits than a float has.
    origin_ns: Option<u64>,
}

impl Jitter {
    /// Delays from zero to `range_ms`.
    pub(crate) fn new(range_ms: f64, seed: u64) -> Self {
        Self {
            random: Random::derive(seed, 2),
            range_ns: range_ms.max(0.0) * 1e6,
            rising: false,
            begin_ns: 0.0,
            length_ns: 0.0,
            origin_ns: None,
        }
    }

    /// The delay of a datagram that is sent at `now_ns`; times do not go back.
    pub(crate) fn delay_ns(&mut self, now_ns: u64) -> u64 {
        if self.range_ns <= 0.0 {
            return 0;
        }
        let fresh = self.origin_ns.is_none();
        let origin_ns = *self.origin_ns.get_or_insert(now_ns);
        let now = now_ns.saturating_sub(origin_ns) as f64;
        if fresh || now > self.begin_ns + self.length_ns + FORGET * self.range_ns {
            self.begin_anywhere(now);
        }
        while now >= self.begin_ns + self.length_ns {
            self.begin_ns += self.length_ns;
            self.rising = !self.rising;
            self.length_ns = self.draw_length();
        }
        let passed = ((now - self.begin_ns) / self.length_ns).clamp(0.0, 1.0);
        let share = if self.rising { passed } else { 1.0 - passed };
        (share * self.range_ns) as u64
    }

    /// Begins in the midst of a rise or a fall, each as likely as it lasts.
    fn begin_anywhere(&mut self, now: f64) {
        let (rise, fall) = (RISE.0 + RISE.1, FALL.0 + FALL.1);
        self.rising = self.random.unit() < rise / (rise + fall);
        self.length_ns = self.draw_length();
        self.begin_ns = now - self.random.unit() * self.length_ns;
    }

    fn draw_length(&mut self) -> f64 {
        let (least, most) = if self.rising { RISE } else { FALL };
        (least + (most - least) * self.random.unit()) * self.range_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 1e6;
    /// 2026, as a Unix time.
    const NOW_NS: u64 = 1_790_000_000_000_000_000;

    fn delays_ms(range_ms: f64, per_second: u64, seconds: u64, seed: u64) -> Vec<f64> {
        let mut jitter = Jitter::new(range_ms, seed);
        (0..per_second * seconds)
            .map(|number| jitter.delay_ns(NOW_NS + number * 1_000_000_000 / per_second) as f64 / MS)
            .collect()
    }

    fn quantile(sorted: &[f64], share: f64) -> f64 {
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    }

    #[test]
    fn every_delay_of_the_range_is_equally_frequent_at_any_rate() {
        for range_ms in [1.0, 10.0, 50.0, 200.0] {
            for per_second in [50, 90, 990, 5000] {
                for seed in 1..=5 {
                    let mut seen = delays_ms(range_ms, per_second, 60, seed);
                    seen.sort_by(f64::total_cmp);
                    for share in [0.05, 0.25, 0.5, 0.75, 0.95] {
                        let error = quantile(&seen, share) / range_ms - share;
                        assert!(
                            error.abs() < 0.05,
                            "{range_ms} ms, {per_second}/s, seed {seed}: {share} is off by {error}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_mean_and_the_spread_are_those_of_the_range_within_five_percent() {
        for per_second in [90, 990] {
            let seen = delays_ms(50.0, per_second, 60, 7);
            let mean = seen.iter().sum::<f64>() / seen.len() as f64;
            let variance =
                seen.iter().map(|ms| (ms - mean).powi(2)).sum::<f64>() / seen.len() as f64;
            assert!((mean / 25.0 - 1.0).abs() < 0.05, "{mean}");
            let spread = (12.0 * variance).sqrt();
            assert!((spread / 50.0 - 1.0).abs() < 0.05, "{spread}");
        }
    }

    #[test]
    fn what_is_sent_later_does_not_arrive_earlier() {
        let seen = delays_ms(50.0, 5000, 60, 3);
        // A fifth of a millisecond apart.
        assert!(seen.windows(2).all(|pair| pair[0] <= pair[1] + 0.2));
    }

    #[test]
    fn packets_of_a_frame_time_apart_differ_about_as_much_as_independent_draws() {
        for range_ms in [10.0, 50.0] {
            let seen = delays_ms(range_ms, 50, 60, 4);
            let steps = seen.windows(2).map(|pair| (pair[0] - pair[1]).abs());
            let mean = steps.sum::<f64>() / (seen.len() - 1) as f64;
            // Two independent draws from a range differ by a third of it on average.
            assert!(
                (0.25..0.42).contains(&(mean / range_ms)),
                "{range_ms}: {mean}"
            );
        }
    }

    #[test]
    fn a_long_silence_costs_no_time_and_a_range_of_zero_no_delay() {
        let mut jitter = Jitter::new(0.001, 1);
        assert!(jitter.delay_ns(NOW_NS) <= 1000);
        assert!(jitter.delay_ns(NOW_NS + 86_400_000_000_000) <= 1000);
        assert_eq!(Jitter::new(0.0, 1).delay_ns(NOW_NS), 0);
    }
}
