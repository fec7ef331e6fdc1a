//! What a router tells its owner, and the figures it keeps.

use std::time::Duration;

use super::config::{ConsumerKey, ProducerKey, TransportKey};
use crate::error::SrtpError;
use crate::link::{DtlsState, IceState};
use crate::net::Destination;
use crate::srtp::SrtpProfile;

/// A change of state. Values that would need memory are read from the router: `volumes`, `producer_scores`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RouterEvent {
    /// The path of a transport changed.
    TransportIce {
        /// Whose.
        transport: TransportKey,
        /// The new state.
        state: IceState,
        /// Where media is sent.
        selected: Option<Destination>,
    },
    /// DTLS of a transport changed.
    TransportDtls {
        /// Whose.
        transport: TransportKey,
        /// The new state.
        state: DtlsState,
        /// The SRTP profile, once connected.
        profile: Option<SrtpProfile>,
    },
    /// The first check with restarted credentials was seen; ask `link` for the fragments still valid.
    IceRestarted {
        /// Whose.
        transport: TransportKey,
    },
    /// The router closed a transport by itself, with its producers and consumers.
    TransportClosed {
        /// Which.
        transport: TransportKey,
        /// Why, for people.
        reason: String,
    },
    /// A producer closed because its transport did.
    ProducerClosed {
        /// Which.
        producer: ProducerKey,
    },
    /// A consumer closed because its producer or its transport did.
    ConsumerClosed {
        /// Which.
        consumer: ConsumerKey,
    },
    /// Scores of a producer changed: see `Router::producer_scores`.
    ProducerScore {
        /// Which.
        producer: ProducerKey,
    },
    /// The score of a consumer or of its producer changed.
    ConsumerScore {
        /// Which.
        consumer: ConsumerKey,
        /// How well it arrives at the receiver, 0–10.
        score: u8,
        /// How well the producer arrives here, 0–10.
        producer_score: u8,
    },
    /// A volume interval ended with somebody loud, or with the first silence: see `Router::volumes`.
    Volumes,
    /// The dominant speaker changed.
    ActiveSpeaker {
        /// Nobody if the last one left.
        producer: Option<ProducerKey>,
    },
}

/// The score of one incoming stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamScore {
    /// Position in the producer's encodings.
    pub encoding: usize,
    /// SSRC, once known.
    pub ssrc: Option<u32>,
    /// RID, if it has one.
    pub rid: Option<String>,
    /// 0–10.
    pub score: u8,
}

/// Datagrams that were dropped, by reason; nothing of a peer's making is counted elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// No such transport or not a class we take.
    pub unknown_class: u64,
    /// From an address no ICE check has validated.
    pub unknown_source: u64,
    /// Before DTLS gave keys.
    pub no_keys: u64,
    /// Header or RTCP not well-formed.
    pub malformed: u64,
    /// No producer for this SSRC, mid or payload type.
    pub unknown_stream: u64,
    /// Not authentic.
    pub not_authentic: u64,
    /// Seen before, or too old to tell.
    pub replayed: u64,
    /// Longer than a slot.
    pub oversize: u64,
    /// So late that something newer has its place, or already repaired.
    pub late: u64,
    /// The producer is paused.
    pub paused: u64,
    /// Consumer has no destination or keys yet.
    pub unready: u64,
    /// Requests beyond the allowance of a receiver (NACK, PLI, FIR).
    pub excessive: u64,
}

impl Drops {
    /// Counts a datagram that SRTP or SRTCP refused.
    pub(super) fn count(&mut self, error: SrtpError) {
        match error {
            SrtpError::Authentication => self.not_authentic += 1,
            SrtpError::Replayed => self.replayed += 1,
            _ => self.malformed += 1,
        }
    }
}

/// Totals of a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterStats {
    /// RTP packets taken from senders.
    pub packets_in: u64,
    /// Their bytes, as datagrams.
    pub bytes_in: u64,
    /// RTP packets forwarded, retransmissions included.
    pub packets_out: u64,
    /// Their bytes, as datagrams.
    pub bytes_out: u64,
    /// Retransmissions among them.
    pub retransmitted: u64,
    /// Bytes of RTP padding among them.
    pub padding_out: u64,
    /// RTCP datagrams received.
    pub rtcp_in: u64,
    /// RTCP datagrams sent.
    pub rtcp_out: u64,
    /// What was dropped.
    pub drops: Drops,
    /// Memory of all rings.
    pub ring_bytes: usize,
    /// Open transports.
    pub transports: usize,
    /// Open producers.
    pub producers: usize,
    /// Open consumers.
    pub consumers: usize,
}

impl RouterStats {
    pub(super) fn count_out(&mut self, packets: u64, bytes: u64) {
        self.packets_out += packets;
        self.bytes_out += bytes;
    }
}

/// Figures of one transport.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransportStats {
    /// RTP and RTCP datagrams received.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// RTP and RTCP datagrams sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// The receiver's estimate, if it sends REMB.
    pub remb_bps: Option<u64>,
    /// What may be sent to the receiver; `None` is everything.
    pub budget_bps: Option<u64>,
    /// Share of packets the receiver reported lost by transport-wide feedback, of 1.
    pub reported_loss: f64,
    /// Round trip from reports.
    pub rtt: Option<Duration>,
}

/// Figures of one incoming stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// SSRC, once known.
    pub ssrc: Option<u32>,
    /// SSRC of its RTX.
    pub rtx_ssrc: Option<u32>,
    /// RID.
    pub rid: Option<String>,
    /// Packets received, repairs included.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Packets missing now: expected less received.
    pub lost: u64,
    /// Share of 256 lost in the last report interval.
    pub fraction_lost: u8,
    /// Padding-only packets, not forwarded.
    pub padding_only: u64,
    /// NACK messages sent.
    pub nacks: u64,
    /// Packets asked for in them.
    pub nacked_packets: u64,
    /// Packets that came by retransmission.
    pub repaired: u64,
    /// RTX packets received.
    pub rtx_packets: u64,
    /// PLI or FIR sent.
    pub key_frame_requests: u64,
    /// Key frames received.
    pub key_frames: u64,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Round trip to the sender, from XR.
    pub rtt: Option<Duration>,
    /// 0–10.
    pub score: u8,
    /// Memory of its ring.
    pub ring_bytes: usize,
}

/// Figures of one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerStats {
    /// SSRC it sends with.
    pub ssrc: u32,
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Packets lost, as the receiver says.
    pub lost: i64,
    /// Share of 256 lost, as the receiver says.
    pub fraction_lost: u8,
    /// NACK messages received.
    pub nacks: u64,
    /// Packets asked for in them.
    pub nacked_packets: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// PLI and FIR received.
    pub key_frame_requests: u64,
    /// Jitter, as the receiver says.
    pub jitter: Duration,
    /// Round trip to the receiver.
    pub rtt: Option<Duration>,
    /// 0–10.
    pub score: u8,
    /// Score of the producer's stream, 0–10.
    pub producer_score: u8,
    /// Paused by its owner.
    pub paused: bool,
    /// Paused by its producer.
    pub producer_paused: bool,
}
