//! TCP for media that UDP cannot carry: a listener and RFC 4571 framed connections.
//!
//! # Job
//! Frames datagrams by a two-byte length over a non-blocking stream, with bounded buffers both ways. Whose
//! connection it is and when to close it belongs to the caller.
//!
//! # Invariants
//! - A frame is written whole or not at all: when the buffer is full the frame is dropped, as a datagram would.
//! - A peer makes a connection hold at most [`MAX_FRAME`](crate::MAX_FRAME) unread bytes and [`WRITE_LIMIT`] unsent ones, and the
//!   kernel little more than what is on its way: media that waits longer is of no use when it comes.
//!
//! RFC 4571 §2 (framing), RFC 6544 (ICE over TCP).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::bind::{self, BindError};
use crate::frames::Frames;

/// Unsent bytes per connection before frames are dropped: half a second at 4 Mbit/s.
pub const WRITE_LIMIT: usize = 256 << 10;
/// Unsent bytes the kernel takes; without a limit it takes megabytes, a minute of media on a slow path.
const KERNEL_LIMIT: i32 = 32 << 10;
/// Connections waiting to be accepted.
const BACKLOG: i32 = 256;

/// A non-blocking listener on `address`; an IPv6 one takes no IPv4.
pub fn listen_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let fd = bind::bind(address, libc::SOCK_STREAM)?;
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) } != 0 {
        return Err(BindError::new(
            "listen",
            address,
            io::Error::last_os_error(),
        ));
    }
    Ok(TcpListener::from(fd))
}

/// A TCP connection that carries datagrams.
#[derive(Debug)]
pub struct FramedStream {
    stream: TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    input: Frames,
    output: Vec<u8>,
    /// Bytes of `output` already sent.
    sent: usize,
    dropped: u64,
    closed: bool,
}

impl FramedStream {
    /// Takes over a connected stream.
    pub fn new(stream: TcpStream) -> io::Result<FramedStream> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let option = libc::TCP_NOTSENT_LOWAT;
        bind::set_option(stream.as_fd(), libc::IPPROTO_TCP, option, KERNEL_LIMIT)?;
        let (remote, local) = (stream.peer_addr()?, stream.local_addr()?);
        Ok(FramedStream {
            stream,
            remote,
            local,
            input: Frames::new(),
            output: Vec::new(),
            sent: 0,
            dropped: 0,
            closed: false,
        })
    }

    /// The peer.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The own side.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Reads once from the socket. False when nothing waited. The end of the stream and frames that are
    /// too long are errors, after which the connection is of no use.
    pub fn fill(&mut self) -> io::Result<bool> {
        let room = self.input.room();
        if room.is_empty() {
            return Ok(true);
        }
        loop {
            match self.stream.read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.input.read(n);
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }

    /// The next whole frame read so far. Empty frames are skipped.
    pub fn next_frame(&mut self) -> io::Result<Option<&mut [u8]>> {
        self.input.next_frame()
    }

    /// Queues a datagram; [`FramedStream::flush`] sends. False when it was dropped because the peer does
    /// not read fast enough.
    pub fn push(&mut self, datagram: &[u8]) -> bool {
        let Ok(length) = u16::try_from(datagram.len()) else {
            return false;
        };
        if self.closed || self.pending() + datagram.len() + 2 > WRITE_LIMIT {
            self.dropped += 1;
            return false;
        }
        if self.sent > 0 && self.sent >= self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(datagram);
        true
    }

    /// Sends what is queued as far as the socket takes it. True when all is gone; else wait until the
    /// socket is writable.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => {
                    self.closed = true;
                    return Err(e);
                }
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Bytes queued and not sent.
    pub fn pending(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Datagrams dropped by [`FramedStream::push`].
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl AsFd for FramedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
