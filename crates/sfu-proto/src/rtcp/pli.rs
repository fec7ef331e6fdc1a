//! Picture loss indication: the plain request for a key frame.
//!
//! RFC 4585 §6.3.1.

use super::header::{HEADER_LEN, PAYLOAD_FEEDBACK, RawPacket, begin, put_u32};
use crate::error::RtcpError;

pub(super) const FORMAT: u8 = 1;

/// A request for a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pli {
    /// SSRC of the requester.
    pub sender_ssrc: u32,
    /// The stream requested.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn parse(raw: RawPacket<'_>) -> Result<Self, RtcpError> {
        let (sender_ssrc, media_ssrc, _) = raw.feedback()?;
        Ok(Self {
            sender_ssrc,
            media_ssrc,
        })
    }

    /// Writes the packet; `None` if `out` is too small.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let body = begin(out, HEADER_LEN + 8, FORMAT, PAYLOAD_FEEDBACK)?;
        put_u32(body, 0, self.sender_ssrc);
        put_u32(body, 4, self.media_ssrc);
        Some(HEADER_LEN + 8)
    }
}
