//! A worker: one pinned thread that owns sockets and routers.
#![forbid(unsafe_code)]

pub mod command;
pub mod event;
