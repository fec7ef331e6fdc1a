//! The stamp: 32 bytes at the very end of an RTP payload that say who sent a frame, when, and what was in it.
//!
//! # Job
//! Writes and reads the stamp. Where it goes in a payload belongs to `opus` (as padding) and `vp8` (after the frame).
//!
//! # Format
//! Big-endian: magic "MSHY" (4), flags u8, version 3 u8, bot u16, sequence u32, Unix time in nanoseconds u64, the frame's
//! sum ([`crate::checksum::FrameSum`]) u32, its packets u8, the low 24 bits of its RTP timestamp, CRC-32 of the 28 bytes
//! before. A server forwards it untouched because it is payload.
//!
//! # Cost
//! A payload without stamp costs one comparison of four bytes.

use crate::checksum::crc32;

/// Bytes of a stamp.
pub(crate) const STAMP_LEN: usize = 32;

/// Flag: the stamp sits in a key frame.
pub(crate) const FLAG_KEY_FRAME: u8 = 1;
/// Flag: the stamp is of video; without it of audio.
pub(crate) const FLAG_VIDEO: u8 = 2;

/// The bits of an RTP timestamp that a stamp holds.
pub(crate) const TIMESTAMP_MASK: u32 = 0xff_ffff;

const MAGIC: [u8; 4] = *b"MSHY";
const VERSION: u8 = 3;
const BODY: usize = STAMP_LEN - 4;

/// Who sent a frame, when, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) flags: u8,
    pub(crate) bot: u16,
    pub(crate) seq: u32,
    pub(crate) unix_ns: u64,
    /// Of all packets of the frame.
    pub(crate) sum: u32,
    pub(crate) packets: u8,
    /// RTP timestamp that its sender gave the frame; the low 24 bits count.
    pub(crate) timestamp: u32,
}

/// What the end of a payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A stamp.
    Intact(Stamp),
    /// The magic of one, with a checksum or version that does not fit.
    Damaged,
    /// None.
    Absent,
}

impl Stamp {
    pub(crate) fn to_bytes(self) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.flags;
        bytes[5] = VERSION;
        bytes[6..8].copy_from_slice(&self.bot.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.seq.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.unix_ns.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.sum.to_be_bytes());
        let timestamp = self.timestamp & TIMESTAMP_MASK;
        let last = u32::from(self.packets) << 24 | timestamp;
        bytes[24..BODY].copy_from_slice(&last.to_be_bytes());
        let crc = crc32(&bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the end of `payload`.
    pub(crate) fn of(payload: &[u8]) -> Ending {
        let Some(bytes) = payload.last_chunk::<STAMP_LEN>() else {
            return Ending::Absent;
        };
        if bytes[..4] != MAGIC {
            return Ending::Absent;
        }
        if bytes[5] != VERSION || crc32(&bytes[..BODY]).to_be_bytes() != bytes[BODY..] {
            return Ending::Damaged;
        }
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Ending::Intact(Self {
            flags: bytes[4],
            bot: u16::from_be_bytes([bytes[6], bytes[7]]),
            seq: word(8),
            unix_ns: u64::from(word(12)) << 32 | u64::from(word(16)),
            sum: word(20),
            packets: bytes[24],
            timestamp: word(24) & TIMESTAMP_MASK,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        flags: FLAG_KEY_FRAME,
        bot: 513,
        seq: 7,
        unix_ns: 1_790_000_000_123_456_789,
        sum: 0x1234_5678,
        packets: 3,
        timestamp: 0x12_3456,
    };

    #[test]
    fn a_stamp_is_read_from_the_end_of_a_payload() {
        let mut payload = vec![1, 2, 3];
        payload.extend_from_slice(&STAMP.to_bytes());
        assert_eq!(Stamp::of(&payload), Ending::Intact(STAMP));
    }

    #[test]
    fn a_damaged_stamp_is_none_and_is_told_from_one_that_is_not_there() {
        let good = STAMP.to_bytes();
        for at in 0..STAMP_LEN {
            let mut bad = good;
            bad[at] ^= 1;
            // The flags and numbers are covered by the checksum, the rest by itself.
            let expected = if at < 4 {
                Ending::Absent
            } else {
                Ending::Damaged
            };
            assert_eq!(Stamp::of(&bad), expected, "byte {at}");
        }
        assert_eq!(Stamp::of(&good[1..]), Ending::Absent);
    }

    #[test]
    fn the_bytes_are_those_every_kind_of_bot_writes() {
        // Python: struct.pack("!4sBBHIQII", b"MSHY", 0, 3, 3, 5, 9, 6, 1 << 24 | 7) + crc32 of it
        let bytes = Stamp {
            flags: 0,
            bot: 3,
            seq: 5,
            unix_ns: 9,
            sum: 6,
            packets: 1,
            timestamp: 0xff00_0007,
        }
        .to_bytes();
        assert_eq!(
            bytes[..28],
            *b"MSHY\x00\x03\x00\x03\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x06\x01\x00\x00\x07"
        );
        assert_eq!(bytes[28..], crc32(&bytes[..28]).to_be_bytes());
    }
}
