//! The rate that losses allow.
//!
//! # Job
//! Judges the loss of each window of 300 ms and a round trip: above 10 % the limit falls, below 2 % it rises again.
//!
//! # Invariants
//! - While the queue does not grow, the limit is never below 0.95 of what arrives, and loss that the path always has,
//!   up to 15 %, does not count: a lossy radio link is not a full one.
//!
//! draft-ietf-rmcat-gcc-02 §6.

use crate::bwe::clock::Micros;

const WINDOW: Micros = 300_000;
const FEWEST: u32 = 20;
const LOW: f64 = 0.02;
const HIGH: f64 = 0.10;
const INCREASE: f64 = 1.08;
const KEPT: usize = 8;
const MOST_INHERENT: f64 = 0.15;

/// Loss of one path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    window_start: Micros,
    received: u32,
    missing: u32,
    /// Loss of the last windows; a ring.
    windows: [f64; KEPT],
    count: usize,
    last: f64,
    limit: Option<f64>,
}

impl Loss {
    pub(crate) fn received(&mut self, reported_missing: bool) {
        self.received += 1;
        if reported_missing {
            self.missing = self.missing.saturating_sub(1);
        }
    }

    pub(crate) fn missing(&mut self) {
        self.missing += 1;
    }

    /// Returns the loss of the last window, 0 to 1.
    pub(crate) fn last(&self) -> f64 {
        self.last
    }

    /// Returns the limit, bit/s.
    pub(crate) fn limit(&self) -> f64 {
        self.limit.unwrap_or(f64::INFINITY)
    }

    /// Returns the loss that the path always has: the median of the last windows. Their minimum is too far from the mean
    /// with 20 packets a window.
    fn inherent(&self) -> f64 {
        let known = self.count.min(KEPT);
        if known < KEPT / 2 {
            return 0.0;
        }
        let mut windows = self.windows;
        windows[..known].sort_unstable_by(f64::total_cmp);
        windows[(known - 1) / 2].min(MOST_INHERENT)
    }

    /// Judges the window if it is over. `rate` is the estimate now, `acked` what arrives, bit/s.
    pub(crate) fn update(
        &mut self,
        rate: f64,
        acked: Option<f64>,
        over_use: bool,
        rtt: Micros,
        now: Micros,
    ) {
        let passed = now.saturating_sub(self.window_start);
        let total = self.received + self.missing;
        if passed < WINDOW + rtt || total < FEWEST {
            return;
        }
        self.window_start = now;
        let before = self.last;
        self.last = f64::from(self.missing) / f64::from(total);
        (self.received, self.missing) = (0, 0);
        self.windows[self.count % KEPT] = self.last;
        self.count += 1;
        let inherent = if over_use { 0.0 } else { self.inherent() };
        // One burst is no congestion; loss with a queue is.
        let lasting = if over_use {
            self.last
        } else {
            self.last.min(before)
        };
        let loss = lasting - inherent;
        if loss > HIGH {
            let fallen = rate * (1.0 - 0.5 * loss);
            let kept = acked
                .filter(|_| !over_use)
                .map_or(0.0, |acked| 0.95 * acked);
            self.limit = Some(fallen.max(kept.min(rate)));
        } else if loss < LOW {
            let seconds = passed.min(1_000_000) as f64 / 1e6;
            // Four times the estimate limits nothing any more.
            let risen = self.limit.map(|limit| limit * INCREASE.powf(seconds));
            self.limit = risen.filter(|limit| *limit < rate * 4.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(loss: &mut Loss, percent: u32, acked: Option<f64>, over_use: bool, n: u64) {
        (0..100 - percent).for_each(|_| loss.received(false));
        (0..percent).for_each(|_| loss.missing());
        loss.update(1e6, acked, over_use, 100_000, n * 400_000);
    }

    #[test]
    fn loss_above_ten_percent_lowers_and_below_two_raises() {
        let mut loss = Loss::default();
        window(&mut loss, 10, None, false, 1);
        assert_eq!((loss.last(), loss.limit()), (0.1, f64::INFINITY));
        window(&mut loss, 20, None, false, 2);
        assert_eq!(loss.limit(), f64::INFINITY, "one burst");
        window(&mut loss, 20, None, false, 3);
        assert_eq!(loss.limit(), 900e3);
        window(&mut loss, 20, None, true, 4);
        window(&mut loss, 5, None, true, 5);
        assert_eq!(loss.limit(), 900e3);
        window(&mut loss, 1, None, true, 6);
        assert!((loss.limit() - 900e3 * 1.08f64.powf(0.4)).abs() < 1.0);
    }

    #[test]
    fn what_arrives_bounds_the_fall_unless_the_queue_grows() {
        let mut loss = Loss::default();
        window(&mut loss, 40, Some(980e3), false, 1);
        window(&mut loss, 40, Some(980e3), false, 2);
        assert_eq!(loss.limit(), 931e3);
        window(&mut loss, 40, Some(980e3), true, 3);
        assert_eq!(loss.limit(), 800e3);
    }

    #[test]
    fn loss_that_is_always_there_does_not_count() {
        let mut loss = Loss::default();
        (1..=8).for_each(|n| window(&mut loss, 9, None, false, n));
        window(&mut loss, 15, None, false, 9);
        assert_eq!(loss.limit(), f64::INFINITY);
        window(&mut loss, 30, None, false, 10);
        window(&mut loss, 30, None, false, 11);
        // 9 % of it is always there.
        assert!((loss.limit() - 895e3).abs() < 1.0, "{}", loss.limit());
    }

    #[test]
    fn a_packet_that_came_late_is_not_lost() {
        let mut loss = Loss::default();
        (0..30).for_each(|_| loss.missing());
        (0..30).for_each(|_| loss.received(true));
        loss.update(1e6, None, false, 0, 400_000);
        assert_eq!(loss.last(), 0.0);
    }
}
