//! One outgoing track: a producer's packets, rewritten for one receiver.
//!
//! # Job
//! Decides per packet whether it is sent and under which sequence number; holds what headers, retransmissions and
//! reports need. Queues and encryption belong to `egress`, layer choice to `layers`, numbering to `munger`.
//!
//! # Invariants
//! - Nothing is forwarded while the consumer or its producer is paused; sequence numbers continue without a gap
//!   afterwards.
//! - A video consumer starts with a key frame, also after a pause.
//!
//! # Cost
//! Three cache lines on the packet path, 350 bytes off it and, where NACKs are answered, 2 KB more. Stores no
//! packets. In a call of fifty, each of the 4,900 consumers gets a packet in about one flush window of ten, so its
//! lines are evicted in between: the number of lines is the cost.

use std::mem::offset_of;

use super::clock::Micros;
use super::config::{ConsumeError, ConsumerConfig, MediaKind};
use super::keyframe::Bucket;
use super::layers::{
    Choice, HIGHEST, LayerSelector, Layers, Liveness, Offer, OneEncoding, target_encoding,
};
use super::munger::{self, Munger};
use super::passthrough::PassthroughExtensions;
use super::producer::{MAX_CODECS, NO_PAYLOAD_TYPE, Producer};
use super::ring::{FILLER, KEY_FRAME, Slot};
use super::rtx::{Resends, RtxStream};
use super::score::{Score, Totals};
use super::stream::StreamRx;
use super::template::{Fields, MAX_MID, Template};
use crate::rtp::ExtensionMap;

/// Key frame requests accepted from one receiver: this many at once, then one every two seconds.
type RequestBucket = Bucket<3, 2_000_000>;

/// Shortest time between two updates of the score.
const MIN_SCORE_INTERVAL: Micros = 500_000;

/// The contents of the receiver's last report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) lost: i64,
    pub(crate) fraction_lost: u8,
    pub(crate) jitter: u32,
    pub(crate) rtt: Option<Micros>,
}

/// Counters of the receiver's requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) nacks: u64,
    pub(crate) nacked_packets: u64,
    pub(crate) key_frames: u64,
}

/// One outgoing track. The order of the fields follows the cache lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Consumer {
    // First line: whether a packet is sent, and under which number.
    /// Payload type by index of the producer's codec.
    pub(crate) payload_types: [u8; MAX_CODECS],
    pub(crate) transport: u32,
    /// Size of the last packet queued; keeps the packets of a stream in order when a list is sorted by size.
    pub(crate) sorted_size: u16,
    active: bool,
    needs_key: bool,
    pub(crate) munger: Munger,
    // Second line, with the end of the munger.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) details: Box<Details>,
    pub(crate) ssrc: u32,
    /// The flush that `sorted_size` belongs to.
    pub(crate) sorted_in: u32,
    pub(crate) producer: u32,
    selector: OneEncoding,
    // Third line.
    pub(crate) template: Template,
}

const LINE: usize = 64;
const _: () = {
    assert!(offset_of!(Consumer, munger) + munger::HOT == LINE);
    assert!(offset_of!(Consumer, template) == 2 * LINE);
    assert!(size_of::<Option<Consumer>>() == 3 * LINE);
};

/// State of a consumer off the packet path, for reports, requests and commands.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) rtx: Option<RtxStream>,
    pub(crate) resends: Option<Resends>,
    pub(crate) paused: bool,
    pub(crate) producer_paused: bool,
    /// Layers asked for; `None` means the highest.
    pub(crate) preferred: Option<Layers>,
    pub(crate) mid: String,
    pub(crate) cname: String,
    pub(crate) reported: Reported,
    pub(crate) requests: Requests,
    pub(crate) score: Score,
    pub(crate) fir_sequence: Option<u8>,
    scored_at: Option<Micros>,
    pli_enabled: bool,
    fir_enabled: bool,
    bucket: RequestBucket,
}

impl Consumer {
    pub(crate) fn new(
        transport: u32,
        producer_key: u32,
        producer: &Producer,
        config: &ConsumerConfig,
        first: (u16, u16),
    ) -> Result<Self, ConsumeError> {
        let mut ids = ExtensionMap::new();
        for (uri, id) in &config.header_extensions {
            if *id == 0 {
                return Err(ConsumeError::ExtensionId);
            }
            ids.insert(*id, *uri);
        }
        if config.mid.is_empty() || config.mid.len() > MAX_MID {
            return Err(ConsumeError::Mid(config.mid.clone()));
        }
        let common = Common::find(producer, config)?;
        let rtx = config
            .rtx_ssrc
            .map(|ssrc| RtxStream::new(ssrc, common.rtx_payload_types, first.1));
        // Without RTX a retransmission repeats the SRTP index, so it must repeat the header too.
        let per_send = rtx.is_some() || !common.nack;
        let audio = producer.kind == MediaKind::Audio;
        // Key frames of an unknown codec cannot be recognised: forward from the first packet on.
        let readable = producer.codecs.iter().all(|codec| codec.codec.is_some());
        let details = Details {
            rtx,
            resends: common.nack.then(Resends::new),
            paused: config.paused,
            producer_paused: producer.paused,
            preferred: None,
            mid: config.mid.clone(),
            cname: config.cname.clone(),
            reported: Reported::default(),
            requests: Requests::default(),
            score: Score::new(10),
            fir_sequence: None,
            scored_at: None,
            pli_enabled: common.pli,
            fir_enabled: common.fir,
            bucket: RequestBucket::default(),
        };
        let mut consumer = Self {
            payload_types: common.payload_types,
            transport,
            sorted_size: 0,
            active: false,
            needs_key: !audio && readable,
            munger: Munger::new(first.0),
            packets: 0,
            bytes: 0,
            details: Box::new(details),
            ssrc: config.ssrc,
            sorted_in: 0,
            producer: producer_key,
            selector: OneEncoding::new(producer.default_encoding),
            template: Template::new(&config.mid, &ids, audio, per_send),
        };
        consumer.refresh();
        Ok(consumer)
    }

    /// Updates whether media flows from both pause flags. Returns whether it starts to flow.
    pub(crate) fn refresh(&mut self) -> bool {
        let active = !self.details.paused && !self.details.producer_paused;
        let begins = active && !self.active;
        if begins {
            self.munger.desync();
        }
        self.active = active;
        begins
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Returns the encoding whose key frame the consumer waits for or needs next.
    pub(crate) fn wanted_encoding(&self) -> u8 {
        self.selector.wanted()
    }

    /// Returns the encoding that is being sent; `None` while there is none.
    #[inline]
    pub(crate) fn current_encoding(&self) -> Option<u8> {
        self.selector.current()
    }

    /// Returns the encoding that is being sent, or will be.
    pub(crate) fn sent_encoding(&self) -> u8 {
        self.selector.current().unwrap_or(self.selector.wanted())
    }

    /// Ends what is being sent if the consumer is paused. Returns whether anything was.
    pub(crate) fn stop_if_paused(&mut self) -> bool {
        !self.active && self.selector.stop()
    }

    /// Chooses among the encodings of the producer; a switch waits for a key frame. Returns whether another is wanted
    /// than before and does not flow yet.
    pub(crate) fn choose_encoding(
        &mut self,
        lives: impl Iterator<Item = Liveness> + Clone,
    ) -> bool {
        let preferred = self.details.preferred.map_or(HIGHEST, |l| l.spatial);
        let chosen = target_encoding(lives, preferred, self.wanted_encoding());
        self.selector.want(chosen) && self.selector.current() != Some(chosen)
    }

    /// Returns the extended sequence number a packet is sent under, or `None` if it is not sent.
    #[inline]
    pub(crate) fn admit(&mut self, slot: &Slot, stream: &StreamRx, now: Micros) -> Option<u64> {
        if !self.active {
            return None;
        }
        let key_frame = slot.flags & KEY_FRAME != 0;
        if self.payload_types[usize::from(slot.codec) % MAX_CODECS] == NO_PAYLOAD_TYPE {
            return None;
        }
        let offer = Offer {
            encoding: stream.encoding,
            entry: key_frame || !self.needs_key,
        };
        if self.selector.choose(offer) != Choice::Forward {
            return None;
        }
        let source = stream.source_of(slot.index);
        if !self.munger.is_synced(source) {
            // A new run starts with a packet of its own; video starts with a key frame.
            if source != stream.source || self.needs_key && !key_frame {
                return None;
            }
        } else if self.needs_key && key_frame && self.is_late_start(slot, stream) {
            return self
                .munger
                .restart_segment(slot, source, stream.clock_rate, now);
        }
        self.munger.admit(slot, source, stream.clock_rate, now)
    }

    /// Whether the packet is the late start of the key frame that was begun with: parameter sets that arrive behind
    /// their picture. Nothing decodes without them, so the picture is sent again behind them.
    #[cold]
    fn is_late_start(&self, slot: &Slot, stream: &StreamRx) -> bool {
        let first = self.munger.first_index();
        let begun = stream.ring.get(first);
        slot.index < first && begun.is_some_and(|begun| begun.timestamp == slot.timestamp)
    }

    /// Whether the packet sent as `out_seq` is a key frame that starts the segment although newer packets have arrived.
    #[inline]
    pub(crate) fn started_late(&self, out_seq: u64, slot: &Slot, stream: &StreamRx) -> bool {
        out_seq == self.munger.first()
            && slot.flags & KEY_FRAME != 0
            && stream
                .newest_index()
                .is_some_and(|newest| newest > slot.index)
    }

    /// Returns the header fields of a packet sent as `out_seq`; the caller adds the send time.
    #[inline]
    pub(crate) fn fields<'a>(
        &self,
        slot: &'a Slot,
        out_seq: u64,
        passthrough: Option<&'a PassthroughExtensions>,
    ) -> Fields<'a> {
        Fields {
            ssrc: self.ssrc,
            slot,
            passthrough,
            padded: slot.flags & FILLER != 0,
            sequence: out_seq as u16,
            timestamp: slot
                .timestamp
                .wrapping_add(self.munger.timestamp_offset(out_seq)),
            payload_type: self.payload_types[usize::from(slot.codec) % MAX_CODECS],
            send_time: [0; 3],
            transport_sequence: 0,
        }
    }

    /// Counts a packet that was sent.
    #[inline]
    pub(crate) fn sent(&mut self, slot: &Slot) {
        self.packets += 1;
        self.bytes += u64::from(slot.len);
    }

    /// Counts a PLI. Returns whether it is accepted.
    pub(crate) fn accept_pli(&mut self, now: Micros) -> bool {
        self.details.requests.key_frames += 1;
        self.details.pli_enabled && self.active && self.details.bucket.take(now)
    }

    /// Counts a FIR. Returns whether it is accepted; a repeated command number is not.
    pub(crate) fn accept_fir(&mut self, sequence: u8, now: Micros) -> bool {
        if self.details.fir_sequence.replace(sequence) == Some(sequence) {
            return false;
        }
        self.details.requests.key_frames += 1;
        self.details.fir_enabled && self.active && self.details.bucket.take(now)
    }

    /// Scores the interval that a report ends. Returns whether the score changed. Reports that follow each other too
    /// fast count as one interval, so that a receiver cannot flood its owner with score events.
    pub(crate) fn update_score(&mut self, now: Micros) -> bool {
        let details = &mut *self.details;
        if details
            .scored_at
            .is_some_and(|at| now < at + MIN_SCORE_INTERVAL)
        {
            return false;
        }
        details.scored_at = Some(now);
        let lost = details.reported.lost.max(0) as u64;
        let resent = details.resends.as_ref().map_or(0, Resends::count);
        details.score.update(Totals {
            expected: self.packets,
            received: self.packets.saturating_sub(lost),
            repaired: resent.min(lost),
        })
    }
}

/// Codecs and capabilities that producer and consumer share.
struct Common {
    payload_types: [u8; MAX_CODECS],
    rtx_payload_types: [u8; MAX_CODECS],
    nack: bool,
    pli: bool,
    fir: bool,
}

impl Common {
    fn find(producer: &Producer, config: &ConsumerConfig) -> Result<Self, ConsumeError> {
        let mut common = Self {
            payload_types: [NO_PAYLOAD_TYPE; MAX_CODECS],
            rtx_payload_types: [NO_PAYLOAD_TYPE; MAX_CODECS],
            nack: false,
            pli: false,
            fir: false,
        };
        for (position, codec) in producer.codecs.iter().enumerate().take(MAX_CODECS) {
            let wanted = codec.mapped_payload_type;
            let Some(own) = config.codecs.iter().find(|own| own.payload_type == wanted) else {
                continue;
            };
            common.payload_types[position] = own.payload_type & 0x7f;
            if let Some(rtx) = own.rtx_payload_type {
                common.rtx_payload_types[position] = rtx & 0x7f;
            }
            common.nack |= own.nack;
            common.pli |= own.pli;
            common.fir |= own.fir;
        }
        if common.payload_types == [NO_PAYLOAD_TYPE; MAX_CODECS] {
            return Err(ConsumeError::NoCommonCodec);
        }
        Ok(common)
    }
}
