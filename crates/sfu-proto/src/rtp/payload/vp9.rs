//! The VP9 payload descriptor: frame boundaries, layers, switching points.
//!
//! # Left out
//! Resolutions and picture groups of the scalability structure are stepped over. Nothing is rewritten: receivers
//! take the picture number of the sender.
//!
//! RFC 9628 §4.2.

/// The descriptor in front of every VP9 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Number of the picture, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// The layer frame depends on an earlier picture.
    pub inter_picture: bool,
    /// The payload starts a layer frame.
    pub start_of_frame: bool,
    /// The payload ends a layer frame.
    pub end_of_frame: bool,
    /// No upper spatial layer of this picture depends on this frame.
    pub not_reference: bool,
    /// Layers, if the stream has them.
    pub layers: Option<Layers>,
    /// A scalability structure is included, as in the first packet of a key frame.
    pub scalability_structure: bool,
    /// Bytes of the descriptor; the VP9 payload follows.
    pub len: usize,
}

/// Which layer a payload belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Temporal layer, 0 to 7.
    pub temporal_id: u8,
    /// From here on one may switch up to this temporal layer.
    pub switching_up_point: bool,
    /// Spatial layer, 0 to 7.
    pub spatial_id: u8,
    /// The frame depends on the spatial layer below, of the same picture.
    pub inter_layer: bool,
    /// Number of the latest picture of temporal layer 0; absent in flexible mode.
    pub tl0_picture_index: Option<u8>,
}

impl Descriptor {
    /// Reads the descriptor at the front of `payload`; `None` if it is cut off.
    #[inline]
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut rest = payload.iter().copied();
        let first = rest.next()?;
        let flexible = first & 0x10 != 0;
        let mut descriptor = Self {
            picture_id: None,
            inter_picture: first & 0x40 != 0,
            start_of_frame: first & 0x08 != 0,
            end_of_frame: first & 0x04 != 0,
            not_reference: first & 0x01 != 0,
            layers: None,
            scalability_structure: first & 0x02 != 0,
            len: 1,
        };
        if first & 0x80 != 0 {
            let high = rest.next()?;
            descriptor.picture_id = Some(if high & 0x80 == 0 {
                u16::from(high)
            } else {
                u16::from_be_bytes([high & 0x7f, rest.next()?])
            });
        }
        if first & 0x20 != 0 {
            let layer = rest.next()?;
            descriptor.layers = Some(Layers {
                temporal_id: layer >> 5,
                switching_up_point: layer & 0x10 != 0,
                spatial_id: layer >> 1 & 0x07,
                inter_layer: layer & 0x01 != 0,
                tl0_picture_index: if flexible { None } else { Some(rest.next()?) },
            });
        }
        if flexible && descriptor.inter_picture {
            // Up to three reference distances; the low bit says that another follows (RFC 9628 §4.2).
            let mut more = true;
            for _ in 0..3 {
                if !more {
                    break;
                }
                more = rest.next()? & 0x01 != 0;
            }
            if more {
                return None;
            }
        }
        if descriptor.scalability_structure {
            skip_scalability_structure(&mut rest)?;
        }
        descriptor.len = payload.len() - rest.len();
        Some(descriptor)
    }

    /// Returns whether a payload with this descriptor begins a key frame: the lowest layer, on its own.
    #[inline]
    #[must_use]
    pub fn starts_keyframe(&self) -> bool {
        !self.inter_picture
            && self.start_of_frame
            && self.layers.is_none_or(|layers| layers.spatial_id == 0)
    }
}

/// Steps over a scalability structure (RFC 9628 §4.2.1).
fn skip_scalability_structure(rest: &mut impl Iterator<Item = u8>) -> Option<()> {
    let first = rest.next()?;
    if first & 0x10 != 0 {
        let spatial_layers = usize::from(first >> 5) + 1;
        rest.nth(spatial_layers * 4 - 1)?;
    }
    if first & 0x08 != 0 {
        for _ in 0..rest.next()? {
            let references = usize::from(rest.next()? >> 2 & 0x03);
            if references > 0 {
                rest.nth(references - 1)?;
            }
        }
    }
    Some(())
}

/// Returns whether `payload` is the first of a key frame.
#[inline]
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    Descriptor::parse(payload)
        .is_some_and(|descriptor| descriptor.starts_keyframe() && descriptor.len < payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_starts_with_the_lowest_layer_on_its_own() {
        // I L B V, PictureID 15 bit, layer indices S=0 T=0, TL0PICIDX, SS: one layer of 1280x720, no groups
        let key = [
            0xaa, 0x80, 0x01, 0x00, 0x05, 0x10, 0x05, 0x00, 0x02, 0xd0, 0x99,
        ];
        let descriptor = Descriptor::parse(&key).unwrap();
        assert_eq!(descriptor.len, key.len() - 1);
        assert_eq!(descriptor.picture_id, Some(1));
        assert_eq!(descriptor.layers.unwrap().tl0_picture_index, Some(5));
        assert!(descriptor.scalability_structure);
        assert!(is_keyframe(&key));
        assert!(!is_keyframe(&key[..key.len() - 1]), "no payload");

        let inter = [0xe8, 0x01, 0x00, 0x05, 0x99];
        assert!(!is_keyframe(&inter), "P=1");
        let upper = [0xa8, 0x01, 0x03, 0x05, 0x99];
        assert!(!is_keyframe(&upper), "spatial layer 1");
        let middle = [0xa0, 0x01, 0x00, 0x05, 0x99];
        assert!(!is_keyframe(&middle), "B=0");
    }

    #[test]
    fn layer_indices_are_read() {
        // T=3 U S=2 D
        let payload = [0x28, 0x75, 0x09, 0x00];
        let layers = Descriptor::parse(&payload).unwrap().layers.unwrap();
        assert_eq!(
            layers,
            Layers {
                temporal_id: 3,
                switching_up_point: true,
                spatial_id: 2,
                inter_layer: true,
                tl0_picture_index: Some(9),
            }
        );
    }

    #[test]
    fn flexible_mode_has_up_to_three_references_and_no_tl0() {
        let payload = [0xf8, 0x01, 0x00, 0x03, 0x05, 0x06, 0x99];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.len, 6);
        assert_eq!(descriptor.layers.unwrap().tl0_picture_index, None);
        assert_eq!(
            Descriptor::parse(&[0xf8, 0x01, 0x00, 0x03, 0x05, 0x07, 0x99]),
            None,
            "a fourth reference"
        );
    }

    #[test]
    fn picture_groups_are_stepped_over() {
        // V; SS: one layer, sizes absent, groups: 2 pictures with 1 and 3 references
        let payload = [0x0a, 0x08, 0x02, 0x04, 0x01, 0x0c, 0x01, 0x02, 0x03, 0x99];
        assert_eq!(Descriptor::parse(&payload).unwrap().len, 9);
        for len in 0..9 {
            assert_eq!(Descriptor::parse(&payload[..len]), None, "{len}");
        }
    }
}
