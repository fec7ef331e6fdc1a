//! Addresses of this host, to offer when a socket listens on all of them.

use std::io;
use std::net::IpAddr;

use crate::address::RawAddress;

/// An address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The address.
    pub address: IpAddr,
    /// It reaches only this host.
    pub loopback: bool,
}

/// Addresses of all interfaces that are up, as the kernel lists them. IPv6 link-local ones are left out:
/// they mean nothing without a zone, which candidates cannot carry.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: `list` receives a pointer to a list that `freeifaddrs` below releases.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is a valid entry of the list, which lives until `freeifaddrs`.
        let entry = unsafe { *next };
        next = entry.ifa_next;
        if entry.ifa_addr.is_null() || entry.ifa_flags & libc::IFF_UP as u32 == 0 {
            continue;
        }
        // SAFETY: `ifa_addr` is not null; `sa_family` is the first member of every socket address.
        let family = i32::from(unsafe { (*entry.ifa_addr).sa_family });
        let length = match family {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
            _ => continue,
        };
        let mut raw = RawAddress::empty();
        // SAFETY: an address of this family has `length` readable bytes and `RawAddress` room for them.
        unsafe {
            std::ptr::copy_nonoverlapping(
                entry.ifa_addr.cast::<u8>(),
                (&raw mut raw).cast::<u8>(),
                length,
            );
        }
        let Some(address) = raw.get().map(|a| a.ip()) else {
            continue;
        };
        if matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            continue;
        }
        found.push(Interface {
            address,
            loopback: address.is_loopback(),
        });
    }
    // SAFETY: `list` came from `getifaddrs` and is not used afterwards.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_them() {
        let all = interfaces().unwrap();
        assert!(
            all.iter().any(|i| i.loopback && i.address.is_ipv4()),
            "{all:?}"
        );
    }
}
