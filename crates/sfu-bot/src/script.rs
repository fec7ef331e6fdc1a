//! The frame of the clip that a participant sends at each moment, shared by all its legs.
//!
//! # Job
//! Chooses the clip's frame for each number of a frame clock. Legs of one participant take the same numbers and get
//! the same frames, as one encoder feeds several connections. When a number is due belongs to `schedule`.
//!
//! # Invariants
//! - A number that was chosen within the last [`MEMORY`] numbers has the same choice for every leg.
//! - A key frame that was requested of any leg is the next new number's frame.

use std::sync::{Arc, Mutex};

use crate::clip::Clip;
use crate::config::Kind;
use crate::lock::lock;

/// Numbers that are remembered; a leg that is further behind gets frames of its own.
const MEMORY: usize = 64;

/// A frame of the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    number: u64,
    /// Its place in the clip.
    pub(crate) position: usize,
    /// A key frame only because one was requested.
    pub(crate) requested: bool,
}

/// The frames one participant sends of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    kind: Kind,
    layer: usize,
    position: usize,
    key_requested: bool,
    newest: Option<u64>,
    chosen: Vec<Option<Choice>>,
}

impl Script {
    /// Begins at `position` of the clip.
    pub(crate) fn new(kind: Kind, layer: usize, position: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            kind,
            layer,
            position,
            key_requested: false,
            newest: None,
            chosen: vec![None; MEMORY],
        })))
    }

    /// The frame for this number of the frame clock.
    pub(crate) fn choose(&self, number: u64, clip: &Clip) -> Choice {
        lock(&self.0).choose(number, clip)
    }

    /// Makes the next new frame a key frame.
    pub(crate) fn request_key_frame(&self) {
        lock(&self.0).key_requested = true;
    }
}

impl State {
    fn choose(&mut self, number: u64, clip: &Clip) -> Choice {
        let slot = number as usize % MEMORY;
        if let Some(known) = self.chosen[slot].filter(|choice| choice.number == number) {
            return known;
        }
        let mut choice = Choice {
            number,
            position: self.position,
            requested: false,
        };
        let count = if self.kind == Kind::Video {
            if std::mem::take(&mut self.key_requested) && !clip.frame(self.layer, self.position).key
            {
                choice.position = clip.key_frame_from(self.layer, self.position);
                choice.requested = true;
            }
            clip.frame_count(self.layer)
        } else {
            clip.audio_count()
        };
        self.position = (choice.position + 1) % count;
        if self.newest.is_none_or(|newest| number > newest) {
            self.newest = Some(number);
            self.chosen[slot] = Some(choice);
        }
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_legs_show_the_same_frames_whoever_asks_first() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Video, 0, 0);
        let early: Vec<_> = (100..110).map(|n| script.choose(n, &clip)).collect();
        let late: Vec<_> = (105..112).map(|n| script.choose(n, &clip)).collect();
        assert_eq!(early[5..], late[..5]);
        assert_eq!(late[6].position, 11);
        assert_eq!(script.choose(111, &clip), late[6]);
    }

    #[test]
    fn a_key_frame_asked_for_by_one_leg_is_shown_on_all() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Video, 0, 1);
        assert!(!clip.frame(0, script.choose(7, &clip).position).key);
        script.request_key_frame();
        assert!(!script.choose(7, &clip).requested);
        let choice = script.choose(8, &clip);
        assert!(choice.requested && clip.frame(0, choice.position).key);
        assert_eq!(script.choose(8, &clip), choice);
        assert!(!script.choose(9, &clip).requested);
    }
}
