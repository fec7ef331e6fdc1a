//! Sender reports: what was sent, and its clock.
//!
//! RFC 3550 §6.4.1.

use super::header::{HEADER_LEN, RawPacket, SENDER_REPORT, begin, put_u32, u32_at};
use super::report::{self, BLOCK_LEN, MAX_BLOCKS, ReportBlock};
use crate::error::RtcpError;

/// Bytes of the sender's SSRC and its sender information.
const INFO_LEN: usize = 24;

/// Sender information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// The sending stream.
    pub ssrc: u32,
    /// Time of this report, 32.32 seconds; see [`super::ntp`].
    pub ntp: u64,
    /// The same moment on the stream's RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packet_count: u32,
    /// Payload bytes sent so far, without headers and padding.
    pub octet_count: u32,
}

impl SenderInfo {
    /// Writes a sender report with up to 31 report blocks; `None` if there are more or `out` is too small.
    pub fn write(&self, reports: &[ReportBlock], out: &mut [u8]) -> Option<usize> {
        if reports.len() > MAX_BLOCKS {
            return None;
        }
        let len = HEADER_LEN + INFO_LEN + reports.len() * BLOCK_LEN;
        let body = begin(out, len, reports.len() as u8, SENDER_REPORT)?;
        put_u32(body, 0, self.ssrc);
        body[4..12].copy_from_slice(&self.ntp.to_be_bytes());
        put_u32(body, 12, self.rtp_timestamp);
        put_u32(body, 16, self.packet_count);
        put_u32(body, 20, self.octet_count);
        report::put_all(reports, &mut body[INFO_LEN..]);
        Some(len)
    }
}

/// A received sender report.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    /// The sender information.
    pub info: SenderInfo,
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let (info, rest) = raw
            .body
            .split_first_chunk::<INFO_LEN>()
            .ok_or(RtcpError::Truncated)?;
        Ok(Self {
            info: SenderInfo {
                ssrc: u32_at(info, 0),
                ntp: u64::from(u32_at(info, 4)) << 32 | u64::from(u32_at(info, 8)),
                rtp_timestamp: u32_at(info, 12),
                packet_count: u32_at(info, 16),
                octet_count: u32_at(info, 20),
            },
            blocks: report::blocks(rest, raw.count).ok_or(RtcpError::Malformed)?,
        })
    }

    /// The report blocks.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::read)
    }
}
