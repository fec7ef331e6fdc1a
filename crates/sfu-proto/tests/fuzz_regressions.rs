//! The fuzz targets on stable Rust: corpus and saved crashes replayed, then the corpus mutated by a seeded generator.
//!
//! What libFuzzer or a user found lies in `crates/fuzz/regressions/<target>/` and must pass for ever. A failure
//! here prints the target, the seed and the bytes; save the bytes there. `MEESHY_TEST_SEED` repeats a run.
#![expect(
    clippy::unwrap_used,
    reason = "a file that cannot be read fails its test"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use self::targets::{TARGETS, Target};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own elsewhere")]
#[allow(dead_code, reason = "what only its binaries use")]
mod targets;

#[path = "../../fuzz/src/run.rs"]
mod run;
#[path = "fuzz_regressions/seeds.rs"]
mod seeds;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(kind)
        .join(target)
}

/// The inputs saved for a target, by name; none if there is no folder.
fn saved(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder(kind, target)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

fn check(target: &Target, input: &[u8], origin: impl FnOnce() -> String) {
    if catch_unwind(|| (target.run)(input)).is_err() {
        let mut hex = String::new();
        for byte in input {
            write!(hex, "{byte:02x}").unwrap();
        }
        panic!(
            "{} breaks on {}; save to crates/fuzz/regressions/{}/ these bytes: {hex}",
            target.name,
            origin(),
            target.name
        );
    }
}

#[test]
fn every_target_has_a_corpus_and_every_folder_a_target() {
    let names: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    for kind in ["corpus", "regressions"] {
        let found: BTreeSet<String> = fs::read_dir(folder(kind, ""))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert!(
            found.is_subset(&names),
            "{kind} of no target: {:?}",
            found.difference(&names)
        );
    }
    for name in &names {
        assert!(
            !saved("corpus", name).is_empty(),
            "{name} has no corpus; run the ignored test `write_corpus`"
        );
        let binary = folder("fuzz_targets", "").join(format!("{name}.rs"));
        assert!(binary.exists(), "{name} has no binary");
    }
}

#[test]
fn corpus_and_saved_crashes_pass() {
    for target in TARGETS {
        check(target, &[], || "no bytes".to_owned());
        for kind in ["corpus", "regressions"] {
            for (name, input) in saved(kind, target.name) {
                check(target, &input, || name);
            }
        }
    }
}

#[test]
fn mutations_of_the_corpus_pass() {
    let seed = run::seed();
    for target in TARGETS {
        let inputs: Vec<Vec<u8>> = ["corpus", "regressions"]
            .into_iter()
            .flat_map(|kind| saved(kind, target.name))
            .map(|(_, input)| input)
            .collect();
        let mut mutation = run::Mutation::new(seed);
        let count = run::inputs(target.budget, target.cost);
        let began = Instant::now();
        for round in 0..count {
            let input = mutation.next(&inputs);
            check(target, &input, || {
                format!("round {round} of MEESHY_TEST_SEED={seed}")
            });
        }
        run::print_speed(target.name, count, began);
    }
}

#[test]
#[ignore = "writes crates/fuzz/corpus; run it after a change of the seeds"]
fn write_corpus() {
    for (target, name, input) in seeds::all() {
        assert!(TARGETS.iter().any(|known| known.name == target), "{target}");
        fs::create_dir_all(folder("corpus", target)).unwrap();
        fs::write(folder("corpus", target).join(name), input).unwrap();
    }
}
