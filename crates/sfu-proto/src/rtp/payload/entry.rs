//! Where receivers can start decoding.

/// Whether a receiver can start decoding with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// No: it depends on other pictures, or is not the first packet of a key frame.
    None,
    /// It starts an intra picture without its parameter sets, which were sent earlier or separately.
    Picture,
    /// It is the first packet of a key frame.
    KeyFrame,
}
