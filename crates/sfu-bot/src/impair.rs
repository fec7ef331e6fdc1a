//! An emulated link inside the process: seeded loss, delay, jitter and a limited rate with a bounded queue.
//!
//! # Job
//! Decides per datagram whether it arrives and when, and keeps those that are on their way. Times are Unix nanoseconds
//! handed in; sockets belong to `transport`.
//!
//! # Invariants
//! - The n-th datagram of a link is dropped or not by seed and n alone: neither jitter nor rate changes the choice.
//! - Without `reorder` what goes in first comes out first, and the delay follows `jitter`; with it each datagram draws its
//!   own.
//! - The time a datagram comes out with is the exact due time, however late it is fetched.
//!
//! # Cost
//! Nothing for a perfect link ([`EmulatedLink::is_perfect`]); else one copy into a recycled buffer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::config::LinkProfile;
use crate::jitter::Jitter;
use crate::random::Random;

const DEFAULT_QUEUE_MS: f64 = 200.0;
/// Datagrams under way at most; beyond it they are dropped as by a full queue. 8192 is 400 Mbit/s at 200 ms.
const MAX_UNDER_WAY: usize = 8192;

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// When it arrives, exactly.
    pub(crate) due_ns: u64,
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// Its bytes; give them back to [`EmulatedLink::recycle`].
    pub(crate) bytes: Vec<u8>,
}

/// One direction of a bot's emulated link.
#[derive(Debug)]
pub(crate) struct EmulatedLink {
    profile: LinkProfile,
    drops: Random,
    /// Draws of a link that may change the order.
    draws: Random,
    jitter: Jitter,
    /// When a limited link has sent all it was given.
    free_at_ns: u64,
    latest_due_ns: u64,
    under_way: VecDeque<UnderWay>,
    spare: Vec<Vec<u8>>,
}

impl EmulatedLink {
    /// A link with this profile and its seed.
    pub(crate) fn new(profile: LinkProfile) -> Self {
        Self {
            profile,
            drops: Random::derive(profile.seed, 1),
            draws: Random::derive(profile.seed, 2),
            jitter: Jitter::new(profile.jitter_ms, profile.seed),
            free_at_ns: 0,
            latest_due_ns: 0,
            under_way: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Changes the profile; what is under way arrives as it would have.
    pub(crate) fn set_profile(&mut self, profile: LinkProfile) {
        let mut fresh = Self::new(profile);
        fresh.under_way = std::mem::take(&mut self.under_way);
        fresh.spare = std::mem::take(&mut self.spare);
        fresh.latest_due_ns = self.latest_due_ns;
        *self = fresh;
    }

    /// Nothing is dropped, delayed or under way: datagrams may pass it by.
    pub(crate) fn is_perfect(&self) -> bool {
        let profile = &self.profile;
        profile.loss <= 0.0
            && profile.delay_ms <= 0.0
            && profile.jitter_ms <= 0.0
            && profile.rate_bps == 0
            && self.under_way.is_empty()
    }

    /// Puts a datagram on the link.
    pub(crate) fn push(&mut self, datagram: &[u8], peer: SocketAddr, now_ns: u64) {
        let Some(due_ns) = self.fate(datagram.len(), now_ns) else {
            return;
        };
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        let at = self
            .under_way
            .iter()
            .rposition(|before| before.due_ns <= due_ns)
            .map_or(0, |at| at + 1);
        self.under_way.insert(
            at,
            UnderWay {
                due_ns,
                peer,
                bytes,
            },
        );
    }

    /// Takes the next datagram that has arrived by `now_ns`.
    pub(crate) fn pop(&mut self, now_ns: u64) -> Option<UnderWay> {
        if self.under_way.front()?.due_ns > now_ns {
            return None;
        }
        self.under_way.pop_front()
    }

    /// Takes a buffer back for the next datagram.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// When the next datagram arrives.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.under_way.front().map(|first| first.due_ns)
    }

    /// Whether and when a datagram of this length arrives.
    fn fate(&mut self, length: usize, now_ns: u64) -> Option<u64> {
        let profile = &self.profile;
        let lost = self.drops.unit() < profile.loss;
        if lost || self.under_way.len() >= MAX_UNDER_WAY {
            return None;
        }
        let mut sent_ns = now_ns;
        if profile.rate_bps > 0 {
            let queue_ms = if profile.queue_ms > 0.0 {
                profile.queue_ms
            } else {
                DEFAULT_QUEUE_MS
            };
            let begin_ns = self.free_at_ns.max(now_ns);
            if (begin_ns - now_ns) as f64 > queue_ms * 1e6 {
                return None;
            }
            sent_ns = begin_ns + (length as u64 * 8 * 1_000_000_000).div_ceil(profile.rate_bps);
            self.free_at_ns = sent_ns;
        }
        let jitter_ns = if profile.reorder {
            (self.draws.unit() * profile.jitter_ms.max(0.0) * 1e6) as u64
        } else {
            self.jitter.delay_ns(sent_ns)
        };
        let mut due_ns = sent_ns + (profile.delay_ms.max(0.0) * 1e6) as u64 + jitter_ns;
        if !profile.reorder {
            due_ns = due_ns.max(self.latest_due_ns);
        }
        self.latest_due_ns = self.latest_due_ns.max(due_ns);
        Some(due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn peer() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    fn arrivals(profile: LinkProfile, count: u64, gap_ns: u64) -> Vec<(u64, u64)> {
        let mut link = EmulatedLink::new(profile);
        let mut seen = Vec::new();
        let mut take = |link: &mut EmulatedLink, now| {
            while let Some(arrived) = link.pop(now) {
                seen.push((
                    u64::from_be_bytes(arrived.bytes[..8].try_into().unwrap()),
                    arrived.due_ns,
                ));
                link.recycle(arrived.bytes);
            }
        };
        for number in 0..count {
            let now = 1_000 * MS + number * gap_ns;
            take(&mut link, now);
            let mut datagram = [0; 1000];
            datagram[..8].copy_from_slice(&number.to_be_bytes());
            link.push(&datagram, peer(), now);
        }
        take(&mut link, u64::MAX);
        seen
    }

    #[test]
    fn five_percent_of_loss_are_five_percent() {
        let profile = LinkProfile {
            loss: 0.05,
            ..Default::default()
        };
        let arrived = arrivals(profile, 20_000, MS).len();
        let lost = 20_000 - arrived;
        // Three standard deviations of a binomial distribution.
        assert!((908..=1092).contains(&lost), "{lost}");
    }

    #[test]
    fn the_same_seed_drops_the_same_datagrams_whatever_else_is_set() {
        let numbers = |profile| {
            arrivals(profile, 5000, MS)
                .into_iter()
                .map(|(number, _)| number)
                .collect::<Vec<_>>()
        };
        let plain = numbers(LinkProfile {
            loss: 0.1,
            ..Default::default()
        });
        let dressed = numbers(LinkProfile {
            loss: 0.1,
            delay_ms: 30.0,
            jitter_ms: 9.0,
            ..Default::default()
        });
        assert_eq!(plain, dressed);
        let other = numbers(LinkProfile {
            loss: 0.1,
            seed: 8,
            ..Default::default()
        });
        assert_ne!(plain, other);
    }

    #[test]
    fn delay_is_exact_and_jitter_keeps_the_order() {
        for (number, at) in arrivals(
            LinkProfile {
                delay_ms: 40.0,
                ..Default::default()
            },
            100,
            MS,
        ) {
            assert_eq!(at, 1_000 * MS + number * MS + 40 * MS);
        }
        let profile = LinkProfile {
            delay_ms: 40.0,
            jitter_ms: 10.0,
            ..Default::default()
        };
        let seen = arrivals(profile, 5000, MS);
        assert!(
            seen.windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
        );
        let delays: Vec<u64> = seen
            .iter()
            .map(|(number, at)| at - 1_000 * MS - number * MS)
            .collect();
        assert!(
            delays
                .iter()
                .all(|&delay| (40 * MS..=50 * MS).contains(&delay))
        );
    }

    #[test]
    fn a_busy_link_delivers_the_jitter_it_was_given_and_not_its_upper_end() {
        // What a bot receives in a call of twelve.
        for reorder in [false, true] {
            let profile = LinkProfile {
                jitter_ms: 50.0,
                reorder,
                seed: 5,
                ..Default::default()
            };
            let gap_ns = 1_000_000_000 / 990;
            let mut delays: Vec<u64> = arrivals(profile, 30_000, gap_ns)
                .iter()
                .map(|(number, at)| at - 1_000 * MS - number * gap_ns)
                .collect();
            delays.sort_unstable();
            for (share, wanted_ms) in [(0.05, 2.5), (0.5, 25.0), (0.95, 47.5)] {
                let seen_ms = delays[(delays.len() as f64 * share) as usize] as f64 / MS as f64;
                assert!(
                    (seen_ms - wanted_ms).abs() < 2.5,
                    "{share} with reorder {reorder}: {seen_ms}"
                );
            }
        }
    }

    #[test]
    fn reordering_happens_only_when_it_is_asked_for() {
        let profile = LinkProfile {
            jitter_ms: 10.0,
            reorder: true,
            ..Default::default()
        };
        let seen = arrivals(profile, 1000, MS);
        assert_eq!(seen.len(), 1000);
        assert!(seen.windows(2).any(|pair| pair[0].0 > pair[1].0));
        assert!(seen.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn a_limited_link_passes_its_rate_and_drops_what_its_queue_cannot_hold() {
        // 8 Mbit/s offered to 1 Mbit/s with 50 ms of queue, for one second.
        let profile = LinkProfile {
            rate_bps: 1_000_000,
            queue_ms: 50.0,
            ..Default::default()
        };
        let seen = arrivals(profile, 1000, MS);
        assert!((125..=135).contains(&seen.len()), "{}", seen.len());
        let worst = seen
            .iter()
            .map(|(number, at)| at - 1_000 * MS - number * MS)
            .max()
            .unwrap();
        assert!(worst <= 58 * MS + 1, "{worst}");
        assert!(seen.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 8 * MS));
    }

    #[test]
    fn a_link_is_perfect_again_once_it_is_empty() {
        let mut link = EmulatedLink::new(LinkProfile {
            delay_ms: 5.0,
            ..Default::default()
        });
        link.push(&[0; 10], peer(), 0);
        link.set_profile(LinkProfile::default());
        assert!(!link.is_perfect(), "one datagram is still under way");
        assert_eq!(link.next_due_ns(), Some(5 * MS));
        assert!(link.pop(5 * MS).is_some());
        assert!(link.is_perfect());
    }
}
