//! One endpoint of a call: its path, its keys, its producers and consumers, and its pending packets.
//!
//! # Job
//! Combines `Link` (ICE and DTLS) with the SRTP contexts, finds the stream of a packet, and keeps the pending list
//! and the deadlines. What concerns several transports belongs to `router`.
//!
//! # Invariants
//! - Media is accepted from validated sources only, and sent only once there are keys and a destination.
//! - `due` is never later than the earliest deadline of the transport and of its streams.
//!
//! # Cost
//! Finding a stream is a scan over the transport's few SSRCs.
//!
//! # Left out
//! Several destinations at once: media goes to the selected tuple.
//!
//! RFC 8843 §9.2 (association of packets), RFC 5761.

pub(crate) mod arrivals;
pub(crate) mod early;

use std::mem::offset_of;
use std::time::Instant;

use super::clock::{Micros, NEVER};
use super::config::{Endpoint, TransportConfig};
use super::event::TransportStats;
use super::mapping::MinFilter;
use super::producer::IdTable;
use crate::bwe::Unlimited;
use crate::bwe::arrival::ArrivalEstimator;
use crate::link::{IceState, Link, LinkEvent, SrtpKeys};
use crate::net::{Class, Destination, Sink};
use crate::pacer::Immediate;
use crate::rtp::extension::transport_sequence;
use crate::rtp::{ExtensionUri, RtpHeader};
use crate::srtp::{SrtpRx, SrtpTx};
use arrivals::Arrivals;
use early::Early;

/// Packets that may be pending for one flush; more are pending only if the worker has stalled.
pub(crate) const MAX_PENDING: usize = 4096;
/// Size of the largest plain compound packet sent.
pub(crate) const MAX_RTCP: usize = 1200;
/// REMBs that announce a limit, or its removal, to a sender that sends nothing.
pub(crate) const LIMIT_REPEATS: u8 = 4;
/// Buffer size for one datagram of the link.
const LINK_DATAGRAM: usize = 2048;

/// A packet pending to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) stream: u32,
    pub(crate) consumer: u32,
    /// Low half of the stream index.
    pub(crate) index: u32,
    /// Low half of `out_seq`, once it is assigned.
    pub(crate) out_seq: u32,
    /// Sort key: length of header and payload, no larger than that of an earlier packet of the same consumer. 0 until
    /// the consumer has accepted the packet.
    pub(crate) size: u16,
}

/// The stream of an incoming SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) ssrc: u32,
    pub(crate) stream: u32,
    pub(crate) rtx: bool,
}

/// The consumer of an outgoing SSRC, media or RTX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerRoute {
    pub(crate) ssrc: u32,
    /// `None` after the consumer has closed.
    pub(crate) consumer: Option<u32>,
}

/// Deadlines of periodic work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) link: Micros,
    pub(crate) reports: Micros,
    pub(crate) feedback: Micros,
    pub(crate) remb: Micros,
    /// The earliest deadline of the streams; may be too early.
    pub(crate) streams: Micros,
}

/// Media packets received when feedback was last sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MediaAtLast {
    pub(crate) feedback: u32,
    pub(crate) remb: u32,
}

/// The peer's last receiver reference time (RFC 3611 §4.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerReference {
    pub(crate) ssrc: u32,
    pub(crate) middle: u32,
    pub(crate) at: Micros,
}

/// One endpoint. Fields of the packet path come first: a call has many endpoints, and the lines of each are fetched
/// in every flush window.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Transport {
    // First line: read for each packet to be sent, and by the timers before that.
    pub(crate) pending: Vec<Item>,
    pub(crate) due: Micros,
    ready: bool,
    /// The report timer is running.
    pub(crate) reporting: bool,
    pub(crate) padding: bool,
    /// A media packet was sent.
    pub(crate) media_started: bool,
    /// Next outgoing transport-wide sequence number.
    pub(crate) next_sequence: u16,
    pub(crate) pacer: Immediate,
    // Read by each flush.
    pub(crate) destination: Option<Destination>,
    pub(crate) tx: Option<SrtpTx>,
    pub(crate) stats: TransportStats,
    // Read for each incoming packet.
    /// A feedback timer has stopped because no packets came.
    pub(crate) feedback_stopped: bool,
    /// Media packets received.
    pub(crate) media_packets: u32,
    pub(crate) routes: Vec<Route>,
    pub(crate) rx: Option<SrtpRx>,
    pub(crate) arrivals: Option<Arrivals>,
    pub(crate) arrival_estimator: Option<Box<ArrivalEstimator>>,
    pub(crate) ids: IdTable,
    // Everything else.
    /// Arrivals recorded before `arrivals` existed.
    early: Option<Early>,
    pub(crate) producers: Vec<u32>,
    pub(crate) consumers: Vec<u32>,
    /// Sorted by SSRC.
    consumer_routes: Vec<ConsumerRoute>,
    pub(crate) endpoint: Endpoint,
    /// Our SSRC in reports.
    pub(crate) ssrc: u32,
    pub(crate) estimator: Unlimited,
    pub(crate) max_incoming_bps: Option<u32>,
    /// REMBs of a new or removed limit still to be sent, whether media arrives or not.
    pub(crate) limit_repeats: u8,
    pub(crate) deadlines: Deadlines,
    pub(crate) peer_reference: Option<PeerReference>,
    /// Our NTP time less the sender's, microseconds, over all of its streams.
    pub(crate) sender_clock: MinFilter,
    /// SSRCs of closed consumers for which a BYE is still to be sent.
    pub(crate) pending_byes: Vec<u32>,
    pub(crate) media_at_last: MediaAtLast,
    /// When reports were last sent.
    pub(crate) reported_at: Micros,
    /// Retransmissions in the current report interval.
    pub(crate) resent_in_interval: u32,
}

/// Leading bytes of a transport that a flush reads.
pub(crate) const FLUSH_HEAD: usize = offset_of!(Transport, routes);
/// Leading bytes that an incoming packet reads: up to the one-byte extension ids.
pub(crate) const INPUT_HEAD: usize = offset_of!(Transport, ids) + 16;

impl Transport {
    pub(crate) fn new(config: TransportConfig, ssrc: u32) -> Self {
        let mut transport = Self {
            pending: Vec::with_capacity(64),
            tx: None,
            destination: None,
            padding: config.padding,
            ready: false,
            media_started: false,
            reporting: false,
            next_sequence: 0,
            pacer: Immediate,
            stats: TransportStats::default(),
            feedback_stopped: true,
            media_packets: 0,
            rx: None,
            routes: Vec::new(),
            ids: IdTable::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            consumer_routes: Vec::new(),
            endpoint: config.endpoint,
            ssrc,
            arrivals: None,
            early: None,
            arrival_estimator: None,
            estimator: Unlimited::default(),
            max_incoming_bps: config.max_incoming_bps.filter(|bps| *bps > 0),
            limit_repeats: if config.max_incoming_bps.is_some_and(|bps| bps > 0) {
                LIMIT_REPEATS
            } else {
                0
            },
            deadlines: Deadlines {
                link: 0,
                reports: NEVER,
                feedback: NEVER,
                remb: NEVER,
                streams: NEVER,
            },
            due: 0,
            peer_reference: None,
            sender_clock: MinFilter::default(),
            pending_byes: Vec::new(),
            media_at_last: MediaAtLast::default(),
            reported_at: 0,
            resent_in_interval: 0,
        };
        if let Endpoint::Preset { keys, destination } = &transport.endpoint {
            let (keys, destination) = (keys.clone(), *destination);
            transport.deadlines.link = NEVER;
            transport.set_keys(&keys);
            transport.set_destination(destination);
        }
        transport
    }

    pub(crate) fn link(&self) -> Option<&Link> {
        match &self.endpoint {
            Endpoint::Link(link) => Some(link),
            Endpoint::Preset { .. } => None,
        }
    }

    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.endpoint {
            Endpoint::Link(link) => Some(link),
            Endpoint::Preset { .. } => None,
        }
    }

    fn set_keys(&mut self, keys: &SrtpKeys) {
        self.tx = Some(SrtpTx::new(keys.profile, &keys.local));
        self.rx = Some(SrtpRx::new(keys.profile, &keys.remote));
        self.ready = self.destination.is_some();
    }

    fn set_destination(&mut self, destination: Destination) {
        self.destination = Some(destination);
        self.ready = self.tx.is_some();
    }

    /// Stops sending: consent has expired (RFC 7675).
    fn lose_destination(&mut self) {
        self.destination = None;
        self.ready = false;
    }

    /// Whether keys and destination are known, so that media can be sent.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether a check has validated this source, or it is the preset one.
    #[inline]
    pub(crate) fn is_known_source(&self, from: &Destination) -> bool {
        self.destination.as_ref() == Some(from)
            || self.link().is_some_and(|link| link.is_known_source(from))
    }

    #[inline]
    pub(crate) fn route(&self, ssrc: u32) -> Option<Route> {
        self.routes.iter().find(|route| route.ssrc == ssrc).copied()
    }

    /// Sets the SSRC of a stream's media or RTX.
    pub(crate) fn learn(&mut self, route: Route) {
        self.routes
            .retain(|known| (known.stream, known.rtx) != (route.stream, route.rtx));
        self.routes.push(route);
    }

    /// Removes the RTX route of a stream whose media SSRC was replaced.
    pub(crate) fn forget_rtx(&mut self, stream: u32) {
        self.routes
            .retain(|known| !(known.stream == stream && known.rtx));
    }

    /// Returns the consumer that sends with this SSRC.
    pub(crate) fn consumer_route(&self, ssrc: u32) -> Option<u32> {
        let position = self
            .consumer_routes
            .binary_search_by_key(&ssrc, |route| route.ssrc)
            .ok()?;
        self.consumer_routes[position].consumer
    }

    /// Whether this SSRC was ever used for sending. Under one key it must not start again: SRTP would repeat nonces
    /// (RFC 7714 §12.1).
    pub(crate) fn has_used(&self, ssrc: u32) -> bool {
        self.consumer_routes
            .binary_search_by_key(&ssrc, |route| route.ssrc)
            .is_ok()
    }

    pub(crate) fn add_consumer_route(&mut self, route: ConsumerRoute) {
        let position = self
            .consumer_routes
            .partition_point(|known| known.ssrc < route.ssrc);
        self.consumer_routes.insert(position, route);
    }

    pub(crate) fn retire_consumer_routes(&mut self, consumer: u32) {
        for route in &mut self.consumer_routes {
            if route.consumer == Some(consumer) {
                route.consumer = None;
            }
        }
    }

    /// Records a packet while the id of the transport-wide number is unknown; the next `produce` may set it.
    #[cold]
    pub(crate) fn record_early(&mut self, header: &RtpHeader<'_>, at: Micros) {
        let ids = &self.ids;
        let mut candidates = header
            .extensions()
            .filter(|(id, _)| matches!(ids.get(*id), None | Some(ExtensionUri::TransportWideCc)))
            .filter_map(|(id, value)| Some((id, transport_sequence(value)?)))
            .peekable();
        if candidates.peek().is_some() {
            let early = self.early.get_or_insert_with(Early::new);
            early.note(header.ssrc, at, candidates);
        }
    }

    /// Starts recording arrivals by extension `id`, with the packets recorded before.
    pub(crate) fn start_arrivals(&mut self, id: u8) {
        let arrivals = self.arrivals.get_or_insert_with(Arrivals::new);
        if let Some(early) = self.early.take() {
            early.replay(id, arrivals);
        }
    }

    /// Passes a STUN or DTLS datagram to the link.
    pub(crate) fn handle_link(
        &mut self,
        class: Class,
        datagram: &[u8],
        from: Destination,
        now: Instant,
    ) {
        if let Some(link) = self.link_mut() {
            link.handle(class, datagram, from, now);
        }
    }

    /// Sends the link's pending datagrams.
    pub(crate) fn drain_link<S: Sink>(&mut self, sink: &mut S) {
        let Some(link) = self.link_mut() else {
            return;
        };
        while let Some((len, to)) = link.poll_transmit(sink.space(LINK_DATAGRAM)) {
            // Handshakes and checks are single datagrams, no train.
            sink.end_train();
            sink.commit(&to, len);
            sink.end_train();
        }
    }

    /// Returns the next event of the link, and applies keys and destination.
    pub(crate) fn poll_link_event(&mut self) -> Option<LinkEvent> {
        let event = self.link_mut()?.poll_event()?;
        match &event {
            LinkEvent::Keys(keys) => self.set_keys(&keys.clone()),
            LinkEvent::Selected(destination) => self.set_destination(*destination),
            LinkEvent::Ice(IceState::Disconnected) => self.lose_destination(),
            _ => {}
        }
        Some(event)
    }

    /// Counts datagrams that were sent.
    #[inline]
    pub(crate) fn count_out(&mut self, packets: u64, bytes: u64) {
        self.stats.packets_out += packets;
        self.stats.bytes_out += bytes;
    }

    /// Sets `due` to the earliest deadline.
    pub(crate) fn update_due(&mut self) {
        let d = &self.deadlines;
        self.due = d
            .link
            .min(d.reports)
            .min(d.feedback)
            .min(d.remb)
            .min(d.streams);
    }

    /// Sends one RTCP datagram; `write` fills in the plain compound packet and returns its length, 0 for none.
    pub(crate) fn send_rtcp<S: Sink>(
        &mut self,
        sink: &mut S,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        let (Some(tx), Some(to)) = (&mut self.tx, &self.destination) else {
            return false;
        };
        let out = sink.space(MAX_RTCP + tx.profile().rtcp_overhead());
        let len = write(&mut out[..MAX_RTCP]);
        if len == 0 {
            return false;
        }
        let total = tx.protect_rtcp(out, len);
        if total == 0 {
            return false;
        }
        sink.commit(to, total);
        self.stats.packets_out += 1;
        self.stats.bytes_out += total as u64;
        true
    }
}
