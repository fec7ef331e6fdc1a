//! The latency stamp: 24 bytes at the very end of an RTP payload that say who sent it, and when.
//!
//! # Job
//! Writes and reads the stamp. Where it goes in a payload belongs to `opus` (as padding) and `vp8` (after the frame).
//!
//! # Format
//! Big-endian: magic "MSHY" (4), version 1 in the low and flags in the high byte of a u16, bot u16, sequence u32,
//! Unix time in nanoseconds u64, CRC-32 of the 20 bytes before. A server forwards it untouched because it is payload.
//!
//! # Cost
//! A payload without stamp costs one comparison of four bytes.

use crate::checksum::crc32;

/// Bytes of a stamp.
pub(crate) const STAMP_LEN: usize = 24;

/// Flag: the stamp sits in a key frame.
pub(crate) const FLAG_KEY_FRAME: u8 = 1;

const MAGIC: [u8; 4] = *b"MSHY";
const VERSION: u8 = 1;

/// Who sent a frame, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) flags: u8,
    pub(crate) bot: u16,
    pub(crate) seq: u32,
    pub(crate) unix_ns: u64,
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
        let crc = crc32(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the stamp at the end of `payload`, if there is an intact one.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; STAMP_LEN] = payload.last_chunk()?;
        if bytes[..4] != MAGIC
            || bytes[5] != VERSION
            || crc32(&bytes[..20]).to_be_bytes() != bytes[20..]
        {
            return None;
        }
        Some(Self {
            flags: bytes[4],
            bot: u16::from_be_bytes([bytes[6], bytes[7]]),
            seq: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
            unix_ns: u64::from_be_bytes([
                bytes[12], bytes[13], bytes[14], bytes[15], bytes[16], bytes[17], bytes[18],
                bytes[19],
            ]),
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
    };

    #[test]
    fn a_stamp_is_read_from_the_end_of_a_payload() {
        let mut payload = vec![1, 2, 3];
        payload.extend_from_slice(&STAMP.to_bytes());
        assert_eq!(Stamp::of(&payload), Some(STAMP));
    }

    #[test]
    fn a_damaged_stamp_is_none() {
        let good = STAMP.to_bytes();
        for at in 0..STAMP_LEN {
            let mut bad = good;
            bad[at] ^= 1;
            // The flags and numbers are covered by the checksum, the rest by itself.
            assert_eq!(Stamp::of(&bad), None, "byte {at}");
        }
        assert_eq!(Stamp::of(&good[1..]), None);
    }

    #[test]
    fn the_bytes_are_those_every_kind_of_bot_writes() {
        // Python: struct.pack("!4sHHIQ", b"MSHY", 1, 3, 5, 9) + crc32 of it
        let bytes = Stamp {
            flags: 0,
            bot: 3,
            seq: 5,
            unix_ns: 9,
        }
        .to_bytes();
        assert_eq!(
            bytes[..20],
            *b"MSHY\x00\x01\x00\x03\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x09"
        );
        assert_eq!(bytes[20..], crc32(&bytes[..20]).to_be_bytes());
    }
}
