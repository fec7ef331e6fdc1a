//! When the packets of one transport arrived, until it is reported (transport-wide congestion control).
//!
//! # Job
//! Collects arrivals by transport-wide number and turns them into feedback packets. When to send them belongs to
//! `receiver`.
//!
//! # Invariants
//! - Each number is reported once, in order; what arrives after its number was reported is ignored.
//!
//! # Cost
//! Eight bytes a packet until the next report; no allocation once the list has grown to a period's packets.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.

use std::collections::VecDeque;
use std::time::Duration;

use meeshy_sfu_proto::rtcp::twcc::Feedback;
use meeshy_sfu_proto::rtp::seq;

/// Beyond this distance numbers are taken for a new beginning: no report could hold them.
const MAX_SPAN: u64 = 8192;

/// Arrivals not yet reported.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Number of the first entry.
    base: u64,
    started: bool,
    /// Unix nanoseconds; 0 for numbers that did not arrive.
    times_ns: VecDeque<u64>,
    feedback_count: u8,
    media_ssrc: u32,
}

impl Arrivals {
    /// Takes the arrival of the packet with this transport-wide number.
    #[inline]
    pub(crate) fn record(&mut self, sequence: u16, media_ssrc: u32, arrival_ns: u64) {
        if !self.started {
            self.started = true;
            self.base = 1 << 16 | u64::from(sequence);
        }
        let newest = self.base + self.times_ns.len() as u64;
        let Some(index) = seq::extend_near(sequence, newest) else {
            return;
        };
        let Some(at) = index.checked_sub(self.base) else {
            return;
        };
        if at >= MAX_SPAN {
            self.times_ns.clear();
            self.base = index;
            return self.record(sequence, media_ssrc, arrival_ns);
        }
        self.media_ssrc = media_ssrc;
        let at = at as usize;
        if at >= self.times_ns.len() {
            self.times_ns.resize(at, 0);
            self.times_ns.push_back(arrival_ns);
        } else if self.times_ns[at] == 0 {
            self.times_ns[at] = arrival_ns;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times_ns.is_empty()
    }

    /// Writes the next feedback into `out` and forgets what it reports; call again until it returns `None`.
    pub(crate) fn write(&mut self, sender_ssrc: u32, out: &mut [u8]) -> Option<usize> {
        if self.times_ns.is_empty() {
            return None;
        }
        let feedback = Feedback {
            sender_ssrc,
            media_ssrc: self.media_ssrc,
            base_sequence: self.base as u16,
            feedback_count: self.feedback_count,
        };
        let times = self
            .times_ns
            .iter()
            .map(|&at| (at != 0).then(|| Duration::from_nanos(at)));
        let written = feedback.write(times, out);
        let taken = written.map_or(self.times_ns.len(), |written| usize::from(written.taken));
        self.times_ns.drain(..taken);
        self.base += taken as u64;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        written.map(|written| written.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meeshy_sfu_proto::rtcp::{Packet, packets};

    const T0: u64 = 1_790_000_000_000_000_000;

    fn reports(arrivals: &mut Arrivals) -> Vec<(u16, bool)> {
        let mut seen = Vec::new();
        let mut out = [0; 1100];
        while let Some(length) = arrivals.write(1, &mut out) {
            let Some(Ok(Packet::TransportCc(feedback))) = packets(&out[..length]).next() else {
                panic!("feedback")
            };
            seen.extend(
                feedback
                    .arrivals()
                    .map(|arrival| (arrival.sequence, arrival.at_us.is_some())),
            );
        }
        seen
    }

    #[test]
    fn every_number_is_reported_once_with_holes_across_the_wrap() {
        let mut arrivals = Arrivals::default();
        for number in (65_500_u64..66_500).filter(|number| number % 10 != 3) {
            arrivals.record(number as u16, 7, T0 + number * 100_000);
        }
        let seen = reports(&mut arrivals);
        let expected: Vec<(u16, bool)> = (65_500_u64..66_500)
            .map(|number| (number as u16, number % 10 != 3))
            .collect();
        assert_eq!(seen, expected);
        assert!(arrivals.is_empty());
        // Too late for a report, and again for the next one.
        arrivals.record(65_503, 7, T0);
        assert!(reports(&mut arrivals).is_empty());
        arrivals.record(66_502_u64 as u16, 7, T0 + 7_000_000_000);
        arrivals.record(66_500_u64 as u16, 7, T0 + 7_000_000_100);
        let numbers = [66_500_u64, 66_501, 66_502].map(|number| number as u16);
        assert_eq!(
            reports(&mut arrivals),
            [(numbers[0], true), (numbers[1], false), (numbers[2], true)]
        );
    }

    #[test]
    fn a_jump_begins_anew() {
        let mut arrivals = Arrivals::default();
        arrivals.record(10, 7, T0);
        arrivals.record(20_000, 7, T0 + 1000);
        assert_eq!(reports(&mut arrivals), [(20_000, true)]);
    }
}
