//! The numbers of a source that are not forwarded: padding that is swallowed.
//!
//! # Job
//! Remembers from which index on how many numbers were left out. What is left out, and when, `stream` decides.
//!
//! # Cost
//! A scan over at most eight entries, the newest first; no allocation. A packet older than the oldest entry has
//! no known place.

/// Numbers left out: from an index on, how many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Renumber {
    shifts: [(u64, u64); 8],
    len: usize,
    /// Some are forgotten: what is older than the oldest remembered has no known place.
    truncated: bool,
}

impl Renumber {
    /// How many were left out before this index; nothing if that is forgotten.
    #[inline]
    pub(crate) fn total_before(&self, index: u64) -> Option<u64> {
        let shifts = self.shifts[..self.len].iter().rev();
        match shifts.into_iter().find(|(from, _)| *from <= index) {
            Some((_, total)) => Some(*total),
            None => (!self.truncated).then_some(0),
        }
    }

    /// Leaves out one number.
    pub(crate) fn drop_number(&mut self, index: u64) {
        match self.shifts[..self.len].last_mut() {
            // A burst of padding is one run: nothing between two of it will ever come.
            Some((from, total)) if *from == index => (*from, *total) = (index + 1, *total + 1),
            _ => self.skip(index + 1, 1),
        }
    }

    /// Leaves out `count` numbers ahead of those from `from` on.
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
