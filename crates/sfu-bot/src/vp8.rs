//! VP8 over RTP: cuts frames into payloads, and sees in a received one where frames begin.
//!
//! # Job
//! Sending side of RFC 7741 with a 15-bit picture id and nothing else, and the few bits a receiver needs to count frames.
//!
//! # Left out
//! Temporal layers and partition starts: the clip has neither.

use std::ops::Range;

use crate::checksum::FrameSum;
use crate::stamp::{STAMP_LEN, Stamp};

/// Bytes of the payload descriptor written here.
pub(crate) const DESCRIPTOR_LEN: usize = 4;

/// Most frame bytes of one packet: with header, extensions, descriptor and the largest SRTP tag it stays below 1200.
pub(crate) const MAX_PART: usize = 1120;

/// How many packets a frame of this length needs; the stamp must fit the last one.
pub(crate) fn part_count(frame_len: usize, stamped: bool) -> usize {
    (frame_len + if stamped { STAMP_LEN } else { 0 })
        .div_ceil(MAX_PART)
        .max(1)
}

/// Writes payload `part` of `parts` into `out` and returns its length. The stamp goes behind the last part.
pub(crate) fn write_part(
    frame: &[u8],
    part: usize,
    parts: usize,
    picture_id: u16,
    stamp: Option<&Stamp>,
    out: &mut [u8],
) -> usize {
    let Range {
        start: from,
        end: to,
    } = part_range(frame.len(), part, parts, stamp.is_some());
    out[0] = 0x80 | u8::from(part == 0) << 4;
    out[1] = 0x80;
    out[2..4].copy_from_slice(&(picture_id | 0x8000).to_be_bytes());
    let mut length = DESCRIPTOR_LEN + to - from;
    out[DESCRIPTOR_LEN..length].copy_from_slice(&frame[from..to]);
    if let (Some(stamp), true) = (stamp, part + 1 == parts) {
        out[length..length + STAMP_LEN].copy_from_slice(&stamp.to_bytes());
        length += STAMP_LEN;
    }
    length
}

/// Which bytes of the frame packet `part` of `parts` holds.
fn part_range(frame_len: usize, part: usize, parts: usize, stamped: bool) -> Range<usize> {
    // Equal parts: a short rest would make the last packet of every frame cheap and the others full.
    let size = (frame_len + if stamped { STAMP_LEN } else { 0 }).div_ceil(parts);
    (part * size).min(frame_len)..((part + 1) * size).min(frame_len)
}

/// The sum that the stamp of a frame in so many packets carries.
pub(crate) fn sum(frame: &[u8], parts: usize) -> u32 {
    let mut sum = FrameSum::default();
    for part in 0..parts {
        sum.add(
            part as u64,
            &frame[part_range(frame.len(), part, parts, true)],
        );
    }
    sum.value(parts as u64 - 1)
}

/// What a received payload says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// It begins a frame.
    pub(crate) start: bool,
    /// It begins a key frame.
    pub(crate) key: bool,
    /// Bytes of its descriptor.
    pub(crate) descriptor: usize,
}

/// Reads the descriptor (RFC 7741 §4.2) and the first bit of the frame; `None` if the payload is too short.
pub(crate) fn read_part(payload: &[u8]) -> Option<Part> {
    let &first = payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let &extension = payload.get(1)?;
        at = 2;
        if extension & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    let start = first & 0x17 == 0x10;
    Some(Part {
        start,
        key: start && payload.get(at)? & 1 == 0,
        descriptor: at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Ending;

    const STAMP: Stamp = Stamp {
        flags: 0,
        bot: 1,
        seq: 2,
        unix_ns: 3,
        sum: 4,
        packets: 5,
        timestamp: 6,
    };

    #[test]
    fn parts_put_together_give_the_frame_and_the_stamp() {
        for length in [
            10,
            MAX_PART - STAMP_LEN,
            MAX_PART - STAMP_LEN + 1,
            MAX_PART,
            MAX_PART + 1,
            2 * MAX_PART - STAMP_LEN,
            5000,
        ] {
            let frame: Vec<u8> = (0..length).map(|at| (at * 7) as u8 & 0xfe).collect();
            for stamp in [None, Some(&STAMP)] {
                let parts = part_count(length, stamp.is_some());
                let mut whole = Vec::new();
                for part in 0..parts {
                    let mut out = [0; 1200];
                    let written = write_part(&frame, part, parts, 0x1234, stamp, &mut out);
                    assert!(written <= DESCRIPTOR_LEN + MAX_PART);
                    assert_eq!(out[2..4], [0x92, 0x34]);
                    let seen = read_part(&out[..written]).unwrap();
                    assert_eq!(
                        seen,
                        Part {
                            start: part == 0,
                            key: part == 0,
                            descriptor: DESCRIPTOR_LEN,
                        }
                    );
                    whole.extend_from_slice(&out[DESCRIPTOR_LEN..written]);
                }
                assert_eq!(whole[..length], frame);
                assert_eq!(
                    Stamp::of(&whole),
                    stamp.map_or(Ending::Absent, |stamp| Ending::Intact(*stamp))
                );
            }
        }
    }

    #[test]
    fn a_delta_frame_is_not_a_key_frame() {
        let mut out = [0; 100];
        let written = write_part(&[0x11, 0, 0, 1], 0, 1, 1, None, &mut out);
        assert_eq!(
            read_part(&out[..written]),
            Some(Part {
                start: true,
                key: false,
                descriptor: DESCRIPTOR_LEN
            })
        );
    }

    #[test]
    fn other_descriptors_are_read_too() {
        // No extension; 7-bit picture id; picture id, TL0PICIDX and TID.
        assert_eq!(
            read_part(&[0x10, 0x00]),
            Some(Part {
                start: true,
                key: true,
                descriptor: 1
            })
        );
        assert_eq!(
            read_part(&[0x90, 0x80, 0x05, 0x01]),
            Some(Part {
                start: true,
                key: false,
                descriptor: 3
            })
        );
        assert_eq!(
            read_part(&[0x90, 0xe0, 0x80, 0x05, 1, 2, 0]),
            Some(Part {
                start: true,
                key: true,
                descriptor: 6
            })
        );
        assert_eq!(
            read_part(&[0x00, 0x00]),
            Some(Part {
                start: false,
                key: false,
                descriptor: 1
            })
        );
        assert_eq!(
            read_part(&[0x11, 0x00]),
            Some(Part {
                start: false,
                key: false,
                descriptor: 1
            }),
            "second partition"
        );
        for payload in [
            &[][..],
            &[0x90],
            &[0x90, 0x80],
            &[0x90, 0x80, 0x80, 5],
            &[0x10],
        ] {
            assert_eq!(read_part(payload), None);
        }
    }
}
