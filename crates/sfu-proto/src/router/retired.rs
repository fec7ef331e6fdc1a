//! SSRCs that a stream had before: packets still arriving from them are late, not a new source.
//!
//! # Invariants
//! - A replaced SSRC is not accepted again while its packets can still arrive, nor while its successor is active.
//!
//! # Cost
//! A scan over at most eight entries, for packets of unknown SSRCs only.

use super::clock::Micros;

/// No network delays a packet longer.
const LONGEST_DELAY: Micros = 10_000_000;
const REMEMBERED: usize = 8;

/// The SSRCs replaced last, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retired {
    entries: [Option<(u32, Micros)>; REMEMBERED],
    next: usize,
}

impl Retired {
    pub(crate) fn add(&mut self, ssrc: u32, now: Micros) {
        let known = self.entries.iter_mut().flatten();
        if let Some(entry) = known.into_iter().find(|entry| entry.0 == ssrc) {
            entry.1 = now;
            return;
        }
        self.entries[self.next] = Some((ssrc, now));
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Whether a packet of this SSRC is late; `replaced_by_active`: its successor is active.
    pub(crate) fn is_retired(&self, ssrc: u32, replaced_by_active: bool, now: Micros) -> bool {
        let mut known = self.entries.iter().flatten();
        known.any(|(known, at)| *known == ssrc && (replaced_by_active || now < at + LONGEST_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_ssrc_returns_once_it_cannot_be_late_and_its_successor_is_silent() {
        let mut retired = Retired::default();
        retired.add(7, 1_000_000);
        assert!(retired.is_retired(7, false, 10_999_999));
        assert!(!retired.is_retired(7, false, 11_000_000));
        assert!(retired.is_retired(7, true, 60_000_000));
        assert!(!retired.is_retired(8, true, 1_000_000));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut retired = Retired::default();
        for ssrc in 0..9 {
            retired.add(ssrc, 0);
            retired.add(ssrc, 0);
        }
        let held: Vec<u32> = (0..9)
            .filter(|ssrc| retired.is_retired(*ssrc, true, 0))
            .collect();
        assert_eq!(held, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
