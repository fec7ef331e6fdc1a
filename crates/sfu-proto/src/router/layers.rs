//! Chooses which encoding of a producer a consumer forwards.
//!
//! # Job
//! Chooses the encoding of a producer that is to be forwarded, and decides packet by packet whether a consumer
//! forwards it. Sequence numbers and timestamps belong to `munger`.
//!
//! # Invariants
//! - The highest live encoding up to the preferred one is forwarded, else the lowest live one above it. An inactive
//!   one is left only for one that was received clearly later than it and for some time: encodings that stop together,
//!   or begin again together, stay as they are.
//! - A switch happens at a key frame; until then the former encoding is forwarded.
//!
//! # Left out
//! Choice by bandwidth; temporal layers and SVC.

use super::clock::Micros;

/// Encodings of one source stop, and begin again, within this time of each other; one received later, and for longer,
/// is live without the others.
pub(crate) const SILENCE_SKEW: Micros = 500_000;
/// The preference of a consumer that states none.
pub(crate) const HIGHEST: u8 = u8::MAX;
/// No encoding.
const NONE: u8 = u8::MAX;

/// Whether an encoding is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    pub(crate) active: bool,
    /// Since when it is active.
    pub(crate) since: Micros,
    /// When its last packet arrived; `None` before the first packet and after a BYE.
    pub(crate) last_packet_at: Option<Micros>,
}

/// Spatial and temporal layers; encodings of simulcast are spatial layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Position of the encoding, the lowest first.
    pub spatial: u8,
    /// Highest temporal layer; `None` means all. All are forwarded: a preference is stored only.
    pub temporal: Option<u8>,
}

/// Returns the encoding to forward after `current`: the highest live one up to `preferred`, else the lowest live one
/// above it.
pub(crate) fn target_encoding(
    lives: impl Iterator<Item = Liveness> + Clone,
    preferred: u8,
    current: u8,
) -> u8 {
    let left_at = match lives.clone().nth(usize::from(current)) {
        Some(life) if !life.active => life.last_packet_at,
        // The current encoding is active: any live encoding may take its place.
        _ => None,
    };
    let mut below = None;
    let mut above = None;
    for (position, life) in lives.enumerate() {
        let is_alive = life.active
            && left_at.is_none_or(|left| {
                life.last_packet_at
                    .is_some_and(|at| at > left + SILENCE_SKEW && at >= life.since + SILENCE_SKEW)
            });
        if is_alive && position <= usize::from(preferred) {
            below = Some(position as u8);
        } else if is_alive && above.is_none() {
            above = Some(position as u8);
        }
    }
    below.or(above).unwrap_or(current)
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

    /// Returns the encoding that is forwarded; `None` before the first packet.
    pub fn current(&self) -> Option<u8> {
        (self.current != NONE).then_some(self.current)
    }

    /// Forwards nothing until the next key frame of the wanted encoding. Returns whether one was forwarded.
    pub fn stop(&mut self) -> bool {
        std::mem::replace(&mut self.current, NONE) != NONE
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
            since: at.saturating_sub(SILENCE_SKEW),
            last_packet_at: Some(at),
        }
    }

    fn silent(at: Micros) -> Liveness {
        Liveness {
            active: false,
            since: 0,
            last_packet_at: Some(at),
        }
    }

    const NEVER: Liveness = Liveness {
        active: false,
        since: 0,
        last_packet_at: None,
    };

    fn after(preferred: u8, current: u8, lives: &[Liveness]) -> u8 {
        target_encoding(lives.iter().copied(), preferred, current)
    }

    #[test]
    fn the_highest_live_encoding_up_to_the_preferred_one_is_chosen() {
        let all = [alive(5), alive(5), alive(5)];
        assert_eq!(after(u8::MAX, 0, &all), 2, "the highest by default");
        assert_eq!(after(1, 2, &all), 1);
        assert_eq!(after(0, 2, &all), 0);
        assert_eq!(after(2, 0, &[NEVER; 3]), 0, "none received yet");
        assert_eq!(after(2, 0, &[alive(5), alive(5), NEVER]), 1);
        let top = [alive(9000 * MS), alive(9000 * MS), silent(0)];
        assert_eq!(after(2, 2, &top), 1, "the preferred one is dead");
        assert_eq!(after(0, 0, &[NEVER, alive(5), alive(5)]), 1, "none below");
    }

    #[test]
    fn encodings_that_stop_together_stay_as_they_are() {
        assert_eq!(after(2, 0, &[silent(1000 * MS), alive(1005 * MS)]), 0);
        assert_eq!(after(2, 0, &[silent(1000 * MS), silent(1005 * MS)]), 0);
        assert_eq!(after(2, 1, &[alive(1005 * MS), silent(1000 * MS)]), 1);
        let again = Liveness {
            since: 4000 * MS,
            ..alive(4100 * MS)
        };
        assert_eq!(after(2, 1, &[again, silent(1000 * MS)]), 1, "they begin");
        let alone = Liveness {
            since: 3500 * MS,
            ..alive(4100 * MS)
        };
        assert_eq!(after(2, 1, &[alone, silent(1000 * MS)]), 0);
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
        assert_eq!((selector.current(), selector.wanted()), (Some(0), 1));
        assert!(choose(&mut selector, 1, true));
        assert!(choose(&mut selector, 1, false));
        assert!(!choose(&mut selector, 0, true));
        assert!(selector.stop() && !selector.stop());
        assert_eq!((selector.current(), selector.wanted()), (None, 1));
        assert!(!choose(&mut selector, 1, false));
        assert!(choose(&mut selector, 1, true));
    }
}
