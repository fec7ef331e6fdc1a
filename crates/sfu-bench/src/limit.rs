//! What the recorded trains cost without the SFU: only sealed, only sent.
//!
//! # Job
//! Replays the trains of a slice in two ways. *At their times*: woken as often as the worker was, with caches as cold as
//! its; nothing that sends these trains then can be cheaper. *Hot*: one after the other in a loop without a pause,
//! which a worker with a quarter of the load never sees.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meeshy_sfu_io::clock::{sleep_until, thread_cpu};
use meeshy_sfu_io::{SendBatch, TrainShape, UdpOptions, UdpSocket};
use meeshy_sfu_proto::srtp::SrtpTx;

use crate::call::key_of;
use crate::case::{Case, Outcome};
use crate::crowd::HEADER;

/// CPU nanoseconds per datagram, and per packet sealed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Price {
    pub(crate) kernel: f64,
    pub(crate) crypto: f64,
}

impl Price {
    pub(crate) fn sum(self) -> f64 {
        self.kernel + self.crypto
    }
}

/// The trains of one slice, and what is needed to seal and send them.
pub(crate) struct Limit {
    addresses: Vec<SocketAddr>,
    shapes: Vec<TrainShape>,
    socket: UdpSocket,
    batch: SendBatch,
    /// Per train, the keys of its receiver.
    keys: Vec<SrtpTx>,
    receiver: Vec<usize>,
    /// Position of the next train to send, and to seal.
    at: [usize; 2],
    overhead: usize,
    payload: Vec<u8>,
    index: u64,
}

impl Limit {
    pub(crate) fn new(case: &Case, addresses: &[SocketAddr]) -> Outcome<Limit> {
        let options = UdpOptions {
            gso: case.gso,
            ..UdpOptions::default()
        };
        Ok(Limit {
            addresses: addresses.to_vec(),
            shapes: Vec::new(),
            socket: UdpSocket::bind(([127, 0, 0, 1], 0).into(), &options)?,
            batch: SendBatch::new(),
            keys: (0..addresses.len())
                .map(|client| SrtpTx::new(case.profile, &key_of(client, false, case.profile)))
                .collect(),
            receiver: Vec::new(),
            at: [0; 2],
            overhead: case.profile.rtp_overhead(),
            // As far apart as packets in the producers' rings.
            payload: vec![0x5a; 16 * 1536],
            index: 0,
        })
    }

    /// The trains of the next measurements.
    pub(crate) fn take(&mut self, shapes: Vec<TrainShape>) -> Outcome<()> {
        if shapes.is_empty() {
            return Err("nothing was forwarded".into());
        }
        let of = |shape: &TrainShape| self.addresses.iter().position(|a| *a == shape.to);
        self.receiver = shapes
            .iter()
            .map(|shape| of(shape).unwrap_or_default())
            .collect();
        self.shapes = shapes;
        self.at = [0; 2];
        Ok(())
    }

    /// Datagrams sent so far.
    pub(crate) fn datagrams(&self) -> u64 {
        self.batch.counters().datagrams
    }

    /// Seals and sends every train once, at the time of its flush.
    pub(crate) fn paced(&mut self) -> Price {
        let (mut sealing, mut sending) = (Duration::ZERO, Duration::ZERO);
        let (mut packets, datagrams) = (0, self.datagrams());
        let (begin, first) = (Instant::now(), self.shapes[0].at);
        let mut next = 0;
        while next < self.shapes.len() {
            sleep_until(begin + (self.shapes[next].at - first));
            let rest = &self.shapes[next..];
            let flush = rest.iter().position(|shape| shape.last);
            let end = flush.map_or(self.shapes.len(), |last| next + last + 1);
            let before = thread_cpu();
            for position in next..end {
                packets += self.seal(position);
            }
            let between = thread_cpu();
            for position in next..end {
                self.commit(position);
            }
            self.batch.flush(&[&self.socket]);
            sealing += between - before;
            sending += thread_cpu() - between;
            next = end;
        }
        Price {
            kernel: sending.as_nanos() as f64 / (self.datagrams() - datagrams) as f64,
            crypto: sealing.as_nanos() as f64 / packets as f64,
        }
    }

    /// Sends trains for `time` without a pause; CPU nanoseconds per datagram.
    pub(crate) fn kernel(&mut self, time: Duration) -> f64 {
        let until = Instant::now() + time;
        let datagrams = self.datagrams();
        let cpu = thread_cpu();
        while Instant::now() < until {
            loop {
                let position = self.at[0];
                self.at[0] = (position + 1) % self.shapes.len();
                self.commit(position);
                if self.shapes[position].last || self.batch.is_full() {
                    break;
                }
            }
            self.batch.flush(&[&self.socket]);
        }
        let used = thread_cpu() - cpu;
        used.as_nanos() as f64 / (self.datagrams() - datagrams) as f64
    }

    /// Seals the packets of the trains for `time` without a pause; CPU nanoseconds per packet.
    pub(crate) fn crypto(&mut self, time: Duration) -> f64 {
        let until = Instant::now() + time;
        let mut packets = 0;
        let cpu = thread_cpu();
        while Instant::now() < until {
            for _ in 0..64 {
                let position = self.at[1];
                self.at[1] = (position + 1) % self.shapes.len();
                packets += self.seal(position);
            }
        }
        (thread_cpu() - cpu).as_nanos() as f64 / packets as f64
    }

    /// Queues a train of nothing in particular.
    fn commit(&mut self, position: usize) {
        let shape = self.shapes[position];
        let mut left = shape.length;
        while left > 0 {
            let len = shape.segment.min(left);
            self.batch.space(len);
            self.batch.commit(0, shape.to, len);
            left -= len;
        }
        self.batch.end_train();
    }

    /// Seals as many packets, and as large ones, as the train has; gives their number.
    fn seal(&mut self, position: usize) -> u64 {
        let mut out = [0; 2048];
        let shape = self.shapes[position];
        let keys = &self.keys[self.receiver[position]];
        let (mut left, mut packets) = (shape.length, 0);
        while left > 0 {
            let len = shape.segment.min(left);
            left -= len;
            let Some(plain) = len.checked_sub(HEADER + self.overhead) else {
                continue;
            };
            self.index += 1;
            packets += 1;
            let start = (self.index as usize % 16) * 1536;
            let plain = &self.payload[start..start + plain];
            keys.protect_rtp(&mut out, HEADER, plain, 7, self.index);
            std::hint::black_box(&out);
        }
        packets
    }
}
