//! Failures of a link and refused operations: cause and remedy.

use std::fmt;

use crate::dtls::DtlsFailure;
use crate::ice::{CONSENT_TIMEOUT, IceError};

/// Why a link failed. `Display` names the cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFailure {
    /// Client side: no check was answered for the consent time. A server's link waits instead.
    ConsentLost,
    /// Client side: no check was ever answered.
    Unreachable,
    /// Client side: the ICE parameters cannot be used.
    Ice(IceError),
    /// The DTLS handshake failed.
    Dtls(DtlsFailure),
}

/// Why an operation on a link was refused; the link is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// `connect` was called already.
    AlreadyConnected,
    /// The list of fingerprints is empty.
    NoFingerprint,
    /// A fingerprint is not as many hexadecimal pairs as its hash has bytes.
    MalformedFingerprint,
    /// Both sides would take the same DTLS role; one of them must be active and the other passive.
    RoleConflict,
    /// The link is closed or has failed.
    Closed,
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkFailure::ConsentLost => write!(
                f,
                "the path is lost: no ICE check got through for {} s; the other side is gone or its network \
                 changed: restart ICE or join again",
                CONSENT_TIMEOUT.as_secs()
            ),
            LinkFailure::Unreachable => f.write_str(
                "no ICE check was answered; check that the announced address is right and that the port is \
                 open for this protocol",
            ),
            LinkFailure::Ice(error) => write!(f, "{error}"),
            LinkFailure::Dtls(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for LinkFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LinkFailure::Ice(error) => Some(error),
            LinkFailure::Dtls(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkError::AlreadyConnected => "connect was called before; a transport is connected once",
            LinkError::NoFingerprint => "no fingerprint of the peer's certificate was given; give at least one",
            LinkError::MalformedFingerprint => {
                "a fingerprint must be as many hexadecimal pairs, with colons between them, as its hash has bytes"
            }
            LinkError::RoleConflict => "both sides want the same DTLS role; one must be client, the other server",
            LinkError::Closed => "the transport is closed; create another one",
        })
    }
}

impl std::error::Error for LinkError {}
