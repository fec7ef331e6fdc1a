//! Report blocks: the reception of one source, in sender and receiver reports.
//!
//! RFC 3550 §6.4.1.

use super::header::{put_u32, u32_at};

/// Bytes of a block.
pub const BLOCK_LEN: usize = 24;
/// Blocks one report can hold, by its five-bit count.
pub const MAX_BLOCKS: usize = 31;

/// Reception of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Fraction lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Cumulative number of packets lost, 24 bits; negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with its wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0 if none came.
    pub last_sr: u32,
    /// Time since then in 1/65536 s; 0 if none came.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    pub(super) fn read(bytes: &[u8; BLOCK_LEN]) -> Self {
        let lost = u32_at(bytes, 4);
        Self {
            ssrc: u32_at(bytes, 0),
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest_sequence: u32_at(bytes, 8),
            jitter: u32_at(bytes, 12),
            last_sr: u32_at(bytes, 16),
            delay_since_last_sr: u32_at(bytes, 20),
        }
    }

    pub(super) fn put(&self, out: &mut [u8; BLOCK_LEN]) {
        let lost = self
            .cumulative_lost
            .clamp(-(1 << 23), (1 << 23) - 1)
            .cast_unsigned()
            & 0x00ff_ffff;
        put_u32(out, 0, self.ssrc);
        put_u32(out, 4, u32::from(self.fraction_lost) << 24 | lost);
        put_u32(out, 8, self.highest_sequence);
        put_u32(out, 12, self.jitter);
        put_u32(out, 16, self.last_sr);
        put_u32(out, 20, self.delay_since_last_sr);
    }
}

/// Writes the blocks at the front of `body`, which has room for them.
pub(super) fn put_all(blocks: &[ReportBlock], body: &mut [u8]) {
    for (block, out) in blocks.iter().zip(body.as_chunks_mut::<BLOCK_LEN>().0) {
        block.put(out);
    }
}

/// The blocks a report announces; `None` if its body is too short for them.
pub(super) fn blocks(body: &[u8], count: u8) -> Option<&[[u8; BLOCK_LEN]]> {
    // What follows the blocks is a profile-specific extension (RFC 3550 §6.4.3).
    body.as_chunks::<BLOCK_LEN>().0.get(..usize::from(count))
}
