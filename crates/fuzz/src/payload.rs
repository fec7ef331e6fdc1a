//! Payload descriptors of the codecs.

use std::time::Duration;

use meeshy_sfu_proto::rtp::payload::{
    Codec, av1 as av1_payload, h264 as h264_payload, opus as opus_payload,
};
use meeshy_sfu_proto::rtp::payload::{vp8 as vp8_payload, vp9 as vp9_payload};

pub(super) fn vp8(data: &[u8]) {
    let keyframe = Codec::Vp8.is_keyframe(data);
    let Some(descriptor) = vp8_payload::Descriptor::parse(data) else {
        assert!(!keyframe);
        return;
    };
    assert!(descriptor.len >= 1 && descriptor.len <= data.len());
    assert!(!keyframe || descriptor.len < data.len());
    let mut patched = data.to_vec();
    descriptor.patch(&mut patched, 0x7abc, 0xde);
    let again = vp8_payload::Descriptor::parse(&patched).expect("patching keeps the form");
    assert_eq!(patched.len(), data.len());
    assert_eq!(patched[descriptor.len..], data[descriptor.len..]);
    let expected = vp8_payload::Descriptor {
        picture_id: again.picture_id,
        tl0_picture_index: descriptor.tl0_picture_index.map(|_| 0xde),
        ..descriptor
    };
    assert_eq!(again, expected);
    let numbers = [
        None,
        Some(vp8_payload::PictureId::Short(0x3c)),
        Some(vp8_payload::PictureId::Long(0x7abc)),
    ];
    assert!(numbers.contains(&again.picture_id));
    assert_eq!(again.picture_id.is_some(), descriptor.picture_id.is_some());
}

pub(super) fn vp9(data: &[u8]) {
    let keyframe = Codec::Vp9.is_keyframe(data);
    match vp9_payload::Descriptor::parse(data) {
        None => assert!(!keyframe),
        Some(descriptor) => {
            assert!(descriptor.len >= 1 && descriptor.len <= data.len());
            assert!(!keyframe || descriptor.len < data.len());
        }
    }
}

pub(super) fn h264(data: &[u8]) {
    assert_eq!(
        Codec::H264.is_keyframe(data),
        h264_payload::is_keyframe(data)
    );
    assert!(!data.is_empty() || !h264_payload::is_keyframe(data));
}

pub(super) fn av1(data: &[u8]) {
    assert_eq!(Codec::Av1.is_keyframe(data), av1_payload::is_keyframe(data));
    let parsed = av1_payload::AggregationHeader::parse(data);
    assert!(parsed.is_some() || !av1_payload::is_keyframe(data));
    if let Some(descriptor) = av1_payload::DependencyDescriptor::parse(data) {
        assert!(!descriptor.starts_keyframe() || data.len() > 3);
    }
}

pub(super) fn opus(data: &[u8]) {
    assert!(!Codec::Opus.is_keyframe(data));
    let _ = opus_payload::is_dtx(data);
    if let Some(duration) = opus_payload::duration(data) {
        assert!(duration >= Duration::from_micros(2500) && duration <= Duration::from_millis(120));
    }
}
