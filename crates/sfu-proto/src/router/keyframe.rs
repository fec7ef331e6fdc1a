//! Decides when a sender is asked for a key frame.
//!
//! # Job
//! Merges the requests of all consumers of one stream into few. Writing PLI or FIR belongs to `report`, recognising
//! key frames to `rtp::payload`.
//!
//! # Invariants
//! - One request is outstanding at a time; another wish within `REQUEST_PENDING` of it sends no second one.
//! - A request that no key frame answers is repeated `REPEATS` times with growing intervals: it may have been lost,
//!   and a receiver without a picture does not ask again by itself.
//! - Whatever receivers do, a sender gets at most `BURST` requests at once and one each `REFILL` after that: a key
//!   frame lowers the picture quality of all receivers. The allowance covers many receivers that join within two
//!   seconds; with less, the last ones would wait a second for their picture.
//!
//! # Cost
//! O(1), no allocation.

/// Wait for the key frame before the first repetition; doubled for each further one.
const REQUEST_PENDING: u64 = 1_000_000;
const REPEATS: u32 = 3;
const BURST: u64 = 10;
const REFILL: u64 = 1_000_000;
const SPACING: u64 = 200_000;

/// State of one stream; times in microseconds.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    /// When the outstanding request was sent.
    sent: Option<u64>,
    /// When the next request is allowed or due.
    due: Option<u64>,
    last: Option<u64>,
    /// Repetitions of the outstanding request.
    repeats: u32,
    bucket: Bucket<BURST, REFILL>,
}

impl KeyFrames {
    /// A consumer needs a key frame. Returns false if a request under way serves it.
    pub(crate) fn request(&mut self, now: u64) -> bool {
        let is_new = self.due.is_none();
        let earliest = match (self.sent, self.last) {
            (Some(sent), _) => sent + REQUEST_PENDING,
            (None, Some(last)) => (last + SPACING).max(now),
            (None, None) => now,
        };
        self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
        self.repeats = 0;
        is_new
    }

    /// The sender is active again after a silence: it may not have received earlier requests.
    pub(crate) fn renew(&mut self, now: u64) {
        if self.sent.take().is_some() {
            self.request(now);
        }
    }

    /// A key frame arrived.
    pub(crate) fn arrived(&mut self) {
        self.sent = None;
        self.due = None;
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.due
    }

    /// Returns whether a request is to be sent now.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        if !self.bucket.take(now) {
            self.due = Some(self.bucket.next());
            return false;
        }
        self.due = (self.repeats < REPEATS).then(|| now + (REQUEST_PENDING << self.repeats));
        self.repeats += 1;
        self.sent = Some(now);
        self.last = Some(now);
        true
    }
}

/// A token bucket: at most `BURST` at once, then one each `REFILL` microseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Bucket<const BURST: u64, const REFILL: u64> {
    /// When the bucket is full again.
    full_at: u64,
}

impl<const BURST: u64, const REFILL: u64> Bucket<BURST, REFILL> {
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let full_at = self.full_at.max(now) + REFILL;
        if full_at > now + BURST * REFILL {
            return false;
        }
        self.full_at = full_at;
        true
    }

    /// Returns when the next `take` succeeds.
    pub(crate) fn next(&self) -> u64 {
        self.full_at.saturating_sub((BURST - 1) * REFILL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const MS: u64 = 1000;

    #[test]
    fn requests_within_a_second_are_merged() {
        let mut key_frames = KeyFrames::default();
        key_frames.request(0);
        assert!(key_frames.take(0));
        for at in [10, 300, 900] {
            key_frames.request(at * MS);
            assert!(!key_frames.take(at * MS));
        }
        assert_eq!(key_frames.deadline(), Some(1000 * MS));
        assert!(key_frames.take(1000 * MS));
    }

    #[test]
    fn a_wish_that_a_request_under_way_serves_is_no_new_one() {
        let mut key_frames = KeyFrames::default();
        assert!(key_frames.request(0));
        assert!(!key_frames.request(0), "not sent yet");
        assert!(key_frames.take(0));
        assert!(!key_frames.request(10 * MS), "not answered yet");
        key_frames.arrived();
        assert!(key_frames.request(500 * MS));
    }

    #[test]
    fn unanswered_requests_are_repeated_with_growing_intervals() {
        let mut key_frames = KeyFrames::default();
        key_frames.request(0);
        for at in [0, 1000, 3000, 7000] {
            assert_eq!(key_frames.deadline(), Some(at * MS));
            assert!(key_frames.take(at * MS));
        }
        assert_eq!(key_frames.deadline(), None);
        key_frames.renew(9000 * MS);
        assert_eq!(key_frames.deadline(), Some(9000 * MS), "active again");
        assert!(key_frames.take(9000 * MS));
        key_frames.request(9500 * MS);
        assert_eq!(
            key_frames.deadline(),
            Some(10_000 * MS),
            "a wish waits no longer"
        );
        key_frames.arrived();
        key_frames.renew(11_000 * MS);
        assert_eq!(key_frames.deadline(), None, "it was answered");
    }

    #[test]
    fn a_key_frame_answers_the_request() {
        let mut key_frames = KeyFrames::default();
        key_frames.request(0);
        assert!(key_frames.take(0));
        key_frames.request(5 * MS);
        key_frames.arrived();
        assert_eq!(key_frames.deadline(), None);
        key_frames.request(20 * MS);
        assert_eq!(key_frames.deadline(), Some(200 * MS), "kept apart");
    }

    #[test]
    fn receivers_that_join_within_two_seconds_wait_no_longer_than_the_spacing() {
        let mut key_frames = KeyFrames::default();
        let mut waiting_since = None;
        let mut answered_at = None;
        let mut longest = 0;
        for at in 0..2500 {
            if at % 40 == 0 && at < 2000 {
                key_frames.request(at * MS);
                waiting_since.get_or_insert(at);
            }
            if key_frames.take(at * MS) {
                answered_at = Some(at + 25);
            }
            if answered_at == Some(at) {
                key_frames.arrived();
                longest = longest.max(at - waiting_since.take().unwrap_or(at));
            }
        }
        assert_eq!(waiting_since, None);
        assert!(longest <= 225, "{longest} ms");
    }

    #[test]
    fn an_empty_bucket_reports_when_it_refills() {
        let mut bucket = Bucket::<10, REFILL>::default();
        for _ in 0..10 {
            assert!(bucket.take(0));
        }
        assert!(!bucket.take(REFILL - 1));
        assert_eq!(bucket.next(), REFILL);
        assert!(bucket.take(REFILL));
        assert_eq!(bucket.next(), 2 * REFILL);
        assert!(!bucket.take(REFILL));
        assert!(bucket.take(60 * REFILL));
        assert_eq!(bucket.next(), 52 * REFILL, "full but for one");
    }

    #[test]
    fn key_frame_requests_are_bounded_whatever_the_sender_does() {
        let mut key_frames = KeyFrames::default();
        let mut sent = 0;
        for at in 0..60_000 {
            key_frames.request(at * MS);
            if key_frames.take(at * MS) {
                sent += 1;
                key_frames.arrived();
            }
        }
        assert!((64..=70).contains(&sent), "{sent}");
    }
}
