//! Transport-wide congestion control feedback: the arrival time of each packet of a transport.
//!
//! # Job
//! Parses and writes the packet. Collecting arrivals belongs to `router::transport`, estimation to `bwe`.
//!
//! # Invariants
//! - A view exists only if its chunks cover the status count and its deltas suffice for them.
//! - A written feedback covers numbers from the base on without gaps; a delta over 16 bits ends it early, and the
//!   next feedback starts with its own reference time.
//!
//! # Cost
//! Parsing and counting read each chunk once. Iterating is linear in the status count, at most 65535: a peer can
//! cause that with few bytes, so callers limit it by the packets they sent.
//!
//! # Left out
//! Version 2 of the extension (feedback on request).
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.

use std::time::Duration;

use super::header::{HEADER_LEN, RawPacket, TRANSPORT_FEEDBACK, begin, put_u32, u32_at};
use crate::error::RtcpError;

pub(super) const FORMAT: u8 = 15;
/// Bytes of both SSRCs, base, count, reference time and feedback count.
const FIXED: usize = 16;
/// Unit of a delta in microseconds.
const TICK: Duration = Duration::from_micros(250);
/// Ticks in a unit of the reference time, 64 ms.
const REFERENCE_TICKS: i64 = 256;
const MAX_RUN: u16 = 0x1fff;

/// A received feedback.
#[derive(Debug, Clone, Copy)]
pub struct TransportCc<'a> {
    /// SSRC of the reporter.
    pub sender_ssrc: u32,
    /// SSRC of any stream of the transport.
    pub media_ssrc: u32,
    /// Transport-wide sequence number of the first reported packet.
    pub base_sequence: u16,
    /// Number of packets reported, received or not.
    pub status_count: u16,
    /// Reference time in 64 ms since an epoch of the receiver; signed 24 bits, wraps.
    pub reference_time: i32,
    /// Feedback count modulo 256.
    pub feedback_count: u8,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// Status of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Transport-wide sequence number of the packet.
    pub sequence: u16,
    /// Arrival time in microseconds since the receiver's epoch; `None` if missing.
    pub at_us: Option<i64>,
}

impl<'a> TransportCc<'a> {
    pub(super) fn parse(raw: RawPacket<'a>) -> Result<Self, RtcpError> {
        let (fixed, rest) = raw
            .body
            .split_first_chunk::<FIXED>()
            .ok_or(RtcpError::Truncated)?;
        let status_count = u16::from_be_bytes([fixed[10], fixed[11]]);
        let time_and_count = u32_at(fixed, 12);
        let mut left = usize::from(status_count);
        let mut delta_bytes = 0;
        let mut chunk_bytes = 0;
        while left > 0 {
            let chunk = rest[chunk_bytes..]
                .first_chunk()
                .ok_or(RtcpError::Malformed)?;
            chunk_bytes += 2;
            let chunk = Chunk::read(*chunk);
            let covered = usize::from(chunk.len).min(left);
            delta_bytes += chunk.delta_bytes(covered).ok_or(RtcpError::Malformed)?;
            left -= covered;
        }
        Ok(Self {
            sender_ssrc: u32_at(fixed, 0),
            media_ssrc: u32_at(fixed, 4),
            base_sequence: u16::from_be_bytes([fixed[8], fixed[9]]),
            status_count,
            reference_time: time_and_count.cast_signed() >> 8,
            feedback_count: (time_and_count & 0xff) as u8,
            chunks: rest[..chunk_bytes].as_chunks().0,
            // Up to three zero bytes may follow where the sender did not set the padding bit.
            deltas: rest[chunk_bytes..]
                .get(..delta_bytes)
                .ok_or(RtcpError::Malformed)?,
        })
    }

    /// Returns how many packets are reported received and missing.
    #[must_use]
    pub fn counts(&self) -> (u32, u32) {
        let mut left = self.status_count;
        let mut received = 0;
        for chunk in self.chunks.iter().map(|bytes| Chunk::read(*bytes)) {
            let covered = chunk.len.min(left);
            received += u32::from(chunk.received(covered));
            left -= covered;
        }
        (received, u32::from(self.status_count) - received)
    }

    /// Iterates over the reported packets, in order of their numbers.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals {
            chunks: self.chunks,
            chunk: Chunk::EMPTY,
            used: 0,
            deltas: self.deltas,
            sequence: self.base_sequence,
            left: self.status_count,
            ticks: i64::from(self.reference_time) * REFERENCE_TICKS,
        }
    }
}

/// Iterator over the packets of a feedback; see [`TransportCc::arrivals`].
#[derive(Debug, Clone)]
pub struct Arrivals<'a> {
    chunks: &'a [[u8; 2]],
    chunk: Chunk,
    /// Symbols of `chunk` already returned.
    used: u16,
    deltas: &'a [u8],
    sequence: u16,
    left: u16,
    ticks: i64,
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        if self.used == self.chunk.len {
            let (chunk, rest) = self.chunks.split_first()?;
            self.chunks = rest;
            self.chunk = Chunk::read(*chunk);
            self.used = 0;
        }
        let symbol = self.chunk.symbol(self.used);
        self.used += 1;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let delta = match symbol {
            Symbol::SMALL => {
                let (delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                i64::from(*delta)
            }
            Symbol::LARGE => {
                let (delta, rest) = self.deltas.split_first_chunk::<2>()?;
                self.deltas = rest;
                i64::from(i16::from_be_bytes(*delta))
            }
            _ => {
                return Some(Arrival {
                    sequence,
                    at_us: None,
                });
            }
        };
        self.ticks += delta;
        Some(Arrival {
            sequence,
            at_us: Some(self.ticks * TICK.as_micros() as i64),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Arrivals<'_> {}

/// Status of one packet, two bits.
struct Symbol;

impl Symbol {
    const MISSING: u8 = 0;
    /// Received, delta of one unsigned byte.
    const SMALL: u8 = 1;
    /// Received, delta of two signed bytes.
    const LARGE: u8 = 2;
}

/// A chunk, unpacked: `len` symbols, all `run` if that is set, else out of `bits`.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    len: u16,
    run: Option<u8>,
    bits: u16,
}

impl Chunk {
    const EMPTY: Self = Self {
        len: 0,
        run: None,
        bits: 0,
    };

    fn read(bytes: [u8; 2]) -> Self {
        let bits = u16::from_be_bytes(bytes);
        if bits & 0x8000 == 0 {
            return Self {
                len: bits & MAX_RUN,
                run: Some((bits >> 13 & 3) as u8),
                bits,
            };
        }
        Self {
            len: if bits & 0x4000 == 0 { 14 } else { 7 },
            run: None,
            bits,
        }
    }

    fn symbol(self, at: u16) -> u8 {
        if let Some(symbol) = self.run {
            return symbol;
        }
        match self.len {
            14 => (self.bits >> (13 - at) & 1) as u8,
            _ => (self.bits >> (12 - 2 * at) & 3) as u8,
        }
    }

    /// Returns how many of its first `covered` symbols report a received packet.
    fn received(self, covered: u16) -> u16 {
        match self.run {
            Some(Symbol::MISSING) => 0,
            Some(_) => covered,
            None => (0..covered)
                .map(|at| u16::from(self.symbol(at) != Symbol::MISSING))
                .sum(),
        }
    }

    /// Returns the bytes of delta its first `covered` symbols need; `None` with a reserved symbol, or for an empty
    /// run.
    fn delta_bytes(self, covered: usize) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        if let Some(symbol) = self.run {
            return Some(delta_len(symbol)? * covered);
        }
        (0..covered as u16)
            .map(|at| delta_len(self.symbol(at)))
            .sum()
    }
}

fn delta_len(symbol: u8) -> Option<usize> {
    match symbol {
        Symbol::MISSING => Some(0),
        Symbol::SMALL => Some(1),
        Symbol::LARGE => Some(2),
        _ => None,
    }
}

/// Header values of a feedback to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback {
    /// SSRC of the reporter.
    pub sender_ssrc: u32,
    /// SSRC of any stream of the transport.
    pub media_ssrc: u32,
    /// Transport-wide sequence number of the first reported packet.
    pub base_sequence: u16,
    /// Feedback count modulo 256.
    pub feedback_count: u8,
}

/// Result of [`Feedback::write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the packet.
    pub len: usize,
    /// Packets reported; the next feedback starts that far from the base.
    pub taken: u16,
}

impl Feedback {
    /// Writes the arrivals of packets numbered from the base on: the time since any epoch, `None` for a missing one.
    ///
    /// Writes as many as fit into `out` and as the format can express. `None` if none of those arrived, or if `out`
    /// has no room.
    pub fn write(
        &self,
        arrivals: impl IntoIterator<Item = Option<Duration>>,
        out: &mut [u8],
    ) -> Option<Written> {
        let mut encoder = Encoder::new(out);
        for at in arrivals {
            if !encoder.add(at) {
                break;
            }
        }
        let taken = encoder.count;
        let reference = encoder.reference?;
        let len = encoder.finish();
        let padding = (len.next_multiple_of(4) - len) as u8;
        let len = len.next_multiple_of(4);
        let body = begin(out, len, FORMAT, TRANSPORT_FEEDBACK)?;
        put_u32(body, 0, self.sender_ssrc);
        put_u32(body, 4, self.media_ssrc);
        body[8..10].copy_from_slice(&self.base_sequence.to_be_bytes());
        body[10..12].copy_from_slice(&taken.to_be_bytes());
        put_u32(
            body,
            12,
            (reference as u32) << 8 | u32::from(self.feedback_count),
        );
        if padding > 0 {
            out[len - usize::from(padding)..len].fill(0);
            out[len - 1] = padding;
            out[0] |= 0x20;
        }
        Some(Written { len, taken })
    }
}

/// Collects symbols into chunks from the front of the buffer, and deltas, reversed, from its end.
struct Encoder<'b> {
    out: &'b mut [u8],
    chunks_end: usize,
    deltas_start: usize,
    /// Status symbols not yet in a chunk; beyond 14 only a run of one symbol can be pending.
    pending: [u8; 14],
    pending_len: u16,
    count: u16,
    /// In 64 ms; of the first packet received.
    reference: Option<i64>,
    ticks: i64,
}

impl<'b> Encoder<'b> {
    fn new(out: &'b mut [u8]) -> Self {
        // Whole words only, so that padding never lacks room.
        let end = out.len() / 4 * 4;
        Self {
            out,
            chunks_end: HEADER_LEN + FIXED,
            deltas_start: end,
            pending: [0; 14],
            pending_len: 0,
            count: 0,
            reference: None,
            ticks: 0,
        }
    }

    /// Adds one packet; returns false, and changes nothing, if it cannot be expressed any more.
    fn add(&mut self, at: Option<Duration>) -> bool {
        // Adding may flush one chunk, and one is pending at the end.
        if self.count == u16::MAX || self.chunks_end + 4 + 2 > self.deltas_start {
            return false;
        }
        let symbol = match at {
            None => Symbol::MISSING,
            Some(at) => {
                let ticks = (at.as_nanos() / TICK.as_nanos()) as i64;
                let reference = self.reference.unwrap_or(ticks / REFERENCE_TICKS);
                let before = if self.reference.is_none() {
                    reference * REFERENCE_TICKS
                } else {
                    self.ticks
                };
                let Ok(delta) = i16::try_from(ticks - before) else {
                    return false;
                };
                self.reference = Some(reference);
                self.ticks = ticks;
                self.push_delta(delta)
            }
        };
        if !self.takes(symbol) {
            self.flush_full();
        }
        if self.pending_len < 14 {
            self.pending[usize::from(self.pending_len)] = symbol;
        }
        self.pending_len += 1;
        self.count += 1;
        true
    }

    fn push_delta(&mut self, delta: i16) -> u8 {
        if let Ok(small) = u8::try_from(delta) {
            self.deltas_start -= 1;
            self.out[self.deltas_start] = small;
            return Symbol::SMALL;
        }
        let [high, low] = delta.to_be_bytes();
        self.deltas_start -= 2;
        self.out[self.deltas_start..self.deltas_start + 2].copy_from_slice(&[low, high]);
        Symbol::LARGE
    }

    fn known(&self) -> &[u8] {
        &self.pending[..usize::from(self.pending_len.min(14))]
    }

    fn is_run(&self) -> bool {
        self.known().iter().all(|symbol| *symbol == self.pending[0])
    }

    fn has_large(&self) -> bool {
        self.known().contains(&Symbol::LARGE)
    }

    /// Returns whether the pending symbols and one more still make one chunk.
    fn takes(&self, symbol: u8) -> bool {
        let one_bit = self.pending_len < 14 && symbol != Symbol::LARGE && !self.has_large();
        let run = self.pending_len < MAX_RUN && self.is_run() && self.pending[0] == symbol;
        self.pending_len < 7 || one_bit || run
    }

    /// Writes one chunk of at least seven pending symbols; symbols it does not hold stay pending.
    fn flush_full(&mut self) {
        if self.is_run() {
            self.put_run();
        } else if self.pending_len == 14 && !self.has_large() {
            self.put_one_bit();
        } else {
            self.put_two_bit(7);
        }
    }

    fn put_run(&mut self) {
        self.put_chunk(u16::from(self.pending[0]) << 13 | self.pending_len);
        self.pending_len = 0;
    }

    fn put_one_bit(&mut self) {
        let len = self.pending_len;
        let bits = self
            .known()
            .iter()
            .fold(0, |bits, symbol| bits << 1 | u16::from(*symbol));
        self.put_chunk(0x8000 | bits << (14 - len));
        self.pending_len = 0;
    }

    fn put_two_bit(&mut self, len: u16) {
        let taken = usize::from(len);
        let bits = self.pending[..taken]
            .iter()
            .fold(0, |bits, symbol| bits << 2 | u16::from(*symbol));
        self.put_chunk(0xc000 | bits << (2 * (7 - len)));
        self.pending.copy_within(taken.., 0);
        self.pending_len -= len;
    }

    fn put_chunk(&mut self, chunk: u16) {
        self.out[self.chunks_end..self.chunks_end + 2].copy_from_slice(&chunk.to_be_bytes());
        self.chunks_end += 2;
    }

    /// Writes the last chunk, moves the deltas behind it and returns the length so far.
    fn finish(mut self) -> usize {
        match self.pending_len {
            0 => {}
            _ if self.is_run() => self.put_run(),
            len @ 1..=7 => self.put_two_bit(len),
            _ => self.put_one_bit(),
        }
        let end = self.out.len() / 4 * 4;
        self.out[self.deltas_start..end].reverse();
        self.out
            .copy_within(self.deltas_start..end, self.chunks_end);
        self.chunks_end + end - self.deltas_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Packet, packets};
    use proptest::prelude::*;

    const FEEDBACK: Feedback = Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence: 65_534,
        feedback_count: 7,
    };

    fn ticks(ticks: u64) -> Option<Duration> {
        Some(TICK * u32::try_from(ticks).unwrap())
    }

    fn read(bytes: &[u8]) -> TransportCc<'_> {
        match packets(bytes).next() {
            Some(Ok(Packet::TransportCc(feedback))) => feedback,
            other => panic!("a feedback, not {other:?}"),
        }
    }

    fn arrivals_in_ticks(feedback: TransportCc<'_>) -> Vec<Option<i64>> {
        feedback
            .arrivals()
            .map(|arrival| arrival.at_us.map(|us| us / 250))
            .collect()
    }

    #[test]
    fn a_feedback_has_the_bytes_of_the_draft() {
        let mut out = [0xff; 64];
        // Reference 2 (512 ticks); deltas 1, –, 255, 256 (large), −1 (large).
        let sent = [ticks(513), None, ticks(768), ticks(1024), ticks(1023)];
        let written = FEEDBACK.write(sent, &mut out).unwrap();
        assert_eq!(written.taken, 5);
        #[rustfmt::skip]
        let expected = [
            0xaf, 205, 0, 6,
            0, 0, 0, 1, 0, 0, 0, 2,
            0xff, 0xfe, 0, 5, 0, 0, 2, 7,
            0b1101_0001, 0b1010_0000, 1, 255, 1, 0, 0xff, 0xff,
        ];
        // 28 bytes make seven words, so nothing is padded here.
        assert_eq!(out[1..written.len], expected[1..]);
        assert_eq!(out[0], 0x8f);
        let feedback = read(&out[..written.len]);
        assert_eq!(
            (
                feedback.base_sequence,
                feedback.feedback_count,
                feedback.reference_time
            ),
            (65_534, 7, 2)
        );
        let numbers: Vec<u16> = feedback
            .arrivals()
            .map(|arrival| arrival.sequence)
            .collect();
        assert_eq!(numbers, [65_534, 65_535, 0, 1, 2]);
        assert_eq!(
            arrivals_in_ticks(feedback),
            [Some(513), None, Some(768), Some(1024), Some(1023)]
        );
    }

    #[test]
    fn a_feedback_counts_what_came_and_what_is_missing() {
        let mut out = [0; 200];
        // A run of 20 that came, a vector of single bits, a vector of pairs with a large delta.
        let mut sent: Vec<Option<Duration>> = (0..20).map(ticks).collect();
        sent.extend((20..34).map(|at| (at % 3 != 0).then_some(TICK * at)));
        sent.extend([None, ticks(1000), ticks(900), None]);
        let came = sent.iter().flatten().count() as u32;
        let missing = sent.len() as u32 - came;
        let written = FEEDBACK.write(sent, &mut out).unwrap();
        let feedback = read(&out[..written.len]);
        assert_eq!((came, missing), (31, 7));
        assert_eq!(feedback.counts(), (31, 7));
        let mut arrivals = feedback.arrivals();
        assert_eq!(arrivals.len(), 38);
        arrivals.next();
        assert_eq!(arrivals.len(), 37);
        // What a chunk says beyond the packets reported counts for nothing.
        let mut sent = vec![ticks(0), ticks(1000), ticks(900)];
        sent.extend([None, None, None, ticks(901), ticks(902), None]);
        let written = FEEDBACK.write(sent, &mut out).unwrap();
        out[23] |= 1;
        assert_eq!(read(&out[..written.len]).counts(), (5, 4));
    }

    #[test]
    fn fourteen_packets_without_a_large_delta_share_one_chunk() {
        let mut out = [0; 64];
        let mut sent: Vec<Option<Duration>> = (0..14)
            .map(|at| (at % 2 == 0).then_some(TICK * at))
            .collect();
        sent.push(ticks(1000));
        let written = FEEDBACK.write(sent, &mut out).unwrap();
        // One bit each for the first 14, then a run of one; seven small deltas and a large one.
        assert_eq!(out[20..24], [0b1010_1010, 0b1010_1010, 0x40, 0x01]);
        assert_eq!(out[24..33], [0, 2, 2, 2, 2, 2, 2, 0x03, 0xdc]);
        assert_eq!((written.len, written.taken), (36, 15));
    }

    #[test]
    fn padding_is_announced_and_unannounced_padding_understood() {
        let mut out = [0; 64];
        let written = FEEDBACK.write([ticks(0)], &mut out).unwrap();
        assert_eq!((written.len, out[0], out[written.len - 1]), (24, 0xaf, 1));
        assert_eq!(arrivals_in_ticks(read(&out[..24])), [Some(0)]);
        out[0] = 0x8f;
        out[23] = 0;
        assert_eq!(arrivals_in_ticks(read(&out[..24])), [Some(0)]);
    }

    #[test]
    fn long_runs_take_one_chunk() {
        let mut out = [0; 32];
        let mut sent = vec![None; 8000];
        sent.push(ticks(5));
        let written = FEEDBACK.write(sent, &mut out).unwrap();
        // Header and fixed part 20, a run of missing, a vector with the last, one delta.
        assert_eq!((written.len, written.taken), (28, 8001));
        assert_eq!(out[20..24], [0x1f, 0x40, 0x20, 0x01]);
    }

    #[test]
    fn a_gap_that_deltas_cannot_express_starts_another_feedback() {
        let mut out = [0; 64];
        let sent = [
            ticks(0),
            ticks(32_767),
            ticks(32_767 + 32_768),
            ticks(70_000),
        ];
        let first = FEEDBACK.write(sent, &mut out).unwrap();
        assert_eq!(first.taken, 2);
        let rest = FEEDBACK.write(sent[2..].iter().copied(), &mut out).unwrap();
        assert_eq!(
            arrivals_in_ticks(read(&out[..rest.len])),
            [Some(65_535), Some(70_000)]
        );
    }

    #[test]
    fn nothing_received_is_not_reported() {
        assert_eq!(FEEDBACK.write([None, None], &mut [0; 64]), None);
        assert_eq!(FEEDBACK.write([], &mut [0; 64]), None);
        assert_eq!(FEEDBACK.write([ticks(1)], &mut [0; 20]), None);
        assert_eq!(FEEDBACK.write([ticks(1)], &mut []), None);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut out = [0; 64];
        let len = FEEDBACK
            .write([ticks(0), ticks(1), ticks(2), ticks(3)], &mut out)
            .unwrap()
            .len;
        for (at, value, what) in [
            (14, 0xff, "more packets than the chunks cover"),
            (20, 0x60, "a reserved symbol in a run"),
            (21, 0x00, "an empty run"),
        ] {
            let mut bad = out;
            bad[at] = value;
            assert!(
                matches!(packets(&bad[..len]).next(), Some(Err(RtcpError::Malformed))),
                "{what}"
            );
        }
        let mut bad = out;
        bad[20..22].copy_from_slice(&[0x40, 0x04]);
        assert!(
            matches!(packets(&bad[..len]).next(), Some(Err(RtcpError::Malformed))),
            "too few deltas"
        );
        bad[20..22].copy_from_slice(&[0xff, 0xff]);
        assert!(
            matches!(packets(&bad[..len]).next(), Some(Err(RtcpError::Malformed))),
            "reserved in a vector"
        );
    }

    fn pattern() -> impl Strategy<Value = Vec<Option<i64>>> {
        // Stretches of one kind, so that runs, one-bit and two-bit vectors all occur and meet.
        let stretch = prop_oneof![
            (1usize..60).prop_map(|len| vec![None; len]),
            proptest::collection::vec((0i64..256).prop_map(Some), 1..60),
            proptest::collection::vec((-400i64..1000).prop_map(Some), 1..20),
            proptest::collection::vec(proptest::option::of(0i64..40), 1..40),
            proptest::collection::vec(proptest::option::of(-33_000i64..33_000), 1..10),
        ];
        proptest::collection::vec(stretch, 1..12).prop_map(|stretches| stretches.concat())
    }

    proptest! {
        #[test]
        fn every_written_arrival_is_parsed_again(
            start in 0u64..100_000,
            deltas in pattern(),
            room in 0usize..400,
        ) {
            let mut now = start;
            let sent: Vec<Option<u64>> = deltas
                .iter()
                .map(|delta| delta.map(|delta| { now = now.saturating_add_signed(delta); now }))
                .collect();
            let mut out = vec![0; room];
            let arrivals = sent.iter().map(|at| at.and_then(ticks));
            if let Some(written) = FEEDBACK.write(arrivals, &mut out) {
                prop_assert!(written.len <= room && written.len % 4 == 0);
                let taken = usize::from(written.taken);
                let expected: Vec<Option<i64>> =
                    sent[..taken].iter().map(|at| at.map(u64::cast_signed)).collect();
                prop_assert_eq!(arrivals_in_ticks(read(&out[..written.len])), expected);
                let full = written.len + 8 > room;
                let jump = deltas.get(taken).is_none_or(|delta| delta.is_some());
                prop_assert!(full || jump, "stopped without a reason");
            }
        }
    }
}
