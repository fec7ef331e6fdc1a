//! What a thread of bots and the control side exchange: commands in, rows, samples, events and health out.
//!
//! # Invariants
//! - Locks are held to copy, swap or append, never to work or to wait for the network.
//! - A caller waiting for rows is woken when the thread answers or ends, also by a panic.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use meeshy_sfu_io::EventFd;

use crate::command::Command;
use crate::config::{BotEvent, ThreadHealth};
use crate::layout::{Pause, Record, Sample, SentFrame};
use crate::lock::lock;

const MAX_EVENTS: usize = 1 << 16;
/// Longest wait for rows; a thread that needs longer is dead or starved, and its last rows are given.
const ROWS_WAIT: Duration = Duration::from_secs(2);

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

    /// Takes up to `max` events; the bell keeps ringing while some are left.
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

    /// Events that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Appends all of `events` and empties it.
    pub(crate) fn put(&self, events: &mut Vec<BotEvent>) {
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
    pub(crate) samples: Records<Sample>,
    pub(crate) sent: Records<SentFrame>,
    pub(crate) pauses: Records<Pause>,
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
    tables: Tables,
    health: ThreadHealth,
    socket_drops: u64,
}

/// Rows as bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tables {
    pub(crate) consumers: Vec<u8>,
    pub(crate) senders: Vec<u8>,
    pub(crate) bots: Vec<u8>,
}

/// Records on their way from a thread to the control side, as bytes.
#[derive(Debug)]
pub(crate) struct Records<T> {
    buffer: Mutex<RecordBuffer>,
    of: PhantomData<fn(T)>,
}

#[derive(Debug, Default)]
struct RecordBuffer {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self {
            buffer: Mutex::default(),
            of: PhantomData,
        }
    }
}

impl<T: Record> Records<T> {
    /// Control side: takes whole records of at most `max` bytes.
    pub(crate) fn take(&self, max: usize, out: &mut Vec<u8>) {
        let mut buffer = lock(&self.buffer);
        let count = (max / T::LEN * T::LEN).min(buffer.bytes.len());
        let (head, tail) = buffer.bytes.as_slices();
        let from_head = count.min(head.len());
        out.extend_from_slice(&head[..from_head]);
        out.extend_from_slice(&tail[..count - from_head]);
        buffer.bytes.drain(..count);
    }

    /// Thread: hands out records and empties the list; what exceeds `capacity` is counted and dropped.
    pub(crate) fn put(&self, records: &mut Vec<T>, capacity: usize) {
        if records.is_empty() {
            return;
        }
        let mut buffer = lock(&self.buffer);
        let room = capacity.saturating_sub(buffer.bytes.len() / T::LEN);
        buffer.dropped += records.len().saturating_sub(room) as u64;
        for record in records.drain(..).take(room) {
            record.append_to(&mut buffer.bytes);
        }
    }

    /// Records that found no room.
    fn dropped(&self) -> u64 {
        lock(&self.buffer).dropped
    }
}

impl Port {
    /// Control side: has the thread do something at its next tick.
    pub(crate) fn send(&self, command: Command) {
        lock(&self.inbox).commands.push(command);
    }

    /// Control side: rows as of the thread's next tick; the last ones after it has ended.
    pub(crate) fn tables(&self) -> Tables {
        let wanted = {
            let mut inbox = lock(&self.inbox);
            inbox.wanted += 1;
            inbox.wanted
        };
        let waiting = |outbox: &mut Outbox| outbox.answered < wanted && !outbox.ended;
        let waited = self
            .published
            .wait_timeout_while(lock(&self.outbox), ROWS_WAIT, waiting);
        let (outbox, _) = waited.unwrap_or_else(PoisonError::into_inner);
        outbox.tables.clone()
    }

    /// Control side: latest self-observation, kernel drops, records dropped.
    pub(crate) fn health(&self) -> (ThreadHealth, u64, u64) {
        let (health, drops) = {
            let outbox = lock(&self.outbox);
            let alive = !outbox.ended;
            (
                ThreadHealth {
                    alive,
                    ..outbox.health.clone()
                },
                outbox.socket_drops,
            )
        };
        let lost = self.samples.dropped() + self.sent.dropped() + self.pauses.dropped();
        (health, drops, lost)
    }

    /// Thread: takes the commands, and the number of the request for rows if one is open.
    pub(crate) fn take(&self) -> (Vec<Command>, Option<u64>) {
        let (commands, wanted) = {
            let mut inbox = lock(&self.inbox);
            (std::mem::take(&mut inbox.commands), inbox.wanted)
        };
        let answered = lock(&self.outbox).answered;
        (commands, (wanted > answered).then_some(wanted))
    }

    /// Thread: shows its health.
    pub(crate) fn put_health(&self, health: ThreadHealth, socket_drops: u64) {
        let mut outbox = lock(&self.outbox);
        outbox.health = health;
        outbox.socket_drops = socket_drops;
    }

    /// Thread: answers a request for rows, or leaves the last ones behind.
    pub(crate) fn put_tables(&self, tables: Tables, answer: Option<u64>) {
        let mut outbox = lock(&self.outbox);
        outbox.tables = tables;
        outbox.answered = answer.unwrap_or(outbox.answered);
        self.published.notify_all();
    }
}

/// Wakes waiters when a thread ends.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Arc<Port>);

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.0.outbox).ended = true;
        self.0.published.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_out_whole_and_in_order_and_the_surplus_is_counted() {
        let port = Port::default();
        let mut samples = (0..12)
            .map(|seq| Sample {
                seq,
                ..Sample::default()
            })
            .collect();
        port.samples.put(&mut samples, 10);
        assert!(samples.is_empty());
        let mut out = Vec::new();
        port.samples.take(3 * Sample::SIZE + 5, &mut out);
        assert_eq!(out.len(), 3 * Sample::SIZE);
        port.samples.take(usize::MAX, &mut out);
        let seqs: Vec<u8> = out.chunks(Sample::SIZE).map(|sample| sample[16]).collect();
        assert_eq!(seqs, (0..10).collect::<Vec<u8>>());
        assert_eq!(port.health().2, 2);
    }

    #[test]
    fn whoever_waits_for_rows_of_a_thread_that_ended_gets_the_last_ones() {
        let port = Arc::new(Port::default());
        port.put_tables(
            Tables {
                consumers: vec![1],
                senders: vec![2],
                bots: vec![3],
            },
            None,
        );
        drop(Ended(port.clone()));
        assert_eq!(port.tables().consumers, [1]);
        assert!(!port.health().0.alive);
    }

    #[test]
    fn the_bell_rings_until_the_last_event_is_taken() {
        let queue = EventQueue::new().unwrap();
        let event = BotEvent {
            bot: 1,
            unix_ns: 2,
            what: crate::EventKind::Pli,
        };
        queue.put(&mut vec![event.clone(), event.clone()]);
        assert_eq!(queue.take(1).len(), 1);
        assert!(queue.bell.drain());
        assert_eq!(queue.take(1), [event]);
        assert!(!queue.bell.drain());
    }
}
