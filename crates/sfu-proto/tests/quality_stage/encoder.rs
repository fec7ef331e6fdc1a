//! One encoding's pictures as RTP payloads. Each packet carries a stamp that says what it truly is, beside what the
//! payload's descriptor claims, so that the decoder need not believe what a router may have rewritten.
//!
//! Pictures have three temporal layers, as those of Chromium: T0, T2, T1, T2; the second T2 refers to T1, all others
//! to T0.
//!
//! RFC 7741 §4.2 (VP8), RFC 6184 §5.6 to §5.8 (H.264).

use meeshy_sfu_proto::router::Codec;

/// Payload bytes of a packet, but for the descriptor.
const PART: usize = 1000;
const STAMP: usize = 16;
/// The reference of a key frame.
pub const NO_REFERENCE: u32 = u32::MAX;

/// What a packet truly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub encoding: u8,
    /// Position in its picture, and the number of packets of the picture.
    pub part: u8,
    pub parts: u8,
    pub temporal: u8,
    /// Number of the picture within its encoding.
    pub serial: u32,
    /// The picture it refers to.
    pub reference: u32,
    /// Number of the captured picture, common to all encodings.
    pub capture: u32,
}

impl Stamp {
    fn write(&self) -> [u8; STAMP] {
        let mut out = [0; STAMP];
        out[..4].copy_from_slice(&[self.encoding, self.part, self.parts, self.temporal]);
        out[4..8].copy_from_slice(&self.serial.to_be_bytes());
        out[8..12].copy_from_slice(&self.reference.to_be_bytes());
        out[12..16].copy_from_slice(&self.capture.to_be_bytes());
        out
    }

    fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        Self {
            encoding: bytes[0],
            part: bytes[1],
            parts: bytes[2],
            temporal: bytes[3],
            serial: word(4),
            reference: word(8),
            capture: word(12),
        }
    }

    pub fn is_key(&self) -> bool {
        self.reference == NO_REFERENCE
    }
}

/// What the descriptor of a payload claims, and the stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    pub stamp: Stamp,
    /// The packet starts a picture.
    pub starts: bool,
    /// A decoder can start with the packet.
    pub key: bool,
    /// VP8: picture id, TL0PICIDX, TID.
    pub numbers: Option<(u16, u8, u8)>,
}

/// Reads a payload of `Encoder`.
pub fn read(codec: Codec, payload: &[u8]) -> Claims {
    match codec {
        Codec::Vp8 => {
            assert_eq!(payload[1], 0xe0, "the fields of the descriptor");
            let starts = payload[0] & 0x17 == 0x10;
            Claims {
                stamp: Stamp::read(&payload[7..]),
                starts,
                key: starts && payload[6] & 1 == 0,
                numbers: Some((
                    u16::from_be_bytes([payload[2] & 0x7f, payload[3]]),
                    payload[4],
                    payload[5] >> 6,
                )),
            }
        }
        Codec::H264 => {
            let (at, starts, key) = match payload[0] & 0x1f {
                // SPS and PPS, then the stamp in an SEI.
                24 => (payload.len() - STAMP, true, true),
                28 => (2, payload[1] & 0x9f == 0x81, false),
                unit => (1, unit == 1, false),
            };
            Claims {
                stamp: Stamp::read(&payload[at..]),
                starts,
                key,
                numbers: None,
            }
        }
        other => panic!("no {other:?} here"),
    }
}

/// One packet of a picture.
#[derive(Clone, Debug)]
pub struct Part {
    /// Ticks of 90 kHz since the first capture.
    pub ticks: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

/// Makes the pictures of one encoding.
#[derive(Clone, Debug)]
pub struct Encoder {
    codec: Codec,
    encoding: u8,
    /// Position in the temporal pattern.
    step: u32,
    serial: u32,
    last_t0: u32,
    last_t1: u32,
    pub picture_id: u16,
    pub tl0: u8,
}

impl Encoder {
    pub fn new(codec: Codec, encoding: u8, picture_id: u16, tl0: u8) -> Self {
        Self {
            codec,
            encoding,
            step: 0,
            serial: 0,
            last_t0: 0,
            last_t1: 0,
            picture_id: picture_id & 0x7fff,
            tl0,
        }
    }

    /// Encodes one captured picture in about `size` bytes.
    pub fn encode(&mut self, capture: u32, ticks: u32, key: bool, size: usize) -> Vec<Part> {
        if key {
            self.step = 0;
        }
        let (temporal, reference, sync) = match (key, self.step % 4) {
            (true, _) => (0, NO_REFERENCE, true),
            (_, 0) => (0, self.last_t0, false),
            (_, 1) => (2, self.last_t0, true),
            (_, 2) => (1, self.last_t0, true),
            _ => (2, self.last_t1, false),
        };
        match temporal {
            0 => {
                self.last_t0 = self.serial;
                self.tl0 = self.tl0.wrapping_add(1);
            }
            1 => self.last_t1 = self.serial,
            _ => {}
        }
        let mut parts = size.div_ceil(PART).clamp(1, 200) as u8;
        if self.codec == Codec::H264 && key {
            parts += 1;
        }
        let made = (0..parts).map(|part| {
            let stamp = Stamp {
                encoding: self.encoding,
                part,
                parts,
                temporal,
                serial: self.serial,
                reference,
                capture,
            };
            let length = (size / usize::from(parts)).max(STAMP);
            Part {
                ticks,
                marker: part + 1 == parts,
                payload: match self.codec {
                    Codec::Vp8 => self.vp8(&stamp, sync, length),
                    Codec::H264 => h264(&stamp, length),
                    other => panic!("no {other:?} here"),
                },
            }
        });
        let made = made.collect();
        self.serial += 1;
        self.step += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        made
    }

    fn vp8(&self, stamp: &Stamp, sync: bool, length: usize) -> Vec<u8> {
        let [high, low] = (0x8000 | self.picture_id).to_be_bytes();
        let starts = if stamp.part == 0 { 0x10 } else { 0 };
        let unreferenced = if stamp.temporal == 2 { 0x20 } else { 0 };
        let mut payload = vec![
            0x80 | starts | unreferenced,
            0xe0,
            high,
            low,
            self.tl0,
            stamp.temporal << 6 | u8::from(sync) << 5,
            u8::from(!stamp.is_key()),
        ];
        payload.extend(stamp.write());
        payload.resize(7 + length, 0x5a);
        payload
    }
}

fn h264(stamp: &Stamp, length: usize) -> Vec<u8> {
    let key = stamp.is_key();
    if key && stamp.part == 0 {
        let mut payload = vec![0x78, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce];
        payload.extend([0, STAMP as u8 + 1, 0x66]);
        payload.extend(stamp.write());
        return payload;
    }
    let (unit, first) = if key { (5, 1) } else { (1, 0) };
    let mut payload = if stamp.parts - first == 1 {
        vec![0x60 | unit]
    } else {
        let begins = u8::from(stamp.part == first) << 7;
        let ends = u8::from(stamp.part + 1 == stamp.parts) << 6;
        vec![0x7c, begins | ends | unit]
    };
    payload.extend(stamp.write());
    payload.resize(payload.len() + length - STAMP, 0x5a);
    payload
}
