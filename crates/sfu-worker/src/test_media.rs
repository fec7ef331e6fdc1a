//! Opus and VP8 as the test rigs and the bench negotiate them: payload types, SSRCs, header extensions.
//!
//! The integration tests include this file by its path, so it names the commands by its parent's `command`.
#![allow(dead_code, reason = "each rig uses a part")]

use super::command::{
    ConsumeOne, ConsumerCodec, ConsumerId, Encoding, HeaderExtension, MediaKind, Produce,
    ProducerCodec, ProducerId, RouterId, TransportId,
};

/// Payload types of the sender.
pub(crate) const AUDIO_PT: u8 = 111;
/// The same for VP8.
pub(crate) const VIDEO_PT: u8 = 96;
/// The same for its retransmissions.
pub(crate) const RTX_PT: u8 = 97;

/// Header extensions of both kinds, as sender and receivers number them.
const EXTENSIONS: [(&str, u8); 4] = [
    ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", 1),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        2,
    ),
    (
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        3,
    ),
    ("urn:ietf:params:rtp-hdrext:sdes:mid", 4),
];

fn extensions() -> Vec<HeaderExtension> {
    EXTENSIONS
        .map(|(uri, id)| HeaderExtension {
            uri: uri.into(),
            id,
        })
        .into()
}

/// What a sender of opus or VP8 announces, with one stream.
pub(crate) fn produce(
    router: u64,
    transport: u64,
    producer: u64,
    kind: MediaKind,
    ssrc: u32,
) -> Produce {
    let video = kind == MediaKind::Video;
    Produce {
        router: RouterId(router),
        transport: TransportId(transport),
        producer: ProducerId(producer),
        kind,
        mid: Some(if video { "v" } else { "a" }.into()),
        codecs: vec![ProducerCodec {
            mime_type: if video { "video/VP8" } else { "audio/opus" }.into(),
            payload_type: if video { VIDEO_PT } else { AUDIO_PT },
            mapped_payload_type: if video { 101 } else { 100 },
            clock_rate: if video { 90_000 } else { 48_000 },
            rtx_payload_type: video.then_some(RTX_PT),
            mapped_rtx_payload_type: video.then_some(102),
            nack: video,
            pli: video,
            fir: video,
            transport_cc: true,
            remb: false,
            in_band_fec: false,
        }],
        header_extensions: extensions(),
        encodings: vec![Encoding {
            ssrc: Some(ssrc),
            rid: None,
            rtx_ssrc: video.then_some(ssrc + 1),
            mapped_ssrc: ssrc + 1000,
        }],
        cname: "test".into(),
        paused: false,
    }
}

/// Consumers name the router's payload types; the receiver is told to expect the same ones.
pub(crate) fn consume_one(consumer: u64, producer: u64, kind: MediaKind, ssrc: u32) -> ConsumeOne {
    let video = kind == MediaKind::Video;
    ConsumeOne {
        consumer: ConsumerId(consumer),
        producer: ProducerId(producer),
        ssrc,
        rtx_ssrc: video.then_some(ssrc + 1),
        codecs: vec![ConsumerCodec {
            payload_type: if video { 101 } else { 100 },
            rtx_payload_type: video.then_some(102),
            mime_type: if video { "video/VP8" } else { "audio/opus" }.into(),
            clock_rate: if video { 90_000 } else { 48_000 },
            nack: video,
            pli: video,
            fir: video,
            transport_cc: true,
            remb: false,
        }],
        header_extensions: extensions(),
        mid: if video { "v" } else { "a" }.into(),
        cname: "test".into(),
        paused: false,
    }
}
