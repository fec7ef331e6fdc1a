//! What a worker reports: replies, state changes, statistics, its death.
//!
//! # Job
//! Typed events that cross the Python border as JSON (serde, snake_case, tag `type`). Nothing here is
//! produced per packet. Queueing and coalescing belong to `queue`.
//!
//! # Invariants
//! - `ready` is the first event of a worker, `died` the last one of a worker that did not end by `close`.
//! - A reply is never dropped; state events of one object keep only the newest when the reader is slow.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::{
    CommandError, ConsumerId, IceCandidate, Layers, MediaKind, ProducerId, Protocol, RouterId,
    TransportId,
};

/// An event for the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Answer to a request.
    Reply(Reply),
    /// The sockets are bound and the loop runs.
    Ready {
        /// Process id.
        pid: u32,
        /// Index of the worker.
        index: u32,
        /// The port of everything this worker does.
        port: u16,
        /// What transports will offer, with UDP and TCP.
        candidates: Vec<IceCandidate>,
    },
    /// ICE state of a transport changed, or the selected address did.
    TransportIce {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
        /// New state.
        state: IceState,
        /// The pair in use, once there is one.
        selected: Option<SelectedTuple>,
    },
    /// DTLS state of a transport changed.
    TransportDtls {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
        /// New state.
        state: DtlsState,
        /// Why it failed.
        reason: Option<String>,
        /// Such as `AEAD_AES_128_GCM`, once connected.
        srtp_profile: Option<String>,
        /// `1.2` or `1.3`, once connected and when known.
        dtls_version: Option<String>,
    },
    /// The first media packet was sent to a transport's peer.
    TransportMedia {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
    },
    /// A transport closed without being told to; its producers and consumers are gone.
    TransportClosed {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
        /// `panic`, `dtls failed: …`, `dtls closed by peer`, …
        reason: String,
    },
    /// Reception quality of a producer changed.
    ProducerScore {
        /// Router of the producer.
        router: RouterId,
        /// The producer.
        producer: ProducerId,
        /// One entry per stream.
        scores: Vec<StreamScore>,
    },
    /// Delivery quality of a consumer changed.
    ConsumerScore {
        /// Router of the consumer.
        router: RouterId,
        /// The consumer.
        consumer: ConsumerId,
        /// 0 (dead) to 10 (perfect), of this consumer.
        score: u8,
        /// Of the producer's stream in use.
        producer_score: u8,
        /// Of all streams of the producer.
        producer_scores: Vec<u8>,
    },
    /// Other layers of a simulcast producer are forwarded to a consumer.
    LayersChanged {
        /// Router of the consumer.
        router: RouterId,
        /// The consumer.
        consumer: ConsumerId,
        /// What is forwarded now; null when nothing is.
        layers: Option<Layers>,
    },
    /// Audio levels of the producers; empty once when all fall silent.
    Volumes {
        /// The router.
        router: RouterId,
        /// Loudest first.
        volumes: Vec<Volume>,
    },
    /// The dominant speaker changed.
    ActiveSpeaker {
        /// The router.
        router: RouterId,
        /// The producer of the dominant speaker, or null.
        producer: Option<ProducerId>,
    },
    /// Totals of the worker, at most once a second.
    Stats(Box<Stats>),
    /// The worker is dead; no event follows and every request is refused.
    Died {
        /// Index of the worker.
        index: u32,
        /// Message of the panic or of the failed system call.
        message: String,
    },
}

/// Answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Number of the request.
    pub id: u64,
    /// Shape as named at the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Value>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
}

/// ICE states in mediasoup's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IceState {
    /// No valid check yet.
    New,
    /// Checks came, none nominated.
    Connected,
    /// A pair is nominated.
    Completed,
    /// Consent ran out.
    Disconnected,
    /// Closed.
    Closed,
}

/// DTLS states in mediasoup's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtlsState {
    /// The peer is unknown yet.
    New,
    /// Handshake.
    Connecting,
    /// Keys are there.
    Connected,
    /// Handshake or fingerprint failed.
    Failed,
    /// Closed.
    Closed,
}

/// The 5-tuple a transport uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedTuple {
    /// Address of the worker's socket.
    pub local: SocketAddr,
    /// Address of the peer as the worker sees it.
    pub remote: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
}

/// Quality of one stream of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamScore {
    /// Position among the encodings.
    pub encoding_idx: u32,
    /// SSRC of the peer.
    pub ssrc: u32,
    /// RID, when there is one.
    pub rid: Option<String>,
    /// 0 (dead) to 10 (perfect).
    pub score: u8,
}

/// Loudness of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Whose.
    pub producer: ProducerId,
    /// −127 (silence) to 0 (loudest), dBov.
    pub volume: i32,
}

/// Totals of a worker. Counters count from its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Index of the worker.
    pub index: u32,
    /// Milliseconds since the worker started.
    pub uptime_ms: u64,
    /// CPU time of the worker's thread (not counted from its start by wall time).
    pub cpu_ns: u64,
    /// Share of one core over about the last second, 0 to 1.
    pub load: f64,
    /// Datagrams received.
    pub packets_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Forwarded RTP packets, retransmissions not counted.
    pub forwarded: u64,
    /// Buffers handed to the kernel: one per train.
    pub trains_out: u64,
    /// `packets_out / trains_out` since the previous snapshot.
    pub mean_train: f64,
    /// Segmentation offload in use.
    pub gso: bool,
    /// Receive coalescing in use.
    pub gro: bool,
    /// Send window in use now, 0 to the configured most.
    pub window_us: u32,
    /// Datagrams lost or refused, by reason; only reasons that occurred.
    pub drops: BTreeMap<String, u64>,
    /// Memory of all producers' rings.
    pub rings_bytes: u64,
    /// Open routers.
    pub routers: u64,
    /// Open transports.
    pub transports: u64,
    /// Open producers.
    pub producers: u64,
    /// Open consumers.
    pub consumers: u64,
    /// Open TCP connections.
    pub tcp_connections: u64,
    /// Known remote addresses.
    pub remotes: u64,
    /// Transports closed because handling their input panicked.
    pub transport_panics: u64,
    /// State events dropped because they were not read.
    pub events_dropped: u64,
    /// What operators see of it; `metrics::families` says what each is.
    pub metrics: Vec<Series>,
}

/// One value, or one histogram, of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name of the metric.
    pub metric: String,
    /// Values of its labels.
    pub labels: Vec<String>,
    /// The value; of a histogram the sum.
    pub value: f64,
    /// How many were in each bucket of a histogram, not in those before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<u64>,
}

/// Answer of [`crate::command::Command::Dump`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterDump {
    /// The router.
    pub router: RouterId,
    /// Its transports.
    pub transports: Vec<TransportDump>,
    /// Its producers.
    pub producers: Vec<ProducerDump>,
    /// Its consumers.
    pub consumers: Vec<ConsumerDump>,
}

/// A transport with its counters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransportDump {
    /// The transport.
    pub transport: TransportId,
    /// ICE state.
    pub ice_state: IceState,
    /// DTLS state.
    pub dtls_state: DtlsState,
    /// The pair in use.
    pub selected: Option<SelectedTuple>,
    /// Counters as the router keeps them.
    pub stats: Value,
}

/// A producer with its counters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProducerDump {
    /// The producer.
    pub producer: ProducerId,
    /// Its transport.
    pub transport: TransportId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Counters as the router keeps them.
    pub stats: Value,
}

/// A consumer with its counters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsumerDump {
    /// The consumer.
    pub consumer: ConsumerId,
    /// Its producer.
    pub producer: ProducerId,
    /// Its transport.
    pub transport: TransportId,
    /// Counters as the router keeps them.
    pub stats: Value,
}
