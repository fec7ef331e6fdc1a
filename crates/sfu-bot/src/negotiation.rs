//! What a bot offers when it produces, and what it reads out of the server's answer when it consumes.
//!
//! # Job
//! Builds the rtpParameters of a produce request and takes those of a consumer apart. The wire objects are in `params`.

use meeshy_sfu_proto::rtp::ExtensionUri;

use crate::config::{ConsumeRequest, Kind};
use crate::layout::UNKNOWN_SENDER;
use crate::params::{
    RtcpFeedback, RtcpParameters, RtpCodec, RtpEncoding, RtpHeaderExtension, RtpParameters,
    RtxEncoding,
};
use crate::random::Random;

/// Ids of the header extensions a bot sends: the numbers mediasoup routers publish.
pub(crate) mod extension {
    pub(crate) const MID: u8 = 1;
    pub(crate) const ABS_SEND_TIME: u8 = 4;
    pub(crate) const TRANSPORT_CC: u8 = 5;
    pub(crate) const AUDIO_LEVEL: u8 = 6;
}

const OPUS: u8 = 100;
const VP8: u8 = 101;
const VP8_RTX: u8 = 102;

/// RTX of a sent or received stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rtx {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
}

/// One stream a bot can send.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    pub(crate) kind: Kind,
    pub(crate) mid: String,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) rtx: Option<Rtx>,
    pub(crate) extensions: Extensions,
}

/// Ids of the header extensions of a sent stream; None is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) mid: Option<u8>,
    pub(crate) abs_send_time: Option<u8>,
    pub(crate) transport_cc: Option<u8>,
    pub(crate) audio_level: Option<u8>,
}

impl Extensions {
    fn usual(kind: Kind) -> Self {
        Self {
            mid: Some(extension::MID),
            abs_send_time: Some(extension::ABS_SEND_TIME),
            transport_cc: Some(extension::TRANSPORT_CC),
            audio_level: (kind == Kind::Audio).then_some(extension::AUDIO_LEVEL),
        }
    }

    fn chosen(kind: Kind, wire: &[RtpHeaderExtension]) -> Self {
        let id = |uri: ExtensionUri| {
            let known = |extension: &&RtpHeaderExtension| {
                ExtensionUri::from_uri(&extension.uri) == Some(uri)
            };
            // One-byte headers have room for 1 to 14 (RFC 8285 §4.2).
            let found = wire.iter().find(known).map(|extension| extension.id);
            found.filter(|id| (1..=14).contains(id))
        };
        Self {
            mid: id(ExtensionUri::Mid),
            abs_send_time: id(ExtensionUri::AbsSendTime),
            transport_cc: id(ExtensionUri::TransportWideCc),
            audio_level: id(ExtensionUri::AudioLevel).filter(|_| kind == Kind::Audio),
        }
    }

    fn named(self) -> impl Iterator<Item = (u8, ExtensionUri)> {
        let pairs = [
            (self.mid, ExtensionUri::Mid),
            (self.abs_send_time, ExtensionUri::AbsSendTime),
            (self.transport_cc, ExtensionUri::TransportWideCc),
            (self.audio_level, ExtensionUri::AudioLevel),
        ];
        pairs.into_iter().filter_map(|(id, uri)| Some((id?, uri)))
    }
}

impl Media {
    /// The stream of this kind of the bot with this seed; the same each time.
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let video = kind == Kind::Video;
        let mut random = Random::derive(seed, 0x55c0 + u64::from(video));
        // Even and above zero, so that SSRC + 1 is free for RTX.
        let ssrc = (random.next() as u32 | 0x100) & !1;
        Self {
            kind,
            mid: if video { "1" } else { "0" }.into(),
            ssrc,
            payload_type: if video { VP8 } else { OPUS },
            rtx: video.then_some(Rtx {
                ssrc: ssrc + 1,
                payload_type: VP8_RTX,
            }),
            extensions: Extensions::usual(kind),
        }
    }

    /// The same stream with the numbers another side has chosen: mid, payload types and header extensions.
    pub(crate) fn numbered_as(mut self, theirs: &RtpParameters) -> Self {
        let is = |codec: &&RtpCodec, name: &str| codec.mime_type.eq_ignore_ascii_case(name);
        let wanted = if self.kind == Kind::Video {
            "video/VP8"
        } else {
            "audio/opus"
        };
        if let Some(mid) = &theirs.mid {
            self.mid.clone_from(mid);
        }
        if let Some(codec) = theirs.codecs.iter().find(|codec| is(codec, wanted)) {
            self.payload_type = codec.payload_type;
        }
        let repairs = |codec: &&RtpCodec| {
            let apt = codec.parameters.as_ref().and_then(|all| all.get("apt"));
            is(codec, "video/rtx")
                && apt.and_then(serde_json::Value::as_u64) == Some(self.payload_type.into())
        };
        let rtx = theirs.codecs.iter().find(repairs);
        self.rtx = self.rtx.zip(rtx).map(|(ours, theirs)| Rtx {
            payload_type: theirs.payload_type,
            ..ours
        });
        self.extensions = Extensions::chosen(self.kind, &theirs.header_extensions);
        self
    }

    /// Kilohertz of the RTP clock.
    pub(crate) fn clock_khz(&self) -> u64 {
        if self.kind == Kind::Video { 90 } else { 48 }
    }

    /// What the produce request says about it.
    pub(crate) fn rtp_parameters(&self, cname: &str) -> RtpParameters {
        let mut codecs = vec![RtpCodec {
            mime_type: if self.kind == Kind::Video {
                "video/VP8"
            } else {
                "audio/opus"
            }
            .into(),
            payload_type: self.payload_type,
            clock_rate: self.clock_khz() as u32 * 1000,
            channels: (self.kind == Kind::Audio).then_some(2),
            parameters: Some(serde_json::Map::new()),
            rtcp_feedback: Some(feedback(self.kind)),
        }];
        if let Some(rtx) = self.rtx {
            let apt = serde_json::Map::from_iter([("apt".to_owned(), self.payload_type.into())]);
            codecs.push(RtpCodec {
                mime_type: "video/rtx".into(),
                payload_type: rtx.payload_type,
                clock_rate: 90_000,
                channels: None,
                parameters: Some(apt),
                rtcp_feedback: Some(Vec::new()),
            });
        }
        RtpParameters {
            mid: Some(self.mid.clone()),
            codecs,
            header_extensions: self
                .extensions
                .named()
                .map(|(id, uri)| RtpHeaderExtension {
                    uri: uri.as_str().into(),
                    id,
                })
                .collect(),
            encodings: vec![RtpEncoding {
                ssrc: Some(self.ssrc),
                rtx: self.rtx.map(|rtx| RtxEncoding { ssrc: rtx.ssrc }),
            }],
            rtcp: Some(RtcpParameters {
                cname: Some(cname.into()),
                reduced_size: Some(true),
            }),
        }
    }
}

fn feedback(kind: Kind) -> Vec<RtcpFeedback> {
    let pairs: &[(&str, &str)] = match kind {
        Kind::Audio => &[("transport-cc", "")],
        Kind::Video => &[
            ("goog-remb", ""),
            ("transport-cc", ""),
            ("ccm", "fir"),
            ("nack", ""),
            ("nack", "pli"),
        ],
    };
    let entry = |&(kind, parameter): &(&str, &str)| RtcpFeedback {
        kind: kind.into(),
        parameter: Some(parameter.into()),
    };
    pairs.iter().map(entry).collect()
}

/// One stream a bot receives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) tag: u32,
    pub(crate) sender: u16,
    pub(crate) kind: Kind,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    /// Payload types of the media and of its RTX.
    pub(crate) payload_type: u8,
    pub(crate) rtx_payload_type: Option<u8>,
    pub(crate) nack: bool,
    pub(crate) pli: bool,
    /// Id of the transport-wide number, if the stream carries it.
    pub(crate) transport_cc: Option<u8>,
}

impl Incoming {
    /// Whether its media, or its RTX, may have this payload type.
    #[inline]
    pub(crate) fn may_be(&self, payload_type: u8, rtx: bool) -> bool {
        if rtx {
            self.rtx_payload_type
                .is_none_or(|expected| expected == payload_type)
        } else {
            self.payload_type == payload_type
        }
    }

    /// Reads a consumer; the error says what is missing.
    pub(crate) fn from_request(request: &ConsumeRequest) -> Result<Self, String> {
        let parameters = &request.rtp_parameters;
        let encoding = parameters
            .encodings
            .first()
            .ok_or("rtpParameters.encodings is empty")?;
        let ssrc = encoding
            .ssrc
            .ok_or("rtpParameters.encodings[0].ssrc is missing")?;
        let codec = parameters
            .codecs
            .first()
            .ok_or("rtpParameters.codecs is empty")?;
        let has = |kind: &str, parameter: &str| {
            codec.rtcp_feedback.iter().flatten().any(|feedback| {
                feedback.kind == kind && feedback.parameter.as_deref().unwrap_or("") == parameter
            })
        };
        let transport_cc = parameters.header_extensions.iter().find_map(|extension| {
            let known = ExtensionUri::from_uri(&extension.uri)?;
            (known == ExtensionUri::TransportWideCc).then_some(extension.id)
        });
        let repairs = parameters
            .codecs
            .iter()
            .find(|codec| codec.mime_type.to_ascii_lowercase().ends_with("/rtx"));
        let rtx_ssrc = encoding.rtx.map(|rtx| rtx.ssrc);
        Ok(Self {
            tag: request.tag,
            sender: u16::try_from(request.sender).unwrap_or(UNKNOWN_SENDER),
            kind: request.kind,
            ssrc,
            rtx_ssrc,
            payload_type: codec.payload_type,
            rtx_payload_type: repairs.map(|codec| codec.payload_type),
            nack: has("nack", "") && rtx_ssrc.is_some(),
            pli: has("nack", "pli"),
            transport_cc,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bot_offers_is_what_mediasoup_expects() {
        let media = Media::new(Kind::Video, 3);
        let wire = serde_json::to_value(media.rtp_parameters("bot-3")).unwrap();
        assert_eq!(wire["mid"], "1");
        assert_eq!(wire["codecs"][0]["mimeType"], "video/VP8");
        assert_eq!(wire["codecs"][0]["payloadType"], 101);
        assert_eq!(wire["codecs"][1]["parameters"]["apt"], 101);
        assert_eq!(wire["encodings"][0]["rtx"]["ssrc"], media.ssrc + 1);
        assert_eq!(wire["rtcp"]["cname"], "bot-3");
        assert_eq!(wire["headerExtensions"][2]["id"], 5);
        assert_eq!(wire["codecs"][0]["rtcpFeedback"][4]["type"], "nack");
        let audio = Media::new(Kind::Audio, 3);
        let wire = serde_json::to_value(audio.rtp_parameters("bot-3")).unwrap();
        assert_eq!(wire["codecs"][0]["channels"], 2);
        assert!(wire["codecs"].as_array().unwrap().len() == 1);
        assert!(wire["encodings"][0].get("rtx").is_none());
        assert_ne!(audio.ssrc, media.ssrc);
    }

    #[test]
    fn a_stream_takes_the_numbers_of_whoever_offered_first() {
        let ours = Media::new(Kind::Video, 3);
        let offered: RtpParameters = serde_json::from_value(serde_json::json!({
            "mid": "v", "codecs": [
                {"mimeType": "video/vp8", "payloadType": 97, "clockRate": 90000},
                {"mimeType": "video/rtx", "payloadType": 98, "clockRate": 90000, "parameters": {"apt": 97}},
            ],
            "headerExtensions": [{"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 9}],
        }))
        .unwrap();
        let media = ours.clone().numbered_as(&offered);
        assert_eq!((media.mid.as_str(), media.payload_type), ("v", 97));
        assert_eq!(media.rtx.map(|rtx| rtx.payload_type), Some(98));
        assert_eq!(media.ssrc, ours.ssrc);
        assert_eq!(media.extensions.mid, Some(9));
        assert_eq!(media.extensions.transport_cc, None);
        let wire = serde_json::to_value(media.rtp_parameters("x")).unwrap();
        assert_eq!(wire["headerExtensions"].as_array().unwrap().len(), 1);
        // A side without RTX gets none.
        let bare = RtpParameters {
            codecs: vec![offered.codecs[0].clone()],
            ..RtpParameters::default()
        };
        assert_eq!(Media::new(Kind::Video, 3).numbered_as(&bare).rtx, None);
    }

    #[test]
    fn a_consumer_is_read_as_the_server_writes_it() {
        let request: ConsumeRequest = serde_json::from_value(serde_json::json!({
            "tag": 7, "sender": 4, "kind": "video",
            "rtpParameters": {
                "mid": "3",
                "codecs": [
                    {"mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000, "parameters": {},
                     "rtcpFeedback": [{"type": "nack", "parameter": ""}, {"type": "nack", "parameter": "pli"}]},
                    {"mimeType": "video/rtx", "payloadType": 102, "clockRate": 90000, "parameters": {"apt": 101}}
                ],
                "headerExtensions": [
                    {"uri": "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", "id": 5,
                     "encrypt": false, "parameters": {}}
                ],
                "encodings": [{"ssrc": 1000, "rtx": {"ssrc": 1001}, "scalabilityMode": "L1T1"}],
                "rtcp": {"cname": "x", "reducedSize": true, "mux": true},
                "msid": null
            }
        }))
        .unwrap();
        let incoming = Incoming::from_request(&request).unwrap();
        assert_eq!(
            (incoming.ssrc, incoming.rtx_ssrc, incoming.sender),
            (1000, Some(1001), 4)
        );
        assert!(incoming.nack && incoming.pli);
        assert_eq!(incoming.transport_cc, Some(5));
    }

    #[test]
    fn a_consumer_without_ssrc_is_refused_with_the_path() {
        let request: ConsumeRequest = serde_json::from_value(serde_json::json!({
            "tag": 1, "kind": "audio", "rtp_parameters": {"codecs": [], "encodings": [{}]}
        }))
        .unwrap();
        assert_eq!(request.sender, -1);
        assert!(
            Incoming::from_request(&request)
                .unwrap_err()
                .contains("encodings[0].ssrc")
        );
    }
}
