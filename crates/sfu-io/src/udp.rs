//! A UDP port made for media: large buffers, receive coalescing, drop counter.
//!
//! # Job
//! Opens and configures the socket. Moving datagrams belongs to [`crate::RecvBatch`] and [`crate::SendBatch`].
//!
//! # Invariants
//! - Non-blocking and never connected; an IPv6 socket carries no IPv4.
//! - Segmentation offload is only ever switched off, never on again, once the kernel refused it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::bind::{self, BindError, get_option, set_option};

/// Trains refused in a row before the socket stops offering them. A path with a small MTU refuses a train
/// too, so one refusal proves nothing about the device.
const REFUSALS: u32 = 8;

/// How to open a [`UdpSocket`].
#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    /// Receive buffer in bytes, beyond `net.core.rmem_max` where the process may. Default 8 MiB:
    /// a third of a second of a call of 50 arriving while the thread is held up.
    pub receive_buffer: usize,
    /// Send buffer in bytes, likewise. Default 8 MiB.
    pub send_buffer: usize,
    /// Send trains with UDP_SEGMENT where the kernel can. Default true.
    pub gso: bool,
    /// Let the kernel coalesce received trains (UDP_GRO). Default true.
    pub gro: bool,
    /// Stamp datagrams with the wall clock on arrival (SO_TIMESTAMPNS). Default false: costs ≈ 50 ns each.
    pub timestamps: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        UdpOptions {
            receive_buffer: 8 << 20,
            send_buffer: 8 << 20,
            gso: true,
            gro: true,
            timestamps: false,
        }
    }
}

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    inner: std::net::UdpSocket,
    local: SocketAddr,
    gso: AtomicBool,
    gro: bool,
    refusals: AtomicU32,
}

impl UdpSocket {
    /// Binds `address`; port 0 takes a free one. Buffers that are smaller than asked for are no error,
    /// see [`UdpSocket::receive_buffer`].
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> Result<UdpSocket, BindError> {
        let fd = bind::bind(address, libc::SOCK_DGRAM)?;
        let f = fd.as_fd();
        grow(
            f,
            libc::SO_RCVBUFFORCE,
            libc::SO_RCVBUF,
            options.receive_buffer,
        );
        grow(
            f,
            libc::SO_SNDBUFFORCE,
            libc::SO_SNDBUF,
            options.send_buffer,
        );
        // Each of these is a luxury: an old kernel without it still carries media.
        let gso = options.gso && get_option(f, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        let gro = options.gro && set_option(f, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        let _ = set_option(f, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        if options.timestamps {
            let _ = set_option(f, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        }
        let inner = std::net::UdpSocket::from(fd);
        let local = inner
            .local_addr()
            .map_err(|e| BindError::new("getsockname", address, e))?;
        Ok(UdpSocket {
            inner,
            local,
            gso: AtomicBool::new(gso),
            gro,
            refusals: AtomicU32::new(0),
        })
    }

    /// The bound address with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether trains leave as one buffer.
    pub fn gso(&self) -> bool {
        self.gso.load(Relaxed)
    }

    /// Whether received trains may arrive as one buffer.
    pub fn gro(&self) -> bool {
        self.gro
    }

    /// Stops using segmentation offload on this socket.
    pub fn disable_gso(&self) {
        self.gso.store(false, Relaxed);
    }

    /// Bytes the kernel grants for receiving (its own bookkeeping included, which is half).
    pub fn receive_buffer(&self) -> io::Result<usize> {
        get_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF).map(|n| n.max(0) as usize)
    }

    /// Bytes the kernel grants for sending, likewise.
    pub fn send_buffer(&self) -> io::Result<usize> {
        get_option(self.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF).map(|n| n.max(0) as usize)
    }

    /// Sends one datagram at once, without a batch.
    pub fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.inner.send_to(datagram, to)
    }

    /// Receives one datagram; `WouldBlock` when none waits. Cuts off what coalescing may have joined:
    /// on sockets with `gro` use [`crate::RecvBatch`].
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner.recv_from(buffer)
    }

    /// The kernel took a train.
    pub(crate) fn train_accepted(&self) {
        if self.refusals.load(Relaxed) != 0 {
            self.refusals.store(0, Relaxed);
        }
    }

    /// The kernel refused a train with this errno.
    pub(crate) fn train_refused(&self, errno: i32) {
        let refusals = self.refusals.load(Relaxed) + 1;
        self.refusals.store(refusals, Relaxed);
        // EIO: the device cannot checksum, so it will refuse every train (udp_send_skb).
        if errno == libc::EIO || refusals >= REFUSALS {
            self.disable_gso();
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl From<UdpSocket> for OwnedFd {
    fn from(socket: UdpSocket) -> OwnedFd {
        socket.inner.into()
    }
}

/// Asks for a buffer past the system limit, which needs CAP_NET_ADMIN, else up to the limit.
fn grow(fd: BorrowedFd<'_>, forced: i32, plain: i32, bytes: usize) {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    if set_option(fd, libc::SOL_SOCKET, forced, bytes).is_err() {
        let _ = set_option(fd, libc::SOL_SOCKET, plain, bytes);
    }
}
