//! ICE: which address reaches the other end, and may we still send there.
//!
//! # Job
//! `lite` answers the checks of a full agent (the server's side); `full` makes the checks (the side of
//! bots). Both speak STUN through the crate `is`. What is sent over the path found belongs to `link`.
//!
//! RFC 8445 (ICE), RFC 8489 (STUN), RFC 7675 (consent), RFC 6544 (ICE over TCP).

use std::net::IpAddr;

/// Credentials of one side of an ICE session, as they go over the signalling.
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
    /// Waits for the other side to connect: the only kind a server needs.
    Passive,
}

/// A host candidate: an address at which this side can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCandidate {
    /// Equal for candidates of one base address and protocol.
    pub foundation: String,
    /// Higher is tried first.
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

/// State of the path, in mediasoup's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IceState {
    /// No valid check was seen yet.
    New,
    /// A check was valid: there is a path that may be used.
    Connected,
    /// The controlling side has nominated a path.
    Completed,
    /// No check or answer for the consent time.
    Disconnected,
    /// Closed on our side.
    Closed,
}
