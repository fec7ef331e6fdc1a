//! H.264 payloads: do they begin a key frame?
//!
//! # Job
//! Finds a sequence parameter set or an IDR slice at the head of a packet. Encoders for WebRTC send the parameter
//! sets in front of each IDR picture, so the former marks the first packet; the latter serves senders that
//! send parameter sets once.
//!
//! # Left out
//! Interleaved mode (STAP-B, MTAP, FU-B): never negotiated, not a key frame.
//!
//! RFC 6184 §5.3 (NAL header), §5.7.1 (STAP-A), §5.8 (FU-A).

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Tells whether `payload` is the first of a key frame.
#[inline]
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    let Some((&head, rest)) = payload.split_first() else {
        return false;
    };
    match head & 0x1f {
        STAP_A => aggregates_key_unit(rest),
        // The start bit: later fragments are not the beginning.
        FU_A => rest
            .first()
            .is_some_and(|fu| fu & 0x80 != 0 && is_key_unit(fu & 0x1f)),
        unit => is_key_unit(unit),
    }
}

const fn is_key_unit(unit: u8) -> bool {
    matches!(unit, IDR | SPS)
}

fn aggregates_key_unit(mut rest: &[u8]) -> bool {
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let Some((unit, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))
        else {
            return false;
        };
        if unit.first().is_some_and(|head| is_key_unit(head & 0x1f)) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_units_are_told_apart() {
        assert!(is_keyframe(&[0x67, 0x42]), "SPS");
        assert!(is_keyframe(&[0x65, 0x88]), "IDR");
        assert!(!is_keyframe(&[0x68, 0xce]), "PPS");
        assert!(!is_keyframe(&[0x61, 0x9a]), "slice of another picture");
        assert!(!is_keyframe(&[]));
    }

    #[test]
    fn an_aggregate_is_a_key_frame_if_any_unit_is() {
        // AUD, then SPS
        assert!(is_keyframe(&[0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 0x42]));
        assert!(!is_keyframe(&[0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x68, 0xce]));
        assert!(
            !is_keyframe(&[0x78, 0, 9, 0x67]),
            "a unit longer than the packet"
        );
        assert!(!is_keyframe(&[0x78, 0, 0, 0]), "an empty unit");
    }

    #[test]
    fn only_the_first_fragment_begins_a_key_frame() {
        assert!(is_keyframe(&[0x7c, 0x85, 0x88]));
        assert!(!is_keyframe(&[0x7c, 0x05, 0x88]), "middle");
        assert!(!is_keyframe(&[0x7c, 0x45, 0x88]), "end");
        assert!(
            !is_keyframe(&[0x7c, 0x81, 0x88]),
            "start of another picture"
        );
        assert!(!is_keyframe(&[0x7c]));
    }
}
