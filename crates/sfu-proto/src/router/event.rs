//! Events a router reports to its owner, and its statistics.

use std::time::Duration;

use super::config::{ConsumerKey, ProducerKey, TransportKey};
use super::counters::Counters;
use super::layers::Layers;
use crate::error::SrtpError;
use crate::link::{DtlsState, IceState};
use crate::net::Destination;
use crate::srtp::SrtpProfile;

/// A change of state. Values that would need an allocation are read from the router: `volumes`, `producer_scores`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RouterEvent {
    /// The path of a transport changed.
    TransportIce {
        /// Which transport.
        transport: TransportKey,
        /// The new state.
        state: IceState,
        /// Destination of media.
        selected: Option<Destination>,
    },
    /// DTLS of a transport changed.
    TransportDtls {
        /// Which transport.
        transport: TransportKey,
        /// The new state.
        state: DtlsState,
        /// The SRTP profile once connected.
        profile: Option<SrtpProfile>,
    },
    /// The first check with restarted credentials arrived; `link` lists the fragments that are still valid.
    IceRestarted {
        /// Which transport.
        transport: TransportKey,
    },
    /// The first media packet was sent to a transport's peer.
    MediaStarted {
        /// Which transport.
        transport: TransportKey,
    },
    /// The router closed a transport on its own, with its producers and consumers.
    TransportClosed {
        /// Which.
        transport: TransportKey,
        /// The reason, as text.
        reason: String,
    },
    /// A producer closed because its transport closed.
    ProducerClosed {
        /// Which.
        producer: ProducerKey,
    },
    /// A consumer closed because its producer or transport closed.
    ConsumerClosed {
        /// Which.
        consumer: ConsumerKey,
    },
    /// What is sent to a consumer of a producer with several encodings is another of them than before, or nothing.
    LayersChanged {
        /// Whose layers.
        consumer: ConsumerKey,
        /// What is sent; `None` while the consumer is paused.
        layers: Option<Layers>,
    },
    /// Scores of a producer changed; read them by `Router::producer_scores`.
    ProducerScore {
        /// Which.
        producer: ProducerKey,
    },
    /// The score of a consumer or of its producer changed.
    ConsumerScore {
        /// Which.
        consumer: ConsumerKey,
        /// Reception at the receiver, 0–10.
        score: u8,
        /// Reception of the producer here, 0–10.
        producer_score: u8,
    },
    /// A volume interval ended with audible producers, or with the first silence; read them by `Router::volumes`.
    Volumes,
    /// The dominant speaker changed.
    ActiveSpeaker {
        /// `None` if the dominant speaker left.
        producer: Option<ProducerKey>,
    },
}

/// Score of one incoming stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamScore {
    /// Index in the producer's encodings.
    pub encoding: usize,
    /// SSRC, once known.
    pub ssrc: Option<u32>,
    /// RID, if it has one.
    pub rid: Option<String>,
    /// 0–10.
    pub score: u8,
}

/// Dropped datagrams by reason. What peers cause is counted here only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// No such transport, or a class that is not handled.
    pub unknown_class: u64,
    /// From an address without a validated ICE check.
    pub unknown_source: u64,
    /// Before the DTLS handshake produced keys.
    pub no_keys: u64,
    /// Malformed header or RTCP.
    pub malformed: u64,
    /// No producer for this SSRC, mid or payload type.
    pub unknown_stream: u64,
    /// Authentication failed.
    pub not_authentic: u64,
    /// Replayed, or older than the replay window.
    pub replayed: u64,
    /// Larger than a ring slot.
    pub oversize: u64,
    /// Too late: a newer packet has its slot, or it was repaired already.
    pub late: u64,
    /// The producer is paused.
    pub paused: u64,
    /// The consumer's transport has no destination or keys yet, or its list is full.
    pub unready: u64,
    /// Requests of a receiver beyond its allowance (NACK, PLI, FIR).
    pub excessive: u64,
}

impl Drops {
    /// Counts a datagram refused by SRTP or SRTCP.
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
    /// RTP packets received.
    pub packets_in: u64,
    /// Their bytes, counted as datagrams.
    pub bytes_in: u64,
    /// RTP packets forwarded, retransmissions included.
    pub packets_out: u64,
    /// Their bytes, counted as datagrams.
    pub bytes_out: u64,
    /// Retransmissions among them.
    pub retransmitted: u64,
    /// Bytes of RTP padding among them.
    pub padding_out: u64,
    /// RTCP datagrams received.
    pub rtcp_in: u64,
    /// RTCP datagrams sent.
    pub rtcp_out: u64,
    /// Dropped datagrams.
    pub drops: Drops,
    /// Repair, key frame requests, failures.
    pub counters: Counters,
    /// Memory of all rings in bytes.
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

/// Statistics of one transport.
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
    /// The receiver's bandwidth estimate, if it sends REMB.
    pub remb_bps: Option<u64>,
    /// Send budget towards the receiver; `None` is unlimited.
    pub budget_bps: Option<u64>,
    /// Share of packets reported lost by transport-wide feedback, 0 to 1.
    pub reported_loss: f64,
    /// Round-trip time from reports.
    pub rtt: Option<Duration>,
}

/// Statistics of one incoming stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// SSRC once known.
    pub ssrc: Option<u32>,
    /// SSRC of its RTX.
    pub rtx_ssrc: Option<u32>,
    /// RID.
    pub rid: Option<String>,
    /// Packets received, repaired ones included.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Payload bits per second between the last two calls of `Router::measure_rates`.
    pub bitrate_bps: u64,
    /// Packets missing: expected less received.
    pub lost: u64,
    /// Fraction lost in the last report interval, in 1/256.
    pub fraction_lost: u8,
    /// Padding-only packets, which are not forwarded.
    pub padding_only: u64,
    /// NACK messages sent.
    pub nacks: u64,
    /// Packets requested by them.
    pub nacked_packets: u64,
    /// Packets received by retransmission only.
    pub repaired: u64,
    /// RTX packets received.
    pub rtx_packets: u64,
    /// PLI or FIR sent.
    pub key_frame_requests: u64,
    /// Key frames received.
    pub key_frames: u64,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Round-trip time to the sender, from XR.
    pub rtt: Option<Duration>,
    /// 0–10.
    pub score: u8,
    /// Memory of its ring in bytes.
    pub ring_bytes: usize,
}

/// Statistics of one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerStats {
    /// SSRC of the outgoing stream.
    pub ssrc: u32,
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Packets lost, as reported by the receiver.
    pub lost: i64,
    /// Fraction lost as reported by the receiver, in 1/256.
    pub fraction_lost: u8,
    /// NACK messages received.
    pub nacks: u64,
    /// Packets requested by them.
    pub nacked_packets: u64,
    /// Packets retransmitted.
    pub retransmitted: u64,
    /// PLI and FIR received.
    pub key_frame_requests: u64,
    /// Jitter as reported by the receiver.
    pub jitter: Duration,
    /// Round-trip time to the receiver.
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
