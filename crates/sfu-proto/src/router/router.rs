//! The objects of one call and the operations on them.
//!
//! # Job
//! Owns transports, producers and consumers; creates, pauses and closes them. The packet path is in `ingest` and
//! `egress`, RTCP in `feedback` and `report`, timeouts in `timer`, statistics in `figures`.
//!
//! # Invariants
//! - All consumers listed by a producer, and all producers and consumers listed by a transport, are open.
//! - Closing cascades: transport → its producers and consumers; producer → its consumers on all transports.
//! - Input of a peer never panics, and affects other peers' objects by forwarding only.
//!
//! # Cost
//! Objects live in slabs with dense keys. A producer's ring is allocated at its first packet.
//!
//! # Left out
//! Pipes to routers of other workers; data channels.

use std::collections::VecDeque;
use std::time::Instant;

use super::clock::{Clock, Micros, NEVER, Random, Times};
use super::config::{
    ConsumeError, ConsumerConfig, ConsumerKey, MediaKind, ProduceError, ProducerConfig,
    ProducerKey, RouterConfig, RouterError, TransportConfig, TransportKey,
};
use super::consumer::Consumer;
use super::event::{RouterEvent, RouterStats};
use super::observer::Observers;
use super::producer::{Producer, Receiver, is_transport_wide};
use super::slab::Slab;
use super::source::Source;
use super::stream::StreamRx;
use super::transport::{ConsumerRoute, LIMIT_REPEATS, Route, Transport};
use crate::link::{DtlsRole, Fingerprint, IceParameters, Link};
use crate::net::{Class, Destination, Sink};
use crate::rtp::ExtensionUri;
use crate::srtp::SrtpTx;
use crate::timers::Timers;

/// The forwarding engine of one call.
#[derive(Debug)]
pub struct Router {
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) transports: Slab<Transport>,
    pub(super) producers: Slab<Producer>,
    pub(super) streams: Slab<StreamRx>,
    pub(super) consumers: Slab<Consumer>,
    /// Transports with pending packets.
    pub(super) dirty: Vec<u32>,
    pub(super) pending: usize,
    /// Consumer, stream and index of late key frame starts on the transport that is being flushed.
    pub(super) late_starts: Vec<(u32, u32, u64)>,
    /// Consumers that are sent another encoding than before; empty between two calls.
    pub(super) layer_changes: Vec<u32>,
    /// Length, stream and index of the packets received since the last flush, for padding.
    pub(super) batch: Vec<(u16, u32, u32)>,
    pub(super) padded_transports: usize,
    pub(super) flush_id: u32,
    pub(super) observers: Observers,
    pub(super) events: VecDeque<RouterEvent>,
    pub(super) stats: RouterStats,
    /// The deadline of each transport.
    pub(super) timers: Timers<Micros>,
    /// Scratch buffer: sequence numbers of a NACK.
    pub(super) sequences: Vec<u16>,
    /// Scratch buffer: SSRCs of a REMB.
    pub(super) ssrcs: Vec<u32>,
    /// Scratch buffer: packets without a stream are decrypted here to learn whether they are authentic.
    pub(super) scratch: Vec<u8>,
}

impl Router {
    /// Creates an empty router.
    pub fn new(config: RouterConfig) -> Self {
        let micros = |interval: std::time::Duration| interval.as_micros() as Micros;
        Self {
            clock: Clock::new(config.wall.0, config.wall.1),
            random: Random::new(config.seed),
            transports: Slab::new(),
            producers: Slab::new(),
            streams: Slab::new(),
            consumers: Slab::new(),
            dirty: Vec::new(),
            pending: 0,
            late_starts: Vec::with_capacity(64),
            layer_changes: Vec::with_capacity(64),
            batch: Vec::with_capacity(256),
            padded_transports: 0,
            flush_id: 0,
            observers: Observers::new(
                config.volume_threshold,
                micros(config.volume_interval).max(250_000),
                micros(config.speaker_interval).max(100_000),
            ),
            events: VecDeque::with_capacity(64),
            stats: RouterStats::default(),
            timers: Timers::default(),
            sequences: Vec::with_capacity(1024),
            ssrcs: Vec::with_capacity(32),
            scratch: Vec::new(),
        }
    }

    /// Creates a transport. A preset one reports no events before its first packet.
    pub fn create_transport(&mut self, config: TransportConfig, now: Instant) -> TransportKey {
        let at = self.clock.micros(now);
        let ssrc = (self.random.next() as u32).max(1);
        let transport = Transport::new(config, ssrc);
        self.padded_transports += usize::from(transport.padding);
        let ready = transport.is_ready();
        let t = self.transports.insert(transport);
        self.dirty.reserve(self.transports.len());
        self.schedule_streams(t, at);
        if ready {
            self.transport_became_ready(t, at);
        }
        TransportKey(t)
    }

    /// Returns the ICE and DTLS of a transport; `None` for a preset or unknown one.
    pub fn link(&self, transport: TransportKey) -> Option<&Link> {
        self.transports.get(transport.0)?.link()
    }

    /// Returns what seals a transport's outgoing packets; `None` before it has keys. Not used on the packet path.
    pub fn srtp_tx(&self, transport: TransportKey) -> Option<&SrtpTx> {
        self.transports.get(transport.0)?.tx.as_ref()
    }

    /// Sets the peer's DTLS role and fingerprints, once. Returns our role.
    pub fn connect<S: Sink>(
        &mut self,
        transport: TransportKey,
        remote_role: DtlsRole,
        fingerprints: &[Fingerprint],
        now: Instant,
        sink: &mut S,
    ) -> Result<DtlsRole, RouterError> {
        let entry = self
            .transports
            .get_mut(transport.0)
            .ok_or(RouterError::Unknown)?;
        let link = entry.link_mut().ok_or(RouterError::NoLink)?;
        let role = link.connect(remote_role, fingerprints, now)?;
        self.after_link(transport.0, now, sink);
        Ok(role)
    }

    /// Makes `fresh` valid beside the old credentials until the first check with it.
    pub fn restart_ice(
        &mut self,
        transport: TransportKey,
        fresh: IceParameters,
        now: Instant,
    ) -> Result<(), RouterError> {
        let at = self.clock.micros(now);
        let entry = self
            .transports
            .get_mut(transport.0)
            .ok_or(RouterError::Unknown)?;
        entry
            .link_mut()
            .ok_or(RouterError::NoLink)?
            .restart_ice(fresh, now);
        entry.deadlines.link = at;
        self.schedule(transport.0);
        Ok(())
    }

    /// Forgets an address whose TCP connection has closed; another tuple is selected if there is one.
    pub fn remove_destination<S: Sink>(
        &mut self,
        transport: TransportKey,
        gone: &Destination,
        now: Instant,
        sink: &mut S,
    ) {
        let entry = self.transports.get_mut(transport.0);
        if let Some(link) = entry.and_then(|entry| entry.link_mut()) {
            link.remove_destination(gone, now);
            self.after_link(transport.0, now, sink);
        }
    }

    /// Limits the sender's bit rate by REMB; 0 removes the limit.
    pub fn set_max_incoming_bitrate(
        &mut self,
        transport: TransportKey,
        bps: u32,
        now: Instant,
    ) -> Result<(), RouterError> {
        let at = self.clock.micros(now);
        let entry = self
            .transports
            .get_mut(transport.0)
            .ok_or(RouterError::Unknown)?;
        let had = entry.max_incoming_bps.take();
        if bps > 0 {
            entry.max_incoming_bps = Some(bps);
            entry.limit_repeats = LIMIT_REPEATS;
        } else if had.is_some() {
            entry.limit_repeats = LIMIT_REPEATS;
        }
        entry.deadlines.remb = NEVER;
        self.start_feedback(transport.0, at);
        Ok(())
    }

    /// Closes a transport with its producers (and their consumers elsewhere) and its consumers.
    ///
    /// Events report what closes along with it; unknown keys are no error.
    pub fn close_transport<S: Sink>(
        &mut self,
        transport: TransportKey,
        now: Instant,
        sink: &mut S,
    ) {
        if let Some(entry) = self.transports.get_mut(transport.0) {
            if let Some(link) = entry.link_mut() {
                if let Some(unfinished) = link.unfinished() {
                    self.stats.counters.link_unfinished(unfinished);
                }
                link.close(now);
            }
            entry.drain_link(sink);
        }
        self.remove_transport(transport);
    }

    pub(super) fn close_transport_because(&mut self, transport: TransportKey, reason: String) {
        self.remove_transport(transport);
        self.events
            .push_back(RouterEvent::TransportClosed { transport, reason });
    }

    fn remove_transport(&mut self, transport: TransportKey) {
        let Some(entry) = self.transports.get(transport.0) else {
            return;
        };
        let (producers, consumers) = (entry.producers.clone(), entry.consumers.clone());
        for key in producers {
            self.close_producer(ProducerKey(key));
            let producer = ProducerKey(key);
            self.events
                .push_back(RouterEvent::ProducerClosed { producer });
        }
        for key in consumers {
            self.close_consumer(ConsumerKey(key));
            let consumer = ConsumerKey(key);
            self.events
                .push_back(RouterEvent::ConsumerClosed { consumer });
        }
        self.dirty.retain(|dirty| *dirty != transport.0);
        self.timers.set(transport.0, None);
        if let Some(entry) = self.transports.remove(transport.0) {
            self.padded_transports -= usize::from(entry.padding);
            self.pending -= entry.pending.len();
        }
    }

    /// Creates a producer on a transport.
    pub fn produce(
        &mut self,
        transport: TransportKey,
        config: ProducerConfig,
        now: Instant,
    ) -> Result<ProducerKey, ProduceError> {
        let at = self.clock.micros(now);
        self.check_producer(transport, &config)?;
        let t = transport.0;
        let producer = Producer::new(t, &config);
        let (kind, has_passthrough) = (producer.kind, producer.has_passthrough);
        let p = self.producers.insert(producer);
        let nack = config.codecs.iter().any(|codec| codec.nack);
        for (position, encoding) in config.encodings.iter().enumerate() {
            let mut stream = StreamRx::new(p, t, position as u8, kind, has_passthrough, nack);
            stream.ssrc = encoding.ssrc;
            stream.rtx_ssrc = encoding.rtx_ssrc;
            stream.ssrc_announced = encoding.ssrc.is_some();
            stream.rtx_announced = encoding.rtx_ssrc.is_some();
            stream.rid = encoding.rid.clone();
            let s = self.streams.insert(stream);
            self.streams[s].source = Source::first(s);
            self.producers[p].streams.push(s);
            let routes = &mut self.transports[t].routes;
            let announced = [(encoding.ssrc, false), (encoding.rtx_ssrc, true)];
            for (ssrc, rtx) in announced {
                if let Some(ssrc) = ssrc {
                    routes.push(Route {
                        ssrc,
                        stream: s,
                        rtx,
                    });
                }
            }
        }
        self.negotiate_feedback(t, &config);
        self.transports[t].producers.push(p);
        self.start_feedback(t, at);
        if kind == MediaKind::Audio {
            self.observers.add(ProducerKey(p), at);
            self.producers[p].speaker = self.observers.position(ProducerKey(p));
        }
        Ok(ProducerKey(p))
    }

    /// Stores the transport-wide extension ids and chooses between transport-wide feedback and REMB for the sender.
    fn negotiate_feedback(&mut self, t: u32, config: &ProducerConfig) {
        let transport = &mut self.transports[t];
        for (uri, id) in &config.header_extensions {
            if is_transport_wide(*uri) {
                transport.ids.insert(*id, *uri);
            }
        }
        let id_of = |wanted| {
            let ids = config.header_extensions.iter();
            ids.rev().find(|(uri, _)| *uri == wanted).map(|(_, id)| *id)
        };
        let transport_cc = config.codecs.iter().any(|codec| codec.transport_cc);
        let remb = config.codecs.iter().any(|codec| codec.remb);
        let number = id_of(ExtensionUri::TransportWideCc).filter(|_| transport_cc);
        if let Some(id) = number {
            transport.start_arrivals(id);
            transport.arrival_estimator = None;
        } else if remb && id_of(ExtensionUri::AbsSendTime).is_some() && transport.arrivals.is_none()
        {
            transport.arrival_estimator.get_or_insert_with(Box::default);
        }
    }

    /// Creates a consumer: forwards `producer`'s packets to `transport`'s receiver.
    pub fn consume(
        &mut self,
        transport: TransportKey,
        producer: ProducerKey,
        config: ConsumerConfig,
        now: Instant,
    ) -> Result<ConsumerKey, ConsumeError> {
        let at = self.clock.micros(now);
        let entry = self
            .transports
            .get(transport.0)
            .ok_or(ConsumeError::UnknownTransport)?;
        let source = self
            .producers
            .get(producer.0)
            .ok_or(ConsumeError::UnknownProducer)?;
        self.check_consumer(entry, &config)?;
        // Below 2^15, so that a receiver cannot miss the first roll-over (RFC 3711 §3.3.1).
        let mut first = || 1 + self.random.below((1 << 15) - 1) as u16;
        let first = (first(), first());
        let consumer = Consumer::new(transport.0, producer.0, source, &config, first)?;
        let active = consumer.is_active();
        let wanted = consumer.wanted_encoding();
        let c = self.consumers.insert(consumer);
        let receiver = Receiver {
            consumer: c,
            transport: transport.0,
        };
        let source = &mut self.producers[producer.0];
        source.consumers.push(c);
        source.set_receiver(receiver, active);
        let entry = &mut self.transports[transport.0];
        entry.consumers.push(c);
        for ssrc in std::iter::once(config.ssrc).chain(config.rtx_ssrc) {
            entry.add_consumer_route(ConsumerRoute {
                ssrc,
                consumer: Some(c),
            });
        }
        let room = entry.consumers.len() * 4;
        entry.pending.reserve(room);
        if active {
            self.request_producer_key_frame(producer, wanted, at);
        }
        Ok(ConsumerKey(c))
    }

    /// Pauses or resumes all consumers of a producer. Resuming requests key frames.
    pub fn set_producer_paused(
        &mut self,
        producer: ProducerKey,
        paused: bool,
        now: Instant,
    ) -> Result<(), RouterError> {
        let at = self.clock.micros(now);
        let entry = self
            .producers
            .get_mut(producer.0)
            .ok_or(RouterError::Unknown)?;
        if std::mem::replace(&mut entry.paused, paused) == paused {
            return Ok(());
        }
        entry.receivers.clear();
        for &key in &entry.consumers {
            let consumer = &mut self.consumers[key];
            consumer.details.producer_paused = paused;
            consumer.refresh();
            if consumer.stop_if_paused() {
                self.layer_changes.push(key);
            }
            if consumer.is_active() {
                entry.receivers.push(Receiver {
                    consumer: key,
                    transport: consumer.transport,
                });
            }
        }
        self.report_layers();
        if !paused {
            for position in 0..self.producers[producer.0].streams.len() {
                self.request_producer_key_frame(producer, position as u8, at);
            }
        }
        Ok(())
    }

    /// Pauses or resumes a consumer. Resuming requests a key frame.
    pub fn set_consumer_paused(
        &mut self,
        consumer: ConsumerKey,
        paused: bool,
        now: Instant,
    ) -> Result<(), RouterError> {
        let at = self.clock.micros(now);
        let entry = self
            .consumers
            .get_mut(consumer.0)
            .ok_or(RouterError::Unknown)?;
        entry.details.paused = paused;
        let begins = entry.refresh();
        if entry.stop_if_paused() {
            self.layer_changes.push(consumer.0);
        }
        let (producer, wanted) = (ProducerKey(entry.producer), entry.wanted_encoding());
        let receiver = Receiver {
            consumer: consumer.0,
            transport: entry.transport,
        };
        let active = entry.is_active();
        self.producers[producer.0].set_receiver(receiver, active);
        self.report_layers();
        if begins {
            self.request_producer_key_frame(producer, wanted, at);
        }
        Ok(())
    }

    /// Requests a key frame from the consumer's sender, unless a request is outstanding.
    pub fn request_key_frame(
        &mut self,
        consumer: ConsumerKey,
        now: Instant,
    ) -> Result<(), RouterError> {
        let at = self.clock.micros(now);
        let entry = self.consumers.get(consumer.0).ok_or(RouterError::Unknown)?;
        if entry.is_active() {
            self.request_producer_key_frame(
                ProducerKey(entry.producer),
                entry.wanted_encoding(),
                at,
            );
        }
        Ok(())
    }

    /// As `request_stream_key_frame`, for a producer's encoding.
    pub(super) fn request_producer_key_frame(
        &mut self,
        producer: ProducerKey,
        encoding: u8,
        now: Micros,
    ) -> bool {
        self.wanted_stream(producer, encoding)
            .is_some_and(|s| self.request_stream_key_frame(s, now))
    }

    /// Closes a producer and its consumers; events report the consumers. Unknown keys are no error.
    pub fn close_producer(&mut self, producer: ProducerKey) {
        let Some(entry) = self.producers.get(producer.0) else {
            return;
        };
        for key in entry.consumers.clone() {
            self.close_consumer(ConsumerKey(key));
            let consumer = ConsumerKey(key);
            self.events
                .push_back(RouterEvent::ConsumerClosed { consumer });
        }
        let Some(entry) = self.producers.remove(producer.0) else {
            return;
        };
        let transport = &mut self.transports[entry.transport];
        transport.producers.retain(|key| *key != producer.0);
        transport
            .routes
            .retain(|route| !entry.streams.contains(&route.stream));
        for s in &entry.streams {
            self.streams.remove(*s);
        }
        self.batch
            .retain(|(_, stream, _)| !entry.streams.contains(stream));
        if entry.speaker.is_some() {
            if self.observers.remove(producer) {
                self.events
                    .push_back(RouterEvent::ActiveSpeaker { producer: None });
            }
            for (key, other) in self.producers.iter_mut() {
                if other.speaker.is_some() {
                    other.speaker = self.observers.position(ProducerKey(key));
                }
            }
        }
    }

    /// Closes a consumer; its receiver gets a BYE. Unknown keys are no error.
    pub fn close_consumer(&mut self, consumer: ConsumerKey) {
        let Some(entry) = self.consumers.remove(consumer.0) else {
            return;
        };
        if let Some(producer) = self.producers.get_mut(entry.producer) {
            producer.consumers.retain(|key| *key != consumer.0);
            producer
                .receivers
                .retain(|receiver| receiver.consumer != consumer.0);
        }
        let Some(transport) = self.transports.get_mut(entry.transport) else {
            return;
        };
        transport.consumers.retain(|key| *key != consumer.0);
        transport.retire_consumer_routes(consumer.0);
        if entry.packets > 0 {
            transport.pending_byes.push(entry.ssrc);
        }
        let before = transport.pending.len();
        transport.pending.retain(|item| item.consumer != consumer.0);
        self.pending -= before - transport.pending.len();
        if before > 0 && transport.pending.is_empty() {
            self.dirty.retain(|dirty| *dirty != entry.transport);
        }
        if entry.packets > 0 {
            let reported_at = transport.reported_at;
            self.resume_reports(entry.transport, reported_at);
        }
    }

    /// Handles one datagram of a transport's peer; `class` is the result of `net::classify`.
    pub fn handle_datagram<S: Sink>(
        &mut self,
        transport: TransportKey,
        class: Class,
        datagram: &mut [u8],
        from: Destination,
        now: Instant,
        sink: &mut S,
    ) {
        self.handle_datagram_received_at(transport, class, datagram, from, (now, now), sink);
    }

    /// As `handle_datagram`, for a datagram that waited: the times are its arrival, used by feedback and reports, and
    /// now.
    pub fn handle_datagram_received_at<S: Sink>(
        &mut self,
        transport: TransportKey,
        class: Class,
        datagram: &mut [u8],
        from: Destination,
        (arrived, now): (Instant, Instant),
        sink: &mut S,
    ) {
        let Some(entry) = self.transports.get(transport.0) else {
            self.stats.drops.unknown_class += 1;
            return;
        };
        let authentic = entry.stats.packets_in;
        let times = Times {
            arrived: self.clock.micros(arrived),
            now: self.clock.micros(now),
        };
        match class {
            Class::Rtp => self.on_rtp(transport.0, datagram, &from, times),
            Class::Rtcp => self.on_rtcp(transport.0, datagram, &from, times, sink),
            Class::Stun | Class::Dtls => {
                if let Some(entry) = self.transports.get_mut(transport.0) {
                    entry.handle_link(class, datagram, from, now);
                    self.after_link(transport.0, now, sink);
                }
            }
            Class::Unknown => self.stats.drops.unknown_class += 1,
        }
        if matches!(class, Class::Rtp | Class::Rtcp)
            && let Some(entry) = self.transports.get(transport.0)
            && entry.stats.packets_in != authentic
            && entry.destination.as_ref() != Some(&from)
        {
            self.on_media_from_other_tuple(transport.0, &from, now, sink);
        }
    }

    /// Handles authenticated media from a tuple other than the selected one.
    #[cold]
    fn on_media_from_other_tuple<S: Sink>(
        &mut self,
        t: u32,
        from: &Destination,
        now: Instant,
        sink: &mut S,
    ) {
        if let Some(link) = self.transports[t].link_mut() {
            link.on_authenticated_media(from, now);
            self.after_link(t, now, sink);
        }
    }

    /// Returns the next event. Scores are read when the event is taken.
    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        loop {
            match self.events.pop_front()? {
                RouterEvent::ConsumerScore { consumer, .. } => {
                    if let Some(event) = self.consumer_score_event(consumer) {
                        return Some(event);
                    }
                }
                RouterEvent::ProducerScore { producer }
                    if self.producers.get(producer.0).is_none() => {}
                event => return Some(event),
            }
        }
    }

    /// Queues score events of a producer and of all its consumers.
    pub(super) fn producer_score_changed(&mut self, p: u32) {
        let producer = ProducerKey(p);
        self.events
            .push_back(RouterEvent::ProducerScore { producer });
        for key in &self.producers[p].consumers {
            self.events.push_back(RouterEvent::ConsumerScore {
                consumer: ConsumerKey(*key),
                score: 0,
                producer_score: 0,
            });
        }
    }
}
