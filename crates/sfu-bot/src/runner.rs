//! The thread that drives a share of the bots.
//!
//! # Job
//! Wakes on a grid, carries out commands, drains sockets, polls the bots that have something due, hands out events,
//! samples and rows, and watches how punctual it is.
//!
//! # Invariants
//! - The thread never waits for anything but its own clock; other threads hold its locks only to copy or swap.
//! - Sockets are drained on the slow grid: arrival times come from the kernel, so nothing is lost by it.
//!
//! # Cost
//! A wake-up without work is one comparison a bot and about 5 µs of the kernel.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use meeshy_sfu_io::{EventFd, RecvBatch, clock, thread};

use crate::clip::Clip;
use crate::config::{
    BotEvent, ConnectParameters, ConsumeRequest, Direction, Kind, LinkProfile, ThreadHealth,
};
use crate::context::{Context, Now};
use crate::layout::{ConsumerRow, Sample, SenderRow};
use crate::negotiation::Media;
use crate::peer::Peer;

/// Messages a socket gives at once; coalesced trains count as one.
const BATCH: usize = 32;
const MAX_EVENTS: usize = 1 << 16;
const HEALTH_NS: u64 = 50_000_000;
/// Sockets that carry RTCP only are drained every n-th time.
const CONTROL_EVERY: u64 = 2;
const TIMER_SLACK: Duration = Duration::from_micros(10);

/// Something a thread shall do to one of its bots.
#[derive(Debug)]
pub(crate) enum Command {
    Adopt(Box<Peer>),
    Connect(u16, Direction, Box<ConnectParameters>),
    Start(u16, Media),
    StopSending(u16, Kind),
    Consume(u16, Vec<ConsumeRequest>),
    Unconsume(u16, Vec<u32>),
    Impair(u16, LinkProfile, LinkProfile),
    Close(u16),
    Stop,
}

/// Where events of all threads meet.
#[derive(Debug)]
pub(crate) struct EventQueue {
    queue: Mutex<VecDeque<BotEvent>>,
    pub(crate) bell: EventFd,
    dropped: AtomicU64,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            bell: EventFd::new()?,
            dropped: AtomicU64::new(0),
        })
    }

    pub(crate) fn take(&self, max: usize) -> Vec<BotEvent> {
        let mut queue = lock(&self.queue);
        self.bell.drain();
        let count = max.min(queue.len());
        let taken = queue.drain(..count).collect();
        if !queue.is_empty() {
            self.bell.notify();
        }
        taken
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn put(&self, events: &mut Vec<BotEvent>) {
        if events.is_empty() {
            return;
        }
        let mut queue = lock(&self.queue);
        let room = MAX_EVENTS - queue.len();
        self.dropped
            .fetch_add(events.len().saturating_sub(room) as u64, Ordering::Relaxed);
        queue.extend(events.drain(..).take(room));
        self.bell.notify();
    }
}

/// What one thread and the pool exchange.
#[derive(Debug, Default)]
pub(crate) struct Port {
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    published: Condvar,
    samples: Mutex<SampleBuffer>,
}

#[derive(Debug, Default)]
struct Inbox {
    commands: Vec<Command>,
    /// Number of the latest request for rows.
    wanted: u64,
}

#[derive(Debug, Default)]
struct Outbox {
    /// Number of the request the rows answer.
    answered: u64,
    ended: bool,
    rows: Vec<u8>,
    sender_rows: Vec<u8>,
    health: ThreadHealth,
    socket_drops: u64,
}

#[derive(Debug, Default)]
struct SampleBuffer {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Port {
    pub(crate) fn send(&self, command: Command) {
        lock(&self.inbox).commands.push(command);
    }

    /// Rows of all consumers and of all senders, as of the next tick; the last ones after the thread has ended.
    pub(crate) fn rows(&self) -> (Vec<u8>, Vec<u8>) {
        let wanted = {
            let mut inbox = lock(&self.inbox);
            inbox.wanted += 1;
            inbox.wanted
        };
        let outbox = lock(&self.outbox);
        let waiting = |outbox: &mut Outbox| outbox.answered < wanted && !outbox.ended;
        let limit = Duration::from_secs(2);
        let (outbox, _) = self
            .published
            .wait_timeout_while(outbox, limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        (outbox.rows.clone(), outbox.sender_rows.clone())
    }

    /// Takes whole samples of at most `max` bytes.
    pub(crate) fn samples(&self, max: usize, out: &mut Vec<u8>) {
        let mut buffer = lock(&self.samples);
        let count = (max / Sample::SIZE * Sample::SIZE).min(buffer.bytes.len());
        let (head, tail) = buffer.bytes.as_slices();
        let from_head = count.min(head.len());
        out.extend_from_slice(&head[..from_head]);
        out.extend_from_slice(&tail[..count - from_head]);
        buffer.bytes.drain(..count);
    }

    /// Latest self-observation, kernel drops, samples dropped.
    pub(crate) fn health(&self) -> (ThreadHealth, u64, u64) {
        let (health, drops) = {
            let outbox = lock(&self.outbox);
            let alive = !outbox.ended;
            let health = ThreadHealth {
                alive,
                ..outbox.health.clone()
            };
            (health, outbox.socket_drops)
        };
        (health, drops, lock(&self.samples).dropped)
    }
}

/// Times and sizes of a thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) receive_ns: u64,
    pub(crate) send_ns: u64,
    pub(crate) sample_capacity: usize,
}

/// A thread's own state.
#[derive(Debug)]
pub(crate) struct Runner {
    port: Arc<Port>,
    events: Arc<EventQueue>,
    clip: Arc<Clip>,
    rhythm: Rhythm,
    peers: Vec<Peer>,
    /// What closed bots leave behind.
    closed_rows: Vec<ConsumerRow>,
    closed_sender_rows: Vec<SenderRow>,
    closed_drops: u64,
    closed_refused: u64,
    lag: Lag,
    drains: u64,
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
            closed_rows: Vec::new(),
            closed_sender_rows: Vec::new(),
            closed_drops: 0,
            closed_refused: 0,
            lag: Lag::default(),
            drains: 0,
        }
    }

    /// The thread's whole life.
    pub(crate) fn run(mut self) {
        // Told even when a panic ends the thread, or whoever waits for rows would wait in vain.
        let _ended = Ended(self.port.clone());
        thread::set_timer_slack(TIMER_SLACK);
        let began = Instant::now();
        let clip = self.clip.clone();
        let mut ctx = Context::new(&clip, began);
        let mut batch = RecvBatch::new(BATCH);
        let (mut planned_ns, mut next_receive_ns, mut next_health_ns) = (0, 0, 0);
        loop {
            ctx.now = Now::read(began);
            let woke_ns = ctx.now.mono_ns;
            self.lag.add(woke_ns.saturating_sub(planned_ns), woke_ns);
            let (go_on, answer) = self.commands(&mut ctx);
            if woke_ns >= next_receive_ns {
                // Missed ticks are not made up for: one drain takes everything.
                next_receive_ns = woke_ns + self.rhythm.receive_ns;
                self.drain_all(&mut batch, &mut ctx);
            } else {
                self.drain_connecting(&mut batch, &mut ctx);
            }
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
            planned_ns = self.next_wake_ns(done_ns, next_receive_ns);
            clock::sleep_until(began + Duration::from_nanos(planned_ns));
        }
    }

    /// Carries out what was asked. Gives false when the thread shall end, and the request for rows to answer.
    fn commands(&mut self, ctx: &mut Context<'_>) -> (bool, Option<u64>) {
        let (commands, wanted) = {
            let mut inbox = lock(&self.port.inbox);
            (std::mem::take(&mut inbox.commands), inbox.wanted)
        };
        let mut go_on = true;
        for command in commands {
            match command {
                Command::Adopt(peer) => self.peers.push(*peer),
                Command::Connect(bot, which, server) => {
                    self.with(bot, |peer| peer.connect(which, &server, ctx))
                }
                Command::Start(bot, media) => self.with(bot, |peer| peer.start(media, ctx)),
                Command::StopSending(bot, kind) => self.with(bot, |peer| peer.stop(kind)),
                Command::Consume(bot, consumers) => {
                    self.with(bot, |peer| peer.consume(&consumers, ctx))
                }
                Command::Unconsume(bot, tags) => {
                    self.with(bot, |peer| peer.receiver.remove(&tags, &ctx.now))
                }
                Command::Impair(bot, up, down) => self.with(bot, |peer| peer.impair(up, down)),
                Command::Close(bot) => self.close(bot, ctx),
                Command::Stop => {
                    while let Some(bot) = self.peers.last().map(|peer| peer.bot) {
                        self.close(bot, ctx);
                    }
                    go_on = false;
                }
            }
        }
        let answered = lock(&self.port.outbox).answered;
        (go_on, (wanted > answered).then_some(wanted))
    }

    fn with(&mut self, bot: u16, act: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.bot == bot) {
            act(peer);
        }
    }

    fn close(&mut self, bot: u16, ctx: &mut Context<'_>) {
        let Some(at) = self.peers.iter().position(|peer| peer.bot == bot) else {
            return;
        };
        let mut peer = self.peers.swap_remove(at);
        peer.close(ctx);
        self.closed_rows.extend(peer.rows(ctx));
        self.closed_sender_rows.extend(peer.sender_rows());
        for session in [&peer.send, &peer.recv] {
            let (drops, refused) = session.troubles();
            self.closed_drops += drops;
            self.closed_refused += refused;
        }
    }

    fn drain_all(&mut self, batch: &mut RecvBatch, ctx: &mut Context<'_>) {
        self.drains += 1;
        for peer in &mut self.peers {
            peer.drain(Direction::Recv, batch, ctx);
            if self.drains.is_multiple_of(CONTROL_EVERY) || peer.is_connecting() {
                peer.drain(Direction::Send, batch, ctx);
            }
        }
    }

    /// Handshakes are round trips: waiting for the slow grid would stretch a join.
    fn drain_connecting(&mut self, batch: &mut RecvBatch, ctx: &mut Context<'_>) {
        for peer in self.peers.iter_mut().filter(|peer| peer.is_connecting()) {
            peer.drain(Direction::Send, batch, ctx);
            peer.drain(Direction::Recv, batch, ctx);
        }
    }

    fn poll(&mut self, ctx: &mut Context<'_>) {
        for peer in &mut self.peers {
            if peer.due_ns <= ctx.now.mono_ns {
                peer.poll(ctx);
            }
        }
    }

    fn hand_out(&mut self, ctx: &mut Context<'_>) {
        self.events.put(&mut ctx.events);
        if ctx.samples.is_empty() {
            return;
        }
        let mut buffer = lock(&self.port.samples);
        let room = self
            .rhythm
            .sample_capacity
            .saturating_sub(buffer.bytes.len() / Sample::SIZE);
        buffer.dropped += ctx.samples.len().saturating_sub(room) as u64;
        for sample in ctx.samples.drain(..).take(room) {
            buffer.bytes.extend(&sample.to_bytes());
        }
    }

    fn publish(&mut self, answer: Option<u64>, now_ns: u64, ctx: &Context<'_>) {
        let mut health = ctx.health.clone();
        health.cpu_ns = clock::thread_cpu().as_nanos() as u64;
        health.wall_ns = now_ns;
        self.lag.report(&mut health);
        let mut socket_drops = self.closed_drops;
        health.send_refused = self.closed_refused;
        for session in self.peers.iter().flat_map(|peer| [&peer.send, &peer.recv]) {
            let (drops, refused) = session.troubles();
            socket_drops += drops;
            health.send_refused += refused;
        }
        let (mut rows, mut sender_rows) = (Vec::new(), Vec::new());
        let last = self.peers.is_empty();
        if answer.is_some() || last {
            let open = self.peers.iter().flat_map(|peer| peer.rows(ctx));
            open.chain(self.closed_rows.iter().copied())
                .for_each(|row| rows.extend_from_slice(&row.to_bytes()));
            let open = self.peers.iter().flat_map(Peer::sender_rows);
            open.chain(self.closed_sender_rows.iter().copied())
                .for_each(|row| sender_rows.extend_from_slice(&row.to_bytes()));
        }
        let mut outbox = lock(&self.port.outbox);
        outbox.health = health;
        outbox.socket_drops = socket_drops;
        if answer.is_some() || last {
            (outbox.rows, outbox.sender_rows) = (rows, sender_rows);
        }
        if let Some(answer) = answer {
            outbox.answered = answer;
            self.port.published.notify_all();
        }
    }

    fn next_wake_ns(&self, now_ns: u64, next_receive_ns: u64) -> u64 {
        let due_ns = self
            .peers
            .iter()
            .map(|peer| peer.due_ns)
            .min()
            .unwrap_or(u64::MAX);
        let connecting = self.peers.iter().any(Peer::is_connecting);
        let soonest_ns = if connecting { now_ns } else { due_ns };
        // On the grid: several bots' packets share one wake-up.
        let grid = self.rhythm.send_ns;
        let on_grid_ns = soonest_ns
            .max(now_ns + 1)
            .div_ceil(grid)
            .saturating_mul(grid);
        on_grid_ns.min(next_receive_ns)
    }
}

/// Tells waiters that a thread is over.
struct Ended(Arc<Port>);

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.0.outbox).ended = true;
        self.0.published.notify_all();
    }
}

/// Locks, also after a panic elsewhere: what is behind these locks is whole at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How late wake-ups were.
#[derive(Debug)]
struct Lag {
    count: u64,
    sum_ns: u64,
    max_ns: u64,
    /// Number of the present second, its worst case and that of the second before.
    second: u64,
    worst_ns: [u64; 2],
    /// By powers of √2 nanoseconds.
    buckets: [u64; 80],
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            count: 0,
            sum_ns: 0,
            max_ns: 0,
            second: 0,
            worst_ns: [0; 2],
            buckets: [0; 80],
        }
    }
}

impl Lag {
    fn add(&mut self, lag_ns: u64, now_ns: u64) {
        let second = now_ns / 1_000_000_000;
        if second != self.second {
            let before = if second == self.second + 1 {
                self.worst_ns[0]
            } else {
                0
            };
            self.worst_ns = [0, before];
            self.second = second;
        }
        self.worst_ns[0] = self.worst_ns[0].max(lag_ns);
        self.count += 1;
        self.sum_ns += lag_ns;
        self.max_ns = self.max_ns.max(lag_ns);
        let bucket = ((lag_ns.max(1) as f64).log2() * 2.0) as usize;
        self.buckets[bucket.min(79)] += 1;
    }

    fn report(&self, health: &mut ThreadHealth) {
        health.ticks = self.count;
        health.lag_mean_us = self.sum_ns as f64 / self.count.max(1) as f64 / 1000.0;
        health.lag_max_us = self.max_ns as f64 / 1000.0;
        health.lag_recent_us = self.worst_ns[0].max(self.worst_ns[1]) as f64 / 1000.0;
        let mut left = self.count.div_ceil(100);
        for (bucket, &count) in self.buckets.iter().enumerate().rev() {
            if count >= left {
                let bound_us = 2_f64.powf((bucket + 1) as f64 / 2.0) / 1000.0;
                health.lag_p99_us = bound_us.min(health.lag_max_us);
                return;
            }
            left -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_worst_case_is_forgotten_after_two_seconds() {
        let mut lag = Lag::default();
        let mut recent = |lag_ns, now_ns| {
            lag.add(lag_ns, now_ns);
            let mut health = ThreadHealth::default();
            lag.report(&mut health);
            health.lag_recent_us
        };
        assert_eq!(recent(3_000_000, 900_000_000), 3000.0);
        assert_eq!(recent(1_000_000, 1_900_000_000), 3000.0);
        assert_eq!(recent(2_000_000, 2_100_000_000), 2000.0);
        assert_eq!(recent(1_000, 9_000_000_000), 1.0);
    }

    #[test]
    fn the_99th_percentile_lies_in_its_bucket() {
        let mut lag = Lag::default();
        (0..1000).for_each(|number| lag.add(if number < 985 { 50_000 } else { 3_000_000 }, number));
        let mut health = ThreadHealth::default();
        lag.report(&mut health);
        assert!((health.lag_mean_us - 94.25).abs() < 0.01);
        assert_eq!(health.lag_max_us, 3000.0);
        assert!(
            health.lag_p99_us >= 2900.0 && health.lag_p99_us <= 3000.0,
            "{}",
            health.lag_p99_us
        );
    }

    #[test]
    fn samples_come_out_whole_and_in_order() {
        let port = Port::default();
        for seq in 0..10 {
            lock(&port.samples).bytes.extend(
                &Sample {
                    seq,
                    ..Sample::default()
                }
                .to_bytes(),
            );
        }
        let mut out = Vec::new();
        port.samples(3 * Sample::SIZE + 5, &mut out);
        assert_eq!(out.len(), 3 * Sample::SIZE);
        port.samples(usize::MAX, &mut out);
        let seqs: Vec<u8> = out.chunks(Sample::SIZE).map(|sample| sample[16]).collect();
        assert_eq!(seqs, (0..10).collect::<Vec<u8>>());
    }
}
