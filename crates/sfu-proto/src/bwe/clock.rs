//! Time of the estimators: our own in microseconds, and that of a receiver, as its feedback tells it.
//!
//! # Job
//! Unwraps the reference time of transport-wide feedback, so that arrivals of different messages can be compared.
//!
//! # Invariants
//! - The difference of two arrivals is exact while the messages in between are less than 6.2 days of the receiver's
//!   clock apart. A receiver may step its clock as it likes: arithmetic wraps and never overflows.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.

/// Microseconds since a moment of the owner's choice.
pub(crate) type Micros = u64;

/// Microseconds in a unit of the reference time.
const UNIT: i64 = 64_000;

/// The unwrapped clock of one receiver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReceiverClock {
    /// Reference time of the last message, 24 bits.
    last: Option<i32>,
    /// The same, unwrapped.
    unwrapped: i64,
}

impl ReceiverClock {
    /// Takes the reference time of a message. Returns what must be added to its arrivals, in microseconds.
    pub(crate) fn unwrap(&mut self, reference: i32) -> i64 {
        let last = self.last.replace(reference);
        let step = last.map_or(reference, |last| (reference.wrapping_sub(last) << 8) >> 8);
        self.unwrapped = self.unwrapped.wrapping_add(step.into());
        self.unwrapped
            .wrapping_sub(reference.into())
            .wrapping_mul(UNIT)
    }
}

/// Returns how much later than `earlier` a receiver's time is, in microseconds.
pub(crate) fn since(later: i64, earlier: i64) -> i64 {
    later.wrapping_sub(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(references: &[i32]) -> Vec<i64> {
        let mut clock = ReceiverClock::default();
        let arrival =
            |reference: &i32| (i64::from(*reference) * UNIT).wrapping_add(clock.unwrap(*reference));
        references.iter().map(arrival).collect()
    }

    #[test]
    fn a_wrap_of_the_reference_time_is_one_step() {
        let wrapped = arrivals(&[0x7f_fffe, 0x7f_ffff, -0x80_0000, -0x7f_ffff]);
        let steps: Vec<i64> = wrapped.windows(2).map(|w| since(w[1], w[0])).collect();
        assert_eq!(steps, [UNIT; 3]);
    }

    #[test]
    fn reordered_messages_keep_their_distance() {
        let found = arrivals(&[-0x80_0000, 0x7f_ffff, -0x7f_fffe]);
        assert_eq!(since(found[1], found[0]), -UNIT);
        assert_eq!(since(found[2], found[0]), 2 * UNIT);
    }

    #[test]
    fn a_clock_that_runs_away_does_not_overflow() {
        let mut clock = ReceiverClock {
            last: Some(0),
            unwrapped: i64::MAX - 3,
        };
        for step in 1..10 {
            clock.unwrap(step * 0x7f_fff0);
        }
    }
}
