//! One received stream: counts, loss, frames, freezes and stamps.
//!
//! # Job
//! Takes decrypted packets in the order of arrival and keeps the numbers of [`ConsumerRow`]. What to request again
//! belongs to `repair`; opening packets and answering the sender belongs to `receiver`.
//!
//! # Invariants
//! - expected = received + lost, and lost = repaired + lost after repair, at any time.
//! - A video frame counts only when all its packets and, since the last key frame, all earlier frames were there.
//! - Times are arrival times; how late the bot looked at a packet changes nothing.
//!
//! # Cost
//! No allocation without loss. A packet in order touches four cache lines.

use meeshy_sfu_proto::rtp::RtpHeader;

use crate::checksum::crc32;
use crate::config::Kind;
use crate::frame_check::{FrameCheck, Promise};
use crate::layout::{ConsumerRow, SAMPLE_CORRUPT, Sample, UNKNOWN_SENDER};
use crate::media_clock::MediaClock;
use crate::opus;
use crate::stamp::{Ending, FLAG_KEY_FRAME, FLAG_VIDEO, STAMP_LEN, Stamp};
use crate::vp8;
use crate::window::{Order, SPAN, SeqWindow};

/// Without a frame for longer than this a stream is frozen.
pub(crate) const FREEZE_NS: u64 = 500_000_000;

/// Without a frame for longer than this a stream pauses; a pause is noted when it is over.
pub(crate) const PAUSE_NS: u64 = 300_000_000;

/// Without a packet for longer than this a stream does not flow: nobody has to report on it.
pub(crate) const SILENT_NS: u64 = 2_000_000_000;

/// What the owner of a stream must react to; mostly nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The very first packet.
    pub(crate) first_packet: bool,
    /// The first frame that can be decoded.
    pub(crate) first_frame: bool,
    /// Numbers from…to (exclusive) were skipped and may be requested.
    pub(crate) gap: Option<(u64, u64)>,
    /// A number that was missing arrived.
    pub(crate) filled: Option<u64>,
    /// It was frozen, this long.
    pub(crate) thawed_ns: Option<u64>,
    /// It paused, from…to.
    pub(crate) paused: Option<(u64, u64)>,
}

/// Who a stream is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamId {
    pub(crate) bot: u16,
    pub(crate) tag: u32,
    pub(crate) sender: u16,
    pub(crate) kind: Kind,
    pub(crate) ssrc: u32,
}

/// State of one received stream.
#[derive(Debug)]
pub(crate) struct StreamIn {
    pub(crate) id: StreamId,
    pub(crate) window: SeqWindow,
    row: ConsumerRow,
    base: u64,
    last_frame_ns: u64,
    /// Arrival of the first packet after the last silence.
    flows_since_ns: u64,
    frozen: bool,
    /// A frame became complete since the last call of this.
    complete: bool,
    jitter: Jitter,
    clock: MediaClock,
    frames: FrameTracker,
    pub(crate) check: FrameCheck,
}

impl StreamIn {
    pub(crate) fn new(id: StreamId, now_unix_ns: u64) -> Self {
        let row = ConsumerRow {
            consumed_unix_ns: now_unix_ns,
            tag: id.tag,
            ssrc: id.ssrc,
            bot: id.bot,
            sender: id.sender,
            kind: u8::from(id.kind == Kind::Video),
            owd_min_ns: i64::MAX,
            owd_max_ns: i64::MIN,
            ..ConsumerRow::default()
        };
        Self {
            id,
            window: SeqWindow::default(),
            row,
            base: 0,
            last_frame_ns: 0,
            flows_since_ns: 0,
            frozen: false,
            complete: false,
            jitter: Jitter::default(),
            clock: MediaClock::default(),
            frames: FrameTracker::default(),
            check: FrameCheck::default(),
        }
    }

    /// Reads from each cache line that a packet in order will change.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.window.newest()
            ^ self.row.received
            ^ self.row.stamps
            ^ self.last_frame_ns
            ^ u64::from(self.jitter.scaled)
            ^ self.check.touch()
    }

    /// Takes an original packet whose index is new; `wire_len` is the datagram's length.
    #[inline]
    pub(crate) fn original(
        &mut self,
        index: u64,
        header: &RtpHeader<'_>,
        payload: &[u8],
        wire_len: usize,
        arrival_ns: u64,
    ) -> (Notice, Option<Sample>) {
        let mut notice = Notice::default();
        self.row.bytes += wire_len as u64;
        self.row.received += 1;
        self.came(arrival_ns);
        let order = self.window.insert(index);
        match order {
            Order::Next => {}
            Order::First => {
                self.base = index;
                self.row.first_packet_unix_ns = arrival_ns;
                notice.first_packet = true;
            }
            Order::PrefetchStep(missing) => notice.gap = Some((index - missing, index)),
            Order::Late => {
                self.row.out_of_order += 1;
                self.base = self.base.min(index);
                notice.filled = Some(index);
            }
        }
        let clock_khz = if self.id.kind == Kind::Video { 90 } else { 48 };
        self.jitter.update(header.timestamp, arrival_ns, clock_khz);
        if self.id.kind == Kind::Video && order != Order::Late {
            let starts = vp8::read_part(payload).is_some_and(|part| part.start);
            let follows = order == Order::Next && !starts;
            self.clock.packet(header.timestamp, header.marker, follows);
        }
        let sample = self.content(index, header, payload, arrival_ns, false, &mut notice);
        (notice, sample)
    }

    /// Takes a retransmitted packet under its original index, if it is still missing; else it is a duplicate.
    pub(crate) fn retransmitted(
        &mut self,
        index: u64,
        header: &RtpHeader<'_>,
        payload: &[u8],
        wire_len: usize,
        arrival_ns: u64,
    ) -> (Notice, Option<Sample>) {
        let mut notice = Notice::default();
        self.row.rtx_packets += 1;
        self.row.bytes += wire_len as u64;
        // An RTX from before the first original, or far ahead, repairs nothing that was expected.
        if !self.window.started() || index > self.window.newest() || index < self.base {
            return (notice, None);
        }
        if !self.window.is_new(index) {
            self.row.surplus_repairs += 1;
            return (notice, None);
        }
        self.window.insert(index);
        self.row.repaired += 1;
        self.came(arrival_ns);
        notice.filled = Some(index);
        let sample = self.content(index, header, payload, arrival_ns, true, &mut notice);
        (notice, sample)
    }

    #[inline]
    fn came(&mut self, arrival_ns: u64) {
        if arrival_ns.saturating_sub(self.row.last_packet_unix_ns) > SILENT_NS {
            self.flows_since_ns = arrival_ns;
        }
        self.row.last_packet_unix_ns = arrival_ns;
    }

    /// Counts a packet that was seen before.
    pub(crate) fn duplicate(&mut self) {
        self.row.duplicates += 1;
    }

    pub(crate) fn damaged_stamps(&self) -> u64 {
        self.row.damaged_stamps
    }

    pub(crate) fn timestamp_jumps(&self) -> u64 {
        self.clock.jumps()
    }

    pub(crate) fn count_nacks(&mut self, numbers: u32) {
        self.row.nacks += numbers;
    }

    pub(crate) fn count_pli(&mut self) {
        self.row.plis += 1;
    }

    /// Since when it flows; `None` if it does not.
    pub(crate) fn flows_since_ns(&self, now_ns: u64) -> Option<u64> {
        let age_ns = now_ns.saturating_sub(self.row.last_packet_unix_ns);
        (age_ns <= SILENT_NS).then_some(self.flows_since_ns)
    }

    /// Whether a packet came within the last so many nanoseconds.
    pub(crate) fn came_within(&self, span_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.row.last_packet_unix_ns) <= span_ns
    }

    /// Whether a decodable frame (audio: a packet) came since the last call of this.
    pub(crate) fn take_complete(&mut self) -> bool {
        std::mem::take(&mut self.complete)
    }

    /// The video waits for a key frame.
    pub(crate) fn is_broken(&self) -> bool {
        self.id.kind == Kind::Video && self.window.started() && self.frames.broken
    }

    /// Stops waiting for all numbers up to and including `index`.
    pub(crate) fn give_up(&mut self, index: u64, count: u32, now_ns: u64) -> Notice {
        let mut notice = Notice::default();
        self.row.given_up += count;
        if self.id.kind == Kind::Video {
            let done = self.frames.skip_to(index + 1);
            self.apply(done, now_ns, &mut notice);
        }
        notice
    }

    /// Looks for a freeze that goes on; true when it has just begun.
    pub(crate) fn check_freeze(&mut self, now_ns: u64) -> bool {
        if self.frozen
            || self.last_frame_ns == 0
            || now_ns.saturating_sub(self.last_frame_ns) <= FREEZE_NS
        {
            return false;
        }
        self.frozen = true;
        self.row.freezes += 1;
        true
    }

    /// Interarrival jitter in clock units, for reports.
    pub(crate) fn jitter_ticks(&self) -> u32 {
        self.jitter.ticks()
    }

    /// Extended highest sequence number, packets expected and packets lost before repair, for reports.
    pub(crate) fn reception(&self) -> (u64, u64, u64) {
        let (expected, lost) = self.loss();
        (self.window.newest(), expected, lost)
    }

    /// All counters as of `now_ns`; `consumed` says whether the stream is still wanted.
    pub(crate) fn row(&self, now_ns: u64, consumed: bool) -> ConsumerRow {
        let mut row = self.row;
        (row.expected, row.lost) = self.loss();
        row.lost_after_repair = row.lost.saturating_sub(row.repaired);
        row.last_frame_unix_ns = self.last_frame_ns;
        row.timestamp_jumps = self.clock.jumps();
        let khz = if self.id.kind == Kind::Video { 90 } else { 48 };
        row.jitter_us = (u64::from(self.jitter.ticks()) * 1000 / khz) as u32;
        if row.stamps == 0 {
            (row.owd_min_ns, row.owd_max_ns) = (0, 0);
        }
        if consumed && self.last_frame_ns != 0 {
            let gap_ns = now_ns.saturating_sub(self.last_frame_ns);
            row.longest_gap_us = row.longest_gap_us.max(gap_ns / 1000);
            if gap_ns > FREEZE_NS {
                row.frozen_us += gap_ns / 1000;
            }
        }
        row.flags =
            u8::from(consumed) | u8::from(self.frozen) << 1 | u8::from(self.is_broken()) << 2;
        row
    }

    fn loss(&self) -> (u64, u64) {
        if !self.window.started() {
            return (0, 0);
        }
        let expected = self.window.newest() - self.base + 1;
        (expected, expected.saturating_sub(self.row.received))
    }

    /// Frames and stamp of a packet that is new, by whichever way it came.
    #[inline]
    fn content(
        &mut self,
        index: u64,
        header: &RtpHeader<'_>,
        payload: &[u8],
        arrival_ns: u64,
        by_rtx: bool,
        notice: &mut Notice,
    ) -> Option<Sample> {
        if self.id.kind == Kind::Video {
            let part = vp8::read_part(payload);
            let marks = (u8::from(header.marker) * Marks::END)
                | part.map_or(0, |part| {
                    (u8::from(part.start) * Marks::START) | (u8::from(part.key) * Marks::KEY)
                });
            let done = self.frames.packet(index, marks);
            self.apply(done, arrival_ns, notice);
            let from = part.map_or(0, |part| part.descriptor);
            let promise = if header.marker {
                match Stamp::of(payload) {
                    Ending::Intact(stamp) => {
                        let sample = self.sample(&stamp, header.timestamp, arrival_ns, by_rtx);
                        Some(Promise {
                            sample,
                            sum: stamp.sum,
                            packets: stamp.packets.into(),
                            last: index,
                        })
                    }
                    ending => {
                        self.row.damaged_stamps +=
                            u64::from(ending == Ending::Damaged || self.expects_stamps());
                        self.check.forget();
                        return None;
                    }
                }
            } else {
                None
            };
            let to = payload.len() - promise.map_or(0, |_| STAMP_LEN);
            let media = payload.get(from..to).unwrap_or_default();
            return self
                .check
                .packet(header.timestamp, index, media, promise, arrival_ns);
        } else {
            if self.row.frames == 0 {
                self.row.first_frame_unix_ns = arrival_ns;
            }
            self.row.frames += 1;
            self.flowed(arrival_ns, notice);
        }
        match Stamp::of(payload) {
            Ending::Intact(stamp) => {
                let media = &payload[..payload.len() - STAMP_LEN];
                let fine = stamp.packets == 1 && stamp.sum == crc32(media);
                let mut sample = self.sample(&stamp, header.timestamp, arrival_ns, by_rtx);
                sample.flags |= if fine { 0 } else { SAMPLE_CORRUPT };
                Some(sample)
            }
            ending => {
                let damaged = ending == Ending::Damaged
                    || self.expects_stamps() && opus::has_padding(payload, STAMP_LEN);
                self.row.damaged_stamps += u64::from(damaged);
                None
            }
        }
    }

    /// Bots of a run stamp what they send; of an unknown sender nothing is known.
    fn expects_stamps(&self) -> bool {
        self.id.sender != UNKNOWN_SENDER
    }

    fn apply(&mut self, done: Done, now_ns: u64, notice: &mut Notice) {
        self.row.undecodable_frames += u64::from(done.undecodable);
        if done.frames == 0 {
            return;
        }
        if self.row.frames == 0 {
            self.row.first_frame_unix_ns = now_ns;
            notice.first_frame = true;
        }
        self.row.frames += u64::from(done.frames);
        self.row.key_frames += u64::from(done.key_frames);
        self.flowed(now_ns, notice);
    }

    fn flowed(&mut self, now_ns: u64, notice: &mut Notice) {
        if self.last_frame_ns != 0 {
            let gap_ns = now_ns.saturating_sub(self.last_frame_ns);
            self.row.longest_gap_us = self.row.longest_gap_us.max(gap_ns / 1000);
            if gap_ns > PAUSE_NS {
                notice.paused = Some((self.last_frame_ns, now_ns));
            }
            if gap_ns > FREEZE_NS {
                self.row.freezes += u32::from(!self.frozen);
                self.row.frozen_us += gap_ns / 1000;
                notice.thawed_ns = Some(gap_ns);
            }
        }
        self.frozen = false;
        self.complete = true;
        self.last_frame_ns = self.last_frame_ns.max(now_ns);
    }

    fn sample(&mut self, stamp: &Stamp, timestamp: u32, arrival_ns: u64, by_rtx: bool) -> Sample {
        let other_kind = (stamp.flags & FLAG_VIDEO != 0) != (self.id.kind == Kind::Video);
        let foreign = self.id.sender != UNKNOWN_SENDER && self.id.sender != stamp.bot || other_kind;
        if !foreign {
            self.clock.stamp(timestamp, stamp.timestamp);
        }
        let owd_ns = arrival_ns.wrapping_sub(stamp.unix_ns).cast_signed();
        self.row.stamps += 1;
        self.row.foreign += u64::from(foreign);
        self.row.owd_min_ns = self.row.owd_min_ns.min(owd_ns);
        self.row.owd_max_ns = self.row.owd_max_ns.max(owd_ns);
        let key = stamp.flags & FLAG_KEY_FRAME != 0;
        Sample {
            recv_unix_ns: arrival_ns,
            owd_ns,
            seq: stamp.seq,
            whole_us: 0,
            receiver: self.id.bot,
            sender: stamp.bot,
            kind: self.row.kind,
            flags: u8::from(by_rtx) | u8::from(foreign) << 1 | u8::from(key) << 2,
            reserved: 0,
        }
    }
}

/// Interarrival jitter, RFC 3550 Appendix A.8: sixteenths of clock units.
#[derive(Debug, Default)]
struct Jitter {
    transit: Option<u32>,
    scaled: u32,
}

impl Jitter {
    #[inline]
    fn update(&mut self, timestamp: u32, arrival_ns: u64, clock_khz: u64) {
        let arrival = ((arrival_ns / 1000).wrapping_mul(clock_khz) / 1000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            self.scaled = self
                .scaled
                .wrapping_add(difference)
                .wrapping_sub((self.scaled + 8) >> 4);
        }
    }

    fn ticks(&self) -> u32 {
        self.scaled >> 4
    }
}

/// What is remembered of a packet that came before its predecessors.
struct Marks;

impl Marks {
    const PRESENT: u8 = 1;
    const START: u8 = 2;
    const KEY: u8 = 4;
    const END: u8 = 8;
}

/// Frames that became complete.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    frames: u16,
    key_frames: u16,
    undecodable: u16,
}

/// Puts packets in order and finds complete frames, without keeping a payload.
#[derive(Debug)]
struct FrameTracker {
    started: bool,
    /// The number everything before which is consumed or given up.
    next: u64,
    /// A frame began and has no hole so far.
    open: bool,
    open_key: bool,
    /// Nothing can be decoded before a key frame.
    broken: bool,
    /// Marks of packets ahead of `next`, by number; made at the first gap.
    ahead: Option<Box<[u8; SPAN as usize]>>,
    waiting: u16,
}

impl Default for FrameTracker {
    fn default() -> Self {
        Self {
            started: false,
            next: 0,
            open: false,
            open_key: false,
            broken: true,
            ahead: None,
            waiting: 0,
        }
    }
}

impl FrameTracker {
    #[inline]
    fn packet(&mut self, index: u64, marks: u8) -> Done {
        let mut done = Done::default();
        if !self.started {
            self.started = true;
            self.next = index;
        }
        if index == self.next {
            self.consume(marks, &mut done);
            if self.waiting > 0 {
                self.catch_up(&mut done);
            }
        } else if index > self.next {
            self.wait(index, marks, &mut done);
        }
        done
    }

    /// Stops waiting for everything before `index` that is still missing.
    fn skip_to(&mut self, index: u64) -> Done {
        let mut done = Done::default();
        while self.next < index {
            let marks = self.take(self.next);
            if marks == 0 {
                self.hole();
                self.next += 1;
            } else {
                self.consume(marks, &mut done);
            }
        }
        self.catch_up(&mut done);
        done
    }

    #[inline]
    fn consume(&mut self, marks: u8, done: &mut Done) {
        self.next += 1;
        if marks & Marks::START != 0 {
            self.open = true;
            self.open_key = marks & Marks::KEY != 0;
        }
        if marks & Marks::END == 0 {
            return;
        }
        if self.open && (self.open_key || !self.broken) {
            self.broken = false;
            done.frames += 1;
            done.key_frames += u16::from(self.open_key);
        } else {
            // Without its beginning a frame is lost, and with it all that builds on it.
            self.broken = true;
            done.undecodable += 1;
        }
        self.open = false;
    }

    fn hole(&mut self) {
        self.open = false;
        self.broken = true;
    }

    #[cold]
    fn wait(&mut self, index: u64, marks: u8, done: &mut Done) {
        if index - self.next >= SPAN {
            let skipped = self.skip_to(index - SPAN / 2);
            done.frames += skipped.frames;
            done.key_frames += skipped.key_frames;
            done.undecodable += skipped.undecodable;
        }
        let ahead = self
            .ahead
            .get_or_insert_with(|| Box::new([0; SPAN as usize]));
        let slot = &mut ahead[(index % SPAN) as usize];
        self.waiting += u16::from(*slot == 0);
        *slot = marks | Marks::PRESENT;
        if index == self.next {
            return self.catch_up(done);
        }
        // A complete key frame needs nothing before it: a decoder goes on from there.
        let Some(start) = self.whole_key_frame(index) else {
            return;
        };
        while self.next < start {
            if self.take(self.next) != 0 {
                self.broken = true;
            }
            self.next += 1;
        }
        self.hole();
        self.catch_up(done);
    }

    /// Where the key frame that `index` belongs to begins, if all of it is there.
    fn whole_key_frame(&self, index: u64) -> Option<u64> {
        let marks = |at: u64| {
            self.ahead
                .as_ref()
                .map_or(0, |ahead| ahead[(at % SPAN) as usize])
        };
        let mut start = index;
        while marks(start) & Marks::START == 0 {
            if start <= self.next
                || marks(start) == 0
                || (start != index && marks(start) & Marks::END != 0)
            {
                return None;
            }
            start -= 1;
        }
        if marks(start) & Marks::KEY == 0 {
            return None;
        }
        let mut end = index;
        while marks(end) & Marks::END == 0 {
            end += 1;
            if marks(end) == 0 || marks(end) & Marks::START != 0 || end - start >= SPAN {
                return None;
            }
        }
        Some(start)
    }

    fn catch_up(&mut self, done: &mut Done) {
        while self.waiting > 0 {
            let marks = self.take(self.next);
            if marks == 0 {
                return;
            }
            self.consume(marks, done);
        }
    }

    fn take(&mut self, index: u64) -> u8 {
        let Some(ahead) = &mut self.ahead else {
            return 0;
        };
        let marks = std::mem::take(&mut ahead[(index % SPAN) as usize]);
        self.waiting -= u16::from(marks != 0);
        marks
    }
}

#[cfg(test)]
mod tests;
