//! ICE, DTLS and RTP parameters as they travel between client and media server: mediasoup's objects, camelCase.
//!
//! Reading is lenient (unknown keys are ignored, null is absent), writing is exact. What a bot makes of them belongs to
//! `pool` and `peer`.

use serde::{Deserialize, Serialize};

/// `iceParameters`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceParameters {
    /// Username fragment.
    #[serde(alias = "username_fragment")]
    pub username_fragment: String,
    /// Password.
    pub password: String,
    /// The server answers checks but sends none.
    #[serde(default, alias = "ice_lite")]
    pub ice_lite: bool,
}

/// One of `iceCandidates`; the address may be called `ip` or `address`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceCandidate {
    /// Foundation.
    #[serde(default)]
    pub foundation: String,
    /// Priority.
    pub priority: u32,
    /// Address, new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Address, old name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub protocol: String,
}

/// DTLS role as it is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtlsRoleName {
    /// Either; the answerer decides.
    Auto,
    /// Sends the ClientHello.
    Client,
    /// Waits for the ClientHello.
    Server,
}

/// `dtlsParameters`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DtlsParameters {
    /// Role; absent means auto.
    #[serde(default = "auto_role")]
    pub role: DtlsRoleName,
    /// Certificate fingerprints.
    pub fingerprints: Vec<Fingerprint>,
}

fn auto_role() -> DtlsRoleName {
    DtlsRoleName::Auto
}

/// One certificate fingerprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fingerprint {
    /// `sha-256`, `sha-384` or `sha-512`.
    pub algorithm: String,
    /// Upper-case hex pairs with colons.
    pub value: String,
}

/// `rtpParameters` of a producer or consumer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpParameters {
    /// Media section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// Codecs, media first, RTX after.
    pub codecs: Vec<RtpCodec>,
    /// Header extensions.
    #[serde(default)]
    pub header_extensions: Vec<RtpHeaderExtension>,
    /// Streams.
    #[serde(default)]
    pub encodings: Vec<RtpEncoding>,
    /// RTCP.
    #[serde(default)]
    pub rtcp: Option<RtcpParameters>,
}

/// One codec.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpCodec {
    /// `audio/opus`, `video/VP8`, `video/rtx`.
    pub mime_type: String,
    /// RTP payload type.
    pub payload_type: u8,
    /// Clock rate, Hz.
    pub clock_rate: u32,
    /// Channels, audio only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Format parameters; `apt` of RTX is a number.
    #[serde(default)]
    pub parameters: Option<serde_json::Map<String, serde_json::Value>>,
    /// Feedback messages.
    #[serde(default)]
    pub rtcp_feedback: Option<Vec<RtcpFeedback>>,
}

/// One feedback message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcpFeedback {
    /// `nack`, `ccm`, `transport-cc`, `goog-remb`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `pli`, `fir` or nothing.
    #[serde(default)]
    pub parameter: Option<String>,
}

/// One header extension.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RtpHeaderExtension {
    /// URI.
    pub uri: String,
    /// Id on the wire.
    pub id: u8,
}

/// One stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RtpEncoding {
    /// SSRC of the media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
    /// Stream of the retransmissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx: Option<RtxEncoding>,
}

/// RTX stream of an encoding.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct RtxEncoding {
    /// SSRC of the retransmissions.
    pub ssrc: u32,
}

/// `rtcp` of RTP parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtcpParameters {
    /// Canonical name shared by the streams of one participant.
    #[serde(default)]
    pub cname: Option<String>,
    /// Reduced-size RTCP allowed.
    #[serde(default)]
    pub reduced_size: Option<bool>,
}
