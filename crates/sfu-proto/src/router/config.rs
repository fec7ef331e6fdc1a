//! Parameters of a router, its transports, producers and consumers, and the errors of creating them.
//!
//! # Job
//! Plain values and errors. The control plane negotiates; only what would make packets on a transport ambiguous is
//! checked here.

use std::fmt;
use std::time::{Duration, Instant};

use crate::link::{Link, SrtpKeys};
use crate::net::Destination;
use crate::rtp::ExtensionUri;
use crate::rtp::payload::Codec;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
    };
}

key!(
    /// Key of a transport of one router. Reused after the transport has closed.
    TransportKey
);
key!(
    /// Key of a producer of one router. Reused after the producer has closed.
    ProducerKey
);
key!(
    /// Key of a consumer of one router. Reused after the consumer has closed.
    ConsumerKey
);

/// Parameters of a router.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// The same moment on both clocks, monotonic and since 1970. The NTP times of Sender Reports are derived from it.
    pub wall: (Instant, Duration),
    /// Seed of report SSRCs, first sequence numbers and timer jitter.
    pub seed: u64,
    /// Interval of volume events; default 1 s, at least 250 ms.
    pub volume_interval: Duration,
    /// Volumes below this (dBov) count as silence; default −80.
    pub volume_threshold: i8,
    /// Interval of dominant speaker detection; default 300 ms, at least 100 ms.
    pub speaker_interval: Duration,
}

impl RouterConfig {
    /// The default intervals.
    pub fn new(wall: (Instant, Duration), seed: u64) -> Self {
        Self {
            wall,
            seed,
            volume_interval: Duration::from_millis(1000),
            volume_threshold: -80,
            speaker_interval: Duration::from_millis(300),
        }
    }
}

/// Path and keys of a transport.
#[derive(Debug)]
pub enum Endpoint {
    /// Established by ICE and DTLS.
    Link(Box<Link>),
    /// Known beforehand, as in benchmarks and in tests of forwarding alone.
    Preset {
        /// SRTP keys; the router sends with `local`.
        keys: SrtpKeys,
        /// The only accepted source, and the destination of media.
        destination: Destination,
    },
}

/// Parameters of a transport.
#[derive(Debug)]
pub struct TransportConfig {
    /// Path and keys.
    pub endpoint: Endpoint,
    /// Limit sent to the sender as REMB; `None` leaves the rate to transport-wide feedback.
    pub max_incoming_bps: Option<u32>,
    /// Pad packets with up to 64 bytes of RTP padding to make trains longer (about 3 % more bytes).
    pub padding: bool,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// One media codec of a producer.
#[derive(Clone, Debug)]
pub struct ProducerCodec {
    /// The codec; `None` is forwarded without key frame detection.
    pub codec: Option<Codec>,
    /// Payload type used by the sender.
    pub payload_type: u8,
    /// Payload type of the router's codec, which consumers refer to.
    pub mapped_payload_type: u8,
    /// RTP clock rate in hertz.
    pub clock_rate: u32,
    /// Payload type of its RTX stream.
    pub rtx_payload_type: Option<u8>,
    /// Request lost packets by NACK.
    pub nack: bool,
    /// Request key frames by PLI.
    pub pli: bool,
    /// Request key frames by FIR where PLI is not supported.
    pub fir: bool,
    /// Send transport-wide feedback.
    pub transport_cc: bool,
    /// Send REMB.
    pub remb: bool,
    /// The sender uses opus in-band FEC: report to it the loss of its worst receiver.
    pub in_band_fec: bool,
}

/// One encoding of a producer.
#[derive(Clone, Debug, Default)]
pub struct EncodingConfig {
    /// SSRC; without one it is learned from the mid or RID.
    pub ssrc: Option<u32>,
    /// RID.
    pub rid: Option<String>,
    /// SSRC of the RTX stream.
    pub rtx_ssrc: Option<u32>,
}

/// Parameters of a producer.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Audio or video.
    pub kind: MediaKind,
    /// Mid the sender puts into its packets.
    pub mid: Option<String>,
    /// Media codecs the sender may use, at most eight.
    pub codecs: Vec<ProducerCodec>,
    /// The sender's extension ids.
    pub header_extensions: Vec<(ExtensionUri, u8)>,
    /// At least one, the lowest first.
    pub encodings: Vec<EncodingConfig>,
    /// CNAME of the sender.
    pub cname: String,
    /// Start paused.
    pub paused: bool,
}

/// One codec of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerCodec {
    /// Payload type of the router's codec; packets are sent with it.
    pub payload_type: u8,
    /// Payload type of its RTX stream.
    pub rtx_payload_type: Option<u8>,
    /// Answer NACKs.
    pub nack: bool,
    /// Act on PLI.
    pub pli: bool,
    /// Act on FIR.
    pub fir: bool,
    /// The receiver sends transport-wide feedback.
    pub transport_cc: bool,
    /// The receiver sends REMB.
    pub remb: bool,
}

/// Parameters of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// SSRC of the outgoing stream.
    pub ssrc: u32,
    /// SSRC of its RTX stream.
    pub rtx_ssrc: Option<u32>,
    /// Codecs the receiver can decode.
    pub codecs: Vec<ConsumerCodec>,
    /// The receiver's extension ids.
    pub header_extensions: Vec<(ExtensionUri, u8)>,
    /// Mid in the receiver's session description.
    pub mid: String,
    /// CNAME of the sender, for SDES.
    pub cname: String,
    /// Start paused.
    pub paused: bool,
}

/// Why a producer was refused; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProduceError {
    /// No such transport.
    UnknownTransport,
    /// `codecs` is empty or has more than eight entries.
    CodecCount(usize),
    /// A payload type appears twice in `codecs`.
    DuplicatePayloadType(u8),
    /// A payload type is above 127.
    PayloadType(u8),
    /// A clock rate is zero.
    ClockRate(u8),
    /// An extension id is zero.
    ExtensionId,
    /// `encodings` is empty or has more than eight entries.
    EncodingCount(usize),
    /// With several encodings each needs an SSRC or a RID.
    AnonymousEncoding(usize),
    /// A single encoding has neither SSRC nor RID, and there is no `mid`.
    NoWayToRecognise,
    /// An SSRC is already used on this transport, or twice in `encodings`.
    SsrcInUse(u32),
    /// An RTX SSRC is already used on this transport, or twice in `encodings`.
    RtxSsrcInUse(u32),
    /// The mid is already used on this transport.
    MidInUse(String),
    /// A RID appears twice, or on another producer of the transport while there is no `mid`.
    RidInUse(String),
    /// Several encodings of a codec other than VP8 and H264.
    SimulcastCodec,
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTransport => write!(f, "transport: no such transport"),
            Self::CodecCount(count) => {
                write!(f, "codecs: 1 to 8 media codecs are needed, not {count}")
            }
            Self::DuplicatePayloadType(pt) => write!(f, "codecs[].payloadType: {pt} appears twice"),
            Self::PayloadType(pt) => write!(f, "codecs[].payloadType: {pt} is above 127"),
            Self::ClockRate(pt) => write!(f, "codecs[].clockRate: zero for payload type {pt}"),
            Self::ExtensionId => write!(f, "headerExtensions[].id: 0 is not an id"),
            Self::EncodingCount(count) => {
                write!(f, "encodings: 1 to 8 encodings are needed, not {count}")
            }
            Self::AnonymousEncoding(position) => write!(
                f,
                "encodings[{position}]: with several encodings each needs an ssrc or a rid"
            ),
            Self::NoWayToRecognise => write!(
                f,
                "encodings[0]: without ssrc and rid the producer needs a mid"
            ),
            Self::SsrcInUse(ssrc) => {
                write!(
                    f,
                    "encodings[].ssrc: {ssrc} is already used on this transport"
                )
            }
            Self::RtxSsrcInUse(ssrc) => {
                write!(
                    f,
                    "encodings[].rtx.ssrc: {ssrc} is already used on this transport"
                )
            }
            Self::MidInUse(mid) => write!(f, "mid: {mid:?} is already used on this transport"),
            Self::RidInUse(rid) => {
                write!(
                    f,
                    "encodings[].rid: {rid:?} is already used on this transport"
                )
            }
            Self::SimulcastCodec => {
                write!(f, "encodings: several are possible for VP8 and H264 only")
            }
        }
    }
}

impl std::error::Error for ProduceError {}

/// Why a consumer was refused; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumeError {
    /// No such transport.
    UnknownTransport,
    /// No such producer.
    UnknownProducer,
    /// None of the producer's codecs is among `codecs`.
    NoCommonCodec,
    /// The SSRC or RTX SSRC is in use on this transport, or was before.
    SsrcInUse(u32),
    /// The mid is empty, longer than 32 bytes, or already used on this transport.
    Mid(String),
    /// An extension id is zero.
    ExtensionId,
}

impl fmt::Display for ConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTransport => write!(f, "transport: no such transport"),
            Self::UnknownProducer => write!(f, "producer: no such producer"),
            Self::NoCommonCodec => write!(f, "codecs: none of the producer's codecs is among them"),
            Self::SsrcInUse(ssrc) => {
                write!(f, "ssrc: {ssrc} is or was already sent on this transport")
            }
            Self::Mid(mid) => write!(
                f,
                "mid: {mid:?} is empty, over 32 bytes or already used on this transport"
            ),
            Self::ExtensionId => write!(f, "headerExtensions[].id: 0 is not an id"),
        }
    }
}

impl std::error::Error for ConsumeError {}

/// The key refers to nothing that is open, or the operation does not apply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterError {
    /// No such transport, producer or consumer.
    Unknown,
    /// A preset endpoint has no ICE and no DTLS.
    NoLink,
    /// The link refused the operation.
    Link(crate::link::LinkError),
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "no such transport, producer or consumer"),
            Self::NoLink => write!(f, "the transport has preset keys, so no ICE and no DTLS"),
            Self::Link(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for RouterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Link(error) => Some(error),
            _ => None,
        }
    }
}

impl From<crate::link::LinkError> for RouterError {
    fn from(error: crate::link::LinkError) -> Self {
        Self::Link(error)
    }
}
