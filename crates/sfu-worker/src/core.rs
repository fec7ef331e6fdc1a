//! What a worker does with a datagram, a timer and a connection, whichever call they belong to.
//!
//! # Job
//! Passes each datagram to its router, runs timers and flushes, keeps addresses and connections up to date. When
//! to do so is `run`'s business; requests are in `control`, events in `report`, figures in `stats`.
//!
//! # Invariants
//! - A panic while a router handles one transport's input closes that transport alone; any other ends the
//!   worker.

use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use meeshy_sfu_io::Poller;
use meeshy_sfu_proto::link::{Certificate, username_of};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::router::{Router, TransportKey};

use crate::call::Calls;
use crate::config::WorkerConfig;
use crate::demux::{Demux, Target};
use crate::event::Event;
use crate::faults::Faults;
use crate::outbox::Outbox;
use crate::queue::Queues;
use crate::share::Share;
use crate::sockets::Sockets;
use crate::totals::Totals;
use crate::window::Window;

/// Poller tokens of TCP connections begin here; those below belong to `run`.
pub(crate) const CONNECTION: u64 = 1 << 16;

/// What handling a datagram needs, apart from the buffers it lies in.
pub(crate) struct Core {
    pub(crate) config: WorkerConfig,
    pub(crate) queues: Arc<Queues>,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) sockets: Sockets,
    pub(crate) poller: Poller,
    pub(crate) outbox: Outbox,
    pub(crate) calls: Calls,
    pub(crate) demux: Demux,
    pub(crate) window: Window,
    pub(crate) totals: Totals,
    /// Only in a worker that was asked for faults.
    pub(crate) faults: Option<Box<Faults>>,
    /// Positions of calls with input since the last flush.
    pub(crate) dirty: Vec<u32>,
}

impl Core {
    /// One datagram from the network, with the times when it arrived and when it is handled.
    pub(crate) fn input(
        &mut self,
        datagram: &mut [u8],
        from: Destination,
        (arrived, now): (Instant, Instant),
    ) {
        self.totals.packets_in += 1;
        self.totals.bytes_in += datagram.len() as u64;
        let class = classify(datagram);
        let target = match class {
            Class::Unknown => {
                self.totals.unknown_class += 1;
                return;
            }
            Class::Stun => username_of(datagram)
                .and_then(|fragment| self.demux.by_fragment(fragment))
                .or_else(|| self.demux.by_remote(&from)),
            Class::Dtls | Class::Rtp | Class::Rtcp => self.demux.by_remote(&from),
        };
        let Some(target) = target else {
            self.totals.unknown_source += 1;
            return;
        };
        let key = TransportKey(target.transport);
        let handled = self.contain(target, now, |router, outbox| {
            router.handle_datagram_received_at(key, class, datagram, from, (arrived, now), outbox);
        });
        if handled && class == Class::Stun {
            self.learn(target, from, now);
        }
    }

    /// Does what belongs to one transport; a panic in it closes that transport alone. False when there is no such
    /// call any more, or after a panic.
    #[inline]
    pub(crate) fn contain(
        &mut self,
        target: Target,
        now: Instant,
        work: impl FnOnce(&mut Router, &mut Outbox),
    ) -> bool {
        let Some(call) = self.calls.get_mut(target.router) else {
            return false;
        };
        let (router, outbox) = (&mut call.router, &mut self.outbox);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(router, outbox)));
        if !call.dirty {
            call.dirty = true;
            self.dirty.push(target.router);
        }
        if outcome.is_err() {
            self.close_panicked(target, now);
        }
        outcome.is_ok()
    }

    /// Records the source address of a valid ICE check.
    fn learn(&mut self, target: Target, from: Destination, now: Instant) {
        if self.demux.by_remote(&from) == Some(target) {
            return;
        }
        let Some(call) = self.calls.get_mut(target.router) else {
            return;
        };
        let Some(link) = call.router.link(TransportKey(target.transport)) else {
            return;
        };
        let known = |remote: &Destination| link.is_known_source(remote);
        if !known(&from) {
            return;
        }
        let Some(record) = call.transports.record_mut(target.transport) else {
            return;
        };
        let gone = self.demux.enter(&mut record.entries, target, from, known);
        if from.socket.is_tcp() {
            self.outbox.connections.validated(from.socket, target);
        }
        // A connection no longer in use would count against the limit until its transport closes.
        for remote in gone {
            if self.outbox.connections.is_of(&remote, target) {
                self.close_connection(remote.socket, now);
            }
        }
    }

    /// Closes a transport whose input panicked. A second panic while closing ends the worker.
    #[cold]
    fn close_panicked(&mut self, target: Target, now: Instant) {
        self.totals.counted.transport_panics += 1;
        let Some(call) = self.calls.get_mut(target.router) else {
            return;
        };
        let (router, id) = (call.id, call.transports.id(target.transport));
        call.router
            .close_transport(TransportKey(target.transport), now, &mut self.outbox);
        self.events_of(target.router, now);
        self.forget_transport(target, now);
        if let Some(transport) = id {
            self.queues.push(Event::TransportClosed {
                router,
                transport,
                reason: "panic".into(),
            });
        }
    }

    /// Runs the routers whose timer is due; the flush schedules their next one.
    pub(crate) fn timers(&mut self, now: Instant, mut share: Share<impl FnMut() -> Instant>) {
        while let Some(position) = self.calls.timers.pop_due(now) {
            let Some(call) = self.calls.get_mut(position) else {
                continue;
            };
            self.totals.timers_run += 1;
            call.router.handle_timeout(now, &mut self.outbox);
            self.mark_dirty(position);
            if share.is_used_up() {
                return;
            }
        }
    }

    /// Marks a call to be flushed, and its events to be drained, in the next round.
    pub(crate) fn mark_dirty(&mut self, position: u32) {
        if let Some(call) = self.calls.get_mut(position)
            && !call.dirty
        {
            call.dirty = true;
            self.dirty.push(position);
        }
    }

    /// Sends the pending packets of the dirty calls, and reports their events.
    pub(crate) fn flush(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for &position in &dirty {
            let Some(call) = self.calls.get_mut(position) else {
                continue;
            };
            call.dirty = false;
            match &mut self.faults {
                None => call.router.flush(now, &mut self.outbox),
                Some(faults) => faults.flush(&mut call.router, &self.demux, now, &mut self.outbox),
            }
            let due = call.router.poll_timeout();
            self.calls.timers.set(position, due);
            self.events_of(position, now);
        }
        dirty.clear();
        // `events_of` may have made more calls dirty; they wait for the next round.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        self.outbox.flush_udp();
        for id in self.outbox.connections.flush(&self.poller, token_of) {
            self.close_connection(id, now);
        }
    }

    /// Reports the events of the dirty calls so far.
    pub(crate) fn drain_events(&mut self, now: Instant) {
        for index in 0..self.dirty.len() {
            self.events_of(self.dirty[index], now);
        }
    }

    /// Accepts a TCP connection; the oldest unvalidated one may be closed to make room.
    pub(crate) fn accept_connection(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        now: Instant,
    ) {
        while let Some(id) = self.outbox.connections.connection_to_evict(remote.ip()) {
            self.close_connection(id, now);
        }
        let connections = &mut self.outbox.connections;
        if connections
            .accept(stream, remote, now, &self.poller, token_of)
            .is_err()
        {
            self.totals.tcp_failed += 1;
        }
    }

    /// Closes a TCP connection; its transport continues on another path if it has one.
    pub(crate) fn close_connection(&mut self, id: SocketId, now: Instant) {
        let Some((gone, owner)) = self.outbox.connections.close(id) else {
            return;
        };
        self.demux.leave(&gone);
        if let Some(target) = owner
            && let Some(call) = self.calls.get_mut(target.router)
        {
            let key = TransportKey(target.transport);
            call.router
                .remove_destination(key, &gone, now, &mut self.outbox);
            self.mark_dirty(target.router);
        }
    }

    /// Removes what is known of a transport that closed: addresses, connections, handle.
    pub(crate) fn forget_transport(&mut self, target: Target, now: Instant) {
        let Some(call) = self.calls.get_mut(target.router) else {
            return;
        };
        let Some((_, mut record)) = call.transports.remove(target.transport) else {
            return;
        };
        self.demux.close(&mut record.entries, target);
        let connections = self.outbox.connections.of(target);
        if !connections.is_empty() {
            // What the transport said last, such as its close_notify.
            for id in self.outbox.connections.flush(&self.poller, token_of) {
                self.close_connection(id, now);
            }
            for id in connections {
                self.close_connection(id, now);
            }
        }
    }

    /// Once a second: closes connections that no ICE check validated in time.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for id in self.outbox.connections.overdue(now) {
            self.close_connection(id, now);
        }
    }

    pub(crate) fn close_all(&mut self, now: Instant) {
        for position in self.calls.positions() {
            self.close_call(position, now);
        }
        self.flush(now);
    }
}

fn token_of(id: SocketId) -> u64 {
    CONNECTION + u64::from(id.0)
}
