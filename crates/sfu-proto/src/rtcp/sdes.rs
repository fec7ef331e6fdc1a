//! Source descriptions: the CNAME that groups the streams of one participant.
//!
//! # Left out
//! All items but CNAME: skipped on reading and never written.
//!
//! RFC 3550 §6.5.

use super::header::{HEADER_LEN, RawPacket, SOURCE_DESCRIPTION, begin, put_u32};
use crate::error::RtcpError;

const CNAME: u8 = 1;

/// A received source description.
#[derive(Debug, Clone, Copy)]
pub struct Sdes<'a> {
    count: u8,
    chunks: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let mut rest = raw.body;
        for _ in 0..raw.count {
            rest = split_chunk(rest).ok_or(RtcpError::Malformed)?.rest;
        }
        Ok(Self {
            count: raw.count,
            chunks: raw.body,
        })
    }

    /// The sources with a CNAME, with its bytes: `(ssrc, cname)`.
    pub fn cnames(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let mut rest = self.chunks;
        (0..self.count)
            .map_while(move |_| {
                let chunk = split_chunk(rest)?;
                rest = chunk.rest;
                Some((chunk.ssrc, chunk.cname))
            })
            .filter_map(|(ssrc, cname)| Some((ssrc, cname?)))
    }
}

struct Chunk<'a> {
    ssrc: u32,
    cname: Option<&'a [u8]>,
    rest: &'a [u8],
}

fn split_chunk(bytes: &[u8]) -> Option<Chunk<'_>> {
    let (ssrc, mut items) = bytes.split_first_chunk::<4>()?;
    let mut cname = None;
    loop {
        let (&kind, rest) = items.split_first()?;
        if kind == 0 {
            // The zero, and padding zeros up to the next word (RFC 3550 §6.5).
            let used = (bytes.len() - rest.len()).next_multiple_of(4);
            return Some(Chunk {
                ssrc: u32::from_be_bytes(*ssrc),
                cname,
                rest: bytes.get(used..)?,
            });
        }
        let (&len, rest) = rest.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(len))?;
        if kind == CNAME {
            cname = Some(text);
        }
        items = rest;
    }
}

/// Writes a description of one source; `None` if the CNAME is over 255 bytes or `out` too small.
pub fn write(ssrc: u32, cname: &str, out: &mut [u8]) -> Option<usize> {
    let name_len = u8::try_from(cname.len()).ok()?;
    let used = HEADER_LEN + 4 + 2 + cname.len();
    // At least one zero ends the items.
    let len = (used + 1).next_multiple_of(4);
    let body = begin(out, len, 1, SOURCE_DESCRIPTION)?;
    put_u32(body, 0, ssrc);
    body[4..6].copy_from_slice(&[CNAME, name_len]);
    body[6..6 + cname.len()].copy_from_slice(cname.as_bytes());
    body[6 + cname.len()..].fill(0);
    Some(len)
}
