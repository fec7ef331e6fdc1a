//! What was sent to one receiver under transport-wide numbers, until its feedback comes.
//!
//! # Job
//! Keeps number, time and size of the last packets in a ring, and what the feedback has said of each.
//!
//! # Invariants
//! - A slot answers for one number only: a number that was overwritten or never sent is not found.
//! - A packet is reported received once; a repeated report changes nothing.
//!
//! # Cost
//! 16 bytes a packet, O(1), no allocation: the ring grows in `grow`, which the owner calls from a timer. 16 KB at
//! first, 128 KB at most.

use crate::bwe::clock::Micros;
use crate::rtp::seq::extend_near;

const SMALLEST: usize = 1024;
const LARGEST: usize = 8192;
/// Packets are remembered for two seconds at the current rate, and never longer than this.
const MAX_AGE: Micros = 10_000_000;
const SECONDS_KEPT: u64 = 2;

/// What feedback has said of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Unreported,
    Missing,
    Received,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentPacket {
    pub(crate) at: Micros,
    /// Low half of the extended number.
    number: u32,
    /// Bytes of the datagram; 0 in a slot never used.
    pub(crate) size: u16,
    pub(crate) fate: Fate,
}

const _: () = assert!(size_of::<SentPacket>() == 16);

/// The packets sent to one receiver.
#[derive(Debug)]
pub(crate) struct Sent {
    /// A power of two of slots.
    ring: Box<[SentPacket]>,
    /// Extended number of the next packet. Begins a cycle above zero, so that older numbers exist.
    next: u64,
    last_at: Option<Micros>,
    bytes: u64,
    packets: u64,
}

impl Sent {
    pub(crate) fn new() -> Self {
        Self {
            ring: vec![SentPacket::default(); SMALLEST].into_boxed_slice(),
            next: 0x1_0000,
            last_at: None,
            bytes: 0,
            packets: 0,
        }
    }

    /// Records a packet of `size` bytes.
    #[inline]
    pub(crate) fn record(&mut self, number: u16, size: usize, now: Micros) {
        let Some(index) = extend_near(number, self.next) else {
            return;
        };
        let slot = self.slot(index);
        self.ring[slot] = SentPacket {
            at: now,
            number: index as u32,
            size: size.clamp(1, u16::MAX.into()) as u16,
            fate: Fate::Unreported,
        };
        self.next = index + 1;
        self.last_at = Some(now);
        self.bytes += size as u64;
        self.packets += 1;
    }

    fn slot(&self, index: u64) -> usize {
        index as usize & (self.ring.len() - 1)
    }

    /// Returns the packet sent under this 16-bit number, with its extended number.
    pub(crate) fn find(&mut self, number: u16, now: Micros) -> Option<(u64, &mut SentPacket)> {
        let index = extend_near(number, self.next.saturating_sub(1))?;
        let slot = self.slot(index);
        let packet = &mut self.ring[slot];
        let known = packet.size > 0
            && packet.number == index as u32
            && now.saturating_sub(packet.at) <= MAX_AGE;
        known.then_some((index, packet))
    }

    /// Returns when the packet with this extended number was sent, if it is still known.
    pub(crate) fn sent_at(&self, index: u64) -> Option<Micros> {
        let packet = &self.ring[self.slot(index)];
        (index < self.next && packet.size > 0 && packet.number == index as u32).then_some(packet.at)
    }

    /// Returns how many packets were sent before the one with this extended number, if numbers were sent in order.
    pub(crate) fn before(&self, index: u64) -> u64 {
        self.packets.saturating_sub(self.next.saturating_sub(index))
    }

    /// Returns the number of packets the ring can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Returns when the last packet was sent.
    pub(crate) fn last_at(&self) -> Option<Micros> {
        self.last_at
    }

    /// Returns the bytes and packets sent so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.bytes, self.packets)
    }

    /// Makes room for two seconds at this rate, within the limits. Allocates if it grows.
    pub(crate) fn grow(&mut self, packets_per_second: u64) {
        let wanted = packets_per_second
            .saturating_mul(SECONDS_KEPT)
            .clamp(1, LARGEST as u64)
            .next_power_of_two() as usize;
        if wanted <= self.ring.len() {
            return;
        }
        let larger = vec![SentPacket::default(); wanted].into_boxed_slice();
        let old = std::mem::replace(&mut self.ring, larger);
        let first = self.next.saturating_sub(old.len() as u64);
        for index in first..self.next {
            let packet = old[index as usize & (old.len() - 1)];
            if packet.number == index as u32 {
                let slot = self.slot(index);
                self.ring[slot] = packet;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_until_it_is_overwritten() {
        let mut sent = Sent::new();
        for number in 0..=1024u16 {
            sent.record(number, 1000, u64::from(number));
        }
        assert!(sent.find(0, 2000).is_none());
        let (index, packet) = sent.find(1, 2000).expect("still there");
        assert_eq!((packet.at, packet.size), (1, 1000));
        assert_eq!(sent.sent_at(index), Some(1));
        assert!(sent.find(1025, 2000).is_none(), "not sent yet");
        assert_eq!(sent.sent_at(index + 1024), None);
    }

    #[test]
    fn numbers_go_on_over_a_wrap() {
        let mut sent = Sent::new();
        for number in (65_000..=u16::MAX).chain(0..100) {
            sent.record(number, 500, 7);
        }
        let (before, _) = sent.find(u16::MAX, 7).expect("sent");
        let (after, _) = sent.find(0, 7).expect("sent");
        assert_eq!(after, before + 1);
        assert_eq!(sent.totals(), (500 * 636, 636));
    }

    #[test]
    fn a_packet_from_long_ago_is_not_found() {
        let mut sent = Sent::new();
        sent.record(3, 100, 0);
        assert!(sent.find(3, MAX_AGE).is_some());
        assert!(sent.find(3, MAX_AGE + 1).is_none());
    }

    #[test]
    fn a_ring_that_grows_keeps_what_it_held() {
        let mut sent = Sent::new();
        for number in 0..3000u16 {
            sent.record(number, 100, u64::from(number));
        }
        sent.grow(1000);
        assert_eq!(sent.capacity(), 2048);
        assert!(sent.find(1975, 3000).is_none());
        for number in 1976..3000u16 {
            assert!(sent.find(number, 3000).is_some(), "{number}");
        }
        sent.grow(u64::MAX);
        assert_eq!(sent.capacity(), LARGEST);
        sent.grow(0);
        assert_eq!(sent.capacity(), LARGEST);
    }
}
