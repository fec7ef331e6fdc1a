//! Packets that belong to no stream that was announced to a bot.
//!
//! # Job
//! Counts RTP of unknown SSRCs, but for a grace around announcements: a stream may flow before it is announced to the bot, and for
//! a moment after it has ended.
//!
//! # Invariants
//! - What is not announced in time counts from its first packet on: no grace lets a stream pass for good.
//!
//! # Cost
//! Nothing for packets of known streams; a search of two short lists for others.

/// How long an SSRC may be unknown, and how long packets may follow the end of its stream.
const GRACE_NS: u64 = 5_000_000_000;
/// SSRCs that are counted apart; packets of more are counted at once.
const MAX_OPEN: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Stranger {
    ssrc: u32,
    since_ns: u64,
    packets: u64,
    /// The grace has passed.
    counted: bool,
}

/// What one bot received and could not attribute.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    counted: u64,
    open: Vec<Stranger>,
    ended: Vec<(u32, u64)>,
}

impl Strangers {
    /// Takes a packet of an SSRC that no stream has.
    pub(crate) fn packet(&mut self, ssrc: u32, now_ns: u64) {
        let within = |since_ns: u64| now_ns.saturating_sub(since_ns) <= GRACE_NS;
        if self
            .ended
            .iter()
            .any(|(known, at_ns)| *known == ssrc && within(*at_ns))
        {
            return;
        }
        let Some(stranger) = self.open.iter_mut().find(|known| known.ssrc == ssrc) else {
            if self.open.len() < MAX_OPEN {
                self.open.push(Stranger {
                    ssrc,
                    since_ns: now_ns,
                    packets: 1,
                    counted: false,
                });
            } else {
                self.counted += 1;
            }
            return;
        };
        stranger.packets += 1;
        if stranger.counted {
            self.counted += 1;
        } else if !within(stranger.since_ns) {
            stranger.counted = true;
            self.counted += stranger.packets;
        }
    }

    /// A stream with this SSRC was announced: what came of it within the grace was early.
    pub(crate) fn announced(&mut self, ssrc: u32) {
        self.open.retain(|stranger| stranger.ssrc != ssrc);
        self.ended.retain(|(known, _)| *known != ssrc);
    }

    /// A stream with this SSRC has ended.
    pub(crate) fn ended(&mut self, ssrc: u32, now_ns: u64) {
        self.ended
            .retain(|(_, at_ns)| now_ns.saturating_sub(*at_ns) <= GRACE_NS);
        self.ended.push((ssrc, now_ns));
    }

    /// Packets counted so far, and those whose grace has not passed.
    pub(crate) fn packets(&self) -> (u64, u64) {
        let open = self.open.iter().filter(|stranger| !stranger.counted);
        (self.counted, open.map(|stranger| stranger.packets).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn packets_of_a_stream_that_is_announced_in_time_were_early() {
        let mut strangers = Strangers::default();
        (0..40).for_each(|at| strangers.packet(7, at * S / 10));
        assert_eq!(strangers.packets(), (0, 40));
        strangers.announced(7);
        assert_eq!(strangers.packets(), (0, 0));
    }

    #[test]
    fn a_stream_that_is_never_announced_counts_from_its_first_packet_on() {
        let mut strangers = Strangers::default();
        (0..200).for_each(|at| strangers.packet(7, at * S / 10));
        assert_eq!(strangers.packets(), (200, 0));
        strangers.announced(7);
        assert_eq!(
            strangers.packets(),
            (200, 0),
            "an announcement does not make it undone"
        );
    }

    #[test]
    fn packets_after_the_end_of_a_stream_are_ignored_for_a_while() {
        let mut strangers = Strangers::default();
        strangers.ended(7, S);
        strangers.packet(7, 6 * S);
        assert_eq!(strangers.packets(), (0, 0));
        (0..60).for_each(|at| strangers.packet(7, 7 * S + at * S / 10));
        assert_eq!(strangers.packets(), (60, 0));
    }

    #[test]
    fn a_flood_of_ssrcs_is_counted_at_once() {
        let mut strangers = Strangers::default();
        (0..1000).for_each(|ssrc| strangers.packet(ssrc, S));
        assert_eq!(
            strangers.packets(),
            (1000 - MAX_OPEN as u64, MAX_OPEN as u64)
        );
    }
}
