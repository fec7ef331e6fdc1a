//! What a received packet costs a bot: a full mesh over loopback, CPU by the bots' own thread clock.
//!
//! `cargo bench -p meeshy-sfu-bot -- 50 10` runs 50 bots for 10 seconds. The other end is the small forwarder of the
//! tests on a thread of its own; when it is short of CPU it forwards less, which does not change the cost per packet
//! much, but the line says how many packets came.
#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

#[path = "../tests/forwarder/mod.rs"]
mod forwarder;

use std::time::Duration;

use forwarder::Forwarder;
use meeshy_sfu_bot::{
    BotPool, Clip, ConsumeRequest, Direction, Happening, Kind, PoolConfig, SpawnOptions,
};

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let count = numbers.first().copied().unwrap_or(50) as usize;
    let seconds = numbers.get(1).copied().unwrap_or(10);
    let tick_us = numbers.get(2).copied().unwrap_or(5000);
    let config = PoolConfig {
        tick_us,
        ..PoolConfig::default()
    };
    let pool = BotPool::with_clip(config, Clip::synthetic(10, 258_000)).unwrap();
    let forwarder = Forwarder::start();
    let bots = pool.spawn(count, &SpawnOptions::default()).unwrap();
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
    while connected < 2 * count {
        for event in pool.events(1000) {
            connected += usize::from(matches!(
                event.what,
                Happening::Dtls {
                    state: "connected",
                    ..
                }
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "{count} bots connected, {} CPU ms",
        pool.health().threads[0].cpu_ns / 1_000_000
    );
    for (receiver, &bot) in bots.iter().enumerate() {
        let mut requests = Vec::new();
        for (sender, &from) in bots
            .iter()
            .enumerate()
            .filter(|(sender, _)| *sender != receiver)
        {
            for kind in [Kind::Audio, Kind::Video] {
                let produced = pool.produce(from, kind).unwrap();
                let rtp_parameters =
                    forwarder.consume(numbers[receiver].1, numbers[sender].0, &produced, kind);
                requests.push(ConsumeRequest {
                    tag: requests.len() as u32,
                    sender: i32::from(from),
                    kind,
                    rtp_parameters,
                });
            }
        }
        pool.consume(bot, requests).unwrap();
    }
    for &bot in &bots {
        pool.start_sending(bot, Kind::Audio).unwrap();
        pool.start_sending(bot, Kind::Video).unwrap();
    }
    std::thread::sleep(Duration::from_secs(2));
    let mut before = pool.health().threads[0].clone();
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let now = pool.health().threads[0].clone();
        let samples = pool.samples(usize::MAX).len() / meeshy_sfu_bot::Sample::SIZE;
        let packets = now.rtp_packets - before.rtp_packets;
        let sent = now.packets_sent - before.packets_sent;
        let (cpu, wall) = (now.cpu_ns - before.cpu_ns, now.wall_ns - before.wall_ns);
        println!(
            "{packets} packets/s in, {sent} out, {samples} samples; {:.1} % of a core, {:.3} us per received packet; \
             lag mean {:.0} p99 {:.0} max {:.0} us, busy max {:.0} us, late {}",
            cpu as f64 / wall as f64 * 100.0,
            cpu as f64 / 1000.0 / packets.max(1) as f64,
            now.lag_mean_us,
            now.lag_p99_us,
            now.lag_max_us,
            now.busy_max_us,
            now.late_sends,
        );
        before = now;
    }
    println!("kernel drops {}", pool.health().socket_drops);
}
