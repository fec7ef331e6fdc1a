//! The measured rate of a stream.
//!
//! # Job
//! Turns a growing count of bytes into bits per second. When to measure is decided by the owner of the router.
//!
//! # Cost
//! Nothing per packet: a measurement is a subtraction.

use super::clock::Micros;

/// Measurements that follow each other faster than this are one.
const SHORTEST: Micros = 200_000;

/// Bits per second between two measurements.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// When it was measured last, and what had been counted.
    last: Option<(Micros, u64)>,
    bps: u64,
}

impl Rate {
    /// Takes the count of bytes so far.
    pub(crate) fn measure(&mut self, bytes: u64, now: Micros) {
        if let Some((at, before)) = self.last {
            let time = now.saturating_sub(at);
            if time < SHORTEST {
                return;
            }
            self.bps = (bytes - before) * 8_000_000 / time;
        }
        self.last = Some((now, bytes));
    }

    /// Returns the rate between the last two measurements; 0 before there are two.
    pub(crate) fn bps(&self) -> u64 {
        self.bps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_interval() {
        let mut rate = Rate::default();
        rate.measure(1_000_000, 5_000_000);
        assert_eq!(rate.bps(), 0, "one look is no rate");
        rate.measure(1_125_000, 6_000_000);
        assert_eq!(rate.bps(), 1_000_000);
        rate.measure(1_126_000, 6_000_100);
        assert_eq!(rate.bps(), 1_000_000, "too early");
        rate.measure(1_250_000, 8_000_000);
        assert_eq!(rate.bps(), 500_000);
        rate.measure(1_250_000, 9_000_000);
        assert_eq!(rate.bps(), 0, "silence");
    }
}
