//! RTP packets: header views and writers, header extensions, sequence arithmetic, payload inspection.
//!
//! # Job
//! Reads what an SFU needs of a packet without copying it, and writes headers into buffers handed in.
//! What to forward, and with which numbers, belongs to `router`.
//!
//! # Left out
//! CSRC lists are skipped on reading and never written: the SFU mixes nothing.
//!
//! RFC 3550 §5 (RTP), RFC 8285 (header extensions).

pub mod extension;
pub mod header;
pub mod payload;
pub mod seq;

pub use extension::{ExtensionMap, ExtensionUri};
pub use header::{ExtensionForm, Extensions, HeaderFields, HeaderWriter, RtpHeader};
