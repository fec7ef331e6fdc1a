//! What calls cost in which nothing happens, and how long a storm of requests keeps a round.
//!
//! # Job
//! - **cost per wake** of one live call, beside no other call and beside thousands of silent ones, in turn;
//! - **wake-ups** a second of silent calls alone, after what began with them has ended;
//! - **longest round** while requests come in as fast as they can be handed over.
//!
//! A silent call is two participants with path, keys, microphone and camera who send nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use meeshy_sfu_io::clock::thread_cpu;
use meeshy_sfu_proto::srtp::SrtpProfile;
use meeshy_sfu_worker::command::{Command, CreateTransport, Request, RouterId, TransportId};
use meeshy_sfu_worker::harness::Harness;
use serde_json::{Value, json};

use crate::case::{CPUS, Case, Outcome, Receivers, Sizes};
use crate::crowd::{Crowd, Shared};

const MANY: usize = 3000;
const SILENT: usize = 1000;
const STORM: u64 = 20_000;
const RATIO_TARGET: f64 = 1.3;
const WAKES_TARGET: f64 = 50.0;
const ROUND_TARGET: Duration = Duration::from_millis(1);
const SLICE: Duration = Duration::from_millis(200);
const SLICES: usize = 20;
/// Reports and requests that begin with a call end within this.
const SETTLING: Duration = Duration::from_secs(4);

/// Measures all three and prints them.
pub(crate) fn measure() -> Outcome<Value> {
    let (alone, beside) = wakes()?;
    let ratio = beside / alone;
    println!("\nCPU per wake of a live call of two, medians of {SLICES} slices, in turn");
    println!(
        "  alone {alone:.1} µs, beside {MANY} silent calls {beside:.1} µs: {ratio:.2} ×{}",
        verdict(ratio <= RATIO_TARGET)
    );
    let wakes = silence()?;
    println!(
        "  {SILENT} silent calls wake the worker {wakes:.1} times a second{}",
        verdict(wakes < WAKES_TARGET)
    );
    let storm = storm()?;
    println!(
        "  {STORM} requests at once: {} rounds, CPU of the median one {:.0} µs, of the longest {:.0} µs{}",
        storm.rounds,
        micros(storm.median),
        micros(storm.longest),
        verdict(storm.median <= ROUND_TARGET + ROUND_TARGET / 4)
    );
    println!(
        "  Targets: ≤ {RATIO_TARGET} ×, < {WAKES_TARGET} a second, 1 ms of requests in a round."
    );
    Ok(json!({
        "wake_alone_us": alone,
        "wake_beside_silent_us": beside,
        "silent_beside": MANY,
        "wake_ratio": ratio,
        "silent_calls": SILENT,
        "silent_wakes_per_s": wakes,
        "storm_requests": STORM,
        "storm_rounds": storm.rounds,
        "storm_median_round_us": micros(storm.median),
        "storm_longest_round_us": micros(storm.longest),
    }))
}

fn verdict(met: bool) -> &'static str {
    if met { "  ok" } else { "  over target" }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn case() -> Case {
    Case {
        mesh: true,
        profile: SrtpProfile::AeadAes128Gcm,
        gso: true,
        sizes: Sizes::Even,
        receivers: Receivers::Ordinary,
    }
}

/// A worker with one live call and `silent` others.
struct Live {
    harness: Harness,
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<()>,
}

impl Live {
    fn new(silent: usize) -> Outcome<Live> {
        let case = case();
        let crowd = Crowd::new(2, 2, 1, &case)?;
        let addresses = crowd.addresses();
        let shared = crowd.shared();
        let mut harness = case.harness()?;
        let mut consumers = Vec::new();
        harness.add_call(|router, now| case.fill(router, &addresses, 2, &mut consumers, now));
        harness.with_router(|router, now| {
            for consumer in consumers {
                let _ = router.set_consumer_paused(consumer, false, now);
            }
        });
        add_silent(&mut harness, silent);
        let thread = crowd.start(harness.local(), CPUS[1]);
        Ok(Live {
            harness,
            shared,
            thread,
        })
    }

    /// CPU microseconds per round of one slice.
    fn slice(&mut self) -> Outcome<f64> {
        self.shared.sending.store(true, Relaxed);
        self.harness.run_until(Instant::now() + SLICE / 4)?;
        let before = (thread_cpu(), self.harness.rounds());
        self.harness.run_until(Instant::now() + SLICE)?;
        let (cpu, rounds) = (thread_cpu() - before.0, self.harness.rounds() - before.1);
        self.shared.sending.store(false, Relaxed);
        Ok(micros(cpu) / rounds.max(1) as f64)
    }

    fn end(self) {
        self.shared.stop.store(true, Relaxed);
        let _ = self.thread.join();
    }
}

fn add_silent(harness: &mut Harness, calls: usize) {
    for call in 0..calls {
        // The address is unused, and nothing is sent to it.
        let address = |client: u8| {
            let [_, _, high, low] = (call as u32).to_be_bytes();
            SocketAddr::from(([127, 1 + client, high, low], 9))
        };
        harness.add_call(|router, now| {
            case().fill(router, &[address(0), address(1)], 2, &mut Vec::new(), now)
        });
    }
}

fn wakes() -> Outcome<(f64, f64)> {
    let (mut alone, mut beside) = (Live::new(0)?, Live::new(MANY)?);
    alone.harness.run_until(Instant::now() + SETTLING)?;
    beside.harness.run_until(Instant::now() + SETTLING)?;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..SLICES {
        few.push(alone.slice()?);
        many.push(beside.slice()?);
    }
    alone.end();
    beside.end();
    Ok((median(few), median(many)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn silence() -> Outcome<f64> {
    let mut harness = case().harness()?;
    add_silent(&mut harness, SILENT);
    harness.run_until(Instant::now() + SETTLING)?;
    let (start, before) = (Instant::now(), harness.rounds());
    harness.run_until(start + 2 * SETTLING)?;
    Ok((harness.rounds() - before) as f64 / start.elapsed().as_secs_f64())
}

struct Storm {
    rounds: usize,
    median: Duration,
    longest: Duration,
}

fn storm() -> Outcome<Storm> {
    let mut harness = case().harness()?;
    for id in 0..STORM {
        let router = RouterId(id / 4);
        let command = match id % 4 {
            0 => Command::CreateRouter { router },
            3 => Command::Dump { router },
            n => Command::CreateTransport(CreateTransport {
                router,
                transport: TransportId(n),
                udp: true,
                tcp: true,
                max_incoming_bps: None,
                padding: false,
            }),
        };
        harness.request(Request { id, command })?;
    }
    let mut rounds = Vec::new();
    while harness.requests() < STORM {
        let before = thread_cpu();
        harness.round()?;
        rounds.push(thread_cpu() - before);
    }
    rounds.sort_unstable();
    Ok(Storm {
        rounds: rounds.len(),
        median: rounds[rounds.len() / 2],
        longest: rounds[rounds.len() - 1],
    })
}
