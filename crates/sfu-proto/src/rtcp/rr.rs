//! Receiver reports: reception statistics of a participant that sends no media.
//!
//! RFC 3550 §6.4.2.

use super::header::{HEADER_LEN, RECEIVER_REPORT, RawPacket, begin, put_u32};
use super::report::{self, BLOCK_LEN, MAX_BLOCKS, ReportBlock};
use crate::error::RtcpError;

/// A received receiver report.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverReport<'a> {
    /// SSRC of the reporter.
    pub ssrc: u32,
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let (ssrc, rest) = raw
            .body
            .split_first_chunk::<4>()
            .ok_or(RtcpError::Truncated)?;
        Ok(Self {
            ssrc: u32::from_be_bytes(*ssrc),
            blocks: report::blocks(rest, raw.count).ok_or(RtcpError::Malformed)?,
        })
    }

    /// The report blocks.
    pub fn reports(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::read)
    }
}

/// Writes a receiver report with up to 31 blocks; `None` if there are more or `out` is too small.
pub fn write(ssrc: u32, reports: &[ReportBlock], out: &mut [u8]) -> Option<usize> {
    if reports.len() > MAX_BLOCKS {
        return None;
    }
    let len = HEADER_LEN + 4 + reports.len() * BLOCK_LEN;
    let body = begin(out, len, reports.len() as u8, RECEIVER_REPORT)?;
    put_u32(body, 0, ssrc);
    report::put_all(reports, &mut body[4..]);
    Some(len)
}
