//! ICE: which address reaches the peer, and whether it still consents to media.
//!
//! # Job
//! `lite` answers the checks of a full agent (server side); `full` sends checks (bots). Both use the STUN codec of
//! the crate `is`. What is sent over the path belongs to `link`.
//!
//! RFC 8445 (ICE), RFC 8489 (STUN), RFC 7675 (consent), RFC 6544 (ICE over TCP).

mod full;
mod lite;
mod stun;

use std::net::IpAddr;

use crate::net::Destination;

pub use full::FullAgent;
pub use lite::{CONSENT_TIMEOUT, LiteAgent, MAX_REPLIES, MAX_TUPLES, STALE_AFTER};
pub(crate) use stun::username_of;

/// Credentials of one side of an ICE session, as exchanged by signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceParameters {
    /// 4 to 256 characters of letters, digits, `+` and `/`.
    pub username_fragment: String,
    /// 22 to 256 characters of letters, digits, `+` and `/`.
    pub password: String,
    /// Whether this side only answers checks.
    pub ice_lite: bool,
}

/// Transport protocol of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IceProtocol {
    /// Datagrams.
    Udp,
    /// A connection with two-byte length framing (RFC 4571).
    Tcp,
}

/// Which side opens the connection of a TCP candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpType {
    /// Waits for the other side to connect; a server needs no other kind.
    Passive,
}

/// A host candidate: an address of this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCandidate {
    /// Equal for candidates of one base address and protocol.
    pub foundation: String,
    /// Candidates of higher priority are tried first.
    pub priority: u32,
    /// Address as announced to the other side.
    pub address: IpAddr,
    /// Port as announced to the other side.
    pub port: u16,
    /// UDP or TCP.
    pub protocol: IceProtocol,
    /// Present for TCP only.
    pub tcp_type: Option<TcpType>,
}

/// State of the path, in mediasoup's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IceState {
    /// No valid check yet.
    New,
    /// A check was valid: there is a path.
    Connected,
    /// The controlling side has nominated a path.
    Completed,
    /// No check or answer for the consent time.
    Disconnected,
    /// Closed by this side.
    Closed,
}

/// An event for the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceEvent {
    /// The state changed.
    State(IceState),
    /// The destination of media from now on.
    Selected(Destination),
    /// The credentials of a restart are in use.
    Restarted,
    /// The consent of an established path expired.
    ConsentLost,
    /// No check was ever answered.
    Unreachable,
    /// A check was refused.
    Refused(IceRefusal),
}

/// Why a check with a username fragment of ours was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRefusal {
    /// Its MESSAGE-INTEGRITY was not made with our password.
    WrongPassword,
    /// The client claims the controlled role, which is ours.
    RoleConflict,
}

/// Why ICE parameters cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IceError {
    /// The username fragment is not 4 to 63 ICE characters.
    UsernameFragment,
    /// The password is not 22 to 256 ICE characters.
    Password,
    /// The local address is unspecified, multicast or link-local.
    LocalAddress,
}

impl std::fmt::Display for IceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            IceError::UsernameFragment => {
                "the ICE username fragment must be 4 to 63 letters, digits, '+' or '/'"
            }
            IceError::Password => "the ICE password must be 22 to 256 letters, digits, '+' or '/'",
            IceError::LocalAddress => {
                "checks cannot be sent from this local address; bind to a concrete one"
            }
        })
    }
}

impl std::error::Error for IceError {}
