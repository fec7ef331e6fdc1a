//! The packet path does not allocate after warm-up, as counted by a global allocator.
//!
//! The only unsafe code of this crate, in a test: a global allocator needs it.
#![allow(clippy::unwrap_used, unsafe_code)]

mod router_call;
mod router_mesh;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use router_call::Call;
use router_mesh::Mesh;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() -> u64 {
    COUNT.with(Cell::get)
}

#[test]
fn the_packet_path_does_not_allocate_after_warm_up() {
    for (padding, feedback) in [(false, false), (true, true)] {
        let seconds = Duration::from_secs;
        let mut mesh = Mesh::new(Call::new(), 10, seconds(10), padding, feedback);
        let window = Duration::from_millis(2);
        mesh.run_until(seconds(4), window);
        let (before, sent) = (count(), mesh.arena.datagrams);
        let packets = mesh.run_until(seconds(10), window);
        let taken = count() - before;
        assert!(packets > 5_000, "{packets}");
        assert!(mesh.arena.datagrams - sent > 9 * 5_000);
        assert_eq!(taken, 0, "{taken} allocations for {packets} packets in");
    }
}
