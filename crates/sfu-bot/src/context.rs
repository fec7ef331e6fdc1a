//! What the bots of one thread share while they work: the time, buffers, counters and the outgoing queues.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::clip::Clip;
use crate::config::{BotEvent, EventKind, ThreadHealth};
use crate::lag::Lag;
use crate::layout::{Pause, Sample, SentFrame};

/// Room for any datagram of ours or of a server.
pub(crate) const DATAGRAM: usize = 2048;

/// One moment on the three clocks that are needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For ICE and DTLS.
    pub(crate) instant: Instant,
    /// For schedules: nanoseconds since the thread began; never jumps.
    pub(crate) mono_ns: u64,
    /// For stamps and arrivals: Unix nanoseconds, the clock of the kernel's timestamps.
    pub(crate) unix_ns: u64,
}

impl Now {
    pub(crate) fn read(began: Instant) -> Self {
        let instant = Instant::now();
        Self {
            instant,
            mono_ns: instant.duration_since(began).as_nanos() as u64,
            unix_ns: unix_ns(),
        }
    }
}

thread_local! {
    /// How far the wall clock of this thread's bots is put forward; only tests do that.
    static CLOCK_SHIFT_NS: Cell<i64> = const { Cell::new(0) };
}

/// Puts the wall clock of this thread's bots forward: their stamps, arrivals and records.
pub(crate) fn shift_clock(ns: i64) {
    CLOCK_SHIFT_NS.set(ns);
}

/// A moment of the machine's wall clock by that of this thread's bots.
pub(crate) fn shifted(unix_ns: u64) -> u64 {
    unix_ns.saturating_add_signed(CLOCK_SHIFT_NS.get())
}

/// The wall clock, Unix nanoseconds.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| shifted(since.as_nanos() as u64))
}

/// Shared by the bots of one thread.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) clip: &'a Clip,
    pub(crate) now: Now,
    /// Decrypted payload of the packet at hand, or the one to be encrypted.
    pub(crate) plain: Box<[u8; DATAGRAM]>,
    /// The datagram to be sent.
    pub(crate) out: Box<[u8; DATAGRAM]>,
    /// Sequence numbers to request.
    pub(crate) nacks: Vec<u16>,
    pub(crate) events: Vec<BotEvent>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) sent: Vec<SentFrame>,
    pub(crate) pauses: Vec<Pause>,
    pub(crate) health: ThreadHealth,
    pub(crate) lag: Lag,
}

impl<'a> Context<'a> {
    pub(crate) fn new(clip: &'a Clip, began: Instant) -> Self {
        Self {
            clip,
            now: Now::read(began),
            plain: Box::new([0; DATAGRAM]),
            out: Box::new([0; DATAGRAM]),
            nacks: Vec::new(),
            events: Vec::new(),
            samples: Vec::new(),
            sent: Vec::new(),
            pauses: Vec::new(),
            health: ThreadHealth::default(),
            lag: Lag::default(),
        }
    }

    pub(crate) fn report(&mut self, bot: u16, what: EventKind) {
        self.events.push(BotEvent {
            bot,
            unix_ns: self.now.unix_ns,
            what,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_put_forward_moves_stamps_and_arrivals_alike() {
        let before = unix_ns();
        shift_clock(3_600_000_000_000);
        assert_eq!(shifted(before), before + 3_600_000_000_000);
        let after = unix_ns();
        assert!((3_600_000_000_000..3_700_000_000_000).contains(&(after - before)));
        shift_clock(-5);
        assert_eq!((shifted(12), shifted(3)), (7, 0));
        shift_clock(0);
        assert!(unix_ns() < before + 100_000_000_000);
    }
}
