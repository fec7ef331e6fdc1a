//! Datagrams out of a stream of bytes (RFC 4571 §2): a length in two bytes, then as many bytes.
//!
//! # Job
//! Keeps what was read and gives the frames that are whole. Reading is `tcp`'s.
//!
//! # Invariants
//! - Whatever is read, in whatever pieces, at most four of the longest frames are held, and there is room for more
//!   as long as no whole frame waits.

use std::io;

/// Largest frame accepted from a peer; longer ones end the connection.
pub const MAX_FRAME: usize = 4096;

/// Bytes read, and the frames in them.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes: Box<[u8]>,
    /// Unread bytes are `bytes[start..end]`.
    start: usize,
    end: usize,
}

impl Frames {
    pub(crate) fn new() -> Frames {
        Frames {
            bytes: vec![0; 4 * MAX_FRAME].into(),
            start: 0,
            end: 0,
        }
    }

    /// Where the next bytes go; empty while whole frames fill it.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes of the room are filled.
    pub(crate) fn read(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// The next whole frame. Empty frames are skipped.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<&mut [u8]>> {
        loop {
            let unread = &self.bytes[self.start..self.end];
            let Some((length, rest)) = unread.split_first_chunk::<2>() else {
                return Ok(None);
            };
            let length = usize::from(u16::from_be_bytes(*length));
            if length > MAX_FRAME {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a frame of {length} bytes"),
                ));
            }
            if rest.len() < length {
                return Ok(None);
            }
            let from = self.start + 2;
            self.start = from + length;
            if length > 0 {
                return Ok(Some(&mut self.bytes[from..from + length]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::run::{Mutation, fuzz};

    /// Frames of `stream` read in pieces whose lengths `cuts` says, and whether it ended in an error.
    fn cut(stream: &[u8], cuts: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let (mut frames, mut found, mut left) = (Frames::new(), Vec::new(), stream);
        let mut cuts = cuts.iter().cycle();
        loop {
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => {
                        assert!((1..=MAX_FRAME).contains(&frame.len()));
                        found.push(frame.to_vec());
                    }
                    Ok(None) => break,
                    Err(_) => return (found, true),
                }
            }
            if left.is_empty() {
                return (found, false);
            }
            let room = frames.room();
            assert!(!room.is_empty(), "no whole frame, and no room for one");
            let piece = cuts.next().map_or(1, |cut| 1 + usize::from(*cut) * 8);
            let count = piece.min(room.len()).min(left.len());
            room[..count].copy_from_slice(&left[..count]);
            frames.read(count);
            left = &left[count..];
        }
    }

    /// What the RFC says, in the plainest way.
    fn model(mut stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut found = Vec::new();
        while let [high, low, rest @ ..] = stream {
            let length = usize::from(*high) << 8 | usize::from(*low);
            if length > MAX_FRAME {
                return (found, true);
            }
            if rest.len() < length {
                break;
            }
            if length > 0 {
                found.push(rest[..length].to_vec());
            }
            stream = &rest[length..];
        }
        (found, false)
    }

    #[test]
    fn fuzz_framing_in_any_pieces_gives_the_same_frames() {
        let frame = |len: usize| {
            let mut frame = (len as u16).to_be_bytes().to_vec();
            frame.resize(2 + len, 0x5a);
            frame
        };
        let seeds: Vec<Vec<u8>> = [
            [frame(3), frame(0), frame(20)].concat(),
            frame(1200),
            frame(100).repeat(12),
            vec![0x10, 0x01, 1, 2],
            vec![0x10, 0x00, 1, 2],
        ]
        .into();
        fuzz("tcp_framing", 100_000, 1, |mutation: &mut Mutation| {
            let cuts = mutation.next(&seeds);
            let mut stream = mutation.next(&seeds);
            // Now and then as much as fills the buffer several times.
            if stream.len() % 64 == 1 {
                stream = stream.repeat(20);
            }
            let frames = cut(&stream, &cuts);
            assert_eq!(frames, model(&stream), "{stream:02x?} in {cuts:02x?}");
        });
    }
}
