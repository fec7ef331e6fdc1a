//! Payload inspection: key frames, layers, and fields to rewrite.
//!
//! # Job
//! One file per codec, each on the decrypted payload of one packet without padding. Frames are neither reassembled
//! nor decoded.
//!
//! # Invariants
//! - Any input is accepted: what does not parse is "not a key frame", never a panic.
//!
//! # Cost
//! Reads the first bytes of the payload; no allocation.

pub mod av1;
mod entry;
pub mod h264;
pub mod opus;
pub mod vp8;
pub mod vp9;

pub use entry::Entry;

/// A codec whose payload is inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The AV1 payload format of the Alliance for Open Media.
    Av1,
}

impl Codec {
    /// Parses a MIME type, in upper or lower case; `None` for a codec that is forwarded without inspection.
    #[must_use]
    pub fn from_mime_type(mime_type: &str) -> Option<Self> {
        [
            ("audio/opus", Self::Opus),
            ("video/VP8", Self::Vp8),
            ("video/VP9", Self::Vp9),
            ("video/H264", Self::H264),
            ("video/AV1", Self::Av1),
        ]
        .into_iter()
        .find_map(|(name, codec)| name.eq_ignore_ascii_case(mime_type).then_some(codec))
    }

    /// Returns whether a receiver can start decoding with `payload`; never for audio, which has no key frames.
    ///
    /// In VP8, VP9 and AV1 only the first packet of a key frame is marked as such.
    #[inline]
    #[must_use]
    pub fn entry(self, payload: &[u8]) -> Entry {
        match self {
            Self::H264 => h264::entry(payload),
            other if other.is_keyframe(payload) => Entry::KeyFrame,
            _ => Entry::None,
        }
    }

    /// Returns whether `payload` starts a key frame; always false for audio, which has none.
    #[inline]
    #[must_use]
    pub fn is_keyframe(self, payload: &[u8]) -> bool {
        match self {
            Self::Opus => false,
            Self::Vp8 => vp8::is_keyframe(payload),
            Self::Vp9 => vp9::is_keyframe(payload),
            Self::H264 => h264::is_keyframe(payload),
            Self::Av1 => av1::is_keyframe(payload),
        }
    }
}
