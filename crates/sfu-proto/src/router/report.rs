//! Outgoing RTCP: reports to receivers and senders, requests, feedback, BYE.
//!
//! # Job
//! Packs the reports and requests of a transport into as few datagrams as possible. `timer` decides when.
//!
//! # Invariants
//! - Reports are compound packets that start with SR or RR; NACK, PLI, FIR, REMB and feedback are sent alone (reduced
//!   size).
//! - Sender Reports of one sender's audio and video use one clock, as far as the sender's own reports do (`mapping`).
//!
//! # Cost
//! Written straight into the sink; no allocation.
//!
//! RFC 3550 §6.4–6.6, RFC 5506, RFC 4585, RFC 5104 §4.3.1, RFC 3611, draft-alvestrand-rmcat-remb.

use super::Router;
use super::clock::{Micros, to_short_ntp};
use super::consumer::Consumer;
use super::counters::Counters;
use super::mapping::MinFilter;
use super::stream::StreamRx;
use super::transport::Transport;
use crate::net::Sink;
use crate::rtcp::report::MAX_BLOCKS;
use crate::rtcp::xr::DlrrItem;
use crate::rtcp::{
    FirEntry, Pli, ReportBlock, SenderInfo, bye, fir, nack, ntp, remb, rr, sdes, xr,
};

/// A consumer that sent nothing for this long is not reported.
const SILENT: Micros = 2_000_000;
/// Consumers considered per datagram; fewer fit.
const BATCH: usize = 32;
/// Feedback datagrams sent at once.
const MAX_FEEDBACKS: usize = 4;

impl Router {
    /// Sends Sender Reports for consumers, Receiver Reports for producers, round-trip blocks and BYEs. Returns false
    /// if there will be nothing to report until media flows again.
    pub(super) fn send_reports<S: Sink>(&mut self, t: u32, now: Micros, sink: &mut S) -> bool {
        let resent = std::mem::take(&mut self.transports[t].resent_in_interval);
        sink.end_train();
        let sends = self.send_sender_reports(t, now, sink);
        self.send_receiver_report(t, now, sink);
        self.send_byes(t, sink);
        sink.end_train();
        let mut streams = self.transports[t]
            .producers
            .iter()
            .flat_map(|p| &self.producers[*p].streams);
        resent > 0 || sends || streams.any(|s| self.streams[*s].active)
    }

    /// Returns false if no consumer sent lately.
    fn send_sender_reports<S: Sink>(&mut self, t: u32, now: Micros, sink: &mut S) -> bool {
        let mut sends = false;
        let wall = self.clock.ntp(now);
        let mut position = 0;
        while position < self.transports[t].consumers.len() {
            let (transports, consumers) = (&mut self.transports, &self.consumers);
            let (producers, streams) = (&self.producers, &self.streams);
            // The sender's clock is on another transport: read it before this one is borrowed.
            let first = position;
            let count = BATCH.min(transports[t].consumers.len() - first);
            let mut batch = [(0, MinFilter::default()); BATCH];
            for (entry, key) in batch.iter_mut().zip(&transports[t].consumers[first..]) {
                let sender = producers[consumers[*key].producer].transport;
                *entry = (*key, transports[sender].sender_clock);
            }
            let sent = transports[t].send_rtcp(sink, |out| {
                let mut len = 0;
                while position < first + count {
                    let (key, clock) = &batch[position - first];
                    let consumer = &consumers[*key];
                    let encoding = usize::from(consumer.sent_encoding());
                    let source = producers[consumer.producer].streams.get(encoding);
                    let info =
                        source.and_then(|s| sender_info(consumer, &streams[*s], now, wall, clock));
                    if let Some(info) = info {
                        let written =
                            write_sender_report(&info, &consumer.details.cname, &mut out[len..]);
                        if written == 0 {
                            break;
                        }
                        len += written;
                    }
                    position += 1;
                }
                len
            });
            if sent {
                self.stats.rtcp_out += 1;
                sends = true;
            }
            if position == first {
                break;
            }
        }
        sends
    }

    fn send_receiver_report<S: Sink>(&mut self, t: u32, now: Micros, sink: &mut S) {
        let mut blocks = [ReportBlock::default(); MAX_BLOCKS];
        let mut count = 0;
        for position in 0..self.transports[t].producers.len() {
            let p = self.transports[t].producers[position];
            for encoding in 0..self.producers[p].streams.len() {
                let s = self.producers[p].streams[encoding];
                if let Some(block) = self.report_stream(s, now)
                    && count < MAX_BLOCKS
                {
                    blocks[count] = block;
                    count += 1;
                }
                if self.streams[s].update_score() {
                    self.producer_score_changed(p);
                }
            }
        }
        let transport = &mut self.transports[t];
        let ssrc = transport.ssrc;
        let reference = transport.peer_reference.take();
        if count == 0 && reference.is_none() {
            return;
        }
        let wall = self.clock.ntp(now);
        let sent = transport.send_rtcp(sink, |out| {
            let mut len = rr::write(ssrc, &blocks[..count], out).unwrap_or(0);
            if count > 0 {
                len += xr::write_rrtr(ssrc, wall, &mut out[len..]).unwrap_or(0);
            }
            if let Some(reference) = reference {
                let item = DlrrItem {
                    ssrc: reference.ssrc,
                    last_rr: reference.middle,
                    delay_since_last_rr: to_short_ntp(now.saturating_sub(reference.at)),
                };
                len += xr::write_dlrr(ssrc, &[item], &mut out[len..]).unwrap_or(0);
            }
            len
        });
        self.stats.rtcp_out += u64::from(sent);
    }

    fn report_stream(&mut self, s: u32, now: Micros) -> Option<ReportBlock> {
        let worst = self.worst_reported_loss(s);
        let stream = &mut self.streams[s];
        let reception = stream.report()?;
        let (last_sr, delay) = stream.sender_report.map_or((0, 0), |report| {
            let delay = to_short_ntp(now.saturating_sub(report.at));
            (ntp::compact(report.ntp), delay)
        });
        Some(ReportBlock {
            ssrc: stream.ssrc?,
            fraction_lost: reception.fraction_lost.max(worst),
            cumulative_lost: reception.cumulative_lost,
            highest_sequence: reception.highest,
            jitter: reception.jitter,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    /// A sender that uses opus in-band FEC protects for its worst receiver, as with mediasoup.
    fn worst_reported_loss(&self, s: u32) -> u8 {
        let producer = &self.producers[self.streams[s].producer];
        if !producer.codecs.iter().any(|codec| codec.in_band_fec) {
            return 0;
        }
        let consumers = producer.consumers.iter().map(|key| &self.consumers[*key]);
        let losses = consumers.filter(|consumer| consumer.is_active());
        losses
            .map(|consumer| consumer.details.reported.fraction_lost)
            .max()
            .unwrap_or(0)
    }

    fn send_byes<S: Sink>(&mut self, t: u32, sink: &mut S) {
        let transport = &mut self.transports[t];
        while !transport.pending_byes.is_empty() {
            let mut ssrcs = [0; MAX_BLOCKS];
            let count = transport.pending_byes.len().min(MAX_BLOCKS);
            let from = transport.pending_byes.len() - count;
            ssrcs[..count].copy_from_slice(&transport.pending_byes[from..]);
            transport.pending_byes.truncate(from);
            let ssrc = transport.ssrc;
            let sent = transport.send_rtcp(sink, |out| {
                let report = rr::write(ssrc, &[], out).unwrap_or(0);
                report + bye::write(&ssrcs[..count], &mut out[report..]).unwrap_or(0)
            });
            self.stats.rtcp_out += u64::from(sent);
        }
    }

    /// Sends the NACKs and the key frame request that are due for one stream. Returns false if nothing can be sent
    /// yet because its SSRC or the path is unknown; the next packet, or the path, schedules it again.
    pub(super) fn request_repair<S: Sink>(
        &mut self,
        t: u32,
        s: u32,
        now: Micros,
        sink: &mut S,
    ) -> bool {
        let transport = &mut self.transports[t];
        let stream = &mut self.streams[s];
        let (Some(media_ssrc), true) = (stream.ssrc, transport.is_ready()) else {
            return false;
        };
        let codecs = &self.producers[stream.producer].codecs;
        let methods = (
            codecs.iter().any(|codec| codec.pli),
            codecs.iter().any(|codec| codec.fir),
        );
        let mut sent = send_nacks(
            transport,
            stream,
            media_ssrc,
            &mut self.sequences,
            &mut self.stats.counters,
            now,
            sink,
        );
        if stream.key_frames.take(now) {
            let requested = request_key_frame(transport, stream, media_ssrc, methods, sink);
            let counters = &mut self.stats.counters;
            if methods.0 {
                counters.plis_sent += requested;
            } else {
                counters.firs_sent += requested;
            }
            sent += requested;
        }
        self.stats.rtcp_out += sent;
        true
    }

    /// Sends transport-wide feedback on the packets received since the last one.
    pub(super) fn send_feedback<S: Sink>(&mut self, t: u32, sink: &mut S) {
        let transport = &mut self.transports[t];
        let Some(mut arrivals) = transport.arrivals.take() else {
            return;
        };
        let ssrc = transport.ssrc;
        for _ in 0..MAX_FEEDBACKS {
            if !transport.send_rtcp(sink, |out| arrivals.write(ssrc, out).unwrap_or(0)) {
                break;
            }
            self.stats.rtcp_out += 1;
        }
        transport.arrivals = Some(arrivals);
    }

    /// Sends REMB: the sender's limit, or the estimate of its path.
    pub(super) fn send_remb<S: Sink>(&mut self, t: u32, sink: &mut S) {
        let transport = &mut self.transports[t];
        let estimate = transport
            .arrival_estimator
            .as_ref()
            .and_then(|one| one.estimate_bps());
        let limit = transport.max_incoming_bps.map(u64::from);
        let lifted = transport.limit_repeats > 0 && limit.is_none();
        transport.limit_repeats = transport.limit_repeats.saturating_sub(1);
        let bitrate = if lifted {
            Some(0)
        } else {
            limit.into_iter().chain(estimate).min()
        };
        if limit.is_none() && transport.arrival_estimator.is_none() && transport.limit_repeats == 0
        {
            transport.deadlines.remb = super::clock::NEVER;
        }
        let Some(bitrate) = bitrate else {
            return;
        };
        self.ssrcs.clear();
        for p in &transport.producers {
            let streams = self.producers[*p].streams.iter();
            self.ssrcs.extend(
                streams
                    .filter_map(|s| self.streams[*s].ssrc)
                    .take(MAX_BLOCKS),
            );
        }
        let (ssrc, ssrcs) = (transport.ssrc, &self.ssrcs);
        let sent = transport.send_rtcp(sink, |out| {
            remb::write(ssrc, bitrate, ssrcs, out).unwrap_or(0)
        });
        self.stats.rtcp_out += u64::from(sent);
    }
}

/// Requests the missing packets of a stream. Returns the number of datagrams sent.
fn send_nacks<S: Sink>(
    transport: &mut Transport,
    stream: &mut StreamRx,
    media_ssrc: u32,
    sequences: &mut Vec<u16>,
    counters: &mut Counters,
    now: Micros,
    sink: &mut S,
) -> u64 {
    sequences.clear();
    if let Some(generator) = &mut stream.nack {
        generator.take(now, stream.rtt, |sequence| {
            sequences.push(sequence);
            true
        });
    }
    let ssrc = transport.ssrc;
    let (mut taken, mut sent) = (0, 0);
    while taken < sequences.len() {
        let before = taken;
        let went = transport.send_rtcp(sink, |out| {
            let Some(written) = nack::write(ssrc, media_ssrc, &sequences[taken..], out) else {
                return 0;
            };
            taken += written.taken;
            written.len
        });
        if !went || taken == before {
            break;
        }
        sent += 1;
    }
    stream.counters.nacks += sent;
    counters.nacks_sent += sent;
    counters.nacked_packets_sent += taken as u64;
    stream.counters.nacked_packets += taken as u64;
    sent
}

/// Requests a key frame by PLI, else by FIR, as the sender supports. Returns the number of datagrams sent.
fn request_key_frame<S: Sink>(
    transport: &mut Transport,
    stream: &mut StreamRx,
    media_ssrc: u32,
    (pli, fir): (bool, bool),
    sink: &mut S,
) -> u64 {
    if !pli && !fir {
        return 0;
    }
    if !pli {
        stream.fir_sequence = stream.fir_sequence.wrapping_add(1);
    }
    let entry = FirEntry {
        ssrc: media_ssrc,
        sequence: stream.fir_sequence,
    };
    let request = Pli {
        sender_ssrc: transport.ssrc,
        media_ssrc,
    };
    let sent = transport.send_rtcp(sink, |out| {
        let written = if pli {
            request.write(out)
        } else {
            fir::write(request.sender_ssrc, &[entry], out)
        };
        written.unwrap_or(0)
    });
    stream.counters.key_frame_requests += u64::from(sent);
    u64::from(sent)
}

/// Returns the sender information about a consumer; `None` if it is silent, or waits to switch to a source whose
/// clock differs from the one sent so far.
fn sender_info(
    consumer: &Consumer,
    stream: &StreamRx,
    now: Micros,
    wall: u64,
    clock: &MinFilter,
) -> Option<SenderInfo> {
    let silent = consumer.packets == 0 || now > consumer.munger.newest_at() + SILENT;
    if silent || !consumer.munger.is_synced(stream.source) {
        return None;
    }
    let timestamp = stream.mapping.timestamp_at(clock, now, wall)?;
    Some(SenderInfo {
        ssrc: consumer.ssrc,
        ntp: wall,
        rtp_timestamp: timestamp.wrapping_add(consumer.munger.current_timestamp_offset()),
        packet_count: consumer.packets as u32,
        octet_count: consumer.bytes as u32,
    })
}

/// Writes a report and an SDES with the CNAME; 0 if they do not fit. A CNAME over 255 bytes is omitted.
fn write_sender_report(info: &SenderInfo, cname: &str, out: &mut [u8]) -> usize {
    let Some(report) = info.write(&[], out) else {
        return 0;
    };
    if cname.len() > 255 {
        return report;
    }
    match sdes::write(info.ssrc, cname, &mut out[report..]) {
        Some(name) => report + name,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cname_of_255_bytes_is_sent_and_a_longer_one_left_out() {
        let info = SenderInfo {
            ssrc: 1,
            ntp: 2,
            rtp_timestamp: 3,
            packet_count: 4,
            octet_count: 5,
        };
        let length = |cname: usize| write_sender_report(&info, &"x".repeat(cname), &mut [0; 600]);
        // Report, then header, SSRC, item and its end in whole words.
        assert_eq!([256, 300].map(length), [28, 28]);
        assert_eq!([1, 255].map(length), [28 + 12, 28 + 268]);
        assert_eq!(write_sender_report(&info, "x", &mut [0; 39]), 0);
    }
}
