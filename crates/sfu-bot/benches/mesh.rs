//! What a received packet costs a bot: a full mesh through a real worker over loopback, CPU by the bots' own thread
//! clock.
//!
//! `cargo bench -p meeshy-sfu-bot --bench mesh -- 50 10` runs 50 bots for 10 seconds; a third number is the receive
//! tick in microseconds. On two cores the worker has one; when it is short of CPU it forwards less, which each line
//! tells.
#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

#[path = "../tests/measured/mod.rs"]
mod measured;
#[path = "../tests/mesh/mod.rs"]
mod mesh;
#[path = "../tests/server/mod.rs"]
mod server;

use std::time::Duration;

use meeshy_sfu_bot::{BotPool, Clip, PoolConfig, Sample, SpawnOptions};
use server::Server;

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
    let mut server = Server::start(true, |_| {});
    mesh::join(&pool, &mut server, count, &SpawnOptions::default());
    println!(
        "{count} bots joined, {} CPU ms",
        pool.health().threads[0].cpu_ns / 1_000_000
    );
    std::thread::sleep(Duration::from_secs(2));
    let mut before = pool.health().threads[0].clone();
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let now = pool.health().threads[0].clone();
        let samples = pool.samples(usize::MAX);
        let mut owd = measured::column(&samples, Sample::SIZE, &Sample::dtype(), "owd_ns");
        owd.sort_unstable();
        let owd_ms = |part: usize| {
            owd.get(owd.len() * part / 100)
                .map_or(0.0, |ns| *ns as f64 / 1e6)
        };
        let packets = now.rtp_packets - before.rtp_packets;
        let sent = now.packets_sent - before.packets_sent;
        let (cpu, wall) = (now.cpu_ns - before.cpu_ns, now.wall_ns - before.wall_ns);
        println!(
            "{packets} packets/s in, {sent} out; {:.1} % of a core, {:.3} us per received packet; {} samples, \
             latency p50 {:.2} p95 {:.2} p99 {:.2} ms; lag mean {:.0} p99 {:.0} max {:.0} us, busy max {:.0} us, \
             late {}",
            cpu as f64 / wall as f64 * 100.0,
            cpu as f64 / 1000.0 / packets.max(1) as f64,
            owd.len(),
            owd_ms(50),
            owd_ms(95),
            owd_ms(99),
            now.lag_mean_us,
            now.lag_p99_us,
            now.lag_max_us,
            now.busy_max_us,
            now.late_sends,
        );
        before = now;
    }
    let lost: i64 = measured::rows(&pool, "lost").iter().sum();
    let expected: i64 = measured::rows(&pool, "expected").iter().sum();
    println!(
        "kernel drops {}, {lost} of {expected} packets lost",
        pool.health().socket_drops
    );
    println!("worker: {}", server.stats());
}
