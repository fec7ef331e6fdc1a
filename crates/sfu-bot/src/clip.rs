//! The media every bot plays: encoded VP8 layers and opus packets in one small file.
//!
//! # Job
//! Reads and writes the file, and makes a synthetic one for tests. Encoding real pictures belongs to the simulator's
//! Python side; playing it belongs to `sender`.
//!
//! # Format
//! All little-endian, no padding, read front to back:
//!
//! ```text
//! magic            8 bytes  "MSHYCLIP"
//! version          u16      1
//! layers           u16      number of video layers, >= 1
//! audio_packets    u32      number of opus packets, >= 1
//! frame_ticks      u32      time between video frames in 90 kHz ticks (3000 = 30 fps)
//! audio_ticks      u32      time between opus packets in 48 kHz ticks (960 = 20 ms)
//! per layer:
//!   width          u16
//!   height         u16
//!   frames         u32      number of frames, >= 1
//!   per frame:
//!     flags        u8       bit 0: key frame
//!     length       u32      bytes of the frame, >= 10 for a key frame, >= 3 otherwise, <= 250000
//!     data                  the VP8 frame (RFC 6386), without RTP descriptor
//! per opus packet:
//!   level          u8       audio level as in RFC 6464: 0 (loud) .. 127 (silence), in -dBov
//!   flags          u8       bit 0: voice activity
//!   length         u16      bytes of the packet, 1..1100
//!   data                    the opus packet (RFC 6716), code 0 or 1 (one or two equal frames)
//! crc              u32      CRC-32 (zlib.crc32) of everything before
//! ```
//!
//! # Invariants
//! - The first frame of each layer is a key frame, so a clip can be repeated.
//! - A key flag always agrees with the frame's own header bit.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::checksum::crc32;

const MAGIC: &[u8; 8] = b"MSHYCLIP";
const VERSION: u16 = 1;
/// Keeps a frame below 256 packets.
const MAX_FRAME: usize = 250_000;
/// An opus packet and a stamp fit one datagram.
const MAX_AUDIO: usize = 1100;

/// A clip in memory; shared by all bots of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Time between video frames, 90 kHz ticks.
    pub frame_ticks: u32,
    /// Time between opus packets, 48 kHz ticks.
    pub audio_ticks: u32,
    layers: Vec<Layer>,
    audio: Vec<AudioEntry>,
    quiet: Option<usize>,
    bytes: Vec<u8>,
}

/// One VP8 layer of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Picture width.
    pub width: u16,
    /// Picture height.
    pub height: u16,
    frames: Vec<FrameEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FrameEntry {
    key: bool,
    data: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AudioEntry {
    level: u8,
    voice: bool,
    data: Range<usize>,
}

/// One VP8 frame of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Decodable without any other.
    pub key: bool,
    /// VP8 data.
    pub data: &'a [u8],
}

/// One opus packet of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioPacket<'a> {
    /// 0 (loud) to 127 (silence).
    pub level: u8,
    /// Voice activity.
    pub voice: bool,
    /// Opus data.
    pub data: &'a [u8],
}

/// Why a clip cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClipError {
    /// The file could not be read.
    Io(PathBuf, io::Error),
    /// Not a clip, or of another version.
    NotAClip,
    /// It ends too early, or a length points beyond the end.
    Truncated,
    /// The checksum does not match.
    Corrupt,
    /// It breaks a rule of the format; the text says which.
    Invalid(&'static str),
}

impl fmt::Display for ClipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "clip file {}: {error}", path.display()),
            Self::NotAClip => write!(f, "not a clip of version {VERSION}"),
            Self::Truncated => write!(f, "clip ends too early"),
            Self::Corrupt => write!(f, "clip checksum does not match"),
            Self::Invalid(rule) => write!(f, "clip breaks a rule: {rule}"),
        }
    }
}

impl std::error::Error for ClipError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl Clip {
    /// Reads a clip file.
    pub fn load(path: &Path) -> Result<Self, ClipError> {
        let bytes = std::fs::read(path).map_err(|error| ClipError::Io(path.to_owned(), error))?;
        Self::parse(bytes)
    }

    /// Takes the bytes of a clip file; checks all of it once, so that playing never has to.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ClipError> {
        let mut reader = Reader {
            bytes: &bytes,
            at: 0,
        };
        if reader.take(8)? != MAGIC || reader.u16()? != VERSION {
            return Err(ClipError::NotAClip);
        }
        if bytes.len() < 28 {
            return Err(ClipError::Truncated);
        }
        let (body, crc) = bytes.split_at(bytes.len() - 4);
        if crc32(body).to_le_bytes() != crc {
            return Err(ClipError::Corrupt);
        }
        reader.bytes = body;
        let layer_count = reader.u16()?;
        let audio_count = reader.u32()?;
        let frame_ticks = reader.u32()?;
        let audio_ticks = reader.u32()?;
        if layer_count == 0 || audio_count == 0 {
            return Err(ClipError::Invalid("at least one layer and one opus packet"));
        }
        if frame_ticks == 0 || audio_ticks == 0 {
            return Err(ClipError::Invalid("time between frames above zero"));
        }
        let layers = (0..layer_count)
            .map(|_| read_layer(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        let audio = (0..audio_count)
            .map(|_| read_audio(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        if reader.at != body.len() {
            return Err(ClipError::Invalid(
                "nothing between the last packet and the checksum",
            ));
        }
        let quiet = audio.iter().position(|entry| !entry.voice);
        Ok(Self {
            frame_ticks,
            audio_ticks,
            layers,
            audio,
            quiet,
            bytes,
        })
    }

    /// Layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Number of frames of a layer.
    pub fn frame_count(&self, layer: usize) -> usize {
        self.layers[layer].frames.len()
    }

    /// One frame; the index must be below [`Clip::frame_count`].
    pub fn frame(&self, layer: usize, index: usize) -> Frame<'_> {
        let entry = &self.layers[layer].frames[index];
        Frame {
            key: entry.key,
            data: &self.bytes[entry.data.clone()],
        }
    }

    /// The first key frame at or after `index`, from the beginning again if need be.
    pub fn key_frame_from(&self, layer: usize, index: usize) -> usize {
        let frames = &self.layers[layer].frames;
        (index..frames.len()).find(|&i| frames[i].key).unwrap_or(0)
    }

    /// Number of opus packets.
    pub fn audio_count(&self) -> usize {
        self.audio.len()
    }

    /// One opus packet; the index must be below [`Clip::audio_count`].
    pub fn audio(&self, index: usize) -> AudioPacket<'_> {
        let entry = &self.audio[index];
        AudioPacket {
            level: entry.level,
            voice: entry.voice,
            data: &self.bytes[entry.data.clone()],
        }
    }

    /// The first opus packet without voice; None if there is none.
    pub(crate) fn quiet_audio(&self) -> Option<usize> {
        self.quiet
    }

    /// A clip without pictures: valid VP8 frame headers and opus TOC bytes, then noise. For tests and raw load: nothing
    /// can decode it, everything can forward it. `seconds` of 30 fps at about `video_bps` with a key frame every two
    /// seconds, and 20 ms opus of 80 bytes that speaks every other second.
    pub fn synthetic(seconds: u32, video_bps: u32) -> Self {
        let mut writer = ClipWriter::new(3000, 960);
        let mut noise = 0x9e37_79b9_u32;
        let mut byte = move || {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            noise as u8
        };
        let mean = (video_bps / 8 / 30).max(20) as usize;
        writer.layer(320, 180);
        for index in 0..seconds * 30 {
            let key = index % 60 == 0;
            // Key frames are three times the mean, the others vary by a third around what is left of it.
            let length = if key {
                mean * 3
            } else {
                mean * 2 / 3 + usize::from(byte()) * mean * 2 / 3 / 255
            };
            let mut data = vec![u8::from(!key) | 0x10, 0, 0];
            if key {
                data.extend_from_slice(&[0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
            }
            data.resize_with(length.max(16), &mut byte);
            writer.frame(key, &data);
        }
        for index in 0..seconds * 50 {
            let voice = (index / 50) % 2 == 0;
            let mut data = vec![0xf8];
            data.resize_with(80, &mut byte);
            writer.audio(if voice { 20 + byte() % 20 } else { 127 }, voice, &data);
        }
        Self::parse(writer.finish()).expect("invariant: the writer obeys the format")
    }
}

/// Builds a clip file in memory: layers with their frames first, then audio.
#[derive(Debug)]
pub struct ClipWriter {
    head: [u32; 2],
    layers: Vec<(u16, u16, Vec<u8>, u32)>,
    audio: Vec<u8>,
    audio_count: u32,
}

impl ClipWriter {
    /// Begins a clip with these distances between frames (90 kHz) and opus packets (48 kHz).
    pub fn new(frame_ticks: u32, audio_ticks: u32) -> Self {
        Self {
            head: [frame_ticks, audio_ticks],
            layers: Vec::new(),
            audio: Vec::new(),
            audio_count: 0,
        }
    }

    /// Begins a layer; the following frames belong to it.
    pub fn layer(&mut self, width: u16, height: u16) {
        self.layers.push((width, height, Vec::new(), 0));
    }

    /// Appends a frame to the last layer; without a layer it is dropped.
    pub fn frame(&mut self, key: bool, data: &[u8]) {
        if let Some((_, _, bytes, count)) = self.layers.last_mut() {
            bytes.push(u8::from(key));
            bytes.extend_from_slice(&(data.len() as u32).to_le_bytes());
            bytes.extend_from_slice(data);
            *count += 1;
        }
    }

    /// Appends an opus packet.
    pub fn audio(&mut self, level: u8, voice: bool, data: &[u8]) {
        self.audio.extend_from_slice(&[level, u8::from(voice)]);
        self.audio
            .extend_from_slice(&(data.len() as u16).to_le_bytes());
        self.audio.extend_from_slice(data);
        self.audio_count += 1;
    }

    /// The file's bytes.
    pub fn finish(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.layers.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.audio_count.to_le_bytes());
        out.extend_from_slice(&self.head[0].to_le_bytes());
        out.extend_from_slice(&self.head[1].to_le_bytes());
        for (width, height, bytes, count) in &self.layers {
            out.extend_from_slice(&width.to_le_bytes());
            out.extend_from_slice(&height.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&self.audio);
        out.extend_from_slice(&crc32(&out).to_le_bytes());
        out
    }
}

fn read_layer(reader: &mut Reader<'_>) -> Result<Layer, ClipError> {
    let (width, height, count) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let mut frames = Vec::new();
    for _ in 0..count {
        let key = reader.u8()? & 1 == 1;
        let length = reader.u32()? as usize;
        let start = reader.at;
        let data = reader.take(length)?;
        if length < if key { 10 } else { 3 } {
            return Err(ClipError::Invalid("a frame is long enough for its header"));
        }
        if length > MAX_FRAME {
            return Err(ClipError::Invalid("a frame has at most 250000 bytes"));
        }
        if (data[0] & 1 == 0) != key {
            return Err(ClipError::Invalid(
                "the key flag agrees with the VP8 header",
            ));
        }
        frames.push(FrameEntry {
            key,
            data: start..start + length,
        });
    }
    if !frames.first().is_some_and(|frame| frame.key) {
        return Err(ClipError::Invalid("a layer begins with a key frame"));
    }
    Ok(Layer {
        width,
        height,
        frames,
    })
}

fn read_audio(reader: &mut Reader<'_>) -> Result<AudioEntry, ClipError> {
    let (level, flags, length) = (reader.u8()?, reader.u8()?, reader.u16()? as usize);
    let start = reader.at;
    let data = reader.take(length)?;
    if length == 0 || data[0] & 3 > 1 {
        return Err(ClipError::Invalid("opus packets are of code 0 or 1"));
    }
    if length > MAX_AUDIO {
        return Err(ClipError::Invalid("an opus packet has at most 1100 bytes"));
    }
    Ok(AudioEntry {
        level: level.min(127),
        voice: flags & 1 == 1,
        data: start..start + length,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ClipError> {
        let end = self.at.checked_add(length).ok_or(ClipError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(ClipError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ClipError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, ClipError> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, ClipError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, ClipError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = ClipWriter::new(3000, 960);
        writer.layer(320, 180);
        writer.frame(true, &[0x10, 0, 0, 0x9d, 1, 0x2a, 0, 0, 0, 0, 9]);
        writer.frame(false, &[0x11, 0, 0, 7]);
        writer.layer(640, 360);
        writer.frame(true, &[0x10, 0, 0, 0x9d, 1, 0x2a, 0, 0, 0, 0]);
        writer.audio(30, true, &[0xf8, 1, 2]);
        writer.audio(127, false, &[0xf9, 1]);
        writer.finish()
    }

    #[test]
    fn what_was_written_is_read_back() {
        let clip = Clip::parse(written()).unwrap();
        assert_eq!((clip.frame_ticks, clip.audio_ticks), (3000, 960));
        assert_eq!(clip.layers().len(), 2);
        assert_eq!(
            (clip.layers()[1].width, clip.layers()[1].height),
            (640, 360)
        );
        assert_eq!(clip.frame_count(0), 2);
        assert_eq!(
            clip.frame(0, 1),
            Frame {
                key: false,
                data: &[0x11, 0, 0, 7]
            }
        );
        assert_eq!(
            clip.audio(0),
            AudioPacket {
                level: 30,
                voice: true,
                data: &[0xf8, 1, 2]
            }
        );
        assert_eq!(clip.audio_count(), 2);
    }

    #[test]
    fn a_cut_or_changed_file_is_refused() {
        let good = written();
        for length in 0..good.len() {
            assert!(
                Clip::parse(good[..length].to_vec()).is_err(),
                "cut at {length}"
            );
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(Clip::parse(bad).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_layer_must_begin_with_a_key_frame() {
        let mut writer = ClipWriter::new(3000, 960);
        writer.layer(320, 180);
        writer.frame(false, &[0x11, 0, 0, 7]);
        writer.audio(30, true, &[0xf8, 1, 2]);
        assert!(matches!(
            Clip::parse(writer.finish()),
            Err(ClipError::Invalid(_))
        ));
    }

    #[test]
    fn the_synthetic_clip_has_the_rate_and_the_key_frames_asked_for() {
        let clip = Clip::synthetic(4, 300_000);
        let bytes: usize = (0..clip.frame_count(0))
            .map(|i| clip.frame(0, i).data.len())
            .sum();
        let bps = bytes * 8 / 4;
        assert!((240_000..360_000).contains(&bps), "{bps}");
        assert_eq!(clip.key_frame_from(0, 1), 60);
        assert_eq!(clip.key_frame_from(0, 61), 0);
        assert_eq!(clip.audio_count(), 200);
    }
}
