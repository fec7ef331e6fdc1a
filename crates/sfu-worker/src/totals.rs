//! What the worker counts itself, and what it keeps of routers that are closed.
//!
//! # Job
//! Plain counters. `stats` makes a snapshot of them. One that only operators see is a line of `Counted`, and an addition
//! where it happens.

use std::time::Instant;

use meeshy_sfu_proto::router::{Counters, Drops, RouterStats};

meeshy_sfu_proto::counters! {
    /// Counters of a worker, by the metrics they belong to.
    pub(crate) struct Counted {
        "transport_panics", [], "Transports closed because handling their input failed." => {
            transport_panics: [],
        }
    }
}

/// What the worker counts itself.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) started: Instant,
    /// Rounds, requests done, and routers whose timer was due.
    pub(crate) rounds: u64,
    pub(crate) requests: u64,
    pub(crate) timers_run: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) unknown_class: u64,
    pub(crate) unknown_source: u64,
    pub(crate) truncated: u64,
    pub(crate) tcp_failed: u64,
    pub(crate) counted: Counted,
    /// Per UDP socket, as its kernel counter stands.
    pub(crate) kernel_drops: [u32; 2],
    /// Of routers that are closed.
    pub(crate) forwarded: u64,
    pub(crate) drops: Drops,
    pub(crate) routed: Counters,
    /// Datagrams and trains at the previous snapshot.
    pub(crate) trains_before: (u64, u64),
}

impl Totals {
    pub(crate) fn new(now: Instant) -> Totals {
        Totals {
            started: now,
            rounds: 0,
            requests: 0,
            timers_run: 0,
            packets_in: 0,
            bytes_in: 0,
            unknown_class: 0,
            unknown_source: 0,
            truncated: 0,
            tcp_failed: 0,
            counted: Counted::default(),
            kernel_drops: [0; 2],
            forwarded: 0,
            drops: Drops::default(),
            routed: Counters::default(),
            trains_before: (0, 0),
        }
    }

    /// Keeps the figures of a router that closes.
    pub(crate) fn retire(&mut self, stats: &RouterStats) {
        self.forwarded += stats.packets_out - stats.retransmitted;
        add_drops(&mut self.drops, &stats.drops);
        self.routed.add(&stats.counters);
    }
}

/// Adds the counts of one router to a sum.
pub(crate) fn add_drops(sum: &mut Drops, more: &Drops) {
    sum.unknown_class += more.unknown_class;
    sum.unknown_source += more.unknown_source;
    sum.no_keys += more.no_keys;
    sum.malformed += more.malformed;
    sum.unknown_stream += more.unknown_stream;
    sum.not_authentic += more.not_authentic;
    sum.replayed += more.replayed;
    sum.oversize += more.oversize;
    sum.late += more.late;
    sum.paused += more.paused;
    sum.unready += more.unready;
    sum.excessive += more.excessive;
}
