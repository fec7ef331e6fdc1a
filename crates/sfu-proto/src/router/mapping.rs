//! Maps a sender's RTP timestamps and NTP clock to our clock, per stream.
//!
//! # Job
//! Learns the offset of the sender's clock from Sender Reports, and the offset of its timestamps from arrivals.
//! Computes the RTP timestamp of a moment, for reports, and our time of a capture. Writing them belongs to `report`
//! and `ingest`.
//!
//! # Invariants
//! - Delays only add, so the minimum of the samples is used. Clocks drift, so the minimum rises by `DRIFT` until a
//!   smaller sample comes.
//! - Streams of one sender whose clocks are near each other share one clock, which keeps audio and video in sync. A
//!   clock far from the others is used for its own stream only.
//! - A report that contradicts arrivals by more than `CONTRADICTION` is ignored in favour of arrivals.
//!
//! # Cost
//! One comparison per packet; the rest once a second and per report.
//!
//! RFC 3550 §6.4.1 (NTP and RTP timestamps; an NTP time of zero is none).

use super::clock::{Micros, ntp_difference};

/// Upper bound of clock drift, in parts per million.
const DRIFT: i64 = 250;
/// How far reports and arrivals may differ, microseconds: encoding and sending takes time.
pub(crate) const CONTRADICTION: i64 = 200_000;
/// After this many contradicting reports in a row the sender's clock was set; fewer are a slow path.
const MAX_CONTRADICTIONS: u8 = 3;
/// Window over which arrivals are evaluated together.
const WINDOW: Micros = 1_000_000;
/// A report older than its predecessor by up to this was reordered; by more, the sender's clock was set back.
const MAX_REORDERING: i64 = 10_000_000;

/// Minimum of a series of delayed samples whose true value drifts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MinFilter {
    value: Option<(i64, Micros)>,
    contradicted: u8,
}

impl MinFilter {
    /// Takes a sample in microseconds. After `patience` contradicting samples in a row the minimum is replaced.
    fn take(&mut self, sample: i64, patience: u8, now: Micros) {
        let known = self.at(now);
        if let Some(known) = known.filter(|known| sample - known > CONTRADICTION) {
            self.contradicted += 1;
            if self.contradicted < patience {
                self.value = Some((known, now));
                return;
            }
        }
        // A contradicting sample gets here only when the minimum is replaced.
        let kept = known.filter(|known| sample - known <= CONTRADICTION);
        self.contradicted = 0;
        self.value = Some((kept.map_or(sample, |kept| kept.min(sample)), now));
    }

    pub(crate) fn report(&mut self, sample: i64, now: Micros) {
        self.take(sample, MAX_CONTRADICTIONS, now);
    }

    pub(crate) fn at(&self, now: Micros) -> Option<i64> {
        let (value, at) = self.value?;
        Some(value + now.saturating_sub(at) as i64 * DRIFT / 1_000_000)
    }
}

/// The last Sender Report that was used.
#[derive(Clone, Copy, Debug)]
struct Report {
    ntp: u64,
    timestamp: u32,
}

/// Clock mapping of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    clock_rate: u32,
    report: Option<Report>,
    /// Our NTP time less the sender's.
    offset: MinFilter,
    /// Arrival less timestamp, in microseconds above `reference`.
    transit: MinFilter,
    /// Arrival less timestamp of the first packet, in ticks: the reference.
    reference: Option<u32>,
    /// Minimum of the current window, in ticks.
    least: Option<u32>,
    window_end: Micros,
}

impl Mapping {
    pub(crate) fn new() -> Self {
        Self {
            clock_rate: 90_000,
            report: None,
            offset: MinFilter::default(),
            transit: MinFilter::default(),
            reference: None,
            least: None,
            window_end: 0,
        }
    }

    /// Takes the arrival of a packet that was not retransmitted; `transit` is arrival less timestamp in ticks.
    #[inline]
    pub(crate) fn arrived(&mut self, transit: u32, clock_rate: u32, now: Micros) {
        let below = |known: u32| transit.wrapping_sub(known).cast_signed() < 0;
        if self.least.is_none_or(below) {
            self.least = Some(transit);
        }
        if now >= self.window_end {
            self.end_window(clock_rate, now);
        }
    }

    #[cold]
    fn end_window(&mut self, clock_rate: u32, now: Micros) {
        if self.clock_rate != clock_rate {
            // The codec changed, and with it the clock.
            *self = Self {
                clock_rate,
                least: self.least,
                ..Self::new()
            };
        }
        self.window_end = now + WINDOW;
        if let Some(least) = self.least.take() {
            let sample = self.micros_above(least);
            self.transit.take(sample, 1, now);
        }
    }

    fn micros_above(&mut self, transit: u32) -> i64 {
        let reference = *self.reference.get_or_insert(transit);
        let ticks = transit.wrapping_sub(reference).cast_signed();
        i64::from(ticks) * 1_000_000 / i64::from(self.clock_rate)
    }

    fn ticks(&self, micros: i64) -> u32 {
        (i128::from(micros) * i128::from(self.clock_rate) / 1_000_000) as u32
    }

    /// Takes a report; `offset` is our NTP time less the sender's. Returns false if the report says nothing of the
    /// sender's clock.
    pub(crate) fn reported(&mut self, ntp: u64, timestamp: u32, offset: i64, now: Micros) -> bool {
        if ntp == 0 {
            return false;
        }
        let older = self
            .report
            .map_or(0, |known| ntp_difference(known.ntp, ntp));
        if (1..MAX_REORDERING).contains(&older) {
            return false;
        }
        self.report = Some(Report { ntp, timestamp });
        self.offset.report(offset, now);
        true
    }

    /// Returns our NTP time less the sender's; that of the sender's other streams if they are near.
    fn offset(&self, shared: &MinFilter, now: Micros) -> Option<i64> {
        let own = self.offset.at(now)?;
        let near = |shared: &i64| (own - shared).abs() <= CONTRADICTION;
        Some(shared.at(now).filter(near).unwrap_or(own))
    }

    /// Returns the sender's timestamp at `now` (`ntp` in our NTP time) by its reports.
    fn timestamp_by_reports(&self, shared: &MinFilter, now: Micros, ntp: u64) -> Option<u32> {
        let (report, offset) = (self.report?, self.offset(shared, now)?);
        let elapsed = ntp_difference(ntp, report.ntp).checked_sub(offset)?;
        Some(report.timestamp.wrapping_add(self.ticks(elapsed)))
    }

    /// Returns the sender's timestamp at `now` by arrivals.
    fn timestamp_by_arrivals(&self, now: Micros) -> Option<u32> {
        let known = self
            .transit
            .at(now)
            .zip(self.reference)
            .map(|(above, reference)| reference.wrapping_add(self.ticks(above)));
        let transit = match (known, self.least) {
            (Some(known), Some(least)) if least.wrapping_sub(known).cast_signed() > 0 => known,
            (known, least) => least.or(known)?,
        };
        Some(arrival_ticks(now, self.clock_rate).wrapping_sub(transit))
    }

    /// Returns the timestamp by reports unless arrivals contradict it.
    fn plausible_timestamp(&self, shared: &MinFilter, now: Micros, ntp: u64) -> Option<u32> {
        let told = self.timestamp_by_reports(shared, now, ntp)?;
        let Some(seen) = self.timestamp_by_arrivals(now) else {
            return Some(told);
        };
        let apart = told.wrapping_sub(seen).cast_signed();
        (i64::from(apart).abs() * 1_000_000 <= CONTRADICTION * i64::from(self.clock_rate))
            .then_some(told)
    }

    /// Returns the sender's timestamp at `now`, which is `ntp` on our clock; `None` before the first packet or
    /// report.
    pub(crate) fn timestamp_at(&self, shared: &MinFilter, now: Micros, ntp: u64) -> Option<u32> {
        self.plausible_timestamp(shared, now, ntp)
            .or_else(|| self.timestamp_by_arrivals(now))
    }

    /// Converts a time on the sender's clock to ours; `None` while the offset is unknown.
    pub(crate) fn to_our_clock(
        &self,
        theirs: u64,
        shared: &MinFilter,
        now: Micros,
        ntp: u64,
    ) -> Option<u64> {
        self.plausible_timestamp(shared, now, ntp)?;
        let offset = i128::from(self.offset(shared, now)?);
        Some(theirs.wrapping_add_signed(((offset << 32) / 1_000_000) as i64))
    }
}

/// Converts a moment to ticks of an RTP clock.
#[inline]
pub(crate) fn arrival_ticks(now: Micros, clock_rate: u32) -> u32 {
    (now * u64::from(clock_rate) / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    const MS: i64 = 1000;
    const SECOND: Micros = 1_000_000;

    #[test]
    fn the_least_delayed_sample_is_used_and_drifts() {
        let mut least = MinFilter::default();
        least.report(5_000, 0);
        least.report(30_000, SECOND);
        assert_eq!(least.at(SECOND), Some(5_250));
        assert_eq!(least.at(101 * SECOND), Some(30_250));
        least.report(30_100, 101 * SECOND);
        assert_eq!(least.at(101 * SECOND), Some(30_100));
    }

    #[test]
    fn one_slow_report_changes_nothing_and_a_clock_that_was_set_is_followed() {
        let mut least = MinFilter::default();
        least.report(0, 0);
        least.report(900 * MS, 0);
        least.report(0, 0);
        assert_eq!(least.at(0), Some(0));
        for _ in 0..3 {
            assert_eq!(least.at(0), Some(0));
            least.report(900 * MS, 0);
        }
        assert_eq!(least.at(0), Some(900 * MS));
        least.report(-900 * MS, 0);
        assert_eq!(
            least.at(0),
            Some(-900 * MS),
            "what came before cannot be too early"
        );
    }

    #[test]
    fn reordered_reports_and_ntp_times_of_zero_are_ignored() {
        let mut mapping = Mapping::new();
        let ntp = 1_000u64 << 32;
        assert!(!mapping.reported(0, 7, 5, 0));
        assert!(mapping.reported(ntp, 90_000, 0, 0));
        assert!(!mapping.reported(ntp - (1 << 32), 0, 0, 0));
        assert!(
            mapping.reported(ntp - (60 << 32), 0, 0, 0),
            "its clock was set back"
        );
    }

    #[test]
    fn arrivals_override_contradicting_reports() {
        for (lie_ms, believed) in [
            (150, true),
            (250, false),
            (-150, true),
            (-250, false),
            (57_000_000, false),
        ] {
            let (mut mapping, shared) = (Mapping::new(), MinFilter::default());
            let ntp_of =
                |at: Micros| (5_000u64 << 32) + (u128::from(at) * (1 << 32) / 1_000_000) as u64;
            let mut now = 0;
            for step in 0..500u32 {
                now = u64::from(step) * 20_000;
                let transit = arrival_ticks(now, 48_000).wrapping_sub(960 * step);
                mapping.arrived(transit, 48_000, now);
                if step % 50 == 0 {
                    // The report claims our NTP time and the timestamp of another moment.
                    let lie = (lie_ms * 48) as i32;
                    let told = (960 * step).wrapping_add_signed(lie);
                    mapping.reported(ntp_of(now), told, 0, now);
                }
            }
            let told = mapping
                .timestamp_at(&shared, now, ntp_of(now))
                .expect("media came");
            let off = told.wrapping_sub(960 * 499).cast_signed() / 48;
            let expected = if believed { lie_ms } else { 0 };
            assert!((i64::from(off) - expected).abs() <= 1, "{lie_ms}: {off}");
            let ours = mapping.to_our_clock(77, &shared, now, ntp_of(now));
            assert_eq!(ours.is_some(), believed);
        }
    }

    #[test]
    fn the_clock_of_the_senders_other_streams_is_taken_if_it_is_near() {
        for (shared_offset, taken) in [
            (600_000, true),
            (400_000, true),
            (700_000, true),
            (700_001, false),
            (300_000, true),
            (299_999, false),
        ] {
            let mut mapping = Mapping::new();
            assert!(mapping.reported(1 << 32, 0, 500_000, 0));
            let mut shared = MinFilter::default();
            shared.report(shared_offset, 0);
            let expected = if taken { shared_offset } else { 500_000 };
            assert_eq!(mapping.offset(&shared, 0), Some(expected));
        }
    }
}
