//! Arrivals recorded before it is known which header extension carries the transport-wide sequence number.
//!
//! # Job
//! A browser sends before its first `produce` is answered, and only then are the extension ids known. Until then each
//! authenticated packet is recorded with every value that could be its number; once the id is known, the arrivals are
//! replayed into the list.
//!
//! # Invariants
//! - The newest `CAPACITY` packets are kept, whatever a peer sends.
//!
//! # Cost
//! 14 KB for a transport that sends before its ids are known, freed with the first id; O(1) per packet.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01, RFC 8285.

use std::collections::VecDeque;

use super::arrivals::Arrivals;
use crate::router::clock::Micros;

/// Packets kept: as many as an arrival list would still report.
const CAPACITY: usize = 512;
/// Candidate values per packet: two bytes long, under an id without a known meaning.
const CANDIDATES: usize = 4;

/// One packet; id 0 means none.
#[derive(Clone, Copy, Debug)]
struct Note {
    at: Micros,
    ssrc: u32,
    ids: [u8; CANDIDATES],
    values: [u16; CANDIDATES],
}

/// Recorded packets whose number is not known yet.
#[derive(Debug)]
pub(crate) struct Early(VecDeque<Note>);

impl Early {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(CAPACITY))
    }

    /// Records a packet with its candidate ids and values.
    pub(crate) fn note(
        &mut self,
        ssrc: u32,
        at: Micros,
        candidates: impl Iterator<Item = (u8, u16)>,
    ) {
        let mut note = Note {
            at,
            ssrc,
            ids: [0; CANDIDATES],
            values: [0; CANDIDATES],
        };
        for (place, (id, value)) in candidates.take(CANDIDATES).enumerate() {
            note.ids[place] = id;
            note.values[place] = value;
        }
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(note);
    }

    /// Replays the packets that carry `id`.
    pub(crate) fn replay(&self, id: u8, arrivals: &mut Arrivals) {
        for note in &self.0 {
            if let Some(place) = note.ids.iter().position(|known| *known == id) {
                arrivals.record(note.values[place], note.ssrc, note.at);
            }
        }
    }
}
