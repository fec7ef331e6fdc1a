//! Timeouts: handshakes, reports, requests, inactivity, volumes.
//!
//! # Invariants
//! - `timers` holds the `due` of every transport that has one; a transport is processed when it has passed.
//! - A transport that receives nothing and has nothing to report has no deadline, so silence costs nothing.
//!
//! # Cost
//! `poll_timeout` reads two numbers. `handle_timeout` processes what is due, at a cost logarithmic in the number of
//! transports.

use std::time::Instant;

use super::Router;
use super::clock::{Micros, NEVER};
use super::config::{ProducerKey, TransportKey};
use super::event::RouterEvent;
use super::layers::SILENCE_SKEW;
use super::stream::INACTIVE_AFTER;
use crate::link::{DtlsState, IceState, LinkEvent};
use crate::net::{Destination, Sink};

/// Interval of transport-wide feedback.
const FEEDBACK_INTERVAL: Micros = 100_000;
/// Interval of REMB to a sender with a limit, beside transport-wide feedback.
const REMB_INTERVAL: Micros = 1_500_000;
/// Interval of REMB to a sender without transport-wide feedback.
const REMB_ALONE_INTERVAL: Micros = 500_000;
/// What could not be done is retried no sooner than this.
const MIN_RETRY_DELAY: Micros = 1_000;
/// Interval of sender and receiver reports, times 1.0 to 1.5.
const REPORT_INTERVAL: Micros = 1_000_000;

impl Router {
    /// Returns when `handle_timeout` must be called next; it may find nothing to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due();
        (due != NEVER).then(|| self.clock.instant(due))
    }

    /// Processes what is due.
    pub fn handle_timeout<S: Sink>(&mut self, now: Instant, sink: &mut S) {
        let at = self.clock.micros(now);
        // Each transport once at most: what one transport schedules for another may wait for the next call.
        for _ in 0..self.timers.len() {
            let Some(t) = self.timers.pop_due(at) else {
                break;
            };
            self.run_transport(t, now, at, sink);
        }
        if self.observers.volumes_are_due(at) {
            self.events.push_back(RouterEvent::Volumes);
        }
        if self.observers.speaker_is_due(at) {
            let producer = self.observers.dominant();
            self.events
                .push_back(RouterEvent::ActiveSpeaker { producer });
        }
    }

    fn due(&self) -> Micros {
        let transports = self.timers.first().unwrap_or(NEVER);
        transports.min(self.observers.due())
    }

    /// Updates the deadline of transport `t`.
    pub(super) fn schedule(&mut self, t: u32) {
        let transport = &mut self.transports[t];
        transport.update_due();
        let due = transport.due;
        self.timers.set(t, (due != NEVER).then_some(due));
    }

    fn run_transport<S: Sink>(&mut self, t: u32, now: Instant, at: Micros, sink: &mut S) {
        if self.transports[t].deadlines.link <= at {
            if let Some(link) = self.transports[t].link_mut() {
                link.handle_timeout(now);
            }
            if !self.after_link(t, now, sink) {
                return;
            }
        }
        let deadlines = self.transports[t].deadlines;
        if deadlines.streams <= at {
            self.run_streams(t, at, sink);
        }
        if deadlines.reports <= at {
            let more = self.send_reports(t, at, sink);
            let spread = self.random.below(REPORT_INTERVAL / 2);
            let transport = &mut self.transports[t];
            transport.reported_at = at;
            transport.reporting = more;
            transport.deadlines.reports = if more {
                at + REPORT_INTERVAL + spread
            } else {
                NEVER
            };
        }
        if deadlines.feedback <= at {
            let transport = &mut self.transports[t];
            let before = std::mem::replace(
                &mut transport.media_at_last.feedback,
                transport.media_packets,
            );
            let silent = before == transport.media_packets;
            transport.feedback_stopped |= silent;
            transport.deadlines.feedback = if silent {
                NEVER
            } else {
                at + FEEDBACK_INTERVAL
            };
            self.send_feedback(t, sink);
        }
        if deadlines.remb <= at {
            let transport = &mut self.transports[t];
            let before =
                std::mem::replace(&mut transport.media_at_last.remb, transport.media_packets);
            let silent = before == transport.media_packets && transport.limit_repeats == 0;
            transport.feedback_stopped |= silent;
            let alone = transport.arrivals.is_none();
            transport.deadlines.remb = match (silent, alone) {
                (true, _) => NEVER,
                (false, true) => at + REMB_ALONE_INTERVAL,
                (false, false) => at + REMB_INTERVAL,
            };
            if !silent {
                self.send_remb(t, sink);
            }
        }
        self.schedule(t);
    }

    /// Handles NACKs, key frame requests and inactivity of the streams of one sender.
    fn run_streams<S: Sink>(&mut self, t: u32, now: Micros, sink: &mut S) {
        let mut next = NEVER;
        for position in 0..self.transports[t].producers.len() {
            let p = self.transports[t].producers[position];
            for encoding in 0..self.producers[p].streams.len() {
                let s = self.producers[p].streams[encoding];
                let asked = self.request_repair(t, s, now, sink);
                let stream = &mut self.streams[s];
                if stream.active
                    && now >= stream.newest.1 + INACTIVE_AFTER
                    && stream.mark_inactive()
                {
                    self.producer_score_changed(p);
                }
                let stream = &self.streams[s];
                next = next.min(stream.inactivity_deadline());
                if asked {
                    next = next.min(stream.urgent_deadline());
                }
            }
            self.choose_encoding(p, None, now);
            next = next.min(self.next_encoding_check(p, now));
        }
        self.transports[t].deadlines.streams = next.max(now + MIN_RETRY_DELAY);
    }

    /// Returns when to check whether another encoding of a producer is live, while one that is wanted is not.
    pub(super) fn next_encoding_check(&self, p: u32, now: Micros) -> Micros {
        let producer = &self.producers[p];
        let is_active = |s: &u32| self.streams[*s].active;
        if producer.streams.iter().all(is_active) || !producer.streams.iter().any(is_active) {
            return NEVER;
        }
        let wanted = producer.consumers.iter();
        let is_waiting = wanted
            .map(|c| self.consumers[*c].wanted_encoding())
            .chain(std::iter::once(producer.default_encoding))
            .any(|e| {
                let stream = producer.streams.get(usize::from(e));
                stream.is_some_and(|s| !is_active(s))
            });
        if is_waiting {
            now + SILENCE_SKEW / 2
        } else {
            NEVER
        }
    }

    /// Schedules work on the streams of transport `t` for `at`.
    pub(super) fn schedule_streams(&mut self, t: u32, at: Micros) {
        if let Some(transport) = self.transports.get_mut(t) {
            transport.deadlines.streams = transport.deadlines.streams.min(at);
            if at < transport.due {
                transport.due = at;
                self.timers.set(t, Some(at));
            }
        }
    }

    /// Restarts the report timer: the next report is due an interval after `from` at the earliest.
    pub(super) fn resume_reports(&mut self, t: u32, from: Micros) {
        let Some(transport) = self.transports.get_mut(t) else {
            return;
        };
        if transport.reporting || !transport.is_ready() {
            return;
        }
        let spread = self.random.below(REPORT_INTERVAL / 2);
        transport.reporting = true;
        transport.deadlines.reports = from + REPORT_INTERVAL + spread;
        self.schedule(t);
    }

    /// Resumes feedback when media arrives after silence.
    #[cold]
    pub(super) fn resume_feedback(&mut self, t: u32, now: Micros) {
        self.transports[t].feedback_stopped = false;
        self.start_feedback(t, now);
    }

    /// As `schedule_streams`, for a deadline that is mostly [`NEVER`].
    #[inline]
    pub(super) fn schedule_streams_if_due(&mut self, t: u32, at: Micros) {
        if at != NEVER {
            self.schedule_streams(t, at);
        }
    }

    /// Sends what the link has to send and handles its events. Returns false if the transport is gone.
    pub(super) fn after_link<S: Sink>(&mut self, t: u32, now: Instant, sink: &mut S) -> bool {
        let at = self.clock.micros(now);
        let transport = TransportKey(t);
        loop {
            let Some(entry) = self.transports.get_mut(t) else {
                return false;
            };
            entry.drain_link(sink);
            let was_ready = entry.is_ready();
            let before = entry.destination;
            let Some(event) = entry.poll_link_event() else {
                break;
            };
            if !was_ready && entry.is_ready() {
                self.transport_became_ready(t, at);
            }
            self.on_link_event(transport, event, before, sink);
        }
        let clock = self.clock;
        let entry = &mut self.transports[t];
        let due = entry.link().and_then(|link| link.poll_timeout());
        entry.deadlines.link = due.map_or(NEVER, |due| clock.micros(due).max(at + MIN_RETRY_DELAY));
        self.schedule(t);
        true
    }

    /// Reports a link event to the owner; `before` is the destination of media so far.
    fn on_link_event<S: Sink>(
        &mut self,
        transport: TransportKey,
        event: LinkEvent,
        before: Option<Destination>,
        sink: &mut S,
    ) {
        let entry = &mut self.transports[transport.0];
        match event {
            LinkEvent::Ice(state) => {
                if state == IceState::Disconnected {
                    self.stats.counters.ice_consent_lost += 1;
                }
                let selected = entry.destination;
                self.events.push_back(RouterEvent::TransportIce {
                    transport,
                    state,
                    selected,
                });
            }
            LinkEvent::Dtls(state) => {
                let profile = entry.tx.as_ref().map(|tx| tx.profile());
                self.events.push_back(RouterEvent::TransportDtls {
                    transport,
                    state,
                    profile,
                });
                if state == DtlsState::Closed {
                    // The peer sent close_notify: its DTLS association has ended, so the transport closes.
                    self.close_transport_because(transport, "closed by the peer".to_owned());
                }
            }
            LinkEvent::IceRestarted => {
                self.events
                    .push_back(RouterEvent::IceRestarted { transport });
            }
            LinkEvent::CheckRefused(refusal) => self.stats.counters.check_refused(refusal),
            LinkEvent::Failed(failure) => {
                entry.drain_link(sink);
                self.stats.counters.link_failed(&failure);
                self.close_transport_because(transport, failure.to_string());
            }
            LinkEvent::Selected(to) if before.is_some_and(|old| old != to) => {
                // The first selection is reported with the ICE state it causes.
                let state = entry.link().map(|link| link.ice_state());
                self.events
                    .extend(state.map(|state| RouterEvent::TransportIce {
                        transport,
                        state,
                        selected: Some(to),
                    }));
            }
            LinkEvent::Keys(_) | LinkEvent::Selected(_) => {}
        }
    }

    /// Keys and path are established: starts reports, and requests key frames for waiting consumers.
    pub(super) fn transport_became_ready(&mut self, t: u32, now: Micros) {
        self.resume_reports(t, now);
        // From now on the sender of this transport can be asked for packets and key frames.
        self.schedule_streams(t, now);
        for position in 0..self.transports[t].consumers.len() {
            let consumer = &self.consumers[self.transports[t].consumers[position]];
            if consumer.is_active() {
                let wanted =
                    self.wanted_stream(ProducerKey(consumer.producer), consumer.wanted_encoding());
                if let Some(s) = wanted {
                    self.request_stream_key_frame(s, now);
                }
            }
        }
        self.start_feedback(t, now);
    }

    /// Starts feedback to the sender, if this transport has one.
    pub(super) fn start_feedback(&mut self, t: u32, now: Micros) {
        let transport = &mut self.transports[t];
        if !transport.is_ready() {
            return;
        }
        if let (Some(arrivals), NEVER) = (&transport.arrivals, transport.deadlines.feedback) {
            // Packets recorded before the extension id was known have waited already.
            let since = arrivals.waiting_since().unwrap_or(now);
            transport.deadlines.feedback = (since + FEEDBACK_INTERVAL).max(now);
        }
        let remb = !transport.producers.is_empty()
            && (transport.max_incoming_bps.is_some()
                || transport.limit_repeats > 0
                || transport.arrival_estimator.is_some());
        if remb && transport.deadlines.remb == NEVER {
            transport.deadlines.remb = now + FEEDBACK_INTERVAL;
        }
        self.schedule(t);
    }
}
