//! AV1 payloads: the aggregation header, and the mandatory part of the dependency descriptor.
//!
//! # Job
//! Recognises key frames by the N bit of the aggregation header or, for packets with a dependency descriptor, by its
//! template structure, which senders attach to key frames only.
//!
//! # Left out
//! Templates, decode targets and chains: layers are not selected yet.
//!
//! RTP Payload Format For AV1 (v1.0) §4.4 (aggregation header), Appendix A.8 (descriptor syntax).

/// The byte in front of every AV1 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregationHeader {
    /// The first element continues one of the previous packet.
    pub continues: bool,
    /// The last element continues in the next packet.
    pub continued: bool,
    /// Number of elements, 1 to 3; 0 if each has a length.
    pub elements: u8,
    /// The packet is the first of a coded video sequence: a key frame begins here.
    pub new_sequence: bool,
}

impl AggregationHeader {
    /// Parses the header at the front of `payload`; `None` if it is empty or contradictory.
    #[inline]
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let byte = *payload.first()?;
        let header = Self {
            continues: byte & 0x80 != 0,
            continued: byte & 0x40 != 0,
            elements: byte >> 4 & 0x03,
            new_sequence: byte & 0x08 != 0,
        };
        // A sequence cannot begin in the middle of an element (§4.4).
        if header.new_sequence && header.continues {
            None
        } else {
            Some(header)
        }
    }
}

/// Returns whether `payload` is the first of a key frame, by its aggregation header.
#[inline]
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    payload.len() > 1 && AggregationHeader::parse(payload).is_some_and(|header| header.new_sequence)
}

/// The part of a dependency descriptor all packets have, and whether a template structure follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// The packet is the first of its frame.
    pub start_of_frame: bool,
    /// The packet is the last of its frame.
    pub end_of_frame: bool,
    /// Which template describes the frame, 6 bits.
    pub template_id: u8,
    /// Number of the frame; wraps.
    pub frame_number: u16,
    /// A template structure is attached: this begins a key frame.
    pub has_structure: bool,
}

impl DependencyDescriptor {
    /// Reads the value of a header extension; `None` if it is cut off.
    #[inline]
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (mandatory, extended) = value.split_first_chunk::<3>()?;
        Some(Self {
            start_of_frame: mandatory[0] & 0x80 != 0,
            end_of_frame: mandatory[0] & 0x40 != 0,
            template_id: mandatory[0] & 0x3f,
            frame_number: u16::from_be_bytes([mandatory[1], mandatory[2]]),
            has_structure: extended.first().is_some_and(|flags| flags & 0x80 != 0),
        })
    }

    /// Returns whether the packet is the first of a key frame.
    #[inline]
    #[must_use]
    pub const fn starts_keyframe(&self) -> bool {
        self.start_of_frame && self.has_structure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_n_bit_marks_a_new_sequence() {
        assert!(is_keyframe(&[0x18, 0x0a]));
        assert!(!is_keyframe(&[0x10, 0x0a]));
        assert!(
            !is_keyframe(&[0x98, 0x0a]),
            "Z and N together are forbidden"
        );
        assert!(!is_keyframe(&[0x18]), "no element");
        assert!(!is_keyframe(&[]));
    }

    #[test]
    fn a_structure_in_the_descriptor_marks_a_key_frame() {
        let key = DependencyDescriptor::parse(&[0x80, 0x01, 0x02, 0x80, 0x00]).unwrap();
        assert!(key.starts_keyframe());
        assert_eq!(key.frame_number, 0x0102);
        let delta = DependencyDescriptor::parse(&[0xc5, 0x01, 0x03]).unwrap();
        assert!(!delta.starts_keyframe() && delta.end_of_frame);
        assert_eq!(delta.template_id, 5);
        assert_eq!(DependencyDescriptor::parse(&[0x80, 0x01]), None);
    }

    #[test]
    fn the_mandatory_fields_of_a_descriptor_are_read() {
        let descriptor = DependencyDescriptor::parse(&[0x45, 0x12, 0x34]).expect("three bytes");
        assert!(!descriptor.start_of_frame && descriptor.end_of_frame);
        assert_eq!(
            (descriptor.template_id, descriptor.frame_number),
            (5, 0x1234)
        );
        assert!(!descriptor.has_structure);
    }
}
