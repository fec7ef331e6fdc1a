//! The table on the terminal and the JSON in `bench-results/`.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use meeshy_sfu_proto::srtp::SrtpProfile;
use serde_json::{Value, json};

use crate::case::{Receivers, Sizes};
use crate::measure::Figures;

/// What the product promises of the mesh with segmentation offload.
const RATIO_TARGET: f64 = 1.25;
const USER_TARGET_NS: f64 = 300.0;
/// What sealing the mesh's packets with AES-GCM costs on the core that the target was set for. One that is slower,
/// or shared by guests of the same host, needs more for everything.
const REFERENCE_CRYPTO_NS: f64 = 121.0;
/// Load average above which others disturb; the bench itself makes about one.
const BUSY: f64 = 1.5;

pub(crate) fn print_row(first: bool, f: &Figures) {
    if first {
        if let Some(load) = load_average().filter(|load| *load > BUSY) {
            println!(
                "This machine is busy (load average {load}): caches are shared and wake-ups late, \
                 so expect worse figures and other trains than on a quiet one."
            );
        }
        println!("CPU ns per forwarded packet, medians; 2 ms window, loopback");
        println!(
            "{:<38}{:>7}{:>8}{:>8}{:>8}{:>6}{:>8}{:>8}{:>7}{:>7}{:>8}{:>6}{:>8}",
            "case",
            "own",
            "kernel",
            "crypto",
            "ratio",
            "hot",
            "user",
            "at ref",
            "train",
            "load",
            "kpkt/s",
            "lost",
            "slices"
        );
    }
    println!(
        "{:<38}{:>7.0}{:>8.0}{:>8.0}{:>8.2}{:>6.2}{:>8.0}{:>8}{:>7.2}{:>6.0}%{:>8.1}{:>6}{:>8}{}",
        f.case.name(),
        f.own,
        f.kernel,
        f.crypto,
        f.ratio,
        f.hot_ratio,
        f.user,
        user_at_reference(f).map_or_else(|| "-".into(), |user| format!("{user:.0}")),
        f.train,
        f.load * 100.0,
        f.packets_per_s / 1000.0,
        f.lost,
        format!("{}/{}", f.slices.len(), f.slices.len() + f.unsteady),
        verdict(f)
    );
}

/// Writes everything and gives the path.
pub(crate) fn finish(
    results: &[Figures],
    idle: Option<&Value>,
    quick: bool,
) -> io::Result<PathBuf> {
    if !results.is_empty() {
        explain();
    }
    let directory = PathBuf::from("bench-results");
    std::fs::create_dir_all(&directory)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let document = json!({
        "schema": 3,
        "unix_time": now,
        "quick": quick,
        "load_average": load_average(),
        "window_us": 2000,
        "cpu": cpu_model(),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "idle": idle,
        "cases": results.iter().map(to_json).collect::<Vec<Value>>(),
    });
    let path = directory.join(format!("bench-{now}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&document)?)?;
    Ok(path)
}

fn to_json(f: &Figures) -> Value {
    json!({
        "name": f.case.name(),
        "mesh": f.case.mesh,
        "profile": if f.case.profile == SrtpProfile::Aes128CmSha1_80 { "AES_CM_128_HMAC_SHA1_80" } else { "AEAD_AES_128_GCM" },
        "gso": f.case.gso,
        "sizes": f.case.sizes.name(),
        "receivers": f.case.receivers.name(),
        "own_ns": f.own,
        "kernel_ns": f.kernel,
        "crypto_ns": f.crypto,
        "ratio": f.ratio,
        "hot_ratio": f.hot_ratio,
        "hot_crypto_ns": f.hot_crypto,
        "user_ns": f.user,
        "user_at_reference_ns": user_at_reference(f),
        "unsteady_slices": f.unsteady,
        "mean_train": f.train,
        "load": f.load,
        "packets_per_s": f.packets_per_s,
        "forwarded": f.forwarded,
        "lost": f.lost,
        "drops": f.drops.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "slices": f.slices.iter().map(|s| json!({
            "own_ns": s.own, "user_ns": s.user, "kernel_ns": s.paced.kernel, "crypto_ns": s.paced.crypto,
            "hot_kernel_ns": s.hot.kernel, "hot_crypto_ns": s.hot.crypto,
        })).collect::<Vec<_>>(),
    })
}

/// User space of an AES-GCM mesh at the speed of the reference core.
fn user_at_reference(f: &Figures) -> Option<f64> {
    let gcm = f.case.profile != SrtpProfile::Aes128CmSha1_80;
    (gcm && f.case.mesh).then(|| f.user * REFERENCE_CRYPTO_NS / f.hot_crypto)
}

/// Whether a case with a target meets it.
fn verdict(f: &Figures) -> &'static str {
    let judged = (f.case.sizes, f.case.receivers) != (Sizes::Padded, Receivers::Ordinary);
    if !f.case.mesh || !f.case.gso || !judged {
        return "";
    }
    if f.slices.len() < f.wanted / 2 {
        return "  void: others changed the speed of the core too often";
    }
    let even = f.case.sizes == Sizes::Even;
    let user = user_at_reference(f).filter(|_| even);
    if f.ratio <= RATIO_TARGET && user.is_none_or(|user| user <= USER_TARGET_NS) {
        "  ok"
    } else {
        "  over target"
    }
}

/// Over the last minute, or None where it cannot be known.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info
        .lines()
        .find(|l| l.starts_with("model name"))
        .unwrap_or_default();
    line.split(':').nth(1).unwrap_or_default().trim().to_owned()
}

fn explain() {
    println!(
        "\nratio = own / (kernel + crypto): the same trains only sent, the same packets only sealed, at the same times.\n\
         hot = the same in a loop without a pause. user = own without its send calls; at ref = that on a core which\n\
         seals these packets in {REFERENCE_CRYPTO_NS} ns. slices = those in which the core kept its speed, of all.\n\
         ordinary: receivers take single datagrams, as browsers do, so the kernel of the sender cuts the trains; the others\n\
         take trains whole (UDP_GRO), and on loopback nothing is ever cut. varied: sizes as real media has them.\n\
         Targets: mesh-50 with GSO: ratio ≤ {RATIO_TARGET}, even sizes with GCM: at ref ≤ {USER_TARGET_NS} ns."
    );
}
