//! Chooses which encoding of a producer a consumer forwards.
//!
//! # Job
//! Chooses the encoding of a producer that is to be forwarded, and decides packet by packet whether a consumer
//! forwards it. Sequence numbers and timestamps belong to `munger`.
//!
//! # Invariants
//! - The first live encoding is forwarded. An inactive one is left only for one that was received clearly later than
//!   it: encodings that stop together stay as they are.
//! - A switch happens at a key frame; until then the former encoding is forwarded.
//!
//! # Left out
//! Choice of simulcast and SVC layers by the receiver's preference or bandwidth.

use super::clock::Micros;

/// Encodings of one source stop within this time of each other; one received later than that is live.
pub(crate) const SILENCE_SKEW: Micros = 500_000;
/// No encoding.
const NONE: u8 = u8::MAX;

/// Whether an encoding is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    pub(crate) active: bool,
    /// When its last packet arrived; `None` before the first packet and after a BYE.
    pub(crate) last_packet_at: Option<Micros>,
}

/// Returns the encoding to forward after `current`.
pub(crate) fn first_live(lives: impl Iterator<Item = Liveness> + Clone, current: u8) -> u8 {
    let now = lives.clone().nth(usize::from(current));
    let left_at = match now {
        Some(life) if !life.active => life.last_packet_at,
        // The current encoding is active: any live encoding before it is preferred.
        _ => None,
    };
    let alive = |life: &Liveness| {
        life.active
            && left_at.is_none_or(|left| {
                life.last_packet_at
                    .is_some_and(|at| at > left + SILENCE_SKEW)
            })
    };
    lives
        .enumerate()
        .find(|(_, life)| alive(life))
        .map_or(current, |(position, _)| position as u8)
}

/// What a selector decides by.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Encoding of the packet.
    pub encoding: u8,
    /// Whether a receiver can start decoding with the packet.
    pub entry: bool,
}

/// Decision on one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Forward it.
    Forward,
    /// Drop it; later sequence numbers close the gap.
    Drop,
}

/// Decides what a consumer forwards.
pub trait LayerSelector {
    /// Decides on one packet.
    fn choose(&mut self, offer: Offer) -> Choice;
    /// Returns the encoding whose key frame is needed next.
    fn wanted(&self) -> u8;
}

/// Forwards one encoding and switches to another at a key frame.
#[derive(Clone, Copy, Debug)]
pub struct OneEncoding {
    /// The encoding forwarded last.
    current: u8,
    wanted: u8,
}

impl OneEncoding {
    /// Starts with this encoding.
    pub fn new(wanted: u8) -> Self {
        Self {
            current: NONE,
            wanted,
        }
    }

    /// Switches to this encoding at its next key frame. Returns whether it is another than before.
    pub fn want(&mut self, encoding: u8) -> bool {
        std::mem::replace(&mut self.wanted, encoding) != encoding
    }

    /// Returns the encoding that is forwarded, or will be.
    pub fn current(&self) -> u8 {
        if self.current == NONE {
            self.wanted
        } else {
            self.current
        }
    }
}

impl LayerSelector for OneEncoding {
    #[inline]
    fn choose(&mut self, offer: Offer) -> Choice {
        if offer.encoding != self.current {
            if offer.encoding != self.wanted || !offer.entry {
                return Choice::Drop;
            }
            self.current = offer.encoding;
        }
        Choice::Forward
    }

    fn wanted(&self) -> u8 {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const MS: Micros = 1000;

    fn alive(at: Micros) -> Liveness {
        Liveness {
            active: true,
            last_packet_at: Some(at),
        }
    }

    fn silent(at: Micros) -> Liveness {
        Liveness {
            active: false,
            last_packet_at: Some(at),
        }
    }

    const NEVER: Liveness = Liveness {
        active: false,
        last_packet_at: None,
    };

    fn after(current: u8, lives: &[Liveness]) -> u8 {
        first_live(lives.iter().copied(), current)
    }

    #[test]
    fn the_first_live_encoding_is_forwarded() {
        assert_eq!(after(0, &[NEVER; 3]), 0, "none received yet");
        assert_eq!(
            after(0, &[NEVER, alive(0), alive(0)]),
            1,
            "off from the start"
        );
        assert_eq!(after(0, &[silent(0), alive(1500 * MS)]), 1);
        assert_eq!(
            after(1, &[alive(2000 * MS), alive(2000 * MS)]),
            0,
            "it came back"
        );
        assert_eq!(after(2, &[silent(0), alive(9000 * MS), silent(0)]), 1);
        assert_eq!(after(0, &[NEVER, NEVER, alive(5)]), 2);
    }

    #[test]
    fn encodings_that_stop_together_stay_as_they_are() {
        assert_eq!(after(0, &[silent(1000 * MS), alive(1005 * MS)]), 0);
        assert_eq!(after(0, &[silent(1000 * MS), silent(1005 * MS)]), 0);
        assert_eq!(after(1, &[silent(9000 * MS), silent(1005 * MS)]), 1);
    }

    #[test]
    fn a_change_waits_for_a_key_frame_and_the_former_goes_on_until_then() {
        let mut selector = OneEncoding::new(0);
        let choose = |selector: &mut OneEncoding, encoding, entry| {
            selector.choose(Offer { encoding, entry }) == Choice::Forward
        };
        assert!(!choose(&mut selector, 0, false));
        assert!(choose(&mut selector, 0, true));
        assert!(!choose(&mut selector, 1, true), "not the wanted encoding");
        assert!(selector.want(1) && !selector.want(1));
        assert!(!choose(&mut selector, 1, false));
        assert!(choose(&mut selector, 0, false));
        assert_eq!((selector.current(), selector.wanted()), (0, 1));
        assert!(choose(&mut selector, 1, true));
        assert!(choose(&mut selector, 1, false));
        assert!(!choose(&mut selector, 0, true));
    }
}
