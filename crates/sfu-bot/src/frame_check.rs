//! Whether all of a frame came, and came as it was sent.
//!
//! # Job
//! Adds up the packets of each frame and compares the sum with the one in its stamp. What a frame is worth to a decoder
//! belongs to `received`.
//!
//! # Invariants
//! - A stamp leads to one sample: once its frame is whole, or once no more of it can come.
//! - The frame in progress is apart; the list holds those that were left incomplete by loss or reordering.
//!
//! # Cost
//! One CRC over the payload and one comparison a packet. The list allocates with the first incomplete frame.

use crate::checksum::FrameSum;
use crate::layout::{NEVER_WHOLE, SAMPLE_CORRUPT, Sample};

/// Incomplete frames that are kept.
const MAX_OPEN: usize = 256;
/// What is missing longer than this counts as lost for good.
const PATIENCE_NS: u64 = 5_000_000_000;

/// What a stamp promised of its frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    pub(crate) sample: Sample,
    pub(crate) sum: u32,
    pub(crate) packets: u16,
    /// Extended sequence number of the packet that carried it, the frame's last.
    pub(crate) last: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Open {
    timestamp: u32,
    sum: FrameSum,
    promise: Option<Promise>,
    since_ns: u64,
}

/// The frames of one stream.
#[derive(Debug, Default)]
pub(crate) struct FrameCheck {
    current: Open,
    open: Vec<Open>,
    /// Samples of frames that were given up.
    given_up: Vec<Sample>,
}

impl FrameCheck {
    /// Takes a packet; returns the sample of its frame if that is whole with it.
    #[inline]
    pub(crate) fn packet(
        &mut self,
        timestamp: u32,
        index: u64,
        media: &[u8],
        promise: Option<Promise>,
        arrival_ns: u64,
    ) -> Option<Sample> {
        if self.current.timestamp != timestamp || self.current.sum.packets == 0 {
            self.change_to(timestamp, arrival_ns);
        }
        let frame = &mut self.current;
        frame.sum.add(index, media);
        frame.promise = promise.or(frame.promise);
        let sample = frame.outcome(arrival_ns)?;
        frame.sum = FrameSum::default();
        frame.promise = None;
        Some(sample)
    }

    /// Forgets the frame in progress: it carries no stamp.
    #[inline]
    pub(crate) fn forget(&mut self) {
        self.current.sum = FrameSum::default();
        self.current.promise = None;
    }

    /// Touched for every packet.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        u64::from(self.current.timestamp)
    }

    /// Stops waiting for frames that are missing packets for too long.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let given_up = &mut self.given_up;
        self.open.retain(|frame| {
            let alive = now_ns.saturating_sub(frame.since_ns) <= PATIENCE_NS;
            if !alive {
                given_up.extend(frame.incomplete());
            }
            alive
        });
    }

    /// Stops waiting for all frames: nothing more will come.
    pub(crate) fn end(&mut self) {
        let all = self.open.drain(..).chain([self.current]);
        self.given_up
            .extend(all.filter_map(|frame| frame.incomplete()));
        self.current = Open::default();
    }

    /// Takes the samples of frames that were given up.
    pub(crate) fn take_given_up(&mut self) -> impl Iterator<Item = Sample> {
        std::mem::take(&mut self.given_up).into_iter()
    }

    /// Makes the frame with this timestamp the one in progress.
    fn change_to(&mut self, timestamp: u32, now_ns: u64) {
        let before = std::mem::replace(
            &mut self.current,
            Open {
                timestamp,
                since_ns: now_ns,
                ..Open::default()
            },
        );
        if let Some(at) = self
            .open
            .iter()
            .position(|frame| frame.timestamp == timestamp)
        {
            self.current = self.open.remove(at);
        }
        if before.sum.packets > 0 {
            if self.open.len() == MAX_OPEN {
                let oldest = self.open.remove(0);
                self.given_up.extend(oldest.incomplete());
            }
            self.open.push(before);
        }
    }
}

impl Open {
    /// The frame's sample once all of its packets are there.
    #[inline]
    fn outcome(&self, now_ns: u64) -> Option<Sample> {
        let promise = self.promise?;
        if self.sum.packets < promise.packets {
            return None;
        }
        let fine =
            self.sum.packets == promise.packets && self.sum.value(promise.last) == promise.sum;
        let after_ns = now_ns.saturating_sub(promise.sample.recv_unix_ns);
        Some(Sample {
            whole_us: (after_ns / 1000).min(u64::from(NEVER_WHOLE - 1)) as u32,
            flags: promise.sample.flags | if fine { 0 } else { SAMPLE_CORRUPT },
            ..promise.sample
        })
    }

    fn incomplete(&self) -> Option<Sample> {
        self.promise.map(|promise| Sample {
            whole_us: NEVER_WHOLE,
            ..promise.sample
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Frames of three packets; packet n of a frame holds its number and the frame's.
    struct Feed {
        check: FrameCheck,
        now_ns: u64,
    }

    impl Feed {
        fn new() -> Self {
            Self {
                check: FrameCheck::default(),
                now_ns: 1_000 * MS,
            }
        }

        fn promise(&self, frame: u32) -> Promise {
            let mut sum = FrameSum::default();
            (0..3).for_each(|part| sum.add(part, &[frame as u8, part as u8]));
            Promise {
                sample: Sample {
                    seq: frame,
                    recv_unix_ns: self.now_ns,
                    ..Sample::default()
                },
                sum: sum.value(2),
                packets: 3,
                last: u64::from(frame) * 3 + 2,
            }
        }

        fn media(&mut self, frame: u32, part: u64, media: &[u8]) -> Option<Sample> {
            self.now_ns += MS;
            let promise = (part == 2).then(|| self.promise(frame));
            let index = u64::from(frame) * 3 + part;
            self.check
                .packet(frame * 3000, index, media, promise, self.now_ns)
        }

        fn part(&mut self, frame: u32, part: u64) -> Option<Sample> {
            self.media(frame, part, &[frame as u8, part as u8])
        }
    }

    #[test]
    fn a_frame_is_whole_with_its_last_packet_whatever_the_order() {
        let mut feed = Feed::new();
        assert_eq!(feed.part(0, 0), None);
        assert_eq!(feed.part(0, 1), None);
        let whole = feed.part(0, 2).unwrap();
        assert_eq!((whole.seq, whole.whole_us, whole.flags), (0, 0, 0));
        // The stamp first, then packets of the next frame, then the rest.
        assert_eq!(feed.part(1, 2), None);
        assert_eq!(feed.part(2, 0), None);
        assert_eq!(feed.part(1, 0), None);
        assert_eq!(feed.part(2, 1), None);
        let whole = feed.part(1, 1).unwrap();
        assert_eq!((whole.seq, whole.whole_us, whole.flags), (1, 4000, 0));
        assert_eq!(feed.part(2, 2).unwrap().seq, 2);
    }

    #[test]
    fn a_changed_byte_a_swap_of_places_and_a_packet_too_many_make_a_frame_corrupt() {
        let mut feed = Feed::new();
        feed.part(0, 0);
        feed.media(0, 1, &[0, 9]);
        assert_eq!(feed.part(0, 2).unwrap().flags, SAMPLE_CORRUPT);
        feed.media(1, 0, &[1, 1]);
        feed.media(1, 1, &[1, 0]);
        assert_eq!(feed.part(1, 2).unwrap().flags, SAMPLE_CORRUPT);
        (0..3).for_each(|_| assert_eq!(feed.part(2, 0), None));
        assert_eq!(feed.part(2, 2).unwrap().flags, SAMPLE_CORRUPT);
        assert_eq!(feed.part(3, 0), None);
    }

    #[test]
    fn an_incomplete_frame_gives_its_sample_once_no_more_can_come() {
        let mut feed = Feed::new();
        feed.part(0, 0);
        feed.part(0, 2);
        feed.part(1, 0); // its stamp never comes
        feed.part(2, 0);
        feed.check.expire(feed.now_ns + PATIENCE_NS - 10 * MS);
        assert_eq!(feed.check.take_given_up().count(), 0);
        feed.check.expire(feed.now_ns + PATIENCE_NS + 1);
        let given_up: Vec<_> = feed.check.take_given_up().collect();
        assert_eq!(given_up.len(), 1);
        assert_eq!((given_up[0].seq, given_up[0].whole_us), (0, NEVER_WHOLE));
        feed.part(3, 1);
        feed.part(3, 2);
        feed.check.end();
        let seqs: Vec<u32> = feed.check.take_given_up().map(|one| one.seq).collect();
        assert_eq!(seqs, [3]);
    }

    #[test]
    fn no_more_incomplete_frames_are_kept_than_there_is_room_for() {
        let mut feed = Feed::new();
        for frame in 0..MAX_OPEN as u32 + 10 {
            feed.part(frame, 2);
        }
        assert_eq!(feed.check.take_given_up().count(), 9);
    }
}
