//! One direction of a path: rate with a drop-tail queue, delay, jitter, random and burst loss, reordering.
//!
//! Sans-I/O: says when a datagram arrives, if it does.

use super::Micros;
use crate::seeded::Random;

/// Properties of a path.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Bits per second; `None` for no limit.
    pub rate_bps: Option<u64>,
    /// Longest time in the queue; what would wait longer is dropped.
    pub queue: Micros,
    pub delay: Micros,
    /// Added to the delay, uniform from 0 to this; keeps the order.
    pub jitter: Micros,
    /// Probability that a datagram is lost, each on its own.
    pub loss: f64,
    /// Probability that a burst of losses begins, and its mean length in datagrams (Gilbert's model).
    pub burst: (f64, f64),
    /// Probability that a datagram is overtaken by those behind it, and by how much it is late.
    pub reorder: (f64, Micros),
}

impl Path {
    /// A path that loses nothing.
    pub const CLEAN: Self = Self {
        rate_bps: None,
        queue: 200_000,
        delay: 20_000,
        jitter: 0,
        loss: 0.0,
        burst: (0.0, 1.0),
        reorder: (0.0, 0),
    };

    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

/// A path and what is on its way.
#[derive(Clone, Debug)]
pub struct Link {
    pub path: Path,
    random: Random,
    /// When the queue is empty again.
    idle_at: Micros,
    last_arrival: Micros,
    in_burst: bool,
    pub sent: u64,
    pub lost: u64,
    pub overflowed: u64,
}

impl Link {
    pub fn new(path: Path, seed: u64) -> Self {
        Self {
            path,
            random: Random::new(seed),
            idle_at: 0,
            last_arrival: 0,
            in_burst: false,
            sent: 0,
            lost: 0,
            overflowed: 0,
        }
    }

    /// Sends a datagram of `len` bytes. Returns when it arrives, or `None` if it is lost.
    pub fn send(&mut self, len: usize, now: Micros) -> Option<Micros> {
        self.sent += 1;
        let path = self.path;
        let mut leaves = now;
        if let Some(rate) = path.rate_bps {
            let begins = self.idle_at.max(now);
            if begins - now > path.queue {
                self.overflowed += 1;
                return None;
            }
            leaves = begins + (len as u64 + 28) * 8_000_000 / rate;
            self.idle_at = leaves;
        }
        let (begins, length) = path.burst;
        self.in_burst = if self.in_burst {
            !self.random.chance(1.0 / length)
        } else {
            self.random.chance(begins)
        };
        if self.random.chance(path.loss) || self.in_burst {
            self.lost += 1;
            return None;
        }
        let arrives = leaves + path.delay + self.random.between(0, path.jitter + 1);
        if self.random.chance(path.reorder.0) {
            return Some(arrives + path.reorder.1);
        }
        self.last_arrival = self.last_arrival.max(arrives);
        Some(self.last_arrival)
    }
}
