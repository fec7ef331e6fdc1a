//! Random bytes that can be drawn again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Xorshift; the seed is printed and taken from MEESHY_TEST_SEED.
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        let seed = std::env::var("MEESHY_TEST_SEED")
            .ok()
            .and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0u8) | 1);
        eprintln!("MEESHY_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
