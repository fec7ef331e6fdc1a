//! How punctual a thread is: a load generator that is late measures itself.
//!
//! # Job
//! Takes how late each frame left and each datagram was read, and keeps what distinguishes a thread that kept up from one that did
//! not. What is too late is judged in simulator/analysis.
//!
//! # Invariants
//! - Only work counts: a wake-up with nothing to do may be late.
//! - A stall counts by its length, once, however many frames and datagrams it held up.

use crate::config::ThreadHealth;

/// From this lateness on the thread stood still rather than being busy: a packet time of audio.
const STALL_NS: u64 = 20_000_000;

/// How late sends and reads were.
#[derive(Debug)]
pub(crate) struct Lag {
    count: u64,
    sum_ns: u64,
    max_ns: u64,
    /// Number of the present second, its worst case and that of the second before.
    second: u64,
    worst_ns: [u64; 2],
    /// Length of all stalls, and when the last one ended.
    stalled_ns: u64,
    stall_end_ns: u64,
    /// By powers of √2 nanoseconds.
    buckets: [u64; 80],
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            count: 0,
            sum_ns: 0,
            max_ns: 0,
            second: 0,
            worst_ns: [0; 2],
            stalled_ns: 0,
            stall_end_ns: 0,
            buckets: [0; 80],
        }
    }
}

impl Lag {
    /// Takes the lateness of what was done at `now_ns`.
    pub(crate) fn add(&mut self, lag_ns: u64, now_ns: u64) {
        let second = now_ns / 1_000_000_000;
        if second != self.second {
            let before = if second == self.second + 1 {
                self.worst_ns[0]
            } else {
                0
            };
            self.worst_ns = [0, before];
            self.second = second;
        }
        self.worst_ns[0] = self.worst_ns[0].max(lag_ns);
        self.count += 1;
        self.sum_ns += lag_ns;
        self.max_ns = self.max_ns.max(lag_ns);
        let bucket = ((lag_ns.max(1) as f64).log2() * 2.0) as usize;
        self.buckets[bucket.min(79)] += 1;
        if lag_ns >= STALL_NS {
            let begin_ns = now_ns.saturating_sub(lag_ns).max(self.stall_end_ns);
            self.stalled_ns += now_ns.saturating_sub(begin_ns);
            self.stall_end_ns = self.stall_end_ns.max(now_ns);
        }
    }

    /// Writes mean, percentile, worst cases and stalls.
    pub(crate) fn report(&self, health: &mut ThreadHealth) {
        health.stalled_us = self.stalled_ns as f64 / 1000.0;
        health.lag_mean_us = self.sum_ns as f64 / self.count.max(1) as f64 / 1000.0;
        health.lag_max_us = self.max_ns as f64 / 1000.0;
        health.lag_recent_us = self.worst_ns[0].max(self.worst_ns[1]) as f64 / 1000.0;
        let mut left = self.count.div_ceil(100);
        for (bucket, &count) in self.buckets.iter().enumerate().rev() {
            if count >= left {
                let bound_us = 2_f64.powf((bucket + 1) as f64 / 2.0) / 1000.0;
                health.lag_p99_us = bound_us.min(health.lag_max_us);
                return;
            }
            left -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_worst_case_is_forgotten_after_two_seconds() {
        let mut lag = Lag::default();
        let mut recent = |lag_ns, now_ns| {
            lag.add(lag_ns, now_ns);
            let mut health = ThreadHealth::default();
            lag.report(&mut health);
            health.lag_recent_us
        };
        assert_eq!(recent(3_000_000, 900_000_000), 3000.0);
        assert_eq!(recent(1_000_000, 1_900_000_000), 3000.0);
        assert_eq!(recent(2_000_000, 2_100_000_000), 2000.0);
        assert_eq!(recent(1_000, 9_000_000_000), 1.0);
    }

    #[test]
    fn the_99th_percentile_lies_in_its_bucket() {
        let mut lag = Lag::default();
        (0..1000).for_each(|number| lag.add(if number < 985 { 50_000 } else { 3_000_000 }, number));
        let mut health = ThreadHealth::default();
        lag.report(&mut health);
        assert!((health.lag_mean_us - 94.25).abs() < 0.01);
        assert_eq!(health.lag_max_us, 3000.0);
        assert!(
            health.lag_p99_us >= 2900.0 && health.lag_p99_us <= 3000.0,
            "{}",
            health.lag_p99_us
        );
    }

    #[test]
    fn a_stall_counts_once_by_its_length() {
        const MS: u64 = 1_000_000;
        let mut lag = Lag::default();
        let mut stalled_ms = |lag_ms: u64, now_ms: u64| {
            lag.add(lag_ms * MS, now_ms * MS);
            let mut health = ThreadHealth::default();
            lag.report(&mut health);
            health.stalled_us / 1000.0
        };
        assert_eq!(stalled_ms(19, 1000), 0.0);
        // The thread wakes at 2000, with frames that were due at 1100, 1500 and 1990.
        assert_eq!(stalled_ms(900, 2000), 900.0);
        assert_eq!(stalled_ms(500, 2000), 900.0);
        assert_eq!(stalled_ms(10, 2000), 900.0);
        // What it reads 5 ms later was held up by the same stall.
        assert_eq!(stalled_ms(300, 2005), 905.0);
        // Another one.
        assert_eq!(stalled_ms(30, 3000), 935.0);
    }
}
