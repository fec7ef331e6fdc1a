//! RTCP packets: typed views of received ones, and writers for those to send.
//!
//! # Job
//! One file per packet type; [`compound::packets`] iterates over a decrypted datagram. What a report means for a
//! stream, and when to send one, belongs to `router`.
//!
//! # Invariants
//! - A view exists only if all counts and lengths inside it were checked, so iterating it cannot fail.
//! - A writer writes a whole packet or nothing; compound packets are written one packet behind the other.
//!
//! # Cost
//! No allocation in either direction.
//!
//! # Left out
//! APP packets, SDES items other than CNAME, XR blocks other than RRTR and DLRR: skipped.
//!
//! RFC 3550 §6, RFC 4585, RFC 5104 (FIR), RFC 3611 (XR), RFC 5506 (reduced size: any type may come first).

pub mod bye;
pub mod compound;
pub mod fir;
mod header;
pub mod nack;
pub mod ntp;
pub mod pli;
pub mod remb;
pub mod report;
pub mod rr;
pub mod sdes;
pub mod sr;
pub mod twcc;
pub mod xr;

pub use bye::Bye;
pub use compound::{Compound, Packet, packets};
pub use fir::{Fir, FirEntry};
pub use nack::Nack;
pub use pli::Pli;
pub use remb::Remb;
pub use report::ReportBlock;
pub use rr::ReceiverReport;
pub use sdes::Sdes;
pub use sr::{SenderInfo, SenderReport};
pub use twcc::TransportCc;
pub use xr::Xr;

#[cfg(test)]
mod tests;
