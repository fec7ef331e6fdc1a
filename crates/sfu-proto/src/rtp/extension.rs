//! The supported header extensions: URIs, negotiated ids, and values.
//!
//! # Job
//! Maps negotiated ids to extensions and back, and converts values to and from bytes. Finding the bytes in a packet
//! belongs to `header`.
//!
//! # Invariants
//! - In a map an id belongs to one URI and a URI has one id; a later entry replaces an earlier one.
//! - A value of the wrong length is read as `None`.
//!
//! # Cost
//! A map is a fixed array of one byte per known URI; look-ups are O(1) by URI and a scan of it by id.
//!
//! # Left out
//! Encrypted extensions (RFC 6904); the structure of a dependency descriptor, see `payload::av1`.
//!
//! RFC 8285 §5 (negotiation), RFC 6464, RFC 5450, RFC 8852, RFC 9143 (mid).

use std::time::Duration;

macro_rules! extensions {
    ($($(#[$doc:meta])* $name:ident = $uri:literal,)+) => {
        /// A header extension.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum ExtensionUri {
            $($(#[$doc])* $name,)+
        }

        impl ExtensionUri {
            /// All extensions, in the order of the enum.
            pub const ALL: [Self; [$($uri),+].len()] = [$(Self::$name),+];

            /// Returns the URI as used in SDP and RTP parameters.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $uri,)+
                }
            }
        }
    };
}

// A new extension is a line here; where its value goes on is in `router`.
extensions! {
    /// The media section of the packet (RFC 9143 §14).
    Mid = "urn:ietf:params:rtp-hdrext:sdes:mid",
    /// The encoding of the packet in a simulcast (RFC 8852 §3.1).
    Rid = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    /// The encoding an RTX packet repairs (RFC 8852 §3.2).
    RepairedRid = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    /// 24-bit send time in 6.18 seconds.
    AbsSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    /// 16-bit sequence number over all streams of a transport.
    TransportWideCc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    /// Audio level (RFC 6464).
    AudioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    /// Frame dependencies of AV1 and others.
    DependencyDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    /// Camera orientation (3GPP TS 26.114 §7.4.5).
    VideoOrientation = "urn:3gpp:video-orientation",
    /// Time between sampling and sending (RFC 5450).
    TransmissionOffset = "urn:ietf:params:rtp-hdrext:toffset",
    /// NTP time of capture.
    AbsCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    /// Limits of the receiver's play-out delay.
    PlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
}

impl ExtensionUri {
    /// Parses a URI from SDP or RTP parameters; `None` if it is unknown.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == uri)
    }
}

/// Negotiated extension ids of a transport or producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionMap {
    /// Id by URI; zero means none, as no element has it.
    ids: [u8; ExtensionUri::ALL.len()],
}

impl ExtensionMap {
    /// Creates an empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ids: [0; ExtensionUri::ALL.len()],
        }
    }

    /// Assigns `id` to `uri`, removing both from former entries; id 0 removes the extension.
    pub fn insert(&mut self, id: u8, uri: ExtensionUri) {
        for other in &mut self.ids {
            if *other == id {
                *other = 0;
            }
        }
        self.ids[uri as usize] = id;
    }

    /// Returns the id of an extension, if it was negotiated.
    #[inline]
    #[must_use]
    pub const fn id(&self, uri: ExtensionUri) -> Option<u8> {
        match self.ids[uri as usize] {
            0 => None,
            id => Some(id),
        }
    }

    /// Returns the extension of an id, if it was negotiated.
    #[inline]
    #[must_use]
    pub fn uri(&self, id: u8) -> Option<ExtensionUri> {
        if id == 0 {
            return None;
        }
        self.ids
            .iter()
            .position(|known| *known == id)
            .map(|at| ExtensionUri::ALL[at])
    }

    /// Iterates over the negotiated extensions, in the order of the enum.
    pub fn iter(&self) -> impl Iterator<Item = (u8, ExtensionUri)> + '_ {
        self.ids
            .iter()
            .copied()
            .zip(ExtensionUri::ALL)
            .filter(|(id, _)| *id != 0)
    }
}

impl FromIterator<(u8, ExtensionUri)> for ExtensionMap {
    fn from_iter<I: IntoIterator<Item = (u8, ExtensionUri)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (id, uri) in entries {
            map.insert(id, uri);
        }
        map
    }
}

/// Abs-send-time: seconds modulo 64 as unsigned 6.18 fixed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// Bytes of the value.
    pub const LEN: usize = 3;

    /// Converts a time since any epoch; only differences matter to the receiver.
    #[inline]
    #[must_use]
    pub const fn from_duration(time: Duration) -> Self {
        let fraction = ((time.subsec_nanos() as u64) << 18) / 1_000_000_000;
        Self((((time.as_secs() & 0x3f) << 18) | fraction) as u32)
    }

    /// Returns the time modulo 64 seconds.
    #[must_use]
    pub const fn to_duration(self) -> Duration {
        Duration::from_nanos((self.0 as u64 * 1_000_000_000) >> 18)
    }

    /// Returns how much later this is than `earlier`, in units of 2⁻¹⁸ s; correct for less than 32 s either way.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i32 {
        // Sign-extends the 24-bit difference.
        (self.0.wrapping_sub(earlier.0) << 8).cast_signed() >> 8
    }

    /// Reads the value of an element.
    #[inline]
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = value else { return None };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// Returns the value of an element.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

/// Audio level of a packet (RFC 6464 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioLevel {
    /// The sender detected speech.
    pub voice: bool,
    /// Volume in dBov, −127 (silence) to 0.
    pub dbov: i8,
}

impl AudioLevel {
    /// Reads the value of an element, also if padded to two bytes (RFC 6464 §3, two-byte form).
    #[inline]
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let (&[byte] | &[byte, 0]) = value else {
            return None;
        };
        Some(Self {
            voice: byte & 0x80 != 0,
            dbov: -((byte & 0x7f) as i8),
        })
    }

    /// Returns the value of an element; levels out of range are clamped.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.dbov.clamp(-127, 0).unsigned_abs()]
    }
}

/// Reads the value of a transport-wide sequence number, of version 1 (2 bytes) or 2 (4 bytes).
#[inline]
#[must_use]
pub fn transport_sequence(value: &[u8]) -> Option<u16> {
    match *value {
        [a, b] | [a, b, _, _] => Some(u16::from_be_bytes([a, b])),
        _ => None,
    }
}

/// Camera orientation (3GPP TS 26.114 §7.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VideoOrientation {
    /// The camera is on the back of the device.
    pub back_camera: bool,
    /// The picture is mirrored.
    pub flip: bool,
    /// Clockwise quarter turns for the receiver to undo, 0 to 3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// Reads the value of an element.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let &[byte] = value else { return None };
        Some(Self {
            back_camera: byte & 0x08 != 0,
            flip: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    /// Returns the value of an element.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.back_camera) << 3 | u8::from(self.flip) << 2 | self.quarter_turns & 0x03]
    }
}

/// Reads a transmission offset: signed 24 bits in units of the RTP clock (RFC 5450 §2).
#[must_use]
pub fn transmission_offset(value: &[u8]) -> Option<i32> {
    let &[a, b, c] = value else { return None };
    Some(i32::from_be_bytes([a, b, c, 0]) >> 8)
}

/// Writes a transmission offset, clamped to 24 bits.
#[must_use]
pub fn transmission_offset_bytes(offset: i32) -> [u8; 3] {
    let [_, a, b, c] = offset.clamp(-(1 << 23), (1 << 23) - 1).to_be_bytes();
    [a, b, c]
}

/// Capture time of a frame, on the capture clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbsCaptureTime {
    /// NTP time in 32.32 seconds.
    pub ntp: u64,
    /// How far the capture clock is ahead of the sender's clock, in signed 32.32 seconds, if known.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    /// Reads the value of an element, in its short (8 bytes) or long form (16 bytes).
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let (ntp, rest) = value.split_first_chunk::<8>()?;
        let clock_offset = match rest.len() {
            0 => None,
            _ => Some(i64::from_be_bytes(rest.try_into().ok()?)),
        };
        Some(Self {
            ntp: u64::from_be_bytes(*ntp),
            clock_offset,
        })
    }

    /// Writes the value of an element and returns its length, 8 or 16.
    #[must_use]
    pub fn write(self, out: &mut [u8; 16]) -> usize {
        out[..8].copy_from_slice(&self.ntp.to_be_bytes());
        let Some(offset) = self.clock_offset else {
            return 8;
        };
        out[8..].copy_from_slice(&offset.to_be_bytes());
        16
    }
}

/// Limits of the receiver's play-out delay, in units of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlayoutDelay {
    /// Minimum; 12 bits.
    pub min_10ms: u16,
    /// Maximum; 12 bits.
    pub max_10ms: u16,
}

impl PlayoutDelay {
    /// Reads the value of an element.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = value else { return None };
        Some(Self {
            min_10ms: u16::from(a) << 4 | u16::from(b) >> 4,
            max_10ms: u16::from(b & 0x0f) << 8 | u16::from(c),
        })
    }

    /// The value of an element; bounds are clamped to 12 bits.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        let packed =
            u32::from(self.min_10ms.min(0xfff)) << 12 | u32::from(self.max_10ms.min(0xfff));
        let [_, a, b, c] = packed.to_be_bytes();
        [a, b, c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uris_map_both_ways() {
        for (at, uri) in ExtensionUri::ALL.into_iter().enumerate() {
            assert_eq!(uri as usize, at);
            assert_eq!(ExtensionUri::from_uri(uri.as_str()), Some(uri));
        }
        assert_eq!(
            ExtensionUri::from_uri("urn:mediasoup:params:rtp-hdrext:packet-id"),
            None
        );
    }

    #[test]
    fn a_map_gives_ids_and_uris() {
        let mut map: ExtensionMap = [(4, ExtensionUri::AbsSendTime), (200, ExtensionUri::Mid)]
            .into_iter()
            .collect();
        assert_eq!(map.id(ExtensionUri::AbsSendTime), Some(4));
        assert_eq!(map.uri(200), Some(ExtensionUri::Mid));
        assert_eq!(
            (map.uri(0), map.uri(5), map.id(ExtensionUri::Rid)),
            (None, None, None)
        );
        map.insert(4, ExtensionUri::AudioLevel);
        assert_eq!(
            map.id(ExtensionUri::AbsSendTime),
            None,
            "its id was taken over"
        );
        map.insert(0, ExtensionUri::Mid);
        assert_eq!(
            map.iter().collect::<Vec<_>>(),
            [(4, ExtensionUri::AudioLevel)]
        );
    }

    #[test]
    fn send_times_are_six_point_eighteen() {
        let time = AbsSendTime::from_duration(Duration::from_millis(64_000 + 1_500));
        assert_eq!(time.to_bytes(), [0x06, 0x00, 0x00]);
        assert_eq!(time.to_duration(), Duration::from_millis(1_500));
        let earlier = AbsSendTime::from_duration(Duration::from_millis(63_500));
        assert_eq!(time.since(earlier), 2 << 18, "across the wrap");
        assert_eq!(earlier.since(time), -(2 << 18));
        assert_eq!(AbsSendTime::from_bytes(&[1, 2]), None);
    }

    #[test]
    fn audio_levels_are_negative_decibels() {
        assert_eq!(
            AudioLevel::from_bytes(&[0x80 | 30]),
            Some(AudioLevel {
                voice: true,
                dbov: -30
            })
        );
        assert_eq!(
            AudioLevel::from_bytes(&[127, 0]),
            Some(AudioLevel {
                voice: false,
                dbov: -127
            })
        );
        assert_eq!(
            AudioLevel {
                voice: true,
                dbov: 5
            }
            .to_bytes(),
            [0x80]
        );
        assert_eq!(
            AudioLevel {
                voice: false,
                dbov: -128
            }
            .to_bytes(),
            [127]
        );
        assert_eq!(AudioLevel::from_bytes(&[]), None);
    }

    #[test]
    fn transport_numbers_come_in_two_versions() {
        assert_eq!(transport_sequence(&[0x12, 0x34]), Some(0x1234));
        assert_eq!(transport_sequence(&[0x12, 0x34, 0x80, 0x01]), Some(0x1234));
        assert_eq!(transport_sequence(&[0x12]), None);
    }

    proptest! {
        #[test]
        fn values_come_out_as_they_went_in(
            bytes: [u8; 3], level in -127i8..=0, flag: bool, offset in -(1i32 << 23)..1 << 23,
            ntp: u64, clock_offset: Option<i64>, turns in 0u8..4, min in 0u16..4096, max in 0u16..4096,
        ) {
            prop_assert_eq!(AbsSendTime::from_bytes(&bytes).unwrap().to_bytes(), bytes);
            let level = AudioLevel { voice: flag, dbov: level };
            prop_assert_eq!(AudioLevel::from_bytes(&level.to_bytes()), Some(level));
            prop_assert_eq!(transmission_offset(&transmission_offset_bytes(offset)), Some(offset));
            let capture = AbsCaptureTime { ntp, clock_offset };
            let mut out = [0; 16];
            let len = capture.write(&mut out);
            prop_assert_eq!(AbsCaptureTime::from_bytes(&out[..len]), Some(capture));
            let orientation = VideoOrientation { back_camera: flag, flip: !flag, quarter_turns: turns };
            prop_assert_eq!(VideoOrientation::from_bytes(&orientation.to_bytes()), Some(orientation));
            let delay = PlayoutDelay { min_10ms: min, max_10ms: max };
            prop_assert_eq!(PlayoutDelay::from_bytes(&delay.to_bytes()), Some(delay));
        }
    }
}
