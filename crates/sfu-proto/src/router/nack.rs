//! Which packets of an incoming stream to ask for again, and when.
//!
//! # Job
//! Watches stream numbers for holes and says what to put into the next NACK. Writing it belongs to
//! `report`, filling the hole to `producer`.
//!
//! # Invariants
//! - A missing packet is asked for after `DELAY` (reordering heals itself), then at most `TRIES` times,
//!   never twice within one round trip.
//! - At most `CAPACITY` packets are missed at a time; beyond that everything up to the last key frame is
//!   given up, and if that is not enough all of it, and a key frame is needed.
//!
//! # Cost
//! Nothing while no packet is missing. 24 KB per stream, taken at creation; no allocation afterwards.
//!
//! # Left out
//! Early NACKs by reordering statistics.
//!
//! RFC 4585 §6.2.1 (generic NACK).

/// Wait for reordered packets before the first request.
const DELAY: u64 = 10_000;
/// Time between two looks at the list.
const INTERVAL: u64 = 40_000;
/// Round trip assumed while none is known.
const DEFAULT_RTT: u64 = 100_000;
const TRIES: u8 = 10;
const CAPACITY: usize = 1000;
/// Packets this far behind the newest are given up.
const MAX_AGE: u64 = 10_000;

#[derive(Clone, Copy, Debug)]
struct Missing {
    index: u64,
    /// When it may be asked for next.
    due: u64,
    tries: u8,
}

/// What a new packet meant to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Newer than all before, or late but never asked for.
    Expected,
    /// It had been asked for.
    Repaired,
    /// Too much is missing: a key frame is needed.
    Overflow,
}

/// The holes of one stream, by extended sequence number.
#[derive(Debug)]
pub(crate) struct NackGenerator {
    missing: Vec<Missing>,
    highest: Option<u64>,
    key_frame: Option<u64>,
    deadline: Option<u64>,
}

impl NackGenerator {
    pub(crate) fn new() -> Self {
        Self {
            missing: Vec::with_capacity(CAPACITY),
            highest: None,
            key_frame: None,
            deadline: None,
        }
    }

    /// Takes note of a packet.
    #[inline]
    pub(crate) fn received(&mut self, index: u64, key_frame: bool, now: u64) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return Arrival::Expected;
        };
        if key_frame && self.key_frame.is_none_or(|newest| index > newest) {
            self.key_frame = Some(index);
        }
        if index == highest + 1 {
            self.highest = Some(index);
            return Arrival::Expected;
        }
        if index > highest {
            self.highest = Some(index);
            return self.add(highest + 1, index, now);
        }
        match self
            .missing
            .binary_search_by_key(&index, |entry| entry.index)
        {
            Ok(position) => {
                let asked = self.missing.remove(position).tries > 0;
                if asked {
                    Arrival::Repaired
                } else {
                    Arrival::Expected
                }
            }
            Err(_) => Arrival::Expected,
        }
    }

    #[cold]
    fn add(&mut self, from: u64, to: u64, now: u64) -> Arrival {
        let oldest = to.saturating_sub(MAX_AGE);
        let stale = self.missing.partition_point(|entry| entry.index < oldest);
        self.missing.drain(..stale);
        let fresh = (to - from) as usize;
        if self.missing.len() + fresh > CAPACITY {
            let before = self.key_frame.unwrap_or(0);
            let stale = self.missing.partition_point(|entry| entry.index < before);
            self.missing.drain(..stale);
            if self.missing.len() + fresh > CAPACITY {
                self.missing.clear();
                self.deadline = None;
                return Arrival::Overflow;
            }
        }
        for index in from..to {
            self.missing.push(Missing {
                index,
                due: now + DELAY,
                tries: 0,
            });
        }
        let due = now + DELAY;
        self.deadline = Some(self.deadline.map_or(due, |deadline| deadline.min(due)));
        Arrival::Expected
    }

    /// Forgets everything; the stream starts anew.
    pub(crate) fn reset(&mut self) {
        self.missing.clear();
        self.highest = None;
        self.key_frame = None;
        self.deadline = None;
    }

    /// The stream went on at `index` on purpose: what is missing before it is not asked for.
    pub(crate) fn skip_to(&mut self, index: u64) {
        self.missing.clear();
        self.deadline = None;
        self.highest = Some(index);
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Calls `ask` in ascending order with each sequence number to ask for now; false stops early.
    pub(crate) fn take(&mut self, now: u64, rtt: Option<u64>, mut ask: impl FnMut(u16) -> bool) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let interval = rtt.unwrap_or(DEFAULT_RTT).max(INTERVAL / 2);
        self.missing
            .retain(|entry| entry.tries < TRIES || entry.due > now);
        let mut first_due = u64::MAX;
        for entry in &mut self.missing {
            if entry.due <= now {
                if !ask(entry.index as u16) {
                    first_due = now;
                    break;
                }
                entry.tries += 1;
                entry.due = now + interval;
            } else if entry.tries == 0 {
                first_due = first_due.min(entry.due);
            }
        }
        self.deadline =
            (!self.missing.is_empty()).then(|| first_due.max(now + 1).min(now + INTERVAL));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.missing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const MS: u64 = 1000;

    fn asked(generator: &mut NackGenerator, now: u64) -> Vec<u16> {
        let mut sequences = Vec::new();
        generator.take(now, None, |sequence| {
            sequences.push(sequence);
            true
        });
        sequences
    }

    #[test]
    fn a_hole_is_asked_for_after_ten_milliseconds() {
        let mut generator = NackGenerator::new();
        generator.received(10, false, 0);
        generator.received(13, false, MS);
        assert_eq!(generator.deadline(), Some(11 * MS));
        assert!(asked(&mut generator, 10 * MS).is_empty());
        assert_eq!(asked(&mut generator, 11 * MS), [11, 12]);
        assert_eq!(generator.received(12, false, 12 * MS), Arrival::Repaired);
        assert!(
            asked(&mut generator, 51 * MS).is_empty(),
            "within one round trip"
        );
        assert_eq!(asked(&mut generator, 111 * MS), [11]);
    }

    #[test]
    fn reordering_asks_for_nothing() {
        let mut generator = NackGenerator::new();
        generator.received(1, false, 0);
        generator.received(3, false, 0);
        assert_eq!(generator.received(2, false, MS), Arrival::Expected);
        assert!(asked(&mut generator, 20 * MS).is_empty());
        assert_eq!(generator.deadline(), None);
    }

    #[test]
    fn a_packet_is_given_up_after_ten_requests() {
        let mut generator = NackGenerator::new();
        generator.received(1, false, 0);
        generator.received(3, false, 0);
        let mut requests = 0;
        for tick in 0..500 {
            requests += asked(&mut generator, tick * 10 * MS).len();
        }
        assert_eq!(requests, 10);
        assert_eq!(generator.len(), 0);
    }

    #[test]
    fn too_many_holes_need_a_key_frame() {
        let mut generator = NackGenerator::new();
        generator.received(0, false, 0);
        assert_eq!(generator.received(900, false, 0), Arrival::Expected);
        assert_eq!(generator.received(901, true, 0), Arrival::Expected);
        assert_eq!(
            generator.received(1500, false, 0),
            Arrival::Expected,
            "what is older than the key frame is given up"
        );
        assert_eq!(generator.len(), 598);
        assert_eq!(generator.received(5000, false, 0), Arrival::Overflow);
        assert_eq!(generator.len(), 0);
    }
}
