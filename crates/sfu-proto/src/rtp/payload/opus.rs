//! Opus payloads: how long is the packet, and is it silence?
//!
//! RFC 6716 §3.1 (TOC byte), §3.2 (frame packing); RFC 7587 §3.1.3 (DTX).

use std::time::Duration;

/// Returns whether `payload` is discontinuous transmission: no frame with more than two bytes of sound.
///
/// With DTX an encoder sends such a packet every 400 ms of silence; dropping one is inaudible.
#[inline]
#[must_use]
pub const fn is_dtx(payload: &[u8]) -> bool {
    // A TOC byte alone, or with one byte: what libopus sends in DTX (RFC 6716 §2.1.9).
    payload.len() <= 2
}

/// The sound a packet holds; `None` if it is empty, or holds more than the 120 ms allowed.
#[must_use]
pub fn duration(payload: &[u8]) -> Option<Duration> {
    let toc = *payload.first()?;
    let frame = match toc >> 3 {
        config @ 0..12 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..16 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(payload.get(1)? & 0x3f),
    };
    let duration = Duration::from_micros(frame * frames);
    (frames > 0 && duration <= Duration::from_millis(120)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_packets_are_silence() {
        assert!(is_dtx(&[0xf8]));
        assert!(is_dtx(&[0xf8, 0xff]));
        assert!(!is_dtx(&[0xf8, 0xff, 0xfe]));
    }

    #[test]
    fn the_toc_byte_tells_the_duration() {
        // CELT full band 20 ms, one frame: what browsers send
        assert_eq!(duration(&[0xf8, 0, 0]), Some(Duration::from_millis(20)));
        assert_eq!(duration(&[0xe0, 0, 0]), Some(Duration::from_micros(2500)));
        // SILK 60 ms, two frames; hybrid 10 ms, code 3 with three frames
        assert_eq!(duration(&[3 << 3 | 1, 0]), Some(Duration::from_millis(120)));
        assert_eq!(
            duration(&[12 << 3 | 3, 0x03]),
            Some(Duration::from_millis(30))
        );
        assert_eq!(duration(&[3 << 3 | 3, 0x03]), None, "180 ms");
        assert_eq!(duration(&[0xfb, 0x00]), None, "no frame");
        assert_eq!(duration(&[0xfb]), None);
        assert_eq!(duration(&[]), None);
    }
}
