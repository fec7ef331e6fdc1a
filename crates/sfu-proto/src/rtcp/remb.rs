//! Receiver estimated maximum bitrate: the total bit rate a receiver can take from all streams of a sender.
//!
//! draft-alvestrand-rmcat-remb-03 §2.2.

use super::header::{HEADER_LEN, PAYLOAD_FEEDBACK, RawPacket, begin, put_u32, u32_at};
use crate::error::RtcpError;

/// Identifier that distinguishes REMB from other application-layer feedback.
pub(super) const FORMAT: u8 = 15;
const NAME: u32 = u32::from_be_bytes(*b"REMB");
/// Bytes of both SSRCs, the name, and the count with the bitrate.
const FIXED: usize = 16;
const MANTISSA_BITS: u32 = 18;

/// A received estimate.
#[derive(Debug, Clone, Copy)]
pub struct Remb<'a> {
    /// SSRC of the estimator.
    pub sender_ssrc: u32,
    /// The estimate in bits per second.
    pub bitrate_bps: u64,
    ssrcs: &'a [[u8; 4]],
}

impl<'a> Remb<'a> {
    pub(super) fn is_remb(raw: RawPacket<'a>) -> bool {
        raw.body.len() >= FIXED && u32_at(raw.body, 8) == NAME
    }

    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let (fixed, rest) = raw
            .body
            .split_first_chunk::<FIXED>()
            .ok_or(RtcpError::Truncated)?;
        let packed = u32_at(fixed, 12);
        let mantissa = u64::from(packed & ((1 << MANTISSA_BITS) - 1));
        let exponent = packed >> MANTISSA_BITS & 0x3f;
        let bitrate_bps = mantissa << exponent;
        if bitrate_bps >> exponent != mantissa {
            return Err(RtcpError::Malformed);
        }
        let count = usize::from(fixed[12]);
        Ok(Self {
            sender_ssrc: u32_at(fixed, 0),
            bitrate_bps,
            ssrcs: rest
                .as_chunks()
                .0
                .get(..count)
                .ok_or(RtcpError::Malformed)?,
        })
    }

    /// The streams the estimate is for.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.ssrcs.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Writes an estimate, rounded down to 18 significant bits; `None` over 255 streams or if `out` is too small.
pub fn write(sender_ssrc: u32, bitrate_bps: u64, ssrcs: &[u32], out: &mut [u8]) -> Option<usize> {
    let count = u8::try_from(ssrcs.len()).ok()?;
    let exponent = (u64::BITS - bitrate_bps.leading_zeros()).saturating_sub(MANTISSA_BITS);
    let mantissa = (bitrate_bps >> exponent) as u32;
    let len = HEADER_LEN + FIXED + ssrcs.len() * 4;
    let body = begin(out, len, FORMAT, PAYLOAD_FEEDBACK)?;
    put_u32(body, 0, sender_ssrc);
    put_u32(body, 4, 0);
    put_u32(body, 8, NAME);
    put_u32(
        body,
        12,
        u32::from(count) << 24 | exponent << MANTISSA_BITS | mantissa,
    );
    for (ssrc, out) in ssrcs.iter().zip(body[FIXED..].as_chunks_mut::<4>().0) {
        *out = ssrc.to_be_bytes();
    }
    Some(len)
}
