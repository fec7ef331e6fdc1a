//! A worker: one pinned thread that owns sockets and routers.
//!
//! # Job
//! Drives `meeshy-sfu-proto` over `meeshy-sfu-io`: one UDP and TCP port for all transports of all its
//! routers. [`Worker`] is the handle; requests go in, events come out, both typed and serialisable.
//! Packets never leave the thread.
//!
//! # Left out
//! Calls that span several workers; ICE other than lite.
#![forbid(unsafe_code)]

mod call;
pub mod command;
mod command_error;
mod config;
mod connections;
mod control;
mod convert;
mod core;
mod demux;
pub mod event;
mod faults;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
#[path = "../../fuzz/src/run.rs"]
mod fuzzing;
#[cfg(any(test, feature = "bench"))]
pub mod harness;
pub mod metrics;
mod outbox;
mod panics;
mod queue;
mod report;
mod run;
mod share;
mod sockets;
mod stats;
#[cfg(any(test, feature = "bench"))]
mod test_media;
mod totals;
mod unvalidated;
mod window;
mod worker;

pub use command::{
    Command, CommandError, ConsumerId, ErrorCode, ProducerId, Request, RouterId, TransportId,
};
pub use config::{StartError, WorkerConfig};
pub use event::{Event, Reply, Stats};
pub use faults::{Fault, FaultAct, FaultKind, FaultLog, FaultReach, MAX_ACTS};
pub use queue::{MAX_OUTSTANDING, RequestError};
pub use worker::Worker;
