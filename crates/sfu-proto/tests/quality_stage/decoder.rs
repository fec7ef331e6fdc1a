//! A model decoder: takes packets by their extended sequence number, in any order, and counts what a real decoder
//! could not decode, would show late, or was told wrongly.
//!
//! It waits at a hole as a jitter buffer does. A hole is given up only for a whole key frame behind it.

use std::collections::{BTreeMap, HashSet};

use meeshy_sfu_proto::router::Codec;

use super::Micros;
use super::encoder::{Claims, NO_REFERENCE, read};

/// How long a hole is waited for while a whole key frame stands behind it.
const PATIENCE: Micros = 100_000;
/// Timestamps may deviate from the time between two captures by this many ticks of 90 kHz: a switch places the new
/// encoding by arrival.
const TICKS: u32 = 90 * 100;

/// What went wrong. Each field counts pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Without their reference: the decoder would show rubbish, or nothing until a key frame.
    pub undecodable: u32,
    /// Complete by their numbers, but parts are missing, foreign, or in the wrong order.
    pub torn: u32,
    /// Without an end; the next picture is no key frame.
    pub open: u32,
    /// Picture ids that do not follow the one before.
    pub picture_id: u32,
    /// TL0PICIDX that does not fit the temporal layers.
    pub tl0: u32,
    /// Timestamps that repeat, go back, or do not keep to the captures.
    pub timestamp: u32,
    /// Marked as a key frame by the payload but not truly one, or the reverse.
    pub mislabelled: u32,
}

/// A picture that was shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub at: Micros,
    pub encoding: u8,
    pub temporal: u8,
    pub capture: u32,
    pub key: bool,
}

#[derive(Clone, Debug)]
struct Packet {
    timestamp: u32,
    marker: bool,
    claims: Claims,
}

/// One stream of a receiver.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    waiting: BTreeMap<u64, Packet>,
    next: Option<u64>,
    blocked_at: Option<Micros>,
    picture: Vec<Packet>,
    /// Pictures decoded since the last key frame.
    references: HashSet<(u8, u32)>,
    last: Option<(u32, u32)>,
    numbers: Option<(u16, u8)>,
    pub faults: Faults,
    /// Holes that were given up, in packets.
    pub skipped: u64,
    /// Pictures without an end before a key frame: a switch in the middle of a picture, or an encoding that stopped.
    pub cut: u32,
    pub shown: Vec<Shown>,
    /// Undecodable since the last key frame.
    pub needs_key: bool,
}

impl Decoder {
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            waiting: BTreeMap::new(),
            next: None,
            blocked_at: None,
            picture: Vec::new(),
            references: HashSet::new(),
            last: None,
            numbers: None,
            faults: Faults::default(),
            skipped: 0,
            cut: 0,
            shown: Vec::new(),
            needs_key: true,
        }
    }

    /// Takes one packet. `index` is its extended sequence number.
    pub fn insert(&mut self, index: u64, timestamp: u32, marker: bool, payload: &[u8], at: Micros) {
        if self.next.is_some_and(|next| index < next) {
            return;
        }
        let claims = read(self.codec, payload);
        let packet = Packet {
            timestamp,
            marker,
            claims,
        };
        self.waiting.insert(index, packet);
        self.advance(at);
    }

    /// Decodes what can be decoded now.
    pub fn advance(&mut self, at: Micros) {
        loop {
            let Some((&first, packet)) = self.waiting.first_key_value() else {
                self.blocked_at = None;
                return;
            };
            let next = match self.next {
                Some(next) => next,
                // A receiver starts with a key frame.
                None if packet.claims.key => first,
                None => match self.whole_key_frame(0) {
                    Some(start) => start,
                    None => return,
                },
            };
            if first == next || self.next.is_none() {
                self.waiting = self.waiting.split_off(&next);
                let packet = self.waiting.remove(&next).unwrap();
                self.next = Some(next + 1);
                self.blocked_at = None;
                self.take(packet, at);
                continue;
            }
            let since = *self.blocked_at.get_or_insert(at);
            if at < since + PATIENCE {
                return;
            }
            let Some(start) = self.whole_key_frame(next) else {
                return;
            };
            self.skipped += start - next;
            self.waiting = self.waiting.split_off(&start);
            self.next = Some(start);
            // The hole explains why these do not continue.
            self.picture.clear();
            self.numbers = None;
        }
    }

    /// Since when the decoder waits for a missing packet.
    pub fn blocked_since(&self) -> Option<Micros> {
        self.blocked_at
    }

    /// The sequence number of the first packet of the first whole key frame from `from` on.
    fn whole_key_frame(&self, from: u64) -> Option<u64> {
        let mut start: Option<(u64, u64)> = None;
        for (&index, packet) in self.waiting.range(from..) {
            start = match start {
                _ if packet.claims.key => Some((index, index)),
                Some((first, last)) if index == last + 1 => Some((first, index)),
                _ => None,
            };
            if let (Some((first, _)), true) = (start, packet.marker) {
                return Some(first);
            }
        }
        None
    }

    fn take(&mut self, packet: Packet, at: Micros) {
        let other = |first: &Packet| first.timestamp != packet.timestamp;
        if self.picture.first().is_some_and(other) {
            if packet.claims.key {
                self.cut += 1;
            } else {
                self.faults.open += 1;
                self.needs_key = true;
            }
            if let Some((id, tl0, _)) = self.picture[0].claims.numbers {
                self.numbers = Some((id, tl0));
            }
            self.picture.clear();
        }
        let ends = packet.marker;
        self.picture.push(packet);
        if ends {
            let picture = std::mem::take(&mut self.picture);
            self.decode(&picture, at);
        }
    }

    fn decode(&mut self, picture: &[Packet], at: Micros) {
        let first = &picture[0];
        let stamp = first.claims.stamp;
        self.check_timestamp(first.timestamp, stamp.capture);
        self.check_numbers(picture);
        let whole = picture.len() == usize::from(stamp.parts)
            && picture.iter().enumerate().all(|(part, packet)| {
                let own = packet.claims.stamp;
                (own.encoding, own.serial) == (stamp.encoding, stamp.serial)
                    && usize::from(own.part) == part
                    && packet.claims.starts == (part == 0)
            });
        if !whole {
            self.faults.torn += 1;
            self.needs_key = true;
            return;
        }
        if first.claims.key != stamp.is_key() {
            self.faults.mislabelled += 1;
        }
        if stamp.reference == NO_REFERENCE {
            self.references.clear();
            self.needs_key = false;
        } else if !self.references.contains(&(stamp.encoding, stamp.reference)) {
            self.faults.undecodable += 1;
            self.needs_key = true;
            return;
        }
        self.references.insert((stamp.encoding, stamp.serial));
        self.shown.push(Shown {
            at,
            encoding: stamp.encoding,
            temporal: stamp.temporal,
            capture: stamp.capture,
            key: stamp.is_key(),
        });
    }

    fn check_timestamp(&mut self, timestamp: u32, capture: u32) {
        if let Some((known, captured)) = self.last {
            let passed = timestamp.wrapping_sub(known).cast_signed();
            let expected = capture
                .wrapping_sub(captured)
                .wrapping_mul(super::TICKS_PER_PICTURE);
            let off = passed.wrapping_sub(expected.cast_signed()).unsigned_abs();
            if passed <= 0 || off > TICKS {
                self.faults.timestamp += 1;
            }
        }
        self.last = Some((timestamp, capture));
    }

    fn check_numbers(&mut self, picture: &[Packet]) {
        let Some((id, tl0, temporal)) = picture[0].claims.numbers else {
            return;
        };
        let differs = |packet: &Packet| packet.claims.numbers != picture[0].claims.numbers;
        let (mut id_breaks, mut tl0_breaks) = (picture.iter().any(differs), false);
        if let Some((last_id, last_tl0)) = self.numbers {
            id_breaks |= id != (last_id + 1) & 0x7fff;
            tl0_breaks = tl0 != last_tl0.wrapping_add(u8::from(temporal == 0));
        }
        self.faults.picture_id += u32::from(id_breaks);
        self.faults.tl0 += u32::from(tl0_breaks);
        self.numbers = Some((id, tl0));
    }

    /// Gaps between shown pictures that are freezes by W3C's definition: longer than max(3 × mean, mean + 150 ms).
    pub fn freezes(&self) -> Vec<(Micros, Micros)> {
        let mean = super::PICTURE;
        let limit = (3 * mean).max(mean + 150_000);
        let pairs = self.shown.windows(2);
        let gaps = pairs.map(|pair| (pair[0].at, pair[1].at - pair[0].at));
        gaps.filter(|(_, gap)| *gap > limit).collect()
    }

    /// Number of changes of the encoding.
    pub fn switches(&self) -> usize {
        let pairs = self.shown.windows(2);
        pairs
            .filter(|pair| pair[0].encoding != pair[1].encoding)
            .count()
    }

    pub fn encoding(&self) -> Option<u8> {
        self.shown.last().map(|shown| shown.encoding)
    }
}
