//! The replay window of one stream: which of its latest indices were received.
//!
//! # Invariants
//! - An index is accepted once; one more than [`WINDOW`] behind the newest is never accepted.
//! - Nothing changes until `record`, which the caller calls after authentication.
//!
//! # Cost
//! 136 bytes; both operations O(1), a jump ahead clears at most 16 words. The window is wider than the 64 of
//! the RFC because retransmissions without RTX come under their old numbers, a second late at most.
//!
//! RFC 3711 §3.3.2; the ring of words is that of RFC 6479.

const WORDS: u64 = 16;

/// Indices behind the newest that are distinguished.
pub(super) const WINDOW: u64 = (WORDS - 1) * 64;

#[derive(Debug, Clone, Default)]
pub(super) struct ReplayWindow {
    newest: Option<u64>,
    seen: [u64; WORDS as usize],
}

impl ReplayWindow {
    pub(super) const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Returns whether `index` is neither known nor too old.
    #[inline]
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        let Some(newest) = self.newest else {
            return true;
        };
        if index > newest {
            return true;
        }
        newest - index < WINDOW && self.seen[word(index)] & bit(index) == 0
    }

    /// Marks `index` as received; it must be fresh.
    #[inline]
    pub(super) fn record(&mut self, index: u64) {
        let newest = self.newest.unwrap_or(index);
        if index > newest {
            let ahead = (index / 64 - newest / 64).min(WORDS);
            for step in 1..=ahead {
                self.seen[((newest / 64 + step) % WORDS) as usize] = 0;
            }
        }
        self.newest = Some(newest.max(index));
        self.seen[word(index)] |= bit(index);
    }
}

const fn word(index: u64) -> usize {
    (index / 64 % WORDS) as usize
}

const fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn an_index_is_accepted_once() {
        let mut window = ReplayWindow::default();
        for index in [5, 4, 900, 0, 66_000, 65_999] {
            assert!(window.is_fresh(index), "{index}");
            window.record(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(!window.is_fresh(66_000 - WINDOW), "too old to tell");
        assert!(window.is_fresh(66_000 - WINDOW + 1));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_all_indices(
            steps in proptest::collection::vec(-1100i64..1300, 1..400),
        ) {
            let mut window = ReplayWindow::default();
            let mut seen = HashSet::new();
            let mut newest = 5000u64;
            for step in steps {
                let index = newest.saturating_add_signed(step);
                let expected = !seen.contains(&index) && (seen.is_empty() || newest < index || newest - index < WINDOW);
                prop_assert_eq!(window.is_fresh(index), expected, "index {} newest {}", index, newest);
                if expected {
                    window.record(index);
                    newest = if seen.is_empty() { index } else { newest.max(index) };
                    seen.insert(index);
                }
            }
        }
    }
}
