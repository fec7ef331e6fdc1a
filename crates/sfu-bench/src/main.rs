//! CPU time per forwarded packet: our whole path against the raw limit, interleaved in one run.
//!
//! # Job
//! For each case, alternates slices on one pinned thread and takes medians:
//! - **own**: the worker's loop forwards real SRTP over loopback;
//! - **kernel**: the very trains recorded from it (same sizes, destinations, lengths), sent and nothing else;
//! - **crypto**: the same packets sealed with the same keys and nothing else.
//!
//! The last two at the times of the first, and once more in a loop without a pause. A second pinned thread generates
//! the media and drains the receivers in all of them. CPU time is the thread's clock, so the load of others disturbs
//! the caches but is not counted.
//!
//! `idle` alone (`meeshy-sfu-bench idle`) and after all cases: what calls cost in which nothing happens.
//!
//! `--quick` takes a bit over a minute instead of five and is for trends only.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

mod call;
mod case;
mod crowd;
mod idle;
mod limit;
mod measure;
mod report;

use std::process::ExitCode;

use case::Case;

/// Names what is measured with calls in which nothing happens.
const IDLE: &str = "idle";

fn main() -> ExitCode {
    let quick = std::env::args().any(|a| a == "--quick");
    let only = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build, whose figures mean nothing: cargo run --release");
        return ExitCode::from(2);
    }
    let mut results = Vec::new();
    for case in chosen(only.as_deref()) {
        match case.measure(quick) {
            Ok(result) => {
                report::print_row(results.is_empty(), &result);
                results.push(result);
            }
            Err(error) => {
                eprintln!("{}: {error}", case.name());
                return ExitCode::FAILURE;
            }
        }
    }
    let idle = match only.as_deref().is_none_or(|only| only == IDLE) {
        true => match idle::measure() {
            Ok(figures) => Some(figures),
            Err(error) => {
                eprintln!("{IDLE}: {error}");
                return ExitCode::FAILURE;
            }
        },
        false => None,
    };
    match report::finish(&results, idle.as_ref(), quick) {
        Ok(path) => {
            println!("\nwritten to {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot write the results: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The case of this name, else those whose names contain it.
fn chosen(only: Option<&str>) -> Vec<Case> {
    let mut cases = Case::all();
    let Some(only) = only else { return cases };
    let exact = cases.iter().any(|case| case.name() == only);
    cases.retain(|case| case.name() == only || !exact && case.name().contains(only));
    cases
}
