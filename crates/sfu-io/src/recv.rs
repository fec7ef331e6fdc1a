//! Receiving many datagrams with one system call.
//!
//! # Job
//! `recvmmsg` into a pool of buffers, with coalesced trains (UDP_GRO) given back datagram by datagram.
//!
//! # Invariants
//! - Buffers live as long as the batch; a message is valid until the next `recv`.
//! - Nothing is allocated after `new`.
//!
//! # Cost
//! One system call for up to `capacity` messages; a train of k datagrams costs the kernel one message.

use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::slice::ChunksMut;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::address::{CAPACITY, RawAddress};
use crate::udp::UdpSocket;

/// A coalesced train can fill a whole IP packet.
const TRAIN: usize = 65_536;
/// Distance of two buffers. Not a multiple of 4096: buffers would fight for the same cache sets.
const STRIDE: usize = TRAIN + 17 * 64;

/// Room for the control messages asked for: segment size, timestamp, drop counter.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 96]);

#[derive(Clone, Copy)]
struct Meta {
    remote: SocketAddr,
    length: usize,
    segment: usize,
    received: Option<Duration>,
    truncated: bool,
}

/// One message of a batch: a datagram, or a train of equally large ones (the last may be shorter).
#[derive(Debug)]
pub struct Received<'a> {
    /// Who sent it.
    pub remote: SocketAddr,
    /// All bytes.
    pub data: &'a mut [u8],
    /// Size of each datagram in `data`, at least 1.
    pub segment: usize,
    /// Wall clock at the kernel's receive, when the socket stamps.
    pub received: Option<Duration>,
    /// The same on the clock of deadlines: the kernel's receive if the socket stamps, else when it was read.
    pub arrived: Instant,
    /// The kernel had to cut it.
    pub truncated: bool,
}

impl<'a> Received<'a> {
    /// The datagrams, in order, each to be changed in place.
    pub fn segments(self) -> ChunksMut<'a, u8> {
        self.data.chunks_mut(self.segment)
    }
}

/// A pool of receive buffers.
pub struct RecvBatch {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<RawAddress>,
    controls: Vec<Control>,
    buffer: Vec<u8>,
    meta: Vec<Meta>,
    /// Messages of the last `recv`.
    last: usize,
    overflow: u32,
    reported: Option<u32>,
    /// One moment on both clocks, after the last `recv`.
    read_at: (Instant, Duration),
}

// SAFETY: the raw pointers inside `headers` and `vectors` are written at the start of each `recv` and
// not used after it returns; all they point to is owned by the same value.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    /// Room for `capacity` messages (1 to 1024) of up to 64 KiB. Memory is touched only as far as
    /// datagrams reach.
    pub fn new(capacity: usize) -> RecvBatch {
        let capacity = capacity.clamp(1, 1024);
        // SAFETY: mmsghdr and iovec are integers and pointers, for which zero is valid.
        let (header, vector): (libc::mmsghdr, libc::iovec) = unsafe { zeroed() };
        RecvBatch {
            headers: vec![header; capacity],
            vectors: vec![vector; capacity],
            names: vec![RawAddress::empty(); capacity],
            controls: vec![Control([0; 96]); capacity],
            buffer: vec![0; capacity * STRIDE],
            meta: Vec::with_capacity(capacity),
            last: 0,
            overflow: 0,
            reported: None,
            read_at: both_clocks(),
        }
    }

    /// Takes what waits, without blocking; 0 when nothing does. Errors of the network (such as
    /// ECONNREFUSED after an earlier send) are swallowed; what remains means that the socket is unusable.
    pub fn recv(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.meta.clear();
        self.reported = None;
        let capacity = self.headers.len();
        // Preparing headers costs more than a second call, so no more than are likely to be used.
        let mut wanted = (2 * self.last + 4).min(capacity);
        let mut count = 0;
        while count < capacity {
            let taken = match self.call(socket, count, wanted) {
                Ok(taken) => taken,
                Err(error) if count == 0 => return Err(error),
                // It will be there again next time.
                Err(_) => 0,
            };
            count += taken;
            if taken < wanted {
                break;
            }
            wanted = capacity - count;
        }
        self.last = count;
        if count > 0 {
            self.read_at = both_clocks();
        }
        for index in 0..count {
            let meta = self.read_meta(index);
            self.meta.push(meta);
        }
        Ok(count)
    }

    /// One system call for `wanted` messages from `first` on.
    fn call(&mut self, socket: &UdpSocket, first: usize, wanted: usize) -> io::Result<usize> {
        self.aim(first, wanted);
        loop {
            let headers = &mut self.headers[first..first + wanted];
            // SAFETY: `aim` made every one of these headers point to an own buffer, name and control
            // area of the stated sizes, which stay alive and untouched through the call.
            let n = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as u32,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            };
            if n >= 0 {
                return Ok(n as usize);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL) => {
                    return Err(error);
                }
                // Nothing there, or an error that the network or an earlier send left on the socket and
                // that is gone by being read.
                _ => return Ok(0),
            }
        }
    }

    /// Message `index` of the last [`RecvBatch::recv`].
    ///
    /// # Panics
    /// When `index` is not below what `recv` returned.
    pub fn message(&mut self, index: usize) -> Received<'_> {
        let meta = self.meta[index];
        let start = index * STRIDE;
        let (read, wall) = self.read_at;
        let waited = meta
            .received
            .map_or(Duration::ZERO, |at| wall.saturating_sub(at));
        Received {
            remote: meta.remote,
            data: &mut self.buffer[start..start + meta.length],
            segment: meta.segment,
            received: meta.received,
            arrived: read.checked_sub(waited).unwrap_or(read),
            truncated: meta.truncated,
        }
    }

    /// How many messages one `recv` can give; fewer means that the socket is empty.
    pub fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Datagrams the kernel dropped because the socket's buffer was full, as last reported by it:
    /// counts from the start of the socket and wraps.
    pub fn kernel_drops(&self) -> u32 {
        self.overflow
    }

    /// The same, if the socket of the last [`RecvBatch::recv`] reported it there: for batches that several
    /// sockets share. A socket that never dropped reports nothing.
    pub fn reported_drops(&self) -> Option<u32> {
        self.reported
    }

    /// Points the headers at the buffers; the kernel overwrites lengths and flags each time.
    fn aim(&mut self, first: usize, count: usize) {
        let base = self.buffer.as_mut_ptr();
        let headers = self.headers.iter_mut().enumerate();
        for (index, header) in headers.skip(first).take(count) {
            // SAFETY: `buffer` has `headers.len() * STRIDE` bytes, so the offset is inside it.
            let start = unsafe { base.add(index * STRIDE) };
            let vector = &mut self.vectors[index];
            *vector = libc::iovec {
                iov_base: start.cast(),
                iov_len: TRAIN,
            };
            let h = &mut header.msg_hdr;
            h.msg_iov = vector;
            h.msg_iovlen = 1;
            h.msg_name = (&raw mut self.names[index]).cast();
            h.msg_namelen = CAPACITY;
            h.msg_control = (&raw mut self.controls[index]).cast();
            h.msg_controllen = size_of::<Control>();
            h.msg_flags = 0;
        }
    }

    fn read_meta(&mut self, index: usize) -> Meta {
        let header = &self.headers[index];
        let length = (header.msg_len as usize).min(TRAIN);
        let mut segment = length;
        let mut received = None;
        // SAFETY: the kernel filled this header's control area and set its length; the macros stay
        // inside that area, and each payload read is of a type the kernel writes for that message,
        // unaligned reads throughout.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(&header.msg_hdr);
            while !message.is_null() {
                let data = libc::CMSG_DATA(message);
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        segment = data.cast::<i32>().read_unaligned().max(1) as usize;
                    }
                    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) => {
                        let t = data.cast::<libc::timespec>().read_unaligned();
                        received = Some(Duration::new(t.tv_sec.max(0) as u64, t.tv_nsec as u32));
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                        self.overflow = data.cast::<u32>().read_unaligned();
                        self.reported = Some(self.overflow);
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(&header.msg_hdr, message);
            }
        }
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        Meta {
            remote: self.names[index].get().unwrap_or(unspecified),
            length,
            segment: segment.max(1),
            received,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

fn both_clocks() -> (Instant, Duration) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    (Instant::now(), wall.unwrap_or_default())
}

impl std::fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvBatch")
            .field("capacity", &self.headers.len())
            .field("messages", &self.meta.len())
            .finish()
    }
}
