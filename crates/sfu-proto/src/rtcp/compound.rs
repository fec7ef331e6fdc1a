//! A compound packet: the RTCP packets of one datagram.
//!
//! # Invariants
//! - The first malformed packet ends the iteration with its error; packets before it are valid.
//!
//! RFC 3550 §6.1, RFC 5506.

use super::header::{self, RawPacket};
use super::{Bye, Fir, Nack, Pli, ReceiverReport, Remb, Sdes, SenderReport, TransportCc, Xr};
use crate::error::RtcpError;

/// One packet of a compound.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// What a sender sent, and how it receives others (RFC 3550 §6.4.1).
    SenderReport(SenderReport<'a>),
    /// How a receiver receives (RFC 3550 §6.4.2).
    ReceiverReport(ReceiverReport<'a>),
    /// Names of sources (RFC 3550 §6.5).
    Sdes(Sdes<'a>),
    /// Sources that end (RFC 3550 §6.6).
    Bye(Bye<'a>),
    /// Packets that are missing (RFC 4585 §6.2.1).
    Nack(Nack<'a>),
    /// A picture was lost; send a key frame (RFC 4585 §6.3.1).
    Pli(Pli),
    /// Send a key frame (RFC 5104 §4.3.1).
    Fir(Fir<'a>),
    /// A receiver's bandwidth estimate.
    Remb(Remb<'a>),
    /// Arrival times of all packets of a transport.
    TransportCc(TransportCc<'a>),
    /// Extended report with round-trip blocks (RFC 3611).
    Xr(Xr<'a>),
    /// A well-framed packet of a type or format not used here.
    Other {
        /// 192 to 223.
        packet_type: u8,
        /// Count or feedback format.
        count: u8,
    },
}

impl<'a> Packet<'a> {
    fn interpret(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        Ok(match (raw.packet_type, raw.count) {
            (header::SENDER_REPORT, _) => Self::SenderReport(SenderReport::parse(raw)?),
            (header::RECEIVER_REPORT, _) => Self::ReceiverReport(ReceiverReport::parse(raw)?),
            (header::SOURCE_DESCRIPTION, _) => Self::Sdes(Sdes::parse(raw)?),
            (header::BYE, _) => Self::Bye(Bye::parse(raw)?),
            (header::TRANSPORT_FEEDBACK, super::nack::FORMAT) => Self::Nack(Nack::parse(raw)?),
            (header::TRANSPORT_FEEDBACK, super::twcc::FORMAT) => {
                Self::TransportCc(TransportCc::parse(raw)?)
            }
            (header::PAYLOAD_FEEDBACK, super::pli::FORMAT) => Self::Pli(Pli::parse(raw)?),
            (header::PAYLOAD_FEEDBACK, super::fir::FORMAT) => Self::Fir(Fir::parse(raw)?),
            (header::PAYLOAD_FEEDBACK, super::remb::FORMAT) if Remb::is_remb(raw) => {
                Self::Remb(Remb::parse(raw)?)
            }
            (header::EXTENDED_REPORT, _) => Self::Xr(Xr::parse(raw)?),
            (packet_type, count) => Self::Other { packet_type, count },
        })
    }
}

/// Iterates over the packets of a decrypted datagram.
///
/// ```
/// use meeshy_sfu_proto::rtcp::{Packet, Pli, packets};
///
/// let mut out = [0; 64];
/// let len = Pli { sender_ssrc: 1, media_ssrc: 2 }.write(&mut out).expect("room");
/// assert!(matches!(packets(&out[..len]).next(), Some(Ok(Packet::Pli(pli))) if pli.media_ssrc == 2));
/// ```
#[must_use]
pub const fn packets(datagram: &[u8]) -> Compound<'_> {
    Compound { rest: datagram }
}

/// Iterator over the packets of a datagram; see [`packets`].
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = RawPacket::split(self.rest).and_then(|(raw, rest)| {
            self.rest = rest;
            Packet::interpret(raw)
        });
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

impl std::iter::FusedIterator for Compound<'_> {}
