//! The records of a receiver: one for each stream, and one for what concerns all of them.

use crate::context::Now;
use crate::layout::{BotRow, ConsumerRow};
use crate::received::StreamIn;
use crate::reception::longest_report_wait_ms;

use super::Receiver;

impl Receiver {
    /// What this bot received and could not attribute.
    pub(crate) fn bot_row(&self, now: &Now) -> BotRow {
        let (unknown_ssrc, unknown_ssrc_open) = self.strangers.packets();
        let open = self.streams.iter().map(StreamIn::damaged_stamps);
        let finished = self.finished.iter().map(|row| row.damaged_stamps);
        let jumps = self.streams.iter().map(StreamIn::timestamp_jumps);
        let jumps_before = self.finished.iter().map(|row| row.timestamp_jumps);
        let (repaired, unrepaired) = self
            .rows(now)
            .filter(|row| row.nacks > 0)
            .fold((0, 0), |(came, gone), row| {
                (came + row.repaired, gone + u64::from(row.given_up))
            });
        let mut requests = self.requests_before;
        for one in &self.receptions {
            requests += one.repair.requests;
        }
        BotRow {
            bot: self.bot,
            repaired,
            unrepaired,
            key_frame_requests: requests.all,
            late_key_frames: requests.late,
            sender_report_wait_ms: longest_report_wait_ms(
                &self.receptions,
                &self.streams,
                now.unix_ns,
            ),
            unknown_ssrc,
            unknown_ssrc_open,
            damaged_stamps: open.chain(finished).sum(),
            timestamp_jumps: jumps.chain(jumps_before).sum(),
            ..self.unexpected
        }
    }

    /// Streams that [`Receiver::rows`] returns.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len() + self.finished.len()
    }

    /// Rows of all streams, present ones first.
    pub(crate) fn rows(&self, now: &Now) -> impl Iterator<Item = ConsumerRow> + '_ {
        let now_ns = now.unix_ns;
        self.streams
            .iter()
            .map(move |stream| stream.row(now_ns, true))
            .chain(self.finished.iter().copied())
    }
}
