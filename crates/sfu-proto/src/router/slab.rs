//! Dense storage with small integer keys, so that the packet path indexes instead of hashing.
//!
//! # Invariants
//! - A key stays valid until its value is removed; it is reused afterwards.
//!
//! # Cost
//! One bounds check and one discriminant check per look-up. Allocates only when it grows.

use std::ops::{Index, IndexMut};

/// A vector with free slots.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(key) = self.free.pop() {
            self.entries[key as usize] = Some(value);
            return key;
        }
        self.entries.push(Some(value));
        // Capacity for every key, so that `remove` never allocates.
        self.free.reserve(self.entries.len());
        (self.entries.len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.entries.get_mut(key as usize)?.take()?;
        self.free.push(key);
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        self.entries.get(key as usize)?.as_ref()
    }

    /// Returns the slot of a key without reading it, for prefetching.
    #[inline]
    pub(crate) fn place(&self, key: u32) -> Option<&Option<T>> {
        self.entries.get(key as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.entries.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(key, entry)| Some((key as u32, entry.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.entries
            .iter_mut()
            .enumerate()
            .filter_map(|(key, entry)| Some((key as u32, entry.as_mut()?)))
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, key: u32) -> &T {
        self.get(key)
            .expect("invariant: the key names a live entry")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, key: u32) -> &mut T {
        self.get_mut(key)
            .expect("invariant: the key names a live entry")
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_removed_key_is_given_out_again() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        let second = slab.insert('b');
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.insert('c'), first);
        assert_eq!(slab[second], 'b');
        assert_eq!(
            slab.iter().map(|(_, value)| *value).collect::<String>(),
            "cb"
        );
    }
}
