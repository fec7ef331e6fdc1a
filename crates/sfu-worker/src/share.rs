//! What one kind of work may take of a round.
//!
//! # Job
//! Requests and timers come in any number at once, and packets wait behind them. Each kind gets a share of the
//! round; what is left goes on in the next one, which begins at once.
//!
//! # Invariants
//! - A share ends with the piece of work that uses it up; the first piece is always done.

use std::time::{Duration, Instant};

/// Of a round, for requests and for timers each.
pub(crate) const SHARE: Duration = Duration::from_millis(1);

/// Time that is left, by a clock that is asked after each piece of work.
pub(crate) struct Share<C> {
    clock: C,
    end: Instant,
}

impl<C: FnMut() -> Instant> Share<C> {
    /// A share that begins now.
    pub(crate) fn new(mut clock: C) -> Share<C> {
        let end = clock() + SHARE;
        Share { clock, end }
    }

    /// Whether the rest has to wait for the next round.
    pub(crate) fn is_used_up(&mut self) -> bool {
        (self.clock)() >= self.end
    }
}
