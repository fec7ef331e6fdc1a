//! The send side of a worker.
//!
//! # Job
//! The [`Sink`] of a worker: UDP datagrams into the send arena, those of TCP connections into their buffers.
//!
//! # Cost
//! Datagrams for UDP are written once, into the arena. Those for TCP are copied once more.

use std::net::SocketAddr;
use std::time::Instant;

use meeshy_sfu_io::{Delays, MARKS, MAX_DATAGRAM, SendBatch, SendCounters, UdpSocket, prefetch};
use meeshy_sfu_proto::net::{Destination, Sink, SocketId};

use crate::connections::Connections;
use crate::convert::protocol_of;
use crate::event::SelectedTuple;

/// The way out of a worker.
#[derive(Debug)]
pub(crate) struct Outbox {
    udp: [Option<UdpSocket>; 2],
    batch: SendBatch,
    pub(crate) connections: Connections,
    no_socket: u64,
    tcp_datagrams: u64,
    tcp_bytes: u64,
}

impl Outbox {
    /// Sends through these sockets, and through at most so many TCP connections.
    pub(crate) fn new(udp: [Option<UdpSocket>; 2], max_connections: u16) -> Outbox {
        Outbox {
            udp,
            batch: SendBatch::new(),
            connections: Connections::new(max_connections),
            no_socket: 0,
            tcp_datagrams: 0,
            tcp_bytes: 0,
        }
    }

    /// The UDP socket of a family: 0 is IPv4, 1 is IPv6.
    pub(crate) fn udp(&self, family: usize) -> Option<&UdpSocket> {
        self.udp[family].as_ref()
    }

    /// The own address of a UDP socket.
    fn local_of(&self, id: SocketId) -> Option<SocketAddr> {
        match self.udp.get(usize::from(id.0)) {
            Some(socket) => socket.as_ref().map(UdpSocket::local_addr),
            None => self.connections.local_of(id),
        }
    }

    /// The local and remote address of a path.
    pub(crate) fn tuple(&self, to: Destination) -> Option<SelectedTuple> {
        Some(SelectedTuple {
            local: self.local_of(to.socket)?,
            remote: to.remote,
            protocol: protocol_of(to.socket),
        })
    }

    /// Hands all UDP datagrams to the kernel.
    pub(crate) fn flush_udp(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match &self.udp {
            [Some(four), Some(six)] => self.batch.flush(&[four, six]),
            [Some(four), None] => self.batch.flush(&[four]),
            // `commit` admits no position without a socket, so the first is never asked for.
            [None, Some(six)] => self.batch.flush(&[six, six]),
            [None, None] => {}
        }
    }

    /// Datagrams sent, by either protocol, and what became of them.
    pub(crate) fn counters(&self) -> SendCounters {
        let mut counters = self.batch.counters();
        counters.datagrams += self.tcp_datagrams;
        counters.bytes += self.tcp_bytes;
        counters
    }

    /// How long audio and video took from the kernel's receive to the send call.
    pub(crate) fn delays(&self) -> &[Delays; MARKS] {
        self.batch.delays()
    }

    /// Datagrams and trains by UDP alone.
    pub(crate) fn trains(&self) -> (u64, u64) {
        let counters = self.batch.counters();
        (counters.datagrams, counters.trains)
    }

    /// For measurements: the arena and its counters.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn batch_mut(&mut self) -> &mut SendBatch {
        &mut self.batch
    }

    /// Whether segmentation offload is in use on all sockets, and receive coalescing.
    pub(crate) fn offloads(&self) -> (bool, bool) {
        let mut sockets = self.udp.iter().flatten();
        (
            sockets.clone().all(UdpSocket::gso),
            sockets.all(UdpSocket::gro),
        )
    }

    /// Datagrams for families that this worker does not listen on.
    pub(crate) fn without_socket(&self) -> u64 {
        self.no_socket
    }
}

impl Sink for Outbox {
    #[inline]
    fn space(&mut self, max: usize) -> &mut [u8] {
        if self.batch.is_full() {
            self.flush_udp();
        }
        self.batch.space(max.min(MAX_DATAGRAM))
    }

    #[inline]
    fn commit(&mut self, to: &Destination, len: usize) {
        if to.socket.is_tcp() {
            self.tcp_datagrams += 1;
            self.tcp_bytes += len as u64;
            let datagram = self.batch.space(len);
            self.connections.push(to, datagram);
        } else if self.udp[usize::from(to.socket.0)].is_some() {
            self.batch.commit(usize::from(to.socket.0), to.remote, len);
        } else {
            self.no_socket += 1;
        }
    }

    fn end_train(&mut self) {
        self.batch.end_train();
    }

    /// Only of UDP: what goes to a TCP connection is written when the connection takes it.
    #[inline]
    fn mark_arrival(&mut self, to: &Destination, kind: usize, arrived: Instant) {
        if !to.socket.is_tcp() {
            self.batch.mark(kind, arrived);
        }
    }

    #[inline]
    fn prefetch<T: ?Sized>(&self, soon: &T, len: usize) {
        prefetch(soon, len);
    }
}
