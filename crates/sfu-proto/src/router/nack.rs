//! Decides which packets of an incoming stream to request again, and when.
//!
//! # Job
//! Tracks gaps in the extended sequence numbers and yields what to put into the next NACK. Writing it belongs to
//! `report`, storing the repaired packet to `stream`.
//!
//! # Invariants
//! - A missing packet is requested after `DELAY`, since reordering needs no repair, then at most `TRIES` times and
//!   never twice within one round trip.
//! - No packet is requested that has no slot in the ring any more, or would have none when the answer arrives.
//! - A gap that exceeds the ring needs a key frame; with that key frame, packets missing before it are given up. Of a
//!   gap over twice the ring nothing is requested at all.
//!
//! # Cost
//! One count per packet while none is missing. 40 bytes per ring slot, allocated at creation; no allocation
//! afterwards.
//!
//! # Left out
//! NACKs sent earlier by reordering statistics.
//!
//! RFC 4585 §6.2.1 (generic NACK).

/// Wait for reordered packets before the first request.
const DELAY: u64 = 10_000;
/// Interval between two checks of the list.
const INTERVAL: u64 = 40_000;
/// Round-trip time assumed until one is known.
const DEFAULT_RTT: u64 = 100_000;
const TRIES: u8 = 10;
/// Window over which the packet rate is counted.
const PACE_WINDOW: u64 = 200_000;
/// Packets by which a stream may exceed its rate.
const BURST: u64 = 8;

#[derive(Clone, Copy, Debug)]
struct Missing {
    index: u64,
    /// When it may be requested next.
    due: u64,
    /// When it was requested first and last.
    first: u64,
    last: u64,
    tries: u8,
}

/// What an arriving packet means for the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Newer than all before, or late but never requested.
    Expected,
    /// It had been requested, first at this time.
    Asked(u64),
    /// More packets are missing than the ring has slots: a key frame is needed.
    Overflow,
}

/// Missing packets of one stream, by extended sequence number.
#[derive(Debug)]
pub(crate) struct NackGenerator {
    missing: Vec<Missing>,
    /// Slots of the ring.
    places: u64,
    highest: Option<u64>,
    /// A gap exceeded the ring: nothing decodes before the next key frame.
    broken: bool,
    deadline: Option<u64>,
    /// Measured time from a request to its answer.
    answered_in: Option<u64>,
    pace: Pace,
}

/// Count of new packets per window.
#[derive(Debug, Default)]
struct Pace {
    since: Option<u64>,
    count: u64,
    /// Count of the previous window, once there is one.
    before: Option<u64>,
}

impl Pace {
    #[inline]
    fn count(&mut self, now: u64) {
        let since = *self.since.get_or_insert(now);
        if now >= since + PACE_WINDOW {
            self.before = Some(self.count * PACE_WINDOW / (now - since));
            self.count = 0;
            self.since = Some(now);
        }
        self.count += 1;
    }

    /// Returns how many new packets to expect within `time`; `None` during the first window.
    fn within(&self, time: u64) -> Option<u64> {
        Some(self.count.max(self.before?) * time / PACE_WINDOW)
    }
}

impl NackGenerator {
    /// Creates a list for a stream whose ring has this many slots.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            missing: Vec::with_capacity(places),
            places: places as u64,
            highest: None,
            broken: false,
            deadline: None,
            answered_in: None,
            pace: Pace::default(),
        }
    }

    /// Records a packet; `answer` means that it can only be a retransmission.
    #[inline]
    pub(crate) fn received(
        &mut self,
        index: u64,
        key_frame: bool,
        answer: bool,
        now: u64,
    ) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return Arrival::Expected;
        };
        let mut arrival = Arrival::Expected;
        if index <= highest {
            arrival = self.fill(index, answer, now);
        } else {
            self.highest = Some(index);
            self.pace.count(now);
            if index > highest + 1 {
                arrival = self.add(highest + 1, index, now);
            }
        }
        if key_frame && self.broken {
            self.broken = false;
            self.give_up_before(index);
            if arrival == Arrival::Overflow {
                arrival = Arrival::Expected;
            }
        }
        arrival
    }

    #[cold]
    fn fill(&mut self, index: u64, answer: bool, now: u64) -> Arrival {
        let Ok(position) = self
            .missing
            .binary_search_by_key(&index, |entry| entry.index)
        else {
            return Arrival::Expected;
        };
        let hole = self.missing.remove(position);
        if hole.tries == 0 {
            return Arrival::Expected;
        }
        if answer {
            self.learn(&hole, now);
        }
        Arrival::Asked(hole.first)
    }

    /// Measures the round trip from an answer. After several requests it is unknown which one was answered: the last,
    /// unless that would be implausibly soon (Karn's rule).
    fn learn(&mut self, hole: &Missing, now: u64) {
        let known = self.answered_in.unwrap_or(0);
        let since_last = now.saturating_sub(hole.last);
        if hole.tries == 1 {
            let smoothed = (known * 7 + since_last) / 8;
            self.answered_in = Some(if known == 0 { since_last } else { smoothed });
        } else if known == 0 || since_last < known / 2 {
            self.answered_in = Some(now.saturating_sub(hole.first));
        }
    }

    #[cold]
    fn add(&mut self, from: u64, to: u64, now: u64) -> Arrival {
        self.give_up_before((to + 1).saturating_sub(self.places));
        let kept = from.max((to + 1).saturating_sub(self.places));
        let mut arrival = Arrival::Expected;
        if kept > from {
            self.broken = true;
            arrival = Arrival::Overflow;
            if to - from > 2 * self.places {
                return arrival;
            }
        }
        let due = now + DELAY;
        self.missing.extend((kept..to).map(|index| Missing {
            index,
            due,
            first: 0,
            last: 0,
            tries: 0,
        }));
        self.deadline = Some(self.deadline.map_or(due, |deadline| deadline.min(due)));
        arrival
    }

    fn give_up_before(&mut self, oldest: u64) {
        let stale = self.missing.partition_point(|entry| entry.index < oldest);
        self.missing.drain(..stale);
        if self.missing.is_empty() {
            self.deadline = None;
        }
    }

    /// Clears the list for a new source; the measured round trip stays.
    pub(crate) fn reset(&mut self) {
        self.missing.clear();
        self.highest = None;
        self.broken = false;
        self.deadline = None;
    }

    /// The sender jumped to `index`: what is missing before it is not requested.
    pub(crate) fn skip_to(&mut self, index: u64) {
        self.missing.clear();
        self.deadline = None;
        self.highest = Some(index);
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Calls `ask` in ascending order with each sequence number to request now, until it returns false.
    pub(crate) fn take(&mut self, now: u64, rtt: Option<u64>, mut ask: impl FnMut(u16) -> bool) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let round_trip = rtt.max(self.answered_in).unwrap_or(DEFAULT_RTT);
        let interval = round_trip.max(INTERVAL / 2);
        // Slots that new packets will take until the answer arrives; at least half of the ring stays requestable.
        let half = self.places / 2;
        let ahead = self.pace.within(round_trip);
        let in_reach = self.places - ahead.map_or(half, |ahead| half.min(ahead * 5 / 4 + BURST));
        self.give_up_before((self.highest.unwrap_or(0) + 1).saturating_sub(in_reach));
        self.missing
            .retain(|entry| entry.tries < TRIES || entry.due > now);
        let mut first_due = u64::MAX;
        for entry in &mut self.missing {
            if entry.due <= now {
                if !ask(entry.index as u16) {
                    first_due = now;
                    break;
                }
                if entry.tries == 0 {
                    entry.first = now;
                }
                entry.last = now;
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
    fn a_missing_packet_is_requested_after_ten_milliseconds() {
        let mut generator = NackGenerator::new(512);
        generator.received(10, false, true, 0);
        generator.received(13, false, true, MS);
        assert_eq!(generator.deadline(), Some(11 * MS));
        assert!(asked(&mut generator, 10 * MS).is_empty());
        assert_eq!(asked(&mut generator, 11 * MS), [11, 12]);
        assert_eq!(
            generator.received(12, false, false, 12 * MS),
            Arrival::Asked(11 * MS)
        );
        assert!(
            asked(&mut generator, 51 * MS).is_empty(),
            "within one round trip"
        );
        assert_eq!(asked(&mut generator, 111 * MS), [11]);
    }

    #[test]
    fn after_a_jump_nothing_before_it_is_requested() {
        let mut generator = NackGenerator::new(512);
        generator.received(10, false, true, 0);
        generator.received(13, false, true, MS);
        generator.skip_to(5000);
        assert_eq!(generator.deadline(), None);
        assert_eq!(
            generator.received(5001, false, true, 2 * MS),
            Arrival::Expected
        );
        assert!(asked(&mut generator, 30 * MS).is_empty());
        generator.received(5003, false, true, 31 * MS);
        assert_eq!(asked(&mut generator, 41 * MS), [5002]);
    }

    #[test]
    fn a_pace_is_that_of_one_window_however_long_it_was_counted() {
        let mut pace = Pace::default();
        for _ in 0..300 {
            pace.count(MS);
        }
        assert_eq!(pace.within(PACE_WINDOW), None);
        pace.count(MS + 3 * PACE_WINDOW);
        assert_eq!(pace.within(PACE_WINDOW), Some(100));
        assert_eq!(pace.within(PACE_WINDOW / 2), Some(50));
    }

    #[test]
    fn reordering_asks_for_nothing() {
        let mut generator = NackGenerator::new(512);
        generator.received(1, false, true, 0);
        generator.received(3, false, true, 0);
        assert_eq!(generator.received(2, false, true, MS), Arrival::Expected);
        assert!(asked(&mut generator, 20 * MS).is_empty());
        assert_eq!(generator.deadline(), None);
    }

    #[test]
    fn a_packet_is_given_up_after_ten_requests() {
        let mut generator = NackGenerator::new(512);
        generator.received(1, false, true, 0);
        generator.received(3, false, true, 0);
        let mut requests = 0;
        for tick in 0..500 {
            requests += asked(&mut generator, tick * 10 * MS).len();
        }
        assert_eq!(requests, 10);
        assert_eq!(generator.len(), 0);
    }

    /// Requests as often as the generator allows until `end`, every millisecond.
    fn asked_until(generator: &mut NackGenerator, from: u64, end: u64) -> Vec<u16> {
        (from..=end)
            .step_by(MS as usize)
            .flat_map(|now| asked(generator, now))
            .collect()
    }

    #[test]
    fn of_a_gap_only_packets_with_a_slot_are_requested_and_a_key_frame_is_needed() {
        let mut generator = NackGenerator::new(512);
        generator.received(0, false, true, 0);
        generator.pace.before = Some(0);
        assert_eq!(
            generator.received(900, false, true, 0),
            Arrival::Overflow,
            "899 are missing"
        );
        assert_eq!(generator.len(), 511);
        let sequences = asked(&mut generator, 10 * MS);
        assert!(sequences.len() > 490, "{}", sequences.len());
        assert!(sequences.iter().all(|sequence| *sequence > 900 - 512));
        assert_eq!(
            generator.received(901, true, true, 20 * MS),
            Arrival::Expected,
            "the key frame"
        );
        assert_eq!(generator.len(), 0, "not needed before a key frame");
        assert_eq!(generator.received(3000, false, true, 0), Arrival::Overflow);
        assert_eq!(generator.len(), 0, "hopeless");
    }

    #[test]
    fn a_short_ring_limits_requests() {
        let mut generator = NackGenerator::new(64);
        generator.received(0, false, true, 0);
        assert_eq!(generator.received(64, false, true, 0), Arrival::Expected);
        assert_eq!(generator.len(), 63);
        for index in 65..200 {
            generator.received(index, false, true, 0);
        }
        assert!(asked(&mut generator, 10 * MS).is_empty(), "out of reach");
        assert_eq!(generator.deadline(), None);
    }

    #[test]
    fn a_packet_whose_slot_is_reused_before_the_answer_is_not_requested() {
        // 1000 packets a second, answers after 100 ms: 100 packets later. The gap starts at this age of the stream.
        for (age, fewest) in [(1, 200), (1000, 300)] {
            let mut generator = NackGenerator::new(512);
            for index in 0..age {
                generator.received(index, false, true, index * MS);
            }
            let newest = age + 900;
            generator.received(newest, false, true, age * MS);
            let (mut asked_for, mut lost) = (0, 0);
            let mut answers: Vec<(u64, u64)> = Vec::new();
            for step in 1..1000u64 {
                let now = (age + step) * MS;
                generator.received(newest + step, false, true, now);
                let sequences = asked(&mut generator, now);
                asked_for += sequences.len();
                answers.extend(
                    sequences
                        .iter()
                        .map(|one| (now + 100 * MS, u64::from(*one))),
                );
                for (_, index) in answers.extract_if(.., |(at, _)| *at <= now) {
                    lost += u64::from(index + 512 <= newest + step);
                    generator.received(index, false, true, now);
                }
            }
            assert_eq!(lost, 0, "answers thrown away");
            assert!((fewest..=511).contains(&asked_for), "{asked_for}");
        }
    }

    #[test]
    fn a_missing_packet_is_requested_once_per_measured_round_trip() {
        let mut generator = NackGenerator::new(512);
        generator.received(0, false, true, 0);
        generator.received(2, false, true, 0);
        let first = asked_until(&mut generator, 0, 309 * MS);
        assert_eq!(first.len(), 3, "while it is unknown");
        generator.received(1, false, true, 310 * MS);
        generator.received(4, false, true, 1000 * MS);
        assert_eq!(asked_until(&mut generator, 1000 * MS, 1309 * MS), [3]);
        generator.received(3, false, true, 1310 * MS);
        // The round trip grew: an answer this soon after the second request answers the first.
        generator.received(6, false, true, 2000 * MS);
        assert_eq!(asked_until(&mut generator, 2000 * MS, 2399 * MS).len(), 2);
        generator.received(5, false, true, 2400 * MS);
        generator.received(8, false, true, 3000 * MS);
        assert_eq!(asked_until(&mut generator, 3000 * MS, 3399 * MS), [7]);
    }

    #[test]
    fn the_list_is_checked_again_after_forty_milliseconds_or_at_once_if_there_was_no_room() {
        let mut generator = NackGenerator::new(512);
        generator.received(10, false, true, 0);
        generator.received(13, false, true, 0);
        let mut room = 1;
        generator.take(10 * MS, None, |_| std::mem::replace(&mut room, 0) > 0);
        assert_eq!(generator.deadline(), Some(10 * MS + 1));
        assert_eq!(asked(&mut generator, 10 * MS + 1), [12]);
        assert_eq!(generator.deadline(), Some(50 * MS + 1));
    }

    #[test]
    fn a_gap_gives_up_packets_whose_slots_it_reuses() {
        let mut generator = NackGenerator::new(64);
        for index in [1, 3].into_iter().chain(4..65) {
            generator.received(index, false, true, 0);
        }
        assert_eq!(generator.len(), 1, "2 is missing");
        generator.received(66, false, true, 0);
        assert_eq!(generator.len(), 1, "66 has its slot, 65 is missing");
    }
}
