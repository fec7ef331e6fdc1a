//! H.264 payloads: do they begin a key frame?
//!
//! # Job
//! Finds a sequence parameter set or an IDR slice at the head of a packet. Encoders for WebRTC send the parameter
//! sets in front of each IDR picture, so the former marks the first packet; the latter serves senders that
//! send parameter sets once. Which of the two a sender is, `router::stream` learns from what comes.
//!
//! # Left out
//! Interleaved mode (STAP-B, MTAP, FU-B): never negotiated, not a key frame.
//!
//! RFC 6184 §5.3 (NAL header), §5.7.1 (STAP-A), §5.8 (FU-A).

use super::Entry;

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Returns whether `payload` is the first of a key frame, or begins an IDR picture without its parameter sets.
#[inline]
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    entry(payload) != Entry::None
}

/// Whether a receiver can begin with `payload`.
#[inline]
#[must_use]
pub fn entry(payload: &[u8]) -> Entry {
    let Some((&head, rest)) = payload.split_first() else {
        return Entry::None;
    };
    match head & 0x1f {
        STAP_A => entry_of_aggregate(rest),
        // The start bit: later fragments are not the beginning.
        FU_A => match rest.first() {
            Some(fu) if fu & 0x80 != 0 => entry_of_unit(fu & 0x1f),
            _ => Entry::None,
        },
        unit => entry_of_unit(unit),
    }
}

const fn entry_of_unit(unit: u8) -> Entry {
    match unit {
        SPS => Entry::KeyFrame,
        IDR => Entry::Picture,
        _ => Entry::None,
    }
}

fn entry_of_aggregate(mut rest: &[u8]) -> Entry {
    let mut found = Entry::None;
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let Some((unit, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))
        else {
            break;
        };
        match unit
            .first()
            .map_or(Entry::None, |head| entry_of_unit(head & 0x1f))
        {
            Entry::KeyFrame => return Entry::KeyFrame,
            Entry::Picture => found = Entry::Picture,
            Entry::None => {}
        }
        rest = after;
    }
    found
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
    fn an_idr_picture_without_parameter_sets_is_told_from_a_key_frame() {
        assert_eq!(entry(&[0x67, 0x42]), Entry::KeyFrame);
        assert_eq!(entry(&[0x65, 0x88]), Entry::Picture);
        assert_eq!(entry(&[0x7c, 0x85, 0x88]), Entry::Picture);
        assert_eq!(
            entry(&[0x7c, 0x87, 0x42]),
            Entry::KeyFrame,
            "an SPS in fragments"
        );
        let both = [0x78, 0, 2, 0x65, 0x88, 0, 2, 0x67, 0x42];
        assert_eq!(entry(&both), Entry::KeyFrame, "wherever the SPS stands");
        assert_eq!(
            entry(&[0x78, 0, 2, 0x68, 0xce, 0, 2, 0x65, 0x88]),
            Entry::Picture
        );
        assert_eq!(entry(&[0x68, 0xce]), Entry::None, "a PPS alone");
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
