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

impl Reception {
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
