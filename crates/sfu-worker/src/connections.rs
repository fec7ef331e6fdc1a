//! TCP connections of clients that cannot use UDP.
//!
//! # Job
//! Holds accepted connections, gives their frames as datagrams, collects datagrams for them and writes
//! them once per round. Whom a connection belongs to is learned from `demux`'s user after ICE validated it.
//!
//! # Invariants
//! - A connection that nothing validated within `VALIDATION` is closed; so is one whose transport closed, or
//!   forgot it for newer ones.
//! - At most as many as the worker was given, and `MAX_UNVALIDATED` not validated ones from one address. Beyond that a
//!   newcomer takes the place of one that is not validated: the oldest of its address, or of the address with the
//!   most. Only when all are validated it is refused.
//! - Datagrams for a connection that is gone, or whose number another peer has now, are dropped.
//!
//! # Left out
//! Active TCP candidates: the server never opens a connection (RFC 6544 §4.1).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use meeshy_sfu_io::{FramedStream, Interest, Poller};
use meeshy_sfu_proto::net::{Destination, SocketId};

use crate::demux::Target;
use crate::unvalidated::Unvalidated;

/// Socket numbers below are UDP.
const FIRST_ID: u16 = 2;
const MAX_UNVALIDATED: usize = 256;
/// Time to the first valid check: as long as a client takes to give up a pair.
const VALIDATION: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Connection {
    stream: FramedStream,
    opened: Instant,
    owner: Option<Target>,
    waits_for_room: bool,
    dirty: bool,
}

/// All connections of a worker.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    slots: Vec<Option<Connection>>,
    free: Vec<u16>,
    unvalidated: Unvalidated,
    dirty: Vec<u16>,
    open: usize,
    dropped: u64,
    refused: u64,
}

impl Connections {
    /// None yet, and at most `most`.
    pub(crate) fn new(most: u16) -> Connections {
        Connections {
            most: usize::from(most),
            slots: Vec::new(),
            free: Vec::new(),
            unvalidated: Unvalidated::default(),
            dirty: Vec::new(),
            open: 0,
            dropped: 0,
            refused: 0,
        }
    }

    /// Who has to be closed before a connection from `address` has room: one that nothing has validated.
    pub(crate) fn connection_to_evict(&mut self, address: IpAddr) -> Option<SocketId> {
        let slot = if self.unvalidated.of(address) >= MAX_UNVALIDATED {
            self.unvalidated.oldest_of(address)
        } else if self.open >= self.most {
            self.unvalidated.oldest_of_largest()
        } else {
            None
        };
        self.refused += u64::from(slot.is_some());
        slot.map(|slot| id_of(usize::from(slot)))
    }

    /// The first that goes when descriptors are short.
    pub(crate) fn oldest_unvalidated(&self) -> Option<SocketId> {
        let slot = self.unvalidated.oldest_of_largest()?;
        Some(id_of(usize::from(slot)))
    }

    /// Takes a new connection from `remote` and watches it under the token that `token` makes of its number.
    pub(crate) fn accept(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        now: Instant,
        poller: &Poller,
        token: impl Fn(SocketId) -> u64,
    ) -> io::Result<()> {
        if self.open >= self.most {
            self.refused += 1;
            return Ok(());
        }
        let stream = FramedStream::new(stream)?;
        let slot = self
            .free
            .last()
            .map_or(self.slots.len(), |&slot| usize::from(slot));
        poller.add(stream.as_fd(), token(id_of(slot)), Interest::Readable)?;
        self.unvalidated.add(remote.ip(), slot as u16);
        self.open += 1;
        let connection = Connection {
            stream,
            opened: now,
            owner: None,
            waits_for_room: false,
            dirty: false,
        };
        match self.free.pop() {
            Some(slot) => self.slots[usize::from(slot)] = Some(connection),
            None => self.slots.push(Some(connection)),
        }
        Ok(())
    }

    /// Reads what waits. False when the connection ended and must be closed.
    pub(crate) fn fill(&mut self, id: SocketId) -> bool {
        self.get_mut(id).is_some_and(|c| c.stream.fill().is_ok())
    }

    /// Copies the next frame that is whole, with its source. `Err` when the connection must be closed.
    pub(crate) fn next_frame(
        &mut self,
        id: SocketId,
        into: &mut [u8],
    ) -> Result<Option<(usize, Destination)>, ()> {
        let Some(connection) = self.get_mut(id) else {
            return Ok(None);
        };
        let remote = connection.stream.remote();
        loop {
            match connection.stream.next_frame() {
                Ok(Some(frame)) if frame.len() > into.len() => {}
                Ok(Some(frame)) => {
                    into[..frame.len()].copy_from_slice(frame);
                    return Ok(Some((frame.len(), Destination { socket: id, remote })));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(()),
            }
        }
    }

    /// Queues a datagram for `to`.
    pub(crate) fn push(&mut self, to: &Destination, datagram: &[u8]) {
        let Some(slot) = slot_of(to.socket) else {
            return;
        };
        let connection = self.slots.get_mut(slot).and_then(Option::as_mut);
        let Some(connection) = connection.filter(|c| c.stream.remote() == to.remote) else {
            self.dropped += 1;
            return;
        };
        if !connection.stream.push(datagram) {
            self.dropped += 1;
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(slot as u16);
        }
    }

    /// Writes what was queued since the last call; gives the connections that failed.
    pub(crate) fn flush(
        &mut self,
        poller: &Poller,
        token: impl Fn(SocketId) -> u64,
    ) -> Vec<SocketId> {
        let mut failed = Vec::new();
        for slot in std::mem::take(&mut self.dirty) {
            let id = id_of(usize::from(slot));
            if let Some(connection) = self.get_mut(id) {
                connection.dirty = false;
                if !connection.write(poller, token(id)) {
                    failed.push(id);
                }
            }
        }
        failed
    }

    /// The connection has room again. False when it failed.
    pub(crate) fn writable(&mut self, id: SocketId, poller: &Poller, token: u64) -> bool {
        self.get_mut(id).is_none_or(|c| c.write(poller, token))
    }

    /// ICE validated the connection for `owner`.
    pub(crate) fn validated(&mut self, id: SocketId, owner: Target) {
        let Some(connection) = self.get_mut(id) else {
            return;
        };
        let was_unvalidated = connection.owner.replace(owner).is_none();
        let address = connection.stream.remote().ip();
        if was_unvalidated && let Some(slot) = slot_of(id) {
            self.unvalidated.remove(address, slot as u16);
        }
    }

    /// The own address of a connection.
    pub(crate) fn local_of(&self, id: SocketId) -> Option<SocketAddr> {
        let slot = slot_of(id)?;
        Some(self.slots.get(slot)?.as_ref()?.stream.local())
    }

    /// Closes a connection; what is queued goes out as far as the socket takes it. Returns the source that
    /// is no more, and whose it was.
    pub(crate) fn close(&mut self, id: SocketId) -> Option<(Destination, Option<Target>)> {
        let slot = slot_of(id)?;
        let mut connection = self.slots.get_mut(slot)?.take()?;
        let _ = connection.stream.flush();
        self.free.push(slot as u16);
        self.open -= 1;
        let remote = connection.stream.remote();
        if connection.owner.is_none() {
            self.unvalidated.remove(remote.ip(), slot as u16);
        }
        Some((Destination { socket: id, remote }, connection.owner))
    }

    /// Whether this is a connection of `owner`, and not another that has its number now.
    pub(crate) fn is_of(&self, remote: &Destination, owner: Target) -> bool {
        let slot = slot_of(remote.socket).and_then(|slot| self.slots.get(slot)?.as_ref());
        slot.is_some_and(|c| c.owner == Some(owner) && c.stream.remote() == remote.remote)
    }

    /// Connections of `owner`.
    pub(crate) fn of(&self, owner: Target) -> Vec<SocketId> {
        self.select(|c| c.owner == Some(owner))
    }

    /// Connections that no ICE check validated in time.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<SocketId> {
        self.select(|c| c.owner.is_none() && now.saturating_duration_since(c.opened) > VALIDATION)
    }

    /// Open connections.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// Datagrams dropped, and connections refused or closed for newcomers.
    pub(crate) fn losses(&self) -> (u64, u64) {
        (self.dropped, self.refused)
    }

    fn select(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<SocketId> {
        if self.open == 0 {
            return Vec::new();
        }
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, c)| c.as_ref().is_some_and(&wanted))
            .map(|(slot, _)| id_of(slot))
            .collect()
    }

    fn get_mut(&mut self, id: SocketId) -> Option<&mut Connection> {
        self.slots.get_mut(slot_of(id)?)?.as_mut()
    }
}

impl Connection {
    /// Writes as far as possible and watches for room when some is left. False when it failed.
    fn write(&mut self, poller: &Poller, token: u64) -> bool {
        let Ok(done) = self.stream.flush() else {
            return false;
        };
        if done == self.waits_for_room {
            let interest = if done {
                Interest::Readable
            } else {
                Interest::Both
            };
            if poller.modify(self.stream.as_fd(), token, interest).is_err() {
                return false;
            }
            self.waits_for_room = !done;
        }
        true
    }
}

fn id_of(slot: usize) -> SocketId {
    SocketId(slot as u16 + FIRST_ID)
}

fn slot_of(id: SocketId) -> Option<usize> {
    id.0.checked_sub(FIRST_ID).map(usize::from)
}
