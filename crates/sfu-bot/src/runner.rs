//! The thread that drives a share of the bots.
//!
//! # Job
//! Wakes on a grid, carries out commands, polls the bots that have something due, drains sockets, hands out events,
//! samples and rows, and watches how punctual it is.
//!
//! # Invariants
//! - The thread never waits for anything but its own clock; other threads hold its locks only to copy or swap.
//! - Each socket is drained once in a receive period: arrival times come from the kernel, so nothing is lost by it.
//!   The sockets are spread over the period, so that no tick has so much to do that media leaves late.
//!
//! # Cost
//! A wake-up without work is one comparison a bot, in a list of due times apart from the bots, and about 5 µs of the kernel.
//! Reading a socket costs a system call whether much or little waits, so with many bots each is read less often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meeshy_sfu_io::{RecvBatch, clock, thread};

use crate::clip::Clip;
use crate::command::Command;
use crate::config::Direction;
use crate::context::{Context, Now, shift_clock};
use crate::layout::{BotRow, ConsumerRow, SenderRow};
use crate::peer::Peer;
use crate::port::{Ended, EventQueue, Port, Tables};

/// Messages a socket returns at once; coalesced trains count as one.
const BATCH: usize = 32;
const HEALTH_NS: u64 = 50_000_000;
/// Sockets that carry RTCP only are drained every n-th time.
const CONTROL_EVERY: u64 = 2;
/// With many bots on a thread each socket is drained less often, one in this time on average: in calls of a few hardly more
/// than a datagram waits in each, and looking costs as much as reading.
const DRAIN_EVERY_NS: u64 = 20_000;
/// But not more seldom than this: a request for repair waits for it.
const LONGEST_PERIOD_NS: u64 = 20_000_000;
const TIMER_SLACK: Duration = Duration::from_micros(10);

/// Times and sizes of a thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) receive_ns: u64,
    pub(crate) send_ns: u64,
    pub(crate) sample_capacity: usize,
    /// How far the wall clock is put forward.
    pub(crate) clock_shift_ns: i64,
}

/// A thread's own state.
#[derive(Debug)]
pub(crate) struct Runner {
    port: Arc<Port>,
    events: Arc<EventQueue>,
    clip: Arc<Clip>,
    rhythm: Rhythm,
    peers: Vec<Peer>,
    /// When each of `peers` has something to do: a copy of its `due_ns`, close together.
    due_ns: Vec<u64>,
    /// Some peer may be connecting.
    connecting: bool,
    /// What closed bots leave behind.
    closed_rows: Vec<ConsumerRow>,
    closed_sender_rows: Vec<SenderRow>,
    closed_bot_rows: Vec<BotRow>,
    closed_drops: u64,
    closed_refused: u64,
    /// Parts the sockets of a few bots are drained in, one a tick, and how many parts were.
    parts: u64,
    drained: u64,
}

impl Runner {
    pub(crate) fn new(
        port: Arc<Port>,
        events: Arc<EventQueue>,
        clip: Arc<Clip>,
        rhythm: Rhythm,
    ) -> Self {
        Self {
            port,
            events,
            clip,
            rhythm,
            peers: Vec::new(),
            due_ns: Vec::new(),
            connecting: false,
            closed_rows: Vec::new(),
            closed_sender_rows: Vec::new(),
            closed_bot_rows: Vec::new(),
            closed_drops: 0,
            closed_refused: 0,
            parts: (rhythm.receive_ns / rhythm.send_ns).max(1),
            drained: 0,
        }
    }

    /// The thread's whole life.
    pub(crate) fn run(mut self) {
        // Also after a panic: callers waiting for rows must be woken.
        let _ended = Ended(self.port.clone());
        thread::set_timer_slack(TIMER_SLACK);
        shift_clock(self.rhythm.clock_shift_ns);
        let began = Instant::now();
        let clip = self.clip.clone();
        let mut ctx = Context::new(&clip, began);
        let mut batch = RecvBatch::new(BATCH);
        let (mut next_receive_ns, mut next_health_ns) = (0, 0);
        loop {
            ctx.now = Now::read(began);
            let woke_ns = ctx.now.mono_ns;
            ctx.health.ticks += 1;
            let (go_on, answer) = self.commands(&mut ctx);
            self.poll(&mut ctx);
            let step_ns = self.step_ns();
            if woke_ns >= next_receive_ns {
                // Missed parts are made up for, but none is drained twice.
                let missed = (woke_ns - next_receive_ns) / step_ns + 1;
                next_receive_ns += missed * step_ns;
                (0..missed.min(self.parts())).for_each(|_| self.drain_part(&mut batch, &mut ctx));
            }
            self.drain_connecting(&mut batch, &mut ctx);
            ctx.now = Now::read(began);
            self.poll(&mut ctx);
            self.hand_out(&mut ctx);
            let done_ns = began.elapsed().as_nanos() as u64;
            ctx.health.busy_max_us = ctx
                .health
                .busy_max_us
                .max((done_ns - woke_ns) as f64 / 1000.0);
            if answer.is_some() || !go_on || done_ns >= next_health_ns {
                next_health_ns = done_ns + HEALTH_NS;
                self.publish(answer, done_ns, &ctx);
            }
            if !go_on {
                return;
            }
            let wake_ns = self.next_wake_ns(done_ns, next_receive_ns);
            clock::sleep_until(began + Duration::from_nanos(wake_ns));
        }
    }

    /// Carries out a command. Returns false when the thread shall end, and the request for rows to answer.
    fn commands(&mut self, ctx: &mut Context<'_>) -> (bool, Option<u64>) {
        let (commands, answer) = self.port.take();
        let mut go_on = true;
        for command in commands {
            match command {
                Command::Adopt(peer) => {
                    self.due_ns.push(peer.due_ns);
                    self.peers.push(*peer);
                }
                Command::Connect(bot, which, server) => {
                    self.with(bot, |peer| peer.connect(which, &server, ctx))
                }
                Command::Start(bot, media) => self.with(bot, |peer| peer.start(media, ctx)),
                Command::StopSending(bot, kind) => self.with(bot, |peer| peer.stop(kind)),
                Command::Hush(bot, hushed) => self.with(bot, |peer| peer.sender.hush(hushed)),
                Command::Consume(bot, consumers) => {
                    self.with(bot, |peer| peer.consume(&consumers, ctx))
                }
                Command::Unconsume(bot, tags) => {
                    self.with(bot, |peer| peer.receiver.remove(&tags, &ctx.now))
                }
                Command::Impair(bot, up, down) => self.with(bot, |peer| peer.impair(up, down)),
                Command::Prefer(bot) => self.with(bot, |peer| peer.receiver.prefer()),
                Command::Close(bot) => self.close(bot, ctx),
                Command::Stop => {
                    while let Some(bot) = self.peers.last().map(|peer| peer.bot) {
                        self.close(bot, ctx);
                    }
                    go_on = false;
                }
            }
        }
        (go_on, answer)
    }

    fn with(&mut self, bot: u16, act: impl FnOnce(&mut Peer)) {
        if let Some(at) = self.peers.iter().position(|peer| peer.bot == bot) {
            act(&mut self.peers[at]);
            self.due_ns[at] = self.peers[at].due_ns;
            self.connecting |= self.peers[at].is_connecting();
        }
    }

    fn close(&mut self, bot: u16, ctx: &mut Context<'_>) {
        let Some(at) = self.peers.iter().position(|peer| peer.bot == bot) else {
            return;
        };
        let mut peer = self.peers.swap_remove(at);
        self.due_ns.swap_remove(at);
        peer.close(ctx);
        self.closed_rows.extend(peer.rows(ctx));
        self.closed_sender_rows.extend(peer.sender_rows());
        self.closed_bot_rows.push(peer.bot_row(&ctx.now));
        for session in peer.sessions() {
            let (drops, refused) = session.drop_counts();
            self.closed_drops += drops;
            self.closed_refused += refused;
        }
    }

    /// Parts the sockets are drained in, one a step.
    fn parts(&self) -> u64 {
        let wanted_ns = self.peers.len() as u64 * DRAIN_EVERY_NS;
        (wanted_ns.min(LONGEST_PERIOD_NS) / self.step_ns()).max(self.parts)
    }

    fn step_ns(&self) -> u64 {
        self.rhythm.receive_ns / self.parts
    }

    /// Drains the next part of the sockets.
    fn drain_part(&mut self, batch: &mut RecvBatch, ctx: &mut Context<'_>) {
        let parts = self.parts();
        let part = (self.drained % parts) as usize;
        let control = (self.drained / parts).is_multiple_of(CONTROL_EVERY);
        let period_ns = self.step_ns() * parts;
        self.drained += 1;
        for at in (part..self.peers.len()).step_by(parts as usize) {
            let peer = &mut self.peers[at];
            peer.drain(Direction::Recv, period_ns, batch, ctx);
            if control {
                peer.drain(Direction::Send, period_ns * CONTROL_EVERY, batch, ctx);
            }
            self.due_ns[at] = peer.due_ns;
        }
    }

    /// Handshakes are round trips: waiting for the slow grid would stretch a join.
    fn drain_connecting(&mut self, batch: &mut RecvBatch, ctx: &mut Context<'_>) {
        if !self.connecting {
            return;
        }
        self.connecting = false;
        let period_ns = self.step_ns() * self.parts();
        for (peer, due_ns) in self.peers.iter_mut().zip(&mut self.due_ns) {
            if !peer.is_connecting() {
                continue;
            }
            peer.drain(Direction::Send, period_ns, batch, ctx);
            peer.drain(Direction::Recv, period_ns, batch, ctx);
            *due_ns = peer.due_ns;
            self.connecting |= peer.is_connecting();
        }
    }

    fn poll(&mut self, ctx: &mut Context<'_>) {
        for (at, due_ns) in self.due_ns.iter_mut().enumerate() {
            if *due_ns <= ctx.now.mono_ns {
                let peer = &mut self.peers[at];
                peer.poll(ctx);
                *due_ns = peer.due_ns;
            }
        }
    }

    fn hand_out(&mut self, ctx: &mut Context<'_>) {
        self.events.put(&mut ctx.events);
        let capacity = self.rhythm.sample_capacity;
        self.port.samples.put(&mut ctx.samples, capacity);
        self.port.sent.put(&mut ctx.sent, capacity);
        self.port.pauses.put(&mut ctx.pauses, capacity);
    }

    fn publish(&mut self, answer: Option<u64>, now_ns: u64, ctx: &Context<'_>) {
        let mut health = ctx.health.clone();
        health.cpu_ns = clock::thread_cpu().as_nanos() as u64;
        health.wall_ns = now_ns;
        ctx.lag.report(&mut health);
        let mut socket_drops = self.closed_drops;
        health.send_refused = self.closed_refused;
        for session in self.peers.iter().flat_map(Peer::sessions) {
            let (drops, refused) = session.drop_counts();
            socket_drops += drops;
            health.send_refused += refused;
        }
        self.port.put_health(health, socket_drops);
        if answer.is_some() || self.peers.is_empty() {
            self.port.put_tables(self.tables(ctx), answer);
        }
    }

    fn tables(&self, ctx: &Context<'_>) -> Tables {
        // A megabyte for 50 bots: growing step by step would copy it several times.
        let streams =
            self.closed_rows.len() + self.peers.iter().map(Peer::stream_count).sum::<usize>();
        let mut tables = Tables {
            consumers: Vec::with_capacity(streams * ConsumerRow::SIZE),
            senders: Vec::new(),
            bots: Vec::new(),
        };
        let open = self.peers.iter().flat_map(|peer| peer.rows(ctx));
        for row in open.chain(self.closed_rows.iter().copied()) {
            tables.consumers.extend_from_slice(&row.to_bytes());
        }
        let open = self.peers.iter().flat_map(Peer::sender_rows);
        for row in open.chain(self.closed_sender_rows.iter().copied()) {
            tables.senders.extend_from_slice(&row.to_bytes());
        }
        let open = self.peers.iter().map(|peer| peer.bot_row(&ctx.now));
        for row in open.chain(self.closed_bot_rows.iter().copied()) {
            tables.bots.extend_from_slice(&row.to_bytes());
        }
        tables
    }

    fn next_wake_ns(&self, now_ns: u64, next_receive_ns: u64) -> u64 {
        let due_ns = self.due_ns.iter().min().copied().unwrap_or(u64::MAX);
        let soonest_ns = if self.connecting { now_ns } else { due_ns };
        // On the grid: several bots' packets share one wake-up.
        let grid = self.rhythm.send_ns;
        let on_grid_ns = soonest_ns
            .max(now_ns + 1)
            .div_ceil(grid)
            .saturating_mul(grid);
        on_grid_ns.min(next_receive_ns)
    }
}
