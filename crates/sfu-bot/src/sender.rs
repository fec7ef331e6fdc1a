//! The sending half of a bot: its audio and video streams on one transport, and what the server says about them.
//!
//! # Job
//! Plays the clip on schedule, writes stamps and header extensions, answers NACK with RTX and PLI with a key frame, and
//! reports (SR, SDES, BYE). When a frame is due belongs to `schedule`, cutting payloads
//! to `vp8` and `opus`.
//!
//! # Invariants
//! - RTP timestamps follow the schedule, stamps say the moment the packet is handed over.
//! - A retransmission is the original payload to the byte, stamp included: repair shows as delay.
//!
//! # Cost
//! Packets are built from the clip each time; the history keeps 40 bytes a packet, not the packet.
//!
//! RFC 3550 §6.4.1 (SR), RFC 4588 (RTX), RFC 7741 (VP8), RFC 7587 (opus).

use std::time::Duration;

use meeshy_sfu_proto::rtcp::{self, Packet};
use meeshy_sfu_proto::rtp::extension::{AbsSendTime, AudioLevel};
use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter, seq};

use crate::checksum::crc32;
use crate::clip::Clip;
use crate::config::{EventKind, Kind};
use crate::context::{Context, Now};
use crate::layout::{SENT_COMFORT, SENT_KEY, SenderRow, SentFrame};
use crate::negotiation::Media;
use crate::random::Random;
use crate::received::SILENT_NS;
use crate::schedule::{Schedule, Slot};
use crate::script::{Script, Sound};
use crate::session::{Keys, Session};
use crate::stamp::{FLAG_KEY_FRAME, FLAG_VIDEO, STAMP_LEN, Stamp};
use crate::{opus, vp8};

mod reports;

/// Packets that can be sent again: at least 5 s of video.
const HISTORY: usize = 512;
/// A packet this late voids a run.
const LATE_NS: u64 = 5_000_000;
const REPORT_NS: u64 = 1_000_000_000;

/// Whom a sender speaks for.
#[derive(Debug, Clone)]
pub(crate) struct Speaker {
    /// Number in the stamps.
    pub(crate) number: u16,
    /// Stamp at all.
    pub(crate) stamp: bool,
    /// Every n-th audio packet carries a stamp: a stamp adds 26 bytes to some 80.
    pub(crate) audio_stamp_every: u64,
    /// Layer of the clip.
    pub(crate) layer: usize,
    /// Silence is not sent.
    pub(crate) dtx: bool,
    /// State shared with the other legs of its participant; None if there are none.
    pub(crate) common: Option<Common>,
}

/// Shared by the senders of all legs of one participant, so that a frame is the same on each of them.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) audio: Script,
    pub(crate) video: Script,
}

/// One packet as it was sent; enough to make it again.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    index: u64,
    stamp_ns: u64,
    timestamp: u32,
    position: u32,
    stamp_seq: u32,
    picture_id: u16,
    part: u8,
    parts: u8,
    /// For the stamp.
    sum: u32,
    key: bool,
    stamped: bool,
    /// The first packet after silence (RFC 7587 §4.1).
    onset: bool,
    /// Describes the silence until the next packet.
    comfort: bool,
}

/// One sent stream.
#[derive(Debug)]
struct StreamOut {
    media: Media,
    speaker: Speaker,
    running: bool,
    schedule: Schedule,
    script: Script,
    index: u64,
    rtx_index: u64,
    picture_id: u16,
    stamp_seq: u32,
    octets: u32,
    history: Vec<Sent>,
    row: SenderRow,
    /// When the first packet after the last silence left.
    sends_since_ns: u64,
    /// When the last report on it came.
    reported_ns: u64,
}

/// The sending half of a bot.
#[derive(Debug)]
pub(crate) struct Sender {
    bot: u16,
    cname: String,
    speaker: Speaker,
    random: Random,
    streams: Vec<StreamOut>,
    transport_sequence: u16,
    feedbacks: u32,
    /// When the last transport-wide feedback came.
    feedback_ns: u64,
    next_report_ns: u64,
    hushed: bool,
}

impl Sender {
    pub(crate) fn new(bot: u16, cname: String, speaker: Speaker, seed: u64) -> Self {
        Self {
            bot,
            cname,
            speaker,
            random: Random::derive(seed, 0x5e4d),
            streams: Vec::new(),
            transport_sequence: 0,
            feedbacks: 0,
            feedback_ns: 0,
            next_report_ns: 0,
            hushed: false,
        }
    }

    /// Makes the participant silent, or lets it talk again: with discontinuous transmission, on all of its legs.
    pub(crate) fn hush(&mut self, hushed: bool) {
        self.hushed = hushed;
        if let Some(common) = &self.speaker.common {
            common.audio.hush(hushed);
        }
        if let Some(stream) = self.stream(Kind::Audio) {
            stream.script.hush(hushed);
        }
    }

    /// Starts or resumes sending.
    pub(crate) fn start(&mut self, media: Media, clip: &Clip, now: &Now) {
        let kind = media.kind;
        if self.stream(kind).is_none() {
            let stream = StreamOut::new(media, self, clip, now);
            self.streams.push(stream);
        }
        let resumed = self
            .streams
            .iter_mut()
            .find(|stream| stream.media.kind == kind && !stream.running);
        if let Some(stream) = resumed {
            stream.resume(now);
        }
    }

    pub(crate) fn stop(&mut self, kind: Kind) {
        if let Some(stream) = self.stream(kind) {
            stream.running = false;
        }
    }

    /// Monotonic time of the next packet or report; `u64::MAX` if there is nothing to send.
    pub(crate) fn next_due_ns(&self) -> u64 {
        let running = self.streams.iter().filter(|stream| stream.running);
        running
            .map(|stream| stream.schedule.due_ns())
            .min()
            .map_or(u64::MAX, |due| due.min(self.next_report_ns))
    }

    /// Sends what is due.
    pub(crate) fn poll(&mut self, session: &mut Session, ctx: &mut Context<'_>) {
        if !session.is_ready() {
            return;
        }
        for stream in &mut self.streams {
            while let Some(slot) = stream.due(ctx.now.mono_ns) {
                stream.send_frame(slot, session, &mut self.transport_sequence, ctx);
            }
        }
        if ctx.now.mono_ns >= self.next_report_ns
            && self.streams.iter().any(|stream| stream.running)
        {
            self.next_report_ns = ctx.now.mono_ns + REPORT_NS;
            self.report(session, ctx);
        }
    }

    /// Takes one RTCP packet of the server.
    pub(crate) fn on_rtcp(
        &mut self,
        packet: &Packet<'_>,
        session: &mut Session,
        ctx: &mut Context<'_>,
    ) {
        match packet {
            Packet::ReceiverReport(report) => report
                .reports()
                .for_each(|block| self.on_block(&block, ctx)),
            Packet::SenderReport(report) => report
                .reports()
                .for_each(|block| self.on_block(&block, ctx)),
            Packet::Nack(nack) => {
                if let Some(stream) = self
                    .streams
                    .iter_mut()
                    .find(|stream| stream.media.ssrc == nack.media_ssrc)
                {
                    for sequence in nack.sequences() {
                        stream.resend(sequence, session, &mut self.transport_sequence, ctx);
                    }
                }
            }
            Packet::Pli(pli) => self.on_key_frame_request(pli.media_ssrc, ctx),
            Packet::Fir(fir) => fir
                .entries()
                .for_each(|entry| self.on_key_frame_request(entry.ssrc, ctx)),
            Packet::TransportCc(_) => {
                self.feedbacks += 1;
                self.feedback_ns = ctx.now.unix_ns;
            }
            _ => {}
        }
    }

    /// Sends BYE for the streams.
    pub(crate) fn send_bye(&mut self, session: &mut Session, ctx: &mut Context<'_>) {
        let ssrcs: Vec<u32> = self
            .streams
            .iter()
            .map(|stream| stream.media.ssrc)
            .collect();
        let Some(&first) = ssrcs.first() else { return };
        let out = &mut ctx.out[..];
        let Some(report) = rtcp::rr::write(first, &[], out) else {
            return;
        };
        let Some(bye) = rtcp::bye::write(&ssrcs, &mut out[report..]) else {
            return;
        };
        session.send_rtcp(&mut ctx.out, report + bye);
        self.streams
            .iter_mut()
            .for_each(|stream| stream.running = false);
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = SenderRow> + '_ {
        self.streams.iter().map(|stream| SenderRow {
            flags: u8::from(stream.running),
            feedbacks: self.feedbacks,
            ..stream.row
        })
    }

    fn stream(&mut self, kind: Kind) -> Option<&mut StreamOut> {
        self.streams
            .iter_mut()
            .find(|stream| stream.media.kind == kind)
    }

    fn on_key_frame_request(&mut self, ssrc: u32, ctx: &mut Context<'_>) {
        let Some(stream) = self
            .streams
            .iter_mut()
            .find(|stream| stream.media.ssrc == ssrc)
        else {
            return;
        };
        if stream.media.kind == Kind::Video {
            stream.row.plis += 1;
            stream.script.request_key_frame();
            ctx.report(self.bot, EventKind::Pli);
        }
    }
}

impl StreamOut {
    fn new(media: Media, owner: &mut Sender, clip: &Clip, now: &Now) -> Self {
        let (bot, speaker, hushed) = (owner.bot, owner.speaker.clone(), owner.hushed);
        let random = &mut owner.random;
        let video = media.kind == Kind::Video;
        let ticks = if video {
            clip.frame_ticks
        } else {
            clip.audio_ticks
        };
        // Bots begin at different moments of a frame's time, or all of them would send at once.
        let interval_ns = u64::from(ticks) * 1_000_000 / media.clock_khz();
        let start_ns = now.mono_ns + random.below(interval_ns);
        let timestamp = random.next() as u32;
        let (schedule, script) = match &speaker.common {
            None => (
                Schedule::new(start_ns, ticks, media.clock_khz(), timestamp),
                first_script(media.kind, speaker.layer, speaker.dtx, clip, random),
            ),
            Some(common) => {
                let phase_ns = Random::derive(common.seed, video.into()).below(interval_ns);
                let script = if video { &common.video } else { &common.audio };
                (
                    Schedule::common(phase_ns, ticks, media.clock_khz(), timestamp),
                    script.clone(),
                )
            }
        };
        if hushed && !video {
            script.hush(true);
        }
        let history = if video {
            vec![Sent::default(); HISTORY]
        } else {
            Vec::new()
        };
        let row = SenderRow {
            ssrc: media.ssrc,
            bot,
            kind: u8::from(video),
            ..SenderRow::default()
        };
        Self {
            speaker,
            running: false,
            schedule,
            script,
            // Below 2^15, so that the first packets cannot be taken for the end of an earlier cycle.
            index: random.below(0x8000),
            rtx_index: random.below(0x8000),
            picture_id: random.below(0x8000) as u16,
            stamp_seq: 0,
            octets: 0,
            history,
            row,
            sends_since_ns: 0,
            reported_ns: 0,
            media,
        }
    }

    fn resume(&mut self, now: &Now) {
        self.running = true;
        self.schedule.resume(now.mono_ns);
        if self.row.started_unix_ns == 0 {
            self.row.started_unix_ns = now.unix_ns;
        }
    }

    fn due(&mut self, now_ns: u64) -> Option<Slot> {
        if self.running {
            self.schedule.take(now_ns)
        } else {
            None
        }
    }

    fn send_frame(
        &mut self,
        slot: Slot,
        session: &mut Session,
        transport_sequence: &mut u16,
        ctx: &mut Context<'_>,
    ) {
        let Slot {
            timestamp, number, ..
        } = slot;
        let mut late_ns = slot.late_ns;
        let mut sent = Sent {
            timestamp,
            ..Sent::default()
        };
        match self.media.kind {
            Kind::Video => self.next_video(&mut sent, number, ctx.clip),
            Kind::Audio => self.next_audio(&mut sent, number, ctx.clip),
        }
        if sent.parts == 0 {
            return; // silence that is not sent
        }
        let mut bytes = 0;
        for part in 0..sent.parts {
            sent.part = part;
            sent.index = self.index;
            self.index += 1;
            // Read for each packet: the stamp says when it really leaves.
            sent.stamp_ns = crate::context::unix_ns();
            bytes += self.send(&sent, None, session, transport_sequence, ctx);
            if let Some(slot) = self.history.get_mut(sent.index as usize % HISTORY) {
                *slot = sent;
            }
            self.row.packets += 1;
            ctx.health.packets_sent += 1;
            late_ns = slot.late_ns + sent.stamp_ns.saturating_sub(ctx.now.unix_ns);
            ctx.health.late_sends += u64::from(late_ns > LATE_NS);
            if sent.stamp_ns.saturating_sub(self.row.last_packet_unix_ns) > SILENT_NS {
                self.sends_since_ns = sent.stamp_ns;
            }
            self.row.last_packet_unix_ns = sent.stamp_ns;
            if self.row.first_packet_unix_ns == 0 {
                self.row.first_packet_unix_ns = sent.stamp_ns;
            }
        }
        ctx.lag
            .add(late_ns, ctx.now.mono_ns + late_ns - slot.late_ns);
        ctx.health.late_max_us = ctx.health.late_max_us.max(late_ns as f64 / 1000.0);
        self.row.frames += 1;
        if sent.stamped {
            ctx.sent.push(SentFrame {
                sent_unix_ns: sent.stamp_ns,
                seq: sent.stamp_seq,
                bytes,
                sender: self.speaker.number,
                bot: self.row.bot,
                packets: sent.parts.into(),
                kind: self.row.kind,
                flags: (u8::from(sent.key) * SENT_KEY) | (u8::from(sent.comfort) * SENT_COMFORT),
            });
        }
    }

    fn next_video(&mut self, sent: &mut Sent, number: u64, clip: &Clip) {
        if self.row.frames == 0 && self.speaker.common.is_some() {
            // The receiver of this leg needs a key frame, and none was requested yet.
            self.script.request_key_frame();
        }
        let choice = self.script.choose(number, clip);
        let frame = clip.frame(self.speaker.layer, choice.position);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.row.key_frames += u64::from(frame.key && !choice.requested);
        self.row.requested_key_frames += u64::from(frame.key && choice.requested);
        let stamped = self.speaker.stamp;
        self.count_stamp(stamped, number);
        let parts = vp8::part_count(frame.data.len(), stamped);
        *sent = Sent {
            position: choice.position as u32,
            picture_id: self.picture_id,
            stamp_seq: self.stamp_seq,
            parts: parts as u8,
            sum: if stamped {
                vp8::sum(frame.data, parts)
            } else {
                0
            },
            key: frame.key,
            stamped,
            ..*sent
        };
    }

    fn next_audio(&mut self, sent: &mut Sent, number: u64, clip: &Clip) {
        let choice = self.script.choose(number, clip);
        if choice.sound == Sound::Silence {
            return;
        }
        let comfort = choice.sound == Sound::Comfort;
        let count = match self.speaker.common {
            Some(_) => number,
            None => self.row.frames,
        };
        // What ends a silence and what is in it are few, and their stamps say how long it was to last.
        let rare = choice.sound != Sound::Speech;
        let stamped =
            self.speaker.stamp && (rare || count.is_multiple_of(self.speaker.audio_stamp_every));
        self.count_stamp(stamped, number);
        *sent = Sent {
            position: choice.position as u32,
            stamp_seq: self.stamp_seq,
            parts: 1,
            stamped,
            onset: choice.sound == Sound::Onset,
            comfort,
            ..*sent
        };
    }

    /// Numbers a stamp: by frame on legs, else consecutively.
    fn count_stamp(&mut self, stamped: bool, number: u64) {
        if self.speaker.common.is_some() {
            self.stamp_seq = number as u32;
        } else {
            self.stamp_seq += u32::from(stamped);
        }
        self.row.stamps += u64::from(stamped);
    }

    /// Answers a request for one packet.
    fn resend(
        &mut self,
        sequence: u16,
        session: &mut Session,
        transport_sequence: &mut u16,
        ctx: &mut Context<'_>,
    ) {
        self.row.nacks += 1;
        let wanted = self
            .index
            .checked_sub(1)
            .and_then(|newest| seq::extend_near(sequence, newest));
        let found = wanted.and_then(|index| {
            let sent = *self.history.get(index as usize % HISTORY)?;
            (sent.index == index && sent.parts > 0).then_some(sent)
        });
        let (Some(sent), Some(rtx)) = (found, self.media.rtx) else {
            self.row.nack_misses += 1;
            return;
        };
        let index = self.rtx_index;
        self.rtx_index += 1;
        self.row.rtx_packets += 1;
        self.send(
            &sent,
            Some((index, rtx.ssrc, rtx.payload_type)),
            session,
            transport_sequence,
            ctx,
        );
    }

    /// Builds, seals and sends one packet and returns the length of its payload; with `rtx` (index, SSRC, payload type) as a retransmission.
    fn send(
        &mut self,
        sent: &Sent,
        rtx: Option<(u64, u32, u8)>,
        session: &mut Session,
        transport_sequence: &mut u16,
        ctx: &mut Context<'_>,
    ) -> u32 {
        let mut start = 0;
        if rtx.is_some() {
            ctx.plain[..2].copy_from_slice(&(sent.index as u16).to_be_bytes());
            start = 2;
        }
        let length = start + self.payload(sent, ctx.clip, &mut ctx.plain[start..]);
        let (index, ssrc, payload_type) =
            rtx.unwrap_or((sent.index, self.media.ssrc, self.media.payload_type));
        let marker = if self.media.kind == Kind::Video {
            sent.part + 1 == sent.parts
        } else {
            sent.onset
        };
        let fields = HeaderFields {
            marker,
            payload_type,
            sequence: index as u16,
            timestamp: sent.timestamp,
            ssrc,
            ..HeaderFields::default()
        };
        let header = self.header(&fields, sent, *transport_sequence, ctx);
        *transport_sequence = transport_sequence.wrapping_add(1);
        let Some(Keys { tx, .. }) = &session.keys else {
            return 0;
        };
        let total = tx.protect_rtp(&mut ctx.out[..], header, &ctx.plain[..length], ssrc, index);
        self.octets = self.octets.wrapping_add(length as u32);
        self.row.bytes += total as u64;
        session.send_media(&ctx.out[..total]);
        length as u32
    }

    fn header(
        &self,
        fields: &HeaderFields,
        sent: &Sent,
        transport_sequence: u16,
        ctx: &mut Context<'_>,
    ) -> usize {
        let sent_at = AbsSendTime::from_duration(Duration::from_nanos(ctx.now.unix_ns));
        let mut writer = HeaderWriter::new(&mut ctx.out[..], fields, ExtensionForm::OneByte)
            .expect("invariant: a datagram has room for a header");
        let ids = self.media.extensions;
        if let Some(id) = ids.mid {
            writer.extension(id, self.media.mid.as_bytes());
        }
        if let Some(id) = ids.abs_send_time {
            writer.extension(id, &sent_at.to_bytes());
        }
        if let Some(id) = ids.transport_cc {
            writer.extension(id, &transport_sequence.to_be_bytes());
        }
        if let Some(id) = ids.audio_level {
            let audio = ctx.clip.audio(sent.position as usize);
            let level = AudioLevel {
                voice: audio.voice,
                dbov: -(audio.level as i8),
            };
            writer.extension(id, &level.to_bytes());
        }
        writer.finish()
    }

    fn payload(&self, sent: &Sent, clip: &Clip, out: &mut [u8]) -> usize {
        let stamp = Stamp {
            flags: (u8::from(sent.key) * FLAG_KEY_FRAME)
                | (u8::from(self.media.kind == Kind::Video) * FLAG_VIDEO),
            bot: self.speaker.number,
            seq: sent.stamp_seq,
            unix_ns: sent.stamp_ns,
            sum: sent.sum,
            packets: sent.parts,
            timestamp: sent.timestamp,
        };
        if self.media.kind == Kind::Video {
            let frame = clip.frame(self.speaker.layer, sent.position as usize);
            let (part, parts) = (usize::from(sent.part), usize::from(sent.parts));
            return vp8::write_part(
                frame.data,
                part,
                parts,
                sent.picture_id,
                sent.stamped.then_some(&stamp),
                out,
            );
        }
        let audio = clip.audio(sent.position as usize).data;
        if sent.stamped
            && let Some(length) = opus::pad(audio, &[0; STAMP_LEN], out)
        {
            let (media, end) = out[..length].split_at_mut(length - STAMP_LEN);
            let sum = crc32(media);
            end.copy_from_slice(&Stamp { sum, ..stamp }.to_bytes());
            return length;
        }
        out[..audio.len()].copy_from_slice(audio);
        audio.len()
    }
}

/// A script that begins somewhere in the clip: else the key frames of all bots would fall on one moment.
pub(crate) fn first_script(
    kind: Kind,
    layer: usize,
    dtx: bool,
    clip: &Clip,
    random: &mut Random,
) -> Script {
    let position = if kind == Kind::Video {
        let count = clip.frame_count(layer) as u64;
        clip.key_frame_from(layer, random.below(count) as usize)
    } else {
        random.below(clip.audio_count() as u64) as usize
    };
    Script::new(kind, layer, position, dtx)
}
