//! Datagrams, their sources and destinations: the types shared by I/O and protocol.
//!
//! # Job
//! Names a 5-tuple without a socket, classifies an incoming datagram by its first bytes, and describes the sink that
//! finished datagrams are written to. Parsing belongs to `ice`, `dtls`, `rtp` and `rtcp`.
//!
//! # Cost
//! `classify` reads two bytes; nothing here allocates.
//!
//! # Left out
//! ZRTP, TURN channels and QUIC of RFC 7983 are `Class::Unknown`.
//!
//! RFC 7983 (demultiplexing), RFC 5761 §4 (RTP and RTCP on one port).

use std::net::SocketAddr;
use std::time::Instant;

/// A socket of the worker: 0 is UDP over IPv4, 1 is UDP over IPv6, 2 and above are accepted TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u16);

impl SocketId {
    /// The worker's UDP socket for IPv4.
    pub const UDP_V4: SocketId = SocketId(0);
    /// The worker's UDP socket for IPv6.
    pub const UDP_V6: SocketId = SocketId(1);

    /// Returns the UDP socket that reaches `address`.
    pub fn udp_for(address: &SocketAddr) -> SocketId {
        if address.is_ipv4() {
            SocketId::UDP_V4
        } else {
            SocketId::UDP_V6
        }
    }

    /// Returns whether this is a TCP connection.
    pub fn is_tcp(self) -> bool {
        self.0 >= 2
    }
}

/// A 5-tuple: our socket and the remote address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The socket the datagram was received or is sent by.
    pub socket: SocketId,
    /// The remote address.
    pub remote: SocketAddr,
}

/// Class of a datagram by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A STUN message.
    Stun,
    /// A DTLS record.
    Dtls,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// Anything else; to be dropped.
    Unknown,
}

/// Classifies a datagram by its first bytes (RFC 7983 §7); RTCP by its packet type (RFC 5761 §4).
pub fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [0..=3, ..] if datagram.len() >= STUN_HEADER => Class::Stun,
        [20..=63, ..] if datagram.len() >= DTLS_HEADER_MIN => Class::Dtls,
        // The marker bit and payload types 64..=95 together are RTCP's packet types 192..=223.
        [128..=191, 192..=223, ..] if datagram.len() >= RTCP_HEADER => Class::Rtcp,
        [128..=191, _, ..] if datagram.len() >= RTP_HEADER => Class::Rtp,
        _ => Class::Unknown,
    }
}

/// Destination of finished datagrams: the worker's send arena, a list in tests.
pub trait Sink {
    /// Returns space for one datagram of at most `max` (up to 2048) bytes.
    fn space(&mut self, max: usize) -> &mut [u8];

    /// Sends the first `len` bytes of the last `space` as a datagram to `to`.
    ///
    /// The same `to` and a `len` no greater than the train's segment size extend the current train.
    fn commit(&mut self, to: &Destination, len: usize);

    /// Ends the current train, so that the next datagram starts another one.
    fn end_train(&mut self);

    /// What is committed next, up to `end_train`, forwards packets of a kind (0 is audio, 1 is video) of which the
    /// earliest arrived then. An implementation may measure how long they took, or do nothing.
    #[inline]
    fn mark_arrival(&mut self, to: &Destination, kind: usize, arrived: Instant) {
        let _ = (to, kind, arrived);
    }

    /// The first `len` bytes of `soon`, or all if it has fewer, will be read shortly. An implementation may prefetch
    /// their cache lines, which this crate cannot do without unsafe code, or do nothing.
    #[inline]
    fn prefetch<T: ?Sized>(&self, soon: &T, len: usize) {
        let _ = (soon, len);
    }
}

const STUN_HEADER: usize = 20;
/// The unified header of DTLS 1.3 may omit everything but two bytes of flags and sequence number.
const DTLS_HEADER_MIN: usize = 2;
const RTCP_HEADER: usize = 8;
const RTP_HEADER: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(first: u8, second: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[0] = first;
        if len > 1 {
            bytes[1] = second;
        }
        bytes
    }

    #[test]
    fn first_byte_sorts_as_in_rfc_7983() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Rtp,
                _ => Class::Unknown,
            };
            assert_eq!(classify(&datagram(first, 96, 40)), expected, "{first}");
        }
    }

    #[test]
    fn rtcp_packet_types_are_told_from_payload_types_with_marker() {
        for second in 0..=255u8 {
            let expected = if (192..=223).contains(&second) {
                Class::Rtcp
            } else {
                Class::Rtp
            };
            assert_eq!(classify(&datagram(0x80, second, 40)), expected, "{second}");
        }
    }

    #[test]
    fn what_is_too_short_for_its_header_is_unknown() {
        assert_eq!(classify(&[]), Class::Unknown);
        assert_eq!(classify(&datagram(0, 1, 19)), Class::Unknown);
        assert_eq!(classify(&datagram(22, 254, 1)), Class::Unknown);
        assert_eq!(classify(&datagram(0x80, 200, 7)), Class::Unknown);
        assert_eq!(classify(&datagram(0x80, 96, 11)), Class::Unknown);
    }
}
