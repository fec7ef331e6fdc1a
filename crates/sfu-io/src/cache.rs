//! Hints to the processor's caches.
//!
//! # Job
//! Lets a caller that knows what it will need next say so while it is still busy with something else.

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for the cache lines of the first `len` bytes of `soon` and does not wait for them. A hint: it changes nothing that can be read,
/// and on other processors than x86-64 it does nothing.
#[inline]
pub fn prefetch<T: ?Sized>(soon: &T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(soon).cast::<i8>();
        for line in (0..len.min(size_of_val(soon))).step_by(LINE) {
            // SAFETY: SSE is part of x86-64. A prefetch reads nothing and faults at no address; this one
            // stays inside the value anyway.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (soon, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_changes_nothing() {
        let value = [7u8; 200];
        prefetch(&value, usize::MAX);
        prefetch(&value[..0], 64);
        assert_eq!(value, [7; 200]);
    }
}
