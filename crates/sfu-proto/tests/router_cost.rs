//! The cost of a forwarded packet, without sockets: run by hand in a release build.
//!
//! `cargo test --release -p meeshy-sfu-proto --test router_cost -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod router_call;
mod router_mesh;

use std::time::Duration;

use meeshy_sfu_proto::srtp::SrtpProfile;
use router_call::Call;
use router_mesh::Mesh;

/// Nanoseconds this thread has run, as Linux counts them.
fn thread_cpu_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "measures; for release builds"]
fn a_forwarded_packet_in_a_mesh_of_fifty() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80] {
        for padding in [false, true] {
            let time = Duration::from_secs(3);
            let mut mesh = Mesh::new(Call::with_profile(profile), 50, time, padding, false);
            let window = Duration::from_millis(2);
            mesh.run_until(Duration::from_secs(1), window);
            let sent = mesh.arena.datagrams;
            let begin = thread_cpu_ns();
            mesh.run_until(time, window);
            let spent = thread_cpu_ns() - begin;
            let forwarded = mesh.arena.datagrams - sent;
            println!(
                "{} padding={padding}: {forwarded} packets, {} ns each",
                profile.name(),
                spent / forwarded
            );
        }
    }
}
