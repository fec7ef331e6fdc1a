//! Generic NACK: requests for lost packets.
//!
//! RFC 4585 §6.2.1.

use super::header::{HEADER_LEN, RawPacket, TRANSPORT_FEEDBACK, begin, put_u32};
use crate::error::RtcpError;

pub(super) const FORMAT: u8 = 1;

/// A received NACK.
#[derive(Debug, Clone, Copy)]
pub struct Nack<'a> {
    /// SSRC of the requester.
    pub sender_ssrc: u32,
    /// The stream requested.
    pub media_ssrc: u32,
    entries: &'a [[u8; 4]],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let (sender_ssrc, media_ssrc, rest) = raw.feedback()?;
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            entries: rest.as_chunks().0,
        })
    }

    /// The requested sequence numbers, in the order of the entries.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + 'a {
        self.entries
            .iter()
            .flat_map(|&[pid_high, pid_low, mask_high, mask_low]| {
                let first = u16::from_be_bytes([pid_high, pid_low]);
                let mask = u32::from(u16::from_be_bytes([mask_high, mask_low])) << 1 | 1;
                (0..17u16)
                    .filter(move |bit| mask >> bit & 1 != 0)
                    .map(move |bit| first.wrapping_add(bit))
            })
    }
}

/// Result of [`write()`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the packet.
    pub len: usize,
    /// Sequence numbers written, from the front of the list; the rest did not fit.
    pub taken: usize,
}

/// Writes a NACK for as many of `sequences` as fit; `None` if there are none or not one entry fits.
///
/// `sequences` ascend, across a wrap too.
pub fn write(
    sender_ssrc: u32,
    media_ssrc: u32,
    sequences: &[u16],
    out: &mut [u8],
) -> Option<Written> {
    const FIXED: usize = HEADER_LEN + 8;
    let room = out.len().checked_sub(FIXED)? / 4;
    let mut entries = 0;
    let mut taken = 0;
    while let Some(&first) = sequences.get(taken) {
        if entries == room {
            break;
        }
        let mut mask = 0u16;
        taken += 1;
        while let Some(&next) = sequences.get(taken) {
            match next.wrapping_sub(first) {
                0 => {}
                ahead @ 1..=16 => mask |= 1 << (ahead - 1),
                _ => break,
            }
            taken += 1;
        }
        let at = FIXED + entries * 4;
        put_u32(out, at, u32::from(first) << 16 | u32::from(mask));
        entries += 1;
    }
    if entries == 0 {
        return None;
    }
    let len = FIXED + entries * 4;
    let body = begin(out, len, FORMAT, TRANSPORT_FEEDBACK)?;
    put_u32(body, 0, sender_ssrc);
    put_u32(body, 4, media_ssrc);
    Some(Written { len, taken })
}
