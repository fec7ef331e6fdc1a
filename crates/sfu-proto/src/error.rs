//! Why a peer's packet was refused: one enum per protocol.
//!
//! Each variant says what is wrong with the bytes; the caller counts and drops. No variant carries data, so refusing
//! a hostile packet costs no allocation.

use std::error::Error;
use std::fmt;

/// Why bytes are not an RTP packet (RFC 3550 §5.1, Appendix A.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RtpError {
    /// Fewer bytes than the fixed header, the CSRC list or the extension block announces.
    Truncated,
    /// The version field is not 2.
    Version,
    /// The padding count is zero or longer than the payload.
    Padding,
}

impl fmt::Display for RtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "RTP header is longer than the packet",
            Self::Version => "RTP version is not 2",
            Self::Padding => "RTP padding count does not fit the payload",
        })
    }
}

impl Error for RtpError {}

/// Why bytes are not an RTCP packet (RFC 3550 §6.4, Appendix A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RtcpError {
    /// The length field, or the fixed part of the packet type, reaches past the end.
    Truncated,
    /// The version field is not 2.
    Version,
    /// The padding count is zero or longer than the body.
    Padding,
    /// A count or length inside the body contradicts the body's size.
    Malformed,
}

impl fmt::Display for RtcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "RTCP packet is longer than the datagram",
            Self::Version => "RTCP version is not 2",
            Self::Padding => "RTCP padding count does not fit the packet",
            Self::Malformed => "RTCP body contradicts its own counts",
        })
    }
}

impl Error for RtcpError {}

/// Why a protected packet was refused (RFC 3711 §3.3, §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SrtpError {
    /// Shorter than header, tag and (SRTCP) index together, or `out` is too small for the payload.
    TooShort,
    /// The tag does not match: forged, damaged, or protected with other keys.
    Authentication,
    /// Replayed, or older than the replay window.
    Replayed,
    /// SRTCP without the E flag; WebRTC never sends it in the clear.
    NotEncrypted,
}

impl fmt::Display for SrtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "protected packet is too short",
            Self::Authentication => "authentication tag does not match",
            Self::Replayed => "packet was received before or is too old to tell",
            Self::NotEncrypted => "SRTCP packet is not encrypted",
        })
    }
}

impl Error for SrtpError {}
