//! Time inside a router: microseconds since its creation, and the wall clock that belongs to them.
//!
//! # Invariants
//! - Time comes from the callers only; nothing here reads a clock.

use std::time::{Duration, Instant};

use crate::rtcp::ntp;

/// Microseconds since the router was created.
pub(crate) type Micros = u64;

/// No deadline.
pub(crate) const NEVER: Micros = u64::MAX;

/// The two times of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When it arrived. Feedback and reports use this.
    pub(crate) arrived: Micros,
    /// When it is processed. Deadlines count from this.
    pub(crate) now: Micros,
}

/// Converts between the three kinds of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Time since 1970 at `start`.
    wall: Duration,
}

impl Clock {
    pub(crate) fn new(start: Instant, wall: Duration) -> Self {
        Self { start, wall }
    }

    #[inline]
    pub(crate) fn micros(&self, now: Instant) -> Micros {
        now.saturating_duration_since(self.start).as_micros() as u64
    }

    pub(crate) fn instant(&self, at: Micros) -> Instant {
        self.start + Duration::from_micros(at)
    }

    /// NTP time in 32.32 seconds.
    pub(crate) fn ntp(&self, at: Micros) -> u64 {
        ntp::from_unix(self.wall(at))
    }

    /// Time since 1970.
    pub(crate) fn wall(&self, at: Micros) -> Duration {
        self.wall + Duration::from_micros(at)
    }
}

/// Returns the difference of two NTP times in microseconds.
pub(crate) fn ntp_difference(later: u64, earlier: u64) -> i64 {
    ((i128::from(later.wrapping_sub(earlier) as i64) * 1_000_000) >> 32) as i64
}

/// Converts a duration to the 16.16 seconds of reports.
pub(crate) fn to_short_ntp(micros: Micros) -> u32 {
    ntp::compact_duration(Duration::from_micros(micros))
}

/// A seeded generator for values that need no secrecy: timer jitter, first sequence numbers, SSRCs.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_differences_are_microseconds() {
        let clock = Clock::new(Instant::now(), Duration::from_secs(1_700_000_000));
        let difference = ntp_difference(clock.ntp(2_500_000), clock.ntp(1_000_000));
        assert!((difference - 1_500_000).abs() <= 1, "{difference}");
    }

    #[test]
    fn the_numbers_are_those_of_split_mix_64() {
        // The first five of seed 1234567, as the generator's authors publish them.
        let mut random = Random::new(1_234_567);
        let numbers: [u64; 5] = std::array::from_fn(|_| random.next());
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
        assert!((0..100).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
    }
}
