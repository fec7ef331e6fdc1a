//! What operators see of a worker: each metric with its name, type and meaning, and where its values are read.
//!
//! # Job
//! Declares the metrics that are read from a snapshot, adds those that routers count (`router::Counters`) and the worker itself (`totals::Counted`), and makes
//! the series of both once a second. Python shows whatever is declared, with the label `worker`; the page on metrics
//! is made of it, too.
//!
//! # Invariants
//! - Names follow Prometheus, without the prefix and the `_total` of counters.
//! - Values of labels are known when the worker is built.

use meeshy_sfu_io::{DELAY_BOUNDS_US, Delays, MARKS};
use meeshy_sfu_proto::router::Counters;
use serde::Serialize;

use crate::event::{Series, Stats};
use crate::totals::Counted;

/// A metric of a worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Family {
    /// Name, without prefix and `_total`.
    pub name: &'static str,
    /// What kind of values.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it is, a sentence.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets, in its unit; a last bucket has no bound.
    pub bounds: Vec<f64>,
}

/// Types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of values by size.
    Histogram,
}

/// A metric that a snapshot has.
struct Declared {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    read: fn(&Stats) -> f64,
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Stats) -> f64) -> Declared {
    let kind = Kind::Counter;
    Declared {
        name,
        kind,
        help,
        read,
    }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Stats) -> f64) -> Declared {
    let kind = Kind::Gauge;
    Declared {
        name,
        kind,
        help,
        read,
    }
}

const DECLARED: &[Declared] = &[
    counter("cpu_seconds", "CPU time of the worker's thread.", |s| {
        s.cpu_ns as f64 / 1e9
    }),
    gauge(
        "load",
        "Share of one core used in the last second, 0 to 1; a call cannot have more than 1.",
        |s| s.load,
    ),
    counter("packets_in", "Datagrams received.", |s| s.packets_in as f64),
    counter("packets_out", "Datagrams sent.", |s| s.packets_out as f64),
    counter("bytes_in", "Bytes in the datagrams received.", |s| {
        s.bytes_in as f64
    }),
    counter("bytes_out", "Bytes in the datagrams sent.", |s| {
        s.bytes_out as f64
    }),
    counter(
        "forwarded",
        "RTP packets forwarded, without retransmissions.",
        |s| s.forwarded as f64,
    ),
    counter(
        "trains_out",
        "Buffers handed to the kernel; each holds one or more datagrams.",
        |s| s.trains_out as f64,
    ),
    gauge(
        "mean_train",
        "Datagrams per buffer in the last second.",
        |s| s.mean_train,
    ),
    gauge(
        "window_us",
        "How long packets are gathered before they are sent, in microseconds.",
        |s| f64::from(s.window_us),
    ),
    gauge("rings_bytes", "Memory of the retransmission rings.", |s| {
        s.rings_bytes as f64
    }),
    gauge("tcp_connections", "Clients connected by TCP.", |s| {
        s.tcp_connections as f64
    }),
    counter(
        "events_dropped",
        "Reports of the worker that were lost because its queue was full.",
        |s| s.events_dropped as f64,
    ),
];

const DROPS: (&str, &[&str], &str) = (
    "drops",
    &["reason"],
    "Datagrams and packets not used, by reason.",
);
const DELAY: (&str, &[&str], &str) = (
    "forwarding_delay_seconds",
    &["kind"],
    "Time of forwarded packets inside the server, by kind: from the kernel's receive to the send call, of the oldest \
     packet that leaves for one client in one go. Not of clients connected by TCP.",
);
const KINDS: [&str; MARKS] = ["audio", "video"];

/// Returns all metrics, in the order they are shown.
pub fn families() -> Vec<Family> {
    let family = |(name, labels, help), kind| Family {
        name,
        kind,
        labels,
        help,
        bounds: Vec::new(),
    };
    let declared = DECLARED
        .iter()
        .map(|one| family((one.name, &[] as &[&str], one.help), one.kind));
    let counted = (Counted::FAMILIES.iter())
        .chain(Counters::FAMILIES)
        .map(|one| family((one.name, one.labels, one.help), Kind::Counter));
    let delay = Family {
        bounds: DELAY_BOUNDS_US.map(|us| us as f64 / 1e6).to_vec(),
        ..family(DELAY, Kind::Histogram)
    };
    declared
        .chain([family(DROPS, Kind::Counter)])
        .chain(counted)
        .chain([delay])
        .collect()
}

/// Returns the values of all metrics.
pub(crate) fn series(
    stats: &Stats,
    counted: &Counted,
    routed: &Counters,
    delays: &[Delays; MARKS],
) -> Vec<Series> {
    let one = |metric: &str, labels: &[&str], value| Series {
        metric: metric.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        value,
        buckets: Vec::new(),
    };
    let mut all: Vec<Series> = DECLARED
        .iter()
        .map(|declared| one(declared.name, &[], (declared.read)(stats)))
        .collect();
    for (reason, count) in &stats.drops {
        all.push(one(DROPS.0, &[reason], *count as f64));
    }
    let mut add =
        |metric: &str, labels: &[&str], count| all.push(one(metric, labels, count as f64));
    counted.visit(&mut add);
    routed.visit(&mut add);
    for (kind, delays) in KINDS.iter().zip(delays) {
        all.push(Series {
            buckets: delays.counts.to_vec(),
            ..one(DELAY.0, &[kind], delays.sum.as_secs_f64())
        });
    }
    all
}
