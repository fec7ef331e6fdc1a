//! TCP connections that no check has validated yet, by the address they come from.
//!
//! # Job
//! Says which of them goes when there is no room: the oldest of an address, or of the address with the most.
//!
//! # Invariants
//! - IPv6 addresses count by /64, as one host owns all of that.
//! - No group is empty, and `by_size` has each group once, with its size.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// Connections by address, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unvalidated {
    groups: HashMap<IpAddr, VecDeque<u16>>,
    by_size: BTreeSet<(usize, IpAddr)>,
}

impl Unvalidated {
    /// Takes up the connection in `slot`.
    pub(crate) fn add(&mut self, address: IpAddr, slot: u16) {
        let key = group_of(address);
        let group = self.groups.entry(key).or_default();
        self.by_size.remove(&(group.len(), key));
        group.push_back(slot);
        self.by_size.insert((group.len(), key));
    }

    /// Forgets the connection in `slot`: it was validated, or is closed.
    pub(crate) fn remove(&mut self, address: IpAddr, slot: u16) {
        let key = group_of(address);
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        let Some(position) = group.iter().position(|&one| one == slot) else {
            return;
        };
        self.by_size.remove(&(group.len(), key));
        group.remove(position);
        if group.is_empty() {
            self.groups.remove(&key);
        } else {
            self.by_size.insert((group.len(), key));
        }
    }

    /// How many an address has.
    pub(crate) fn of(&self, address: IpAddr) -> usize {
        self.groups.get(&group_of(address)).map_or(0, VecDeque::len)
    }

    /// The oldest of an address.
    pub(crate) fn oldest_of(&self, address: IpAddr) -> Option<u16> {
        self.groups.get(&group_of(address))?.front().copied()
    }

    /// The oldest of the address with the most.
    pub(crate) fn oldest_of_largest(&self) -> Option<u16> {
        let (_, key) = self.by_size.last()?;
        self.groups.get(key)?.front().copied()
    }
}

fn group_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_oldest_of_an_address_goes_first() {
        let mut unvalidated = Unvalidated::default();
        for slot in 0..4 {
            unvalidated.add(v4(1), slot);
        }
        unvalidated.remove(v4(1), 0);
        unvalidated.remove(v4(1), 2);
        assert_eq!(unvalidated.oldest_of(v4(1)), Some(1));
        assert_eq!(unvalidated.of(v4(1)), 2);
        assert_eq!(unvalidated.oldest_of(v4(2)), None);
    }

    #[test]
    fn the_address_with_the_most_loses_its_oldest() {
        let mut unvalidated = Unvalidated::default();
        assert_eq!(unvalidated.oldest_of_largest(), None);
        unvalidated.add(v4(1), 10);
        for slot in 20..23 {
            unvalidated.add(v4(2), slot);
        }
        unvalidated.add(v4(3), 30);
        assert_eq!(unvalidated.oldest_of_largest(), Some(20));
        unvalidated.remove(v4(2), 20);
        unvalidated.remove(v4(2), 21);
        unvalidated.remove(v4(2), 22);
        unvalidated.add(v4(3), 31);
        assert_eq!(unvalidated.oldest_of_largest(), Some(30));
        for (address, slot) in [(1, 10), (3, 30), (3, 31)] {
            unvalidated.remove(v4(address), slot);
        }
        assert_eq!(unvalidated.oldest_of_largest(), None);
        assert!(unvalidated.groups.is_empty());
    }

    #[test]
    fn what_is_not_here_changes_nothing() {
        let mut unvalidated = Unvalidated::default();
        unvalidated.add(v4(1), 1);
        unvalidated.remove(v4(1), 2);
        unvalidated.remove(v4(9), 1);
        assert_eq!(unvalidated.oldest_of_largest(), Some(1));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_mapped_addresses_as_what_they_are() {
        let mut unvalidated = Unvalidated::default();
        unvalidated.add("2001:db8:0:1::1".parse().unwrap(), 1);
        unvalidated.add("2001:db8:0:1:ffff::2".parse().unwrap(), 2);
        unvalidated.add("2001:db8:0:2::1".parse().unwrap(), 3);
        unvalidated.add("::ffff:192.0.2.1".parse().unwrap(), 4);
        unvalidated.add(v4(1), 5);
        assert_eq!(unvalidated.of("2001:db8:0:1::9".parse().unwrap()), 2);
        assert_eq!(unvalidated.of("2001:db8:0:2::9".parse().unwrap()), 1);
        assert_eq!(unvalidated.of(v4(1)), 2);
    }
}
