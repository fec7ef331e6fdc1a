//! Sequence numbers of a source that are not forwarded: those of padding-only packets.
//!
//! # Job
//! Remembers how many numbers were dropped before which index. `stream` decides which.
//!
//! # Cost
//! A scan over at most eight entries, newest first; no allocation. Packets older than the oldest entry cannot be
//! placed.

/// Dropped numbers: from an index on, how many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Renumber {
    shifts: [(u64, u64); 8],
    len: usize,
    /// Entries were discarded: packets older than the oldest entry cannot be placed.
    truncated: bool,
}

impl Renumber {
    /// Returns how many numbers were dropped before this index; `None` if that is no longer known.
    #[inline]
    pub(crate) fn total_before(&self, index: u64) -> Option<u64> {
        let shifts = self.shifts[..self.len].iter().rev();
        match shifts.into_iter().find(|(from, _)| *from <= index) {
            Some((_, total)) => Some(*total),
            None => (!self.truncated).then_some(0),
        }
    }

    /// Drops one number.
    pub(crate) fn drop_number(&mut self, index: u64) {
        match self.shifts[..self.len].last_mut() {
            // A burst of padding is one entry: no media can come between two of its packets.
            Some((from, total)) if *from == index => (*from, *total) = (index + 1, *total + 1),
            _ => self.skip(index + 1, 1),
        }
    }

    /// Drops `count` numbers before those from `from` on.
    fn skip(&mut self, from: u64, count: u64) {
        let before = self.shifts[..self.len].last().map_or(0, |last| last.1);
        if self.len == self.shifts.len() {
            self.shifts.copy_within(1.., 0);
            self.len -= 1;
            self.truncated = true;
        }
        self.shifts[self.len] = (from, before + count);
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_from_where_they_were_dropped() {
        let mut renumber = Renumber::default();
        for index in [10, 11, 20] {
            renumber.drop_number(index);
        }
        let totals = [9, 10, 12, 15, 20, 21].map(|index| renumber.total_before(index));
        assert_eq!(totals, [0, 0, 2, 2, 2, 3].map(Some));
    }
}
