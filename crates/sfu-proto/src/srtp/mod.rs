//! SRTP and SRTCP: protects what is sent and opens what is received, for one transport.
//!
//! # Job
//! One [`SrtpTx`] and one [`SrtpRx`] per transport, made from the keys of the DTLS handshake. Finding the stream of a
//! packet belongs to `router`.
//!
//! # Invariants
//! - No plaintext is returned, and no state of a stream changes, before the tag is verified.
//! - A key never uses a nonce twice: the sender of a stream owns its 48-bit index, this module owns the SRTCP index
//!   and refuses to wrap it.
//! - Key material is zeroed when dropped, here and by aws-lc.
//!
//! # Cost
//! No allocation per packet; with GCM both directions go from one buffer to another without an extra copy, so a
//! payload decrypted once is encrypted for many receivers from the same bytes.
//!
//! # Left out
//! MKI, key derivation rates other than zero, ROC carrying (RFC 4771), SRTCP without encryption, 32-bit tags;
//! see docs/assumptions.md.
//!
//! RFC 3711 (SRTP), RFC 7714 (AES-GCM), RFC 6188 (AES-256 key derivation), RFC 5764 §4.1.2 (profiles).

mod cipher;
mod kdf;
mod profile;
mod replay;
mod rx;
mod tx;

pub use profile::{MasterKey, SrtpProfile};
pub use rx::{MAX_STREAMS, SrtpRx};
pub use tx::SrtpTx;

#[cfg(test)]
mod tests;
