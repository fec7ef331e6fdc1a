//! The delay that a queue adds, from the least delay of each feedback against that of the last 10 to 20 seconds.
//!
//! # Job
//! Confirms or denies what `trendline` sees: jitter lifts single packets and not the fastest of a feedback, and a queue
//! that stays full has no trend.
//!
//! # Invariants
//! - A path that has become longer for good counts as a queue for three seconds, not for ever.

use crate::bwe::clock::{Micros, since};
use crate::bwe::least::Least;

const BUCKET: Micros = 10_000_000;
const GROWN: i64 = 15_000;
const STANDING: i64 = 40_000;
const LONGEST_STANDING: Micros = 3_000_000;

/// The queue of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    least: Least,
    /// Above the least delay, microseconds.
    delay: i64,
    standing_since: Option<Micros>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            least: Least::over(BUCKET),
            delay: 0,
            standing_since: None,
        }
    }
}

impl Queue {
    /// Takes the least delay of a feedback: arrival by the receiver's clock less departure by ours.
    pub(crate) fn add(&mut self, least: i64, now: Micros) {
        self.least.add(least, now);
        self.delay = self.least.get().map_or(0, |base| since(least, base));
        if self.delay < STANDING {
            self.standing_since = None;
            return;
        }
        let from = *self.standing_since.get_or_insert(now);
        if now.saturating_sub(from) > LONGEST_STANDING {
            self.least.restart(least, now);
            self.delay = 0;
            self.standing_since = None;
        }
    }

    /// Returns whether a queue is there at all.
    pub(crate) fn has_grown(&self) -> bool {
        self.delay >= GROWN
    }

    /// Returns whether a queue is there that has to be drained.
    pub(crate) fn is_standing(&self) -> bool {
        self.delay >= STANDING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_path_is_a_queue_for_three_seconds() {
        let mut queue = Queue::default();
        let mut standing = Vec::new();
        for n in 0..200u64 {
            queue.add(if n < 50 { -7_000 } else { 93_000 }, n * 100_000);
            standing.push(queue.is_standing());
        }
        let found: Vec<usize> = (0..200).filter(|n| standing[*n]).collect();
        assert_eq!((found.first(), found.last()), (Some(&50), Some(&80)));
        queue.add(109_000, 20_000_000);
        assert!(queue.has_grown() && !queue.is_standing());
        queue.add(107_000, 20_100_000);
        assert!(!queue.has_grown());
    }

    #[test]
    fn clocks_that_jump_do_not_overflow() {
        let mut queue = Queue::default();
        for least in [0, i64::MAX, i64::MIN, 5, i64::MIN, i64::MAX] {
            queue.add(least, 1);
        }
    }
}
