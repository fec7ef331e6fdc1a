//! CRC-32 as zlib computes it (polynomial 0xEDB88320), for stamps, payloads and clip files.

/// The checksum of `bytes`.
#[inline]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// One number for all packets of a frame, of their content and order, whichever of them comes first.
///
/// The sum over its packets of the CRC-32 of what lies between payload descriptor and stamp, each times 2d + 1, where d is
/// how many packets come after it; modulo 2^32. Odd factors lose no bit, and a change of places changes the sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FrameSum {
    plain: u32,
    by_index: u32,
    /// Packets added.
    pub(crate) packets: u16,
}

impl FrameSum {
    /// Adds the packet with this extended sequence number; `media` is its payload without descriptor and stamp.
    #[inline]
    pub(crate) fn add(&mut self, index: u64, media: &[u8]) {
        let crc = crc32(media);
        self.plain = self.plain.wrapping_add(crc);
        self.by_index = self.by_index.wrapping_add(crc.wrapping_mul(index as u32));
        self.packets = self.packets.saturating_add(1);
    }

    /// The sum, where the last packet has this extended sequence number.
    #[inline]
    pub(crate) fn value(&self, last: u64) -> u32 {
        let factor = (last as u32).wrapping_mul(2).wrapping_add(1);
        factor
            .wrapping_mul(self.plain)
            .wrapping_sub(self.by_index.wrapping_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    fn sum(packets: &[(u64, &[u8])], last: u64) -> u32 {
        let mut sum = FrameSum::default();
        packets
            .iter()
            .for_each(|(index, media)| sum.add(*index, media));
        sum.value(last)
    }

    #[test]
    fn a_sum_depends_on_places_and_not_on_the_order_of_arrival_or_the_first_number() {
        let expected = crc32(b"a")
            .wrapping_mul(5)
            .wrapping_add(crc32(b"b").wrapping_mul(3))
            .wrapping_add(crc32(b"c"));
        for first in [0, 7, 65_534, u64::from(u32::MAX) - 1] {
            let at = |place: u64, media: &'static [u8]| (first + place, media);
            let (a, b, c) = (at(0, b"a"), at(1, b"b"), at(2, b"c"));
            assert_eq!(sum(&[a, b, c], first + 2), expected);
            assert_eq!(sum(&[c, a, b], first + 2), expected);
            assert_ne!(sum(&[at(0, b"b"), at(1, b"a"), c], first + 2), expected);
        }
    }

    #[test]
    fn any_changed_byte_changes_the_sum() {
        let whole = [9; 1100];
        let expected = sum(&[(1, &whole), (2, &whole)], 2);
        for at in [0, 500, 1099] {
            for bit in 0..8 {
                let mut damaged = whole;
                damaged[at] ^= 1 << bit;
                assert_ne!(sum(&[(1, &damaged), (2, &whole)], 2), expected);
                assert_ne!(sum(&[(1, &whole), (2, &damaged)], 2), expected);
            }
        }
    }
}
