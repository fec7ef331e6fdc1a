//! Bots through a real worker: every stream flows to everyone, nothing is lost, and what a link drops is repaired.
#![allow(clippy::unwrap_used)]

mod measured;
mod mesh;
mod server;

use std::time::Duration;

use measured::{rows, sent, video_sum, wait};
use meeshy_sfu_bot::{
    BotPool, Clip, ConsumeRequest, Direction, EventKind, Kind, LinkProfile, PoolConfig,
    SpawnOptions,
};
use meeshy_sfu_worker::Event;
use mesh::{join, settle};
use serde_json::json;
use server::Server;

fn pool() -> BotPool {
    BotPool::with_clip(PoolConfig::default(), Clip::synthetic(10, 258_000)).unwrap()
}

fn full_call(padding: bool) {
    let mut server = Server::start(padding, |_| {});
    let pool = pool();
    let bots = join(&pool, &mut server, 4, &SpawnOptions::default());
    wait("a hundred frames of each stream", || {
        rows(&pool, "frames").iter().all(|&frames| frames >= 100)
    });
    settle(&pool, &bots, Duration::ZERO);
    let packets: i64 = sent(&pool, "packets").iter().sum();
    assert_eq!(rows(&pool, "tag").len(), 24);
    assert_eq!(rows(&pool, "received").iter().sum::<i64>(), packets * 3);
    for name in [
        "lost",
        "lost_after_repair",
        "duplicates",
        "out_of_order",
        "foreign",
        "freezes",
        "nacks",
    ] {
        assert_eq!(rows(&pool, name).iter().sum::<i64>(), 0, "{name}");
    }
    let stamps: i64 = sent(&pool, "stamps").iter().sum();
    assert_eq!(rows(&pool, "stamps").iter().sum::<i64>(), stamps * 3);
    let health = pool.health();
    assert_eq!(
        (
            health.threads[0].auth_failures,
            health.threads[0].unknown_ssrc,
            health.socket_drops
        ),
        (0, 0, 0)
    );
    // The server's reports and feedback came too.
    let feedbacks = sent(&pool, "feedbacks");
    assert!(feedbacks.iter().all(|&count| count > 10), "{feedbacks:?}");
    let rtt = sent(&pool, "rtt_us");
    assert!(rtt.iter().all(|&us| us > 0 && us < 1_000_000), "{rtt:?}");
    assert_eq!(sent(&pool, "remote_lost").iter().sum::<i64>(), 0);
    let loudest = |event: &Event| {
        matches!(
            event,
            Event::ActiveSpeaker {
                producer: Some(_),
                ..
            }
        )
    };
    wait("an active speaker", || {
        server.stats();
        server.events.iter().any(loudest)
    });
}

#[test]
fn four_bots_call_each_other_through_a_worker_without_loss() {
    full_call(false);
}

#[test]
fn padding_that_makes_trains_changes_nothing_for_the_bots() {
    full_call(true);
}

#[test]
fn loss_in_both_directions_is_repaired_by_retransmission() {
    let mut server = Server::start(true, |_| {});
    let pool = pool();
    let bots = join(&pool, &mut server, 3, &SpawnOptions::default());
    wait("video flows", || {
        rows(&pool, "frames").iter().all(|&frames| frames >= 5)
    });
    let link = LinkProfile {
        loss: 0.03,
        delay_ms: 10.0,
        jitter_ms: 2.0,
        seed: 4,
        ..LinkProfile::default()
    };
    for &bot in &bots {
        pool.impair(bot, link, link).unwrap();
    }
    std::thread::sleep(Duration::from_secs(6));
    for &bot in &bots {
        pool.impair(bot, LinkProfile::default(), LinkProfile::default())
            .unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    settle(&pool, &bots, Duration::from_millis(700));
    let video = |name: &str| video_sum(&pool, name);
    let (expected, lost, left) = (video("expected"), video("lost"), video("lost_after_repair"));
    println!(
        "{expected} expected, {lost} lost, {left} after repair, {} nacks",
        video("nacks")
    );
    assert!(lost > expected / 100, "{lost} of {expected}");
    assert!(left * 20 <= lost, "{left} of {lost} were not repaired");
    assert!(
        sent(&pool, "rtx_packets").iter().sum::<i64>() > 0,
        "the worker asked for what the uplink lost"
    );
    assert_eq!(video("foreign"), 0);
}

#[test]
fn a_late_joiner_sees_everyone_after_a_key_frame() {
    let mut server = Server::start(false, |_| {});
    let pool = pool();
    let first = join(&pool, &mut server, 2, &SpawnOptions::default());
    wait("video flows", || {
        rows(&pool, "frames").iter().all(|&frames| frames >= 70)
    });
    let before: i64 = sent(&pool, "plis").iter().sum();
    let late = pool.spawn(1, &SpawnOptions::default()).unwrap()[0];
    let local = pool.local(late).unwrap();
    let (recv, parameters) = server.transport(&local.recv.dtls);
    pool.connect(late, Direction::Recv, parameters).unwrap();
    wait("the late one connected", || {
        pool.events(1000).iter().any(|event| {
            event.bot == late
                && matches!(
                    event.what,
                    EventKind::Dtls {
                        state: "connected",
                        ..
                    }
                )
        })
    });
    // Handles count up: transports 1 to 4, then audio and video of each early bot.
    let wanted = [(6, Kind::Video), (8, Kind::Video)];
    let answers = server.consume(recv, &wanted);
    let requests = first
        .iter()
        .zip(answers)
        .enumerate()
        .map(|(tag, (&owner, rtp_parameters))| ConsumeRequest {
            tag: tag as u32,
            sender: i32::from(owner),
            kind: Kind::Video,
            rtp_parameters,
        });
    pool.consume(late, requests.collect()).unwrap();
    let mut seen = 0;
    wait("first frames of both", || {
        let events = pool.events(1000);
        seen += events
            .iter()
            .filter(|event| event.bot == late && matches!(event.what, EventKind::FirstFrame { .. }))
            .count();
        seen == 2
    });
    assert!(sent(&pool, "plis").iter().sum::<i64>() > before);
    assert_eq!(rows(&pool, "foreign").iter().sum::<i64>(), 0);
}

#[test]
fn an_ice_restart_is_followed_without_a_gap() {
    let mut server = Server::start(false, |_| {});
    let pool = pool();
    let bots = join(&pool, &mut server, 2, &SpawnOptions::default());
    wait("media flows", || {
        rows(&pool, "frames").iter().all(|&frames| frames >= 5)
    });
    // Handles count up: send and recv transport of each bot.
    for (transport, which) in [(1, Direction::Send), (2, Direction::Recv)] {
        let fresh = server.ask(json!({"type": "restart_ice", "router": 1, "transport": transport}));
        let (_, mut parameters) = server.transport(&pool.local(bots[0]).unwrap().send.dtls);
        parameters.ice_parameters = serde_json::from_value(fresh).unwrap();
        pool.events(1000);
        pool.connect(bots[0], which, parameters).unwrap();
        let mut restarted = false;
        wait("a check with the new credentials", || {
            for event in pool.events(1000) {
                match event.what {
                    EventKind::IceRestarted { which: whose } => {
                        restarted |= event.bot == bots[0] && whose == which;
                    }
                    EventKind::Closed { reason, .. } | EventKind::Error { message: reason } => {
                        panic!("{reason}")
                    }
                    _ => {}
                }
            }
            restarted
        });
    }
    let before = rows(&pool, "received");
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        rows(&pool, "received")
            .iter()
            .zip(before)
            .all(|(&after, before)| after >= before + 10)
    );
    assert_eq!(rows(&pool, "lost").iter().sum::<i64>(), 0);
    assert_eq!(rows(&pool, "freezes").iter().sum::<i64>(), 0);
}

#[test]
fn a_transport_the_server_closes_is_reported() {
    let mut server = Server::start(false, |_| {});
    let pool = pool();
    let bots = join(&pool, &mut server, 2, &SpawnOptions::default());
    server.ask(json!({"type": "close_transport", "router": 1, "transport": 3}));
    wait("the closed transport", || {
        pool.events(1000).iter().any(|event| {
            event.bot == bots[1]
                && matches!(
                    event.what,
                    EventKind::Closed {
                        which: Direction::Send,
                        ..
                    }
                )
        })
    });
}
