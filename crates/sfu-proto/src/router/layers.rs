//! What of a producer a consumer forwards.
//!
//! # Job
//! A consumer asks its selector about each packet before it rewrites and queues it. Sequence numbers
//! and timestamps after a decision belong to `munger`.
//!
//! # Invariants
//! - After anything but `Forward` for a stream, the next `Forward` of another stream starts at a key frame.
//!
//! # Left out
//! Choosing among simulcast and SVC layers. `SingleStream` forwards the first encoding and nothing else.

/// What the selector may look at.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Which encoding of the producer the packet belongs to.
    pub encoding: u8,
    /// The packet starts a key frame.
    pub key_frame: bool,
}

/// What to do with one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Send it.
    Forward,
    /// Leave it out; later numbers close up.
    Drop,
}

/// Decides what a consumer forwards.
pub trait LayerSelector {
    /// Looks at one packet.
    fn choose(&mut self, offer: Offer) -> Choice;
    /// The encoding whose key frame is needed next.
    fn wanted(&self) -> u8;
}

/// The selector of producers with one stream: everything of the first encoding.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleStream;

impl LayerSelector for SingleStream {
    #[inline]
    fn choose(&mut self, offer: Offer) -> Choice {
        if offer.encoding == 0 {
            Choice::Forward
        } else {
            Choice::Drop
        }
    }

    fn wanted(&self) -> u8 {
        0
    }
}
