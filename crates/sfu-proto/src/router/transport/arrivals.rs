//! Arrival times of one sender's packets until they are reported.
//!
//! # Invariants
//! - A packet that arrives after it was reported missing is reported again, with the packets that follow it.
//!
//! # Cost
//! O(1) per packet, 8 KB per sending transport; no allocation after creation.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01.

use std::time::Duration;

use crate::net::Sink;
use crate::router::clock::Micros;
use crate::rtcp::twcc::Feedback;
use crate::rtp::seq::extend_near;

/// Packets recorded.
const CAPACITY: u64 = 1024;
/// Packets this far behind the newest are not reported any more.
const MAX_LATE: u64 = 512;

/// Arrival times by transport-wide sequence number.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Arrival time plus one, zero if missing.
    at: Box<[Micros]>,
    newest: Option<u64>,
    /// The next number to report.
    next: u64,
    feedback_count: u8,
    /// SSRC of the last packet; the feedback names it.
    media_ssrc: u32,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            at: vec![0; CAPACITY as usize].into_boxed_slice(),
            newest: None,
            next: 0,
            feedback_count: 0,
            media_ssrc: 0,
        }
    }

    /// Prefetches the place of the next packet.
    #[inline]
    pub(crate) fn prefetch<S: Sink>(&self, sink: &S) {
        let next = self.newest.unwrap_or_default() + 1;
        sink.prefetch(&self.at[(next % CAPACITY) as usize], usize::MAX);
    }

    /// Records a packet.
    #[inline]
    pub(crate) fn record(&mut self, sequence: u16, ssrc: u32, now: Micros) {
        self.media_ssrc = ssrc;
        let Some(newest) = self.newest else {
            // Leaves a cycle of room below the first packet.
            let index = 0x1_0000 + u64::from(sequence);
            self.newest = Some(index);
            self.next = index;
            self.at[(index % CAPACITY) as usize] = now + 1;
            return;
        };
        let Some(index) = extend_near(sequence, newest) else {
            return;
        };
        if index > newest {
            for missing in (newest + 1..index).rev().take(CAPACITY as usize) {
                self.at[(missing % CAPACITY) as usize] = 0;
            }
            self.newest = Some(index);
            self.next = self.next.max(index.saturating_sub(MAX_LATE));
        } else if index + MAX_LATE <= newest {
            return;
        } else if index < self.next {
            self.next = index;
        }
        self.at[(index % CAPACITY) as usize] = now + 1;
    }

    /// Returns when the first unreported packet arrived, if there is one.
    pub(crate) fn waiting_since(&self) -> Option<Micros> {
        self.newest.filter(|newest| self.next <= *newest)?;
        self.at[(self.next % CAPACITY) as usize].checked_sub(1)
    }

    /// Writes the next feedback; `None` if there is nothing to report.
    pub(crate) fn write(&mut self, sender_ssrc: u32, out: &mut [u8]) -> Option<usize> {
        let newest = self.newest?;
        if self.next > newest {
            return None;
        }
        let feedback = Feedback {
            sender_ssrc,
            media_ssrc: self.media_ssrc,
            base_sequence: self.next as u16,
            feedback_count: self.feedback_count,
        };
        let at = &self.at;
        let arrivals = (self.next..=newest).map(|index| {
            let arrival = at[(index % CAPACITY) as usize];
            (arrival != 0).then(|| Duration::from_micros(arrival - 1))
        });
        let written = feedback.write(arrivals, out)?;
        self.next += u64::from(written.taken.max(1));
        self.feedback_count = self.feedback_count.wrapping_add(1);
        Some(written.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Packet, packets};

    fn reported(arrivals: &mut Arrivals) -> Vec<(u16, bool)> {
        let mut out = [0; 1200];
        let mut list = Vec::new();
        while let Some(len) = arrivals.write(1, &mut out) {
            for packet in packets(&out[..len]) {
                if let Ok(Packet::TransportCc(feedback)) = packet {
                    list.extend(
                        feedback
                            .arrivals()
                            .map(|one| (one.sequence, one.at_us.is_some())),
                    );
                }
            }
        }
        list
    }

    #[test]
    fn each_packet_is_reported_once_with_its_holes() {
        let mut arrivals = Arrivals::new();
        for sequence in [65_534u16, 65_535, 1, 2] {
            arrivals.record(sequence, 9, 1000);
        }
        assert_eq!(
            reported(&mut arrivals),
            [
                (65_534, true),
                (65_535, true),
                (0, false),
                (1, true),
                (2, true)
            ]
        );
        assert_eq!(reported(&mut arrivals), []);
        arrivals.record(4, 9, 2000);
        assert_eq!(reported(&mut arrivals), [(3, false), (4, true)]);
    }

    #[test]
    fn a_late_packet_is_reported_again() {
        let mut arrivals = Arrivals::new();
        for sequence in [10u16, 12] {
            arrivals.record(sequence, 9, 1000);
        }
        reported(&mut arrivals);
        arrivals.record(11, 9, 2000);
        assert_eq!(reported(&mut arrivals), [(11, true), (12, true)]);
    }

    #[test]
    fn a_huge_jump_reports_no_more_than_is_remembered() {
        let mut arrivals = Arrivals::new();
        arrivals.record(0, 9, 1000);
        arrivals.record(30_000, 9, 2000);
        assert!(reported(&mut arrivals).len() <= MAX_LATE as usize + 1);
    }

    #[test]
    fn packets_too_far_behind_are_not_reported_again() {
        let mut arrivals = Arrivals::new();
        let late = MAX_LATE as u16;
        arrivals.record(late, 7, 0);
        let mut out = [0; 1200];
        assert!(arrivals.write(1, &mut out).is_some());
        assert_eq!(arrivals.waiting_since(), None);
        arrivals.record(0, 7, 5);
        assert_eq!(arrivals.waiting_since(), None, "as far as is remembered");
        arrivals.record(1, 7, 6);
        assert_eq!(arrivals.waiting_since(), Some(6));
    }
}
