//! Bots that talk to each other without a server, and move from one leg to another while they do.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use meeshy_sfu_bot::params::DtlsRoleName;
use meeshy_sfu_bot::params::IceCandidate;
use meeshy_sfu_bot::{
    BotEvent, BotPool, Clip, ConnectParameters, ConsumeRequest, Direction, EventKind, IceRole,
    Kind, PoolConfig, SAMPLE_SHOWN, SAMPLE_SURPLUS, Sample, SentFrame, SpawnOptions,
};

const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];

fn pool() -> BotPool {
    BotPool::with_clip(PoolConfig::default(), Clip::synthetic(10, 250_000)).unwrap()
}

/// A leg of `participant`; the one that offers leaves the DTLS role to the other.
fn leg(pool: &BotPool, participant: u16, offers: bool, dtx: bool) -> u16 {
    let options = SpawnOptions {
        participant: Some(participant),
        peer: Some(if offers {
            IceRole::Controlling
        } else {
            IceRole::Controlled
        }),
        recv_role: if offers {
            DtlsRoleName::Auto
        } else {
            DtlsRoleName::Client
        },
        audio_stamp_every: 1,
        dtx,
        ..SpawnOptions::default()
    };
    pool.spawn(1, &options).unwrap()[0]
}

/// Passes to `to` what `from` would write into its offer or answer.
fn tell(pool: &BotPool, from: u16, to: u16, participant: u16) {
    let local = pool.local(from).unwrap().recv;
    let server = ConnectParameters {
        ice_parameters: local.ice,
        ice_candidates: vec![IceCandidate {
            foundation: "1".into(),
            priority: 2_130_706_431,
            address: Some(local.address.to_string()),
            ip: None,
            port: local.port,
            protocol: "udp".into(),
        }],
        dtls_parameters: local.dtls,
    };
    let consumers = KINDS.map(|kind| ConsumeRequest {
        tag: kind as u32,
        sender: participant.into(),
        kind,
        rtp_parameters: pool.produce(from, kind).unwrap(),
    });
    pool.consume(to, consumers.into()).unwrap();
    pool.connect(to, Direction::Recv, server).unwrap();
}

/// Connects two participants by a new pair of legs and starts sending on both.
fn pair(pool: &BotPool, participants: [u16; 2]) -> [u16; 2] {
    pair_with(pool, participants, false)
}

fn pair_with(pool: &BotPool, participants: [u16; 2], dtx: bool) -> [u16; 2] {
    let (offerer, answerer) = (
        leg(pool, participants[0], true, dtx),
        leg(pool, participants[1], false, dtx),
    );
    tell(pool, offerer, answerer, participants[0]);
    // An answer takes its time; the checks of the answerer do not wait for it.
    std::thread::sleep(Duration::from_millis(30));
    tell(pool, answerer, offerer, participants[1]);
    for bot in [offerer, answerer] {
        pool.prefer(bot).unwrap();
        for kind in KINDS {
            pool.start_sending(bot, kind).unwrap();
        }
    }
    [offerer, answerer]
}

/// Collects events until `done` says so.
fn until(pool: &BotPool, seen: &mut Vec<BotEvent>, done: impl Fn(&[BotEvent]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(seen) {
        assert!(Instant::now() < deadline, "waited in vain; seen: {seen:?}");
        for event in pool.events(1000) {
            if let EventKind::Closed { reason, .. } | EventKind::Error { message: reason } =
                &event.what
            {
                assert!(reason.contains("closed"), "{event:?}");
            }
            seen.push(event);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All four tracks are shown from these legs.
fn entered(legs: [u16; 2]) -> impl Fn(&[BotEvent]) -> bool {
    move |seen| {
        let mine = |event: &&BotEvent| {
            legs.contains(&event.bot) && matches!(event.what, EventKind::Entered { .. })
        };
        seen.iter().filter(mine).count() >= 4
    }
}

struct Shown {
    leg: u16,
    at_ns: u64,
    number: u32,
}

/// What was shown, by sender and kind in order of arrival, and how much was surplus.
fn shown(pool: &BotPool) -> (HashMap<(u16, u8), Vec<Shown>>, usize) {
    let (mut tracks, mut surplus) = (HashMap::<_, Vec<Shown>>::new(), 0);
    for sample in pool.samples(usize::MAX).chunks(Sample::SIZE) {
        let short = |at: usize| u16::from_le_bytes(sample[at..at + 2].try_into().unwrap());
        let flags = sample[29];
        assert_eq!(flags & 2, 0, "foreign frame");
        surplus += usize::from(flags & SAMPLE_SURPLUS != 0);
        if flags & SAMPLE_SHOWN != 0 {
            tracks
                .entry((short(26), sample[28]))
                .or_default()
                .push(Shown {
                    leg: short(24),
                    at_ns: u64::from_le_bytes(sample[..8].try_into().unwrap()),
                    number: u32::from_le_bytes(sample[16..20].try_into().unwrap()),
                });
        }
    }
    (tracks, surplus)
}

#[test]
fn two_peers_see_and_hear_each_other() {
    let pool = pool();
    let legs = pair(&pool, [100, 200]);
    let mut seen = Vec::new();
    until(&pool, &mut seen, entered(legs));
    std::thread::sleep(Duration::from_millis(500));
    let (tracks, surplus) = shown(&pool);
    assert_eq!((tracks.len(), surplus), (4, 0));
    for ((sender, kind), track) in tracks {
        assert!(sender == 100 || sender == 200);
        let expected = if kind == 1 { 10 } else { 15 };
        assert!(track.len() >= expected, "{sender} {kind}: {}", track.len());
        let numbers: Vec<u32> = track.iter().map(|shown| shown.number).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{numbers:?}"
        );
    }
    let health = pool.health().threads[0].clone();
    assert_eq!((health.auth_failures, health.unknown_ssrc), (0, 0));
}

#[test]
fn a_call_moves_to_other_legs_and_back_without_a_gap_or_a_frame_shown_twice() {
    let pool = pool();
    let mut old = pair(&pool, [100, 200]);
    let mut seen = Vec::new();
    until(&pool, &mut seen, entered(old));
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        let new = pair(&pool, [100, 200]);
        until(&pool, &mut seen, entered(new));
        // Both sides have swapped; what still comes on the old legs is surplus.
        std::thread::sleep(Duration::from_millis(100));
        for bot in old {
            pool.close_bot(bot).unwrap();
        }
        old = new;
        std::thread::sleep(Duration::from_millis(200));
    }
    let (tracks, surplus) = shown(&pool);
    assert!(surplus > 50, "{surplus} frames came by both legs");
    for ((sender, kind), mut track) in tracks {
        track.sort_by_key(|shown| shown.at_ns);
        let legs: std::collections::BTreeSet<u16> = track.iter().map(|shown| shown.leg).collect();
        assert_eq!(legs.len(), 4, "{sender} {kind}");
        assert!(
            track
                .windows(2)
                .all(|pair| pair[1].number == pair[0].number + 1)
        );
        let longest = track
            .windows(2)
            .map(|pair| pair[1].at_ns - pair[0].at_ns)
            .max();
        assert!(longest < Some(200_000_000), "{sender} {kind}: {longest:?}");
    }
}

#[test]
fn who_does_not_talk_sends_a_frame_every_400_ms_the_same_on_both_legs() {
    let pool = pool();
    let mut seen = Vec::new();
    let first = pair_with(&pool, [1, 2], true);
    let second = pair_with(&pool, [1, 2], true);
    until(&pool, &mut seen, entered(second));
    pool.hush(first[0], true).unwrap();
    pool.sent(usize::MAX);
    // Of each leg of participant 1: number and time of its audio from the first comfort frame on.
    let mut legs: HashMap<u16, Vec<(u32, u64)>> = HashMap::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while legs.len() < 2 || legs.values().any(|frames| frames.len() < 5) {
        assert!(Instant::now() < deadline, "waited in vain; seen: {legs:?}");
        for frame in pool.sent(usize::MAX).chunks(SentFrame::SIZE) {
            let short = |at: usize| u16::from_le_bytes(frame[at..at + 2].try_into().unwrap());
            let (sender, bot, kind, flags) = (short(16), short(18), frame[22], frame[23]);
            if (sender, kind) != (1, 0) {
                continue;
            }
            if flags & 64 == 0 {
                assert!(!legs.contains_key(&bot), "nothing else is sent in silence");
                continue;
            }
            let number = u32::from_le_bytes(frame[8..12].try_into().unwrap());
            let sent_ns = u64::from_le_bytes(frame[..8].try_into().unwrap());
            legs.entry(bot).or_default().push((number, sent_ns));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for frames in legs.values() {
        for pair in frames.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0, 20, "{legs:?}");
            let ms = (pair[1].1 - pair[0].1) / 1_000_000;
            assert!((200..900).contains(&ms), "{ms} ms apart");
        }
    }
    // One of them may have been looked at a frame earlier.
    let begin = legs.values().map(|frames| frames[0].0).max().unwrap();
    let numbers = |bot: u16| {
        let frames = legs[&bot].iter().map(|frame| frame.0);
        frames.filter(|&n| n >= begin).take(4).collect::<Vec<_>>()
    };
    assert_eq!(numbers(first[0]), numbers(second[0]));
    assert!(pool.hush(999, true).is_err());
    let plain = leg(&pool, 7, true, false);
    let refused = pool.hush(plain, true).unwrap_err().to_string();
    assert!(refused.contains("dtx"), "{refused}");
}
