//! The two queues between a worker's thread and all other threads.
//!
//! # Job
//! Requests in, events out, each with a descriptor to wait for. Never touched per packet.
//!
//! # Invariants
//! - Neither side ever waits for the other: what does not fit is refused (requests) or coalesced and, at
//!   last, counted as dropped (notifications of quality and loudness). Replies and changes of state are
//!   never dropped.
//! - An accepted request gets exactly one reply, also when the worker ends first.
//! - Memory is bounded: requests and unread replies together by [`MAX_OUTSTANDING`], notifications by the
//!   number of live objects and `MAX_NOTIFICATIONS`.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meeshy_sfu_io::EventFd;

use crate::command::{
    CommandError, ConsumerId, ErrorCode, ProducerId, Request, RouterId, TransportId,
};
use crate::event::{Event, Reply};

/// Requests accepted whose replies are unread.
pub const MAX_OUTSTANDING: usize = 65_536;
/// Unread events beyond which notifications of quality and loudness are dropped.
pub(crate) const MAX_NOTIFICATIONS: usize = 65_536;

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The worker is closed or dead.
    Closed,
    /// Too many replies are unread.
    Full,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RequestError::Closed => write!(f, "the worker is closed; start another"),
            RequestError::Full => write!(
                f,
                "{MAX_OUTSTANDING} requests are outstanding; read their replies, then send this one again"
            ),
        }
    }
}

impl std::error::Error for RequestError {}

/// Both queues of one worker.
#[derive(Debug)]
pub(crate) struct Queues {
    requests: Mutex<Requests>,
    request_bell: EventFd,
    events: Mutex<Events>,
    event_bell: EventFd,
    outstanding: AtomicUsize,
    alive: AtomicBool,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: VecDeque<Request>,
    /// Number of the request being carried out.
    current: Option<u64>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<Event>,
    /// Position of `waiting[0]` in all events ever.
    first: u64,
    /// Position of the newest unread event of each kind and object.
    newest: HashMap<Key, u64>,
    dropped: u64,
}

/// What a newer event makes an older unread one superfluous for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Stats,
    Volumes(RouterId),
    Speaker(RouterId),
    ProducerScore(RouterId, ProducerId),
    ConsumerScore(RouterId, ConsumerId),
    Layers(RouterId, ConsumerId),
    Ice(RouterId, TransportId),
    Dtls(RouterId, TransportId),
}

impl Queues {
    pub(crate) fn new() -> io::Result<Queues> {
        Ok(Queues {
            requests: Mutex::default(),
            request_bell: EventFd::new()?,
            events: Mutex::default(),
            event_bell: EventFd::new()?,
            outstanding: AtomicUsize::new(0),
            alive: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
        })
    }

    /// Accepts a request, or says why not.
    pub(crate) fn request(&self, request: Request) -> Result<(), RequestError> {
        let mut requests = lock(&self.requests);
        if requests.closed {
            return Err(RequestError::Closed);
        }
        if self.outstanding.load(SeqCst) >= MAX_OUTSTANDING {
            return Err(RequestError::Full);
        }
        self.outstanding.fetch_add(1, SeqCst);
        requests.waiting.push_back(request);
        drop(requests);
        self.request_bell.notify();
        Ok(())
    }

    /// Takes at most `max` events, oldest first.
    pub(crate) fn drain_events(&self, max: usize) -> Vec<Event> {
        let mut events = lock(&self.events);
        let count = max.min(events.waiting.len());
        let taken: Vec<Event> = events.waiting.drain(..count).collect();
        events.first += count as u64;
        let first = events.first;
        if count > 0 {
            events.newest.retain(|_, &mut position| position >= first);
        }
        if events.waiting.is_empty() {
            self.event_bell.drain();
        }
        let replies = taken
            .iter()
            .filter(|e| matches!(e, Event::Reply(_)))
            .count();
        self.outstanding.fetch_sub(replies, SeqCst);
        taken
    }

    /// The descriptor that polls as readable while events wait.
    pub(crate) fn event_fd(&self) -> RawFd {
        self.event_bell.as_raw_fd()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(SeqCst)
    }

    /// Asks the thread to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.request_bell.notify();
    }

    /// The worker's side: whether to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// The worker's side: the descriptor that polls as readable while requests wait.
    pub(crate) fn request_fd(&self) -> BorrowedFd<'_> {
        self.request_bell.as_fd()
    }

    /// The worker's side: the next request, to be answered before the one after it is asked for.
    pub(crate) fn next_request(&self) -> Option<Request> {
        let mut requests = lock(&self.requests);
        let next = requests.waiting.pop_front();
        if next.is_none() {
            self.request_bell.drain();
        }
        requests.current = next.as_ref().map(|request| request.id);
        next
    }

    /// The worker's side: answers the last request.
    pub(crate) fn answer(&self, reply: Reply) {
        lock(&self.requests).current = None;
        self.push(Event::Reply(reply));
    }

    /// The worker's side: reports something.
    pub(crate) fn push(&self, event: Event) {
        let mut events = lock(&self.events);
        let key = key_of(&event);
        if let Some(key) = key
            && is_latest_only(key)
            && let Some(&position) = events.newest.get(&key)
        {
            let index = (position - events.first) as usize;
            events.waiting[index] = event;
            return;
        }
        if events.waiting.len() >= MAX_NOTIFICATIONS
            && let Some(key) = key
        {
            if is_latest_only(key) {
                events.dropped += 1;
                return;
            }
            // A change of state must arrive, but of a crowd only the newest of each transport.
            if let Some(&position) = events.newest.get(&key) {
                let index = (position - events.first) as usize;
                events.waiting[index] = event;
                return;
            }
        }
        let position = events.first + events.waiting.len() as u64;
        if let Some(key) = key {
            events.newest.insert(key, position);
        }
        events.waiting.push_back(event);
        let was_empty = events.waiting.len() == 1;
        drop(events);
        if was_empty {
            self.event_bell.notify();
        }
    }

    /// The worker's side: notifications lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        lock(&self.events).dropped
    }

    /// The worker's side: refuses all further requests and those not carried out yet, reports
    /// `last` if there is one, and is dead from now on.
    pub(crate) fn end(&self, last: Option<Event>) {
        let unanswered = {
            let mut requests = lock(&self.requests);
            requests.closed = true;
            let current = requests.current.take();
            current
                .into_iter()
                .chain(requests.waiting.drain(..).map(|r| r.id))
                .collect::<Vec<_>>()
        };
        for id in unanswered {
            self.push(Event::Reply(Reply {
                id,
                ok: None,
                error: Some(CommandError::new(
                    ErrorCode::Closed,
                    "the worker ended before this request was done; send it to another worker",
                )),
            }));
        }
        self.alive.store(false, SeqCst);
        if let Some(last) = last {
            self.push(last);
        }
    }
}

/// A panic elsewhere must not take the queues with it: their contents are whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(event: &Event) -> Option<Key> {
    Some(match event {
        Event::Stats(_) => Key::Stats,
        Event::Volumes { router, .. } => Key::Volumes(*router),
        Event::ActiveSpeaker { router, .. } => Key::Speaker(*router),
        Event::ProducerScore {
            router, producer, ..
        } => Key::ProducerScore(*router, *producer),
        Event::ConsumerScore {
            router, consumer, ..
        } => Key::ConsumerScore(*router, *consumer),
        Event::LayersChanged {
            router, consumer, ..
        } => Key::Layers(*router, *consumer),
        Event::TransportIce {
            router, transport, ..
        } => Key::Ice(*router, *transport),
        Event::TransportDtls {
            router, transport, ..
        } => Key::Dtls(*router, *transport),
        Event::Reply(_)
        | Event::Ready { .. }
        | Event::TransportMedia { .. }
        | Event::TransportClosed { .. }
        | Event::Died { .. } => return None,
    })
}

/// Whether an older unread event of this key is of no interest even when there is room.
fn is_latest_only(key: Key) -> bool {
    !matches!(key, Key::Ice(..) | Key::Dtls(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::event::IceState;

    fn request(id: u64) -> Request {
        Request {
            id,
            command: Command::Stats {},
        }
    }

    fn reply(id: u64) -> Event {
        Event::Reply(Reply {
            id,
            ok: None,
            error: None,
        })
    }

    fn speaker(router: u64, producer: u64) -> Event {
        Event::ActiveSpeaker {
            router: RouterId(router),
            producer: Some(ProducerId(producer)),
        }
    }

    fn ice(transport: u64, state: IceState) -> Event {
        Event::TransportIce {
            router: RouterId(1),
            transport: TransportId(transport),
            state,
            selected: None,
        }
    }

    #[test]
    fn only_the_newest_unread_notification_of_an_object_is_kept() {
        let queues = Queues::new().unwrap();
        queues.push(speaker(1, 10));
        queues.push(speaker(2, 20));
        queues.push(speaker(1, 11));
        assert_eq!(queues.drain_events(9), [speaker(1, 11), speaker(2, 20)]);
        queues.push(speaker(1, 12));
        assert_eq!(queues.drain_events(9), [speaker(1, 12)]);
    }

    #[test]
    fn states_keep_their_order_while_there_is_room_and_the_newest_when_there_is_none() {
        let queues = Queues::new().unwrap();
        queues.push(ice(1, IceState::Connected));
        queues.push(ice(1, IceState::Completed));
        assert_eq!(queues.drain_events(9).len(), 2);
        for n in 0..MAX_NOTIFICATIONS as u64 {
            queues.push(ice(n, IceState::Connected));
        }
        queues.push(ice(5, IceState::Disconnected));
        queues.push(speaker(1, 1));
        queues.push(reply(1));
        let events = queues.drain_events(usize::MAX);
        assert_eq!(events.len(), MAX_NOTIFICATIONS + 1);
        assert_eq!(events[5], ice(5, IceState::Disconnected));
        assert_eq!(events.last(), Some(&reply(1)));
        assert_eq!(queues.dropped(), 1);
    }

    #[test]
    fn unread_replies_bound_the_requests() {
        let queues = Queues::new().unwrap();
        for id in 0..MAX_OUTSTANDING as u64 {
            queues.request(request(id)).unwrap();
        }
        assert_eq!(queues.request(request(0)), Err(RequestError::Full));
        while let Some(request) = queues.next_request() {
            queues.answer(Reply {
                id: request.id,
                ok: None,
                error: None,
            });
        }
        assert_eq!(queues.request(request(0)), Err(RequestError::Full));
        assert_eq!(queues.drain_events(10).len(), 10);
        queues.request(request(0)).unwrap();
    }

    #[test]
    fn the_end_answers_what_was_not_carried_out_and_is_the_last_word() {
        let queues = Queues::new().unwrap();
        queues.request(request(6)).unwrap();
        queues.request(request(7)).unwrap();
        assert_eq!(queues.next_request().unwrap().id, 6);
        let died = Event::Died {
            index: 3,
            message: "x".into(),
        };
        queues.end(Some(died.clone()));
        assert_eq!(queues.request(request(8)), Err(RequestError::Closed));
        let events = queues.drain_events(9);
        for (event, id) in events.iter().zip([6, 7]) {
            let Event::Reply(reply) = event else {
                panic!("{event:?}")
            };
            assert_eq!(reply.id, id);
            assert_eq!(reply.error.as_ref().unwrap().code, ErrorCode::Closed);
        }
        assert_eq!(events[2..], [died]);
        assert!(!queues.is_alive());
    }
}
