//! The least value of the last one to two spans of time.
//!
//! # Invariants
//! - Values may be times of a receiver's clock, which wraps: they are compared by their difference.
//!
//! # Cost
//! Two values: the least of the span that runs and of the one before.

use crate::bwe::clock::{Micros, since};

/// A minimum that forgets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Least {
    span: Micros,
    since: Micros,
    current: Option<i64>,
    before: Option<i64>,
}

impl Least {
    /// Knows nothing yet; forgets what is older than two of these spans.
    pub(crate) fn over(span: Micros) -> Self {
        Self {
            span,
            since: 0,
            current: None,
            before: None,
        }
    }

    pub(crate) fn add(&mut self, value: i64, now: Micros) {
        if now.saturating_sub(self.since) >= self.span {
            self.since = now;
            self.before = self.current.take();
        }
        self.current = Some(lesser(self.current, value));
    }

    /// Forgets all values but this one.
    pub(crate) fn restart(&mut self, value: i64, now: Micros) {
        self.since = now;
        self.before = None;
        self.current = Some(value);
    }

    pub(crate) fn get(&self) -> Option<i64> {
        match self.current {
            Some(current) => Some(lesser(self.before, current)),
            None => self.before,
        }
    }
}

fn lesser(known: Option<i64>, value: i64) -> i64 {
    known
        .filter(|known| since(value, *known) >= 0)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_this_span_and_the_one_before_is_known() {
        let mut least = Least::over(10);
        assert_eq!(least.get(), None);
        for (value, now, expected) in [(7, 0, 7), (9, 5, 7), (8, 10, 7), (12, 19, 7), (11, 20, 8)] {
            least.add(value, now);
            assert_eq!(least.get(), Some(expected), "at {now}");
        }
        least.restart(50, 25);
        least.add(60, 34);
        assert_eq!(least.get(), Some(50));
        least.add(60, 35);
        least.add(60, 45);
        assert_eq!(least.get(), Some(60));
    }

    #[test]
    fn values_of_a_clock_that_wraps_are_compared_by_their_difference() {
        let mut least = Least::over(10);
        least.add(i64::MIN + 2, 0);
        least.add(i64::MAX - 2, 1);
        assert_eq!(least.get(), Some(i64::MAX - 2));
    }
}
