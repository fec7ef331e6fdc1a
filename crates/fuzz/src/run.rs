//! Running a target on stable Rust: so many inputs, repeatable from a seed, with the speed at the end.
//!
//! # Job
//! Included by the tests of each crate that fuzzes what is its own. `MEESHY_TEST_FUZZ_INPUTS` sets the number of
//! inputs, as `make fuzz` does; `MEESHY_TEST_SEED` repeats a run.
#![allow(dead_code, reason = "each crate uses its part")]
#![allow(
    clippy::print_stdout,
    reason = "seed and speed are what the run is for"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[path = "mutation.rs"]
mod mutation;
pub(crate) use mutation::Mutation;

/// The seed of this run, printed.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("MEESHY_TEST_SEED").ok();
    let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_micros() as u64
    });
    println!("MEESHY_TEST_SEED={seed}");
    seed
}

/// How many inputs to run: `short`, or what `make fuzz` asks for, divided by what one of these costs.
pub(crate) fn inputs(short: usize, cost: usize) -> usize {
    let wanted = std::env::var("MEESHY_TEST_FUZZ_INPUTS").ok();
    let wanted = wanted.and_then(|count| count.parse::<usize>().ok());
    wanted.map_or(short, |count| (count / cost).max(1))
}

/// Runs `act` on as many mutations and prints how fast.
pub(crate) fn fuzz(name: &str, short: usize, cost: usize, mut act: impl FnMut(&mut Mutation)) {
    let mut mutation = Mutation::new(seed());
    let (count, began) = (inputs(short, cost), Instant::now());
    for _ in 0..count {
        act(&mut mutation);
    }
    print_speed(name, count, began);
}

/// Prints how fast a target ran.
pub(crate) fn print_speed(name: &str, count: usize, began: Instant) {
    let per_second = count as f64 / began.elapsed().as_secs_f64().max(1e-9);
    println!("{name:<24}{count:>10} inputs {per_second:>12.0} inputs/s");
}
