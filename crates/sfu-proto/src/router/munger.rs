//! Sequence numbers and timestamps of one outgoing stream.
//!
//! # Job
//! Maps stream indices of a producer to the consumer's own extended sequence numbers (`out_seq`), without gaps over
//! pauses, switches and restarts, and back again for retransmissions. SSRC and payload type belong to `template`.
//!
//! # Invariants
//! - `out_seq` = stream index − offset within a segment; a segment has one `Source` and starts with the number after
//!   the last one sent.
//! - An `out_seq` is given to one packet only; a packet older than the start of its segment is refused.
//! - An `out_seq` leads back to the stream it was given for and to no other (`Place`).
//! - Timestamps never go back at the start of a segment.
//!
//! # Cost
//! O(1), no allocation after creation; 56 bytes, and 160 used by segment starts and retransmissions only.
//!
//! # Left out
//! More than `EARLIER` earlier segments: a retransmission from before that many pauses and switches is not answered.
//! VP8 picture ids are not rewritten, since nothing inside a stream is dropped.

use super::ring::Slot;
use super::source::{Place, Source};

/// Earlier segments kept.
const EARLIER: usize = 5;
/// How far a timestamp may deviate from the time that passed until its packet came; beyond that, the source has
/// another RTP clock than before.
const TOLERANCE_MS: u32 = 200;

/// A run of packets with one constant offset.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// `out_seq` of its first packet.
    first: u64,
    /// Stream index less `out_seq`.
    offset: u64,
    source: Source,
    /// Added to the producer's timestamp.
    timestamp_offset: u32,
}

impl Segment {
    const NONE: Self = Self {
        first: u64::MAX,
        offset: 0,
        source: Source::NONE,
        timestamp_offset: 0,
    };
}

/// Numbers of one outgoing stream. Every packet uses all fields but the last, 48 bytes.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Munger {
    // The current segment, with the fields of `Segment`.
    first: u64,
    offset: u64,
    /// Detached if the next packet starts a new segment.
    source: Source,
    timestamp_offset: u32,
    highest_timestamp: u32,
    highest: u64,
    /// Arrival of the packet with the highest timestamp, in microseconds.
    highest_at: u64,
    /// Newest first.
    earlier: Box<[Segment; EARLIER]>,
}

/// Leading bytes of a munger that every packet uses.
pub(crate) const HOT: usize = std::mem::offset_of!(Munger, earlier);

impl Munger {
    /// Starts with the sequence number `first`, which must be above 0 and below 2^15 (RFC 3711 §3.3.1).
    pub(crate) fn new(first: u16) -> Self {
        Self {
            first: u64::MAX,
            offset: 0,
            source: Source::NONE,
            timestamp_offset: 0,
            highest_timestamp: 0,
            highest: u64::from(first.max(1)) - 1,
            highest_at: 0,
            earlier: Box::new([Segment::NONE; EARLIER]),
        }
    }

    /// Makes the next packet start a new segment.
    pub(crate) fn desync(&mut self) {
        self.source = self.source.detached();
    }

    /// Whether the next packet of this source continues the segment.
    #[inline]
    pub(crate) fn is_synced(&self, source: Source) -> bool {
        self.source == source
    }

    /// `out_seq` of the first packet of the current segment.
    #[inline]
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Stream index of the first packet of the current segment.
    pub(crate) fn first_index(&self) -> u64 {
        self.first.wrapping_add(self.offset)
    }

    fn has_started(&self) -> bool {
        self.first != u64::MAX
    }

    /// Returns the `out_seq` of this packet, or `None` if the packet is older than its segment.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        slot: &Slot,
        source: Source,
        clock_rate: u32,
        now: u64,
    ) -> Option<u64> {
        if !self.is_synced(source) {
            if self.is_late(slot, source) {
                return None;
            }
            self.start_segment(slot, source, clock_rate, now);
        }
        let out_seq = slot.index.wrapping_sub(self.offset);
        // Both are far below 2^63, so a packet from before the segment wraps to a huge number or is smaller than
        // `first`.
        if out_seq < self.first || out_seq > self.first + (1 << 62) {
            return None;
        }
        if out_seq > self.highest {
            self.highest = out_seq;
            self.highest_timestamp = slot.timestamp.wrapping_add(self.timestamp_offset);
            self.highest_at = now;
        }
        Some(out_seq)
    }

    /// As `admit`, but starts a new segment with the packet even if newer ones of its source were sent: those are
    /// sent again behind it, under new numbers.
    #[cold]
    pub(crate) fn restart_segment(
        &mut self,
        slot: &Slot,
        source: Source,
        clock_rate: u32,
        now: u64,
    ) -> Option<u64> {
        self.start_segment(slot, source, clock_rate, now);
        self.admit(slot, source, clock_rate, now)
    }

    /// Whether the packet is older than one of its run that was sent; then no segment may start with it.
    #[cold]
    fn is_late(&self, slot: &Slot, source: Source) -> bool {
        self.source.is_same_run(source) && slot.index <= self.highest.wrapping_add(self.offset)
    }

    #[cold]
    fn start_segment(&mut self, slot: &Slot, source: Source, clock_rate: u32, now: u64) {
        let next = self.highest + 1;
        let same_run = self.source.is_same_run(source);
        let timestamp_offset = if !self.has_started() || same_run {
            // The same source: its timestamps kept counting during the pause.
            self.timestamp_offset
        } else {
            self.continued(slot, source, clock_rate, now)
        };
        if self.has_started() {
            self.earlier.rotate_right(1);
            self.earlier[0] = Segment {
                first: self.first,
                offset: self.offset,
                source: self.source,
                timestamp_offset: self.timestamp_offset,
            };
        }
        self.first = next;
        self.offset = slot.index.wrapping_sub(next);
        self.timestamp_offset = timestamp_offset;
        self.source = source;
    }

    /// Returns the timestamp offset that continues another source's timestamps by the time that passed.
    fn continued(&self, slot: &Slot, source: Source, clock_rate: u32, now: u64) -> u32 {
        let passed = now.saturating_sub(self.highest_at).max(1);
        let ticks = (u128::from(passed) * u128::from(clock_rate) / 1_000_000).max(1) as u32;
        let expected = self.highest_timestamp.wrapping_add(ticks);
        // After a jump of its sequence numbers a stream mostly keeps its RTP clock.
        let kept = slot.timestamp.wrapping_add(self.timestamp_offset);
        let off = kept.wrapping_sub(expected).cast_signed().unsigned_abs();
        let ahead = kept.wrapping_sub(self.highest_timestamp).cast_signed() > 0;
        if self.source.is_same_stream(source) && ahead && off <= clock_rate / 1000 * TOLERANCE_MS {
            return self.timestamp_offset;
        }
        expected.wrapping_sub(slot.timestamp)
    }

    /// Extends the low 32 bits of an `out_seq` to the full number nearest to the highest sent.
    #[inline]
    pub(crate) fn extend_low(&self, low: u32) -> u64 {
        self.highest
            .wrapping_add_signed(i64::from(low.wrapping_sub(self.highest as u32) as i32))
    }

    /// Returns what to add to the producer's timestamp for the packet sent as `out_seq`.
    #[inline]
    pub(crate) fn timestamp_offset(&self, out_seq: u64) -> u32 {
        if out_seq >= self.first {
            self.timestamp_offset
        } else {
            self.earlier_of(out_seq)
                .map_or(self.timestamp_offset, |segment| segment.timestamp_offset)
        }
    }

    #[cold]
    fn earlier_of(&self, out_seq: u64) -> Option<&Segment> {
        self.earlier.iter().find(|segment| out_seq >= segment.first)
    }

    /// Returns when the newest packet was admitted.
    pub(crate) fn newest_at(&self) -> u64 {
        self.highest_at
    }

    /// Returns the timestamp offset of the current segment.
    pub(crate) fn current_timestamp_offset(&self) -> u32 {
        self.timestamp_offset
    }

    /// Extends an outgoing sequence number that was sent to its `out_seq`, and names the packet it was given for.
    pub(crate) fn locate(&self, sequence: u16) -> Option<(u64, Place)> {
        let behind = (self.highest as u16).wrapping_sub(sequence);
        if behind >= 1 << 15 {
            return None;
        }
        let out_seq = self.highest.checked_sub(u64::from(behind))?;
        let (source, offset) = if out_seq >= self.first {
            (self.source, self.offset)
        } else {
            let segment = self.earlier_of(out_seq)?;
            (segment.source, segment.offset)
        };
        Some((out_seq, source.place(out_seq.wrapping_add(offset))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(index: u64, timestamp: u32) -> Slot {
        Slot {
            index,
            timestamp,
            len: 0,
            buffer: 0,
            flags: 0,
            pad: 0,
            codec: 0,
            level: 0,
            arrived: 0,
        }
    }

    const CAMERA: u32 = 3;

    fn camera() -> Source {
        Source::first(CAMERA)
    }

    fn located(munger: &Munger, sequence: u16) -> Option<(u64, u32, u64)> {
        let (out_seq, place) = munger.locate(sequence)?;
        Some((out_seq, place.stream(), place.index()))
    }

    #[test]
    fn a_pause_leaves_no_gap() {
        let (mut munger, camera) = (Munger::new(100), camera());
        assert_eq!(munger.admit(&packet(5000, 0), camera, 90_000, 0), Some(100));
        assert_eq!(munger.admit(&packet(5001, 0), camera, 90_000, 0), Some(101));
        munger.desync();
        let after = packet(5100, 9000);
        assert_eq!(munger.admit(&after, camera, 90_000, 0), Some(102));
        assert_eq!(munger.timestamp_offset(102), 0, "one source, one clock");
        assert_eq!(located(&munger, 102), Some((102, CAMERA, 5100)));
        assert_eq!(located(&munger, 101), Some((101, CAMERA, 5001)));
        assert_eq!(munger.locate(99), None, "never sent");
        assert_eq!(munger.locate(103), None, "not yet sent");
    }

    #[test]
    fn a_packet_older_than_its_segment_is_refused() {
        let (mut munger, camera) = (Munger::new(7), camera());
        munger.admit(&packet(50, 0), camera, 90_000, 0);
        assert_eq!(munger.admit(&packet(49, 0), camera, 90_000, 0), None);
        assert_eq!(munger.admit(&packet(53, 0), camera, 90_000, 0), Some(10));
        assert_eq!(munger.admit(&packet(51, 0), camera, 90_000, 0), Some(8));
    }

    #[test]
    fn after_a_pause_nothing_starts_with_a_packet_older_than_one_that_was_sent() {
        let (mut munger, camera) = (Munger::new(7), camera());
        munger.admit(&packet(50, 0), camera, 90_000, 0);
        munger.admit(&packet(52, 0), camera, 90_000, 0);
        munger.desync();
        assert_eq!(munger.admit(&packet(51, 0), camera, 90_000, 0), None);
        assert_eq!(munger.admit(&packet(53, 0), camera, 90_000, 0), Some(10));
    }

    #[test]
    fn an_outgoing_sequence_wraps_into_the_next_cycle() {
        let (mut munger, camera) = (Munger::new(u16::MAX), camera());
        let mut admit = |index| munger.admit(&packet(index, 0), camera, 90_000, 0);
        assert_eq!(admit(10), Some(0xffff));
        assert_eq!(admit(11), Some(0x1_0000));
        assert_eq!(located(&munger, 0xffff), Some((0xffff, CAMERA, 10)));
        assert_eq!(munger.extend_low(0xffff), 0xffff);
        assert_eq!(munger.extend_low(0x1_0000), 0x1_0000);
    }

    #[test]
    fn a_restarted_source_continues_in_time() {
        let (mut munger, camera) = (Munger::new(1), camera());
        munger.admit(&packet(10, 90_000), camera, 90_000, 1_000_000);
        let anew = packet(70_003, 7);
        assert_eq!(
            munger.admit(&anew, camera.next(), 90_000, 1_100_000),
            Some(2)
        );
        assert_eq!(7u32.wrapping_add(munger.timestamp_offset(2)), 99_000);
        assert_eq!(munger.timestamp_offset(1), 0);
    }

    #[test]
    fn a_stream_that_jumped_keeps_its_rtp_clock() {
        for (timestamp, expected) in [
            (90_000 + 9_500, 99_500),
            (90_000 + 60_000, 99_000),
            (90_000, 99_000),
            (80_000, 99_000),
        ] {
            let (mut munger, camera) = (Munger::new(1), camera());
            munger.admit(&packet(10, 90_000), camera, 90_000, 1_000_000);
            let elsewhere = packet(9_000, timestamp);
            munger.admit(&elsewhere, camera.next(), 90_000, 1_100_000);
            assert_eq!(timestamp.wrapping_add(munger.timestamp_offset(2)), expected);
        }
    }

    #[test]
    fn an_out_seq_leads_back_to_the_encoding_it_was_assigned_for() {
        // Two encodings of one producer, both in their first run, with equal stream indices.
        let (mut munger, small, large) = (Munger::new(1), Source::first(3), Source::first(4));
        for (step, (source, index)) in [
            (small, 10),
            (small, 11),
            (large, 11),
            (large, 12),
            (small, 13),
        ]
        .into_iter()
        .enumerate()
        {
            let out_seq = munger.admit(&packet(index, 0), source, 90_000, 1000 * step as u64);
            assert_eq!(out_seq, Some(step as u64 + 1));
        }
        let places: Vec<_> = (1..6)
            .filter_map(|out_seq| located(&munger, out_seq))
            .collect();
        assert_eq!(
            places,
            [(1, 3, 10), (2, 3, 11), (3, 4, 11), (4, 4, 12), (5, 3, 13)]
        );
        let mut synced = [small, large].map(|source| munger.is_synced(source));
        assert_eq!(
            synced,
            [true, false],
            "a switch is never taken for going on"
        );
        munger.desync();
        synced = [small, large].map(|source| munger.is_synced(source));
        assert_eq!(synced, [false, false]);
    }
}
