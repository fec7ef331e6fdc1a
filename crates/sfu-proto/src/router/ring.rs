//! The recent packets of one incoming stream, decrypted: the shared plaintext that all consumers' packets are
//! encrypted from, and the history for retransmissions.
//!
//! # Job
//! Stores payloads by stream index. Headers belong to `template`, limits on retransmissions to `rtx`.
//!
//! # Invariants
//! - A slot is valid only if its stored index equals the requested one.
//! - A payload has `HEADROOM` bytes before it (the OSN of RFC 4588) and `TAIL` bytes behind it (RTP padding).
//! - A packet is decrypted into the spare buffer and becomes visible only by `commit`: forged or replayed packets
//!   never overwrite the history.
//! - The padding of a slot is set once and never changes.
//!
//! # Cost
//! Look-up and commit are O(1). Storage is allocated at the first packet: 64 slots (audio) 98 KB, 512 (video) 788 KB.
//!
//! # Left out
//! Payloads over `MAX_PAYLOAD` bytes, which exceed a path MTU of 1500.

use super::passthrough::PassthroughExtensions;
use crate::net::Sink;

/// Bytes before a payload for the original sequence number of a retransmission.
pub(crate) const HEADROOM: usize = 2;
/// Bytes behind a payload for RTP padding.
pub(crate) const TAIL: usize = 64;
const BUFFER: usize = 1536;
/// The largest payload a slot holds.
pub(crate) const MAX_PAYLOAD: usize = BUFFER - HEADROOM - TAIL;
const EMPTY: u64 = u64::MAX;

/// The RTP marker bit was set.
pub(crate) const MARKER: u8 = 1;
/// First packet of a key frame.
pub(crate) const KEY_FRAME: u8 = 2;
/// `level` is set.
pub(crate) const LEVEL: u8 = 4;
/// The slot has an entry in the side table of passthrough extensions.
pub(crate) const PASSTHROUGH: u8 = 8;
/// The payload is one byte of padding, forwarded so that a number without media leaves no gap.
pub(crate) const FILLER: u8 = 16;
/// It was sent in a way that must be repeated to the byte: its padding must not change.
pub(crate) const PADDING_FIXED: u8 = 32;
/// So far received by retransmission only.
pub(crate) const REPAIRED: u8 = 64;
/// It is of a video stream.
pub(crate) const VIDEO: u8 = 128;

/// Number of kinds told apart by `Slot::kind`.
pub(crate) const KINDS: usize = 2;

/// Metadata of a stored packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Stream index: the sender's extended sequence number less the dropped padding-only packets.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    /// Length of the payload without padding.
    pub(crate) len: u16,
    pub(crate) buffer: u16,
    pub(crate) flags: u8,
    /// Padding behind the payload, for transports with padding enabled.
    pub(crate) pad: u8,
    /// Index of the producer's codec.
    pub(crate) codec: u8,
    /// RFC 6464 byte: voice activity flag and level.
    pub(crate) level: u8,
    /// Low half of the time it arrived.
    pub(crate) arrived: u32,
}

impl Slot {
    /// Returns 0 for audio, 1 for video.
    #[inline]
    pub(crate) fn kind(&self) -> usize {
        usize::from(self.flags & VIDEO != 0)
    }
}

/// The history of one stream.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: Vec<Slot>,
    passthrough: Vec<PassthroughExtensions>,
    storage: Vec<u8>,
    spare: u16,
    mask: u64,
}

impl Ring {
    /// Creates a ring of `slots` packets, a power of two; `passthrough` adds the side table. Allocates no payload
    /// storage yet.
    pub(crate) fn new(slots: usize, passthrough: bool) -> Self {
        assert!(
            slots.is_power_of_two(),
            "invariant: ring sizes are powers of two"
        );
        let empty = Slot {
            index: EMPTY,
            timestamp: 0,
            len: 0,
            buffer: 0,
            flags: 0,
            pad: 0,
            codec: 0,
            level: 0,
            arrived: 0,
        };
        let mut table = vec![empty; slots];
        for (position, slot) in table.iter_mut().enumerate() {
            slot.buffer = position as u16;
        }
        Self {
            slots: table,
            passthrough: vec![
                PassthroughExtensions::default();
                if passthrough { slots + 1 } else { 0 }
            ],
            storage: Vec::new(),
            spare: slots as u16,
            mask: slots as u64 - 1,
        }
    }

    /// Prefetches the slot of the packet with this index and the buffer it is decrypted into.
    #[inline]
    pub(crate) fn prefetch<S: Sink>(&self, index: u64, len: usize, sink: &S) {
        sink.prefetch(&self.slots[(index & self.mask) as usize], usize::MAX);
        let start = self.spare as usize * BUFFER;
        if let Some(buffer) = self.storage.get(start..start + BUFFER) {
            sink.prefetch(buffer, len);
        }
    }

    /// Returns the buffer the next packet is decrypted into, headroom and tail included.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage = vec![0; (self.slots.len() + 1) * BUFFER];
        }
        let start = self.spare as usize * BUFFER;
        &mut self.storage[start..start + BUFFER]
    }

    /// Makes the spare buffer the packet `slot.index`. Returns false if a newer packet has the slot.
    #[inline]
    pub(crate) fn commit(&mut self, mut slot: Slot, passthrough: &PassthroughExtensions) -> bool {
        let place = &mut self.slots[(slot.index & self.mask) as usize];
        if place.index != EMPTY && place.index >= slot.index {
            return false;
        }
        slot.buffer = self.spare;
        self.spare = place.buffer;
        if slot.flags & PASSTHROUGH != 0 {
            self.passthrough[slot.buffer as usize] = *passthrough;
        }
        *place = slot;
        true
    }

    /// Returns the packet with this stream index, if it is still stored.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> Option<&Slot> {
        let slot = &self.slots[(index & self.mask) as usize];
        (slot.index == index).then_some(slot)
    }

    /// Called when the original of this packet arrives behind its retransmission. Returns true the first time.
    pub(crate) fn arrived_after_repair(&mut self, index: u64) -> bool {
        let slot = &mut self.slots[(index & self.mask) as usize];
        let repaired = slot.index == index && slot.flags & REPAIRED != 0;
        if repaired {
            slot.flags &= !REPAIRED;
        }
        repaired
    }

    /// Returns the number of slots.
    #[inline]
    pub(crate) fn places(&self) -> usize {
        self.slots.len()
    }

    /// Returns the newest packet whose index ends in these 32 bits, if it is still stored.
    #[inline]
    pub(crate) fn get_low(&self, low: u32) -> Option<&Slot> {
        let slot = &self.slots[(u64::from(low) & self.mask) as usize];
        (slot.index as u32 == low && slot.index != EMPTY).then_some(slot)
    }

    /// Returns the payload with the first `pad` bytes of its padding.
    #[inline]
    pub(crate) fn payload(&self, slot: &Slot, pad: u8) -> &[u8] {
        let start = slot.buffer as usize * BUFFER + HEADROOM;
        &self.storage[start..start + slot.len as usize + pad as usize]
    }

    /// Returns the payload behind the original sequence number, written into the headroom (RFC 4588 §4).
    pub(crate) fn retransmission(&mut self, slot: &Slot, original: u16) -> &[u8] {
        let start = slot.buffer as usize * BUFFER;
        let whole = &mut self.storage[start..start + HEADROOM + slot.len as usize];
        whole[..HEADROOM].copy_from_slice(&original.to_be_bytes());
        whole
    }

    /// Returns the passthrough extensions of a packet, if it has any.
    #[inline]
    pub(crate) fn passthrough(&self, slot: &Slot) -> Option<&PassthroughExtensions> {
        if slot.flags & PASSTHROUGH == 0 {
            return None;
        }
        self.passthrough.get(slot.buffer as usize)
    }

    /// Adds `pad` (1..=64) bytes of RTP padding to a packet (RFC 3550 §5.1), once.
    #[inline]
    pub(crate) fn pad(&mut self, low: u32, pad: u8) {
        let slot = &mut self.slots[(u64::from(low) & self.mask) as usize];
        let chosen = slot.pad != 0 || slot.flags & PADDING_FIXED != 0;
        if slot.index as u32 != low || chosen || pad == 0 || pad as usize > TAIL {
            return;
        }
        slot.pad = pad;
        let start = slot.buffer as usize * BUFFER + HEADROOM + slot.len as usize;
        let tail = &mut self.storage[start..start + pad as usize];
        tail.fill(0);
        tail[pad as usize - 1] = pad;
    }

    /// Forbids adding padding to the packet with this index from now on.
    pub(crate) fn fix_padding(&mut self, index: u64) {
        let slot = &mut self.slots[(index & self.mask) as usize];
        if slot.index == index {
            slot.flags |= PADDING_FIXED;
        }
    }

    /// Removes all packets and keeps the storage.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.index = EMPTY;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.storage.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u64, len: u16) -> Slot {
        Slot {
            index,
            timestamp: 0,
            len,
            buffer: 0,
            flags: 0,
            pad: 0,
            codec: 0,
            level: 0,
            arrived: 0,
        }
    }

    fn store(ring: &mut Ring, index: u64, payload: &[u8]) -> bool {
        ring.spare()[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
        ring.commit(
            slot(index, payload.len() as u16),
            &PassthroughExtensions::default(),
        )
    }

    #[test]
    fn a_packet_is_found_until_it_is_overwritten() {
        let mut ring = Ring::new(8, false);
        assert_eq!(ring.bytes(), 0);
        for index in 0..8 {
            assert!(store(&mut ring, index, &[index as u8; 3]));
        }
        let found = *ring.get(3).expect("stored");
        assert_eq!(ring.payload(&found, 0), [3; 3]);
        assert!(store(&mut ring, 11, &[11]));
        assert!(ring.get(3).is_none());
        assert!(
            !store(&mut ring, 3, &[0xee]),
            "older than what has its place"
        );
        let kept = *ring.get(11).expect("still there");
        assert_eq!(ring.payload(&kept, 0), [11]);
    }

    #[test]
    fn what_is_in_the_spare_buffer_disturbs_nothing() {
        let mut ring = Ring::new(2, false);
        store(&mut ring, 4, b"four");
        store(&mut ring, 5, b"five");
        ring.spare().fill(0xff);
        let four = *ring.get(4).expect("stored");
        assert_eq!(ring.payload(&four, 0), b"four");
    }

    #[test]
    fn padding_ends_in_its_own_length_and_is_chosen_once() {
        let mut ring = Ring::new(2, false);
        store(&mut ring, 7, b"abc");
        ring.pad(7, 4);
        ring.pad(7, 9);
        let padded = *ring.get(7).expect("stored");
        assert_eq!(ring.payload(&padded, padded.pad), b"abc\0\0\0\x04");
    }

    #[test]
    fn a_packet_that_was_sent_is_not_padded_afterwards() {
        let mut ring = Ring::new(2, false);
        store(&mut ring, 7, b"abc");
        ring.fix_padding(7);
        ring.pad(7, 4);
        assert_eq!(ring.get(7).expect("stored").pad, 0);
    }

    #[test]
    fn a_retransmission_starts_with_the_original_number() {
        let mut ring = Ring::new(2, false);
        store(&mut ring, 1, b"xy");
        let found = *ring.get(1).expect("stored");
        assert_eq!(ring.retransmission(&found, 0x0102), b"\x01\x02xy");
        assert_eq!(ring.payload(&found, 0), b"xy");
    }

    #[test]
    fn an_original_arrives_after_its_repair_once_and_keeps_its_other_flags() {
        let mut ring = Ring::new(2, false);
        let mut repaired = slot(7, 0);
        repaired.flags = REPAIRED | MARKER;
        assert!(ring.commit(repaired, &PassthroughExtensions::default()));
        ring.fix_padding(7);
        assert!(ring.arrived_after_repair(7));
        assert!(!ring.arrived_after_repair(7));
        assert_eq!(ring.get(7).expect("stored").flags, MARKER | PADDING_FIXED);
    }
}
