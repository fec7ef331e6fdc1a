//! Which sequence numbers of one received stream were seen.
//!
//! # Job
//! Extends 16-bit numbers to SRTP indices, distinguishes new ones from repeats, and says what an arrival does to the order.
//!
//! # Invariants
//! - Nothing changes until `insert`, which the caller calls for authentic packets only.
//! - A number more than [`SPAN`] behind the newest is never new.
//!
//! # Cost
//! 80 bytes; one word is touched per packet in order.

use meeshy_sfu_proto::rtp::seq;

const WORDS: usize = 8;
/// Numbers behind the newest that can be distinguished: 12 s of video, 10 s of audio.
pub(crate) const SPAN: u64 = WORDS as u64 * 64;

/// What a new number did to the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The first of the stream.
    First,
    /// The one after the newest.
    Next,
    /// PrefetchStep of the newest by more than one: this many between them are missing.
    PrefetchStep(u64),
    /// Behind the newest.
    Late,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SeqWindow {
    started: bool,
    newest: u64,
    bits: [u64; WORDS],
}

impl SeqWindow {
    /// The newest index; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// The index a number most likely stands for; `None` if it lies before the roll-over count of zero.
    #[inline]
    pub(crate) fn extend(&self, sequence: u16) -> Option<u64> {
        if self.started {
            seq::extend_near(sequence, self.newest)
        } else {
            Some(u64::from(sequence))
        }
    }

    /// Neither seen nor too old.
    #[inline]
    pub(crate) fn is_new(&self, index: u64) -> bool {
        if !self.started || index > self.newest {
            return true;
        }
        self.newest - index < SPAN && self.bits[word(index)] & bit(index) == 0
    }

    /// Remembers a new index.
    #[inline]
    pub(crate) fn insert(&mut self, index: u64) -> Order {
        let order = if index == self.newest + 1 && self.started {
            self.clear(index);
            self.newest = index;
            Order::Next
        } else if !self.started {
            self.started = true;
            self.newest = index;
            Order::First
        } else if index > self.newest {
            let missing = index - self.newest - 1;
            if missing >= SPAN {
                self.bits = [0; WORDS];
            } else {
                (self.newest + 1..=index).for_each(|skipped| self.clear(skipped));
            }
            self.newest = index;
            Order::PrefetchStep(missing)
        } else {
            Order::Late
        };
        self.bits[word(index)] |= bit(index);
        order
    }

    #[inline]
    fn clear(&mut self, index: u64) {
        self.bits[word(index)] &= !bit(index);
    }
}

#[inline]
fn word(index: u64) -> usize {
    (index / 64) as usize % WORDS
}

#[inline]
fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::collections::HashSet;

    #[test]
    fn it_knows_what_a_set_of_all_numbers_would_know() {
        let mut random = Random::new(11);
        let mut window = SeqWindow::default();
        let mut seen = HashSet::new();
        let mut newest = 65_000;
        for step in 0..20_000 {
            let index = match random.below(20) {
                0 => newest + 1 + random.below(5),
                1 => newest - random.below(SPAN),
                2 if step % 100 == 0 => newest + random.below(700),
                _ => newest + 1,
            };
            assert_eq!(window.extend(index as u16), Some(index));
            let new = !seen.contains(&index);
            assert_eq!(window.is_new(index), new, "{index} at {newest}");
            if !new {
                continue;
            }
            let expected = match index {
                _ if seen.is_empty() => Order::First,
                index if index == newest + 1 => Order::Next,
                index if index > newest => Order::PrefetchStep(index - newest - 1),
                _ => Order::Late,
            };
            assert_eq!(window.insert(index), expected);
            seen.insert(index);
            newest = newest.max(index);
            assert_eq!(window.newest(), newest);
        }
        assert!(!window.is_new(newest - SPAN));
    }
}
