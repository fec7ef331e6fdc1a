//! The frame of the clip that a participant sends at each moment, shared by all its legs.
//!
//! # Job
//! Chooses the clip's frame for each number of a frame clock. Legs of one participant take the same numbers and get
//! the same frames, as one encoder feeds several connections. When a number is due belongs to `schedule`.
//!
//! # Invariants
//! - A number that was chosen within the last [`MEMORY`] numbers has the same choice for every leg.
//! - A key frame that was requested of any leg is the next new number's frame.
//! - With discontinuous transmission every leg sends or leaves out the same numbers.
//!
//! RFC 7587 §3.1.3 (discontinuous transmission of opus: in silence a frame every 400 ms).

use std::sync::{Arc, Mutex};

use crate::clip::Clip;
use crate::config::Kind;
use crate::lock::lock;

/// Numbers that are remembered; a leg that is further behind gets frames of its own.
const MEMORY: usize = 64;
/// In silence one packet in so many is sent: one in 400 ms.
pub(crate) const COMFORT_EVERY: u64 = 20;

/// What is done with an audio packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sound {
    /// It is sent.
    Speech,
    /// It is sent, the first after silence.
    Onset,
    /// It is sent and describes the silence until the next one.
    Comfort,
    /// It is left out.
    Silence,
}

/// A frame of the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    number: u64,
    /// Its place in the clip.
    pub(crate) position: usize,
    /// A key frame only because one was requested.
    pub(crate) requested: bool,
    pub(crate) sound: Sound,
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
    /// Silence is not sent.
    dtx: bool,
    /// The participant does not talk, whatever the clip has.
    hushed: bool,
    /// Packets of silence up to now.
    silent: u64,
}

impl Script {
    /// Begins at `position` of the clip; with `dtx`, silence is left out but for a packet in 400 ms.
    pub(crate) fn new(kind: Kind, layer: usize, position: usize, dtx: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            kind,
            layer,
            position,
            key_requested: false,
            newest: None,
            chosen: vec![None; MEMORY],
            dtx,
            hushed: false,
            silent: 0,
        })))
    }

    /// The frame for this number of the frame clock.
    pub(crate) fn choose(&self, number: u64, clip: &Clip) -> Choice {
        lock(&self.0).choose(number, clip)
    }

    /// Makes the participant silent, or lets it talk again.
    pub(crate) fn hush(&self, hushed: bool) {
        lock(&self.0).hushed = hushed;
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
            sound: Sound::Speech,
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
        if self.dtx && self.kind == Kind::Audio {
            self.listen(&mut choice, clip);
        }
        if self.newest.is_none_or(|newest| number > newest) {
            self.newest = Some(number);
            self.chosen[slot] = Some(choice);
        }
        choice
    }

    /// Decides what is done with a packet of audio: silence is that of the clip, or of a participant who does not talk.
    fn listen(&mut self, choice: &mut Choice, clip: &Clip) {
        let quiet = clip.quiet_audio().filter(|_| self.hushed);
        choice.position = quiet.unwrap_or(choice.position);
        if !self.hushed && clip.audio(choice.position).voice {
            if std::mem::take(&mut self.silent) > 0 {
                choice.sound = Sound::Onset;
            }
            return;
        }
        choice.sound = if self.silent.is_multiple_of(COMFORT_EVERY) {
            Sound::Comfort
        } else {
            Sound::Silence
        };
        self.silent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_legs_show_the_same_frames_whoever_asks_first() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Video, 0, 0, true);
        let early: Vec<_> = (100..110).map(|n| script.choose(n, &clip)).collect();
        let late: Vec<_> = (105..112).map(|n| script.choose(n, &clip)).collect();
        assert_eq!(early[5..], late[..5]);
        assert_eq!(late[6].position, 11);
        assert_eq!(script.choose(111, &clip), late[6]);
    }

    #[test]
    fn a_key_frame_asked_for_by_one_leg_is_shown_on_all() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Video, 0, 1, false);
        assert!(!clip.frame(0, script.choose(7, &clip).position).key);
        script.request_key_frame();
        assert!(!script.choose(7, &clip).requested);
        let choice = script.choose(8, &clip);
        assert!(choice.requested && clip.frame(0, choice.position).key);
        assert_eq!(script.choose(8, &clip), choice);
        assert!(!script.choose(9, &clip).requested);
    }

    fn sounds(script: &Script, clip: &Clip, numbers: std::ops::Range<u64>) -> Vec<Sound> {
        numbers.map(|n| script.choose(n, clip).sound).collect()
    }

    fn sent(sounds: &[Sound]) -> Vec<usize> {
        let kept = |sound: &Sound| *sound != Sound::Silence;
        (0..sounds.len()).filter(|&n| kept(&sounds[n])).collect()
    }

    #[test]
    fn in_silence_one_packet_in_400_ms_is_sent_and_speech_begins_with_an_onset() {
        // Speaks in even seconds, is silent in odd ones.
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Audio, 0, 0, true);
        let sounds = sounds(&script, &clip, 0..150);
        let expected: Vec<usize> = (0..50).chain([50, 70, 90]).chain(100..150).collect();
        assert_eq!(sent(&sounds), expected);
        assert_eq!(sounds[0], Sound::Speech);
        assert_eq!([sounds[50], sounds[70], sounds[90]], [Sound::Comfort; 3]);
        assert_eq!(sounds[100], Sound::Onset);
        assert_eq!(sounds[101], Sound::Speech);
    }

    #[test]
    fn without_dtx_all_is_sent() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Audio, 0, 0, false);
        script.hush(true);
        assert_eq!(
            sounds(&script, &clip, 0..150),
            vec![Sound::Speech; 150],
            "hushing is for dtx alone"
        );
    }

    #[test]
    fn who_does_not_talk_sends_the_clips_silence_in_place_of_its_speech() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Audio, 0, 0, true);
        assert_eq!(sent(&sounds(&script, &clip, 0..10)).len(), 10);
        script.hush(true);
        let quiet = sounds(&script, &clip, 10..50);
        assert_eq!(sent(&quiet), [0, 20]);
        assert!(!clip.audio(script.choose(30, &clip).position).voice);
        script.hush(false);
        // The clip went on meanwhile and is silent from packet 50 on: it is still the same silence.
        let next = sounds(&script, &clip, 50..101);
        assert_eq!(sent(&next), [0, 20, 40, 50]);
        assert_eq!(next[50], Sound::Onset);
    }

    #[test]
    fn legs_leave_out_the_same_packets_whoever_asks_first() {
        let clip = Clip::synthetic(10, 250_000);
        let script = Script::new(Kind::Audio, 0, 45, true);
        let early = sounds(&script, &clip, 100..140);
        let late = sounds(&script, &clip, 110..145);
        assert_eq!(early[10..], late[..30]);
    }
}
