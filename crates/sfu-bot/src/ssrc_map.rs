//! From SSRC to the dense number of a stream.
//!
//! # Cost
//! One multiplication and mostly one cache line a look-up; 8 bytes a slot, at most half of the slots in use.

/// What an SSRC stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Number of the stream.
    pub(crate) stream: usize,
    /// The SSRC carries its retransmissions.
    pub(crate) rtx: bool,
}

/// Open addressing with linear probing; a key with code 0 is an empty slot.
#[derive(Debug)]
pub(crate) struct SsrcMap {
    slots: Vec<(u32, u32)>,
    used: usize,
}

impl SsrcMap {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![(0, 0); 16],
            used: 0,
        }
    }

    #[inline]
    pub(crate) fn get(&self, ssrc: u32) -> Option<Slot> {
        let mask = self.slots.len() - 1;
        let mut at = hash(ssrc) & mask;
        loop {
            let (key, code) = self.slots[at];
            if code == 0 {
                return None;
            }
            if key == ssrc {
                return Some(Slot {
                    stream: (code >> 1) as usize - 1,
                    rtx: code & 1 == 1,
                });
            }
            at = (at + 1) & mask;
        }
    }

    /// Sets what `ssrc` stands for, replacing what it stood for.
    pub(crate) fn insert(&mut self, ssrc: u32, slot: Slot) {
        if (self.used + 1) * 2 > self.slots.len() {
            let larger = vec![(0, 0); self.slots.len() * 2];
            let before = std::mem::replace(&mut self.slots, larger);
            self.used = 0;
            for (key, code) in before.into_iter().filter(|(_, code)| *code != 0) {
                self.put(key, code);
            }
        }
        self.put(ssrc, (slot.stream as u32 + 1) << 1 | u32::from(slot.rtx));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.slots.fill((0, 0));
        self.used = 0;
    }

    fn put(&mut self, ssrc: u32, code: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash(ssrc) & mask;
        while self.slots[at].1 != 0 && self.slots[at].0 != ssrc {
            at = (at + 1) & mask;
        }
        self.used += usize::from(self.slots[at].1 == 0);
        self.slots[at] = (ssrc, code);
    }
}

#[inline]
fn hash(ssrc: u32) -> usize {
    // Servers count SSRCs up in pairs; the upper bits of the product spread such keys (Fibonacci hashing).
    (ssrc.wrapping_mul(0x9e37_79b9) >> 12) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_maps_as_a_hash_map_does() {
        let mut map = SsrcMap::new();
        let mut model = HashMap::new();
        for number in 0..500_u32 {
            let ssrc = if number % 2 == 0 {
                1_000_000 + number
            } else {
                number.wrapping_mul(0x0100_0193)
            };
            let slot = Slot {
                stream: number as usize / 2,
                rtx: number % 3 == 0,
            };
            map.insert(ssrc, slot);
            model.insert(ssrc, slot);
        }
        map.insert(
            1_000_000,
            Slot {
                stream: 77,
                rtx: true,
            },
        );
        model.insert(
            1_000_000,
            Slot {
                stream: 77,
                rtx: true,
            },
        );
        for (ssrc, slot) in &model {
            assert_eq!(map.get(*ssrc), Some(*slot));
        }
        assert_eq!(map.get(0), None);
        assert_eq!(map.get(0xdead_beef), None);
        map.clear();
        assert!(model.keys().all(|ssrc| map.get(*ssrc).is_none()));
    }
}
