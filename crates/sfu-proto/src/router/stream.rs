//! One encoded stream of a producer: sequence, loss, repair, key frames, history.
//!
//! # Job
//! Takes decrypted packets, received by the media SSRC or recovered from RTX, stores them in the ring and keeps the
//! state of reports and requests. Writing those belongs to `report`, forwarding to `router`.
//!
//! # Invariants
//! - The stream index is the sender's extended sequence number less the dropped padding-only packets. Its only gaps
//!   are losses and jumps.
//! - A stream index is forwarded once: a duplicate is refused, whether original or retransmission.
//! - `source` changes with the SSRC and when sequence numbers jump: consumers then start a new segment, video
//!   consumers with a key frame. Stream indices keep growing, so that packets pending for a flush are not taken for
//!   packets of the new source.
//! - Packets of a replaced SSRC, and of its RTX, are late: neither becomes the stream's SSRC again.
//!
//! # Cost
//! O(1) per packet in order; no allocation after the first packet.
//!
//! RFC 3550 Appendix A.1, A.3, A.8 (sequence, loss, jitter), RFC 4588 (RTX).

use super::clock::{Micros, NEVER};
use super::config::MediaKind;
use super::keyframe::KeyFrames;
use super::layers::Liveness;
use super::mapping::{Mapping, arrival_ticks};
use super::nack::{Arrival, NackGenerator};
use super::passthrough::PassthroughExtensions;
use super::rate::Rate;
use super::renumber::Renumber;
use super::retired::Retired;
use super::ring::{
    FILLER, HEADROOM, KEY_FRAME, LEVEL, MARKER, PASSTHROUGH, REPAIRED, Ring, Slot, VIDEO,
};
use super::score::{Score, Totals};
use super::source::Source;
use crate::net::Sink;
use crate::rtcp::ntp;
use crate::rtp::payload::{Codec, Entry};
use crate::rtp::seq;

const AUDIO_SLOTS: usize = 64;
pub(crate) const VIDEO_SLOTS: usize = 512;
/// Sequence numbers until they wrap. One cycle is left free below the first packet of a source, so that reordered
/// packets from before it have an index too.
const CYCLE: u64 = 1 << 16;
/// A larger jump ahead means that the sender continued with other numbers, and is no loss.
const MAX_JUMP: u64 = 3000;
/// A stream without packets for this long is inactive.
pub(crate) const INACTIVE_AFTER: Micros = 1_500_000;
/// After this many intra pictures in a row without parameter sets, each with its predecessor present, the sender is
/// known to send parameter sets at other times.
const BARE_PICTURES: u8 = 3;
/// When only the RTX SSRC has changed, the media SSRC follows within this time.
const RTX_AHEAD: Micros = 2_000_000;
const BYE_INTERVAL: Micros = 1_000_000;

/// A decrypted packet; its payload is in the ring's spare buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) codec: u8,
    /// Length of the payload without padding.
    pub(crate) len: usize,
    pub(crate) level: Option<u8>,
    pub(crate) has_passthrough: bool,
    /// Recovered from RTX.
    pub(crate) repair: bool,
    pub(crate) arrived: Micros,
}

/// What was done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Stored in the ring under this stream index.
    Forward(u64),
    /// Padding only: its number is dropped.
    PaddingOnly,
    /// A duplicate, or so late that a newer packet has its slot.
    Late,
}

/// The last Sender Report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderReport {
    pub(crate) ntp: u64,
    pub(crate) at: Micros,
}

/// Contents of a report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) fraction_lost: u8,
    pub(crate) cumulative_lost: i32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
}

/// Counters of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) padding_only: u64,
    pub(crate) repaired: u64,
    pub(crate) rtx_packets: u64,
    pub(crate) nacks: u64,
    pub(crate) nacked_packets: u64,
    pub(crate) key_frame_requests: u64,
    pub(crate) key_frames: u64,
}

/// Where receivers can start decoding, by what the stream has shown so far.
#[derive(Debug, Default)]
struct Entries {
    /// Timestamp of the last picture marked as a start, and whether it had its parameter sets; further packets of
    /// that picture are no start.
    begun: Option<(u32, Entry)>,
    /// A key frame came with parameter sets: they precede each key frame, so a picture without them has lost them.
    whole: bool,
    /// Intra pictures in a row without parameter sets, and the timestamp of the last.
    bare: (u8, u32),
}

impl Entries {
    /// Returns whether a receiver can start with a packet; `follows` means that its predecessor is present, or that
    /// it is the first.
    fn take(&mut self, entry: Entry, timestamp: u32, follows: bool) -> bool {
        let begun = self.begun.filter(|(known, _)| *known == timestamp);
        let begins = match entry {
            Entry::None => false,
            Entry::KeyFrame => {
                self.whole = true;
                self.bare.0 = 0;
                begun.is_none_or(|(_, entry)| entry == Entry::Picture)
            }
            // If the missing predecessor holds the parameter sets, it will arrive and be the start.
            Entry::Picture => begun.is_none() && follows && self.may_be_bare(timestamp),
        };
        if begins {
            self.begun = Some((timestamp, entry));
        }
        begins
    }

    fn may_be_bare(&mut self, timestamp: u32) -> bool {
        let (count, last) = &mut self.bare;
        if *count == 0 || *last != timestamp {
            (*count, *last) = (count.saturating_add(1), timestamp);
        }
        !self.whole || *count >= BARE_PICTURES
    }
}

/// One incoming encoded stream.
#[derive(Debug)]
pub(crate) struct StreamRx {
    pub(crate) ring: Ring,
    pub(crate) producer: u32,
    pub(crate) transport: u32,
    pub(crate) encoding: u8,
    pub(crate) kind: MediaKind,
    pub(crate) source: Source,
    pub(crate) clock_rate: u32,
    pub(crate) ssrc: Option<u32>,
    pub(crate) rtx_ssrc: Option<u32>,
    /// The SSRC was announced: no other is learned.
    pub(crate) ssrc_announced: bool,
    pub(crate) rtx_announced: bool,
    pub(crate) rid: Option<String>,
    pub(crate) nack: Option<NackGenerator>,
    pub(crate) key_frames: KeyFrames,
    pub(crate) fir_sequence: u8,
    pub(crate) score: Score,
    pub(crate) counters: Counters,
    pub(crate) rate: Rate,
    pub(crate) sender_report: Option<SenderReport>,
    pub(crate) mapping: Mapping,
    pub(crate) rtt: Option<Micros>,
    /// Timestamp and arrival of the newest packet.
    pub(crate) newest: (u32, Micros),
    pub(crate) active: bool,
    active_since: Micros,
    pub(crate) fraction_lost: u8,
    bye_at: Option<Micros>,
    /// A BYE came, and no packet since.
    said_bye: bool,
    pub(crate) retired: Retired,
    /// When the RTX SSRC changed ahead of the media SSRC.
    rtx_ahead: Option<Micros>,
    /// First stream index of the current run.
    run_from: u64,
    entries: Entries,
    /// Origin of this source's extended sequence numbers; a multiple of 2^16.
    base: u64,
    highest: Option<u64>,
    first: u64,
    /// Packets received as originals; reports count these, without repair (RFC 4588 §4.1).
    received: u64,
    /// Packets received by retransmission only.
    recovered: u64,
    renumber: Renumber,
    transit: Option<u32>,
    /// Interarrival jitter in timestamp units, times 16.
    jitter: u32,
    expected_prior: u64,
    received_prior: u64,
}

impl StreamRx {
    pub(crate) fn new(
        producer: u32,
        transport: u32,
        encoding: u8,
        kind: MediaKind,
        passthrough: bool,
        nack: bool,
    ) -> Self {
        let slots = match kind {
            MediaKind::Audio => AUDIO_SLOTS,
            MediaKind::Video => VIDEO_SLOTS,
        };
        Self {
            ring: Ring::new(slots, passthrough),
            producer,
            transport,
            encoding,
            kind,
            source: Source::NONE,
            clock_rate: 90_000,
            ssrc: None,
            rtx_ssrc: None,
            ssrc_announced: false,
            rtx_announced: false,
            rid: None,
            nack: nack.then(|| NackGenerator::new(slots)),
            key_frames: KeyFrames::default(),
            fir_sequence: 0,
            score: Score::new(0),
            counters: Counters::default(),
            rate: Rate::default(),
            sender_report: None,
            mapping: Mapping::new(),
            rtt: None,
            newest: (0, 0),
            active: false,
            active_since: 0,
            fraction_lost: 0,
            bye_at: None,
            said_bye: false,
            retired: Retired::default(),
            rtx_ahead: None,
            run_from: 0,
            entries: Entries::default(),
            base: CYCLE,
            highest: None,
            first: 0,
            received: 0,
            recovered: 0,
            renumber: Renumber::default(),
            transit: None,
            jitter: 0,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    /// Sets the stream's RTX SSRC, the first or another.
    pub(crate) fn replace_rtx(&mut self, ssrc: u32, now: Micros) {
        let Some(old) = self.rtx_ssrc.replace(ssrc).filter(|old| *old != ssrc) else {
            return;
        };
        self.retired.add(old, now);
        // It repeats packets of a media SSRC that has not arrived yet.
        self.rtx_ahead = self.highest.map(|_| now);
    }

    /// Whether the RTX SSRC belongs to a media SSRC that has not arrived yet.
    pub(crate) fn is_rtx_ahead(&self, now: Micros) -> bool {
        self.rtx_ahead.is_some_and(|at| now < at + RTX_AHEAD)
    }

    /// Sets the stream's media SSRC, the first or another. Returns true if the RTX SSRC belonged to the old one and
    /// was forgotten.
    pub(crate) fn replace(&mut self, ssrc: u32, now: Micros) -> bool {
        if let Some(old) = self.ssrc {
            self.retired.add(old, now);
        }
        let stale = self.highest.is_some() && !self.rtx_announced && !self.is_rtx_ahead(now);
        self.rtx_ahead = None;
        self.restart(ssrc);
        if !stale {
            return false;
        }
        if let Some(old) = self.rtx_ssrc.take() {
            self.retired.add(old, now);
        }
        true
    }

    fn restart(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
        let Some(highest) = self.highest.take() else {
            return;
        };
        self.base = (highest / CYCLE + 2) * CYCLE;
        self.run_from = self.base;
        self.source = self.source.next();
        self.ring.clear();
        if let Some(nack) = &mut self.nack {
            nack.reset();
        }
        self.sender_report = None;
        self.mapping = Mapping::new();
        self.received = 0;
        self.recovered = 0;
        self.expected_prior = 0;
        self.received_prior = 0;
        self.renumber = Renumber::default();
        self.transit = None;
        self.entries.begun = None;
        self.score.rebase(self.totals());
    }

    /// Returns the totals that the score is computed from.
    fn totals(&self) -> Totals {
        Totals {
            expected: self.expected(),
            received: self.received,
            repaired: self.counters.repaired,
        }
    }

    /// Whether a key frame came with parameter sets.
    pub(crate) fn has_parameter_sets(&self) -> bool {
        self.entries.whole
    }

    /// From now on a key frame without parameter sets has lost them.
    pub(crate) fn expect_parameter_sets(&mut self) {
        self.entries.whole = true;
    }

    pub(crate) fn has_media(&self) -> bool {
        self.highest.is_some()
    }

    /// Returns the run a packet with this index belongs to.
    #[inline]
    pub(crate) fn source_of(&self, index: u64) -> Source {
        if index >= self.run_from {
            self.source
        } else {
            self.source.previous()
        }
    }

    /// Returns the index of the newest packet, if there is one.
    pub(crate) fn newest_index(&self) -> Option<u64> {
        let highest = self.highest?;
        Some(highest - self.renumber.total_before(highest)?)
    }

    /// Prefetches the slot of the next packet, of up to `len` bytes.
    #[inline]
    pub(crate) fn prefetch<S: Sink>(&self, len: usize, sink: &S) {
        let Some(highest) = self.highest else { return };
        if let Some(left_out) = self.renumber.total_before(highest) {
            self.ring.prefetch(highest + 1 - left_out, len, sink);
        }
    }

    /// Accepts the packet in the ring's spare buffer.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        packet: &Incoming,
        codec: Option<Codec>,
        passthrough: &PassthroughExtensions,
        now: Micros,
    ) -> Accepted {
        let Some(index) = self.extend(packet) else {
            return Accepted::Late;
        };
        let newest = self.highest.is_none_or(|highest| index > highest);
        let history = index + self.ring.places() as u64;
        if self.highest.is_some_and(|highest| history <= highest) {
            return Accepted::Late;
        }
        let filler = packet.len == 0;
        let Some(left_out) = self.renumber.total_before(index) else {
            return Accepted::Late;
        };
        let stream_index = index - left_out;
        let flags = self.flags(packet, codec, stream_index);
        let padding_only = filler && newest;
        if !padding_only {
            let slot = Slot {
                index: stream_index,
                timestamp: packet.timestamp,
                len: if filler { 1 } else { packet.len as u16 },
                buffer: 0,
                flags,
                pad: 0,
                codec: packet.codec,
                level: packet.level.unwrap_or(0),
                arrived: packet.arrived as u32,
            };
            if !self.ring.commit(slot, passthrough) {
                if !packet.repair && self.ring.arrived_after_repair(stream_index) {
                    self.original_arrived();
                }
                return Accepted::Late;
            }
        }
        self.count(index, packet, flags, newest, now);
        if padding_only {
            self.counters.padding_only += 1;
            self.renumber.drop_number(index);
            return Accepted::PaddingOnly;
        }
        Accepted::Forward(stream_index)
    }

    /// Computes the slot's flags.
    #[inline]
    fn flags(&mut self, packet: &Incoming, codec: Option<Codec>, index: u64) -> u8 {
        let mut flags = if packet.marker { MARKER } else { 0 };
        if packet.level.is_some() {
            flags |= LEVEL;
        }
        if self.kind == MediaKind::Video {
            flags |= VIDEO;
        }
        if packet.repair {
            flags |= REPAIRED;
        }
        let payload = &mut self.ring.spare()[HEADROOM..];
        if packet.len == 0 {
            // One byte of padding; it counts itself.
            payload[0] = 1;
            return flags | FILLER;
        }
        if packet.has_passthrough {
            flags |= PASSTHROUGH;
        }
        let video = codec.filter(|_| self.kind == MediaKind::Video);
        let entry = video.map_or(Entry::None, |codec| codec.entry(&payload[..packet.len]));
        if entry != Entry::None {
            let follows = self.highest.is_none() || self.ring.get(index - 1).is_some();
            if self.entries.take(entry, packet.timestamp, follows) {
                flags |= KEY_FRAME;
            }
        }
        flags
    }

    #[inline]
    fn extend(&mut self, packet: &Incoming) -> Option<u64> {
        let Some(highest) = self.highest else {
            let index = self.base + u64::from(packet.sequence);
            self.first = index;
            return Some(index);
        };
        let index = seq::extend_near(packet.sequence, highest)?;
        if index > highest + MAX_JUMP {
            // A retransmission repeats an earlier packet, so it belongs to other numbers.
            if packet.repair {
                return None;
            }
            self.jump(index, highest);
        }
        Some(index)
    }

    /// Continues at the number the sender jumped to. Numbers in between are neither lost nor requested, but receivers
    /// cannot decode across the jump: a new run starts.
    #[cold]
    fn jump(&mut self, index: u64, highest: u64) {
        self.first += index - highest - 1;
        self.highest = Some(index - 1);
        self.source = self.source.next();
        self.run_from = index - self.renumber.total_before(index).unwrap_or(0);
        self.entries.begun = None;
        if let Some(nack) = &mut self.nack {
            nack.skip_to(index);
        }
        if self.kind == MediaKind::Video {
            self.key_frames.request(self.newest.1);
        }
    }

    #[inline]
    fn count(&mut self, index: u64, packet: &Incoming, flags: u8, newest: bool, now: Micros) {
        let first_packet = self.highest.is_none();
        let key_frame = flags & KEY_FRAME != 0;
        if newest {
            self.highest = Some(index);
            self.newest = (packet.timestamp, now);
        } else if index < self.first {
            self.first = index;
        }
        self.counters.packets += 1;
        self.counters.bytes += packet.len as u64;
        if !packet.repair {
            self.measure_jitter(packet.timestamp, packet.arrived);
        }
        if key_frame {
            self.counters.key_frames += 1;
            self.key_frames.arrived();
        } else if first_packet && self.kind == MediaKind::Video {
            self.key_frames.request(now);
        }
        let mut recovered = packet.repair;
        if let Some(nack) = &mut self.nack {
            // Without RTX a requested packet may also be the late original.
            let answer = packet.repair || self.rtx_ssrc.is_none();
            match nack.received(index, key_frame, answer, now) {
                Arrival::Expected => {}
                Arrival::Asked(at) => {
                    recovered |= answer && now >= at + self.rtt.unwrap_or(0);
                }
                Arrival::Overflow if self.kind == MediaKind::Video => {
                    self.key_frames.request(now);
                }
                Arrival::Overflow => {}
            }
        }
        if recovered {
            self.recovered += 1;
            self.counters.repaired += 1;
        } else {
            self.received += 1;
        }
    }

    /// The original arrived behind its retransmission: it was late, not lost.
    #[cold]
    fn original_arrived(&mut self) {
        self.received += 1;
        self.recovered -= 1;
        self.counters.repaired -= 1;
    }

    #[inline]
    fn measure_jitter(&mut self, timestamp: u32, now: Micros) {
        let transit = arrival_ticks(now, self.clock_rate).wrapping_sub(timestamp);
        self.mapping.arrived(transit, self.clock_rate, now);
        if let Some(previous) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(previous) as i32).unsigned_abs();
            // A pause of the sender or a change of its clock is not jitter.
            if difference < self.clock_rate * 5 {
                self.jitter = self
                    .jitter
                    .saturating_add(difference)
                    .saturating_sub((self.jitter + 8) >> 4);
            }
        }
    }

    pub(crate) fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    fn expected(&self) -> u64 {
        self.highest.map_or(0, |highest| highest - self.first + 1)
    }

    /// Returns the number of packets missing now.
    pub(crate) fn lost(&self) -> u64 {
        self.expected()
            .saturating_sub(self.received + self.recovered)
    }

    /// Ends a report interval. Returns `None` before the first packet.
    pub(crate) fn report(&mut self) -> Option<Reception> {
        let highest = self.highest?;
        let expected = self.expected();
        let interval = expected.saturating_sub(self.expected_prior);
        let received = self.received.saturating_sub(self.received_prior);
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost = interval.saturating_sub(received);
        self.fraction_lost = (lost * 256).checked_div(interval).unwrap_or(0).min(255) as u8;
        let cumulative = expected as i64 - self.received as i64;
        Some(Reception {
            fraction_lost: self.fraction_lost,
            cumulative_lost: cumulative.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: (highest - self.base) as u32,
            jitter: self.jitter(),
        })
    }

    /// Scores the interval. Returns whether the score changed.
    pub(crate) fn update_score(&mut self) -> bool {
        let totals = self.totals();
        self.active && self.score.update(totals)
    }

    /// Called for each packet. Returns whether the stream was inactive and its score changed. A packet from before
    /// the silence or the BYE, late or sent again, is no sign of life.
    #[inline]
    pub(crate) fn mark_active(&mut self, accepted: Accepted, now: Micros) -> bool {
        if self.active || accepted == Accepted::Late {
            return false;
        }
        if let Accepted::Forward(index) = accepted
            && self.newest_index() != Some(index)
        {
            return false;
        }
        (self.active, self.active_since) = (true, now);
        self.said_bye = false;
        self.key_frames.renew(now);
        self.score.rebase(self.totals());
        self.score.reset(10)
    }

    /// Whether the newest packet is the start of a key frame.
    pub(crate) fn newest_is_key_frame(&self) -> bool {
        let newest = self.newest_index().and_then(|index| self.ring.get(index));
        newest.is_some_and(|slot| slot.flags & KEY_FRAME != 0)
    }

    /// Returns what the choice of the forwarded encoding depends on.
    pub(crate) fn liveness(&self) -> Liveness {
        Liveness {
            active: self.active,
            since: self.active_since,
            last_packet_at: (self.has_media() && !self.said_bye).then_some(self.newest.1),
        }
    }

    /// Marks the stream inactive. Returns whether the score changed.
    pub(crate) fn mark_inactive(&mut self) -> bool {
        self.active = false;
        self.score.reset(0)
    }

    /// Handles a BYE. Returns whether the score changed; acts once a second at most, since all consumers are
    /// notified.
    pub(crate) fn on_bye(&mut self, now: Micros) -> bool {
        if self.bye_at.is_some_and(|at| now < at + BYE_INTERVAL) {
            return false;
        }
        self.bye_at = Some(now);
        self.said_bye = true;
        self.mark_inactive()
    }

    /// Returns when the sender is to be asked for packets or a key frame.
    #[inline]
    pub(crate) fn urgent_deadline(&self) -> Micros {
        let nack = self.nack.as_ref().and_then(NackGenerator::deadline);
        nack.unwrap_or(NEVER)
            .min(self.key_frames.deadline().unwrap_or(NEVER))
    }

    /// Returns when the stream becomes inactive unless a packet comes.
    pub(crate) fn inactivity_deadline(&self) -> Micros {
        if self.active {
            self.newest.1 + INACTIVE_AFTER
        } else {
            NEVER
        }
    }

    /// Takes a DLRR sub-block: the sender's delay of our reference time (RFC 3611 §4.5).
    pub(crate) fn take_dlrr(&mut self, now_middle: u32, last_rr: u32, delay: u32) {
        if let Some(round_trip) = ntp::round_trip(now_middle, last_rr, delay) {
            self.rtt = Some((round_trip.as_micros() as Micros).max(1));
        }
    }
}

#[cfg(test)]
mod tests;
