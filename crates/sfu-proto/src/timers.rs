//! Deadlines by key, the earliest first.
//!
//! # Job
//! A binary heap that also stores the position of each key, so that a deadline can be moved or removed. Keys are
//! small dense numbers, those of a slab.
//!
//! # Invariants
//! - A key has one deadline at most.
//! - No entry is earlier than its parent.
//!
//! # Cost
//! The earliest is read at once. Other operations compare two entries on each of log2(n) levels. Allocates only for a
//! key larger than all before.

/// Position of a key without a deadline.
const NOWHERE: u32 = u32::MAX;

/// Deadlines by key.
#[derive(Clone, Debug)]
pub struct Timers<T> {
    heap: Vec<(T, u32)>,
    /// Position in the heap of each key.
    places: Vec<u32>,
    /// Entries compared so far, for tests of the cost.
    looked_at: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers {
            heap: Vec::new(),
            places: Vec::new(),
            looked_at: 0,
        }
    }
}

impl<T: Copy + Ord> Timers<T> {
    /// Sets the deadline of `key` in place of the one it had, or removes it.
    pub fn set(&mut self, key: u32, due: Option<T>) {
        let Some(due) = due else {
            self.clear(key);
            return;
        };
        let place = key as usize;
        if self.places.len() <= place {
            self.places.resize(place + 1, NOWHERE);
            // Capacity for every key, so that `set` does not allocate for a known one.
            self.heap.reserve(self.places.len() - self.heap.len());
        }
        let mut at = self.places[place] as usize;
        if at == NOWHERE as usize {
            at = self.heap.len();
            self.heap.push((due, key));
            self.places[place] = at as u32;
        } else if self.heap[at].0 == due {
            return;
        } else {
            self.heap[at].0 = due;
        }
        self.settle(at);
    }

    /// Returns the earliest deadline.
    #[inline]
    pub fn first(&self) -> Option<T> {
        self.heap.first().map(|(due, _)| *due)
    }

    /// Removes the earliest deadline if it is not after `now`, and returns its key.
    pub fn pop_due(&mut self, now: T) -> Option<u32> {
        let &(due, key) = self.heap.first()?;
        if due > now {
            return None;
        }
        self.clear(key);
        Some(key)
    }

    /// Returns how many keys have a deadline.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Returns the number of entries compared so far.
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    fn clear(&mut self, key: u32) {
        let Some(place) = self.places.get_mut(key as usize) else {
            return;
        };
        let at = std::mem::replace(place, NOWHERE) as usize;
        if at == NOWHERE as usize {
            return;
        }
        self.heap.swap_remove(at);
        if let Some(&(_, moved)) = self.heap.get(at) {
            self.places[moved as usize] = at as u32;
            self.settle(at);
        }
    }

    /// Moves the entry at `at` up or down to its place.
    fn settle(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            self.looked_at += 1;
            if self.heap[parent].0 <= self.heap[at].0 {
                break;
            }
            self.swap(at, parent);
            at = parent;
        }
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                return;
            }
            self.looked_at += 2;
            let child = if right < self.heap.len() && self.heap[right].0 < self.heap[left].0 {
                right
            } else {
                left
            };
            if self.heap[at].0 <= self.heap[child].0 {
                return;
            }
            self.swap(at, child);
            at = child;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.places[self.heap[one].1 as usize] = one as u32;
        self.places[self.heap[other].1 as usize] = other as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *state >> 33
    }

    #[test]
    fn what_is_due_comes_in_order_whatever_was_moved_or_taken_away() {
        let (mut timers, mut model, mut state) = (Timers::default(), BTreeMap::new(), 7);
        let mut now = 0;
        for _ in 0..20_000 {
            let key = (random(&mut state) % 100) as u32;
            match random(&mut state) % 4 {
                0 => {
                    timers.set(key, None);
                    model.remove(&key);
                }
                1 => {
                    now += random(&mut state) % 10;
                    while let Some(key) = timers.pop_due(now) {
                        let due = model.remove(&key).unwrap();
                        assert!(due <= now && model.values().all(|other| *other >= due));
                    }
                    assert!(model.values().all(|due| *due > now));
                }
                _ => {
                    let due = now + random(&mut state) % 50;
                    timers.set(key, Some(due));
                    model.insert(key, due);
                }
            }
            assert_eq!(timers.first(), model.values().min().copied());
            assert_eq!(timers.len(), model.len());
        }
    }

    #[test]
    fn the_cost_of_one_timer_does_not_grow_with_those_that_wait() {
        let cost = |idle: u32| {
            let mut timers = Timers::default();
            for key in 1..=idle {
                timers.set(key, Some(1_000_000 + u64::from(key)));
            }
            let before = timers.looked_at();
            for now in 0..1000 {
                timers.set(0, Some(now));
                assert_eq!(timers.first(), Some(now));
                assert_eq!(timers.pop_due(now), Some(0));
                assert_eq!(timers.pop_due(now), None);
            }
            (timers.looked_at() - before) / 1000
        };
        let (few, many) = (cost(3), cost(3000));
        // Up twelve levels, and down again with two comparisons a level.
        assert!(
            many <= 48 && many < few + 48,
            "{few} with 3, {many} with 3,000"
        );
    }
}
