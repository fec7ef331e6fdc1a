//! The RTP header of one consumer's packets, prepared once.
//!
//! # Job
//! Holds the constant part of a consumer's headers and the offsets of the rest: marker, sequence number, timestamp,
//! send time, transport-wide sequence number, audio level, passthrough extensions.
//!
//! # Invariants
//! - The one-byte form is used unless an id or a length needs the two-byte form (RFC 8285 §4).
//! - Consumers of one kind on one transport have headers of equal length, so that equal payloads make equal
//!   datagrams: a mid takes the space of three characters.
//! - Without `per_send` the header depends on the packet alone, so that a retransmission under the same SRTP index
//!   has the same bytes (a GCM nonce must never protect two texts).
//!
//! # Cost
//! One copy of at most 64 bytes and a few patches; no allocation.

use super::passthrough::{self, PassthroughExtensions};
use super::ring::{FILLER, LEVEL, MARKER, PASSTHROUGH, Slot};
use crate::rtp::header::FIXED_LEN;
use crate::rtp::{ExtensionForm, ExtensionMap, ExtensionUri, HeaderFields, HeaderWriter};

/// Longest mid that is sent.
pub(crate) const MAX_MID: usize = 32;
/// Size of the constant part: fixed header, block header, mid, send time, transport-wide number, level, padding.
const CAPACITY: usize =
    (FIXED_LEN + 4 + (2 + MAX_MID) + (2 + 3) + (2 + 2) + (2 + 1)).next_multiple_of(4);
/// The stored part: everything behind the fixed header.
const BLOCK: usize = CAPACITY - FIXED_LEN;
/// Size of the longest header.
pub(crate) const MAX_HEADER: usize = CAPACITY + passthrough::MAX_ELEMENTS + 4;
const MID_ROOM: usize = 3;

/// Values that differ from packet to packet, and those of the fixed header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) ssrc: u32,
    pub(crate) slot: &'a Slot,
    pub(crate) passthrough: Option<&'a PassthroughExtensions>,
    pub(crate) padded: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    /// 6.18 seconds, big-endian.
    pub(crate) send_time: [u8; 3],
    pub(crate) transport_sequence: u16,
}

/// A header template in one cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Template {
    /// Length of the constant part, padded.
    len: u8,
    /// End of its elements, before padding.
    elements_end: u8,
    /// Offsets of values from the start of the packet; 0 means absent.
    send_time_at: u8,
    sequence_at: u8,
    level_at: u8,
    two_byte: bool,
    has_passthrough: bool,
    /// By position in the table of `passthrough`; 0 is none.
    passthrough_ids: [u8; passthrough::COUNT],
    block: [u8; BLOCK],
}

const _: () = assert!(size_of::<Template>() == 64);

impl Template {
    /// `per_send`: the header may carry the send time and the transport-wide sequence number.
    pub(crate) fn new(mid: &str, ids: &ExtensionMap, audio: bool, per_send: bool) -> Self {
        let id = |uri| ids.id(uri).unwrap_or(0);
        let mut template = Self::empty(ids, mid);
        let form = if template.two_byte {
            ExtensionForm::TwoByte
        } else {
            ExtensionForm::OneByte
        };
        let mut bytes = [0; CAPACITY];
        let mut writer = HeaderWriter::new(&mut bytes, &HeaderFields::default(), form)
            .expect("invariant: the template holds a fixed header");
        let mut end = FIXED_LEN;
        let mut element = |id: u8, value: &[u8]| {
            if id == 0 {
                return 0;
            }
            let at = writer
                .extension(id, value)
                .expect("invariant: the template holds all constant elements");
            end = at + value.len();
            at as u8
        };
        if per_send {
            template.send_time_at = element(id(ExtensionUri::AbsSendTime), &[0; 3]);
            template.sequence_at = element(id(ExtensionUri::TransportWideCc), &[0; 2]);
        }
        if audio {
            template.level_at = element(id(ExtensionUri::AudioLevel), &[0; 1]);
        }
        // The mid comes last: its length differs, and padding follows it.
        let has_mid = element(id(ExtensionUri::Mid), mid.as_bytes()) != 0;
        let room = usize::from(has_mid) * MID_ROOM.saturating_sub(mid.len());
        let len = writer.finish();
        template.elements_end = end as u8;
        let wanted = if end == FIXED_LEN {
            FIXED_LEN
        } else {
            (end + room).next_multiple_of(4)
        };
        template.len = len.max(wanted) as u8;
        template.block.copy_from_slice(&bytes[FIXED_LEN..]);
        template.write_block_len(usize::from(template.len));
        template
    }

    /// Sets ids and form, without elements.
    fn empty(ids: &ExtensionMap, mid: &str) -> Self {
        let id = |uri| ids.id(uri).unwrap_or(0);
        let passthrough_ids = passthrough::uris().map(id);
        let sent_ids = [
            id(ExtensionUri::Mid),
            id(ExtensionUri::AbsSendTime),
            id(ExtensionUri::TransportWideCc),
            id(ExtensionUri::AudioLevel),
        ];
        Self {
            block: [0; BLOCK],
            len: FIXED_LEN as u8,
            elements_end: FIXED_LEN as u8,
            send_time_at: 0,
            sequence_at: 0,
            level_at: 0,
            two_byte: mid.len() > 16 || passthrough_ids.iter().chain(&sent_ids).any(|id| *id > 14),
            has_passthrough: passthrough_ids.iter().any(|id| *id != 0),
            passthrough_ids,
        }
    }

    fn write_block_len(&mut self, len: usize) {
        if len > FIXED_LEN {
            let words = ((len - FIXED_LEN) / 4 - 1) as u16;
            self.block[2..4].copy_from_slice(&words.to_be_bytes());
        }
    }

    /// Whether packets carry a transport-wide sequence number.
    #[inline]
    pub(crate) fn carries_number(&self) -> bool {
        self.sequence_at != 0
    }

    /// Whether the consumer forwards passthrough extensions.
    #[inline]
    pub(crate) fn wants_passthrough(&self) -> bool {
        self.has_passthrough
    }

    /// Returns the length of the header without passthrough extensions.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Writes the header of one packet and returns its length; `out` has at least `MAX_HEADER` bytes.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8], fields: &Fields<'_>) -> usize {
        let len = usize::from(self.len);
        let slot = fields.slot;
        let out = &mut out[..MAX_HEADER];
        let extended = u8::from(len > FIXED_LEN);
        out[0] = 0x80 | u8::from(fields.padded) << 5 | extended << 4;
        out[1] = (slot.flags & MARKER) << 7 | fields.payload_type;
        out[2..4].copy_from_slice(&fields.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        out[8..FIXED_LEN].copy_from_slice(&fields.ssrc.to_be_bytes());
        out[FIXED_LEN..CAPACITY].copy_from_slice(&self.block);
        if self.send_time_at != 0 {
            let at = usize::from(self.send_time_at);
            out[at..at + 3].copy_from_slice(&fields.send_time);
        }
        if self.sequence_at != 0 {
            let at = usize::from(self.sequence_at);
            out[at..at + 2].copy_from_slice(&fields.transport_sequence.to_be_bytes());
        }
        if self.level_at != 0 {
            let at = usize::from(self.level_at);
            if slot.flags & LEVEL != 0 {
                out[at] = slot.level;
            } else {
                // The level is unknown, which is not silence: padding replaces the element.
                out[at - 1 - usize::from(self.two_byte)..=at].fill(0);
            }
        }
        match fields.passthrough {
            Some(passthrough)
                if self.has_passthrough && slot.flags & (PASSTHROUGH | FILLER) == PASSTHROUGH =>
            {
                self.append_passthrough(out, passthrough)
            }
            _ => len,
        }
    }

    fn append_passthrough(&self, out: &mut [u8], passthrough: &PassthroughExtensions) -> usize {
        let mut end = usize::from(self.elements_end);
        if end == FIXED_LEN {
            end += 4;
            out[0] |= 0x10;
            let profile: u16 = if self.two_byte { 0x1000 } else { 0xbede };
            out[FIXED_LEN..FIXED_LEN + 2].copy_from_slice(&profile.to_be_bytes());
        }
        let mut element = |id: u8, value: &[u8]| {
            if id == 0 || value.is_empty() {
                return;
            }
            if self.two_byte {
                out[end] = id;
                out[end + 1] = value.len() as u8;
                end += 2;
            } else {
                out[end] = id << 4 | (value.len() - 1) as u8;
                end += 1;
            }
            out[end..end + value.len()].copy_from_slice(value);
            end += value.len();
        };
        for (position, id) in self.passthrough_ids.iter().enumerate() {
            element(*id, passthrough.value(position));
        }
        if end == FIXED_LEN + 4 && usize::from(self.len) == FIXED_LEN {
            out[0] &= !0x10;
            return FIXED_LEN;
        }
        let len = end.next_multiple_of(4).max(usize::from(self.len));
        out[end..len].fill(0);
        let words = ((len - FIXED_LEN) / 4 - 1) as u16;
        out[FIXED_LEN + 2..FIXED_LEN + 4].copy_from_slice(&words.to_be_bytes());
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpHeader;

    fn ids(list: &[(u8, ExtensionUri)]) -> ExtensionMap {
        let mut map = ExtensionMap::new();
        for (id, uri) in list {
            map.insert(*id, *uri);
        }
        map
    }

    fn slot(flags: u8) -> Slot {
        Slot {
            index: 0,
            timestamp: 0,
            len: 0,
            buffer: 0,
            flags,
            pad: 0,
            codec: 0,
            level: 0x9e,
            arrived: 0,
        }
    }

    fn fields<'a>(slot: &'a Slot, passthrough: Option<&'a PassthroughExtensions>) -> Fields<'a> {
        Fields {
            ssrc: 77,
            slot,
            passthrough,
            padded: false,
            sequence: 0x1234,
            timestamp: 0x5566_7788,
            payload_type: 100,
            send_time: [1, 2, 3],
            transport_sequence: 0x0a0b,
        }
    }

    fn elements(header: &RtpHeader<'_>) -> Vec<(u8, Vec<u8>)> {
        header
            .extensions()
            .map(|(id, value)| (id, value.to_vec()))
            .collect()
    }

    #[test]
    fn a_header_carries_the_consumers_ids() {
        let map = ids(&[
            (1, ExtensionUri::Mid),
            (4, ExtensionUri::AbsSendTime),
            (5, ExtensionUri::TransportWideCc),
            (6, ExtensionUri::AudioLevel),
        ]);
        let template = Template::new("12", &map, true, true);
        let mut out = [0xff; MAX_HEADER];
        let packet = slot(MARKER | LEVEL);
        let len = template.write(&mut out, &fields(&packet, None));
        let header = RtpHeader::parse(&out[..len]).expect("well-formed");
        assert_eq!(header.header_len(), len);
        assert!(header.marker);
        assert_eq!(
            (header.ssrc, header.payload_type, header.sequence),
            (77, 100, 0x1234)
        );
        assert_eq!(
            elements(&header),
            [
                (4, vec![1, 2, 3]),
                (5, vec![0x0a, 0x0b]),
                (6, vec![0x9e]),
                (1, b"12".to_vec())
            ]
        );
    }

    #[test]
    fn headers_of_one_transport_have_one_length() {
        let map = ids(&[(1, ExtensionUri::Mid), (4, ExtensionUri::AbsSendTime)]);
        let short = Template::new("7", &map, false, true);
        let long = Template::new("107", &map, false, true);
        assert_eq!(short.len(), long.len());
        let packet = slot(0);
        let mut out = [0xff; MAX_HEADER];
        let len = short.write(&mut out, &fields(&packet, None));
        let header = RtpHeader::parse(&out[..len]).expect("well-formed");
        assert_eq!(elements(&header).len(), 2);
    }

    #[test]
    fn an_unknown_level_is_left_out() {
        for id in [6, 20] {
            let map = ids(&[(1, ExtensionUri::Mid), (id, ExtensionUri::AudioLevel)]);
            let template = Template::new("0", &map, true, true);
            let mut out = [0; MAX_HEADER];
            let packet = slot(0);
            let len = template.write(&mut out, &fields(&packet, None));
            let header = RtpHeader::parse(&out[..len]).expect("well-formed");
            assert_eq!(elements(&header), [(1, b"0".to_vec())]);
        }
    }

    #[test]
    fn passthrough_extensions_follow_and_large_ids_need_the_two_byte_form() {
        for id in [9, 200] {
            let map = ids(&[
                (1, ExtensionUri::Mid),
                (id, ExtensionUri::VideoOrientation),
                (10, ExtensionUri::AbsCaptureTime),
                (11, ExtensionUri::TransmissionOffset),
            ]);
            let template = Template::new("0", &map, false, true);
            let mut passthrough = PassthroughExtensions::default();
            assert!(passthrough.read(ExtensionUri::VideoOrientation, &[3]));
            assert!(passthrough.read(ExtensionUri::AbsCaptureTime, &[7; 16]));
            let mut out = [0xff; MAX_HEADER];
            let packet = slot(PASSTHROUGH);
            let len = template.write(&mut out, &fields(&packet, Some(&passthrough)));
            let header = RtpHeader::parse(&out[..len]).expect("well-formed");
            assert_eq!(
                elements(&header),
                [(1, b"0".to_vec()), (id, vec![3]), (10, vec![7; 16])]
            );
        }
    }

    #[test]
    fn without_extensions_there_is_no_block() {
        let template = Template::new("0", &ExtensionMap::new(), true, true);
        assert_eq!(template.len(), FIXED_LEN);
        let mut out = [0; MAX_HEADER];
        let packet = slot(LEVEL);
        let len = template.write(&mut out, &fields(&packet, None));
        assert!(
            !RtpHeader::parse(&out[..len])
                .expect("well-formed")
                .extension
        );
    }

    #[test]
    fn a_short_mid_has_the_room_of_three_characters_wherever_it_begins() {
        // 16 bytes before the first element; a level of 2 bytes, then a mid of 2 to 4.
        let map = ids(&[(1, ExtensionUri::Mid), (6, ExtensionUri::AudioLevel)]);
        let lens = ["7", "17", "107"].map(|mid| Template::new(mid, &map, true, true).len());
        assert_eq!(lens, [24; 3]);
    }

    #[test]
    fn passthrough_extensions_are_wanted_if_any_has_an_id() {
        let all = [
            (1, ExtensionUri::VideoOrientation),
            (2, ExtensionUri::TransmissionOffset),
            (3, ExtensionUri::PlayoutDelay),
            (4, ExtensionUri::AbsCaptureTime),
        ];
        for count in 0..=all.len() {
            let template = Template::new("0", &ids(&all[..count]), false, true);
            assert_eq!(template.wants_passthrough(), count > 0, "{count}");
        }
    }

    #[test]
    fn a_packet_whose_passthrough_extensions_the_receiver_does_not_know_has_no_block() {
        let template = Template::new(
            "0",
            &ids(&[(9, ExtensionUri::VideoOrientation)]),
            false,
            true,
        );
        let mut passthrough = PassthroughExtensions::default();
        assert!(passthrough.read(ExtensionUri::PlayoutDelay, &[1, 2, 3]));
        let mut out = [0; MAX_HEADER];
        let packet = slot(PASSTHROUGH);
        let len = template.write(&mut out, &fields(&packet, Some(&passthrough)));
        assert_eq!((len, out[0]), (FIXED_LEN, 0x80));
    }

    #[test]
    fn the_longest_header_fits() {
        let uris = [
            ExtensionUri::Mid,
            ExtensionUri::AbsSendTime,
            ExtensionUri::TransportWideCc,
            ExtensionUri::AudioLevel,
            ExtensionUri::VideoOrientation,
            ExtensionUri::TransmissionOffset,
            ExtensionUri::PlayoutDelay,
            ExtensionUri::AbsCaptureTime,
        ];
        let list: Vec<_> = uris.iter().zip(200..).map(|(uri, id)| (id, *uri)).collect();
        let template = Template::new(&"m".repeat(MAX_MID), &ids(&list), true, true);
        let mut passthrough = PassthroughExtensions::default();
        assert!(passthrough.read(ExtensionUri::VideoOrientation, &[1]));
        assert!(passthrough.read(ExtensionUri::TransmissionOffset, &[1; 3]));
        assert!(passthrough.read(ExtensionUri::PlayoutDelay, &[2; 3]));
        assert!(passthrough.read(ExtensionUri::AbsCaptureTime, &[3; 16]));
        let mut out = [0; MAX_HEADER];
        let packet = slot(PASSTHROUGH | LEVEL);
        let len = template.write(&mut out, &fields(&packet, Some(&passthrough)));
        // 16 before the elements, 46 of the constant ones, 31 of the others, and padding.
        assert_eq!(len, 96);
        let header = RtpHeader::parse(&out[..len]).expect("well-formed");
        assert_eq!(elements(&header).len(), 8);
    }

    #[test]
    fn an_id_over_fourteen_needs_the_two_byte_form() {
        for (id, two_byte) in [(14, false), (15, true)] {
            let map = ids(&[(1, ExtensionUri::Mid), (id, ExtensionUri::AudioLevel)]);
            assert_eq!(
                Template::new("0", &map, true, true).two_byte,
                two_byte,
                "{id}"
            );
        }
    }

    #[test]
    fn a_mid_over_sixteen_characters_needs_the_two_byte_form() {
        let map = ids(&[(1, ExtensionUri::Mid)]);
        for (len, two_byte) in [(16, false), (17, true), (20, true)] {
            let mid = "m".repeat(len);
            let template = Template::new(&mid, &map, false, true);
            assert_eq!(template.two_byte, two_byte, "{len}");
            let mut out = [0; MAX_HEADER];
            let packet = slot(0);
            let end = template.write(&mut out, &fields(&packet, None));
            let header = RtpHeader::parse(&out[..end]).expect("well-formed");
            assert_eq!(elements(&header), [(1, mid.into_bytes())]);
        }
    }
}
