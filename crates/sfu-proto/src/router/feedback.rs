//! Incoming RTCP: reports of senders and receivers, and their requests.
//!
//! # Job
//! Parses a compound packet and acts on each part: keeps clocks and losses, answers NACKs, forwards key frame
//! requests. Writing RTCP belongs to `report`.
//!
//! # Invariants
//! - A packet acts on streams and consumers of its own transport only.
//! - NACK, PLI and FIR are limited per consumer and interval; the cost of a packet is bounded by its length.
//!
//! # Left out
//! SDES (names come by signalling), application packets, slice and reference picture feedback.
//!
//! RFC 3550 §6, RFC 4585, RFC 5104 §4.3.1, RFC 3611 §4.4–4.5, draft-alvestrand-rmcat-remb.

use super::Router;
use super::clock::{Micros, Times, ntp_difference};
use super::config::{ConsumerKey, ProducerKey};
use super::event::RouterEvent;
use super::ingest::send_time;
use super::stream::SenderReport;
use super::transport::PeerReference;
use crate::bwe::BandwidthEstimator;
use crate::net::{Destination, Sink};
use crate::rtcp::xr::XrBlock;
use crate::rtcp::{Nack, Packet, ReportBlock, SenderInfo, TransportCc, Xr, ntp, packets};

/// Sequence numbers processed per NACK.
const MAX_NACKED: usize = 1024;
/// Longer round-trip times are ignored as implausible.
const MAX_RTT: Micros = 10_000_000;

impl Router {
    /// Takes one SRTCP datagram of transport `t`.
    pub(super) fn on_rtcp<S: Sink>(
        &mut self,
        t: u32,
        datagram: &mut [u8],
        from: &Destination,
        times: Times,
        sink: &mut S,
    ) {
        let drops = &mut self.stats.drops;
        let transport = &mut self.transports[t];
        if !transport.is_known_source(from) {
            drops.unknown_source += 1;
            return;
        }
        let Some(rx) = &mut transport.rx else {
            drops.no_keys += 1;
            return;
        };
        let received = datagram.len() as u64;
        let len = match rx.unprotect_rtcp(datagram) {
            Ok(len) => len,
            Err(error) => {
                drops.count(error);
                return;
            }
        };
        self.stats.rtcp_in += 1;
        transport.stats.packets_in += 1;
        transport.stats.bytes_in += received;
        for packet in packets(&datagram[..len]) {
            match packet {
                Ok(packet) => self.on_rtcp_packet(t, &packet, times, sink),
                Err(_) => self.stats.drops.malformed += 1,
            }
        }
    }

    /// Clocks and round-trip times use the arrival time; limits on answers use the processing time.
    fn on_rtcp_packet<S: Sink>(&mut self, t: u32, packet: &Packet<'_>, times: Times, sink: &mut S) {
        let Times { arrived, now } = times;
        match packet {
            Packet::SenderReport(report) => {
                self.on_sender_report(t, &report.info, arrived);
                report
                    .reports()
                    .for_each(|block| self.on_report(t, &block, arrived));
            }
            Packet::ReceiverReport(report) => {
                report
                    .reports()
                    .for_each(|block| self.on_report(t, &block, arrived));
            }
            Packet::Bye(bye) => bye.ssrcs().for_each(|ssrc| self.on_bye(t, ssrc, now)),
            Packet::Nack(nack) => self.on_nack(t, nack, now, sink),
            Packet::Pli(pli) => self.on_key_frame_request(t, pli.media_ssrc, None, now),
            Packet::Fir(fir) => fir.entries().for_each(|entry| {
                self.on_key_frame_request(t, entry.ssrc, Some(entry.sequence), now)
            }),
            Packet::Remb(remb) => self.transports[t].estimator.on_remb(remb.bitrate_bps),
            Packet::TransportCc(feedback) => self.on_transport_cc(t, feedback),
            Packet::Xr(xr) => self.on_extended_report(t, xr, arrived),
            _ => {}
        }
    }

    /// Stores the clock of a Sender Report for its stream, and for the sender's other streams on the same clock.
    fn on_sender_report(&mut self, t: u32, info: &SenderInfo, now: Micros) {
        let transport = &mut self.transports[t];
        let Some(route) = transport.route(info.ssrc).filter(|route| !route.rtx) else {
            return;
        };
        let stream = &mut self.streams[route.stream];
        stream.sender_report = Some(SenderReport {
            ntp: info.ntp,
            at: now,
        });
        let offset = ntp_difference(self.clock.ntp(now), info.ntp);
        if stream
            .mapping
            .reported(info.ntp, info.rtp_timestamp, offset, now)
        {
            transport.sender_clock.report(offset, now);
        }
    }

    /// Stores a report block about one of our consumers.
    fn on_report(&mut self, t: u32, block: &ReportBlock, now: Micros) {
        let transport = &mut self.transports[t];
        let Some(key) = transport.consumer_route(block.ssrc) else {
            return;
        };
        let consumer = &mut self.consumers[key];
        if consumer.ssrc != block.ssrc {
            return;
        }
        let middle = ntp::compact(self.clock.ntp(now));
        if let Some(rtt) = ntp::round_trip(middle, block.last_sr, block.delay_since_last_sr) {
            let rtt = (rtt.as_micros() as Micros).clamp(1, MAX_RTT);
            consumer.details.reported.rtt = Some(rtt);
            transport.stats.rtt = Some(std::time::Duration::from_micros(rtt));
        }
        let reported = &mut consumer.details.reported;
        reported.lost = i64::from(block.cumulative_lost);
        reported.fraction_lost = block.fraction_lost;
        reported.jitter = block.jitter;
        if consumer.update_score(now) {
            self.events.push_back(RouterEvent::ConsumerScore {
                consumer: ConsumerKey(key),
                score: 0,
                producer_score: 0,
            });
        }
    }

    fn on_bye(&mut self, t: u32, ssrc: u32, now: Micros) {
        let Some(route) = self.transports[t].route(ssrc).filter(|route| !route.rtx) else {
            return;
        };
        let stream = &mut self.streams[route.stream];
        let producer = stream.producer;
        if stream.on_bye(now) {
            self.producer_score_changed(producer);
        }
        self.choose_encoding(producer, None, now);
    }

    fn on_nack<S: Sink>(&mut self, t: u32, nack: &Nack<'_>, now: Micros, sink: &mut S) {
        let Some(key) = self.transports[t].consumer_route(nack.media_ssrc) else {
            return;
        };
        let consumer = &mut self.consumers[key];
        if consumer.ssrc != nack.media_ssrc {
            return;
        }
        consumer.details.requests.nacks += 1;
        self.stats.counters.nacks_received += 1;
        if !consumer.is_active() {
            return;
        }
        let time = send_time(self.clock.wall(now));
        let mut asked = 0;
        for sequence in nack.sequences().take(MAX_NACKED) {
            asked += 1;
            self.resend(key, sequence, time, now, sink);
        }
        self.consumers[key].details.requests.nacked_packets += asked;
        self.stats.counters.nacked_packets_received += asked;
        sink.end_train();
    }

    fn on_key_frame_request(&mut self, t: u32, ssrc: u32, fir: Option<u8>, now: Micros) {
        let Some(key) = self.transports[t].consumer_route(ssrc) else {
            return;
        };
        let consumer = &mut self.consumers[key];
        if consumer.ssrc != ssrc {
            return;
        }
        let accepted = match fir {
            None => consumer.accept_pli(now),
            Some(sequence) => consumer.accept_fir(sequence, now),
        };
        let (producer, wanted) = (ProducerKey(consumer.producer), consumer.wanted_encoding());
        let passed_on = accepted && self.request_producer_key_frame(producer, wanted, now);
        self.stats.drops.excessive += u64::from(!accepted);
        let counters = &mut self.stats.counters;
        let (received, suppressed) = match fir {
            None => (&mut counters.plis_received, &mut counters.plis_suppressed),
            Some(_) => (&mut counters.firs_received, &mut counters.firs_suppressed),
        };
        *received += 1;
        *suppressed += u64::from(!passed_on);
    }

    fn on_transport_cc(&mut self, t: u32, feedback: &TransportCc<'_>) {
        let (received, missing) = feedback.counts();
        self.transports[t].estimator.on_feedback(received, missing);
    }

    fn on_extended_report(&mut self, t: u32, xr: &Xr<'_>, now: Micros) {
        let middle = ntp::compact(self.clock.ntp(now));
        for block in xr.blocks() {
            match block {
                XrBlock::ReceiverReferenceTime(time) => {
                    self.transports[t].peer_reference = Some(PeerReference {
                        ssrc: xr.ssrc,
                        middle: ntp::compact(time),
                        at: now,
                    });
                    self.resume_reports(t, now);
                }
                XrBlock::Dlrr(items) => {
                    let transport = &self.transports[t];
                    for item in items.iter().filter(|item| item.ssrc == transport.ssrc) {
                        for p in &transport.producers {
                            for s in &self.producers[*p].streams {
                                let stream = &mut self.streams[*s];
                                stream.take_dlrr(middle, item.last_rr, item.delay_since_last_rr);
                            }
                        }
                    }
                }
            }
        }
    }
}
