//! Incoming RTP: a datagram becomes a decrypted packet in a ring and an entry in the pending list of each receiver.
//!
//! # Job
//! Steps 5 to 10 of docs/packet-path.md: source address, header, stream, decryption, extensions, statistics, fan-out.
//! Writing headers and encrypting belongs to `egress`.
//!
//! # Invariants
//! - No state changes before the packet is authenticated; an SSRC is learned from authenticated packets only.
//!
//! # Cost
//! One decryption, and one entry of 20 bytes per receiver. Consumers accept or drop the packet at the flush, so that
//! their state is fetched into the caches once, not twice. No allocation once the lists have grown to their working
//! size.
//!
//! RFC 3550, RFC 4588 §4 (RTX payload), RFC 8285, RFC 8843 §9.2.

use super::Router;
use super::clock::{Micros, Times};
use super::config::{MediaKind, ProducerKey};
use super::event::Drops;
use super::passthrough::PassthroughExtensions;
use super::producer::Producer;
use super::ring::{FILLER, HEADROOM, MAX_PAYLOAD};
use super::stream::{Accepted, INACTIVE_AFTER, Incoming, StreamRx};
use super::transport::{Item, MAX_PENDING, Route, Transport};
use crate::net::Destination;
use crate::rtp::extension::{AbsSendTime, transport_sequence};
use crate::rtp::{ExtensionUri, RtpHeader};
use crate::srtp::SrtpRx;

/// Values of the header extensions of a packet.
#[derive(Default)]
struct Extensions {
    level: Option<u8>,
    send_time: Option<u32>,
    transport_sequence: Option<u16>,
    passthrough: PassthroughExtensions,
    has_passthrough: bool,
}

impl Extensions {
    /// Reads the extensions by the ids of the transport, and by those of the producer if there is one.
    #[inline]
    fn read(header: &RtpHeader<'_>, transport: &Transport, producer: Option<&Producer>) -> Self {
        let mut found = Self::default();
        for (id, value) in header.extensions() {
            let own = || producer.and_then(|producer| producer.ids.get(id));
            let Some(uri) = transport.ids.get(id).or_else(own) else {
                continue;
            };
            match uri {
                ExtensionUri::AudioLevel => found.level = value.first().copied(),
                ExtensionUri::TransportWideCc => {
                    found.transport_sequence = transport_sequence(value)
                }
                ExtensionUri::AbsSendTime => {
                    if let [high, middle, low] = *value {
                        found.send_time = Some(u32::from_be_bytes([0, high, middle, low]));
                    }
                }
                _ => found.has_passthrough |= found.passthrough.read(uri, value),
            }
        }
        found
    }

    /// Records the arrival of an authenticated packet for transport-wide feedback and REMB.
    #[inline]
    fn record_arrival(
        &self,
        transport: &mut Transport,
        header: &RtpHeader<'_>,
        len: usize,
        at: Micros,
    ) {
        transport.stats.packets_in += 1;
        transport.stats.bytes_in += len as u64;
        transport.media_packets = transport.media_packets.wrapping_add(1);
        match (&mut transport.arrivals, self.transport_sequence) {
            (Some(arrivals), Some(sequence)) => arrivals.record(sequence, header.ssrc, at),
            (Some(_), None) => {}
            (None, _) => transport.record_early(header, at),
        }
        if let (Some(departure), Some(estimator)) =
            (self.send_time, &mut transport.arrival_estimator)
        {
            estimator.received(departure, len, at);
        }
    }
}

impl Router {
    /// Takes one SRTP datagram of transport `t`, which is open.
    pub(super) fn on_rtp(&mut self, t: u32, datagram: &[u8], from: &Destination, times: Times) {
        let drops = &mut self.stats.drops;
        let transport = &self.transports[t];
        if !transport.is_known_source(from) {
            drops.unknown_source += 1;
            return;
        }
        let Ok(header) = RtpHeader::parse(datagram) else {
            drops.malformed += 1;
            return;
        };
        if transport.rx.is_none() {
            drops.no_keys += 1;
            return;
        }
        let media_packets = transport.media_packets;
        let known = transport.route(header.ssrc);
        match known.or_else(|| self.find_route_by_extensions(t, &header, times.now)) {
            Some(route) => {
                self.on_stream_packet(t, &header, route, known.is_none(), datagram, times);
            }
            None => self.count_unroutable(t, &header, Unroutable::Stream, datagram, times),
        }
        let transport = &self.transports[t];
        if transport.feedback_stopped && transport.media_packets != media_packets {
            self.resume_feedback(t, times.now);
        }
    }

    #[inline]
    fn on_stream_packet(
        &mut self,
        t: u32,
        header: &RtpHeader<'_>,
        route: Route,
        fresh: bool,
        datagram: &[u8],
        times: Times,
    ) {
        let transport = &mut self.transports[t];
        let stream = &mut self.streams[route.stream];
        let producer = &self.producers[stream.producer];
        let codec = match place(producer, stream, header, route) {
            Some(codec) if fits(transport, header, route, datagram) => codec,
            Some(_) => {
                return self.count_unroutable(t, header, Unroutable::Oversize, datagram, times);
            }
            None => return self.count_unroutable(t, header, Unroutable::Stream, datagram, times),
        };
        let drops = &mut self.stats.drops;
        let Some(len) = open(transport, stream, header, route, datagram, drops) else {
            return;
        };
        let mut extensions = Extensions::read(header, transport, Some(producer));
        extensions.record_arrival(transport, header, datagram.len(), times.arrived);
        let Some(len) = len else {
            drops.malformed += 1;
            return;
        };
        self.stats.packets_in += 1;
        self.stats.bytes_in += datagram.len() as u64;
        if fresh {
            transport.learn(route);
            if route.rtx {
                stream.replace_rtx(header.ssrc, times.now);
            } else if stream.ssrc != Some(header.ssrc) && stream.replace(header.ssrc, times.now) {
                transport.forget_rtx(route.stream);
            }
        }
        let mut packet = Incoming {
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            codec,
            len,
            level: extensions.level,
            has_passthrough: extensions.has_passthrough,
            repair: route.rtx,
            arrived: times.arrived,
        };
        if route.rtx {
            stream.counters.rtx_packets += 1;
            self.stats.counters.rtx_packets_received += 1;
            self.stats.counters.rtx_bytes_received += datagram.len() as u64;
            if stream.is_rtx_ahead(times.now) {
                self.stats.drops.late += 1;
                return;
            }
            let Some(inner) = len.checked_sub(HEADROOM) else {
                // Padding only: a bandwidth probe of the sender.
                return;
            };
            let original = &stream.ring.spare()[..HEADROOM];
            packet.len = inner;
            packet.sequence = u16::from_be_bytes([original[0], original[1]]);
        }
        self.accept_packet(route.stream, &packet, &mut extensions.passthrough, times);
    }

    /// Records the arrival of a packet that has no stream. If it is authenticated it still goes into the feedback: a
    /// sender takes unreported packets for lost and lowers its rate.
    #[cold]
    fn count_unroutable(
        &mut self,
        t: u32,
        header: &RtpHeader<'_>,
        why: Unroutable,
        datagram: &[u8],
        times: Times,
    ) {
        let transport = &mut self.transports[t];
        let drops = &mut self.stats.drops;
        let Some(rx) = &mut transport.rx else {
            return;
        };
        if self.scratch.len() < datagram.len() {
            self.scratch.resize(datagram.len(), 0);
        }
        if let Err(error) = rx.unprotect_rtp(datagram, header.header_len(), &mut self.scratch) {
            drops.count(error);
            return;
        }
        match why {
            Unroutable::Stream => drops.unknown_stream += 1,
            Unroutable::Oversize => drops.oversize += 1,
        }
        let extensions = Extensions::read(header, transport, None);
        extensions.record_arrival(transport, header, datagram.len(), times.arrived);
    }

    /// Stores a decrypted packet and queues it for all receivers.
    #[inline]
    fn accept_packet(
        &mut self,
        s: u32,
        packet: &Incoming,
        passthrough: &mut PassthroughExtensions,
        times: Times,
    ) {
        let now = times.now;
        if !self.streams[s].has_media() {
            self.learn_parameter_sets(s);
        }
        let stream = &mut self.streams[s];
        let producer = &self.producers[stream.producer];
        let codec = &producer.codecs[usize::from(packet.codec)];
        stream.clock_rate = codec.clock_rate;
        if passthrough.has_capture_time() {
            let sender = &self.transports[stream.transport].sender_clock;
            let captured = passthrough.captured().and_then(|theirs| {
                let ntp = self.clock.ntp(times.arrived);
                stream
                    .mapping
                    .to_our_clock(theirs, sender, times.arrived, ntp)
            });
            passthrough.set_captured(captured);
        }
        let accepted = stream.accept(packet, codec.codec, passthrough, now);
        let became_active = stream.mark_active(accepted, now);
        if let (Some(level), Some(speaker), false) =
            (packet.level, producer.speaker, producer.paused)
        {
            self.observers.level(speaker, level, now);
        }
        let urgent = stream.urgent_deadline();
        let (t, p) = (stream.transport, stream.producer);
        match accepted {
            Accepted::Late => self.stats.drops.late += 1,
            Accepted::PaddingOnly => {}
            Accepted::Forward(_) if producer.paused => self.stats.drops.paused += 1,
            Accepted::Forward(index) => self.fan_out(s, index),
        }
        if became_active {
            self.schedule_streams(t, now + INACTIVE_AFTER);
            self.resume_reports(t, now);
            self.producer_score_changed(p);
            self.choose_encoding(p, Some(s), now);
            self.schedule_streams(t, self.next_encoding_check(p, now));
        }
        self.schedule_streams_if_due(t, urgent);
    }

    /// Encodings of one producer have parameter sets before their key frames, or not, alike. So one that begins with a
    /// picture alone has lost them if another has shown them.
    #[cold]
    fn learn_parameter_sets(&mut self, s: u32) {
        let mut others = self.producers[self.streams[s].producer].streams.iter();
        if others.any(|other| self.streams[*other].has_parameter_sets()) {
            self.streams[s].expect_parameter_sets();
        }
    }

    #[inline]
    fn fan_out(&mut self, s: u32, index: u64) {
        let stream = &self.streams[s];
        let Some(slot) = stream.ring.get(index) else {
            return;
        };
        let producer = &self.producers[stream.producer];
        let mut queued = 0;
        for receiver in &producer.receivers {
            let target = &mut self.transports[receiver.transport];
            if !target.is_ready() || target.pending.len() >= MAX_PENDING {
                self.stats.drops.unready += 1;
                continue;
            }
            if target.pending.is_empty() {
                self.dirty.push(receiver.transport);
            }
            target.pending.push(Item {
                stream: s,
                consumer: receiver.consumer,
                index: index as u32,
                out_seq: 0,
                size: 0,
            });
            queued += 1;
        }
        self.pending += queued;
        if self.padded_transports > 0 && queued > 0 && slot.flags & FILLER == 0 {
            self.batch.push((slot.len, s, index as u32));
        }
    }

    /// Finds the stream of an unannounced SSRC by the mid, else by the RID. The packet is not authenticated yet.
    #[cold]
    fn find_route_by_extensions(
        &self,
        t: u32,
        header: &RtpHeader<'_>,
        now: Micros,
    ) -> Option<Route> {
        let transport = self.transports.get(t)?;
        let (mut mid, mut rid, mut repaired) = (None, None, None);
        for (id, value) in header.extensions() {
            match transport.ids.get(id) {
                Some(ExtensionUri::Mid) => mid = Some(value),
                Some(ExtensionUri::Rid) => rid = Some(value),
                Some(ExtensionUri::RepairedRid) => repaired = Some(value),
                _ => {}
            }
        }
        let mut candidates = transport.producers.iter().map(|key| &self.producers[*key]);
        let producer = match (mid, rid.or(repaired)) {
            (Some(mid), _) => candidates.find(|producer| {
                producer
                    .mid
                    .as_deref()
                    .is_some_and(|known| known.as_bytes() == mid)
            })?,
            (None, Some(rid)) => {
                candidates.find(|producer| self.stream_of_rid(producer, rid).is_some())?
            }
            (None, None) => return None,
        };
        let rtx = producer.codec_of_rtx(header.payload_type).is_some();
        if !rtx && producer.codec_of(header.payload_type).is_none() {
            return None;
        }
        let stream = if producer.streams.len() == 1 {
            producer.streams[0]
        } else {
            self.stream_of_rid(producer, if rtx { repaired? } else { rid? })?
        };
        let entry = &self.streams[stream];
        let announced = if rtx {
            entry.rtx_announced
        } else {
            entry.ssrc_announced
        };
        let late = entry.retired.is_retired(header.ssrc, entry.active, now);
        (!announced && !late).then_some(Route {
            ssrc: header.ssrc,
            stream,
            rtx,
        })
    }

    fn stream_of_rid(&self, producer: &Producer, rid: &[u8]) -> Option<u32> {
        producer.streams.iter().copied().find(|stream| {
            self.streams[*stream]
                .rid
                .as_deref()
                .is_some_and(|known| known.as_bytes() == rid)
        })
    }

    /// Schedules a key frame request to the sender of a stream. Returns false if there is nothing to request, or a
    /// request under way serves this one, too.
    pub(super) fn request_stream_key_frame(&mut self, s: u32, now: Micros) -> bool {
        let Some(stream) = self.streams.get_mut(s) else {
            return false;
        };
        if stream.kind != MediaKind::Video {
            return false;
        }
        let is_new = stream.key_frames.request(now);
        let (t, urgent) = (stream.transport, stream.urgent_deadline());
        self.schedule_streams_if_due(t, urgent);
        is_new
    }

    /// Returns the stream of a producer's encoding.
    pub(super) fn wanted_stream(&self, producer: ProducerKey, encoding: u8) -> Option<u32> {
        let producer = self.producers.get(producer.0)?;
        producer.streams.get(usize::from(encoding)).copied()
    }
}

/// Why a packet has no stream.
#[derive(Clone, Copy, Debug)]
enum Unroutable {
    /// No producer for its SSRC, mid or payload type, or an RTX packet before the first media packet.
    Stream,
    /// Larger than a ring slot.
    Oversize,
}

/// Returns the index of the packet's codec. An RTX packet before the first media packet has none: there is nothing to
/// repair yet.
#[inline]
fn place(
    producer: &Producer,
    stream: &StreamRx,
    header: &RtpHeader<'_>,
    route: Route,
) -> Option<u8> {
    if !route.rtx {
        return producer.codec_of(header.payload_type);
    }
    producer
        .codec_of_rtx(header.payload_type)
        .filter(|_| stream.has_media())
}

/// Whether the packet fits into a ring slot.
#[inline]
fn fits(transport: &Transport, header: &RtpHeader<'_>, route: Route, datagram: &[u8]) -> bool {
    let overhead = |rx: &SrtpRx| rx.profile().rtp_overhead();
    let overhead = transport.rx.as_ref().map_or(0, overhead);
    let original = if route.rtx { HEADROOM } else { 0 };
    datagram.len() <= header.header_len() + original + MAX_PAYLOAD + overhead
}

/// Decrypts a packet into the spare buffer of its stream's ring, or counts why it could not. Returns the payload's
/// length without padding, `None` inside if the padding is malformed.
#[inline]
fn open(
    transport: &mut Transport,
    stream: &mut StreamRx,
    header: &RtpHeader<'_>,
    route: Route,
    datagram: &[u8],
    drops: &mut Drops,
) -> Option<Option<usize>> {
    let rx = transport.rx.as_mut()?;
    let spare = stream.ring.spare();
    // The original sequence number of an RTX packet lands in the headroom, so the payload is already in place.
    let room = if route.rtx {
        &mut spare[..HEADROOM + MAX_PAYLOAD]
    } else {
        &mut spare[HEADROOM..HEADROOM + MAX_PAYLOAD]
    };
    match rx.unprotect_rtp(datagram, header.header_len(), room) {
        Ok((_, len)) => Some(header.unpadded_len(&room[..len]).ok()),
        Err(error) => {
            drops.count(error);
            None
        }
    }
}

/// Returns the abs-send-time extension's 24 bits.
#[inline]
pub(super) fn send_time(wall: std::time::Duration) -> [u8; 3] {
    AbsSendTime::from_duration(wall).to_bytes()
}
