//! Whether the RTP timestamps of a stream go on as its sender's do.
//!
//! # Job
//! Compares the timestamp that came with the one the sender wrote into the stamp: a server may add an offset for good,
//! and nothing else. When packets come is no matter here; that belongs to latency and jitter.
//!
//! # Invariants
//! - The offset of a stream is that of its first stamp. Each change of it is a jump: one packet apart is two, there and back.
//! - Packets of one frame have one timestamp (RFC 3550 §5.1), whether they carry the stamp or not.
//!
//! # Cost
//! Two comparisons a packet.
//!
//! # Left out
//! Jumps by a multiple of 2²⁴ ticks, three minutes or more; audio packets without a stamp.

use crate::stamp::TIMESTAMP_MASK;

/// The RTP timestamps of one received stream.
#[derive(Debug, Default)]
pub(crate) struct MediaClock {
    /// What the server added to the sender's timestamps.
    offset: Option<u32>,
    /// Timestamp of the newest packet, unless it ended its frame.
    open: Option<u32>,
    jumps: u64,
}

impl MediaClock {
    /// Takes the timestamp of a packet, and the one in its stamp.
    #[inline]
    pub(crate) fn stamp(&mut self, timestamp: u32, stamped: u32) {
        let offset = timestamp.wrapping_sub(stamped) & TIMESTAMP_MASK;
        let before = self.offset.replace(offset);
        self.jumps += u64::from(before.is_some_and(|before| before != offset));
    }

    /// Takes the timestamp of the newest packet of a video, which `follows` if the one before it is known and it begins
    /// no frame.
    #[inline]
    pub(crate) fn packet(&mut self, timestamp: u32, ends_frame: bool, follows: bool) {
        let torn = follows && self.open.is_some_and(|before| before != timestamp);
        self.jumps += u64::from(torn);
        self.open = (!ends_frame).then_some(timestamp);
    }

    /// Jumps so far.
    pub(crate) fn jumps(&self) -> u64 {
        self.jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: u32 = 0xdead_beef;

    /// The jumps of audio whose n-th timestamp the server moves by `moved(n)`.
    fn jumps(moved: impl Fn(u32) -> u32) -> u64 {
        let mut clock = MediaClock::default();
        // Across the end of both the 24 bits and the 32 bits.
        for n in 0..40_000u32 {
            let own = n.wrapping_mul(960).wrapping_sub(960 * 100);
            let sent = own.wrapping_add(OFFSET).wrapping_add(moved(n));
            clock.stamp(sent, own & TIMESTAMP_MASK);
        }
        clock.jumps()
    }

    #[test]
    fn an_offset_that_stays_is_no_jump() {
        assert_eq!(jumps(|_| 0), 0);
        assert_eq!(jumps(|_| 48_000), 0);
    }

    #[test]
    fn an_offset_that_begins_is_a_jump_and_one_for_a_packet_two() {
        assert_eq!(jumps(|n| u32::from(n >= 700)), 1);
        assert_eq!(jumps(|n| u32::from(n == 700) * 0x0001_0000), 2);
        assert_eq!(jumps(|n| u32::from(n % 100 == 50).wrapping_neg()), 800);
    }

    #[test]
    fn a_clock_that_stands_or_runs_faster_jumps_with_each_packet() {
        assert_eq!(jumps(|n| n.wrapping_mul(960).wrapping_neg()), 39_999);
        assert_eq!(jumps(|n| n), 39_999);
    }

    #[test]
    fn a_packet_apart_from_its_frame_is_a_jump() {
        let mut clock = MediaClock::default();
        for (timestamp, ends, follows) in [
            (1, false, false),
            (1, false, true),
            (1, true, true),
            // A frame of one packet, then one whose middle is apart.
            (3001, true, false),
            (6001, false, false),
            (6002, false, true),
            (6001, true, true),
        ] {
            clock.packet(timestamp, ends, follows);
        }
        assert_eq!(clock.jumps(), 2);
    }

    #[test]
    fn a_frame_whose_end_did_not_come_is_no_jump() {
        let mut clock = MediaClock::default();
        clock.packet(1, false, false);
        // The next that came begins a frame, or its predecessor is missing.
        clock.packet(3001, false, false);
        clock.packet(6001, true, false);
        assert_eq!(clock.jumps(), 0);
    }
}
