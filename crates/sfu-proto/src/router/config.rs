//! What a router, its transports, producers and consumers are made from, and why making one is refused.
//!
//! # Job
//! Plain values and errors. The rules of negotiation are the control plane's; here is checked only what
//! would mix up packets on a transport.

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
    /// A transport of one router. Valid until closed, then given out again.
    TransportKey
);
key!(
    /// A producer of one router. Valid until closed, then given out again.
    ProducerKey
);
key!(
    /// A consumer of one router. Valid until closed, then given out again.
    ConsumerKey
);

/// How a router is set up.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// One moment on both clocks: monotonic, and the time since 1970. Times of Sender Reports follow from it.
    pub wall: (Instant, Duration),
    /// Seeds SSRCs of reports, first sequence numbers and timer spread.
    pub seed: u64,
    /// How often volumes are told; default 1 s, at least 250 ms.
    pub volume_interval: Duration,
    /// Quieter than this (dBov) is silence; default −80.
    pub volume_threshold: i8,
    /// How often the dominant speaker is looked for; default 300 ms.
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

/// The path and keys of a transport.
#[derive(Debug)]
pub enum Endpoint {
    /// ICE and DTLS find them.
    Link(Box<Link>),
    /// They are known beforehand, as in benches and tests of forwarding alone.
    Preset {
        /// SRTP keys, `local` is what the router sends with.
        keys: SrtpKeys,
        /// The only source accepted and the place media is sent to.
        destination: Destination,
    },
}

/// How a transport is set up.
#[derive(Debug)]
pub struct TransportConfig {
    /// Path and keys.
    pub endpoint: Endpoint,
    /// Told to the sender as REMB; `None` leaves the rate to transport feedback.
    pub max_incoming_bps: Option<u32>,
    /// Lengthen packets by up to 64 bytes of RTP padding so that trains are longer (about 3 % more bytes).
    pub padding: bool,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// One media codec of a producer.
#[derive(Clone, Debug)]
pub struct ProducerCodec {
    /// What it is; `None` is forwarded without knowing key frames.
    pub codec: Option<Codec>,
    /// Payload type the sender uses.
    pub payload_type: u8,
    /// Payload type of the router's codec; consumers name it.
    pub mapped_payload_type: u8,
    /// RTP clock in hertz.
    pub clock_rate: u32,
    /// Payload type of its RTX.
    pub rtx_payload_type: Option<u8>,
    /// Ask for lost packets.
    pub nack: bool,
    /// Key frames can be asked for by PLI.
    pub pli: bool,
    /// Key frames can be asked for by FIR; PLI is preferred.
    pub fir: bool,
    /// Give transport-wide feedback.
    pub transport_cc: bool,
    /// Give REMB.
    pub remb: bool,
    /// The sender protects opus by in-band FEC: tell it the loss of its worst receiver.
    pub in_band_fec: bool,
}

/// One encoding of a producer.
#[derive(Clone, Debug, Default)]
pub struct EncodingConfig {
    /// SSRC, unless it is to be learned by mid or rid.
    pub ssrc: Option<u32>,
    /// RID.
    pub rid: Option<String>,
    /// SSRC of the RTX stream.
    pub rtx_ssrc: Option<u32>,
}

/// How a producer is set up.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Audio or video.
    pub kind: MediaKind,
    /// Media section the sender names in its packets.
    pub mid: Option<String>,
    /// Media codecs it may send, at most eight.
    pub codecs: Vec<ProducerCodec>,
    /// The sender's extension ids.
    pub header_extensions: Vec<(ExtensionUri, u8)>,
    /// At least one; the first is forwarded.
    pub encodings: Vec<EncodingConfig>,
    /// Canonical name of the sender.
    pub cname: String,
    /// Start paused.
    pub paused: bool,
}

/// One media codec of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerCodec {
    /// The router's payload type, and the one sent.
    pub payload_type: u8,
    /// Payload type of its RTX.
    pub rtx_payload_type: Option<u8>,
    /// Answer NACKs.
    pub nack: bool,
    /// Heed PLI.
    pub pli: bool,
    /// Heed FIR.
    pub fir: bool,
    /// The receiver gives transport-wide feedback.
    pub transport_cc: bool,
    /// The receiver gives REMB.
    pub remb: bool,
}

/// How a consumer is set up.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// SSRC to send with.
    pub ssrc: u32,
    /// SSRC of its RTX stream.
    pub rtx_ssrc: Option<u32>,
    /// Codecs the receiver can decode.
    pub codecs: Vec<ConsumerCodec>,
    /// The receiver's extension ids.
    pub header_extensions: Vec<(ExtensionUri, u8)>,
    /// Media section of the receiver.
    pub mid: String,
    /// Canonical name of the sender, for SDES.
    pub cname: String,
    /// Start paused.
    pub paused: bool,
}

/// Why a producer is refused; nothing has changed then.
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

/// Why a consumer is refused; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumeError {
    /// No such transport.
    UnknownTransport,
    /// No such producer.
    UnknownProducer,
    /// None of the producer's codecs is among `codecs`.
    NoCommonCodec,
    /// The SSRC or RTX SSRC is or was sent on this transport.
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

/// The key names nothing that is still open, or the call does not fit what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterError {
    /// No such transport, producer or consumer.
    Unknown,
    /// A preset endpoint has no ICE and no DTLS.
    NoLink,
    /// The link refused.
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
