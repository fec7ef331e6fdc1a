//! The thread of a worker: wait, receive, route, send.
//!
//! # Job
//! One round after the other: sleep until there is input or a timer is due, give every datagram to its
//! router, carry out requests, let routers flush, hand trains to the kernel, report. What a datagram means
//! is the router's business, what a request does is in `control`.
//!
//! # Invariants
//! - No lock, allocation or log between receiving a datagram and sending its copies: requests and events are
//!   looked at once per round and only when their bell rang or a router has something to say.
//! - A panic while a router handles one transport's input closes that transport alone; any other ends the
//!   worker.
//! - One round receives at most `ROUND` messages, accepts at most `BATCH` connections, and gives requests and
//!   timers a `Share` each, so nothing starves.
//!
//! # Cost
//! With an open window one wake-up per window, however many datagrams came. A call that has nothing to do costs
//! nothing: timers lie in a heap, and only calls that were touched are looked at.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use meeshy_sfu_io::clock::{sleep_until, thread_cpu};
use meeshy_sfu_io::{Interest, PollEvent, Poller, RecvBatch, thread};
use meeshy_sfu_proto::ice::IceProtocol;
use meeshy_sfu_proto::link::{Certificate, username_of};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::router::{Ahead, TransportKey};

use crate::call::Calls;
use crate::command::Protocol;
use crate::config::{StartError, WorkerConfig, system};
use crate::connections::Connections;
use crate::demux::{Demux, Target};
use crate::event::Event;
use crate::outbox::Outbox;
use crate::queue::Queues;
use crate::share::Share;
use crate::sockets::Sockets;
use crate::stats::Totals;
use crate::window::Window;

/// Messages per receive call, and most per round and socket.
const BATCH: usize = 64;
const ROUND: usize = 4 * BATCH;
/// Messages whose state is fetched from far memory together, before the first of them is handled.
const AHEAD: usize = 16;
/// How often statistics are reported and idle connections looked at.
const REPORT: Duration = Duration::from_secs(1);
/// How late the kernel may wake us.
const SLACK: Duration = Duration::from_micros(1);

const BELL: u64 = 0;
const UDP: u64 = 1;
const LISTENER: u64 = 16;
const CONNECTION: u64 = 1 << 16;

/// Everything the thread owns.
pub(crate) struct Loop {
    pub(crate) core: Core,
    receive: RecvBatch,
    listeners: Vec<TcpListener>,
    /// Positions of listeners that are not watched until the next report.
    resting: Vec<usize>,
    ready: Vec<PollEvent>,
    frame: Box<[u8; meeshy_sfu_io::MAX_FRAME]>,
    /// When the next round is due while the window is open.
    tick: Instant,
    /// When each UDP socket had nothing more to give.
    emptied: [Instant; 2],
    /// The last round found input.
    busy: bool,
    /// A socket may have more.
    more: bool,
    report_at: Instant,
}

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
    /// Positions of calls with input since the last flush.
    touched: Vec<u32>,
    /// Transports whose input panicked in this round.
    broken: Vec<Target>,
}

impl Loop {
    /// Prepares the thread it is called on.
    pub(crate) fn new(
        config: WorkerConfig,
        mut sockets: Sockets,
        certificate: Certificate,
        queues: Arc<Queues>,
    ) -> Result<Loop, StartError> {
        if let Some(cpu) = config.pin_cpu {
            thread::pin(cpu).map_err(|source| StartError::Cpu { cpu, source })?;
        }
        thread::set_timer_slack(SLACK);
        let poller = Poller::new().map_err(system("make a poller"))?;
        let watch = |fd, token| {
            poller
                .add(fd, token, Interest::Readable)
                .map_err(system("watch a socket"))
        };
        watch(queues.request_fd(), BELL)?;
        for (family, socket) in sockets.udp.iter().enumerate() {
            if let Some(socket) = socket {
                watch(socket.as_fd(), UDP + family as u64)?;
            }
        }
        let listeners = std::mem::take(&mut sockets.listeners);
        for (position, listener) in listeners.iter().enumerate() {
            watch(listener.as_fd(), LISTENER + position as u64)?;
        }
        let now = Instant::now();
        let most = Duration::from_micros(config.window_max_us.into());
        queues.push(Event::Ready {
            pid: std::process::id(),
            index: config.index,
            port: sockets.port,
            candidates: sockets.offer(true, true).map(|(c, _)| c.clone()).collect(),
        });
        let outbox = Outbox::new(std::mem::take(&mut sockets.udp), config.max_connections);
        Ok(Loop {
            core: Core {
                window: Window::new(most, now, thread_cpu()),
                totals: Totals::new(now),
                config,
                queues,
                certificate: Arc::new(certificate),
                sockets,
                poller,
                outbox,
                calls: Calls::default(),
                demux: Demux::new(),
                touched: Vec::new(),
                broken: Vec::new(),
            },
            receive: RecvBatch::new(BATCH),
            listeners,
            resting: Vec::new(),
            ready: Vec::new(),
            frame: Box::new([0; meeshy_sfu_io::MAX_FRAME]),
            tick: now,
            emptied: [now; 2],
            busy: false,
            more: false,
            report_at: now + REPORT,
        })
    }

    /// Works until asked to stop.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.core.queues.is_stopping() {
            self.round()?;
        }
        self.core.close_all(Instant::now());
        Ok(())
    }

    /// Waits once and does all that is due.
    pub(crate) fn round(&mut self) -> io::Result<()> {
        self.wait()?;
        let now = Instant::now();
        self.core.totals.rounds += 1;
        self.busy = false;
        self.more = false;
        let ready = std::mem::take(&mut self.ready);
        let mut bell = false;
        for event in &ready {
            match event.token {
                BELL => bell = true,
                token @ UDP..LISTENER => self.receive((token - UDP) as usize, now)?,
                token @ LISTENER..CONNECTION => self.accept((token - LISTENER) as usize, now),
                _ => self.connection(event, now),
            }
        }
        self.ready = ready;
        if bell {
            self.core.carry_out(now, Share::new(Instant::now));
        }
        self.core.timers(now, Share::new(Instant::now));
        self.core.flush(now);
        if self.core.window.is_due(now) {
            self.core.window.measure(now, thread_cpu());
        }
        if now >= self.report_at {
            self.report_at = now + REPORT;
            self.core.sweep(now);
            self.wake_listeners();
            self.core.report(now);
        }
        Ok(())
    }

    /// Sleeps until there is something to do, and says what in `ready`.
    fn wait(&mut self) -> io::Result<()> {
        let window = self.core.window.length();
        // What the last flush left is to be flushed now.
        let timeout = if self.more || !self.core.touched.is_empty() {
            Duration::ZERO
        } else if self.busy && !window.is_zero() {
            // On the grid of the window: as long as there is traffic nobody has to wake us for it.
            self.tick = (self.tick + window).max(Instant::now());
            sleep_until(self.tick);
            Duration::ZERO
        } else {
            let now = Instant::now();
            self.tick = now;
            let due = self
                .core
                .calls
                .timers
                .first()
                .map_or(self.report_at, |d| d.min(self.report_at));
            due.saturating_duration_since(now)
        };
        self.ready.clear();
        self.ready.extend(self.core.poller.wait(Some(timeout))?);
        Ok(())
    }

    fn receive(&mut self, family: usize, now: Instant) -> io::Result<()> {
        let mut received = 0;
        while received < ROUND {
            let Some(socket) = self.core.outbox.udp(family) else {
                return Ok(());
            };
            let count = self.receive.recv(socket)?;
            for index in 0..count {
                if index % AHEAD == 0 {
                    self.look_ahead(family, index..count.min(index + AHEAD));
                }
                let message = self.receive.message(index);
                let from = Destination {
                    socket: SocketId(family as u16),
                    remote: message.remote,
                };
                if message.truncated {
                    self.core.totals.truncated += 1;
                    continue;
                }
                // The wall clock may be set anew; what was not there when the socket was last empty came later.
                let arrived = message.arrived.clamp(self.emptied[family], now);
                for datagram in message.segments() {
                    self.core.input(datagram, from, (arrived, now));
                }
            }
            if let Some(drops) = self.receive.reported_drops() {
                self.core.totals.kernel_drops[family] = drops;
            }
            received += count;
            if count < self.receive.capacity() {
                self.emptied[family] = now;
                break;
            }
        }
        self.busy |= received > 0;
        self.more |= received >= ROUND;
        Ok(())
    }

    /// Has the state that these messages lead to brought near.
    fn look_ahead(&mut self, family: usize, messages: Range<usize>) {
        let mut targets = [None; AHEAD];
        for step in Ahead::STEPS {
            for (target, index) in targets.iter_mut().zip(messages.clone()) {
                let message = self.receive.message(index);
                if step == Ahead::Transport {
                    let from = Destination {
                        socket: SocketId(family as u16),
                        remote: message.remote,
                    };
                    *target = self.core.demux.by_remote(&from);
                }
                let Some(target) = *target else { continue };
                if let Some(call) = self.core.calls.get_mut(target.router) {
                    let key = TransportKey(target.transport);
                    let sink = &self.core.outbox;
                    call.router.look_ahead(key, message.data, step, sink);
                }
                if step.is_shared() {
                    break;
                }
            }
        }
    }

    /// Takes connections that wait; those beyond a batch are there again in the next round.
    fn accept(&mut self, position: usize, now: Instant) {
        for _ in 0..BATCH {
            let listener = &self.listeners[position];
            match listener.accept() {
                Ok((stream, remote)) => self.core.welcome(stream, remote, now),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // The peer gave up before we came to it.
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Out of descriptors or memory: a connection that has shown nothing yet makes room.
                    self.core.totals.tcp_failed += 1;
                    if let Some(id) = self.core.outbox.connections.first_stranger() {
                        self.core.close_connection(id, now);
                        continue;
                    }
                    // Asking again at once would only burn the CPU.
                    if self.core.poller.remove(listener.as_fd()).is_ok() {
                        self.resting.push(position);
                    }
                    return;
                }
            }
        }
    }

    /// Watches listeners again that had failed.
    fn wake_listeners(&mut self) {
        for position in std::mem::take(&mut self.resting) {
            let fd = self.listeners[position].as_fd();
            let token = LISTENER + position as u64;
            if self.core.poller.add(fd, token, Interest::Readable).is_err() {
                self.resting.push(position);
            }
        }
    }

    fn connection(&mut self, event: &PollEvent, now: Instant) {
        let id = SocketId((event.token - CONNECTION) as u16);
        let mut alive = true;
        if event.writable {
            let Core { outbox, poller, .. } = &mut self.core;
            alive = outbox.connections.writable(id, poller, event.token);
        }
        if event.readable && alive {
            self.busy = true;
            alive = self.core.outbox.connections.fill(id);
            loop {
                let connections: &mut Connections = &mut self.core.outbox.connections;
                match connections.next_frame(id, &mut self.frame[..]) {
                    Ok(Some((len, from))) => {
                        self.core.input(&mut self.frame[..len], from, (now, now));
                    }
                    Ok(None) => break,
                    Err(()) => {
                        alive = false;
                        break;
                    }
                }
            }
        }
        if !alive {
            self.core.close_connection(id, now);
        }
    }
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
        let Some(call) = self.calls.get_mut(target.router) else {
            return;
        };
        let key = TransportKey(target.transport);
        let sabotaged = call
            .transports
            .record_mut(target.transport)
            .is_some_and(|record| std::mem::take(&mut record.sabotaged));
        let (router, outbox) = (&mut call.router, &mut self.outbox);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if sabotaged {
                panic!("asked to panic in the input of a transport");
            }
            router.handle_waiting(key, class, datagram, from, (arrived, now), outbox);
        }));
        if !call.touched {
            call.touched = true;
            self.touched.push(target.router);
        }
        if outcome.is_err() {
            self.broken.push(target);
            self.mend(now);
        } else if class == Class::Stun {
            self.learn(target, from, now);
        }
    }

    /// Enters the source of a check that the link found valid.
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
        // A connection nobody uses any more would count until its transport closes.
        for remote in gone {
            if self.outbox.connections.is_of(&remote, target) {
                self.close_connection(remote.socket, now);
            }
        }
    }

    /// Closes transports whose input panicked. A second panic while closing ends the worker.
    #[cold]
    fn mend(&mut self, now: Instant) {
        while let Some(target) = self.broken.pop() {
            self.totals.transport_panics += 1;
            let Some(call) = self.calls.get_mut(target.router) else {
                continue;
            };
            let (router, id) = (call.id, call.transports.id(target.transport));
            call.router
                .close_transport(TransportKey(target.transport), now, &mut self.outbox);
            self.events_of(target.router, now);
            self.forget_transport(target, now);
            if let Some(transport) = id {
                let reason = "panic".into();
                self.queues.push(Event::TransportClosed {
                    router,
                    transport,
                    reason,
                });
            }
        }
    }

    /// Lets routers with a due timer act; the flush enters their next one.
    pub(crate) fn timers(&mut self, now: Instant, mut share: Share<impl FnMut() -> Instant>) {
        while let Some(position) = self.calls.timers.pop_due(now) {
            let Some(call) = self.calls.get_mut(position) else {
                continue;
            };
            self.totals.timers_run += 1;
            call.router.handle_timeout(now, &mut self.outbox);
            self.touch(position);
            if share.is_used_up() {
                return;
            }
        }
    }

    /// The next round flushes this call and hears its events.
    pub(crate) fn touch(&mut self, position: u32) {
        if let Some(call) = self.calls.get_mut(position)
            && !call.touched
        {
            call.touched = true;
            self.touched.push(position);
        }
    }

    /// Sends what the touched calls have waiting, and reports what they say.
    pub(crate) fn flush(&mut self, now: Instant) {
        let mut touched = std::mem::take(&mut self.touched);
        for &position in &touched {
            let Some(call) = self.calls.get_mut(position) else {
                continue;
            };
            call.touched = false;
            call.router.flush(now, &mut self.outbox);
            let due = call.router.poll_timeout();
            self.calls.timers.set(position, due);
            self.events_of(position, now);
        }
        touched.clear();
        // `events_of` may have touched more; they wait for the next round.
        touched.append(&mut self.touched);
        self.touched = touched;
        self.outbox.flush_udp();
        for id in self.outbox.connections.flush(&self.poller, token_of) {
            self.close_connection(id, now);
        }
    }

    /// Reports what the touched calls have said so far.
    pub(crate) fn hear(&mut self, now: Instant) {
        for index in 0..self.touched.len() {
            self.events_of(self.touched[index], now);
        }
    }

    /// Takes up a TCP connection; another that nothing has validated may have to make room.
    fn welcome(&mut self, stream: TcpStream, remote: SocketAddr, now: Instant) {
        while let Some(id) = self.outbox.connections.in_the_way_of(remote.ip()) {
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

    /// Ends a TCP connection; its transport goes on by another way if it has one.
    fn close_connection(&mut self, id: SocketId, now: Instant) {
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
            self.touch(target.router);
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

    /// Once a second: closes connections that nobody validated.
    fn sweep(&mut self, now: Instant) {
        for id in self.outbox.connections.overdue(now) {
            self.close_connection(id, now);
        }
    }

    fn close_all(&mut self, now: Instant) {
        for position in self.calls.positions() {
            self.close_call(position, now);
        }
        self.flush(now);
    }
}

/// The protocol behind a socket.
pub(crate) fn protocol_of(id: SocketId) -> Protocol {
    if id.is_tcp() {
        Protocol::Tcp
    } else {
        Protocol::Udp
    }
}

/// The same in the words of the link.
pub(crate) fn ice_protocol(protocol: Protocol) -> IceProtocol {
    match protocol {
        Protocol::Udp => IceProtocol::Udp,
        Protocol::Tcp => IceProtocol::Tcp,
    }
}

fn token_of(id: SocketId) -> u64 {
    CONNECTION + u64::from(id.0)
}

#[cfg(test)]
pub(crate) mod tests;
