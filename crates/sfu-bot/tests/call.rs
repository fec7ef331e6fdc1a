//! Bots against a forwarder on loopback: handshake, media, repair, reports, closing.

#![allow(clippy::unwrap_used)]

mod forwarder;
mod measured;

use std::time::Duration;

use forwarder::Forwarder;
use measured::{column, rows, sent, video_sum, wait};
use meeshy_sfu_bot::params::DtlsRoleName;
use meeshy_sfu_bot::{
    BotPool, Clip, ConsumeRequest, Direction, EventKind, Kind, LinkProfile, PoolConfig, Sample,
    SpawnOptions,
};

struct Call {
    pool: BotPool,
    forwarder: Forwarder,
    bots: Vec<u16>,
}

impl Call {
    /// `count` bots, everyone to everyone, audio and video; returns when all transports are connected and all streams flow.
    fn start(count: usize, options: &SpawnOptions) -> Self {
        Self::with(PoolConfig::default(), count, options)
    }

    fn with(config: PoolConfig, count: usize, options: &SpawnOptions) -> Self {
        let pool = BotPool::with_clip(config, Clip::synthetic(10, 250_000)).unwrap();
        let forwarder = Forwarder::start();
        let bots = pool.spawn(count, options).unwrap();
        let mut numbers = Vec::new();
        for &bot in &bots {
            let local = pool.local(bot).unwrap();
            let (send, parameters) = forwarder.transport(&local.send.dtls);
            pool.connect(bot, Direction::Send, parameters).unwrap();
            let (recv, parameters) = forwarder.transport(&local.recv.dtls);
            pool.connect(bot, Direction::Recv, parameters).unwrap();
            numbers.push((send, recv));
        }
        let mut connected = 0;
        wait("all transports connected", || {
            for event in pool.events(1000) {
                match event.what {
                    EventKind::Dtls {
                        state: "connected",
                        srtp_profile,
                        ..
                    } => {
                        assert!(srtp_profile.is_some());
                        connected += 1;
                    }
                    EventKind::Closed { reason, .. } => panic!("{reason}"),
                    _ => {}
                }
            }
            connected == 2 * count
        });
        for (receiver, &bot) in bots.iter().enumerate() {
            let mut requests = Vec::new();
            for (sender, &from) in bots
                .iter()
                .enumerate()
                .filter(|(sender, _)| *sender != receiver)
            {
                for kind in [Kind::Audio, Kind::Video] {
                    let produced = pool.produce(from, kind).unwrap();
                    requests.push(ConsumeRequest {
                        tag: requests.len() as u32,
                        sender: i32::from(from),
                        kind,
                        rtp_parameters: forwarder.consume(
                            numbers[receiver].1,
                            numbers[sender].0,
                            &produced,
                            kind,
                        ),
                    });
                }
            }
            pool.consume(bot, requests).unwrap();
        }
        wait("all consumers announced", || {
            rows(&pool, "tag").len() == count * (count - 1) * 2
        });
        for &bot in &bots {
            pool.start_sending(bot, Kind::Audio).unwrap();
            pool.start_sending(bot, Kind::Video).unwrap();
        }
        Self {
            pool,
            forwarder,
            bots,
        }
    }

    /// Stops all sending and waits until what is under way has arrived.
    fn settle(&self, extra: Duration) {
        for &bot in &self.bots {
            self.pool.stop_sending(bot, Kind::Audio).unwrap();
            self.pool.stop_sending(bot, Kind::Video).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50) + extra);
    }
}

#[test]
fn four_bots_hear_and_see_each_other_without_loss() {
    let call = Call::start(4, &SpawnOptions::default());
    wait("a hundred frames of each stream", || {
        rows(&call.pool, "frames")
            .iter()
            .all(|&frames| frames >= 100)
    });
    call.settle(Duration::ZERO);
    let pool = &call.pool;
    let packets: i64 = sent(pool, "packets").iter().sum();
    assert_eq!(rows(pool, "received").iter().sum::<i64>(), packets * 3);
    for name in [
        "lost",
        "lost_after_repair",
        "duplicates",
        "out_of_order",
        "foreign",
        "freezes",
        "undecodable_frames",
    ] {
        assert_eq!(rows(pool, name).iter().sum::<i64>(), 0, "{name}");
    }
    assert_eq!(
        rows(pool, "stamps").iter().sum::<i64>(),
        sent(pool, "stamps").iter().sum::<i64>() * 3
    );
    let owd = rows(pool, "owd_max_ns");
    assert!(
        rows(pool, "owd_min_ns").iter().all(|&ns| ns > 0),
        "negative delay on one host"
    );
    assert!(owd.iter().all(|&ns| ns < 1_000_000_000), "{owd:?}");
    // One sample a stamp, each heard by who should hear it.
    let samples = pool.samples(usize::MAX);
    assert_eq!(
        (samples.len() / Sample::SIZE) as i64,
        rows(pool, "stamps").iter().sum::<i64>()
    );
    assert!(
        column(&samples, Sample::SIZE, &Sample::dtype(), "flags")
            .iter()
            .all(|flags| flags & 3 == 0)
    );
    wait("reports of all kinds", || {
        let seen = call.forwarder.seen();
        seen.sender_reports >= 8
            && seen.receiver_blocks >= 24
            && seen.feedbacks > 0
            && seen.reference_times >= 4
    });
    let seen = call.forwarder.seen();
    let video: i64 = rows(pool, "received")
        .iter()
        .zip(rows(pool, "kind"))
        .map(|(&got, kind)| got * kind)
        .sum();
    assert!(
        seen.feedback_arrivals as i64 <= video && seen.feedback_arrivals as i64 > video / 2,
        "{seen:?} of {video}"
    );
    assert_eq!((seen.nacked, seen.lost_blocks), (0, 0));
    let health = pool.health();
    assert_eq!(
        (
            health.socket_drops,
            health.samples_dropped,
            health.events_dropped
        ),
        (0, 0, 0)
    );
    assert_eq!(
        (
            health.threads[0].auth_failures,
            health.threads[0].unknown_ssrc
        ),
        (0, 0)
    );
}

#[test]
fn a_bot_can_be_the_dtls_server() {
    let options = SpawnOptions {
        send_role: DtlsRoleName::Server,
        ..SpawnOptions::default()
    };
    let call = Call::start(2, &options);
    wait("media flows", || {
        rows(&call.pool, "frames").iter().all(|&frames| frames >= 5)
    });
}

#[test]
fn a_generator_that_cannot_keep_up_says_so() {
    let config = PoolConfig {
        rcvbuf: 2048,
        tick_us: 300_000,
        ..PoolConfig::default()
    };
    let call = Call::with(config, 3, &SpawnOptions::default());
    wait("drops by the kernel", || {
        call.pool.health().socket_drops > 10
    });
    let lost: i64 = rows(&call.pool, "lost").iter().sum();
    assert!(lost > 0, "what was dropped is missing");
}

#[test]
fn two_threads_share_the_bots() {
    let config = PoolConfig {
        threads: 2,
        first_bot: 100,
        ..PoolConfig::default()
    };
    let call = Call::with(config, 3, &SpawnOptions::default());
    assert_eq!(call.bots, [100, 101, 102]);
    wait("media flows", || {
        rows(&call.pool, "frames")
            .iter()
            .all(|&frames| frames >= 20)
    });
    call.settle(Duration::ZERO);
    let packets: i64 = sent(&call.pool, "packets").iter().sum();
    assert_eq!(
        rows(&call.pool, "received").iter().sum::<i64>(),
        packets * 2
    );
    assert_eq!(rows(&call.pool, "foreign").iter().sum::<i64>(), 0);
    let health = call.pool.health();
    assert!(
        health
            .threads
            .iter()
            .all(|thread| thread.rtp_packets > 0 && thread.alive)
    );
}

#[test]
fn what_a_lossy_downlink_drops_is_asked_for_and_repaired() {
    let call = Call::start(3, &SpawnOptions::default());
    let down = LinkProfile {
        loss: 0.05,
        seed: 5,
        ..LinkProfile::default()
    };
    for &bot in &call.bots {
        call.pool.impair(bot, LinkProfile::default(), down).unwrap();
    }
    let pool = &call.pool;
    wait("three hundred frames of each stream", || {
        rows(pool, "frames").iter().all(|&frames| frames >= 300)
    });
    assert!(rows(pool, "freezes").iter().all(|&freezes| freezes == 0));
    call.settle(Duration::from_millis(500));
    let video = |name: &str| video_sum(pool, name);
    let (expected, lost) = (video("expected"), video("lost"));
    let share = lost as f64 / expected as f64;
    assert!((0.03..0.07).contains(&share), "{lost} of {expected}");
    assert_eq!(video("repaired") + video("lost_after_repair"), lost);
    // A packet is lost for good only if its repair is lost ten times; the last ones of a stream are never missed.
    assert!(
        video("lost_after_repair") <= 2,
        "{}",
        video("lost_after_repair")
    );
    assert!(call.forwarder.seen().nacked as i64 >= lost);
    assert!(call.forwarder.seen().lost_blocks > 0);
    let audio_lost = rows(pool, "lost").iter().sum::<i64>() - lost;
    assert!(audio_lost > 0, "audio has no repair");
}

#[test]
fn what_a_lossy_uplink_drops_is_sent_again_on_request() {
    let call = Call::start(3, &SpawnOptions::default());
    let up = LinkProfile {
        loss: 0.05,
        seed: 6,
        ..LinkProfile::default()
    };
    for &bot in &call.bots {
        call.pool.impair(bot, up, LinkProfile::default()).unwrap();
    }
    let pool = &call.pool;
    wait("two hundred frames of each stream", || {
        rows(pool, "frames").iter().all(|&frames| frames >= 200)
    });
    call.settle(Duration::from_millis(500));
    let video = |name: &str| video_sum(pool, name);
    let seen = call.forwarder.seen();
    assert!(seen.uploads_lost > 10, "{seen:?}");
    assert!(seen.uploads_repaired >= seen.uploads_lost, "{seen:?}");
    let again: i64 = sent(pool, "rtx_packets").iter().sum();
    assert!(
        again as u64 >= seen.uploads_repaired,
        "some of them are lost too"
    );
    assert_eq!(sent(pool, "nack_misses").iter().sum::<i64>(), 0);
    // What comes late comes under its own number, once, and with its own stamp.
    assert!(video("out_of_order") > 0);
    assert!(
        video("lost_after_repair") <= 2,
        "{}",
        video("lost_after_repair")
    );
    assert_eq!(video("foreign") + video("undecodable_frames"), 0);
}

#[test]
fn delay_of_the_emulated_link_shows_in_the_samples() {
    let call = Call::start(2, &SpawnOptions::default());
    let pool = &call.pool;
    let up = LinkProfile {
        delay_ms: 20.0,
        ..LinkProfile::default()
    };
    let down = LinkProfile {
        delay_ms: 30.0,
        ..LinkProfile::default()
    };
    for &bot in &call.bots {
        pool.impair(bot, up, down).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    pool.samples(usize::MAX);
    std::thread::sleep(Duration::from_millis(1500));
    let samples = pool.samples(usize::MAX);
    let mut owd = column(&samples, Sample::SIZE, &Sample::dtype(), "owd_ns");
    owd.sort_unstable();
    assert!(owd.len() > 60, "{}", owd.len());
    assert!(owd[0] >= 50_000_000, "{}", owd[0]);
    // Not delayed twice. The fastest tenth, because a busy machine delays the rest as it likes.
    let fast = owd[owd.len() / 10];
    assert!(fast < 70_000_000, "{fast}");
}

#[test]
fn jitter_arrives_as_it_was_given_either_way() {
    let jittery = LinkProfile {
        jitter_ms: 60.0,
        seed: 3,
        ..LinkProfile::default()
    };
    for (up, down) in [
        (jittery, LinkProfile::default()),
        (LinkProfile::default(), jittery),
    ] {
        let call = Call::start(3, &SpawnOptions::default());
        let pool = &call.pool;
        wait("video flows", || {
            rows(pool, "frames").iter().all(|&frames| frames >= 5)
        });
        for &bot in &call.bots {
            pool.impair(bot, up, down).unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        pool.samples(usize::MAX);
        std::thread::sleep(Duration::from_secs(3));
        let samples = pool.samples(usize::MAX);
        let mut owd = column(&samples, Sample::SIZE, &Sample::dtype(), "owd_ns");
        owd.sort_unstable();
        let quantile_ms = |share: usize| owd[owd.len() * share / 100] as f64 / 1e6;
        // Evenly from 0 to 60; a busy machine adds some.
        assert!(quantile_ms(10) < 14.0, "{}", quantile_ms(10));
        assert!(
            (24.0..40.0).contains(&quantile_ms(50)),
            "{}",
            quantile_ms(50)
        );
        assert!(
            (50.0..68.0).contains(&quantile_ms(90)),
            "{}",
            quantile_ms(90)
        );
        assert_eq!(video_sum(pool, "out_of_order"), 0);
    }
}

#[test]
fn a_video_without_key_frame_asks_for_one_and_gets_it() {
    let call = Call::start(2, &SpawnOptions::default());
    let pool = &call.pool;
    wait("video flows", || {
        rows(pool, "frames").iter().all(|&frames| frames >= 5)
    });
    // Joins again in the middle of a group of pictures, as a late joiner does.
    let produced = pool.produce(call.bots[0], Kind::Video).unwrap();
    let before: i64 = sent(pool, "requested_key_frames").iter().sum();
    pool.unconsume(call.bots[1], &[1]).unwrap();
    let rtp_parameters = call.forwarder.consume(3, 0, &produced, Kind::Video);
    pool.consume(
        call.bots[1],
        vec![ConsumeRequest {
            tag: 9,
            sender: 0,
            kind: Kind::Video,
            rtp_parameters,
        }],
    )
    .unwrap();
    let mut first_frame = false;
    wait("first frame of the new consumer", || {
        first_frame |= pool
            .events(1000)
            .iter()
            .any(|event| matches!(event.what, EventKind::FirstFrame { tag: 9, .. }));
        first_frame
    });
    let requested: i64 = sent(pool, "requested_key_frames").iter().sum();
    let plis: i64 = rows(pool, "plis").iter().sum();
    // By chance a key frame of the clip may come first; then no PLI is sent.
    assert_eq!(requested - before > 0, plis > 0);
    assert_eq!(
        rows(pool, "tag").len(),
        5,
        "the row of the ended consumer stays"
    );
}

#[test]
fn silence_freezes_and_speech_thaws() {
    let call = Call::start(2, &SpawnOptions::default());
    let pool = &call.pool;
    wait("audio flows", || {
        rows(pool, "frames").iter().all(|&frames| frames >= 5)
    });
    pool.stop_sending(call.bots[0], Kind::Audio).unwrap();
    let mut frozen = false;
    wait("a freeze", || {
        frozen |= pool.events(1000).iter().any(|event| {
            event.bot == call.bots[1]
                && matches!(
                    event.what,
                    EventKind::Freeze {
                        sender: 0,
                        kind: Kind::Audio,
                        ..
                    }
                )
        });
        frozen
    });
    pool.start_sending(call.bots[0], Kind::Audio).unwrap();
    let mut gap = 0;
    wait("the thaw", || {
        for event in pool.events(1000) {
            if let EventKind::Thaw { gap_ms, .. } = event.what {
                gap = gap_ms;
            }
        }
        gap > 0
    });
    assert!(gap >= 500);
    assert_eq!(
        rows(pool, "lost").iter().sum::<i64>(),
        0,
        "a pause is not loss"
    );
}

#[test]
fn closing_is_idempotent_says_goodbye_and_gives_the_sockets_back() {
    let call = Call::start(2, &SpawnOptions::default());
    let pool = &call.pool;
    wait("media flows", || {
        rows(pool, "frames").iter().all(|&frames| frames >= 3)
    });
    pool.close_bot(call.bots[0]).unwrap();
    pool.close_bot(call.bots[0]).unwrap();
    wait("BYE of both streams", || call.forwarder.seen().byes == 2);
    assert!(pool.produce(call.bots[0], Kind::Audio).is_err());
    assert!(pool.close_bot(99).is_err());
    let before = rows(pool, "received");
    assert_eq!(before.len(), 4);
    pool.stop();
    pool.stop();
    assert_eq!(rows(pool, "received").len(), 4, "rows outlive the bots");
    assert!(pool.spawn(1, &SpawnOptions::default()).is_err());
    assert!(pool.health().threads[0].packets_sent > 0);
    assert_eq!(
        (pool.health().bots, pool.health().threads[0].alive),
        (0, false)
    );
}

#[test]
fn random_datagrams_change_nothing() {
    let call = Call::start(2, &SpawnOptions::default());
    let pool = &call.pool;
    wait("media flows", || {
        rows(pool, "frames").iter().all(|&frames| frames >= 5)
    });
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for &bot in &call.bots {
        let local = pool.local(bot).unwrap();
        for port in [local.send.port, local.recv.port] {
            // First bytes of STUN, DTLS, RTP and RTCP, and anything.
            for first in [0, 22, 128, 128, 255] {
                for _ in 0..500 {
                    let mut datagram: Vec<u8> =
                        (0..random() % 200).map(|_| random() as u8).collect();
                    datagram.insert(0, first);
                    stranger.send_to(&datagram, ("127.0.0.1", port)).unwrap();
                }
                // The bots drain in ticks; more at once than a receive buffer holds proves nothing.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    let before = rows(pool, "received");
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        rows(pool, "received")
            .iter()
            .zip(before)
            .all(|(&after, before)| after > before)
    );
    call.settle(Duration::ZERO);
    let packets: i64 = sent(pool, "packets").iter().sum();
    assert_eq!(rows(pool, "received").iter().sum::<i64>(), packets);
    assert!(pool.health().threads[0].alive);
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_their_name() {
    let missing = PoolConfig {
        clip_path: "/nowhere/clip.bin".into(),
        ..PoolConfig::default()
    };
    assert!(
        BotPool::new(missing)
            .unwrap_err()
            .to_string()
            .contains("/nowhere/clip.bin")
    );
    let clip = || Clip::synthetic(2, 100_000);
    let refused = |config| BotPool::with_clip(config, clip()).unwrap_err().to_string();
    assert!(
        refused(PoolConfig {
            threads: 0,
            ..PoolConfig::default()
        })
        .contains("threads")
    );
    assert!(
        refused(PoolConfig {
            tick_us: 0,
            ..PoolConfig::default()
        })
        .contains("tick_us")
    );
    let pool = BotPool::with_clip(PoolConfig::default(), clip()).unwrap();
    let no_layer = SpawnOptions {
        layer: 1,
        ..SpawnOptions::default()
    };
    assert!(
        pool.spawn(1, &no_layer)
            .unwrap_err()
            .to_string()
            .contains("layer")
    );
    assert!(
        pool.spawn(70_000, &SpawnOptions::default())
            .unwrap_err()
            .to_string()
            .contains("count")
    );
    let bot = pool.spawn(1, &SpawnOptions::default()).unwrap()[0];
    let wrong = LinkProfile {
        loss: 1.5,
        ..LinkProfile::default()
    };
    assert!(
        pool.impair(bot, LinkProfile::default(), wrong)
            .unwrap_err()
            .to_string()
            .contains("down.loss")
    );
    assert!(pool.local(bot + 1).is_err());
}

#[test]
fn bots_that_were_never_connected_leave_nothing_behind() {
    let count = || {
        let name = |entry: std::fs::DirEntry| {
            std::fs::read_link(entry.path())
                .ok()
                .map(|to| to.display().to_string())
        };
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter_map(name)
            .filter(|to| to.starts_with("socket:"))
            .count()
    };
    let pool = BotPool::with_clip(PoolConfig::default(), Clip::synthetic(2, 100_000)).unwrap();
    let bots = pool.spawn(20, &SpawnOptions::default()).unwrap();
    assert_eq!(bots, (0..20).collect::<Vec<u16>>());
    let with = count();
    for bot in bots {
        pool.close_bot(bot).unwrap();
    }
    // Other tests run beside this one, so only a drop of forty sockets proves something.
    wait("sockets closed", || count() + 30 <= with);
}
