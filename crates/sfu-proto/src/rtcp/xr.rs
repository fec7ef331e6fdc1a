//! Extended reports: the two blocks by which a receiver that sends no media measures its round trip.
//!
//! # Left out
//! All other block types are skipped.
//!
//! RFC 3611 §3, §4.4 (receiver reference time), §4.5 (DLRR).

use super::header::{EXTENDED_REPORT, HEADER_LEN, RawPacket, begin, put_u32, u32_at};
use crate::error::RtcpError;

const RECEIVER_REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;

/// A received extended report.
#[derive(Debug, Clone, Copy)]
pub struct Xr<'a> {
    /// SSRC of the reporter.
    pub ssrc: u32,
    blocks: &'a [u8],
}

/// A block of a supported type.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum XrBlock<'a> {
    /// The reporter's NTP time, 32.32 seconds; to be answered with DLRR.
    ReceiverReferenceTime(u64),
    /// Answers to reference times.
    Dlrr(DlrrItems<'a>),
}

/// The answer to one receiver's reference time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DlrrItem {
    /// The receiver answered.
    pub ssrc: u32,
    /// Middle 32 bits of its last reference time; 0 if none came.
    pub last_rr: u32,
    /// Time since then in 1/65536 s.
    pub delay_since_last_rr: u32,
}

impl<'a> Xr<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let (ssrc, blocks) = raw
            .body
            .split_first_chunk::<4>()
            .ok_or(RtcpError::Truncated)?;
        let mut rest = blocks;
        while !rest.is_empty() {
            rest = split_block(rest).ok_or(RtcpError::Malformed)?.2;
        }
        Ok(Self {
            ssrc: u32::from_be_bytes(*ssrc),
            blocks,
        })
    }

    /// Iterates over the supported blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = XrBlock<'a>> {
        let mut rest = self.blocks;
        std::iter::from_fn(move || {
            let (kind, content, after) = split_block(rest)?;
            rest = after;
            Some((kind, content))
        })
        .filter_map(|(kind, content)| match kind {
            RECEIVER_REFERENCE_TIME => Some(XrBlock::ReceiverReferenceTime(u64::from_be_bytes(
                *content.first_chunk()?,
            ))),
            DLRR => Some(XrBlock::Dlrr(DlrrItems {
                items: content.as_chunks().0,
            })),
            _ => None,
        })
    }
}

/// Splits off `(block type, content, rest)`.
fn split_block(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<4>()?;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
    let (content, rest) = rest.split_at_checked(len)?;
    Some((header[0], content, rest))
}

/// The answers of one DLRR block.
#[derive(Debug, Clone, Copy)]
pub struct DlrrItems<'a> {
    items: &'a [[u8; 12]],
}

impl<'a> DlrrItems<'a> {
    /// Iterates over the answers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = DlrrItem> + 'a {
        self.items.iter().map(|bytes| DlrrItem {
            ssrc: u32_at(bytes, 0),
            last_rr: u32_at(bytes, 4),
            delay_since_last_rr: u32_at(bytes, 8),
        })
    }
}

/// Writes a report with the receiver's reference time; `None` if `out` is too small.
pub fn write_rrtr(ssrc: u32, ntp: u64, out: &mut [u8]) -> Option<usize> {
    let len = HEADER_LEN + 4 + 12;
    let body = begin(out, len, 0, EXTENDED_REPORT)?;
    put_u32(body, 0, ssrc);
    put_u32(body, 4, u32::from(RECEIVER_REFERENCE_TIME) << 24 | 2);
    body[8..].copy_from_slice(&ntp.to_be_bytes());
    Some(len)
}

/// Writes a report that answers reference times; `None` if `out` is too small.
pub fn write_dlrr(ssrc: u32, items: &[DlrrItem], out: &mut [u8]) -> Option<usize> {
    let words = u16::try_from(items.len() * 3).ok()?;
    let len = HEADER_LEN + 4 + 4 + items.len() * 12;
    let body = begin(out, len, 0, EXTENDED_REPORT)?;
    put_u32(body, 0, ssrc);
    put_u32(body, 4, u32::from(DLRR) << 24 | u32::from(words));
    for (item, out) in items.iter().zip(body[8..].as_chunks_mut::<12>().0) {
        put_u32(out, 0, item.ssrc);
        put_u32(out, 4, item.last_rr);
        put_u32(out, 8, item.delay_since_last_rr);
    }
    Some(len)
}
