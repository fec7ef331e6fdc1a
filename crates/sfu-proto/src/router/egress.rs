//! Outgoing packets: pending lists become trains of encrypted datagrams, one destination after the other.
//!
//! # Job
//! Steps 11 to 13 of docs/packet-path.md: sort by size, write the header, encrypt from the shared plaintext into the
//! sink; also answers NACKs. `consumer` and `rtx` decide what is sent.
//!
//! # Invariants
//! - Datagrams to one destination leave largest first; packets of one stream leave in the order of arrival.
//! - Transport-wide sequence numbers are assigned in sending order, to packets that carry the extension.
//! - One SRTP index protects one packet only; a retransmission under the same index has the same bytes.
//!
//! # Cost
//! Per packet one header copy and one encryption. No allocation.
//!
//! RFC 3550 §5.1 (padding), RFC 4588 §4.

use std::cmp::Ordering;
use std::time::Instant;

use super::Router;
use super::clock::Micros;
use super::config::TransportKey;
use super::consumer::Consumer;
use super::event::RouterEvent;
use super::ingest::send_time;
use super::passthrough::PassthroughExtensions;
use super::ring::{HEADROOM, KINDS, Slot};
use super::stream::{StreamRx, VIDEO_SLOTS};
use super::template::MAX_HEADER;
use super::transport::{Item, MAX_PENDING, Transport};
use crate::net::Sink;
use crate::pacer::Pacer;

/// Longest RTP padding added to make sizes equal.
const MAX_PAD: u16 = 64;
/// Retransmissions allowed per transport between two of its reports (1 to 1.5 s), beyond what was sent.
const MAX_RESENT: u32 = 4096;

impl Router {
    /// Sends all pending packets, in trains per destination.
    pub fn flush<S: Sink>(&mut self, now: Instant, sink: &mut S) {
        if self.pending == 0 {
            self.batch.clear();
            return;
        }
        let at = self.clock.micros(now);
        if self.padded_transports > 0 {
            self.pad_batch();
        }
        self.flush_id = self.flush_id.wrapping_add(1);
        let time = send_time(self.clock.wall(at));
        let mut kept = 0;
        for position in 0..self.dirty.len() {
            let t = self.dirty[position];
            self.prefetch_for_flush(position, sink);
            if self.flush_transport(t, time, at, sink) {
                self.dirty[kept] = t;
                kept += 1;
            }
        }
        self.dirty.truncate(kept);
    }

    /// Returns the number of packets pending for the next `flush`.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Sends the pending packets of one transport. Returns whether some are left for the next flush.
    fn flush_transport<S: Sink>(
        &mut self,
        t: u32,
        time: [u8; 3],
        now: Micros,
        sink: &mut S,
    ) -> bool {
        let ages = self.prepare(t, now);
        let clock = self.clock;
        let Some(transport) = self.transports.get_mut(t) else {
            return false;
        };
        let (Some(tx), Some(to)) = (&transport.tx, &transport.destination) else {
            self.pending -= transport.pending.len();
            transport.pending.clear();
            return false;
        };
        for (kind, age) in ages.into_iter().enumerate() {
            if age > 0 {
                let arrived = (now + 1).saturating_sub(age.into());
                sink.mark_arrival(to, kind, clock.instant(arrived));
            }
        }
        let overhead = tx.profile().rtp_overhead();
        let (mut sent, mut bytes, mut padding, mut done) = (0, 0, 0, 0);
        for item in &transport.pending {
            if !transport.pacer.may_send(usize::from(item.size) + overhead) {
                break;
            }
            done += 1;
            let stream = &self.streams[item.stream];
            let Some(slot) = stream.ring.get_low(item.index) else {
                continue;
            };
            let consumer = &mut self.consumers[item.consumer];
            let out_seq = consumer.munger.extend_low(item.out_seq);
            let pad = if transport.padding { slot.pad } else { 0 };
            let plaintext = stream.ring.payload(slot, pad);
            let out = sink.space(MAX_HEADER + plaintext.len() + overhead);
            let passthrough = passthrough_of(consumer, stream, slot);
            let mut fields = consumer.fields(slot, out_seq, passthrough);
            fields.padded |= pad > 0;
            fields.send_time = time;
            fields.transport_sequence = transport.next_sequence;
            let header_len = consumer.template.write(out, &fields);
            let len = tx.protect_rtp(out, header_len, plaintext, consumer.ssrc, out_seq);
            sink.commit(to, len);
            let numbered = u16::from(consumer.template.carries_number());
            transport.next_sequence = transport.next_sequence.wrapping_add(numbered);
            consumer.sent(slot);
            sent += 1;
            bytes += len as u64;
            padding += u64::from(pad);
        }
        sink.end_train();
        transport.count_out(sent, bytes);
        self.stats.count_out(sent, bytes);
        self.stats.padding_out += padding;
        self.pending -= done;
        // What the pacer holds back stays at the front.
        transport.pending.drain(..done);
        let (waits, reporting) = (!transport.pending.is_empty(), transport.reporting);
        let begins = sent > 0 && !std::mem::replace(&mut transport.media_started, sent > 0);
        if sent > 0 && !reporting {
            self.resume_reports(t, now);
        }
        if begins {
            let transport = TransportKey(t);
            self.events
                .push_back(RouterEvent::MediaStarted { transport });
        }
        waits
    }

    /// Lets the consumers accept or drop each pending packet, then sorts the rest by falling size; packets of one
    /// stream keep their order. Returns the age of the oldest packet of each kind in microseconds plus 1; 0 for none.
    #[inline]
    fn prepare(&mut self, t: u32, now: Micros) -> [u32; KINDS] {
        let mut ages = [0; KINDS];
        let Some(transport) = self.transports.get_mut(t) else {
            return ages;
        };
        let (mut last, mut rising) = (u16::MAX, false);
        let waiting = transport.pending.len();
        transport.pending.retain_mut(|item| {
            let stream = &self.streams[item.stream];
            let Some(slot) = stream.ring.get_low(item.index) else {
                self.stats.drops.late += 1;
                return false;
            };
            let consumer = &mut self.consumers[item.consumer];
            if item.size == 0 {
                let before = consumer.current_encoding();
                let admitted = consumer.admit(slot, stream, now);
                if consumer.current_encoding() != before {
                    self.layer_changes.push(item.consumer);
                }
                let Some(out_seq) = admitted else {
                    return false;
                };
                item.out_seq = out_seq as u32;
                if consumer.started_late(out_seq, slot, stream) {
                    let start = (item.consumer, item.stream, slot.index);
                    self.late_starts.push(start);
                }
            }
            let pad = if transport.padding {
                u16::from(slot.pad)
            } else {
                0
            };
            let mut size = consumer.template.len() as u16 + slot.len + pad;
            if consumer.sorted_in == self.flush_id {
                size = size.min(consumer.sorted_size);
            }
            (consumer.sorted_in, consumer.sorted_size) = (self.flush_id, size);
            item.size = size;
            let age = (now as u32).wrapping_sub(slot.arrived).wrapping_add(1);
            let oldest = &mut ages[slot.kind()];
            *oldest = (*oldest).max(age);
            rising |= size > last;
            last = size;
            true
        });
        self.pending -= waiting - transport.pending.len();
        if !self.layer_changes.is_empty() {
            self.report_layers();
        }
        if !self.late_starts.is_empty() {
            self.queue_after_late_start(t, now);
            rising = true;
        }
        let Some(transport) = self.transports.get_mut(t) else {
            return ages;
        };
        if rising {
            transport.pending.sort_unstable_by(by_falling_size);
        }
        ages
    }

    /// Queues packets that arrived before the late start of a key frame and were dropped without it: the rest of the
    /// key frame, and the frames after it.
    #[cold]
    fn queue_after_late_start(&mut self, t: u32, now: Micros) {
        let transport = &mut self.transports[t];
        while let Some((c, s, from)) = self.late_starts.pop() {
            let (consumer, stream) = (&mut self.consumers[c], &self.streams[s]);
            let newest = stream.newest_index().unwrap_or(from);
            let mut queued = [0u64; VIDEO_SLOTS / 64];
            let mut smallest = u16::MAX;
            for item in transport.pending.iter().filter(|item| item.consumer == c) {
                smallest = smallest.min(item.size);
                let behind = u64::from(item.index.wrapping_sub(from as u32));
                if item.stream == s && behind < VIDEO_SLOTS as u64 {
                    queued[behind as usize / 64] |= 1 << (behind % 64);
                }
            }
            for index in from + 1..=newest.min(from + VIDEO_SLOTS as u64 - 1) {
                let behind = index - from;
                let waits = queued[behind as usize / 64] & 1 << (behind % 64) != 0;
                let Some(slot) = stream.ring.get(index).filter(|_| !waits) else {
                    continue;
                };
                let full = transport.pending.len() >= MAX_PENDING;
                let Some(out_seq) = consumer.admit(slot, stream, now).filter(|_| !full) else {
                    continue;
                };
                smallest = smallest.min(consumer.template.len() as u16 + slot.len);
                transport.pending.push(Item {
                    stream: s,
                    consumer: c,
                    index: index as u32,
                    out_seq: out_seq as u32,
                    size: 0,
                });
                self.pending += 1;
            }
            // All of them get one size, so that sorting keeps the order of their numbers.
            for item in transport
                .pending
                .iter_mut()
                .filter(|item| item.consumer == c)
            {
                item.size = smallest.max(1);
            }
        }
    }

    /// Pads packets received since the last flush up to the next larger size within `MAX_PAD`, so that they share a
    /// train. Once per packet, for all destinations.
    fn pad_batch(&mut self) {
        self.batch.sort_unstable_by(|left, right| right.cmp(left));
        let mut target = 0;
        for &(len, s, index) in &self.batch {
            let missing = u16::saturating_sub(target, len);
            if missing == 0 || missing > MAX_PAD {
                target = len;
                continue;
            }
            if let Some(stream) = self.streams.get_mut(s) {
                stream.ring.pad(index, missing as u8);
            }
        }
        self.batch.clear();
    }

    /// Retransmits the packet a consumer sent under this sequence number, within the limits of `rtx`.
    pub(super) fn resend<S: Sink>(
        &mut self,
        consumer_key: u32,
        sequence: u16,
        time: [u8; 3],
        now: Micros,
        sink: &mut S,
    ) {
        let consumer = &mut self.consumers[consumer_key];
        let Some((out_seq, place)) = consumer.munger.locate(sequence) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(place.stream()) else {
            return;
        };
        let Some(slot) = stream.ring.get(place.index()).copied() else {
            return;
        };
        let transport = &mut self.transports[consumer.transport];
        let details = &mut *consumer.details;
        let Some(resends) = &mut details.resends else {
            return;
        };
        let allowed = transport.resent_in_interval < MAX_RESENT
            && resends.take(out_seq, consumer.packets, details.reported.rtt, now);
        if !allowed {
            self.stats.drops.excessive += 1;
            return;
        }
        transport.resent_in_interval += 1;
        let len = write_retransmission(transport, consumer, stream, &slot, out_seq, time, sink);
        if len > 0 {
            let numbered = u16::from(consumer.template.carries_number());
            transport.next_sequence = transport.next_sequence.wrapping_add(numbered);
            transport.count_out(1, len as u64);
            self.stats.count_out(1, len as u64);
            self.stats.retransmitted += 1;
            self.stats.counters.rtx_packets_sent += 1;
            self.stats.counters.rtx_bytes_sent += len as u64;
        }
        let t = consumer.transport;
        self.resume_reports(t, now);
    }
}

/// Writes a retransmission: by RTX if negotiated, else the same packet again. Returns its length, 0 for none.
fn write_retransmission<S: Sink>(
    transport: &Transport,
    consumer: &mut Consumer,
    stream: &mut StreamRx,
    slot: &Slot,
    out_seq: u64,
    time: [u8; 3],
    sink: &mut S,
) -> usize {
    let (Some(tx), Some(to)) = (&transport.tx, &transport.destination) else {
        return 0;
    };
    let passthrough = passthrough_of(consumer, stream, slot).copied();
    let mut fields = consumer.fields(slot, out_seq, passthrough.as_ref());
    fields.send_time = time;
    fields.transport_sequence = transport.next_sequence;
    let room = MAX_HEADER + usize::from(slot.len) + usize::from(slot.pad) + HEADROOM;
    let out = sink.space(room + tx.profile().rtp_overhead());
    let Some(rtx) = &mut consumer.details.rtx else {
        // The same SRTP index must protect the same bytes, padding included. Fix the padding now: a late packet may
        // still wait for its flush.
        stream.ring.fix_padding(slot.index);
        let pad = if transport.padding { slot.pad } else { 0 };
        fields.padded |= pad > 0;
        let header_len = consumer.template.write(out, &fields);
        let plaintext = stream.ring.payload(slot, pad);
        let len = tx.protect_rtp(out, header_len, plaintext, consumer.ssrc, out_seq);
        sink.commit(to, len);
        return len;
    };
    // Under RTX the header differs with each sending, so each sending takes a new index.
    let Some(payload_type) = rtx.payload_type(slot.codec) else {
        return 0;
    };
    let index = rtx.advance();
    fields.sequence = index as u16;
    fields.payload_type = payload_type;
    fields.ssrc = rtx.ssrc;
    let header_len = consumer.template.write(out, &fields);
    let plaintext = stream.ring.retransmission(slot, out_seq as u16);
    let len = tx.protect_rtp(out, header_len, plaintext, rtx.ssrc, index);
    sink.commit(to, len);
    len
}

/// Returns the passthrough extensions of a packet for a consumer that forwards them.
#[inline]
fn passthrough_of<'s>(
    consumer: &Consumer,
    stream: &'s StreamRx,
    slot: &Slot,
) -> Option<&'s PassthroughExtensions> {
    if !consumer.template.wants_passthrough() {
        return None;
    }
    stream.ring.passthrough(slot)
}

/// Larger first; within one consumer in the order of its numbers.
#[inline]
fn by_falling_size(left: &Item, right: &Item) -> Ordering {
    right
        .size
        .cmp(&left.size)
        .then(left.consumer.cmp(&right.consumer))
        .then((left.out_seq.wrapping_sub(right.out_seq) as i32).cmp(&0))
}
