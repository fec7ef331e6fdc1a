//! Prefetching touches memory step by step, and changes nothing.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::cell::Cell;

use meeshy_sfu_proto::net::{Destination, Sink};
use meeshy_sfu_proto::router::{PrefetchStep, Router, TransportKey};
use router_call::*;

/// Counts the bytes asked for.
#[derive(Default)]
struct Asked(Cell<usize>);

impl Sink for Asked {
    fn space(&mut self, _max: usize) -> &mut [u8] {
        panic!("looking ahead sends nothing");
    }

    fn commit(&mut self, _to: &Destination, _len: usize) {}

    fn end_train(&mut self) {}

    fn prefetch<T: ?Sized>(&self, soon: &T, len: usize) {
        self.0.set(self.0.get() + len.min(size_of_val(soon)));
    }
}

fn asked(router: &mut Router, transport: TransportKey, datagram: &[u8]) -> Vec<usize> {
    let step = |step| {
        let asked = Asked::default();
        router.prefetch(transport, datagram, step, &asked);
        asked.0.get()
    };
    PrefetchStep::STEPS.into_iter().map(step).collect()
}

#[test]
fn every_step_of_a_known_packet_prefetches_state() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    let next = alice.protect(&video_packet(1000, 1, 3000, false));
    let bytes = asked(&mut call.router, alice.transport, &next);
    assert!(bytes.iter().all(|bytes| *bytes > 0), "{bytes:?}");
    call.deliver(&alice, &next);
    let lists = asked(&mut call.router, alice.transport, &next).split_off(5);
    assert_eq!(
        lists,
        [0, 0],
        "a pending packet has brought the lists into the caches"
    );
    call.flush();
    assert_eq!(call.inbox(&mut bob).rtp.len(), 2);
}

#[test]
fn packets_without_a_stream_prefetch_nothing_more() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, audio(1000));
    let stranger = alice.protect(&audio_packet(77, 1, 0, 40));
    let bytes = asked(&mut call.router, alice.transport, &stranger);
    assert_eq!(bytes[2..], [0; 5], "an unknown SSRC");
    for garbage in [&b""[..], &[0x80], &[0xff; 40], &[0x80; 11]] {
        let bytes = asked(&mut call.router, alice.transport, garbage);
        assert_eq!(bytes[1..], [0; 6], "{garbage:?}");
    }
    let unknown = TransportKey(99);
    assert_eq!(asked(&mut call.router, unknown, &stranger), [0; 7]);
    assert_eq!(call.router.pending(), 0);
}

#[test]
fn only_the_lists_of_receivers_are_prefetched_for_a_whole_batch() {
    let shared: Vec<PrefetchStep> = PrefetchStep::STEPS
        .into_iter()
        .filter(|step| step.is_shared())
        .collect();
    assert_eq!(shared, [PrefetchStep::Lists, PrefetchStep::Ends]);
}

/// Counts the bytes prefetched while it takes datagrams.
struct Flushed {
    buffer: Vec<u8>,
    prefetched: Cell<usize>,
}

impl Sink for Flushed {
    fn space(&mut self, max: usize) -> &mut [u8] {
        &mut self.buffer[..max]
    }

    fn commit(&mut self, _to: &Destination, _len: usize) {}

    fn end_train(&mut self) {}

    fn prefetch<T: ?Sized>(&self, soon: &T, len: usize) {
        let bytes = len.min(size_of_val(soon));
        self.prefetched.set(self.prefetched.get() + bytes);
    }
}

#[test]
fn a_flush_prefetches_the_destinations_behind_the_one_it_sends_to() {
    let mut prefetched = Vec::new();
    for receivers in 1..4u32 {
        let mut call = Call::new();
        let mut alice = call.peer();
        let producer = call.produce(&alice, audio(1000));
        for number in 0..receivers {
            let receiver = call.peer();
            call.consume(&receiver, producer, audio_consumer(5000 + number, "0"));
        }
        let datagram = alice.protect(&audio_packet(1000, 0, 0, 40));
        call.deliver(&alice, &datagram);
        let mut sink = Flushed {
            buffer: vec![0; 2048],
            prefetched: Cell::new(0),
        };
        call.router.flush(call.now, &mut sink);
        prefetched.push(sink.prefetched.get());
    }
    let [one, two, three] = prefetched[..] else {
        panic!("three flushes");
    };
    assert_eq!(one, 0, "no destination behind it");
    assert_eq!(two % 64, 0, "whole cache lines of a consumer");
    assert!(
        two > 0 && three > 2 * two,
        "{two} {three}: its transport too"
    );
}
