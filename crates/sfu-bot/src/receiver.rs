//! The receiving half of a bot: all its consumers on one transport, and what it reports to the server about them.
//!
//! # Job
//! Finds the stream of a packet, opens it, hands it to `received`; sends RR, SDES, XR, transport-wide feedback, NACK and
//! PLI. Sockets and keys belong to `session`.
//!
//! # Invariants
//! - A packet is counted only after its tag was found right.
//! - Streams lie densely in one list; what is touched per packet is apart from what is touched per second.
//!
//! # Cost
//! One look-up in a small hash, one decryption, the counters of one stream. No allocation without loss.
//!
//! RFC 3550 §6.4.2 (RR), RFC 4588 (RTX), RFC 3611 §4.4 (XR).

use std::time::Duration;

use meeshy_sfu_proto::error::SrtpError;
use meeshy_sfu_proto::rtcp::xr::XrBlock;
use meeshy_sfu_proto::rtcp::{self, Packet, Pli, ReportBlock, ntp};
use meeshy_sfu_proto::rtp::{RtpHeader, extension, seq};

use crate::arrivals::Arrivals;
use crate::config::{EventKind, Kind};
use crate::context::{Context, Now};
use crate::layout::{BotRow, ConsumerRow, Pause, Sample, UNKNOWN_SENDER};
use crate::leg_selector::{LegSelector, Unit};
use crate::negotiation::Incoming;
use crate::received::{Notice, StreamId, StreamIn};
use crate::reception::{RECENT_NS, Reception};
use crate::repair::{KeyFrameRequests, Repair};
use crate::session::{Keys, Session};
use crate::ssrc_map::{Slot, SsrcMap};
use crate::strangers::Strangers;
use crate::window::SeqWindow;

mod rows;

const REPORT_NS: u64 = 1_000_000_000;
const FEEDBACK_NS: u64 = 100_000_000;
const REPAIR_NS: u64 = 10_000_000;
const FREEZE_CHECK_NS: u64 = 100_000_000;
/// Round trip assumed before the server answered an extended report, and added to what it measured.
const RTT_GUESS_NS: u64 = 90_000_000;
const RTT_SLACK_NS: u64 = 10_000_000;
/// Bytes of RTCP in one datagram.
const MAX_RTCP: usize = 1100;

/// The RTCP feedback a bot sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feedback {
    pub(crate) nack: bool,
    pub(crate) pli: bool,
    pub(crate) transport_cc: bool,
}

/// The receiving half of a bot.
#[derive(Debug)]
pub(crate) struct Receiver {
    bot: u16,
    feedback: Feedback,
    /// Decides which leg frames are shown from, if this is a leg of a participant.
    selector: Option<LegSelector>,
    /// Sender SSRC of reports; no media is sent with it.
    own_ssrc: u32,
    cname: String,
    map: SsrcMap,
    streams: Vec<StreamIn>,
    receptions: Vec<Reception>,
    finished: Vec<ConsumerRow>,
    /// Of the streams that ended.
    requests_before: KeyFrameRequests,
    strangers: Strangers,
    /// What could not be attributed for another reason; its other fields are filled when it is read.
    pub(crate) unexpected: BotRow,
    /// Samples of frames that were given up, to be handed out with the next ones.
    given_up: Vec<Sample>,
    transport_cc: Option<u8>,
    arrivals: Arrivals,
    /// Some stream is missing packets or waits for a key frame.
    needs_repair: bool,
    rtt_ns: Option<u64>,
    next_report_ns: u64,
    next_feedback_ns: u64,
    next_repair_ns: u64,
    next_freeze_check_ns: u64,
}

impl Receiver {
    pub(crate) fn new(
        bot: u16,
        cname: String,
        own_ssrc: u32,
        feedback: Feedback,
        selector: Option<LegSelector>,
    ) -> Self {
        Self {
            bot,
            feedback,
            selector,
            own_ssrc,
            cname,
            map: SsrcMap::new(),
            streams: Vec::new(),
            receptions: Vec::new(),
            finished: Vec::new(),
            requests_before: KeyFrameRequests::default(),
            strangers: Strangers::default(),
            unexpected: BotRow::default(),
            given_up: Vec::new(),
            transport_cc: None,
            arrivals: Arrivals::default(),
            needs_repair: false,
            rtt_ns: None,
            next_report_ns: 0,
            next_feedback_ns: 0,
            next_repair_ns: 0,
            next_freeze_check_ns: 0,
        }
    }

    /// Announces a stream; one with the same tag or SSRC ends.
    pub(crate) fn add(&mut self, incoming: Incoming, now: &Now) {
        self.remove(&[incoming.tag], now);
        if let Some(slot) = self.map.get(incoming.ssrc) {
            let tag = self.receptions[slot.stream].incoming.tag;
            self.remove(&[tag], now);
        }
        let id = StreamId {
            bot: self.bot,
            tag: incoming.tag,
            sender: incoming.sender,
            kind: incoming.kind,
            ssrc: incoming.ssrc,
        };
        self.streams.push(StreamIn::new(id, now.unix_ns));
        self.receptions.push(Reception {
            incoming,
            repair: Repair::new(
                incoming.nack && self.feedback.nack,
                incoming.pli && self.feedback.pli,
            ),
            rtx: SeqWindow::default(),
            held: None,
            last_sr: None,
            expected_reported: 0,
            lost_reported: 0,
        });
        self.strangers.announced(incoming.ssrc);
        if let Some(ssrc) = incoming.rtx_ssrc {
            self.strangers.announced(ssrc);
        }
        self.transport_cc = self.transport_cc.or(incoming.transport_cc);
        self.remap();
    }

    /// Ends streams; their rows stay.
    pub(crate) fn remove(&mut self, tags: &[u32], now: &Now) {
        let before = self.streams.len();
        for at in (0..self.streams.len()).rev() {
            if tags.contains(&self.streams[at].id.tag) {
                let mut stream = self.streams.swap_remove(at);
                let reception = self.receptions.swap_remove(at);
                for ssrc in [Some(stream.id.ssrc), reception.incoming.rtx_ssrc] {
                    ssrc.inspect(|&ssrc| self.strangers.ended(ssrc, now.mono_ns));
                }
                self.requests_before += reception.repair.requests;
                stream.check.end();
                self.given_up.extend(stream.check.take_given_up());
                self.given_up.extend(reception.held);
                self.finished.push(stream.row(now.unix_ns, false));
            }
        }
        if self.streams.len() != before {
            self.remap();
        }
    }

    /// Ends all streams.
    pub(crate) fn remove_all(&mut self, ctx: &mut Context<'_>) {
        self.retire();
        let tags: Vec<u32> = self.streams.iter().map(|stream| stream.id.tag).collect();
        self.remove(&tags, &ctx.now);
        self.hand_out_given_up(ctx);
    }

    /// Reads what the packets of a train will need, so that their cache misses overlap instead of following one
    /// another: packets of a train belong to as many streams, and those of 50 bots fit no cache.
    pub(crate) fn anticipate(&self, train: &[u8], segment: usize) {
        let mut touched = 0;
        for datagram in train.chunks(segment) {
            let Some(&ssrc) = datagram.get(8..).and_then(<[u8]>::first_chunk) else {
                continue;
            };
            if let Some(slot) = self.map.get(u32::from_be_bytes(ssrc)) {
                touched ^= self.streams[slot.stream].touch();
            }
        }
        std::hint::black_box(touched);
    }

    /// Takes one protected RTP packet.
    #[inline]
    pub(crate) fn on_rtp(
        &mut self,
        keys: &Keys,
        datagram: &[u8],
        arrival_ns: u64,
        ctx: &mut Context<'_>,
    ) {
        let Ok(header) = RtpHeader::parse(datagram) else {
            self.unexpected.malformed += 1;
            return;
        };
        let Some(slot) = self.map.get(header.ssrc) else {
            ctx.health.unknown_ssrc += 1;
            self.strangers.packet(header.ssrc, ctx.now.mono_ns);
            return;
        };
        let window = if slot.rtx {
            &self.receptions[slot.stream].rtx
        } else {
            &self.streams[slot.stream].window
        };
        let Some(mut index) = window.extend(header.sequence) else {
            self.unexpected.malformed += 1;
            return;
        };
        if !window.is_new(index) {
            self.streams[slot.stream].duplicate();
            return;
        }
        let fresh = !window.started();
        let mut opened = keys
            .rx
            .open_rtp(datagram, header.header_len(), index, &mut ctx.plain[..]);
        if fresh && opened == Err(SrtpError::Authentication) {
            // The stream may have wrapped before it was announced here.
            index += 1 << 16;
            opened = keys
                .rx
                .open_rtp(datagram, header.header_len(), index, &mut ctx.plain[..]);
        }
        let Ok(length) = opened else {
            ctx.health.auth_failures += 1;
            self.unexpected.unauthentic += 1;
            return;
        };
        ctx.health.rtp_packets += 1;
        if !self.receptions[slot.stream]
            .incoming
            .may_be(header.payload_type, slot.rtx)
        {
            self.unexpected.payload_type += 1;
            return;
        }
        let Ok(length) = header.unpadded_len(&ctx.plain[..length]) else {
            self.unexpected.malformed += 1;
            return;
        };
        if let Some(sequence) = self.transport_sequence(&header) {
            self.arrivals.record(sequence, header.ssrc, arrival_ns);
        }
        let stream = &mut self.streams[slot.stream];
        let (notice, sample) = if slot.rtx {
            let reception = &mut self.receptions[slot.stream];
            reception.rtx.insert(index);
            // Two bytes of original number; less is padding sent to probe the path.
            let Some((original, payload)) = ctx.plain[..length].split_first_chunk::<2>() else {
                return;
            };
            let near = stream.window.newest();
            let Some(index) = seq::extend_near(u16::from_be_bytes(*original), near) else {
                return;
            };
            stream.retransmitted(index, &header, payload, datagram.len(), arrival_ns)
        } else {
            stream.original(
                index,
                &header,
                &ctx.plain[..length],
                datagram.len(),
                arrival_ns,
            )
        };
        if self.selector.is_some() {
            self.show(slot.stream, sample, arrival_ns, ctx);
        } else if let Some(sample) = sample {
            self.unexpected.samples += 1;
            ctx.samples.push(sample);
        }
        if notice != Notice::default() {
            self.react(slot, notice, arrival_ns, ctx);
        }
    }

    /// Makes this leg the one from which tracks are taken, as soon as they can be decoded.
    pub(crate) fn prefer(&self) {
        if let Some(selector) = &self.selector {
            selector.prefer(self.bot);
        }
    }

    /// Releases the tracks taken from this leg: nothing more will arrive here.
    pub(crate) fn retire(&self) {
        if let Some(selector) = &self.selector {
            selector.retire(self.bot);
        }
    }

    /// Shows a frame when it is complete; its sample holds the moment and whether it was shown.
    fn show(&mut self, at: usize, sample: Option<Sample>, arrival_ns: u64, ctx: &mut Context<'_>) {
        let (Some(selector), stream) = (&self.selector, &mut self.streams[at]) else {
            return;
        };
        let held = &mut self.receptions[at].held;
        if !stream.take_complete() {
            // A frame that never became complete was not shown; what was measured of it is kept all the same.
            if let Some(earlier) = sample.and_then(|sample| held.replace(sample)) {
                self.unexpected.samples += 1;
                ctx.samples.push(earlier);
            }
            return;
        }
        let id = stream.id;
        let earlier = held.take();
        let Some(mut sample) = sample.or(earlier) else {
            return;
        };
        if sample.recv_unix_ns < arrival_ns {
            sample.owd_ns += (arrival_ns - sample.recv_unix_ns).cast_signed();
            sample.recv_unix_ns = arrival_ns;
        }
        let verdict = selector.take(Unit {
            leg: id.bot,
            sender: sample.sender,
            kind: id.kind,
            number: sample.seq,
        });
        sample.flags |= verdict.flags();
        self.unexpected.samples += 1;
        ctx.samples.push(sample);
        if verdict.entered {
            ctx.events.push(crate::config::BotEvent {
                bot: id.bot,
                unix_ns: arrival_ns,
                what: EventKind::Entered {
                    tag: id.tag,
                    sender: sample.sender,
                    kind: id.kind,
                },
            });
        }
    }

    /// Takes one RTCP packet of the server.
    pub(crate) fn on_rtcp(&mut self, packet: &Packet<'_>, ctx: &mut Context<'_>) {
        match packet {
            Packet::SenderReport(report) => {
                let slot = self.map.get(report.info.ssrc).filter(|slot| !slot.rtx);
                if let Some(slot) = slot {
                    self.receptions[slot.stream].last_sr =
                        Some((ntp::compact(report.info.ntp), ctx.now.unix_ns));
                }
            }
            Packet::Xr(report) => {
                for block in report.blocks() {
                    let XrBlock::Dlrr(items) = block else {
                        continue;
                    };
                    for item in items.iter().filter(|item| item.ssrc == self.own_ssrc) {
                        let now =
                            ntp::compact(ntp::from_unix(Duration::from_nanos(ctx.now.unix_ns)));
                        let rtt = ntp::round_trip(now, item.last_rr, item.delay_since_last_rr);
                        self.rtt_ns = rtt.map(|rtt| rtt.as_nanos() as u64).or(self.rtt_ns);
                    }
                }
            }
            _ => {}
        }
    }

    /// Monotonic time of the next thing to do.
    pub(crate) fn next_due_ns(&self) -> u64 {
        if self.streams.is_empty() {
            return u64::MAX;
        }
        let repair = if self.needs_repair {
            self.next_repair_ns
        } else {
            u64::MAX
        };
        let feedback = if self.arrivals.is_empty() {
            u64::MAX
        } else {
            self.next_feedback_ns
        };
        self.next_report_ns
            .min(feedback)
            .min(repair)
            .min(self.next_freeze_check_ns)
    }

    /// Sends what is due: feedback, requests for repair, reports.
    pub(crate) fn poll(&mut self, session: &mut Session, ctx: &mut Context<'_>) {
        let now_ns = ctx.now.mono_ns;
        self.hand_out_given_up(ctx);
        if self.streams.is_empty() || !session.is_ready() {
            return;
        }
        if now_ns >= self.next_feedback_ns && !self.arrivals.is_empty() {
            self.next_feedback_ns = now_ns + FEEDBACK_NS;
            while let Some(length) = self.arrivals.write(self.own_ssrc, &mut ctx.out[..MAX_RTCP]) {
                session.send_rtcp(&mut ctx.out, length);
            }
        }
        if self.needs_repair && now_ns >= self.next_repair_ns {
            self.next_repair_ns = now_ns + REPAIR_NS;
            self.request_missing(session, ctx);
        }
        if now_ns >= self.next_freeze_check_ns {
            self.next_freeze_check_ns = now_ns + FREEZE_CHECK_NS;
            self.check_freezes(ctx);
        }
        if now_ns >= self.next_report_ns {
            // Not all bots of a pool at one moment.
            let spread = if self.next_report_ns == 0 {
                u64::from(self.own_ssrc) % REPORT_NS
            } else {
                REPORT_NS
            };
            self.next_report_ns = now_ns + spread;
            self.report(session, ctx);
        }
    }

    #[inline]
    fn transport_sequence(&self, header: &RtpHeader<'_>) -> Option<u16> {
        let id = self.transport_cc.filter(|_| self.feedback.transport_cc)?;
        let (_, value) = header.extensions().find(|(known, _)| *known == id)?;
        extension::transport_sequence(value)
    }

    fn react(&mut self, slot: Slot, notice: Notice, arrival_ns: u64, ctx: &mut Context<'_>) {
        let id = self.streams[slot.stream].id;
        let (tag, sender) = (
            id.tag,
            if id.sender == UNKNOWN_SENDER {
                -1
            } else {
                i32::from(id.sender)
            },
        );
        if id.kind == Kind::Video {
            let repair = &mut self.receptions[slot.stream].repair;
            if let Some((from, to)) = notice.gap {
                repair.gap(from, to, ctx.now.mono_ns);
                // What is requested at once arrives soonest; the drain that runs has shown all there is.
                self.needs_repair = true;
                self.next_repair_ns = ctx.now.mono_ns;
            }
            if let Some(index) = notice.filled {
                repair.filled(index);
            }
            self.needs_repair |= notice.first_packet;
        }
        let mut report = |what| {
            ctx.events.push(crate::config::BotEvent {
                bot: id.bot,
                unix_ns: arrival_ns,
                what,
            })
        };
        if notice.first_packet {
            report(EventKind::FirstPacket {
                tag,
                sender,
                kind: id.kind,
            });
        }
        if notice.first_frame {
            report(EventKind::FirstFrame { tag, sender });
        }
        if let Some((began_unix_ns, ended_unix_ns)) = notice.paused
            // Legs of a participant pause whenever the other path is in use.
            && self.selector.is_none()
        {
            ctx.pauses.push(Pause {
                began_unix_ns,
                ended_unix_ns,
                receiver: id.bot,
                sender: id.sender,
                kind: u8::from(id.kind == Kind::Video),
                ..Pause::default()
            });
        }
        if let Some(gap_ns) = notice.thawed_ns {
            report(EventKind::Thaw {
                tag,
                gap_ms: gap_ns / 1_000_000,
            });
        }
    }

    /// NACK and PLI of all streams that need them.
    fn request_missing(&mut self, session: &mut Session, ctx: &mut Context<'_>) {
        let rtt_ns = self.rtt_ns.unwrap_or(RTT_GUESS_NS) + RTT_SLACK_NS;
        let now_ns = ctx.now.mono_ns;
        let mut needs_repair = false;
        for at in 0..self.streams.len() {
            let stream = &mut self.streams[at];
            let repair = &mut self.receptions[at].repair;
            let broken = stream.is_broken();
            if repair.is_idle() && !broken {
                continue;
            }
            ctx.nacks.clear();
            let due = repair.poll(now_ns, rtt_ns, &mut ctx.nacks);
            stream.count_nacks(due.requested);
            let key_frame = repair.wants_key_frame(broken, now_ns);
            repair.check_key_frame(
                stream.came_within(RECENT_NS, ctx.now.unix_ns),
                now_ns,
                rtt_ns,
            );
            needs_repair |= !repair.is_idle() || broken;
            let media_ssrc = stream.id.ssrc;
            if key_frame {
                stream.count_pli();
                let pli = Pli {
                    sender_ssrc: self.own_ssrc,
                    media_ssrc,
                };
                if let Some(length) = pli.write(&mut ctx.out[..]) {
                    session.send_rtcp(&mut ctx.out, length);
                }
            }
            let mut rest = &ctx.nacks[..];
            while let Some(nack) =
                rtcp::nack::write(self.own_ssrc, media_ssrc, rest, &mut ctx.out[..MAX_RTCP])
            {
                session.send_rtcp(&mut ctx.out, nack.len);
                rest = &rest[nack.taken..];
            }
            if let Some((index, count)) = due.given_up {
                let notice = self.streams[at].give_up(index, count, ctx.now.unix_ns);
                if self.selector.is_some() {
                    self.show(at, None, ctx.now.unix_ns, ctx);
                }
                if notice != Notice::default() {
                    self.react(
                        Slot {
                            stream: at,
                            rtx: false,
                        },
                        notice,
                        ctx.now.unix_ns,
                        ctx,
                    );
                }
                needs_repair = true;
            }
        }
        self.needs_repair = needs_repair;
    }

    fn hand_out_given_up(&mut self, ctx: &mut Context<'_>) {
        self.unexpected.samples += self.given_up.len() as u64;
        ctx.samples.append(&mut self.given_up);
    }

    fn check_freezes(&mut self, ctx: &mut Context<'_>) {
        for stream in &mut self.streams {
            stream.check.expire(ctx.now.unix_ns);
            self.given_up.extend(stream.check.take_given_up());
            if stream.check_freeze(ctx.now.unix_ns) {
                let id = stream.id;
                let sender = if id.sender == UNKNOWN_SENDER {
                    -1
                } else {
                    i32::from(id.sender)
                };
                ctx.report(
                    id.bot,
                    EventKind::Freeze {
                        tag: id.tag,
                        sender,
                        kind: id.kind,
                    },
                );
            }
        }
    }

    /// Receiver reports of all streams, with SDES and the reference time in the first compound.
    fn report(&mut self, session: &mut Session, ctx: &mut Context<'_>) {
        let now_ns = ctx.now.unix_ns;
        let mut blocks = [ReportBlock::default(); rtcp::report::MAX_BLOCKS];
        let mut first = true;
        let mut at = 0;
        while at < self.streams.len() {
            let mut count = 0;
            while at < self.streams.len() && count < blocks.len() {
                if self.streams[at].window.started() {
                    blocks[count] = self.receptions[at].report(&self.streams[at], now_ns);
                    count += 1;
                }
                at += 1;
            }
            if count == 0 {
                continue;
            }
            let out = &mut ctx.out[..MAX_RTCP];
            let Some(mut length) = rtcp::rr::write(self.own_ssrc, &blocks[..count], out) else {
                continue;
            };
            if std::mem::take(&mut first) {
                let time = ntp::from_unix(Duration::from_nanos(now_ns));
                length +=
                    rtcp::sdes::write(self.own_ssrc, &self.cname, &mut out[length..]).unwrap_or(0);
                length +=
                    rtcp::xr::write_rrtr(self.own_ssrc, time, &mut out[length..]).unwrap_or(0);
            }
            session.send_rtcp(&mut ctx.out, length);
        }
    }

    fn remap(&mut self) {
        self.map.clear();
        for (stream, reception) in self.receptions.iter().enumerate() {
            self.map
                .insert(reception.incoming.ssrc, Slot { stream, rtx: false });
            if let Some(ssrc) = reception.incoming.rtx_ssrc {
                self.map.insert(ssrc, Slot { stream, rtx: true });
            }
        }
    }
}
