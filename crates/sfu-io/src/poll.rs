//! Waiting for sockets and for other threads.
//!
//! # Job
//! epoll with nanosecond timeouts, and an event descriptor one thread rings and another waits for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// epoll_pwait2 is missing (kernels before 5.11).
static COARSE: AtomicBool = AtomicBool::new(false);

/// What to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Input, or the end of it.
    Readable,
    /// Input, and room for output.
    Both,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollEvent {
    /// As given to [`Poller::add`].
    pub token: u64,
    /// Input, an error or the end waits.
    pub readable: bool,
    /// There is room for output.
    pub writable: bool,
}

/// A set of descriptors to wait for, level-triggered.
pub struct Poller {
    fd: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS]>,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Poller {
            // SAFETY: `fd` was just opened and has no other owner.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS]),
        })
    }

    /// Watches `fd` under `token`. Closing the descriptor ends it.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes token or interest.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Stops watching.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::Readable)
    }

    /// Waits until something is ready or `timeout` is over (None: forever) and gives what is ready.
    /// A signal ends the wait early with nothing.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = PollEvent> + '_> {
        let count = self.wait_raw(timeout);
        let count = match count {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => return Err(e),
        };
        Ok(self.events[..count].iter().map(|event| {
            let bits = event.events;
            PollEvent {
                token: event.u64,
                readable: bits & !(libc::EPOLLOUT as u32) != 0,
                writable: bits & libc::EPOLLOUT as u32 != 0,
            }
        }))
    }

    fn control(
        &self,
        operation: i32,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let bits = match interest {
            Interest::Readable => libc::EPOLLIN,
            Interest::Both => libc::EPOLLIN | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event {
            events: (bits | libc::EPOLLRDHUP) as u32,
            u64: token,
        };
        // SAFETY: both descriptors are open; `event` lives through the call.
        let result = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                operation,
                fd.as_raw_fd(),
                &raw mut event,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn wait_raw(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if !COARSE.load(Relaxed) {
            let limit = timeout.map(|t| libc::timespec {
                tv_sec: t.as_secs().min(i32::MAX as u64) as libc::time_t,
                tv_nsec: t.subsec_nanos() as libc::c_long,
            });
            let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the event array has EVENTS entries; `limit` is null or points to a timespec that
            // lives through the call; a null signal mask (size 8) leaves the mask alone.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.fd.as_raw_fd(),
                    self.events.as_mut_ptr(),
                    EVENTS as libc::c_int,
                    limit,
                    std::ptr::null::<libc::sigset_t>(),
                    8usize,
                )
            };
            if n >= 0 {
                return Ok(n as usize);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EPERM) => COARSE.store(true, Relaxed),
                _ => return Err(error),
            }
        }
        // Rounded up: waking early would spin until the deadline.
        let millis = timeout.map_or(-1, |t| {
            i32::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the event array has EVENTS entries.
        let n = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                millis,
            )
        };
        if n >= 0 {
            Ok(n as usize)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("fd", &self.fd).finish()
    }
}

/// A bell between threads: rung by any, heard through a descriptor that polls as readable.
#[derive(Debug)]
pub struct EventFd {
    file: File,
}

impl EventFd {
    /// A silent bell.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and has no other owner.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(EventFd { file })
    }

    /// Rings it. Ringing twice before it is drained is heard once.
    pub fn notify(&self) {
        // The only failure is a counter at its limit, and then it rings already.
        let _ = (&self.file).write(&1u64.to_ne_bytes());
    }

    /// Silences it; true when it had been rung.
    pub fn drain(&self) -> bool {
        (&self.file).read(&mut [0u8; 8]).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
