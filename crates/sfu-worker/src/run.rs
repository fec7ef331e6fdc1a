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
//! nothing: timers lie in a heap, and only dirty calls are processed.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meeshy_sfu_io::clock::{sleep_until, thread_cpu};
use meeshy_sfu_io::{Interest, PollEvent, Poller, RecvBatch, thread};
use meeshy_sfu_proto::link::Certificate;
use meeshy_sfu_proto::net::{Destination, SocketId};
use meeshy_sfu_proto::router::{PrefetchStep, TransportKey};

use crate::call::Calls;
use crate::config::{StartError, WorkerConfig, system};
use crate::connections::Connections;
use crate::core::{CONNECTION, Core};
use crate::demux::Demux;
use crate::event::Event;
use crate::outbox::Outbox;
use crate::queue::Queues;
use crate::share::Share;
use crate::sockets::Sockets;
use crate::totals::Totals;
use crate::window::Window;

/// Messages per receive call, and most per round and socket.
const BATCH: usize = 64;
const ROUND: usize = 4 * BATCH;
/// Messages whose state is prefetched together before the first of them is handled.
const AHEAD: usize = 16;
/// How often statistics are reported and idle connections looked at.
const REPORT: Duration = Duration::from_secs(1);
/// How late the kernel may wake us.
const SLACK: Duration = Duration::from_micros(1);

const BELL: u64 = 0;
const UDP: u64 = 1;
const LISTENER: u64 = 16;

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
                faults: None,
                dirty: Vec::new(),
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
        let timeout = if self.more || !self.core.dirty.is_empty() {
            Duration::ZERO
        } else if self.busy && !window.is_zero() {
            // Sleep to the end of the window: with traffic no socket needs to wake the thread.
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
                    self.prefetch(family, index..count.min(index + AHEAD));
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

    /// Prefetches the state that these messages lead to.
    fn prefetch(&mut self, family: usize, messages: Range<usize>) {
        let mut targets = [None; AHEAD];
        for step in PrefetchStep::STEPS {
            for (target, index) in targets.iter_mut().zip(messages.clone()) {
                let message = self.receive.message(index);
                if step == PrefetchStep::Transport {
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
                    call.router.prefetch(key, message.data, step, sink);
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
                Ok((stream, remote)) => self.core.accept_connection(stream, remote, now),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // The peer gave up before we came to it.
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Out of descriptors or memory: a connection that has shown nothing yet makes room.
                    self.core.totals.tcp_failed += 1;
                    if let Some(id) = self.core.outbox.connections.oldest_unvalidated() {
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

#[cfg(test)]
pub(crate) mod tests;
