//! Which transport a datagram belongs to.
//!
//! # Job
//! STUN is looked up by our username fragment (the first contact of a client, and any later check);
//! everything else by where it came from. Whether a source is to be trusted is the link's business: an
//! address is entered here only after its check was valid.
//!
//! # Invariants
//! - An address belongs to one transport at a time, the one that validated it last.
//! - At most `MAX_REMOTES` addresses per transport; beyond, those its link has forgotten go, or else its oldest.
//! - Closing a transport leaves nothing of it behind.
//!
//! # Cost
//! One hash of an address per datagram. Hashes are seeded: peers choose their ports.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use meeshy_sfu_proto::net::Destination;

/// Addresses one transport may hold: a client with many interfaces, over UDP and TCP.
pub(crate) const MAX_REMOTES: usize = 16;

/// Where datagrams go: position of the router, key of the transport in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) router: u32,
    pub(crate) transport: u32,
}

/// The two look-ups of a worker.
#[derive(Debug)]
pub(crate) struct Demux {
    remotes: HashMap<Destination, Target, Seed>,
    fragments: HashMap<Box<str>, Target>,
}

/// What a transport has entered; kept with it, so that closing finds it.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    remotes: Vec<Destination>,
    fragments: Vec<Box<str>>,
}

impl Demux {
    pub(crate) fn new() -> Demux {
        let seed = Seed(RandomState::new().hash_one(0u64));
        Demux {
            remotes: HashMap::with_hasher(seed),
            fragments: HashMap::new(),
        }
    }

    /// The transport that last validated this address.
    #[inline]
    pub(crate) fn by_remote(&self, from: &Destination) -> Option<Target> {
        self.remotes.get(from).copied()
    }

    /// The transport with this username fragment.
    pub(crate) fn by_fragment(&self, fragment: &str) -> Option<Target> {
        self.fragments.get(fragment).copied()
    }

    /// Makes `fragments` the ones of `target`.
    pub(crate) fn set_fragments<'a>(
        &mut self,
        entries: &mut Entries,
        target: Target,
        fragments: impl Iterator<Item = &'a str>,
    ) {
        for old in entries.fragments.drain(..) {
            self.fragments.remove(&old);
        }
        for fragment in fragments {
            self.fragments.insert(fragment.into(), target);
            entries.fragments.push(fragment.into());
        }
    }

    /// `from` was validated for `target`. Gives the addresses that had to make room: those that are no longer
    /// `known` to its link.
    pub(crate) fn enter(
        &mut self,
        entries: &mut Entries,
        target: Target,
        from: Destination,
        known: impl Fn(&Destination) -> bool,
    ) -> Vec<Destination> {
        let mut gone = Vec::new();
        if self.remotes.get(&from) == Some(&target) {
            return gone;
        }
        // Another transport may have had it meanwhile: it becomes the newest, and must not make room for itself.
        entries.remotes.retain(|remote| *remote != from);
        if entries.remotes.len() == MAX_REMOTES {
            gone.extend(entries.remotes.extract_if(.., |remote| !known(remote)));
            if gone.is_empty() {
                gone.push(entries.remotes.remove(0));
            }
            for remote in &gone {
                self.forget(target, remote);
            }
        }
        self.remotes.insert(from, target);
        entries.remotes.push(from);
        gone
    }

    /// The connection behind `from` ended, whoever used it.
    pub(crate) fn leave(&mut self, from: &Destination) {
        self.remotes.remove(from);
    }

    /// `target` closed.
    pub(crate) fn close(&mut self, entries: &mut Entries, target: Target) {
        for remote in std::mem::take(&mut entries.remotes) {
            self.forget(target, &remote);
        }
        for fragment in entries.fragments.drain(..) {
            self.fragments.remove(&fragment);
        }
    }

    /// Addresses known.
    pub(crate) fn remotes(&self) -> usize {
        self.remotes.len()
    }

    /// Fragments known.
    #[cfg(test)]
    pub(crate) fn fragments(&self) -> usize {
        self.fragments.len()
    }

    fn forget(&mut self, target: Target, remote: &Destination) {
        // Another transport may have validated the address since.
        if self.remotes.get(remote) == Some(&target) {
            self.remotes.remove(remote);
        }
    }
}

/// A seeded multiplicative hash.
#[derive(Clone, Copy, Debug)]
struct Seed(u64);

impl BuildHasher for Seed {
    type Hasher = Multiply;

    fn build_hasher(&self) -> Multiply {
        Multiply(self.0)
    }
}

#[derive(Debug)]
struct Multiply(u64);

impl Multiply {
    #[inline]
    fn add(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Multiply {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.add(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use meeshy_sfu_proto::net::SocketId;

    use super::*;

    const A: Target = Target {
        router: 0,
        transport: 1,
    };
    const B: Target = Target {
        router: 0,
        transport: 2,
    };

    fn from(port: u16) -> Destination {
        Destination {
            socket: SocketId(0),
            remote: ([192, 0, 2, 1], port).into(),
        }
    }

    #[test]
    fn an_address_belongs_to_the_transport_that_validated_it_last() {
        let mut demux = Demux::new();
        let (mut a, mut b) = (Entries::default(), Entries::default());
        demux.enter(&mut a, A, from(1), |_| true);
        assert_eq!(demux.by_remote(&from(1)), Some(A));
        demux.enter(&mut b, B, from(1), |_| true);
        demux.close(&mut a, A);
        assert_eq!(demux.by_remote(&from(1)), Some(B));
        demux.close(&mut b, B);
        assert_eq!(demux.remotes(), 0);
    }

    /// The fuzzer found it: the address that comes back was in the list, and made room for itself.
    #[test]
    fn an_address_that_comes_back_to_a_full_transport_is_found() {
        for known in [true, false] {
            let mut demux = Demux::new();
            let (mut a, mut b) = (Entries::default(), Entries::default());
            for port in 0..MAX_REMOTES as u16 {
                demux.enter(&mut a, A, from(port), |_| true);
            }
            demux.enter(&mut b, B, from(0), |_| true);
            let gone = demux.enter(&mut a, A, from(0), |_| known);
            assert!(!gone.contains(&from(0)), "{gone:?}");
            assert_eq!(demux.by_remote(&from(0)), Some(A));
            assert_eq!(entries_of(&a, from(0)), 1);
            demux.leave(&from(1));
            let gone = demux.enter(&mut a, A, from(1), |_| known);
            assert!(!gone.contains(&from(1)), "{gone:?}");
            assert_eq!(demux.by_remote(&from(1)), Some(A));
            assert_eq!(entries_of(&a, from(1)), 1);
        }
    }

    fn entries_of(entries: &Entries, from: Destination) -> usize {
        entries
            .remotes
            .iter()
            .filter(|remote| **remote == from)
            .count()
    }

    #[test]
    fn a_transport_holds_a_bounded_number_of_addresses() {
        let mut demux = Demux::new();
        let mut a = Entries::default();
        for round in 0..3 {
            for port in 0..100 {
                demux.enter(&mut a, A, from(port), |_| true);
            }
            assert_eq!(demux.remotes(), MAX_REMOTES, "round {round}");
        }
        assert_eq!(demux.by_remote(&from(99)), Some(A));
        assert_eq!(demux.by_remote(&from(0)), None);
        demux.close(&mut a, A);
        assert_eq!(demux.remotes(), 0);
    }

    #[test]
    fn what_the_link_still_knows_stays_however_old_it_is() {
        let mut demux = Demux::new();
        let mut a = Entries::default();
        let mut gone = Vec::new();
        for port in 0..100 {
            // In use since the beginning, while others come and go.
            let known = |remote: &Destination| [0, port].contains(&remote.remote.port());
            gone.extend(demux.enter(&mut a, A, from(port), known));
        }
        assert_eq!(demux.by_remote(&from(0)), Some(A));
        assert_eq!(gone.len() + demux.remotes(), 100);
        assert!(gone.iter().all(|remote| demux.by_remote(remote).is_none()));
    }

    #[test]
    fn new_fragments_replace_the_old_ones() {
        let mut demux = Demux::new();
        let mut a = Entries::default();
        demux.set_fragments(&mut a, A, ["old"].into_iter());
        demux.set_fragments(&mut a, A, ["old", "new"].into_iter());
        assert_eq!(demux.by_fragment("old"), Some(A));
        demux.set_fragments(&mut a, A, ["new"].into_iter());
        assert_eq!(demux.by_fragment("old"), None);
        demux.close(&mut a, A);
        assert_eq!(demux.fragments(), 0);
    }
}
