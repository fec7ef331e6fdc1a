//! Sequence numbers and timestamps of one outgoing stream.
//!
//! # Job
//! Maps stream indices of a producer to the consumer's own, without gaps over pauses, switches and
//! restarts, and back again for retransmissions. SSRC and payload type belong to `template`.
//!
//! # Invariants
//! - Own index = stream index − offset within a segment; a segment starts with the packet that follows
//!   the last one sent.
//! - An own index is given to one packet only: what is older than the start of its segment is refused.
//! - Timestamps never step back at the start of a segment.
//!
//! # Cost
//! O(1), no allocation, 72 bytes.
//!
//! # Left out
//! More than one earlier segment: a retransmission from before two pauses in a row is not answered.
//! Payload descriptors (VP8 picture ids) are left alone, as nothing inside a stream is dropped.

use super::ring::Slot;

/// A run of packets with one constant difference.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Segment {
    /// Own index of its first packet.
    first: u64,
    /// Stream index less own index.
    offset: u64,
    /// Added to the producer's timestamp.
    timestamp_offset: u32,
    /// Generation of the incoming stream; a restarted stream has another.
    epoch: u32,
}

/// Rewrites one stream. In the order of use: all but the last field, 48 bytes, is for every packet.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Munger {
    now: Segment,
    highest: u64,
    /// Arrival of the packet with the highest timestamp, in microseconds.
    highest_at: u64,
    highest_timestamp: u32,
    started: bool,
    synced: bool,
    before: Segment,
}

/// Bytes of a munger that every packet needs, from its start.
pub(crate) const HOT: usize = std::mem::offset_of!(Munger, before);

impl Munger {
    /// The first packet gets the sequence number `first`; keep it below 2^15 (RFC 3711 §3.3.1).
    pub(crate) fn new(first: u16) -> Self {
        let none = Segment {
            first: u64::MAX,
            offset: 0,
            timestamp_offset: 0,
            epoch: u32::MAX,
        };
        Self {
            now: none,
            before: none,
            highest: u64::from(first).wrapping_sub(1),
            highest_timestamp: 0,
            highest_at: 0,
            started: false,
            synced: false,
        }
    }

    /// The next packet starts a new segment.
    pub(crate) fn desync(&mut self) {
        self.synced = false;
    }

    /// The next packet of this generation of its source continues the segment.
    #[inline]
    pub(crate) fn is_synced(&self, epoch: u32) -> bool {
        self.synced && self.now.epoch == epoch
    }

    /// The own index for this packet, or nothing if it is older than its segment.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        slot: &Slot,
        epoch: u32,
        clock_rate: u32,
        now: u64,
    ) -> Option<u64> {
        if !self.is_synced(epoch) {
            self.start_segment(slot, epoch, clock_rate, now);
        }
        let own = slot.index.wrapping_sub(self.now.offset);
        // Both are far below 2^63, so a number from before the segment wraps to a huge one or is smaller.
        if own < self.now.first || own > self.now.first + (1 << 62) {
            return None;
        }
        if own > self.highest || !self.started {
            self.highest = own;
            self.highest_timestamp = slot.timestamp.wrapping_add(self.now.timestamp_offset);
            self.highest_at = now;
            self.started = true;
        }
        Some(own)
    }

    #[cold]
    fn start_segment(&mut self, slot: &Slot, epoch: u32, clock_rate: u32, now: u64) {
        let next = self.highest.wrapping_add(1);
        let timestamp_offset = if !self.started || self.now.epoch == epoch {
            // The same source: its clock went on while we were silent.
            self.now.timestamp_offset
        } else {
            let passed = now.saturating_sub(self.highest_at).max(1);
            let ticks = (passed * u64::from(clock_rate) / 1_000_000).max(1) as u32;
            self.highest_timestamp
                .wrapping_add(ticks)
                .wrapping_sub(slot.timestamp)
        };
        self.before = self.now;
        self.now = Segment {
            first: next,
            offset: slot.index.wrapping_sub(next),
            timestamp_offset,
            epoch,
        };
        self.synced = true;
    }

    /// The full own index that ends in these 32 bits, near the highest sent.
    #[inline]
    pub(crate) fn widen(&self, low: u32) -> u64 {
        self.highest
            .wrapping_add_signed(i64::from(low.wrapping_sub(self.highest as u32) as i32))
    }

    /// What to add to the producer's timestamp for the packet with this own index.
    #[inline]
    pub(crate) fn timestamp_offset(&self, own: u64) -> u32 {
        if own >= self.now.first {
            self.now.timestamp_offset
        } else {
            self.before.timestamp_offset
        }
    }

    /// When the newest packet was let through.
    pub(crate) fn newest_at(&self) -> u64 {
        self.highest_at
    }

    /// The timestamp offset of what is sent now.
    pub(crate) fn current_timestamp_offset(&self) -> u32 {
        self.now.timestamp_offset
    }

    /// Own index and stream index of an outgoing sequence number, if it was sent from this generation.
    pub(crate) fn locate(&self, sequence: u16, epoch: u32) -> Option<(u64, u64)> {
        if !self.started {
            return None;
        }
        let behind = (self.highest as u16).wrapping_sub(sequence);
        if behind >= 1 << 15 {
            return None;
        }
        let own = self.highest.checked_sub(u64::from(behind))?;
        let segment = if own >= self.now.first {
            &self.now
        } else if own >= self.before.first {
            &self.before
        } else {
            return None;
        };
        (segment.epoch == epoch).then(|| (own, own.wrapping_add(segment.offset)))
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
        }
    }

    #[test]
    fn a_pause_leaves_no_gap() {
        let mut munger = Munger::new(100);
        assert_eq!(munger.admit(&packet(5000, 0), 0, 90_000, 0), Some(100));
        assert_eq!(munger.admit(&packet(5001, 0), 0, 90_000, 0), Some(101));
        munger.desync();
        assert_eq!(munger.admit(&packet(5100, 9000), 0, 90_000, 0), Some(102));
        assert_eq!(munger.timestamp_offset(102), 0, "one source, one clock");
        assert_eq!(munger.locate(102, 0), Some((102, 5100)));
        assert_eq!(munger.locate(101, 0), Some((101, 5001)));
        assert_eq!(munger.locate(99, 0), None, "never sent");
        assert_eq!(munger.locate(103, 0), None, "not yet sent");
    }

    #[test]
    fn a_packet_older_than_its_segment_is_refused() {
        let mut munger = Munger::new(7);
        munger.admit(&packet(50, 0), 0, 90_000, 0);
        assert_eq!(munger.admit(&packet(49, 0), 0, 90_000, 0), None);
        assert_eq!(munger.admit(&packet(53, 0), 0, 90_000, 0), Some(10));
        assert_eq!(munger.admit(&packet(51, 0), 0, 90_000, 0), Some(8));
    }

    #[test]
    fn an_outgoing_sequence_wraps_into_the_next_cycle() {
        let mut munger = Munger::new(u16::MAX);
        assert_eq!(munger.admit(&packet(10, 0), 0, 90_000, 0), Some(0xffff));
        assert_eq!(munger.admit(&packet(11, 0), 0, 90_000, 0), Some(0x1_0000));
        assert_eq!(munger.locate(0xffff, 0), Some((0xffff, 10)));
        assert_eq!(munger.widen(0xffff), 0xffff);
        assert_eq!(munger.widen(0x1_0000), 0x1_0000);
    }

    #[test]
    fn a_restarted_source_continues_in_time() {
        let mut munger = Munger::new(1);
        munger.admit(&packet(10, 90_000), 0, 90_000, 1_000_000);
        assert_eq!(munger.admit(&packet(3, 7), 1, 90_000, 1_100_000), Some(2));
        assert_eq!(7u32.wrapping_add(munger.timestamp_offset(2)), 99_000);
        assert_eq!(munger.locate(1, 1), None, "the old source's ring is gone");
    }
}
