//! A full mesh of bots through a real worker.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::time::Duration;

use meeshy_sfu_bot::{BotPool, ConsumeRequest, Direction, EventKind, Kind, SpawnOptions};

use crate::measured::wait;
use crate::server::Server;

/// Connects `count` bots to a worker, everyone to everyone, audio and video; sending has begun when it returns.
pub fn join(pool: &BotPool, server: &mut Server, count: usize, options: &SpawnOptions) -> Vec<u16> {
    let bots = pool.spawn(count, options).unwrap();
    let mut transports = Vec::new();
    for &bot in &bots {
        let local = pool.local(bot).unwrap();
        let (send, parameters) = server.transport(&local.send.dtls);
        pool.connect(bot, Direction::Send, parameters).unwrap();
        let (recv, parameters) = server.transport(&local.recv.dtls);
        pool.connect(bot, Direction::Recv, parameters).unwrap();
        transports.push((send, recv));
    }
    let mut connected = 0;
    wait("all transports connected", || {
        for event in pool.events(10_000) {
            match event.what {
                EventKind::Dtls {
                    state: "connected", ..
                } => connected += 1,
                EventKind::Closed { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
        connected == 2 * count
    });
    let mut producers = Vec::new();
    for (&bot, (send, _)) in bots.iter().zip(&transports) {
        for kind in [Kind::Audio, Kind::Video] {
            let produced = pool.produce(bot, kind).unwrap();
            producers.push((bot, server.produce(*send, &produced, kind), kind));
        }
    }
    for (&bot, (_, recv)) in bots.iter().zip(&transports) {
        let others: Vec<_> = producers
            .iter()
            .filter(|(owner, _, _)| *owner != bot)
            .copied()
            .collect();
        let wanted: Vec<_> = others
            .iter()
            .map(|(_, producer, kind)| (*producer, *kind))
            .collect();
        let answers = server.consume(*recv, &wanted);
        let requests = others.iter().zip(answers).enumerate().map(
            |(tag, ((owner, _, kind), rtp_parameters))| ConsumeRequest {
                tag: tag as u32,
                sender: i32::from(*owner),
                kind: *kind,
                rtp_parameters,
            },
        );
        pool.consume(bot, requests.collect()).unwrap();
    }
    for &bot in &bots {
        pool.start_sending(bot, Kind::Audio).unwrap();
        pool.start_sending(bot, Kind::Video).unwrap();
    }
    bots
}

/// Stops all sending and waits until what is under way has arrived.
pub fn settle(pool: &BotPool, bots: &[u16], extra: Duration) {
    for &bot in bots {
        pool.stop_sending(bot, Kind::Audio).unwrap();
        pool.stop_sending(bot, Kind::Video).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50) + extra);
}
