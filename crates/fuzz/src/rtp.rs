//! RTP headers, values of extensions, sequence numbers.

use std::time::Duration;

use meeshy_sfu_proto::rtp::extension::{
    AbsCaptureTime, AbsSendTime, AudioLevel, PlayoutDelay, VideoOrientation, transmission_offset,
    transmission_offset_bytes, transport_sequence,
};
use meeshy_sfu_proto::rtp::seq::{self, Unwrapper};
use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter, RtpHeader};

pub(super) fn header(data: &[u8]) {
    let Ok(header) = RtpHeader::parse(data) else {
        return;
    };
    assert!(header.header_len() <= data.len());
    assert!(header.header_len() >= 12 + 4 * usize::from(header.csrc_count));
    let payload = &data[header.header_len()..];
    if let Ok(len) = header.unpadded_len(payload) {
        assert!(len <= payload.len());
    }
    for form in [ExtensionForm::OneByte, ExtensionForm::TwoByte] {
        rewrite(&header, form);
    }
}

/// Writes the header again, without CSRCs: all elements the form can take must come out as they went in.
fn rewrite(header: &RtpHeader<'_>, form: ExtensionForm) {
    let fields = HeaderFields {
        padding: header.padding,
        marker: header.marker,
        payload_type: header.payload_type,
        sequence: header.sequence,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
    };
    // A two-byte element takes at most one byte more than it had, and one has at least one byte.
    let mut out = vec![0; 16 + 2 * header.header_len() + 4];
    let mut writer = HeaderWriter::new(&mut out, &fields, form).expect("room for the fixed header");
    let mut written = Vec::new();
    for (id, value) in header
        .extensions()
        .filter(|(id, value)| form.fits(*id, value.len()))
    {
        writer.extension(id, value).expect("room for what came in");
        written.push((id, value));
    }
    let len = writer.finish();
    let again = RtpHeader::parse(&out[..len]).expect("own header");
    assert_eq!(again.header_len(), len);
    assert!(again.extensions().eq(written));
    assert_eq!(
        (
            again.padding,
            again.marker,
            again.payload_type,
            again.sequence,
            again.timestamp,
            again.ssrc
        ),
        (
            header.padding,
            header.marker,
            header.payload_type,
            header.sequence,
            header.timestamp,
            header.ssrc
        )
    );
}

pub(super) fn extension_values(data: &[u8]) {
    let _ = transport_sequence(data);
    if let Some(time) = AbsSendTime::from_bytes(data) {
        assert_eq!(time.to_bytes(), data);
        assert!(time.to_duration() < Duration::from_secs(64));
    }
    if let Some(level) = AudioLevel::from_bytes(data) {
        assert_eq!(level.to_bytes()[0], data[0]);
    }
    if let Some(orientation) = VideoOrientation::from_bytes(data) {
        assert_eq!(
            VideoOrientation::from_bytes(&orientation.to_bytes()),
            Some(orientation)
        );
    }
    if let Some(offset) = transmission_offset(data) {
        assert_eq!(transmission_offset_bytes(offset), data);
    }
    if let Some(delay) = PlayoutDelay::from_bytes(data) {
        assert_eq!(delay.to_bytes(), data);
    }
    if let Some(capture) = AbsCaptureTime::from_bytes(data) {
        let mut out = [0; 16];
        let len = capture.write(&mut out);
        assert_eq!(&out[..len], data);
    }
}

pub(super) fn sequence(data: &[u8]) {
    let mut unwrapper = Unwrapper::new();
    for pair in data.as_chunks::<2>().0 {
        let number = u16::from_be_bytes(*pair);
        let before = unwrapper.newest();
        let peeked = unwrapper.peek(number);
        assert_eq!(unwrapper.extend(number), peeked);
        if let Some(extended) = peeked {
            assert_eq!(extended as u16, number);
            let ahead = before.is_none_or(|before| extended > before);
            assert_eq!(
                unwrapper.newest(),
                if ahead { Some(extended) } else { before }
            );
            if let Some(before) = before {
                assert!(extended.abs_diff(before) <= 0x8000);
                assert!(!seq::is_newer(number, before as u16) || extended > before);
            }
        }
    }
}
