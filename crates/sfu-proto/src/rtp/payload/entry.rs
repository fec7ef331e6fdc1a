//! Where in a stream a receiver can begin.

/// Whether a receiver can begin with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// No: it is of a picture that needs others, or not the first packet of a key frame.
    None,
    /// It begins a picture that needs no other, but not what a decoder must know to read it: that was sent before,
    /// or at some other time.
    Picture,
    /// It is the first packet of a key frame.
    KeyFrame,
}
