//! DTLS: authenticates the peer and yields the SRTP keys.
//!
//! # Job
//! Adapts the crate `dimpl` to browsers and aiortc: versions, roles, fingerprints with any hash, first flights in
//! several datagrams. Encrypting media belongs to `srtp`.
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

/// Which side starts the DTLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// The other side chooses.
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
    /// Keys are agreed and the certificate matches its fingerprint.
    Connected,
    /// Failed; `LinkEvent::Failed` has the reason.
    Failed,
    /// Closed by us or by the peer's close_notify.
    Closed,
}

/// The negotiated DTLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsVersion {
    /// RFC 6347.
    V1_2,
    /// RFC 9147.
    V1_3,
}
