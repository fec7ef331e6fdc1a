//! Sending trains of datagrams, one kernel buffer per destination.
//!
//! # Job
//! An arena that callers write finished datagrams into, and `sendmmsg` with UDP_SEGMENT over it. The
//! kernel's price is per buffer, not per datagram: a train of k equally large ones costs about a k-th each.
//!
//! # Invariants
//! - Datagrams to one destination leave in the order of their commits.
//! - A train holds at most 64 datagrams and 65,000 bytes; only its last may be shorter.
//! - `flush` never blocks longer than a few milliseconds and never fails: what the kernel refuses is
//!   counted and dropped, as any network would.
//!
//! # Cost
//! No allocation after `new`. Headers for the kernel are built per train at `flush`, ≈ 10 ns each.

use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::address::RawAddress;
use crate::clock::thread_cpu;
use crate::delays::Delays;
use crate::udp::UdpSocket;

/// Largest datagram the arena takes.
pub const MAX_DATAGRAM: usize = 2048;

/// Kinds of delays that are told apart.
pub const MARKS: usize = 2;

/// Stays inside the second-level cache beside the code that fills it.
const ARENA: usize = 192 << 10;
/// Trains waiting at most; beyond, the caller flushes.
const MAX_TRAINS: usize = 512;
/// UDP_MAX_SEGMENTS of older kernels.
const MAX_SEGMENTS: u16 = 64;
/// Below the largest UDP payload of both families.
const MAX_TRAIN_BYTES: u32 = 65_000;
/// Headers handed to one sendmmsg.
const CALL: usize = 64;
/// Trains remembered at most.
const MAX_SHAPES: usize = 1 << 16;
/// Waits for room in the socket's buffer per flush, 1 ms each.
const WAITS: u32 = 2;

/// What came of the datagrams of a [`SendBatch`] since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// Datagrams the kernel took.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Buffers they left in; `datagrams / trains` is the mean train.
    pub trains: u64,
    /// System calls.
    pub calls: u64,
    /// Datagrams dropped because the socket's buffer or the device queue was full.
    pub dropped_full: u64,
    /// Datagrams dropped because the kernel refused the destination (unreachable, forbidden, too large).
    pub dropped_refused: u64,
    /// Trains refused as trains and sent one by one.
    pub trains_split: u64,
    /// CPU time of the calls of some flushes, when [`SendBatch::time_calls`] asked for it.
    pub timed_cpu: Duration,
    /// Datagrams sent in those flushes.
    pub timed_datagrams: u64,
}

/// A train as it was handed to the kernel, for replaying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainShape {
    /// Position of the socket.
    pub socket: usize,
    /// Where it went.
    pub to: SocketAddr,
    /// Size of its datagrams; the last may be shorter.
    pub segment: usize,
    /// Size of them all.
    pub length: usize,
    /// It was the last one of its flush.
    pub last: bool,
    /// When it was flushed.
    pub at: Instant,
}

#[derive(Clone, Copy)]
struct Train {
    to: RawAddress,
    to_length: libc::socklen_t,
    socket: u16,
    segments: u16,
    segment: u16,
    start: u32,
    length: u32,
}

/// Since when the packets of a train have been here.
#[derive(Clone, Copy)]
struct Mark {
    train: u32,
    kind: u8,
    since: Instant,
}

/// The train that the next commit may extend.
#[derive(Clone, Copy)]
struct Open {
    to: SocketAddr,
    socket: usize,
}

/// Room for a UDP_SEGMENT control message.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Kernel headers of one call.
struct Headers {
    messages: [libc::mmsghdr; CALL],
    vectors: [libc::iovec; CALL],
    controls: [Control; CALL],
    names: [RawAddress; CALL],
    /// Index of the train, and the byte range of it, that each header stands for.
    trains: [u32; CALL],
    count: usize,
}

/// An arena of datagrams waiting to be sent.
pub struct SendBatch {
    arena: Box<[u8]>,
    at: usize,
    trains: Vec<Train>,
    open: Option<Open>,
    headers: Box<Headers>,
    counters: SendCounters,
    /// Every so many flushes is timed; 0 is none.
    timed_every: u32,
    /// Flushes until the next timed one.
    untimed: u32,
    /// For the next train.
    unmarked: [Option<Instant>; MARKS],
    marks: Vec<Mark>,
    delays: [Delays; MARKS],
    shapes: Option<Vec<TrainShape>>,
}

// SAFETY: the raw pointers inside `headers` are written before each system call and not used after it;
// all they point to is owned by the same value.
unsafe impl Send for SendBatch {}

impl Default for SendBatch {
    fn default() -> Self {
        SendBatch::new()
    }
}

impl SendBatch {
    /// An empty arena.
    pub fn new() -> SendBatch {
        // SAFETY: integers and pointers only (and RawAddress, see there), for which zero is valid.
        let headers: Headers = unsafe { zeroed() };
        SendBatch {
            arena: vec![0; ARENA].into(),
            at: 0,
            trains: Vec::with_capacity(MAX_TRAINS),
            open: None,
            headers: Box::new(headers),
            counters: SendCounters::default(),
            timed_every: 0,
            untimed: 0,
            unmarked: [None; MARKS],
            marks: Vec::with_capacity(MARKS * MAX_TRAINS),
            delays: [Delays::default(); MARKS],
            shapes: None,
        }
    }

    /// Whether the next [`SendBatch::space`] needs a [`SendBatch::flush`] before.
    pub fn is_full(&self) -> bool {
        self.at + MAX_DATAGRAM > self.arena.len() || self.trains.len() >= MAX_TRAINS
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Room for one datagram of at most `max` bytes. Writing there without a commit sends nothing.
    ///
    /// # Panics
    /// When `max` is over [`MAX_DATAGRAM`] or the arena [is full](SendBatch::is_full).
    pub fn space(&mut self, max: usize) -> &mut [u8] {
        assert!(max <= MAX_DATAGRAM, "a datagram of {max} bytes");
        &mut self.arena[self.at..self.at + max]
    }

    /// The first `len` bytes of the last [`SendBatch::space`] are a datagram for `to`, to leave by the
    /// socket at position `socket` of the slice given to `flush`. Extends the current train when it goes
    /// to the same place and is not larger than the train's datagrams.
    pub fn commit(&mut self, socket: usize, to: SocketAddr, len: usize) {
        if len == 0 {
            return;
        }
        assert!(len <= MAX_DATAGRAM, "a datagram of {len} bytes");
        let start = self.at as u32;
        self.at += len;
        if let Some(open) = self.open
            && open.socket == socket
            && open.to == to
            && let Some(train) = self.trains.last_mut()
            && len <= usize::from(train.segment)
            && train.segments < MAX_SEGMENTS
            && train.length + len as u32 <= MAX_TRAIN_BYTES
        {
            train.segments += 1;
            train.length += len as u32;
            if len < usize::from(train.segment) {
                self.open = None;
            }
            return;
        }
        let (raw, to_length) = RawAddress::new(&to);
        self.trains.push(Train {
            to: raw,
            to_length,
            socket: socket as u16,
            segments: 1,
            segment: len as u16,
            start,
            length: len as u32,
        });
        self.open = Some(Open { to, socket });
        self.mark_train();
    }

    /// The next commit starts a new train.
    pub fn end_train(&mut self) {
        self.open = None;
        self.unmarked = [None; MARKS];
    }

    /// The next commit starts a new train, whose send call ends a delay that began at `since`. `kind` (below
    /// [`MARKS`]) chooses the histogram; [`SendBatch::end_train`] takes back a mark that no commit followed.
    pub fn mark(&mut self, kind: usize, since: Instant) {
        self.open = None;
        self.unmarked[kind] = Some(since);
    }

    /// The delays of each kind.
    pub fn delays(&self) -> &[Delays; MARKS] {
        &self.delays
    }

    /// Binds the marks to the newest train.
    #[inline]
    fn mark_train(&mut self) {
        let train = self.trains.len() as u32 - 1;
        for (kind, since) in self.unmarked.iter_mut().enumerate() {
            if let Some(since) = since.take() {
                let kind = kind as u8;
                self.marks.push(Mark { train, kind, since });
            }
        }
    }

    /// Hands all trains to the kernel and empties the arena. `sockets` are those the commits numbered.
    ///
    /// # Panics
    /// When a commit named a socket that is not in `sockets`.
    pub fn flush(&mut self, sockets: &[&UdpSocket]) {
        self.open = None;
        self.at = 0;
        self.note_shapes();
        let timed = self.is_timed();
        let before = self.counters.datagrams;
        let mut waits = WAITS;
        let (mut next, mut marked) = (0, 0);
        while next < self.trains.len() {
            let socket = sockets[usize::from(self.trains[next].socket)];
            let end = self.build(next, socket.gso());
            self.note_delays(&mut marked, end as u32);
            self.send(socket, &mut waits, timed);
            next = end;
        }
        if timed {
            self.counters.timed_datagrams += self.counters.datagrams - before;
        }
        self.trains.clear();
        self.marks.clear();
    }

    /// Totals since `new`.
    pub fn counters(&self) -> SendCounters {
        self.counters
    }

    /// For measurements: times the calls of one flush in `every`, as reading the clock costs, too.
    pub fn time_calls(&mut self, every: u32) {
        self.timed_every = every;
    }

    /// For measurements: remembers the trains of each `flush` until [`SendBatch::recorded`] takes them, 65,536
    /// at most.
    pub fn record(&mut self) {
        self.shapes = Some(Vec::with_capacity(MAX_SHAPES));
    }

    /// Stops recording and gives what was recorded.
    pub fn recorded(&mut self) -> Vec<TrainShape> {
        self.shapes.take().unwrap_or_default()
    }

    /// Counts the delays of the trains before `end`, which are about to be sent; the marks before `marked` have been.
    #[inline]
    fn note_delays(&mut self, marked: &mut usize, end: u32) {
        let due = self.marks[*marked..].iter();
        let due = due.take_while(|mark| mark.train < end).count();
        if due == 0 {
            return;
        }
        let now = Instant::now();
        for mark in &self.marks[*marked..*marked + due] {
            let delay = now.saturating_duration_since(mark.since);
            self.delays[usize::from(mark.kind)].observe(delay);
        }
        *marked += due;
    }

    fn is_timed(&mut self) -> bool {
        if self.timed_every == 0 {
            return false;
        }
        self.untimed = self.untimed.checked_sub(1).unwrap_or(self.timed_every - 1);
        self.untimed == 0
    }

    fn note_shapes(&mut self) {
        let Some(shapes) = &mut self.shapes else {
            return;
        };
        if shapes.len() + self.trains.len() > MAX_SHAPES {
            return;
        }
        let at = Instant::now();
        shapes.extend(self.trains.iter().filter_map(|train| {
            Some(TrainShape {
                socket: usize::from(train.socket),
                to: train.to.get()?,
                segment: usize::from(train.segment),
                length: train.length as usize,
                last: false,
                at,
            })
        }));
        if let Some(last) = shapes.last_mut() {
            last.last = true;
        }
    }

    /// Fills the headers from train `first` on, all of one socket; gives the train to go on with.
    /// Without offload each datagram gets its own header; a train that does not fit whole waits.
    fn build(&mut self, first: usize, gso: bool) -> usize {
        let socket = self.trains[first].socket;
        self.headers.count = 0;
        let mut index = first;
        while let Some(train) = self.trains.get(index) {
            let needed = if gso { 1 } else { usize::from(train.segments) };
            if train.socket != socket || self.headers.count + needed > CALL {
                break;
            }
            if gso {
                push_header(
                    &mut self.headers,
                    &self.arena,
                    train,
                    index,
                    0,
                    train.length,
                );
            } else {
                let mut at = 0;
                while at < train.length {
                    let len = u32::from(train.segment).min(train.length - at);
                    push_header(&mut self.headers, &self.arena, train, index, at, len);
                    at += len;
                }
            }
            index += 1;
        }
        index
    }

    fn send(&mut self, socket: &UdpSocket, waits: &mut u32, timed: bool) {
        let mut done = 0;
        while done < self.headers.count {
            let before = timed.then(thread_cpu);
            let rest = &mut self.headers.messages[done..self.headers.count];
            // SAFETY: `rest` are headers that `push_header` pointed at the arena, at names and controls
            // of this value; all stay alive and unmoved through the call.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0)
            };
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
            self.counters.calls += 1;
            if let Some(before) = before {
                self.counters.timed_cpu += thread_cpu().saturating_sub(before);
            }
            if sent > 0 {
                for index in done..done + sent as usize {
                    self.count_sent(socket, index);
                }
                done += sent as usize;
                continue;
            }
            match errno {
                libc::EINTR => {}
                libc::EAGAIN if *waits > 0 => {
                    *waits -= 1;
                    wait_writable(socket);
                }
                libc::EAGAIN => {
                    for index in done..self.headers.count {
                        self.counters.dropped_full += self.header_datagrams(index);
                    }
                    done = self.headers.count;
                }
                libc::ENOBUFS | libc::ENOMEM => {
                    self.counters.dropped_full += self.header_datagrams(done);
                    done += 1;
                }
                libc::EIO | libc::EINVAL | libc::EMSGSIZE if self.header_datagrams(done) > 1 => {
                    socket.train_refused(errno);
                    self.send_singly(socket, done);
                    done += 1;
                }
                _ => {
                    // Unreachable, refused by a firewall, too large: this destination's business alone.
                    self.counters.dropped_refused += self.header_datagrams(done);
                    done += 1;
                }
            }
        }
    }

    /// Datagrams behind header `index`.
    fn header_datagrams(&self, index: usize) -> u64 {
        if self.headers.messages[index].msg_hdr.msg_controllen == 0 {
            1
        } else {
            u64::from(self.trains[self.headers.trains[index] as usize].segments)
        }
    }

    fn count_sent(&mut self, socket: &UdpSocket, index: usize) {
        let datagrams = self.header_datagrams(index);
        if datagrams > 1 {
            socket.train_accepted();
        }
        self.counters.datagrams += datagrams;
        self.counters.bytes += self.headers.vectors[index].iov_len as u64;
        self.counters.trains += 1;
    }

    /// Sends the datagrams of a refused train one by one.
    fn send_singly(&mut self, socket: &UdpSocket, index: usize) {
        self.counters.trains_split += 1;
        let train = self.trains[self.headers.trains[index] as usize];
        let Some(to) = train.to.get() else { return };
        let bytes = &self.arena[train.start as usize..(train.start + train.length) as usize];
        for datagram in bytes.chunks(usize::from(train.segment)) {
            self.counters.calls += 1;
            match socket.send_to(datagram, to) {
                Ok(_) => {
                    self.counters.datagrams += 1;
                    self.counters.bytes += datagram.len() as u64;
                    self.counters.trains += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.counters.dropped_full += 1,
                Err(_) => self.counters.dropped_refused += 1,
            }
        }
    }
}

/// Adds a header for `len` bytes of `train` from its byte `at` on.
fn push_header(
    headers: &mut Headers,
    arena: &[u8],
    train: &Train,
    index: usize,
    at: u32,
    len: u32,
) {
    let slot = headers.count;
    headers.count += 1;
    headers.trains[slot] = index as u32;
    headers.names[slot] = train.to;
    let start = (train.start + at) as usize;
    let bytes = &arena[start..start + len as usize];
    headers.vectors[slot] = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let h = &mut headers.messages[slot].msg_hdr;
    h.msg_name = (&raw mut headers.names[slot]).cast();
    h.msg_namelen = train.to_length;
    h.msg_iov = &raw mut headers.vectors[slot];
    h.msg_iovlen = 1;
    h.msg_flags = 0;
    h.msg_control = std::ptr::null_mut();
    h.msg_controllen = 0;
    if len > u32::from(train.segment) {
        let control = &mut headers.controls[slot];
        h.msg_control = (&raw mut *control).cast();
        // SAFETY: `Control` is aligned for a cmsghdr and holds CMSG_SPACE(2) = 24 bytes, so header and
        // payload are inside it.
        unsafe {
            h.msg_controllen = libc::CMSG_SPACE(2) as usize;
            let message = h.msg_control.cast::<libc::cmsghdr>();
            (*message).cmsg_len = libc::CMSG_LEN(2) as usize;
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            libc::CMSG_DATA(message)
                .cast::<u16>()
                .write_unaligned(train.segment);
        }
    }
}

/// Waits up to a millisecond for room in the socket's buffer.
fn wait_writable(socket: &UdpSocket) {
    let mut fd = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd that lives through the call.
    unsafe { libc::poll(&raw mut fd, 1, 1) };
}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendBatch")
            .field("bytes", &self.at)
            .field("trains", &self.trains.len())
            .field("counters", &self.counters)
            .finish()
    }
}
