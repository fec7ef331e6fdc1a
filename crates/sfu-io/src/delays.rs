//! How long packets took from the network to the network, as a histogram.
//!
//! # Job
//! Counts delays by fixed bounds. Where they begin is said by whoever fills a `SendBatch`; they end at its send call.
//!
//! # Cost
//! A search among fifteen bounds for each delay, no allocation.

use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; a last bucket has no bound.
pub const DELAY_BOUNDS_US: [u64; 15] = [
    50, 100, 200, 500, 1_000, 1_500, 2_000, 2_500, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000,
    1_000_000,
];

/// A histogram of delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Delays of each bucket, those of smaller bounds not counted.
    pub counts: [u64; DELAY_BOUNDS_US.len() + 1],
    /// All delays together.
    pub sum: Duration,
}

impl Delays {
    /// Counts a delay; one that is equal to a bound belongs below it.
    #[inline]
    pub(crate) fn observe(&mut self, delay: Duration) {
        let us = delay.as_nanos().div_ceil(1000) as u64;
        self.counts[DELAY_BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum += delay;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_counted_in_the_first_bucket_that_holds_it() {
        let mut delays = Delays::default();
        for us in [0, 50, 51, 2_000, 1_000_000, 1_000_001] {
            delays.observe(Duration::from_micros(us));
        }
        delays.observe(Duration::from_nanos(50_001));
        let mut expected = [0; DELAY_BOUNDS_US.len() + 1];
        (expected[0], expected[1], expected[6]) = (2, 2, 1);
        (expected[14], expected[15]) = (1, 1);
        assert_eq!(delays.counts, expected);
        assert_eq!(delays.sum, Duration::from_nanos(2_002_152_001));
    }
}
