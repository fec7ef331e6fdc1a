//! Retransmissions to one consumer: answers NACKs from the producer's ring, without a packet store of its own.
//!
//! # Job
//! Decides whether an *outgoing* sequence number is sent again, and under which RTX sequence number. Mapping it to
//! the producer's packet belongs to `munger`, writing it to `egress`.
//!
//! # Invariants
//! - A packet is never sent again twice within one round trip.
//! - However many NACKs arrive, no more packets are retransmitted than were sent, plus a small allowance.
//!
//! # Cost
//! O(1), no allocation; 1 KB per consumer that answers NACKs, allocated at creation.
//!
//! # Left out
//! RTX-based padding for probing; see `pacer`.
//!
//! RFC 4588 (RTX payload format), RFC 4585 §6.2.1 (generic NACK).

use super::clock::Micros;
use super::producer::{MAX_CODECS, NO_PAYLOAD_TYPE};

/// Packets whose last retransmission is remembered.
const REMEMBERED: usize = 128;
/// Round-trip time assumed until one is known.
const DEFAULT_RTT: Micros = 100_000;
/// Retransmissions allowed beyond the number of packets sent.
const ALLOWANCE: u64 = 512;

/// The RTX stream of a consumer.
#[derive(Clone, Debug)]
pub(crate) struct RtxStream {
    pub(crate) ssrc: u32,
    /// Payload type by index of the producer's codec.
    pub(crate) payload_types: [u8; MAX_CODECS],
    /// Extended sequence number of the next packet.
    next: u64,
}

impl RtxStream {
    pub(crate) fn new(ssrc: u32, payload_types: [u8; MAX_CODECS], first: u16) -> Self {
        Self {
            ssrc,
            payload_types,
            next: u64::from(first),
        }
    }

    /// Returns the payload type for this codec, if it has RTX.
    pub(crate) fn payload_type(&self, codec: u8) -> Option<u8> {
        let payload_type = *self.payload_types.get(usize::from(codec))?;
        (payload_type != NO_PAYLOAD_TYPE).then_some(payload_type)
    }

    /// Returns the next extended sequence number and advances.
    pub(crate) fn advance(&mut self) -> u64 {
        let index = self.next;
        self.next += 1;
        index
    }
}

/// Retransmission history of a consumer.
#[derive(Debug)]
pub(crate) struct Resends {
    recent: Box<[(u64, Micros); REMEMBERED]>,
    sent: u64,
}

impl Resends {
    pub(crate) fn new() -> Self {
        Self {
            recent: Box::new([(u64::MAX, 0); REMEMBERED]),
            sent: 0,
        }
    }

    /// Returns whether the packet sent as `out_seq` may be sent again now, and if so remembers it.
    pub(crate) fn take(
        &mut self,
        out_seq: u64,
        sent_at_first: u64,
        rtt: Option<Micros>,
        now: Micros,
    ) -> bool {
        if self.sent >= sent_at_first + ALLOWANCE {
            return false;
        }
        let place = &mut self.recent[out_seq as usize % REMEMBERED];
        if place.0 == out_seq && now < place.1 + rtt.unwrap_or(DEFAULT_RTT) {
            return false;
        }
        *place = (out_seq, now);
        self.sent += 1;
        true
    }

    /// Returns the number of packets retransmitted.
    pub(crate) fn count(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_retransmitted_once_per_round_trip() {
        let mut resends = Resends::new();
        assert!(resends.take(7, 100, Some(50_000), 0));
        assert!(!resends.take(7, 100, Some(50_000), 49_999));
        assert!(resends.take(8, 100, Some(50_000), 49_999));
        assert!(resends.take(7, 100, Some(50_000), 50_000));
    }

    #[test]
    fn a_flood_gets_no_more_than_was_sent_plus_the_allowance() {
        let mut resends = Resends::new();
        let mut given = 0;
        for round in 0..100u64 {
            for out_seq in 0..100 {
                given += u64::from(resends.take(out_seq, 100, Some(1), round * 1000));
            }
        }
        assert_eq!(given, 100 + ALLOWANCE);
        assert_eq!(resends.count(), given);
    }
}
