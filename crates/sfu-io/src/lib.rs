//! Sockets and the kernel: batched UDP with segmentation offload, framed TCP, polling, clocks, threads.
//!
//! # Job
//! The only crate of the workspace with `unsafe`; every block carries a SAFETY note. It moves bytes and
//! knows nothing of RTP, ICE or calls.
//!
//! | need | type |
//! | --- | --- |
//! | a UDP port with large buffers, GRO, drop counter | [`UdpSocket`] |
//! | receive many datagrams with one call | [`RecvBatch`] |
//! | send trains of datagrams per destination | [`SendBatch`] |
//! | a TCP port and RFC 4571 framed connections | [`listen_tcp`], [`FramedStream`] |
//! | wait for several of them | [`Poller`], [`EventFd`] |
//! | CPU clocks, sleeping, pinning | [`clock`], [`thread`] |
//! | what this kernel can do | [`probe`] |
//! | cache lines prefetched before they are needed | [`prefetch`] |
//!
//! # Example
//! ```
//! use meeshy_sfu_io::{RecvBatch, SendBatch, UdpOptions, UdpSocket};
//!
//! let receiver = UdpSocket::bind("127.0.0.1:0".parse()?, &UdpOptions::default())?;
//! let sender = UdpSocket::bind("127.0.0.1:0".parse()?, &UdpOptions::default())?;
//!
//! let mut out = SendBatch::new();
//! for word in [b"one", b"two"] {
//!     out.space(3).copy_from_slice(word);
//!     out.commit(0, receiver.local_addr(), 3); // same place, same size: one train
//! }
//! out.flush(&[&sender]);
//!
//! let mut batch = RecvBatch::new(64);
//! let mut seen = Vec::new();
//! while seen.len() < 2 {
//!     for index in 0..batch.recv(&receiver)? {
//!         let message = batch.message(index);
//!         assert_eq!(message.remote, sender.local_addr());
//!         seen.extend(message.segments().map(|datagram| datagram.to_vec()));
//!     }
//! }
//! assert_eq!(seen, [b"one", b"two"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Linux only.
#![deny(unsafe_op_in_unsafe_fn)]

mod address;
mod bind;
mod cache;
pub mod clock;
mod delays;
mod frames;
mod interfaces;
mod poll;
pub mod probe;
mod recv;
#[cfg(test)]
#[path = "../../fuzz/src/run.rs"]
mod run;
mod send;
mod tcp;
pub mod thread;
mod udp;

pub use bind::BindError;
pub use cache::prefetch;
pub use delays::{DELAY_BOUNDS_US, Delays};
pub use frames::MAX_FRAME;
pub use interfaces::{Interface, interfaces};
pub use poll::{EventFd, Interest, PollEvent, Poller};
pub use recv::{Received, RecvBatch};
pub use send::{MARKS, MAX_DATAGRAM, SendBatch, SendCounters, TrainShape};
pub use tcp::{FramedStream, WRITE_LIMIT, listen_tcp};
pub use udp::{UdpOptions, UdpSocket};
