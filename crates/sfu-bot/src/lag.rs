//! How punctual a thread is: a load generator that is late measures itself.

use crate::config::ThreadHealth;

/// How late wake-ups were.
#[derive(Debug)]
pub(crate) struct Lag {
    count: u64,
    sum_ns: u64,
    max_ns: u64,
    /// Number of the present second, its worst case and that of the second before.
    second: u64,
    worst_ns: [u64; 2],
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
            buckets: [0; 80],
        }
    }
}

impl Lag {
    /// Takes the lateness of a wake-up that happened at `now_ns`.
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
    }

    /// Writes mean, percentile and worst cases.
    pub(crate) fn report(&self, health: &mut ThreadHealth) {
        health.ticks = self.count;
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
}
