//! Reports of a sender on its streams, and those that come about them.
//!
//! RFC 3550 §6.4.1 (SR), §6.4.2 (RR), §6.5 (SDES).

use std::time::Duration;

use meeshy_sfu_proto::rtcp::{self, SenderInfo, ntp};

use super::{Sender, StreamOut};
use crate::context::{Context, Now};
use crate::received::SILENT_NS;
use crate::session::Session;

impl Sender {
    /// How long the stream that waits longest is sent without a report on it, and how long media is sent without
    /// transport-wide feedback, once the first came; milliseconds.
    pub(crate) fn waits_ms(&self, now: &Now) -> (u32, u32) {
        let sending = || self.streams.iter().filter(|stream| stream.flows(now));
        let reports = sending().map(|stream| stream.sends_since_ns.max(stream.reported_ns));
        let since = sending().map(|stream| stream.sends_since_ns).min();
        let wait_ms = |since_ns: u64| (now.unix_ns.saturating_sub(since_ns) / 1_000_000) as u32;
        (
            reports.min().map_or(0, wait_ms),
            since
                .filter(|_| self.feedback_ns > 0)
                .map_or(0, |since_ns| wait_ms(since_ns.max(self.feedback_ns))),
        )
    }

    pub(super) fn on_block(&mut self, block: &rtcp::ReportBlock, ctx: &Context<'_>) {
        let Some(stream) = self
            .streams
            .iter_mut()
            .find(|stream| stream.media.ssrc == block.ssrc)
        else {
            return;
        };
        stream.reported_ns = ctx.now.unix_ns;
        stream.row.remote_lost = block.cumulative_lost.max(0).cast_unsigned();
        let now = ntp::compact(ntp::from_unix(Duration::from_nanos(ctx.now.unix_ns)));
        if let Some(rtt) = ntp::round_trip(now, block.last_sr, block.delay_since_last_sr) {
            stream.row.rtt_us = rtt.as_micros() as u32;
        }
    }

    pub(super) fn report(&mut self, session: &mut Session, ctx: &mut Context<'_>) {
        let time = ntp::from_unix(Duration::from_nanos(ctx.now.unix_ns));
        for stream in self
            .streams
            .iter_mut()
            .filter(|stream| stream.running && stream.row.packets > 0)
        {
            let info = SenderInfo {
                ssrc: stream.media.ssrc,
                ntp: time,
                rtp_timestamp: stream.schedule.timestamp_at(ctx.now.mono_ns),
                packet_count: stream.row.packets as u32,
                octet_count: stream.octets,
            };
            let out = &mut ctx.out[..];
            let Some(report) = info.write(&[], out) else {
                continue;
            };
            let Some(names) = rtcp::sdes::write(stream.media.ssrc, &self.cname, &mut out[report..])
            else {
                continue;
            };
            session.send_rtcp(&mut ctx.out, report + names);
        }
    }
}

impl StreamOut {
    /// Whether it sent a packet lately.
    fn flows(&self, now: &Now) -> bool {
        self.running && now.unix_ns.saturating_sub(self.row.last_packet_unix_ns) <= SILENT_NS
    }
}
