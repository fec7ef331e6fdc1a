//! DTLS: proves who the other end is and gives the keys of SRTP.
//!
//! # Job
//! Adapts the crate `dimpl` to what browsers and aiortc do: versions, roles, fingerprints with any
//! hash, first flights in several datagrams. Encrypting media belongs to `srtp`.
//!
//! RFC 6347 (DTLS 1.2), RFC 9147 (DTLS 1.3), RFC 5764 (DTLS-SRTP), RFC 8122 (fingerprints).

mod certificate;
mod failure;
pub mod hello;
mod keys;
mod session;

pub use certificate::{Certificate, CertificateError, Fingerprint, HashAlgorithm};
pub use failure::{DtlsFailure, HANDSHAKE_TIMEOUT};
pub use keys::SrtpKeys;
pub use session::{DtlsEvent, GRACE, Session};

/// Who starts the DTLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// Leave it to the other side.
    Auto,
    /// Sends the first ClientHello.
    Client,
    /// Waits for the ClientHello.
    Server,
}

/// State of the DTLS association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsState {
    /// Not started.
    New,
    /// Handshake under way.
    Connecting,
    /// Keys are agreed and the certificate is the announced one.
    Connected,
    /// Gave up; the reason came with `LinkEvent::Failed`.
    Failed,
    /// Closed by us or by the peer's close_notify.
    Closed,
}

/// Version of DTLS agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsVersion {
    /// RFC 6347.
    V1_2,
    /// RFC 9147.
    V1_3,
}
