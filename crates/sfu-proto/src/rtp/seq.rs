//! Arithmetic on 16-bit RTP sequence numbers, and their extension to 64 bits.
//!
//! # Job
//! Compares wrapping numbers and extends a stream of them. Loss and jitter belong to `router`.
//!
//! # Invariants
//! - Numbers less than 2¹⁵ apart are ordered; exactly 2¹⁵ apart, neither is newer.
//! - An extended number modulo 2¹⁶ is the number it came from; the first keeps a roll-over count of
//!   zero, which is what an SRTP index needs.
//!
//! RFC 3550 Appendix A.1, RFC 3711 §3.3.1, RFC 1982.

/// Returns whether `a` comes after `b`; false for equal numbers and for the ambiguous distance 2¹⁵.
#[inline]
#[must_use]
pub const fn is_newer(a: u16, b: u16) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 0x8000
}

/// Returns how far `a` is ahead of `b`; negative when it is behind.
#[inline]
#[must_use]
pub const fn distance(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b).cast_signed()
}

/// Extends `seq` to the 64-bit number closest to `near`; `None` if that lies before zero.
#[inline]
#[must_use]
pub const fn extend_near(seq: u16, near: u64) -> Option<u64> {
    let near_seq = (near & 0xffff) as u16;
    near.checked_add_signed(distance(seq, near_seq) as i64)
}

/// Extends one stream of sequence numbers, following the newest number seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwrapper {
    newest: Option<u64>,
}

impl Unwrapper {
    /// Creates an unwrapper: the first number seen is extended by a roll-over count of zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: None }
    }

    /// Creates an unwrapper that has seen `newest`.
    #[must_use]
    pub const fn starting_at(newest: u64) -> Self {
        Self {
            newest: Some(newest),
        }
    }

    /// Extends `seq`; `None` if it lies before the first wrap of the stream, and is then ignored.
    #[inline]
    pub fn extend(&mut self, seq: u16) -> Option<u64> {
        let Some(newest) = self.newest else {
            self.newest = Some(u64::from(seq));
            return self.newest;
        };
        let extended = extend_near(seq, newest)?;
        if extended > newest {
            self.newest = Some(extended);
        }
        Some(extended)
    }

    /// Extends `seq` as [`Unwrapper::extend`] would, without remembering it.
    #[inline]
    #[must_use]
    pub fn peek(&self, seq: u16) -> Option<u64> {
        self.newest
            .map_or(Some(u64::from(seq)), |newest| extend_near(seq, newest))
    }

    /// Returns the newest extended number, if any was seen.
    #[inline]
    #[must_use]
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_ordered_across_the_wrap() {
        assert!(is_newer(0, 65535));
        assert!(!is_newer(65535, 0));
        assert!(!is_newer(7, 7));
        assert!(!is_newer(0x8000, 0));
        assert!(!is_newer(0, 0x8000));
        assert_eq!(distance(2, 65534), 4);
        assert_eq!(distance(65534, 2), -4);
    }

    #[test]
    fn the_first_number_has_roll_over_count_zero() {
        assert_eq!(Unwrapper::new().extend(65000), Some(65000));
    }

    #[test]
    fn a_number_before_the_beginning_is_refused_and_forgotten() {
        let mut unwrapper = Unwrapper::new();
        assert_eq!(unwrapper.extend(2), Some(2));
        assert_eq!(unwrapper.extend(65534), None);
        assert_eq!(unwrapper.extend(3), Some(3));
    }

    proptest! {
        #[test]
        fn a_reordered_stream_unrolls_to_what_was_sent(
            start in 0u64..1 << 17,
            steps in proptest::collection::vec(-300i64..3000, 1..200),
        ) {
            let start = start + 1000;
            let mut unwrapper = Unwrapper::starting_at(start);
            let mut newest = start;
            for step in steps {
                let sent = newest.saturating_add_signed(step);
                newest = newest.max(sent);
                prop_assert_eq!(unwrapper.peek(sent as u16), Some(sent));
                prop_assert_eq!(unwrapper.extend(sent as u16), Some(sent));
                prop_assert_eq!(unwrapper.newest(), Some(newest));
            }
        }

        #[test]
        fn exactly_one_of_two_different_numbers_is_newer(a: u16, b: u16) {
            prop_assume!(a != b && a.wrapping_sub(b) != 0x8000);
            prop_assert!(is_newer(a, b) != is_newer(b, a));
        }
    }
}
