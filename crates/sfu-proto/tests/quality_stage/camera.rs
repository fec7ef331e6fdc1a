//! A simulcast sender as Chromium's: a ladder of three encodings, each with numbers and a clock of its own.
//!
//! - `mid` and `rid` are written until RTCP first acknowledges the SSRC.
//! - A higher encoding starts later, when there is bandwidth for it; one that starts or returns begins with a key
//!   frame. One that stops says nothing.
//! - A PLI or FIR on any SSRC makes all encodings key, at most once in 300 ms.
//! - Packets of the encodings are interleaved, as a pacer sends them.

use std::collections::{HashMap, VecDeque};

use meeshy_sfu_proto::router::Codec;
use meeshy_sfu_proto::rtcp::{Packet as Rtcp, SenderInfo, bye, packets};

use super::encoder::Encoder;
use super::{Micros, PICTURE, TICKS_PER_PICTURE};
use crate::router_call::{Packet, Peer, written};
use crate::seeded::Random;

const PAYLOAD_TYPE: u8 = 96;
const RTX_PAYLOAD_TYPE: u8 = 97;
const MID_ID: u8 = 4;
const TWCC_ID: u8 = 3;
const RID_ID: u8 = 10;
const REPAIRED_ID: u8 = 11;
/// Packets kept for retransmission.
const HISTORY: usize = 600;
/// Between two key frames on request.
const KEY_SPACING: Micros = 300_000;
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// One encoding.
#[derive(Debug)]
pub struct Encoding {
    pub ssrc: u32,
    encoder: Encoder,
    sequence: u16,
    rtx_sequence: u16,
    timestamp_offset: u32,
    pub on: bool,
    kbps: u64,
    begins: bool,
    pub acknowledged: bool,
    rtx_acknowledged: bool,
    packets: u32,
    octets: u32,
    history: VecDeque<Packet>,
}

/// The sender.
pub struct Camera {
    pub peer: Peer,
    pub encodings: Vec<Encoding>,
    random: Random,
    capture: u32,
    wide: u16,
    key_at: Option<Micros>,
    keyed_at: Option<Micros>,
    /// When PLIs and FIRs came, and for which encoding.
    pub asked: Vec<(Micros, u8)>,
    pub key_frames: u32,
}

impl Camera {
    pub fn new(peer: Peer, codec: Codec, ladder: &[u64], seed: u64) -> Self {
        let mut random = Random::new(seed);
        let encodings = ladder.iter().enumerate().map(|(position, kbps)| Encoding {
            ssrc: 1000 + 10 * position as u32,
            encoder: Encoder::new(
                codec,
                position as u8,
                random.next() as u16,
                random.next() as u8,
            ),
            sequence: random.between(0, 1 << 15) as u16,
            rtx_sequence: random.between(0, 1 << 15) as u16,
            timestamp_offset: random.next() as u32,
            on: position == 0,
            kbps: *kbps,
            begins: true,
            acknowledged: false,
            rtx_acknowledged: false,
            packets: 0,
            octets: 0,
            history: VecDeque::new(),
        });
        Self {
            peer,
            encodings: encodings.collect(),
            random,
            capture: 0,
            wide: 0,
            key_at: None,
            keyed_at: None,
            asked: Vec::new(),
            key_frames: 0,
        }
    }

    /// Starts an encoding again, or stops it.
    pub fn set_on(&mut self, encoding: usize, on: bool) {
        let encoding = &mut self.encodings[encoding];
        encoding.begins |= on && !encoding.on;
        encoding.on = on;
    }

    /// A BYE for an encoding.
    pub fn bye(&mut self, encoding: usize) -> Vec<u8> {
        let ssrc = self.encodings[encoding].ssrc;
        let plain = written(|out| bye::write(&[ssrc], out));
        self.peer.protect_rtcp(&plain)
    }

    /// Captures and encodes one picture. Returns the datagrams and when they leave.
    pub fn capture(&mut self, now: Micros) -> Vec<(Micros, Vec<u8>)> {
        let mut all_key = self.capture == 0;
        if self.key_at.is_some_and(|at| at <= now) {
            self.key_at = None;
            self.keyed_at = Some(now);
            all_key = true;
        }
        let ticks = self.capture.wrapping_mul(TICKS_PER_PICTURE);
        let mut leaving: Vec<(Micros, usize, Packet)> = Vec::new();
        for (position, encoding) in self.encodings.iter_mut().enumerate() {
            if !encoding.on {
                continue;
            }
            let key = all_key || std::mem::take(&mut encoding.begins);
            self.key_frames += u32::from(key);
            let mean = encoding.kbps * PICTURE / 8000;
            let mut size = self.random.between(mean / 2, mean * 3 / 2);
            if key {
                size = mean * 4;
            }
            let parts = encoding
                .encoder
                .encode(self.capture, ticks, key, size as usize);
            let encoded = 4000 + self.random.between(0, 6000);
            let spacing = PICTURE * 7 / 10 / parts.len() as u64;
            for (part, made) in parts.into_iter().enumerate() {
                let at = now + encoded + spacing.min(1500) * part as u64;
                leaving.push((at, position, encoding.packet(position, made)));
            }
        }
        self.capture += 1;
        leaving.sort_by_key(|(at, position, packet)| (*at, *position, packet.sequence));
        leaving
            .into_iter()
            .map(|(at, _, packet)| (at, self.seal(packet)))
            .collect()
    }

    fn seal(&mut self, mut packet: Packet) -> Vec<u8> {
        packet
            .extensions
            .push((TWCC_ID, self.wide.to_be_bytes().to_vec()));
        self.wide = self.wide.wrapping_add(1);
        self.peer.protect(&packet)
    }

    /// A sender report for each encoding that has sent.
    pub fn reports(&mut self, now: Micros) -> Vec<Vec<u8>> {
        let since_1970 = crate::router_call::EPOCH + std::time::Duration::from_micros(now);
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        let ntp = (since_1970.as_secs() + NTP_TO_UNIX) << 32 | fraction;
        let ticks = (now * 90 / 1000) as u32;
        let mut out = Vec::new();
        for encoding in self.encodings.iter().filter(|one| one.packets > 0) {
            let info = SenderInfo {
                ssrc: encoding.ssrc,
                ntp,
                rtp_timestamp: ticks.wrapping_add(encoding.timestamp_offset),
                packet_count: encoding.packets,
                octet_count: encoding.octets,
            };
            let plain = written(|out| info.write(&[], out));
            out.push(self.peer.protect_rtcp(&plain));
        }
        out
    }

    /// Takes one RTCP datagram. Returns retransmissions to send now.
    pub fn feedback(&mut self, datagram: &[u8], now: Micros) -> Vec<Vec<u8>> {
        let compound = self.peer.open_rtcp(datagram);
        let mut resent = Vec::new();
        for packet in packets(&compound) {
            match packet.expect("well-formed") {
                Rtcp::Pli(pli) => self.ask(pli.media_ssrc, now),
                Rtcp::Fir(fir) => {
                    let entries: Vec<u32> = fir.entries().map(|entry| entry.ssrc).collect();
                    for ssrc in entries {
                        self.ask(ssrc, now);
                    }
                }
                Rtcp::Nack(nack) => {
                    for sequence in nack.sequences() {
                        resent.extend(self.retransmission(nack.media_ssrc, sequence));
                    }
                }
                Rtcp::ReceiverReport(report) => {
                    let reported: HashMap<u32, ()> =
                        report.reports().map(|block| (block.ssrc, ())).collect();
                    for encoding in &mut self.encodings {
                        encoding.acknowledged |= reported.contains_key(&encoding.ssrc);
                        encoding.rtx_acknowledged |= reported.contains_key(&(encoding.ssrc + 1));
                    }
                }
                _ => {}
            }
        }
        resent
    }

    fn ask(&mut self, ssrc: u32, now: Micros) {
        let Some(position) = self.encodings.iter().position(|one| one.ssrc == ssrc) else {
            panic!("a key frame of the unknown SSRC {ssrc} was asked for");
        };
        self.asked.push((now, position as u8));
        let earliest = self.keyed_at.map_or(now, |at| at + KEY_SPACING);
        // The encoder takes its time.
        let at = now.max(earliest) + self.random.between(5000, 40_000);
        self.key_at.get_or_insert(at);
    }

    fn retransmission(&mut self, ssrc: u32, sequence: u16) -> Option<Vec<u8>> {
        let (position, encoding) = {
            let mut all = self.encodings.iter_mut().enumerate();
            all.find(|(_, one)| one.ssrc == ssrc)?
        };
        let known = |packet: &&Packet| packet.sequence == sequence;
        let mut packet = encoding.history.iter().find(known)?.clone();
        packet.ssrc = ssrc + 1;
        packet.payload_type = RTX_PAYLOAD_TYPE;
        packet.sequence = encoding.rtx_sequence;
        encoding.rtx_sequence = encoding.rtx_sequence.wrapping_add(1);
        packet.payload.splice(0..0, sequence.to_be_bytes());
        packet.extensions.clear();
        if !encoding.rtx_acknowledged {
            packet.extensions = vec![
                (MID_ID, b"v".to_vec()),
                (REPAIRED_ID, format!("r{position}").into_bytes()),
            ];
        }
        Some(self.seal(packet))
    }
}

impl Encoding {
    fn packet(&mut self, position: usize, part: super::encoder::Part) -> Packet {
        let mut packet = Packet {
            ssrc: self.ssrc,
            payload_type: PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp: part.ticks.wrapping_add(self.timestamp_offset),
            marker: part.marker,
            payload: part.payload,
            ..Packet::default()
        };
        if !self.acknowledged {
            packet.extensions = vec![
                (MID_ID, b"v".to_vec()),
                (RID_ID, format!("r{position}").into_bytes()),
            ];
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets += packet.payload.len() as u32;
        self.history.push_back(packet.clone());
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        packet
    }
}
