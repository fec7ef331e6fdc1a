//! The common header of RTCP packets.
//!
//! RFC 3550 §6.4.1, Appendix A.2.

use crate::error::RtcpError;

/// Bytes of the common header.
pub(super) const HEADER_LEN: usize = 4;

pub(super) const SENDER_REPORT: u8 = 200;
pub(super) const RECEIVER_REPORT: u8 = 201;
pub(super) const SOURCE_DESCRIPTION: u8 = 202;
pub(super) const BYE: u8 = 203;
pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
pub(super) const EXTENDED_REPORT: u8 = 207;

/// One packet of a compound, not yet interpreted.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawPacket<'a> {
    /// Report count, source count or feedback format: the low five bits of the first byte.
    pub(super) count: u8,
    pub(super) packet_type: u8,
    /// The body, without padding.
    pub(super) body: &'a [u8],
}

impl<'a> RawPacket<'a> {
    /// Splits the first packet off `bytes`; returns it and the rest.
    pub(super) fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RtcpError> {
        let (header, rest) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(RtcpError::Truncated)?;
        if header[0] >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let (mut body, rest) = rest.split_at_checked(len).ok_or(RtcpError::Truncated)?;
        if header[0] & 0x20 != 0 {
            // Not necessarily a multiple of four: libwebrtc pads transport-cc feedback by 1 to 3 bytes.
            let count = usize::from(*body.last().ok_or(RtcpError::Padding)?);
            let kept = body.len().checked_sub(count).ok_or(RtcpError::Padding)?;
            if count == 0 {
                return Err(RtcpError::Padding);
            }
            body = &body[..kept];
        }
        Ok((
            Self {
                count: header[0] & 0x1f,
                packet_type: header[1],
                body,
            },
            rest,
        ))
    }

    /// Parses the common part of feedback: its sender, the stream it refers to, and the rest (RFC 4585 §6.1).
    pub(super) fn feedback(self) -> Result<(u32, u32, &'a [u8]), RtcpError> {
        let (ssrcs, rest) = self
            .body
            .split_first_chunk::<8>()
            .ok_or(RtcpError::Truncated)?;
        Ok((u32_at(ssrcs, 0), u32_at(ssrcs, 4), rest))
    }
}

/// Writes the header of a packet of `len` bytes and returns its body; `None` if `out` is shorter.
///
/// `len` counts the header and is a multiple of four.
pub(super) fn begin(out: &mut [u8], len: usize, count: u8, packet_type: u8) -> Option<&mut [u8]> {
    debug_assert!(len.is_multiple_of(4) && len >= HEADER_LEN && count < 32);
    let words = u16::try_from(len / 4 - 1).ok()?;
    let (header, body) = out.get_mut(..len)?.split_first_chunk_mut::<HEADER_LEN>()?;
    header[0] = 0x80 | count;
    header[1] = packet_type;
    header[2..].copy_from_slice(&words.to_be_bytes());
    Some(body)
}

/// Reads the four bytes at `at`; the caller has checked the length.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes four bytes at `at`; the caller has checked the length.
pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}
