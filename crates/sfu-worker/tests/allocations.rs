//! The packet path allocates nothing once it is warm. Alone in its process, for it counts allocations.
#![allow(unsafe_code, clippy::unwrap_used)]

mod rig;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use meeshy_sfu_worker::Event;
use meeshy_sfu_worker::command::*;
use rig::{AUDIO_PT, Rig, VIDEO_PT, Way, consume, consume_one, produce, vp8};
use str0m::media::MediaKind as PeerKind;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Threads of the test itself; what is left is the worker.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: hands everything to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(SeqCst) && !OURS.try_with(Cell::get).unwrap_or(true) {
            ALLOCATIONS.fetch_add(1, SeqCst);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn forwarding_allocates_nothing_between_two_reports() {
    OURS.set(true);
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let mut publisher = rig.join(1, 1, Way::UDP);
    let mut subscriber = rig.join(1, 2, Way::UDP);
    publisher.sends("a", PeerKind::Audio, 10);
    publisher.sends("v", PeerKind::Video, 20);
    subscriber.receives("a", PeerKind::Audio, 30);
    subscriber.receives("v", PeerKind::Video, 40);
    rig.connect(&mut [&mut publisher, &mut subscriber]);
    // Without levels no speaker is reported, so that only packets are left to do.
    for (producer, kind, ssrc) in [(1, MediaKind::Audio, 10), (2, MediaKind::Video, 20)] {
        let mut wanted = produce(1, 1, producer, kind, ssrc);
        wanted
            .header_extensions
            .retain(|e| !e.uri.ends_with("audio-level"));
        rig.tell(Command::Produce(wanted));
    }
    let entries = vec![
        consume_one(1, 1, MediaKind::Audio, 30),
        consume_one(2, 2, MediaKind::Video, 40),
    ];
    rig.ask::<ConsumeResults>(consume(1, 2, entries));

    let mut number = 0;
    let mut send = |peers: &mut [&mut rig::peer::Peer]| {
        number += 1;
        peers[0].write(10, AUDIO_PT, number, vec![0; 80]);
        peers[0].write(20, VIDEO_PT, number, vp8(number as u32, number % 100 == 1));
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut peers = [&mut publisher, &mut subscriber];
    // Three reports of statistics: buffers have their size, scores have settled.
    rig.until(&mut peers, "the warm-up", |rig, peers| {
        send(peers);
        rig.events
            .iter()
            .filter(|e| matches!(e, Event::Stats(_)))
            .count()
            >= 3
    });
    let checks = |peers: &[&mut rig::peer::Peer]| peers.iter().map(|p| p.checks).sum::<u64>();
    let (before, checks_before) = (peers[1].received.len(), checks(&peers));
    COUNTING.store(true, SeqCst);
    // Well inside the second until the next report.
    let until = Instant::now() + Duration::from_millis(600);
    rig.until(&mut peers, "half a second of media", |_, peers| {
        send(peers);
        Instant::now() > until
    });
    COUNTING.store(false, SeqCst);
    let forwarded = peers[1].received.len() - before;
    assert!(forwarded > 100, "{forwarded}");
    // The answer to an ICE check is made anew; there is one every few seconds.
    let answers = checks(&peers) - checks_before;
    assert!(
        ALLOCATIONS.load(SeqCst) <= answers,
        "{answers} answers, {forwarded} packets"
    );
}
