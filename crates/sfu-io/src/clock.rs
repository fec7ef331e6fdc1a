//! CPU clocks and sleeping.
//!
//! # Job
//! Reads how much CPU time a thread or the process used; sleeps until an [`Instant`].

use std::mem::zeroed;
use std::time::{Duration, Instant};

/// CPU time the calling thread has used, kernel time on its behalf included.
pub fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time all threads of the process have used.
pub fn process_cpu() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Sleeps until `deadline`; returns at once when it is over. See [`crate::thread::set_timer_slack`] for how
/// punctual that is.
pub fn sleep_until(deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

fn read(clock: libc::clockid_t) -> Duration {
    // SAFETY: integers only, zero is valid.
    let mut time: libc::timespec = unsafe { zeroed() };
    // SAFETY: `time` lives through the call; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_on_both_clocks() {
        // The process's clock first: what passes between the two readings must not be missing from it.
        let process = process_cpu();
        let thread = thread_cpu();
        let mut x = 1u64;
        while thread_cpu() - thread < Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(process_cpu() - process >= Duration::from_millis(2));
    }
}
