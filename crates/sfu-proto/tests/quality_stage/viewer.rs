//! A receiver: decrypts, repairs by RTX, decodes, and sends NACK, PLI, receiver reports and transport-wide feedback.

use std::collections::BTreeMap;
use std::time::Duration;

use meeshy_sfu_proto::router::{Codec, ConsumerKey};
use meeshy_sfu_proto::rtcp::twcc::Feedback;
use meeshy_sfu_proto::rtcp::{Packet as Rtcp, Pli, ReportBlock, nack, packets, rr};
use meeshy_sfu_proto::rtp::seq;

use super::Micros;
use super::decoder::Decoder;
use super::link::Link;
use crate::router_call::{Peer, written};

pub const SSRC: u32 = 5000;
const RTX_SSRC: u32 = SSRC + 1;
/// Our own, for RTCP.
const REPORTER: u32 = 77;
const TWCC_ID: u8 = 5;
const NACK_AFTER: Micros = 10_000;
const NACK_AGAIN: Micros = 60_000;
const NACK_TRIES: u32 = 10;
/// A decoder without a picture asks for a key frame as often as this.
const PLI_AGAIN: Micros = 400_000;
/// A hole that is not repaired within this time needs a key frame, and so does a picture without its reference.
const GIVE_UP: Micros = 300_000;

/// The far end of one consumer.
pub struct Viewer {
    pub peer: Peer,
    pub consumer: ConsumerKey,
    pub decoder: Decoder,
    pub down: Link,
    pub up: Link,
    highest: Option<u64>,
    received: u64,
    first: u64,
    /// Missing packets: when first noticed, when last asked for, how often.
    missing: BTreeMap<u64, (Micros, Option<Micros>, u32)>,
    arrivals: BTreeMap<u64, Micros>,
    newest_wide: u64,
    feedback_from: u64,
    feedback_count: u8,
    feedback_at: Micros,
    reported_at: Micros,
    asked_at: Option<Micros>,
    /// Since when the decoder lacks a reference.
    without_since: Option<Micros>,
    last_sr: Option<(u32, Micros)>,
    pub plis: u32,
    pub nacks: u32,
    pub byes: u32,
}

impl Viewer {
    pub fn new(peer: Peer, consumer: ConsumerKey, codec: Codec, down: Link, up: Link) -> Self {
        Self {
            peer,
            consumer,
            decoder: Decoder::new(codec),
            down,
            up,
            highest: None,
            received: 0,
            first: 0,
            missing: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            newest_wide: 1 << 16,
            feedback_from: 0,
            feedback_count: 0,
            feedback_at: 0,
            reported_at: 0,
            asked_at: None,
            without_since: None,
            last_sr: None,
            plis: 0,
            nacks: 0,
            byes: 0,
        }
    }

    pub fn take_rtp(&mut self, datagram: &[u8], now: Micros) {
        let packet = self.peer.open(datagram);
        let wide = packet.extension(TWCC_ID).expect("a transport-wide number");
        let wide = u16::from_be_bytes(wide.try_into().unwrap());
        let wide = seq::extend_near(wide, self.newest_wide).unwrap();
        if self.arrivals.is_empty() && self.feedback_from == 0 {
            self.feedback_from = wide;
        }
        self.newest_wide = self.newest_wide.max(wide);
        self.arrivals.insert(wide, now);
        let (index, payload) = match packet.ssrc {
            SSRC => (packet.index, &packet.payload[..]),
            RTX_SSRC => {
                let original = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
                let Some(highest) = self.highest else { return };
                let index = seq::extend_near(original, highest).unwrap();
                (index, &packet.payload[2..])
            }
            other => panic!("a packet of the unknown SSRC {other}"),
        };
        match self.highest {
            None => (self.highest, self.first) = (Some(index), index),
            Some(highest) if index > highest => {
                for lost in highest + 1..index {
                    self.missing.insert(lost, (now, None, 0));
                }
                self.highest = Some(index);
            }
            Some(_) => {}
        }
        self.missing.remove(&index);
        self.received += 1;
        self.decoder
            .insert(index, packet.timestamp, packet.marker, payload, now);
    }

    pub fn take_rtcp(&mut self, datagram: &[u8], now: Micros) {
        let compound = self.peer.open_rtcp(datagram);
        for packet in packets(&compound) {
            match packet.expect("well-formed") {
                Rtcp::SenderReport(report) => {
                    self.last_sr = Some(((report.info.ntp >> 16) as u32, now));
                }
                Rtcp::Bye(_) => self.byes += 1,
                _ => {}
            }
        }
    }

    /// What the receiver has to say now, each an SRTCP datagram.
    pub fn tick(&mut self, now: Micros) -> Vec<Vec<u8>> {
        self.decoder.advance(now);
        let mut plain = Vec::new();
        plain.extend(self.request_missing(now));
        let blocked = self.decoder.blocked_since();
        let without = self.highest.is_some() && self.decoder.needs_key;
        self.without_since = without.then(|| self.without_since.unwrap_or(now));
        let waits = blocked.into_iter().chain(self.without_since).min();
        let stuck = waits.is_some_and(|since| now > since + GIVE_UP);
        if stuck && self.asked_at.is_none_or(|at| now >= at + PLI_AGAIN) {
            self.asked_at = Some(now);
            self.plis += 1;
            let pli = Pli {
                sender_ssrc: REPORTER,
                media_ssrc: SSRC,
            };
            plain.push(written(|out| pli.write(out)));
        }
        if now >= self.feedback_at + 100_000 {
            self.feedback_at = now;
            plain.extend(self.feedback());
        }
        if now >= self.reported_at + 1_000_000 {
            self.reported_at = now;
            plain.extend(self.report(now));
        }
        plain
            .iter()
            .map(|packet| self.peer.protect_rtcp(packet))
            .collect()
    }

    fn request_missing(&mut self, now: Micros) -> Option<Vec<u8>> {
        self.missing.retain(|_, (_, _, tries)| *tries < NACK_TRIES);
        let mut wanted = Vec::new();
        for (index, (seen, asked, tries)) in &mut self.missing {
            if now >= asked.map_or(*seen + NACK_AFTER, |asked| asked + NACK_AGAIN) {
                (*asked, *tries) = (Some(now), *tries + 1);
                wanted.push(*index as u16);
            }
        }
        if wanted.is_empty() {
            return None;
        }
        self.nacks += wanted.len() as u32;
        Some(written(|out| {
            Some(nack::write(REPORTER, SSRC, &wanted, out)?.len)
        }))
    }

    fn feedback(&mut self) -> Option<Vec<u8>> {
        let (&first, _) = self.arrivals.range(self.feedback_from..).next()?;
        let arrivals: Vec<_> = (first..=self.newest_wide)
            .map(|wide| {
                self.arrivals
                    .get(&wide)
                    .map(|at| Duration::from_micros(*at))
            })
            .collect();
        let feedback = Feedback {
            sender_ssrc: REPORTER,
            media_ssrc: SSRC,
            base_sequence: first as u16,
            feedback_count: self.feedback_count,
        };
        self.feedback_count = self.feedback_count.wrapping_add(1);
        let mut taken = 0;
        let plain = written(|out| {
            let done = feedback.write(arrivals.iter().copied(), out)?;
            taken = u64::from(done.taken);
            Some(done.len)
        });
        self.feedback_from = first + taken;
        self.arrivals = self.arrivals.split_off(&self.feedback_from);
        Some(plain)
    }

    fn report(&mut self, now: Micros) -> Option<Vec<u8>> {
        let highest = self.highest?;
        let expected = highest - self.first + 1;
        let (last_sr, since) = self.last_sr.map_or((0, 0), |(middle, at)| {
            (middle, ((now - at) * 65_536 / 1_000_000) as u32)
        });
        let block = ReportBlock {
            ssrc: SSRC,
            fraction_lost: 0,
            cumulative_lost: expected as i32 - self.received as i32,
            highest_sequence: highest as u32,
            jitter: 0,
            last_sr,
            delay_since_last_sr: since,
        };
        Some(written(|out| rr::write(REPORTER, &[block], out)))
    }
}
