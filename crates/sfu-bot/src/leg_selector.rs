//! The choice of the leg a track is shown from, when several legs of a participant receive it.
//!
//! # Job
//! Decides for each frame that arrived whether it is shown, and when a track changes legs: as soon as a preferred leg
//! has something decodable. In virtual time: a function of the frames handed in. Frames are made in `received`.
//!
//! # Invariants
//! - A frame is shown once, whichever leg brings it first, and in order, but for the few a jitter buffer would have
//!   waited for: what was under way on the old leg when the new one took over.
//! - Only decodable frames are shown, so a change of legs shows no broken picture.
//! - A selected leg that falls behind another is replaced: a failing leg does not freeze a track that still arrives
//!   on another one.

use std::sync::{Arc, Mutex};

use crate::config::Kind;
use crate::layout::{SAMPLE_SHOWN, SAMPLE_SURPLUS};
use crate::lock::lock;

/// Frames by which another leg must be ahead before a less preferred leg takes over: 200 ms.
const LEAD_VIDEO: u32 = 6;
const LEAD_AUDIO: u32 = 10;
/// Frames that a jitter buffer waits for.
const BUFFER: i32 = 3;
/// Numbers this far back are those of a sender that restarted.
const RESTART: i32 = 3000;

/// A frame (video, decodable) or packet (audio) that arrived on a leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    pub(crate) leg: u16,
    pub(crate) sender: u16,
    pub(crate) kind: Kind,
    /// The sender's number of the frame, the same on all legs.
    pub(crate) number: u32,
}

/// Whether a frame is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It is shown.
    pub(crate) shown: bool,
    /// With it the track is taken from this leg from now on.
    pub(crate) entered: bool,
}

impl Verdict {
    /// As flags of a sample.
    pub(crate) fn flags(self) -> u8 {
        if self.shown {
            SAMPLE_SHOWN
        } else {
            SAMPLE_SURPLUS
        }
    }
}

/// The selected leg of each track of one participant, shared by its legs.
#[derive(Debug, Clone, Default)]
pub(crate) struct LegSelector(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    tracks: Vec<Track>,
    /// Legs in the order they were preferred, the most preferred last.
    ranks: Vec<u16>,
}

#[derive(Debug)]
struct Track {
    sender: u16,
    kind: Kind,
    leg: Option<u16>,
    newest: Option<u32>,
    /// The leg before this one, and the numbers it may still bring: above the first, below the second.
    leaving: Option<(u16, u32, u32)>,
}

impl LegSelector {
    /// Prefers this leg to all others from its next decodable frames on.
    pub(crate) fn prefer(&self, leg: u16) {
        let mut state = lock(&self.0);
        state.ranks.retain(|known| *known != leg);
        state.ranks.push(leg);
    }

    /// Forgets a leg; its tracks are taken from whatever arrives next.
    pub(crate) fn retire(&self, leg: u16) {
        let mut state = lock(&self.0);
        state.ranks.retain(|known| *known != leg);
        for track in &mut state.tracks {
            if track.leg == Some(leg) {
                track.leg = None;
            }
        }
    }

    /// Decides about a frame.
    pub(crate) fn take(&self, unit: Unit) -> Verdict {
        lock(&self.0).take(unit)
    }
}

impl State {
    fn take(&mut self, unit: Unit) -> Verdict {
        let rank = |leg: u16| self.ranks.iter().position(|known| *known == leg);
        let known = |track: &&mut Track| track.sender == unit.sender && track.kind == unit.kind;
        let Some(track) = self.tracks.iter_mut().find(known) else {
            self.tracks.push(Track {
                sender: unit.sender,
                kind: unit.kind,
                leg: Some(unit.leg),
                newest: Some(unit.number),
                leaving: None,
            });
            return Verdict {
                shown: true,
                entered: true,
            };
        };
        let ahead = track
            .newest
            .map_or(1, |newest| unit.number.wrapping_sub(newest).cast_signed());
        let lead = if unit.kind == Kind::Video {
            LEAD_VIDEO
        } else {
            LEAD_AUDIO
        };
        let entered = match track.leg {
            Some(leg) if leg == unit.leg => false,
            None => true,
            Some(leg) => rank(unit.leg) > rank(leg) || ahead > lead.cast_signed(),
        };
        if entered {
            let before = track.leg.replace(unit.leg);
            track.leaving = before
                .zip(track.newest)
                .filter(|_| (2..=BUFFER).contains(&ahead))
                .map(|(leg, newest)| (leg, newest, unit.number));
        }
        if let Some((leg, after, before)) = &mut track.leaving
            && *leg == unit.leg
            && unit.number > *after
            && unit.number < *before
            && ahead > -BUFFER
        {
            *after = unit.number;
            return Verdict {
                shown: true,
                entered: false,
            };
        }
        let shown = track.leg == Some(unit.leg) && !(-RESTART..=0).contains(&ahead);
        if shown {
            track.newest = Some(unit.number);
        }
        Verdict { shown, entered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P2P: u16 = 3;
    const SFU: u16 = 4;

    fn unit(leg: u16, kind: Kind, number: u32) -> Unit {
        Unit {
            leg,
            sender: 9,
            kind,
            number,
        }
    }

    fn shown(selector: &LegSelector, leg: u16, number: u32) -> (bool, bool) {
        let verdict = selector.take(unit(leg, Kind::Video, number));
        (verdict.shown, verdict.entered)
    }

    #[test]
    fn a_track_changes_to_the_preferred_leg_without_showing_a_frame_twice() {
        let selector = LegSelector::default();
        selector.prefer(P2P);
        assert_eq!(shown(&selector, P2P, 1), (true, true));
        selector.prefer(SFU);
        assert_eq!(shown(&selector, P2P, 2), (true, false));
        // The slower leg brings what was shown already: it takes over, and shows from the next frame on.
        assert_eq!(shown(&selector, SFU, 2), (false, true));
        assert_eq!(shown(&selector, P2P, 3), (false, false));
        assert_eq!(shown(&selector, SFU, 3), (true, false));
        assert_eq!(shown(&selector, SFU, 4), (true, false));
        assert_eq!(shown(&selector, P2P, 4), (false, false));
    }

    #[test]
    fn frames_in_flight_on_the_old_leg_are_shown_once() {
        let selector = LegSelector::default();
        selector.prefer(P2P);
        shown(&selector, P2P, 1);
        selector.prefer(SFU);
        assert_eq!(shown(&selector, SFU, 3), (true, true));
        assert_eq!(shown(&selector, P2P, 2), (true, false));
        assert_eq!(shown(&selector, P2P, 2), (false, false));
        assert_eq!(shown(&selector, P2P, 3), (false, false));
        assert_eq!(shown(&selector, SFU, 4), (true, false));
        assert_eq!(shown(&selector, P2P, 4), (false, false));
    }

    #[test]
    fn kinds_change_legs_on_their_own() {
        let selector = LegSelector::default();
        selector.prefer(P2P);
        selector.take(unit(P2P, Kind::Audio, 1));
        selector.take(unit(P2P, Kind::Video, 1));
        selector.prefer(SFU);
        assert!(selector.take(unit(SFU, Kind::Audio, 2)).entered);
        assert!(selector.take(unit(P2P, Kind::Video, 2)).shown);
        assert!(!selector.take(unit(P2P, Kind::Audio, 3)).shown);
    }

    #[test]
    fn a_leg_that_ends_gives_its_tracks_back() {
        let selector = LegSelector::default();
        selector.prefer(P2P);
        shown(&selector, P2P, 1);
        selector.prefer(SFU);
        shown(&selector, SFU, 2);
        assert_eq!(shown(&selector, P2P, 3), (false, false));
        selector.retire(SFU);
        assert_eq!(shown(&selector, P2P, 4), (true, true));
    }

    #[test]
    fn a_leg_that_stalls_is_left_for_one_that_flows_and_taken_again_when_it_recovers() {
        let selector = LegSelector::default();
        selector.prefer(P2P);
        shown(&selector, P2P, 1);
        selector.prefer(SFU);
        shown(&selector, SFU, 2);
        for number in 3..=8 {
            assert_eq!(shown(&selector, P2P, number), (false, false));
        }
        assert_eq!(shown(&selector, P2P, 9), (true, true));
        assert_eq!(shown(&selector, SFU, 10), (true, true));
    }

    /// Every interleaving of a fast and a slow leg shows each frame once and none out of order.
    #[test]
    fn no_interleaving_shows_a_frame_twice_or_far_from_its_place() {
        for seed in 0..500 {
            let mut random = crate::random::Random::new(seed);
            let selector = LegSelector::default();
            selector.prefer(P2P);
            let (mut next, mut last) = ([0_u32, 0], None::<u32>);
            let mut seen = std::collections::HashSet::new();
            for step in 0..400 {
                if step == 100 {
                    selector.prefer(SFU);
                }
                let which = usize::from(step >= 80 && random.below(2) == 1);
                next[which] = next[which].max(next[1 - which].saturating_sub(3)) + 1;
                let leg = [P2P, SFU][which];
                if shown(&selector, leg, next[which]).0 {
                    assert!(seen.insert(next[which]), "seed {seed}");
                    assert!(
                        last.is_none_or(|last| next[which] + 3 > last),
                        "seed {seed}"
                    );
                    last = last.max(Some(next[which]));
                }
            }
            assert!(
                last.is_some_and(|last| last + 8 > next[0].max(next[1])),
                "seed {seed}"
            );
        }
    }
}
