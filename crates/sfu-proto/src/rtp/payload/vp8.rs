//! The VP8 payload descriptor: frame boundaries, numbers to rewrite, temporal layer.
//!
//! # Invariants
//! - A descriptor's `len` never exceeds the payload it was read from.
//! - Rewriting keeps every field's width, so a packet never changes its length.
//!
//! RFC 7741 §4.2 (descriptor), §4.3 (payload header).

/// A picture number and the width it is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureId {
    /// Seven bits.
    Short(u8),
    /// Fifteen bits.
    Long(u16),
}

impl PictureId {
    /// The number.
    #[must_use]
    pub const fn value(self) -> u16 {
        match self {
            Self::Short(value) => value as u16,
            Self::Long(value) => value,
        }
    }
}

/// The descriptor in front of every VP8 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// No other frame depends on this one.
    pub non_reference: bool,
    /// The payload starts a partition.
    pub start_of_partition: bool,
    /// Which partition; 0 holds the frame's header.
    pub partition: u8,
    /// Number of the picture.
    pub picture_id: Option<PictureId>,
    /// Number of the latest picture of temporal layer 0.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer, 0 to 3.
    pub temporal_id: Option<u8>,
    /// The layer depends on nothing but layer 0, so one may switch up to it here.
    pub layer_sync: bool,
    /// Index of the temporal key frame, 5 bits.
    pub key_index: Option<u8>,
    /// Bytes of the descriptor; the VP8 payload follows.
    pub len: usize,
}

impl Descriptor {
    /// Reads the descriptor at the front of `payload`; `None` if it is cut off.
    #[inline]
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut rest = payload.iter().copied();
        let first = rest.next()?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            start_of_partition: first & 0x10 != 0,
            partition: first & 0x07,
            picture_id: None,
            tl0_picture_index: None,
            temporal_id: None,
            layer_sync: false,
            key_index: None,
            len: 1,
        };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let present = rest.next()?;
        if present & 0x80 != 0 {
            let high = rest.next()?;
            descriptor.picture_id = Some(if high & 0x80 == 0 {
                PictureId::Short(high)
            } else {
                PictureId::Long(u16::from_be_bytes([high & 0x7f, rest.next()?]))
            });
        }
        if present & 0x40 != 0 {
            descriptor.tl0_picture_index = Some(rest.next()?);
        }
        if present & 0x30 != 0 {
            let layer = rest.next()?;
            if present & 0x20 != 0 {
                descriptor.temporal_id = Some(layer >> 6);
                descriptor.layer_sync = layer & 0x20 != 0;
            }
            if present & 0x10 != 0 {
                descriptor.key_index = Some(layer & 0x1f);
            }
        }
        descriptor.len = payload.len() - rest.len();
        Some(descriptor)
    }

    /// Returns whether a payload with this descriptor begins a frame.
    #[inline]
    #[must_use]
    pub const fn starts_frame(&self) -> bool {
        self.start_of_partition && self.partition == 0
    }

    /// Writes other picture numbers over those in `payload`, which must be the one this was read from.
    ///
    /// Numbers are cut to the widths the packet has; fields it lacks are not added.
    pub fn patch(&self, payload: &mut [u8], picture_id: u16, tl0_picture_index: u8) {
        debug_assert_eq!(
            Self::parse(payload).as_ref(),
            Some(self),
            "the payload the descriptor was read from"
        );
        let mut at = 2;
        match self.picture_id {
            None => {}
            Some(PictureId::Short(_)) => {
                payload[at] = (picture_id & 0x7f) as u8;
                at += 1;
            }
            Some(PictureId::Long(_)) => {
                payload[at..at + 2].copy_from_slice(&(0x8000 | picture_id).to_be_bytes());
                at += 2;
            }
        }
        if self.tl0_picture_index.is_some() {
            payload[at] = tl0_picture_index;
        }
    }
}

/// Returns whether `payload` is the first of a key frame.
#[inline]
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    // The P bit of the payload header is 0 for key frames (RFC 7741 §4.3).
    descriptor.starts_frame()
        && payload
            .get(descriptor.len)
            .is_some_and(|header| header & 0x01 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_descriptor_is_one_byte() {
        // X=0 S=1 PID=0, payload header P=0
        assert!(is_keyframe(&[0x10, 0x00]));
        assert!(!is_keyframe(&[0x10, 0x01]), "P=1: depends on another frame");
        assert!(!is_keyframe(&[0x00, 0x00]), "S=0: not the start");
        assert!(
            !is_keyframe(&[0x11, 0x00]),
            "PID=1: not the first partition"
        );
        assert!(!is_keyframe(&[0x10]), "no payload");
        assert!(!is_keyframe(&[]));
    }

    #[test]
    fn all_optional_fields_are_read() {
        // X; I L T K; PictureID 0x1234 (15 bit); TL0PICIDX 7; TID 2, Y, KEYIDX 9
        let payload = [0xb0, 0xf0, 0x92, 0x34, 0x07, 0xa9, 0x00];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(
            descriptor,
            Descriptor {
                non_reference: true,
                start_of_partition: true,
                partition: 0,
                picture_id: Some(PictureId::Long(0x1234)),
                tl0_picture_index: Some(7),
                temporal_id: Some(2),
                layer_sync: true,
                key_index: Some(9),
                len: 6,
            }
        );
        assert!(is_keyframe(&payload));
    }

    #[test]
    fn a_cut_descriptor_is_refused() {
        let payload = [0x90, 0xf0, 0x92, 0x34, 0x07, 0xa9];
        for len in 0..payload.len() {
            assert_eq!(Descriptor::parse(&payload[..len]), None, "{len}");
        }
        assert!(Descriptor::parse(&payload).is_some());
    }

    #[test]
    fn patching_keeps_widths_and_all_other_bits() {
        let mut long = [0x90, 0xe0, 0x92, 0x34, 0x07, 0xa0, 0xff];
        Descriptor::parse(&long)
            .unwrap()
            .patch(&mut long, 0xffff, 200);
        assert_eq!(long, [0x90, 0xe0, 0xff, 0xff, 200, 0xa0, 0xff]);

        let mut short = [0x90, 0x80, 0x12, 0xff];
        Descriptor::parse(&short)
            .unwrap()
            .patch(&mut short, 0x1ff, 200);
        assert_eq!(short, [0x90, 0x80, 0x7f, 0xff]);

        let mut only_tl0 = [0x90, 0x40, 0x12, 0xff];
        Descriptor::parse(&only_tl0)
            .unwrap()
            .patch(&mut only_tl0, 1, 200);
        assert_eq!(only_tl0, [0x90, 0x40, 200, 0xff]);

        let mut bare = [0x10, 0xff];
        Descriptor::parse(&bare).unwrap().patch(&mut bare, 1, 200);
        assert_eq!(bare, [0x10, 0xff]);
    }
}
