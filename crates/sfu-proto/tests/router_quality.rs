//! What receivers see while encodings stop and return, through the real router. See docs/quality.md.
//!
//! `MEESHY_TEST_QUALITY_SWITCHES` sets the number of switches of each codec (default 200), `MEESHY_TEST_QUALITY_SEED`
//! the first seed.
#![allow(clippy::unwrap_used)]

mod quality_stage;
mod router_call;
mod seeded;

use meeshy_sfu_proto::router::Codec;
use quality_stage::decoder::{Decoder, Faults};
use quality_stage::link::Path;
use quality_stage::*;
use seeded::Random;

/// Switches of one call; further ones take another seed.
const SWITCHES_OF_A_CALL: usize = 50;
/// From the end of an encoding, announced by BYE, to the first picture of another: request, encoder, key frame.
const ANSWERED: Micros = 700 * MS;
/// The same without a BYE: the silence must be noticed first.
const NOTICED: Micros = 2 * SECOND;
/// With loss, as long as this: retransmission, or the repeated request of a key frame.
const REPAIRED: Micros = 1500 * MS;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().expect(name))
}

fn longest_gap(decoder: &Decoder) -> Micros {
    let gaps = decoder.freezes().into_iter().map(|(_, gap)| gap);
    gaps.max().unwrap_or(0)
}

/// Faults but for the numbers of VP8 pictures, which a decoder that begins anew at a key frame does not need.
fn of_pictures(decoder: &Decoder) -> Faults {
    Faults {
        picture_id: 0,
        tl0: 0,
        ..decoder.faults
    }
}

/// What came of random switches.
#[derive(Debug, Default)]
struct Outcome {
    switches: usize,
    pictures: usize,
    cut: u32,
    freezes: usize,
    longest_gap: Micros,
    nacks: u32,
    plis: u32,
    key_frames_asked: usize,
}

/// The encoding a viewer is to get: the highest one that is on up to the preferred one, else the lowest.
fn expected(stage: &Stage, preferred: usize) -> usize {
    let on = |one: &usize| stage.camera.encodings[*one].on;
    let below = (0..=preferred).rev().find(on);
    below.or((0..LADDER.len()).find(on)).unwrap()
}

/// What causes the switches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    /// The preference of the viewer.
    Preference,
    /// Encodings that end with a BYE and return, and the preference.
    All,
}

/// Changes the preference, and stops and returns encodings, at random until `switches` have been seen. Panics on a
/// fault of a picture.
fn switch_at_random(
    codec: Codec,
    switches: usize,
    cause: Cause,
    path: Path,
    worst_gap: Micros,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut seed = from_environment("MEESHY_TEST_QUALITY_SEED", 1);
    while outcome.switches < switches {
        let mut random = Random::new(seed ^ 0x5157);
        let mut stage = Stage::new(codec, seed, 1, path);
        stage.uplink.0.path.loss = path.loss / 4.0;
        stage.ramp();
        let here = format!("{codec:?}, seed {seed}");
        let mut preferred = LADDER.len() - 1;
        while stage.viewer().decoder.switches() < SWITCHES_OF_A_CALL {
            let one = random.between(0, LADDER.len() as u64 - 1) as usize;
            let is_on = stage.camera.encodings[one].on;
            let count = stage.camera.encodings.iter().filter(|e| e.on).count();
            if cause == Cause::Preference || random.chance(0.5) {
                preferred = one;
                stage.prefer(0, one as u8);
            } else if !is_on {
                stage.camera.set_on(one, true);
            } else if count > 1 {
                stage.stop_with_bye(one);
            }
            // Of each encoding one BYE a second counts.
            stage.run(random.between(1050 * MS, 1650 * MS));
            let expected = expected(&stage, preferred);
            let mut waited = 0;
            while stage.viewer().decoder.encoding() != Some(expected as u8) {
                stage.run(100 * MS);
                waited += 1;
                assert!(waited < 40, "{here}: encoding {expected} does not come");
            }
        }
        stage.run(SECOND);
        let viewer = stage.viewer();
        let decoder = &viewer.decoder;
        assert_eq!(of_pictures(decoder), Faults::default(), "{here}");
        if path.loss == 0.0 {
            assert_eq!(decoder.skipped, 0, "{here}: holes in the numbers");
        }
        let gap = longest_gap(decoder);
        assert!(gap <= worst_gap, "{here}: nothing shown for {gap} µs");
        outcome.switches += decoder.switches();
        outcome.pictures += decoder.shown.len();
        outcome.cut += decoder.cut;
        outcome.freezes += decoder.freezes().len();
        outcome.longest_gap = outcome.longest_gap.max(gap);
        outcome.nacks += viewer.nacks;
        outcome.plis += viewer.plis;
        outcome.key_frames_asked += stage.camera.asked.len();
        seed += 1;
    }
    outcome
}

fn switches() -> usize {
    from_environment("MEESHY_TEST_QUALITY_SWITCHES", 200) as usize
}

#[test]
fn no_switch_costs_a_picture_on_a_clean_link() {
    for codec in [Codec::Vp8, Codec::H264] {
        let outcome = switch_at_random(codec, switches(), Cause::All, Path::CLEAN, ANSWERED);
        println!("{codec:?}, clean: {outcome:?}");
        assert_eq!((outcome.nacks, outcome.plis), (0, 0), "{codec:?}");
    }
}

#[test]
fn a_change_of_the_preference_freezes_nothing() {
    for codec in [Codec::Vp8, Codec::H264] {
        let none = 0;
        let outcome = switch_at_random(codec, switches(), Cause::Preference, Path::CLEAN, none);
        println!("{codec:?}, by preference: {outcome:?}");
        assert_eq!((outcome.freezes, outcome.plis), (0, 0), "{codec:?}");
    }
}

#[test]
fn with_loss_no_gap_outlasts_its_repair() {
    for codec in [Codec::Vp8, Codec::H264] {
        let lossy = Path {
            jitter: 10 * MS,
            reorder: (0.01, 15 * MS),
            ..Path::CLEAN.with_loss(0.02)
        };
        let outcome = switch_at_random(codec, switches(), Cause::All, lossy, REPAIRED);
        println!("{codec:?}, 2 % lost: {outcome:?}");
        assert!(outcome.nacks > 0, "{codec:?}: the link loses something");
    }
}

#[test]
fn an_encoding_that_dies_is_left_for_another_at_a_key_frame_and_taken_up_again() {
    for codec in [Codec::Vp8, Codec::H264] {
        let mut stage = Stage::new(codec, 3, 1, Path::CLEAN);
        stage.ramp();
        let before = stage.viewer().decoder.switches();
        assert_eq!(stage.viewer().decoder.encoding(), Some(2));
        stage.camera.set_on(2, false);
        stage.run(4 * SECOND);
        let decoder = &stage.viewer().decoder;
        let switches = decoder.switches() - before;
        assert_eq!((decoder.encoding(), switches), (Some(1), 1));
        let gap = longest_gap(decoder);
        assert!(gap > SECOND && gap < NOTICED, "{codec:?}: {gap}");
        stage.camera.set_on(2, true);
        stage.run(SECOND);
        let decoder = &stage.viewer().decoder;
        let switches = decoder.switches() - before;
        assert_eq!((decoder.encoding(), switches), (Some(2), 2));
        assert_eq!(decoder.freezes().len(), 1, "coming back costs nothing");
        for pair in decoder.shown.windows(2) {
            assert!(pair[0].encoding == pair[1].encoding || pair[1].key);
        }
        assert_eq!(of_pictures(decoder), Faults::default());
        assert_eq!(decoder.skipped, 0);
    }
}

/// A strict expectation of a fault: remove `should_panic` with the fix.
#[test]
#[should_panic(expected = "picture numbers do not go on")]
fn vp8_picture_numbers_go_on_across_a_switch() {
    let mut stage = Stage::new(Codec::Vp8, 4, 1, Path::CLEAN);
    stage.ramp();
    stage.stop_with_bye(2);
    stage.run(2 * SECOND);
    let decoder = &stage.viewer().decoder;
    assert_eq!(decoder.encoding(), Some(1));
    let breaks = (decoder.faults.picture_id, decoder.faults.tl0);
    assert_eq!(breaks, (0, 0), "picture numbers do not go on");
}

#[test]
fn forty_nine_receivers_that_ask_at_will_get_a_key_frame_a_second_at_most() {
    const TIME: u64 = 20;
    /// Requests that may come at once (`router::keyframe`).
    const BURST: usize = 10;
    let mut stage = Stage::new(Codec::Vp8, 5, 49, Path::CLEAN);
    stage.run(SECOND);
    stage.camera.asked.clear();
    let mut random = Random::new(5);
    for _ in 0..TIME * 20 {
        for who in 0..stage.viewers.len() {
            if random.chance(0.05) {
                stage.viewers[who].decoder.needs_key = true;
            }
        }
        stage.run(50 * MS);
    }
    let wishes: u32 = stage.viewers.iter().map(|viewer| viewer.plis).sum();
    assert!(wishes > 400, "{wishes}");
    let asked = stage.camera.asked.len();
    println!("{wishes} PLIs of 49 receivers became {asked} in {TIME} s");
    assert!(asked >= 5 && asked <= BURST + TIME as usize, "{asked}");
    for viewer in &stage.viewers {
        assert_eq!(viewer.decoder.faults, Faults::default());
        assert!(viewer.decoder.freezes().is_empty());
    }
}

// Faults that other media servers had.

#[test]
fn mediasoup_335_an_encoding_that_returns_without_its_rid_is_known() {
    let mut stage = Stage::new(Codec::Vp8, 6, 1, Path::CLEAN);
    stage.ramp();
    stage.camera.set_on(2, false);
    stage.run(4 * SECOND);
    assert_eq!(stage.viewer().decoder.encoding(), Some(1));
    assert!(stage.camera.encodings[2].acknowledged, "no rid any more");
    stage.camera.set_on(2, true);
    stage.run(SECOND);
    assert_eq!(stage.viewer().decoder.encoding(), Some(2));
}

#[test]
fn mediasoup_408_a_switch_in_the_middle_of_a_picture_leaves_no_torn_picture() {
    let (mut cut, mut switches) = (0, 0);
    for seed in 0..40 {
        let mut stage = Stage::new(Codec::Vp8, 100 + seed, 1, Path::CLEAN);
        stage.ramp();
        // Low and high in turn, so that a large picture is interrupted by the small encoding's key frame.
        for _ in 0..4 {
            stage.prefer(0, 0);
            stage.run(1500 * MS);
            stage.prefer(0, 2);
            stage.run(1500 * MS);
        }
        let decoder = &stage.viewer().decoder;
        assert_eq!(of_pictures(decoder), Faults::default(), "seed {seed}");
        (cut, switches) = (cut + decoder.cut, switches + decoder.switches());
    }
    println!("{cut} pictures were cut in {switches} switches");
    assert!(cut > 0, "the case occurs");
}

#[test]
fn mediasoup_999_990_timestamps_go_on_whatever_the_clocks_of_the_encodings() {
    for seed in 0..30 {
        let mut stage = Stage::new(Codec::H264, 200 + seed, 1, Path::CLEAN);
        stage.ramp();
        let before = stage.viewer().decoder.switches();
        stage.stop_with_bye(2);
        stage.run(SECOND);
        stage.stop_with_bye(1);
        stage.run(SECOND);
        stage.camera.set_on(2, true);
        stage.run(SECOND);
        let decoder = &stage.viewer().decoder;
        assert_eq!(decoder.switches() - before, 3, "seed {seed}");
        assert_eq!(decoder.faults, Faults::default(), "seed {seed}");
        let last = decoder.shown.last().unwrap();
        assert!(stage.now() - last.at < 100 * MS, "no lasting freeze");
    }
}

#[test]
fn livekit_739_a_sender_that_keeps_only_its_highest_encoding_is_seen() {
    let mut stage = Stage::new(Codec::Vp8, 7, 1, Path::CLEAN);
    stage.camera.set_on(2, true);
    stage.camera.set_on(0, false);
    stage.run(3 * SECOND);
    let decoder = &stage.viewer().decoder;
    assert_eq!(decoder.encoding(), Some(2));
    assert_eq!(decoder.faults, Faults::default());
    assert!(decoder.shown.len() > 80, "{}", decoder.shown.len());
}
