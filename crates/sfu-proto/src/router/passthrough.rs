//! Header extensions that are passed on as they come: which they are, and their values of one packet.
//!
//! # Job
//! One table says which extensions these are; reading, keeping and writing them follow it. A new one is a line here
//! and its URI in `rtp::extension`.
//!
//! # Invariants
//! - A value of a length the table does not have is left out.
//! - Times of capture are put on our clock once, before the packet is kept, so that each sending has the same.
//!
//! # Cost
//! A packet without such extensions costs nothing; one with them a copy of the table's room, 27 bytes.

use crate::rtp::ExtensionUri;

/// One extension and the lengths its value may have; the last is the longest.
struct Passthrough {
    uri: ExtensionUri,
    lengths: &'static [u8],
}

const TABLE: [Passthrough; COUNT] = [
    Passthrough {
        uri: ExtensionUri::VideoOrientation,
        lengths: &[1],
    },
    Passthrough {
        uri: ExtensionUri::TransmissionOffset,
        lengths: &[3],
    },
    Passthrough {
        uri: ExtensionUri::PlayoutDelay,
        lengths: &[3],
    },
    Passthrough {
        uri: ExtensionUri::AbsCaptureTime,
        lengths: &[8, 16],
    },
];

/// How many there are.
pub(crate) const COUNT: usize = 4;
/// Position of the capture time, whose value is changed on the way.
const CAPTURE_TIME: usize = 3;
/// Room for the longest values of all.
const ROOM: usize = start_of(COUNT);
/// Bytes that all of them need in a header at most, with two bytes before each value.
pub(crate) const MAX_ELEMENTS: usize = 2 * COUNT + ROOM;

const _: () = assert!(matches!(
    TABLE[CAPTURE_TIME].uri,
    ExtensionUri::AbsCaptureTime
));

/// Where the value at a position of the table begins.
const fn start_of(position: usize) -> usize {
    let (mut start, mut before) = (0, 0);
    while before < position {
        let lengths = TABLE[before].lengths;
        start += lengths[lengths.len() - 1] as usize;
        before += 1;
    }
    start
}

const STARTS: [usize; COUNT] = {
    let mut starts = [0; COUNT];
    let mut position = 0;
    while position < COUNT {
        starts[position] = start_of(position);
        position += 1;
    }
    starts
};

/// Position in the table; none when the extension is not passed on.
pub(crate) fn position(uri: ExtensionUri) -> Option<usize> {
    TABLE.iter().position(|known| known.uri == uri)
}

/// The extension at each position.
pub(crate) fn uris() -> [ExtensionUri; COUNT] {
    TABLE.each_ref().map(|known| known.uri)
}

/// The values of one packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PassthroughExtensions {
    bytes: [u8; ROOM],
    /// 0 is none.
    lengths: [u8; COUNT],
}

impl PassthroughExtensions {
    /// Keeps the value of an extension; false when it is not passed on.
    pub(crate) fn read(&mut self, uri: ExtensionUri, value: &[u8]) -> bool {
        let Some(position) = position(uri) else {
            return false;
        };
        let known = TABLE[position].lengths;
        let Some(length) = known
            .iter()
            .find(|length| usize::from(**length) == value.len())
        else {
            return false;
        };
        self.lengths[position] = *length;
        self.bytes[STARTS[position]..][..value.len()].copy_from_slice(value);
        true
    }

    /// The value at a position of the table, empty when the packet has none.
    #[inline]
    pub(crate) fn value(&self, position: usize) -> &[u8] {
        &self.bytes[STARTS[position]..][..usize::from(self.lengths[position])]
    }

    /// The packet tells when it was captured.
    pub(crate) fn has_capture_time(&self) -> bool {
        self.lengths[CAPTURE_TIME] > 0
    }

    /// Returns the capture time on the clock of the sender's reports: the capture time less the capture clock offset,
    /// if present.
    pub(crate) fn captured(&self) -> Option<u64> {
        let (time, ahead) = self.value(CAPTURE_TIME).split_first_chunk::<8>()?;
        let ahead = ahead
            .first_chunk::<8>()
            .map_or(0, |ahead| i64::from_be_bytes(*ahead));
        Some(u64::from_be_bytes(*time).wrapping_sub(ahead as u64))
    }

    /// Replaces the capture time by one on our clock, which is the clock of our reports; none is left out.
    pub(crate) fn set_captured(&mut self, time: Option<u64>) {
        self.lengths[CAPTURE_TIME] = 0;
        if let Some(time) = time {
            self.read(ExtensionUri::AbsCaptureTime, &time.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_extension_keeps_its_longest_value_and_no_other_length() {
        let mut all = PassthroughExtensions::default();
        for (position, known) in TABLE.iter().enumerate() {
            for length in 0..=20_u8 {
                let value = vec![position as u8 + 1; usize::from(length)];
                assert_eq!(all.read(known.uri, &value), known.lengths.contains(&length));
            }
        }
        for (position, known) in TABLE.iter().enumerate() {
            let longest = usize::from(*known.lengths.last().unwrap_or(&0));
            assert_eq!(all.value(position), vec![position as u8 + 1; longest]);
        }
    }

    #[test]
    fn the_offset_of_the_capturing_clock_is_taken_off_once() {
        let mut packet = PassthroughExtensions::default();
        assert_eq!(packet.captured(), None);
        let value = [1000_u64.to_be_bytes(), (-5_i64).to_be_bytes()].concat();
        assert!(packet.read(ExtensionUri::AbsCaptureTime, &value));
        assert_eq!(packet.captured(), Some(1005));
        packet.set_captured(Some(7));
        assert_eq!(
            (packet.captured(), packet.value(CAPTURE_TIME).len()),
            (Some(7), 8)
        );
        packet.set_captured(None);
        assert!(!packet.has_capture_time());
    }
}
