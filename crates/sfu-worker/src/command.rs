//! What a worker can be told: requests, their arguments and the shape of each answer.
//!
//! # Job
//! Typed commands that cross the Python border as JSON (serde, snake_case, tag `type`).
//! Carrying them out belongs to `control`; queueing them to `queue`.
//!
//! # Invariants
//! - Handles are chosen by the caller and never reused within one worker.
//! - An unknown key is refused by name, at every depth: a misspelt key must not count as absent.
//! - Every request is answered by exactly one `reply` event with its `id`, also when the worker dies first.
//!
//! Parameter objects follow mediasoup's nouns; values that the control plane has already negotiated
//! (mapped payload types, mapped SSRCs, header extension ids) arrive here finished.

use serde::{Deserialize, Serialize};

pub use crate::command_error::{CommandError, ErrorCode};
use crate::faults::Fault;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

handle!(
    /// Handle of a router, the forwarding table of one call.
    RouterId
);
handle!(
    /// Handle of a transport.
    TransportId
);
handle!(
    /// Handle of a producer.
    ProducerId
);
handle!(
    /// Handle of a consumer.
    ConsumerId
);

/// One command with the number its reply will carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the caller; comes back in the reply.
    pub id: u64,
    /// What to do.
    pub command: Command,
}

/// All a worker can do. The answer's shape is named at each variant; `{}` is [`Empty`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Opens the forwarding table of a call. Answer: `{}`.
    CreateRouter {
        /// New handle.
        router: RouterId,
    },
    /// Closes a router with all its transports. Answer: `{}`.
    CloseRouter {
        /// The router to close.
        router: RouterId,
    },
    /// Opens an ICE-lite and DTLS endpoint. Answer: [`TransportCreated`].
    CreateTransport(CreateTransport),
    /// Sets the DTLS parameters of the peer, which starts DTLS. Once. Answer: [`TransportConnected`].
    ConnectTransport {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
        /// DTLS role of the *peer*, as it sent it.
        role: DtlsRole,
        /// Hashes of the peer's certificate; one match suffices.
        fingerprints: Vec<Fingerprint>,
    },
    /// New ICE credentials; the old ones stay valid until the new ones are used. Answer: [`IceParameters`].
    RestartIce {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
    },
    /// Limits what the peer sends on this transport (sent to it as REMB). Answer: `{}`.
    SetMaxIncomingBitrate {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
        /// Bits per second; null or 0 lifts the limit.
        bps: Option<u32>,
    },
    /// Closes a transport with its producers and consumers. Answer: `{}`.
    CloseTransport {
        /// Router of the transport.
        router: RouterId,
        /// The transport.
        transport: TransportId,
    },
    /// Announces an incoming track. Answer: `{}`.
    Produce(Produce),
    /// Stops forwarding a producer. Answer: `{}`.
    PauseProducer {
        /// Router of the producer.
        router: RouterId,
        /// The producer.
        producer: ProducerId,
    },
    /// Forwards a producer again. Answer: `{}`.
    ResumeProducer {
        /// Router of the producer.
        router: RouterId,
        /// The producer.
        producer: ProducerId,
    },
    /// Closes a producer and its consumers. Answer: `{}`.
    CloseProducer {
        /// Router of the producer.
        router: RouterId,
        /// The producer.
        producer: ProducerId,
    },
    /// Sends producers to one transport; each entry succeeds or fails alone. Answer: [`ConsumeResults`].
    Consume {
        /// Router of the transport.
        router: RouterId,
        /// Transport that receives the media.
        transport: TransportId,
        /// One entry per new consumer.
        consumers: Vec<ConsumeOne>,
    },
    /// Stops sending. Unknown handles are skipped. Answer: [`Touched`].
    PauseConsumers {
        /// Router of the consumers.
        router: RouterId,
        /// The consumers.
        consumers: Vec<ConsumerId>,
    },
    /// Sends again; video asks its producer for a key frame. Unknown handles are skipped. Answer: [`Touched`].
    ResumeConsumers {
        /// Router of the consumers.
        router: RouterId,
        /// The consumers.
        consumers: Vec<ConsumerId>,
    },
    /// Closes consumers. Unknown handles are skipped. Answer: [`Touched`].
    CloseConsumers {
        /// Router of the consumers.
        router: RouterId,
        /// The consumers.
        consumers: Vec<ConsumerId>,
    },
    /// Asks the producers behind these consumers for a key frame. Answer: [`Touched`].
    RequestKeyFrame {
        /// Router of the consumers.
        router: RouterId,
        /// The consumers.
        consumers: Vec<ConsumerId>,
    },
    /// Sets the highest layers a consumer is sent. Answer: `{}`.
    SetPreferredLayers {
        /// Router of the consumer.
        router: RouterId,
        /// The consumer.
        consumer: ConsumerId,
        /// What it is sent at most; null means the highest there are.
        layers: Option<Layers>,
    },
    /// Takes a snapshot now. Answer: [`crate::event::Stats`].
    Stats {},
    /// Describes a router with the counters of each transport, producer and consumer.
    /// Answer: [`crate::event::RouterDump`].
    Dump {
        /// The router.
        router: RouterId,
    },
    /// Panics on purpose; refused unless the worker was started with `allow_panic`.
    /// With a transport: as in the handling of its input, which closes it. Without: the worker dies.
    Panic {
        /// The transport whose input panics, or null for the worker itself.
        transport: Option<(RouterId, TransportId)>,
    },
    /// Replaces the faults that media on its way to receivers goes through; an empty list ends them. Refused unless the
    /// worker was started with `allow_faults`. Answer: `{}`.
    InjectFaults {
        /// Start of the choice of packets.
        seed: u64,
        /// The faults, each applied to what those before it left.
        faults: Vec<Fault>,
    },
    /// What the injected faults did since their injection. Answer: [`crate::FaultLog`].
    FaultLog {},
}

/// Arguments of [`Command::CreateTransport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTransport {
    /// Router it belongs to.
    pub router: RouterId,
    /// New handle.
    pub transport: TransportId,
    /// Offer passive TCP candidates (RFC 6544).
    pub tcp: bool,
    /// Offer UDP candidates.
    pub udp: bool,
    /// Limit sent to the peer as REMB, in bits per second. Null leaves it to the estimator.
    #[serde(default)]
    pub max_incoming_bps: Option<u32>,
    /// Pad RTP by at most 64 bytes so that packets share segmentation trains: 3 % more bytes, a third less CPU.
    #[serde(default)]
    pub padding: bool,
}

/// Arguments of [`Command::Produce`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Produce {
    /// Router of the transport.
    pub router: RouterId,
    /// Transport the media comes in on.
    pub transport: TransportId,
    /// New handle.
    pub producer: ProducerId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Value of the MID header extension, when the peer announced one.
    #[serde(default)]
    pub mid: Option<String>,
    /// Media codecs the peer may send, RTX folded in.
    pub codecs: Vec<ProducerCodec>,
    /// Ids the *peer* uses for header extensions.
    #[serde(default)]
    pub header_extensions: Vec<HeaderExtension>,
    /// One entry per encoded stream.
    pub encodings: Vec<Encoding>,
    /// RTCP CNAME of the peer; may be empty.
    #[serde(default)]
    pub cname: String,
    /// Start paused.
    #[serde(default)]
    pub paused: bool,
}

/// A codec of a producer: what the peer sends and what the router calls it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerCodec {
    /// Such as `video/VP8`.
    pub mime_type: String,
    /// As the peer sends it.
    pub payload_type: u8,
    /// As the router's consumable parameters name it.
    pub mapped_payload_type: u8,
    /// Hertz.
    pub clock_rate: u32,
    /// Payload type of the peer's retransmissions.
    #[serde(default)]
    pub rtx_payload_type: Option<u8>,
    /// The same as the router names it.
    #[serde(default)]
    pub mapped_rtx_payload_type: Option<u8>,
    /// The peer answers generic NACKs.
    #[serde(default)]
    pub nack: bool,
    /// The peer answers picture loss indications.
    #[serde(default)]
    pub pli: bool,
    /// The peer answers full intra requests.
    #[serde(default)]
    pub fir: bool,
    /// The peer wants transport-wide feedback.
    #[serde(default)]
    pub transport_cc: bool,
    /// The peer wants REMB.
    #[serde(default)]
    pub remb: bool,
    /// Opus in-band FEC.
    #[serde(default)]
    pub in_band_fec: bool,
}

/// One encoded stream of a producer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// As the peer sends it, when announced.
    #[serde(default)]
    pub ssrc: Option<u32>,
    /// Value of the RID header extension, when announced.
    #[serde(default)]
    pub rid: Option<String>,
    /// SSRC of the peer's retransmissions, when announced.
    #[serde(default)]
    pub rtx_ssrc: Option<u32>,
    /// As the router's consumable parameters name it.
    pub mapped_ssrc: u32,
}

/// One entry of [`Command::Consume`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumeOne {
    /// New handle.
    pub consumer: ConsumerId,
    /// The producer to send.
    pub producer: ProducerId,
    /// SSRC towards the receiver.
    pub ssrc: u32,
    /// SSRC of retransmissions towards the receiver.
    #[serde(default)]
    pub rtx_ssrc: Option<u32>,
    /// Codecs towards the receiver; payload types are the router's (mapped) ones.
    pub codecs: Vec<ConsumerCodec>,
    /// Ids the *receiver* knows header extensions by.
    #[serde(default)]
    pub header_extensions: Vec<HeaderExtension>,
    /// Value of the MID header extension towards the receiver.
    pub mid: String,
    /// RTCP CNAME towards the receiver.
    pub cname: String,
    /// Start paused.
    #[serde(default)]
    pub paused: bool,
}

/// A codec of a consumer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerCodec {
    /// Payload type on the wire.
    pub payload_type: u8,
    /// Payload type of retransmissions.
    #[serde(default)]
    pub rtx_payload_type: Option<u8>,
    /// Such as `video/VP8`.
    pub mime_type: String,
    /// Hertz.
    pub clock_rate: u32,
    /// The receiver sends generic NACKs.
    #[serde(default)]
    pub nack: bool,
    /// The receiver sends picture loss indications.
    #[serde(default)]
    pub pli: bool,
    /// The receiver sends full intra requests.
    #[serde(default)]
    pub fir: bool,
    /// The receiver sends transport-wide feedback.
    #[serde(default)]
    pub transport_cc: bool,
    /// The receiver sends REMB.
    #[serde(default)]
    pub remb: bool,
}

/// Layers of a simulcast producer. An encoding is a spatial layer, in the order of [`Produce::encodings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// From 0, the lowest.
    pub spatial_layer: u8,
    /// From 0, the lowest; null where none is chosen.
    #[serde(default)]
    pub temporal_layer: Option<u8>,
}

/// A header extension as one side numbers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderExtension {
    /// Such as `urn:ietf:params:rtp-hdrext:sdes:mid`.
    pub uri: String,
    /// 1 to 255; above 14 needs the two-byte form.
    pub id: u8,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// Side taken in the DTLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtlsRole {
    /// Left to the other side.
    Auto,
    /// Sends the ClientHello.
    Client,
    /// Waits for it.
    Server,
}

/// Hash of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// `sha-256`, `sha-384` or `sha-512`.
    pub algorithm: String,
    /// Upper-case hex bytes with colons.
    pub value: String,
}

/// ICE credentials of a transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceParameters {
    /// User name fragment.
    pub username_fragment: String,
    /// Password.
    pub password: String,
    /// Always true: workers are ICE-lite.
    pub ice_lite: bool,
}

/// An address offered to the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCandidate {
    /// Same for candidates of one base and protocol.
    pub foundation: String,
    /// RFC 8445 §5.1.2.
    pub priority: u32,
    /// IP address, or the announced host name.
    pub address: String,
    /// Port.
    pub port: u16,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Always `host`.
    #[serde(rename = "type")]
    pub kind: CandidateType,
    /// `passive` for TCP.
    pub tcp_type: Option<TcpType>,
}

/// Transport protocol below ICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP with RFC 4571 framing.
    Tcp,
}

/// Kind of a candidate; an ICE-lite agent has only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateType {
    /// An own address.
    Host,
}

/// Direction of a TCP candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpType {
    /// Waits for the peer to open the connection.
    Passive,
}

/// The answer `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Answer of [`Command::CreateTransport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportCreated {
    /// Credentials.
    pub ice_parameters: IceParameters,
    /// Addresses, best first.
    pub ice_candidates: Vec<IceCandidate>,
}

/// Answer of [`Command::ConnectTransport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportConnected {
    /// The side the worker takes; never `auto`.
    pub local_role: DtlsRole,
}

/// Answer of [`Command::Consume`]: one entry per asked consumer, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumeResults {
    /// Success or error of each.
    pub results: Vec<ConsumeResult>,
}

/// Success or failure of one consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumeResult {
    /// The handle asked for.
    pub consumer: ConsumerId,
    /// True when it exists now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
}

/// Answer of the commands over a list of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Handles that did not exist.
    pub missing: Vec<ConsumerId>,
}
