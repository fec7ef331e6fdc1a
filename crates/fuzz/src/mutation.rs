//! Mutation of inputs, repeatable from a seed.
//!
//! # Left out
//! Coverage feedback; that is libFuzzer's.

/// Bytes at which parsers tend to be wrong.
const EDGES: [u8; 8] = [0x00, 0x01, 0x0f, 0x10, 0x7f, 0x80, 0xbe, 0xff];
/// Longer inputs only slow the run down.
const MAX_LEN: usize = 1500;

pub(crate) struct Mutation {
    state: u64,
}

impl Mutation {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64: passes the usual tests, and any seed is as good as another.
    pub(crate) fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    /// Takes one of `inputs` and changes it in one to six places.
    pub(crate) fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let at = self.below(inputs.len());
        let mut input = inputs[at].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, inputs);
        }
        input.truncate(MAX_LEN);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len());
        let kind = self.below(9);
        if input.is_empty() || kind == 0 {
            let new = (0..self.below(24))
                .map(|_| self.random() as u8)
                .collect::<Vec<_>>();
            input.splice(at..at, new);
            return;
        }
        match kind {
            1 => input[at] ^= 1 << self.below(8),
            2 => input[at] = self.random() as u8,
            3 => input[at] = EDGES[self.below(EDGES.len())],
            4 => input.truncate(at),
            5 => {
                let end = (at + self.below(16)).min(input.len());
                input.drain(at..end);
            }
            6 => {
                let end = (at + self.below(32)).min(input.len());
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            7 => input[at] = input[at].wrapping_add([1, 255, 4, 252][self.below(4)]),
            _ => {
                // The tail of another input.
                let other_at = self.below(inputs.len());
                let other = &inputs[other_at];
                let from = self.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}
