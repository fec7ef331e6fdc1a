//! BYE: sources that end.
//!
//! # Left out
//! The reason text is skipped on reading and never written.
//!
//! RFC 3550 §6.6.

use super::header::{BYE, HEADER_LEN, RawPacket, begin};
use crate::error::RtcpError;

/// A received BYE.
#[derive(Debug, Clone, Copy)]
pub struct Bye<'a> {
    ssrcs: &'a [[u8; 4]],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let words = raw.body.as_chunks::<4>().0;
        Ok(Self {
            ssrcs: words
                .get(..usize::from(raw.count))
                .ok_or(RtcpError::Malformed)?,
        })
    }

    /// The sources that end.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.ssrcs.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Writes a BYE for up to 31 sources; `None` if there are more or `out` is too small.
pub fn write(ssrcs: &[u32], out: &mut [u8]) -> Option<usize> {
    if ssrcs.len() > 31 {
        return None;
    }
    let len = HEADER_LEN + ssrcs.len() * 4;
    let body = begin(out, len, ssrcs.len() as u8, BYE)?;
    for (ssrc, out) in ssrcs.iter().zip(body.as_chunks_mut::<4>().0) {
        *out = ssrc.to_be_bytes();
    }
    Some(len)
}
