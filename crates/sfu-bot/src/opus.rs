//! Opus re-framing: puts bytes into a packet as padding, so that every decoder plays exactly what it would have played.
//!
//! # Job
//! Turns a code-0 or code-1 packet into a code-3 one of the same frames with padding. Encoding belongs to the clip.
//!
//! # Invariants
//! - The frames' bytes are those of the original; only the table of contents, count and padding differ.
//!
//! RFC 6716 §3.2.5 (code 3, padding; decoders must accept any value in it).

const CODE_MASK: u8 = 3;
const CODE_THREE: u8 = 3;
const PADDING_BIT: u8 = 0x40;
/// A padding length byte of 255 stands for 254 bytes and says that another one follows.
const LONG_PADDING: usize = 254;

/// Bytes that padding with `padding` bytes adds to a packet: count, lengths and the padding itself.
pub(crate) const fn overhead(padding: usize) -> usize {
    1 + padding / LONG_PADDING + 1 + padding
}

/// Writes `packet` with `padding` at its end into `out`; `None` if it is not of code 0 or 1, or `out` is too small.
pub(crate) fn pad(packet: &[u8], padding: &[u8], out: &mut [u8]) -> Option<usize> {
    let (&toc, frames) = packet.split_first()?;
    let length = packet.len() + overhead(padding.len());
    if toc & CODE_MASK > 1 || out.len() < length {
        return None;
    }
    out[0] = toc | CODE_THREE;
    out[1] = PADDING_BIT | (1 + (toc & CODE_MASK));
    let mut at = 2;
    let mut left = padding.len();
    while left >= LONG_PADDING {
        out[at] = 255;
        at += 1;
        left -= LONG_PADDING;
    }
    out[at] = left as u8;
    at += 1;
    out[at..at + frames.len()].copy_from_slice(frames);
    at += frames.len();
    out[at..length].copy_from_slice(padding);
    Some(length)
}

/// Whether a packet was padded by so many bytes as one of ours: only a stamp is put there.
pub(crate) fn has_padding(packet: &[u8], length: usize) -> bool {
    match packet {
        [toc, count, padding, ..] => {
            toc & CODE_MASK == CODE_THREE
                && count & PADDING_BIT != 0
                && usize::from(*padding) == length
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a decoder sees of a packet (RFC 6716 §3.2): configuration, frames, padding.
    fn decode(packet: &[u8]) -> (u8, Vec<Vec<u8>>, Vec<u8>) {
        let (toc, rest) = (packet[0], &packet[1..]);
        let halves = |frames: &[u8], count: usize| -> Vec<Vec<u8>> {
            assert_eq!(frames.len() % count, 0);
            frames
                .chunks(frames.len() / count)
                .map(<[u8]>::to_vec)
                .collect()
        };
        match toc & 3 {
            0 => (toc & 0xfc, halves(rest, 1), Vec::new()),
            1 => (toc & 0xfc, halves(rest, 2), Vec::new()),
            3 => {
                let (count, mut rest) = (rest[0], &rest[1..]);
                assert_eq!(count & 0x80, 0, "constant bit rate");
                let mut padding = 0;
                if count & 0x40 != 0 {
                    loop {
                        let length = rest[0];
                        rest = &rest[1..];
                        padding += usize::from(length) - usize::from(length == 255);
                        if length != 255 {
                            break;
                        }
                    }
                }
                let (frames, padding) = rest.split_at(rest.len() - padding);
                (
                    toc & 0xfc,
                    halves(frames, usize::from(count & 0x3f)),
                    padding.to_vec(),
                )
            }
            _ => panic!("code 2 is not written here"),
        }
    }

    #[test]
    fn padding_is_recognised_by_its_length() {
        let mut out = [0; 64];
        let written = pad(&[0xf8, 1, 2], &[0; 32], &mut out).unwrap();
        assert!(has_padding(&out[..written], 32));
        assert!(!has_padding(&out[..written], 24));
        assert!(!has_padding(&[0xf8, 0x41, 32], 32) && !has_padding(&[0xfb], 32));
    }

    #[test]
    fn a_decoder_finds_the_same_frames() {
        for code in [0, 1] {
            let packet = [0xf8 | code, 1, 2, 3, 4, 5, 6];
            for length in [0, 1, 24, 253, 254, 255, 508, 600] {
                let padding: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
                let mut out = [0; 700];
                let written = pad(&packet, &padding, &mut out).unwrap();
                assert_eq!(written, packet.len() + overhead(length));
                let (toc, frames, found) = decode(&out[..written]);
                let (toc_before, frames_before, _) = decode(&packet);
                assert_eq!((toc, frames, found), (toc_before, frames_before, padding));
            }
        }
    }

    #[test]
    fn a_dtx_packet_of_one_byte_can_be_padded() {
        let mut out = [0; 64];
        let written = pad(&[0xf8], &[9; 24], &mut out).unwrap();
        let (_, frames, padding) = {
            // An empty frame: count 1, nothing before the padding.
            let rest = &out[3..written];
            ((), rest.len() - 24, &rest[rest.len() - 24..])
        };
        assert_eq!((frames, padding), (0, &[9; 24][..]));
    }

    #[test]
    fn other_codes_and_short_buffers_are_refused() {
        let mut out = [0; 64];
        assert_eq!(pad(&[0xfa, 1, 2], &[0; 24], &mut out), None);
        assert_eq!(pad(&[0xfb, 1, 2], &[0; 24], &mut out), None);
        assert_eq!(pad(&[], &[0; 24], &mut out), None);
        assert_eq!(pad(&[0xf8, 1, 2], &[0; 24], &mut out[..28]), None);
    }
}
