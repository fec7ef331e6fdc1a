//! The estimate of what the path to one receiver carries, from its transport-wide feedback.
//!
//! # Job
//! Matches feedback with what was sent, and combines the limits of delay and of loss. What is sent within the estimate
//! belongs to the router.
//!
//! # Invariants
//! - Feedback that stays away while packets are sent, and feedback that matches nothing, is congestion.
//! - A sender with nothing to send keeps its estimate.
//! - Whatever a receiver reports, the estimate stays between 30 kbit/s and the higher of start value and ceiling.
//!
//! # Cost
//! 16 bytes a packet and one store to record it; a feedback costs a look at each packet it reports, and at most as many
//! as the ring holds. Only [`SendSide::tick`] allocates, when the ring has to grow.
//!
//! # Left out
//! Probing; receivers without transport-wide feedback.
//!
//! draft-ietf-rmcat-gcc-02, draft-holmer-rmcat-transport-wide-cc-extensions-01.

use crate::bwe::acked::Acked;
use crate::bwe::aimd::{Aimd, Path};
use crate::bwe::clock::{Micros, ReceiverClock, since};
use crate::bwe::groups::{Groups, Outcome};
use crate::bwe::least::Least;
use crate::bwe::loss::Loss;
use crate::bwe::queue::Queue;
use crate::bwe::sent::{Fate, Sent};
use crate::bwe::trendline::{Trendline, Usage};
use crate::rtcp::TransportCc;

const UNKNOWN_RTT: Micros = 200_000;
const LONGEST_RTT: Micros = 10_000_000;
const RTT_WINDOW: Micros = 1_000_000;
/// A path whose shortest round trip of a second is longer has a queue that nothing drains.
const HOPELESS_RTT: Micros = 3_000_000;
/// Shortest absence of feedback that counts, and the packets that must have been sent in it.
const ABSENCE: Micros = 1_000_000;
const UNANSWERED: u64 = 10;
/// A sender silent for this long is not waiting for feedback.
const SILENCE: Micros = 500_000;
/// Per second.
const ABSENT_FACTOR: f64 = 0.7;
const HOPELESS_FACTOR: f64 = 0.8;
/// Spans of the rate on over-use, and of that while a queue stands.
const MOMENT: i64 = 100_000;
const DRAIN: i64 = 300_000;
const UNMATCHED_WINDOW: Micros = 1_000_000;

/// How a path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathState {
    /// The queue does not grow.
    Normal,
    /// The queue grows.
    Overuse,
    /// Feedback stays away or does not match what was sent.
    Unanswered,
}

/// Estimator of the path to one receiver.
#[derive(Debug)]
pub struct SendSide {
    sent: Sent,
    clock: ReceiverClock,
    groups: Groups,
    trendline: Trendline,
    queue: Queue,
    acked: Acked,
    aimd: Aimd,
    loss: Loss,
    /// Microseconds, of the last one to two seconds.
    rtt: Least,
    start: f64,
    ceiling: f64,
    /// Highest number reported received.
    newest: Option<u64>,
    /// When the first packet after `newest` was sent, and the packets sent before it.
    unanswered: Option<(Micros, u64)>,
    /// Packets reported received in this window: all, and those never sent or forgotten.
    reported: (u32, u32),
    reported_since: Micros,
    /// More than a tenth of the last window was unmatched.
    unmatched: bool,
    unmatched_total: u64,
    ticked_at: Micros,
    ticked_packets: u64,
}

impl SendSide {
    /// Makes an estimator that starts at `start_bps`. Allocates its ring.
    #[must_use]
    pub fn new(start_bps: u64, now: Micros) -> Self {
        Self {
            sent: Sent::new(),
            clock: ReceiverClock::default(),
            groups: Groups::default(),
            trendline: Trendline::default(),
            queue: Queue::default(),
            acked: Acked::default(),
            aimd: Aimd::new(start_bps as f64, now),
            loss: Loss::default(),
            rtt: Least::over(RTT_WINDOW),
            start: start_bps as f64,
            ceiling: f64::INFINITY,
            newest: None,
            unanswered: None,
            reported: (0, 0),
            reported_since: now,
            unmatched: false,
            unmatched_total: 0,
            ticked_at: now,
            ticked_packets: 0,
        }
    }

    /// Bounds rises; what the estimate has reached already stays. `None` is no bound.
    pub fn set_ceiling(&mut self, ceiling_bps: Option<u64>) {
        let ceiling = ceiling_bps.map_or(f64::INFINITY, |bps| bps as f64);
        self.ceiling = ceiling.max(self.start);
    }

    /// Records a datagram of `size` bytes that was sent under a transport-wide number.
    #[inline]
    pub fn on_sent(&mut self, number: u16, size: usize, now: Micros) {
        if self.unanswered.is_none() {
            self.unanswered = Some((now, self.sent.totals().1));
        }
        self.sent.record(number, size, now);
    }

    /// Takes a round trip measured by other means.
    pub fn on_round_trip(&mut self, rtt: Micros, now: Micros) {
        self.add_round_trip(rtt, now);
    }

    fn add_round_trip(&mut self, rtt: Micros, now: Micros) {
        let rtt = rtt.clamp(1, LONGEST_RTT);
        self.rtt.add(rtt.cast_signed(), now);
    }

    /// Takes a feedback that arrived now.
    pub fn on_feedback(&mut self, feedback: &TransportCc<'_>, now: Micros) {
        let shift = self.clock.unwrap(feedback.reference_time);
        let before = self.newest;
        let mut newest_sent = None;
        let mut least: Option<i64> = None;
        for report in feedback.arrivals().take(self.sent.capacity()) {
            self.reported.0 += u32::from(report.at_us.is_some());
            let Some((index, packet)) = self.sent.find(report.sequence, now) else {
                self.reported.1 += u32::from(report.at_us.is_some());
                self.unmatched_total += u64::from(report.at_us.is_some());
                continue;
            };
            let (fate, sent_at, size) = (packet.fate, packet.at, packet.size);
            let Some(at) = report.at_us else {
                if fate == Fate::Unreported {
                    packet.fate = Fate::Missing;
                    self.loss.missing();
                }
                continue;
            };
            if fate == Fate::Received {
                continue;
            }
            packet.fate = Fate::Received;
            self.loss.received(fate == Fate::Missing);
            let arrival = at.wrapping_add(shift);
            self.acked.add(arrival, size, now);
            if self.newest.is_some_and(|newest| index <= newest) {
                continue;
            }
            self.newest = Some(index);
            newest_sent = Some(sent_at);
            let delay = since(arrival, sent_at.cast_signed());
            let lower = least.is_none_or(|least| since(delay, least) < 0);
            least = if lower { Some(delay) } else { least };
            match self.groups.add(sent_at, arrival) {
                Outcome::Pending => {}
                Outcome::Complete(spacing) => self.trendline.add(spacing),
                Outcome::Restarted => {
                    self.trendline = Trendline::default();
                    self.queue = Queue::default();
                }
            }
        }
        if let Some(least) = least {
            self.queue.add(least, now);
        }
        if let Some(sent_at) = newest_sent {
            self.add_round_trip(now.saturating_sub(sent_at), now);
        }
        if let Some(newest) = self.newest.filter(|_| self.newest != before) {
            let next = self.sent.sent_at(newest + 1);
            self.unanswered = next.map(|at| (at, self.sent.before(newest + 1)));
        }
        self.judge(now);
    }

    /// Returns what the trend says, if the queue confirms it.
    fn usage(&self) -> Usage {
        match self.trendline.usage() {
            Usage::Normal if self.queue.is_standing() => Usage::Overuse,
            Usage::Overuse if !self.queue.has_grown() => Usage::Normal,
            usage => usage,
        }
    }

    fn judge(&mut self, now: Micros) {
        if now.saturating_sub(self.reported_since) >= UNMATCHED_WINDOW {
            let (all, unmatched) = std::mem::take(&mut self.reported);
            self.unmatched = unmatched * 10 > all;
            self.reported_since = now;
        }
        let usage = self.usage();
        let drained = self
            .queue
            .is_standing()
            .then(|| self.acked.delivered(DRAIN, now));
        // A full queue drains at the capacity of the path; the average still shows what was before.
        let acked = drained.flatten().or_else(|| self.acked.rate(now));
        let path = Path {
            acked,
            delivered: self
                .acked
                .delivered(MOMENT, now)
                .filter(|_| drained.is_none()),
            rtt: self.round_trip().unwrap_or(UNKNOWN_RTT),
            ceiling: self.ceiling,
        };
        if self.state(now) != PathState::Unanswered {
            self.aimd.update(usage, path, now);
        }
        let over_use = usage == Usage::Overuse;
        let rate = self.aimd.rate().min(self.loss.limit());
        self.loss.update(rate, path.acked, over_use, path.rtt, now);
    }

    /// Does what is due by time: call it every 50 to 250 ms.
    pub fn tick(&mut self, now: Micros) {
        let passed = now.saturating_sub(self.ticked_at);
        if passed == 0 {
            return;
        }
        self.ticked_at = now;
        let (_, packets) = self.sent.totals();
        let sent = packets - std::mem::replace(&mut self.ticked_packets, packets);
        self.sent
            .grow(sent.saturating_mul(1_000_000) / passed.max(50_000));
        let seconds = passed.min(1_000_000) as f64 / 1e6;
        if self.state(now) == PathState::Unanswered {
            self.aimd.scale(ABSENT_FACTOR.powf(seconds));
        } else if self.is_sending(now) && self.round_trip().is_some_and(|rtt| rtt > HOPELESS_RTT) {
            self.aimd.scale(HOPELESS_FACTOR.powf(seconds));
        }
    }

    fn is_sending(&self, now: Micros) -> bool {
        let last = self.sent.last_at();
        last.is_some_and(|at| now.saturating_sub(at) <= SILENCE)
    }

    /// Returns how the path is used.
    #[must_use]
    pub fn state(&self, now: Micros) -> PathState {
        let patience = ABSENCE.max(3 * self.round_trip().unwrap_or(UNKNOWN_RTT));
        let absent = self.unanswered.is_some_and(|(since, before)| {
            now.saturating_sub(since) > patience && self.sent.totals().1 - before >= UNANSWERED
        });
        if self.is_sending(now) && (absent || self.unmatched) {
            PathState::Unanswered
        } else if self.usage() == Usage::Overuse {
            PathState::Overuse
        } else {
            PathState::Normal
        }
    }

    /// Returns the estimate in bit/s, headers counted as in [`on_sent`](Self::on_sent).
    #[must_use]
    pub fn estimate_bps(&self) -> u64 {
        let estimate = self.aimd.rate().min(self.loss.limit());
        estimate.max(crate::bwe::aimd::FLOOR) as u64
    }

    /// Returns the rate that arrives at the receiver in bit/s; `None` if its last report is older than two seconds.
    #[must_use]
    pub fn acked_bps(&self, now: Micros) -> Option<u64> {
        self.acked.rate(now).map(|rate| rate as u64)
    }

    /// Returns the share of packets lost in the last window of about half a second, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss.last()
    }

    /// Returns the shortest round trip of the last one to two seconds of feedback, in microseconds.
    #[must_use]
    pub fn round_trip(&self) -> Option<Micros> {
        self.rtt.get().map(i64::cast_unsigned)
    }

    /// Returns how many packets were reported received that were never sent or are forgotten.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.unmatched_total
    }
}
