//! Audio levels and the dominant speaker.
//!
//! # Job
//! Two observers of the RFC 6464 levels of all audio producers of a call: mean volumes per interval, and the dominant
//! speaker by Volfin and Cohen in the variant of Jitsi and mediasoup. Reading the level from a packet belongs to
//! `ingest`.
//!
//! # Invariants
//! - A level is 0 (loudest) to 127 (silence) dB below overload; a volume is its negative.
//! - The dominant speaker changes only to one that is clearly more active on all three time scales.
//! - Both observers stop while nothing can change: `due` is [`NEVER`] from a second after the last audible packet to
//!   the next one.
//!
//! # Cost
//! A few stores per audio packet; while packets are audible, one pass over the speakers per interval. No allocation
//! after a speaker was added.
//!
//! # Left out
//! Levels of decoded audio: a producer without the header extension counts as silent.
//!
//! RFC 6464 (audio level); I. Volfin, I. Cohen, "Dominant speaker identification for multipoint
//! videoconferencing", 2012.

use super::clock::{Micros, NEVER};
use super::config::ProducerKey;
use crate::net::Sink;

const C1: f64 = 3.0;
const C2: f64 = 2.0;
const C3: f64 = 0.0;
const N1: u32 = 13;
const N2: u32 = 5;
const N3: u32 = 10;
const IMMEDIATE_P: f64 = 0.5;
const IMMEDIATE_LAMBDA: f64 = 0.78;
const MEDIUM_LAMBDA: f64 = 24.0;
const LONG_LAMBDA: f64 = 47.0;
const MEDIUM_THRESHOLD: u8 = 7;
const LONG_THRESHOLD: u8 = 4;
const MAX_LEVEL: u8 = 127;
/// Width of the bands that levels are quantised to.
const BAND: u8 = 10;
const LEVELS: usize = 50;
const MEDIUMS: usize = 10;
const MIN_SCORE: f64 = 1e-10;
/// The algorithm expects one level per 20 ms.
const LEVEL_INTERVAL: u64 = 20_000;
const IDLE: u64 = 40_000;
/// Quieter packets never count as active.
const AUDIBLE: u8 = BAND * (MEDIUM_THRESHOLD + 1);
/// This long after the last audible packet, no speaker has an active level left.
const SPEECH_EXPIRES: Micros = (LEVELS as u64 + 1) * LEVEL_INTERVAL + IDLE;
/// An interval with fewer packets than this yields no volume.
const MIN_PACKETS: u32 = 10;

/// Activity of one producer.
#[derive(Debug)]
struct Speaker {
    producer: ProducerKey,
    levels: [u8; LEVELS],
    next: usize,
    changed_at: u64,
    immediates: [u8; LEVELS],
    mediums: [u8; MEDIUMS],
    long: u8,
    scores: [f64; 3],
    sum: u32,
    count: u32,
}

impl Speaker {
    fn new(producer: ProducerKey, now: u64) -> Self {
        Self {
            producer,
            levels: [0; LEVELS],
            next: 0,
            changed_at: now,
            immediates: [0; LEVELS],
            mediums: [0; MEDIUMS],
            long: 0,
            scores: [MIN_SCORE; 3],
            sum: 0,
            count: 0,
        }
    }

    fn push(&mut self, loudness: u8, now: u64) {
        let steps = (now.saturating_sub(self.changed_at) / LEVEL_INTERVAL).clamp(1, LEVELS as u64);
        self.changed_at = now;
        for _ in 0..steps {
            self.levels[self.next] = loudness;
            self.next = (self.next + 1) % LEVELS;
        }
    }

    fn evaluate(&mut self, now: u64) {
        if now.saturating_sub(self.changed_at) > IDLE {
            self.push(0, now);
        }
        let mut changed = false;
        for (age, immediate) in self.immediates.iter_mut().enumerate() {
            let level = self.levels[(self.next + LEVELS - age - 1) % LEVELS];
            let band = if level < BAND { 0 } else { level / BAND };
            changed |= std::mem::replace(immediate, band) != band;
        }
        if !changed {
            return;
        }
        self.scores[0] = activity(
            u32::from(self.immediates[0]),
            N1,
            IMMEDIATE_P,
            IMMEDIATE_LAMBDA,
        );
        let mut changed = false;
        for (medium, part) in self
            .mediums
            .iter_mut()
            .zip(self.immediates.chunks_exact(LEVELS / MEDIUMS))
        {
            let active = part.iter().filter(|band| **band > MEDIUM_THRESHOLD).count() as u8;
            changed |= std::mem::replace(medium, active) != active;
        }
        if !changed {
            return;
        }
        self.scores[1] = activity(u32::from(self.mediums[0]), N2, IMMEDIATE_P, MEDIUM_LAMBDA);
        let active = self
            .mediums
            .iter()
            .filter(|medium| **medium > LONG_THRESHOLD)
            .count() as u8;
        if std::mem::replace(&mut self.long, active) != active {
            self.scores[2] = activity(u32::from(self.long), N3, IMMEDIATE_P, LONG_LAMBDA);
        }
    }

    fn is_active(&self) -> bool {
        self.scores[1] > MIN_SCORE
    }
}

/// Returns the log-odds that `active` of `total` sub-intervals are speech.
fn activity(active: u32, total: u32, probability: f64, lambda: f64) -> f64 {
    let active = active.min(total);
    let mut binomial = 1.0;
    for step in 1..=active.min(total - active) {
        binomial *= f64::from(total - step + 1) / f64::from(step);
    }
    let score = f64::ln(binomial)
        + f64::from(active) * probability.ln()
        + f64::from(total - active) * (1.0 - probability).ln()
        - lambda.ln()
        + lambda * f64::from(active);
    score.max(MIN_SCORE)
}

/// Both observers of a call.
#[derive(Debug)]
pub(crate) struct Observers {
    speakers: Vec<Speaker>,
    dominant: Option<ProducerKey>,
    volumes: Vec<(ProducerKey, i8)>,
    was_silent: bool,
    threshold: i8,
    volume_interval: Micros,
    speaker_interval: Micros,
    volumes_due: Micros,
    speaker_due: Micros,
    audible_at: Micros,
}

impl Observers {
    /// Creates the observers; volumes below `threshold` (dBov) count as silence.
    pub(crate) fn new(threshold: i8, volume_interval: Micros, speaker_interval: Micros) -> Self {
        Self {
            speakers: Vec::new(),
            dominant: None,
            volumes: Vec::new(),
            was_silent: true,
            threshold,
            volume_interval,
            speaker_interval,
            volumes_due: NEVER,
            speaker_due: NEVER,
            audible_at: 0,
        }
    }

    /// Adds a producer.
    pub(crate) fn add(&mut self, producer: ProducerKey, now: u64) {
        self.speakers.push(Speaker::new(producer, now));
        self.volumes.reserve(self.speakers.len());
    }

    /// Removes a producer, whose key may be reused. Returns whether it was the dominant speaker.
    pub(crate) fn remove(&mut self, producer: ProducerKey) -> bool {
        self.speakers.retain(|speaker| speaker.producer != producer);
        self.volumes.retain(|(key, _)| *key != producer);
        self.dominant.take_if(|key| *key == producer).is_some()
    }

    /// Returns when the next interval of either observer ends; [`NEVER`] during silence.
    pub(crate) fn due(&self) -> Micros {
        self.volumes_due.min(self.speaker_due)
    }

    /// Returns the position of a producer for `level`; positions change when speakers are removed.
    pub(crate) fn position(&self, producer: ProducerKey) -> Option<usize> {
        self.speakers
            .iter()
            .position(|speaker| speaker.producer == producer)
    }

    /// Prefetches the speaker at `position`.
    #[inline]
    pub(crate) fn prefetch<S: Sink>(&self, position: usize, sink: &S) {
        if let Some(speaker) = self.speakers.get(position) {
            sink.prefetch(speaker, usize::MAX);
        }
    }

    /// Takes the level (0 loudest, 127 silent) of a packet of the speaker at `position`.
    #[inline]
    pub(crate) fn level(&mut self, position: usize, level: u8, now: u64) {
        let level = level & MAX_LEVEL;
        let loudness = MAX_LEVEL - level;
        if self.volumes_due == NEVER && -(level as i8) >= self.threshold {
            self.volumes_due = now + self.volume_interval;
        }
        if loudness >= AUDIBLE {
            self.audible_at = now;
            if self.speaker_due == NEVER {
                self.resume_speaker_detection(now);
            }
        }
        let Some(speaker) = self.speakers.get_mut(position) else {
            return;
        };
        if self.volumes_due != NEVER {
            speaker.sum += u32::from(level);
            speaker.count += 1;
        }
        if self.speaker_due != NEVER {
            speaker.push(loudness, now);
        }
    }

    /// Resumes after silence, which counts as silence of all speakers.
    #[cold]
    fn resume_speaker_detection(&mut self, now: Micros) {
        self.speaker_due = now + self.speaker_interval;
        for speaker in &mut self.speakers {
            speaker.changed_at = now.saturating_sub(LEVEL_INTERVAL);
        }
    }

    /// Ends the volume interval if it is over. Returns whether there is something to report.
    pub(crate) fn volumes_are_due(&mut self, now: Micros) -> bool {
        if now < self.volumes_due {
            return false;
        }
        let told = self.end_volume_interval();
        self.volumes_due = if self.was_silent {
            NEVER
        } else {
            now + self.volume_interval
        };
        told
    }

    /// Updates the dominant speaker if its interval is over. Returns whether it changed.
    pub(crate) fn speaker_is_due(&mut self, now: Micros) -> bool {
        if now < self.speaker_due {
            return false;
        }
        let changed = self.update_dominant(now);
        self.speaker_due = if now > self.audible_at + SPEECH_EXPIRES {
            NEVER
        } else {
            now + self.speaker_interval
        };
        changed
    }

    /// Ends a volume interval. Returns whether there is something to report: volumes, or the first silence.
    fn end_volume_interval(&mut self) -> bool {
        self.volumes.clear();
        for speaker in &mut self.speakers {
            let (sum, count) = (
                std::mem::take(&mut speaker.sum),
                std::mem::take(&mut speaker.count),
            );
            if count < MIN_PACKETS {
                continue;
            }
            let volume = -((sum / count).min(127) as i8);
            if volume >= self.threshold {
                self.volumes.push((speaker.producer, volume));
            }
        }
        self.volumes
            .sort_unstable_by_key(|(producer, volume)| (std::cmp::Reverse(*volume), producer.0));
        let silent = self.volumes.is_empty();
        !(std::mem::replace(&mut self.was_silent, silent) && silent)
    }

    /// Returns the volumes of the last interval, loudest first.
    pub(crate) fn volumes(&self) -> &[(ProducerKey, i8)] {
        &self.volumes
    }

    pub(crate) fn dominant(&self) -> Option<ProducerKey> {
        self.dominant
    }

    /// Updates the dominant speaker. Returns whether it changed.
    fn update_dominant(&mut self, now: u64) -> bool {
        for speaker in &mut self.speakers {
            speaker.evaluate(now);
        }
        let current = self
            .dominant
            .and_then(|key| self.speakers.iter().find(|speaker| speaker.producer == key));
        let next = match current {
            // Without a dominant speaker: the most active one that speaks.
            None => self
                .speakers
                .iter()
                .filter(|speaker| speaker.is_active())
                .max_by(|left, right| left.scores[1].total_cmp(&right.scores[1]))
                .map(|speaker| speaker.producer),
            Some(current) => Some(self.challenger(current).unwrap_or(current.producer)),
        };
        std::mem::replace(&mut self.dominant, next) != next
    }

    fn challenger(&self, current: &Speaker) -> Option<ProducerKey> {
        let mut best = C2;
        let mut found = None;
        for speaker in &self.speakers {
            if speaker.producer == current.producer {
                continue;
            }
            let ratio = |scale: usize| (speaker.scores[scale] / current.scores[scale]).ln();
            let (immediate, medium, long) = (ratio(0), ratio(1), ratio(2));
            if immediate > C1 && medium > C2 && long > C3 && medium > best {
                best = medium;
                found = Some(speaker.producer);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const ALICE: ProducerKey = ProducerKey(1);
    const BOB: ProducerKey = ProducerKey(2);

    /// Feeds both for `seconds` with a level each; returns the changes of the dominant speaker.
    fn talk(
        observers: &mut Observers,
        from: u64,
        seconds: u64,
        levels: [u8; 2],
    ) -> Vec<Option<ProducerKey>> {
        let mut changes = Vec::new();
        for step in 0..seconds * 50 {
            let now = from + step * 20_000;
            observers.level(0, levels[0], now);
            observers.level(1, levels[1], now);
            if step % 15 == 14 && observers.update_dominant(now) {
                changes.push(observers.dominant());
            }
        }
        changes
    }

    fn pair() -> Observers {
        let mut observers = Observers::new(-80, 1_000_000, 300_000);
        observers.add(ALICE, 0);
        observers.add(BOB, 0);
        observers
    }

    #[test]
    fn the_odds_of_speech_are_those_of_the_binomial_distribution() {
        // ln(C(10, k) 0.3^k 0.7^(10 - k)) - ln(2 e^(-2 k)), by Python's `math`
        for (active, expected) in [(3, 3.985702), (5, 7.033043), (8, 8.768383), (10, 7.267125)] {
            let odds = activity(active, 10, 0.3, 2.0);
            assert!((odds - expected).abs() < 1e-5, "{odds} for {active}");
        }
        assert_eq!(activity(99, 10, 0.3, 2.0), activity(10, 10, 0.3, 2.0));
        assert_eq!(activity(0, 10, 0.3, 2.0), MIN_SCORE, "never less");
    }

    #[test]
    fn the_speaker_dominates_until_another_one_takes_over() {
        let mut observers = pair();
        assert_eq!(talk(&mut observers, 0, 2, [127, 127]), []);
        assert_eq!(talk(&mut observers, 2_000_000, 3, [20, 127]), [Some(ALICE)]);
        assert_eq!(talk(&mut observers, 5_000_000, 3, [127, 20]), [Some(BOB)]);
        assert_eq!(
            talk(&mut observers, 8_000_000, 3, [127, 127]),
            [],
            "silence changes nothing"
        );
    }

    #[test]
    fn observers_need_no_timer_during_silence() {
        let mut observers = pair();
        let mut looks = |from: u64, seconds: u64, levels: [u8; 2]| {
            let mut looks = 0;
            for step in 0..seconds * 50 {
                let now = from + step * 20_000;
                observers.level(0, levels[0], now);
                observers.level(1, levels[1], now);
                if now >= observers.due() {
                    looks += 1;
                    observers.volumes_are_due(now);
                    observers.speaker_is_due(now);
                }
            }
            (looks, observers.due() == NEVER, observers.dominant())
        };
        assert_eq!(looks(0, 60, [127, 127]), (0, true, None));
        let (count, rests, dominant) = looks(60_000_000, 3, [20, 127]);
        assert!((9..=13).contains(&count), "{count}");
        assert_eq!((rests, dominant), (false, Some(ALICE)));
        let (count, rests, dominant) = looks(63_000_000, 3600, [127, 127]);
        assert!(count <= 6, "{count} looks in an hour of silence");
        assert_eq!((rests, dominant), (true, Some(ALICE)));
        assert_eq!(looks(3_663_000_000, 3, [127, 20]).2, Some(BOB));
    }

    #[test]
    fn a_click_after_a_long_silence_does_not_fill_the_silence() {
        let mut observers = pair();
        talk(&mut observers, 0, 3, [20, 127]);
        for step in 0..10 {
            observers.speaker_is_due(3_000_000 + step * 300_000);
        }
        assert_eq!(observers.speaker_due, NEVER);
        // One packet a minute later.
        observers.level(1, 0, 66_000_000);
        for step in 1..10 {
            observers.speaker_is_due(66_000_000 + step * 300_000);
        }
        assert_eq!(observers.dominant(), Some(ALICE));
    }

    #[test]
    fn a_short_noise_does_not_take_over() {
        let mut observers = pair();
        talk(&mut observers, 0, 4, [25, 127]);
        for step in 0..3 {
            let now = 4_000_000 + step * 20_000;
            observers.level(0, 25, now);
            observers.level(1, 10, now);
        }
        assert!(!observers.update_dominant(4_060_000));
        assert_eq!(observers.dominant(), Some(ALICE));
    }

    #[test]
    fn volumes_are_means_loudest_first_and_silence_is_reported_once() {
        let mut observers = pair();
        talk(&mut observers, 0, 1, [30, 20]);
        assert!(observers.end_volume_interval());
        assert_eq!(observers.volumes(), [(BOB, -20), (ALICE, -30)]);
        talk(&mut observers, 1_000_000, 1, [127, 127]);
        assert!(observers.end_volume_interval());
        assert!(observers.volumes().is_empty());
        assert!(!observers.end_volume_interval());
    }

    #[test]
    fn a_speaker_who_left_dominates_no_longer() {
        let mut observers = pair();
        talk(&mut observers, 0, 2, [20, 127]);
        assert!(observers.remove(ALICE));
        assert_eq!(observers.dominant(), None);
        assert!(!observers.remove(BOB), "never spoke");
    }

    #[test]
    fn the_newest_level_is_evaluated_first() {
        let mut speaker = Speaker::new(ALICE, 0);
        for (step, loudness) in [(1, 15), (2, 25), (3, 35)] {
            speaker.push(loudness, step * LEVEL_INTERVAL);
        }
        speaker.evaluate(3 * LEVEL_INTERVAL);
        assert_eq!(speaker.immediates[..4], [3, 2, 1, 0]);
    }

    #[test]
    fn a_speaker_without_packets_for_more_than_forty_milliseconds_is_silent() {
        let mut speaker = Speaker::new(ALICE, 0);
        speaker.push(95, 20_000);
        speaker.evaluate(60_000);
        assert_eq!(speaker.immediates[0], 9);
        speaker.evaluate(60_001);
        assert_eq!(speaker.immediates[..2], [0, 0], "two intervals of silence");
    }

    #[test]
    fn a_second_of_speech_that_comes_at_once_counts() {
        let mut speaker = Speaker::new(ALICE, 0);
        speaker.push(100, 2_000_000);
        speaker.evaluate(2_000_000);
        assert_eq!(speaker.mediums, [5; MEDIUMS]);
        assert!(speaker.is_active());
    }
}
