//! Opening sockets: what UDP and TCP share, and why it may fail.
//!
//! # Job
//! Creates a bound, non-blocking, close-on-exec socket and turns the errno into an error with a remedy.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::address::RawAddress;

/// Why an address could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Another socket has the port.
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The process may not bind it.
    PermissionDenied {
        /// The address asked for.
        address: SocketAddr,
    },
    /// No interface of this host has the address.
    NoSuchAddress {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The kernel does not speak this address family.
    FamilyUnsupported {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Any other failure of a system call.
    System {
        /// The system call.
        call: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BindError::PortInUse { address } => write!(
                f,
                "port {} on {} is taken by another process; choose another port or stop that process",
                address.port(),
                address.ip()
            ),
            BindError::PermissionDenied { address } => write!(
                f,
                "no permission to bind {address}; ports below 1024 need CAP_NET_BIND_SERVICE"
            ),
            BindError::NoSuchAddress { address } => {
                write!(
                    f,
                    "no interface of this host has the address {}",
                    address.ip()
                )
            }
            BindError::FamilyUnsupported { address } => {
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                write!(f, "this kernel has no {family}, needed to bind {address}")
            }
            BindError::System {
                call,
                address,
                source,
            } => {
                write!(f, "{call} for {address} failed: {source}")
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl BindError {
    pub(crate) fn new(call: &'static str, address: SocketAddr, source: io::Error) -> BindError {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => BindError::PortInUse { address },
            Some(libc::EACCES | libc::EPERM) => BindError::PermissionDenied { address },
            Some(libc::EADDRNOTAVAIL) => BindError::NoSuchAddress { address },
            Some(libc::EAFNOSUPPORT) => BindError::FamilyUnsupported { address },
            _ => BindError::System {
                call,
                address,
                source,
            },
        }
    }
}

/// Sets an integer socket option.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: `value` lives through the call and its size is given; the descriptor is open (borrowed).
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an integer socket option.
pub(crate) fn get_option(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `value`; both live through the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A socket of `kind` bound to `address`, IPv6 without mapped IPv4.
pub(crate) fn bind(address: SocketAddr, kind: i32) -> Result<OwnedFd, BindError> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, kind | flags, 0) };
    if fd < 0 {
        return Err(BindError::new(
            "socket",
            address,
            io::Error::last_os_error(),
        ));
    }
    // SAFETY: `fd` was just opened and has no other owner.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let borrowed = std::os::fd::AsFd::as_fd(&fd);
    let failed = |call| move |source| BindError::new(call, address, source);
    if address.is_ipv6() {
        set_option(borrowed, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)
            .map_err(failed("setsockopt(IPV6_V6ONLY)"))?;
    }
    if kind == libc::SOCK_STREAM {
        // A restarted server must not wait out TIME_WAIT of its old connections.
        set_option(borrowed, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
            .map_err(failed("setsockopt(SO_REUSEADDR)"))?;
    }
    let (raw, length) = RawAddress::new(&address);
    // SAFETY: `raw` is a socket address of `length` bytes that lives through the call.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), length) };
    if result != 0 {
        return Err(BindError::new("bind", address, io::Error::last_os_error()));
    }
    Ok(fd)
}
