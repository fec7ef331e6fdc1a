//! What is kept of a received stream beside its counters, and the report block made of it.
//!
//! RFC 3550 §6.4.1, Appendix A.3.

use std::time::Duration;

use meeshy_sfu_proto::rtcp::{ReportBlock, ntp};

use crate::layout::Sample;
use crate::negotiation::Incoming;
use crate::received::StreamIn;
use crate::repair::Repair;
use crate::window::SeqWindow;

/// The part of a stream that packets in order leave unchanged.
#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) incoming: Incoming,
    pub(crate) repair: Repair,
    pub(crate) rtx: SeqWindow,
    /// Sample of a frame whose end came before all of it was there.
    pub(crate) held: Option<Sample>,
    /// Latest sender report: middle of its NTP time, and when it came.
    pub(crate) last_sr: Option<(u32, u64)>,
    pub(crate) expected_reported: u64,
    pub(crate) lost_reported: u64,
}

/// How long a packet may be ago for media to flow where a key frame is waited for.
pub(crate) const RECENT_NS: u64 = 200_000_000;

/// How long the stream that waits longest flows without a sender report, milliseconds.
pub(crate) fn longest_report_wait_ms(
    receptions: &[Reception],
    streams: &[StreamIn],
    now_ns: u64,
) -> u32 {
    let waits = receptions.iter().zip(streams);
    let longest = waits.map(|(one, stream)| one.report_wait_ns(stream, now_ns));
    (longest.max().unwrap_or(0) / 1_000_000) as u32
}

impl Reception {
    /// How long the stream flows without a sender report.
    fn report_wait_ns(&self, stream: &StreamIn, now_ns: u64) -> u64 {
        let reported_ns = self.last_sr.map_or(0, |(_, at_ns)| at_ns);
        stream.flows_since_ns(now_ns).map_or(0, |since_ns| {
            now_ns.saturating_sub(since_ns.max(reported_ns))
        })
    }

    /// Return how the stream was received since the last report.
    pub(crate) fn report(&mut self, stream: &StreamIn, now_ns: u64) -> ReportBlock {
        let (newest, expected, lost) = stream.reception();
        let expected_now = expected.saturating_sub(self.expected_reported);
        let lost_now = lost.saturating_sub(self.lost_reported);
        (self.expected_reported, self.lost_reported) = (expected, lost);
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(ntp, at_ns)| {
            (
                ntp,
                ntp::compact_duration(Duration::from_nanos(now_ns.saturating_sub(at_ns))),
            )
        });
        ReportBlock {
            ssrc: stream.id.ssrc,
            fraction_lost: (lost_now * 256)
                .checked_div(expected_now)
                .unwrap_or(0)
                .min(255) as u8,
            cumulative_lost: lost.min(0x7f_ffff) as i32,
            highest_sequence: newest as u32,
            jitter: stream.jitter_ticks(),
            last_sr,
            delay_since_last_sr: delay,
        }
    }
}
