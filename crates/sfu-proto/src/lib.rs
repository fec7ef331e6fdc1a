//! Sans-I/O protocol and forwarding state of an SFU: no sockets, no clock, no threads, no Python.
#![forbid(unsafe_code)]

pub mod bwe;
pub mod dtls;
pub mod error;
pub mod ice;
pub mod link;
pub mod metrics;
pub mod net;
pub mod pacer;
pub mod router;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod timers;
