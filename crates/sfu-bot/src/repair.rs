//! What a receiver requests: lost packets (NACK) and, when a video cannot go on, key frames (PLI).
//!
//! # Job
//! Keeps the list of missing numbers of one stream and decides what is due. Writing the packets belongs to `receiver`,
//! counting to `received`.
//!
//! # Invariants
//! - A number is requested at once, then once per round trip, at most [`MAX_TRIES`] times.
//! - Numbers are given up from the front only, so that frames stay in order.
//!
//! # Cost
//! Nothing for a stream without loss; the list keeps its capacity.
//!
//! RFC 4585 §6.2.1 (NACK), §6.3.1 (PLI).

use std::ops::AddAssign;

const MAX_TRIES: u8 = 10;
/// What is missing longer than this comes too late for any picture.
const MAX_AGE_NS: u64 = 1_500_000_000;
/// How long reordering may take where nothing can be requested again.
const PATIENCE_NS: u64 = 50_000_000;
const MAX_MISSING: usize = 400;
const PLI_AFTER_NS: u64 = 200_000_000;
const PLI_EVERY_NS: u64 = 1_000_000_000;
/// A key frame may come so long after it was asked for, and two round trips: to the sender and back, through a server.
const KEY_FRAME_WITHIN_NS: u64 = 500_000_000;

#[derive(Debug, Clone, Copy)]
struct Missing {
    index: u64,
    since_ns: u64,
    requested_ns: u64,
    tries: u8,
}

/// What one stream is missing.
#[derive(Debug)]
pub(crate) struct Repair {
    /// Lost packets of the stream can be requested.
    nack: bool,
    /// Key frames of the stream can be requested.
    pli: bool,
    missing: Vec<Missing>,
    broken_since_ns: u64,
    pli_sent_ns: Option<u64>,
    /// When a key frame was first asked for since the video last went on.
    asked_since_ns: Option<u64>,
    is_late: bool,
    pub(crate) requests: KeyFrameRequests,
}

/// Times in which a video could not go on and a key frame was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyFrameRequests {
    pub(crate) all: u64,
    /// Those in which none came in time although media did.
    pub(crate) late: u64,
}

impl AddAssign for KeyFrameRequests {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.late += other.late;
    }
}

/// What is to be done for one stream now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The last number given up, and how many.
    pub(crate) given_up: Option<(u64, u32)>,
    /// How many numbers were appended to the list of requests.
    pub(crate) requested: u32,
}

impl Repair {
    pub(crate) fn new(nack: bool, pli: bool) -> Self {
        Self {
            nack,
            pli,
            missing: Vec::new(),
            broken_since_ns: 0,
            pli_sent_ns: None,
            asked_since_ns: None,
            is_late: false,
            requests: KeyFrameRequests::default(),
        }
    }

    /// Numbers from…to (exclusive) were skipped.
    pub(crate) fn gap(&mut self, from: u64, to: u64, now_ns: u64) {
        // Of a jump only the end is worth requesting; `poll` gives up the rest.
        let from = from.max(to.saturating_sub(MAX_MISSING as u64));
        self.missing.extend((from..to).map(|index| Missing {
            index,
            since_ns: now_ns,
            requested_ns: 0,
            tries: 0,
        }));
    }

    /// A missing number arrived.
    pub(crate) fn filled(&mut self, index: u64) {
        if let Ok(at) = self
            .missing
            .binary_search_by_key(&index, |missing| missing.index)
        {
            self.missing.remove(at);
        }
    }

    /// Nothing is missing.
    pub(crate) fn is_idle(&self) -> bool {
        self.missing.is_empty() && self.broken_since_ns == 0
    }

    /// Drops sequence numbers that are too old and appends what to request now to `nacks`, ascending.
    pub(crate) fn poll(&mut self, now_ns: u64, rtt_ns: u64, nacks: &mut Vec<u16>) -> Due {
        let mut due = Due::default();
        let patience_ns = if self.nack { MAX_AGE_NS } else { PATIENCE_NS };
        let hopeless = |missing: &Missing| {
            missing.tries >= MAX_TRIES && now_ns >= missing.requested_ns + rtt_ns
                || now_ns >= missing.since_ns + patience_ns
        };
        let mut gone = self
            .missing
            .iter()
            .take_while(|missing| hopeless(missing))
            .count();
        gone = gone.max(self.missing.len().saturating_sub(MAX_MISSING));
        if gone > 0 {
            due.given_up = Some((self.missing[gone - 1].index, gone as u32));
            self.missing.drain(..gone);
        }
        if self.nack {
            for missing in &mut self.missing {
                if missing.tries < MAX_TRIES
                    && (missing.tries == 0 || now_ns >= missing.requested_ns + rtt_ns)
                {
                    missing.tries += 1;
                    missing.requested_ns = now_ns;
                    nacks.push(missing.index as u16);
                    due.requested += 1;
                }
            }
        }
        due
    }

    /// Returns whether to request a key frame now; `broken`: the video cannot continue without one.
    pub(crate) fn wants_key_frame(&mut self, broken: bool, now_ns: u64) -> bool {
        if !broken || !self.pli {
            self.broken_since_ns = 0;
            self.asked_since_ns = None;
            self.is_late = false;
            return false;
        }
        if self.broken_since_ns == 0 {
            self.broken_since_ns = now_ns;
        }
        let due = now_ns >= self.broken_since_ns + PLI_AFTER_NS
            && self
                .pli_sent_ns
                .is_none_or(|sent| now_ns >= sent + PLI_EVERY_NS);
        if due {
            self.pli_sent_ns = Some(now_ns);
            if self.asked_since_ns.is_none() {
                self.asked_since_ns = Some(now_ns);
                self.requests.all += 1;
            }
        }
        due
    }

    /// Takes note, once for each time, that the key frame that was asked for did not come although media flows.
    pub(crate) fn check_key_frame(&mut self, flows: bool, now_ns: u64, rtt_ns: u64) {
        let late = self
            .asked_since_ns
            .is_some_and(|asked| now_ns > asked + KEY_FRAME_WITHIN_NS + 2 * rtt_ns);
        if late && flows && !self.is_late {
            self.is_late = true;
            self.requests.late += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const RTT: u64 = 40 * MS;

    #[test]
    fn a_missing_number_is_asked_for_at_once_and_then_once_per_round_trip() {
        let mut repair = Repair::new(true, true);
        repair.gap(65_535, 65_538, 1000 * MS);
        let mut nacks = Vec::new();
        assert_eq!(repair.poll(1000 * MS, RTT, &mut nacks).requested, 3);
        assert_eq!(nacks, [65_535, 0, 1]);
        repair.filled(65_536);
        nacks.clear();
        assert_eq!(repair.poll(1039 * MS, RTT, &mut nacks), Due::default());
        assert_eq!(repair.poll(1040 * MS, RTT, &mut nacks).requested, 2);
        assert_eq!(nacks, [65_535, 1]);
        repair.filled(65_535);
        repair.filled(65_537);
        assert!(repair.is_idle());
    }

    #[test]
    fn after_ten_tries_a_number_is_given_up() {
        let mut repair = Repair::new(true, true);
        repair.gap(5, 7, 0);
        let mut nacks = Vec::new();
        for round in 0..10 {
            assert_eq!(repair.poll(1 + round * RTT, RTT, &mut nacks).given_up, None);
        }
        assert_eq!(nacks.len(), 20);
        assert_eq!(
            repair.poll(1 + 10 * RTT, RTT, &mut nacks).given_up,
            Some((6, 2))
        );
        assert_eq!(nacks.len(), 20);
    }

    #[test]
    fn without_nack_only_reordering_is_waited_for() {
        let mut repair = Repair::new(false, true);
        repair.gap(5, 6, 100 * MS);
        let mut nacks = Vec::new();
        assert_eq!(repair.poll(149 * MS, RTT, &mut nacks), Due::default());
        assert_eq!(
            repair.poll(150 * MS, RTT, &mut nacks),
            Due {
                given_up: Some((5, 1)),
                requested: 0
            }
        );
    }

    #[test]
    fn a_key_frame_that_was_asked_for_and_does_not_come_is_late_once() {
        let mut repair = Repair::new(true, true);
        let mut until = |from: u64, to: u64, broken: bool, flows: bool| {
            for at in (from..to).step_by(10) {
                repair.wants_key_frame(broken, at * MS);
                repair.check_key_frame(flows, at * MS, RTT);
            }
            (repair.requests.all, repair.requests.late)
        };
        // Asked for after 200 ms, late 580 ms after that.
        assert_eq!(until(1000, 1780, true, true), (1, 0));
        assert_eq!(until(1780, 5000, true, true), (1, 1));
        assert_eq!(until(5000, 5010, false, true), (1, 1));
        // It breaks again, and goes on in time.
        assert_eq!(until(5010, 5500, true, true), (2, 1));
        assert_eq!(until(5500, 5510, false, true), (2, 1));
        // Where nothing is sent no key frame can come.
        assert_eq!(until(5510, 9000, true, false), (3, 1));
        assert_eq!(until(9000, 9010, true, true), (3, 2));
    }

    #[test]
    fn a_broken_video_asks_for_a_key_frame_each_second() {
        let mut repair = Repair::new(true, true);
        let requested: Vec<u64> = (100..3100)
            .step_by(10)
            .filter(|at| repair.wants_key_frame(true, at * MS))
            .collect();
        assert_eq!(requested, [300, 1300, 2300]);
        assert!(!repair.wants_key_frame(false, 3200 * MS));
        assert!(
            !repair.wants_key_frame(true, 3300 * MS),
            "a new break begins a new wait"
        );
    }
}
