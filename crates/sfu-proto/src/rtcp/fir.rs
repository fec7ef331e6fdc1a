//! Full intra request: a numbered request for a key frame by a receiver without a picture.
//!
//! RFC 5104 §4.3.1.

use super::header::{HEADER_LEN, PAYLOAD_FEEDBACK, RawPacket, begin, put_u32, u32_at};
use crate::error::RtcpError;

pub(super) const FORMAT: u8 = 4;

/// Request for a key frame of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntry {
    /// The stream requested.
    pub ssrc: u32,
    /// Command number of the receiver; a repeated number is the same request.
    pub sequence: u8,
}

/// A received request for key frames.
#[derive(Debug, Clone, Copy)]
pub struct Fir<'a> {
    /// SSRC of the requester.
    pub sender_ssrc: u32,
    entries: &'a [[u8; 8]],
}

impl<'a> Fir<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        // The media source of the common feedback header is unused (RFC 5104 §4.3.1.2).
        let (sender_ssrc, _, rest) = raw.feedback()?;
        Ok(Self {
            sender_ssrc,
            entries: rest.as_chunks().0,
        })
    }

    /// The streams requested.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + 'a {
        self.entries.iter().map(|bytes| FirEntry {
            ssrc: u32_at(bytes, 0),
            sequence: bytes[4],
        })
    }
}

/// Writes a request for `entries`; `None` if `out` is too small.
pub fn write(sender_ssrc: u32, entries: &[FirEntry], out: &mut [u8]) -> Option<usize> {
    let len = HEADER_LEN + 8 + entries.len() * 8;
    let body = begin(out, len, FORMAT, PAYLOAD_FEEDBACK)?;
    put_u32(body, 0, sender_ssrc);
    put_u32(body, 4, 0);
    for (entry, out) in entries.iter().zip(body[8..].as_chunks_mut::<8>().0) {
        put_u32(out, 0, entry.ssrc);
        put_u32(out, 4, u32::from(entry.sequence) << 24);
    }
    Some(len)
}
