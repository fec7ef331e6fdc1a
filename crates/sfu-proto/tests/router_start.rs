//! Where a receiver starts decoding: at the first packet of a key frame, whenever it arrives.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::router::{Codec, ConsumerKey, ProducerKey};
use meeshy_sfu_proto::rtcp::{Packet as Rtcp, packets};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

const SPS: &[u8] = &[0x67, 1];
const PPS: &[u8] = &[0x68, 1];
const PARAMETER_SETS: &[u8] = &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1];
const IDR_START: &[u8] = &[0x7c, 0x85, 1, 2, 3];
const IDR_END: &[u8] = &[0x7c, 0x45, 1, 2, 3];
const INTER: &[u8] = &[0x61, 1, 2, 3];

fn source(codec: Codec) -> meeshy_sfu_proto::router::ProducerConfig {
    let mut source = video(1000);
    source.codecs[0].codec = Some(codec);
    source
}

/// Packets of one sender, numbered as they are made.
struct Sender {
    peer: Peer,
    sequence: u16,
}

impl Sender {
    fn packet(&mut self, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = video_packet(1000, self.sequence, timestamp, false);
        packet.payload = payload.to_vec();
        self.sequence += 1;
        self.peer.protect(&packet)
    }
}

fn stage(codec: Codec) -> (Call, Sender, Peer, ProducerKey, ConsumerKey) {
    let mut call = Call::new();
    let (peer, bob, producer, consumer) = call.pair(source(codec), video_consumer(5000, "0"));
    (
        call,
        Sender {
            peer,
            sequence: 100,
        },
        bob,
        producer,
        consumer,
    )
}

fn deliver(call: &mut Call, alice: &Sender, datagram: &[u8]) {
    call.deliver(&alice.peer, datagram);
    call.flush();
}

fn payloads(call: &mut Call, bob: &mut Peer) -> Vec<Vec<u8>> {
    let got = call.inbox(bob).rtp;
    for pair in got.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1, "in order, without a gap");
    }
    got.into_iter().map(|packet| packet.payload).collect()
}

#[test]
fn a_lone_idr_is_no_start_once_the_stream_has_shown_parameter_sets() {
    for lost_first in [false, true] {
        let (mut call, mut alice, mut bob, _, consumer) = stage(Codec::H264);
        for payload in [PARAMETER_SETS, IDR_START, IDR_END, INTER] {
            let datagram = alice.packet(0, payload);
            deliver(&mut call, &alice, &datagram);
        }
        assert_eq!(payloads(&mut call, &mut bob).len(), 4);
        for paused in [true, false] {
            call.router
                .set_consumer_paused(consumer, paused, call.now)
                .unwrap();
        }
        // The next key frame, whose parameter sets are lost, or were not sent at all.
        let sets = lost_first.then(|| alice.packet(3000, PARAMETER_SETS));
        let mut whole = vec![PARAMETER_SETS.to_vec()];
        for payload in [IDR_START, IDR_END] {
            let datagram = alice.packet(3000, payload);
            deliver(&mut call, &alice, &datagram);
            whole.push(payload.to_vec());
        }
        let inter = alice.packet(6000, INTER);
        deliver(&mut call, &alice, &inter);
        whole.push(INTER.to_vec());
        assert_eq!(
            payloads(&mut call, &mut bob),
            [[0; 0]; 0],
            "cannot be decoded"
        );
        if let Some(sets) = sets {
            call.wait(60 * MS);
            deliver(&mut call, &alice, &sets);
            assert_eq!(
                payloads(&mut call, &mut bob),
                whole,
                "repaired, and caught up"
            );
        }
    }
}

#[test]
fn a_consumer_begins_with_the_repaired_parameter_sets_and_gets_the_picture_behind_them() {
    // Each of them late in turn; SPS and PPS in packets of their own.
    for late in 0..3 {
        let (mut call, mut carol, mut dave, producer, _) = stage(Codec::H264);
        let all = [SPS, PPS, IDR_START, IDR_END, INTER];
        let first = carol.packet(0, PARAMETER_SETS);
        deliver(&mut call, &carol, &first);
        payloads(&mut call, &mut dave);
        let mut bob = call.peer();
        call.consume(&bob, producer, video_consumer(5000, "0"));
        let mut datagrams: Vec<Vec<u8>> = all
            .iter()
            .enumerate()
            .map(|(step, payload)| carol.packet(if step < 4 { 3000 } else { 6000 }, payload))
            .collect();
        let held = datagrams.remove(late);
        for datagram in &datagrams {
            deliver(&mut call, &carol, datagram);
        }
        call.wait(40 * MS);
        deliver(&mut call, &carol, &held);
        let mut got = call.inbox(&mut bob).rtp;
        got.sort_by_key(|packet| packet.index);
        let contents: Vec<_> = got.iter().map(|packet| packet.payload.clone()).collect();
        assert_eq!(contents, all, "late: {late}");
    }
}

#[test]
fn parameter_sets_overtaken_by_the_first_picture_of_all_still_reach_its_receivers() {
    let (mut call, mut alice, mut bob, ..) = stage(Codec::H264);
    let sets = alice.packet(0, PARAMETER_SETS);
    let start = alice.packet(0, IDR_START);
    let end = alice.packet(0, IDR_END);
    deliver(&mut call, &alice, &start);
    deliver(&mut call, &alice, &sets);
    deliver(&mut call, &alice, &end);
    let got = payloads(&mut call, &mut bob);
    let whole = [PARAMETER_SETS, IDR_START, IDR_END];
    assert!(got.ends_with(&whole.map(<[u8]>::to_vec)), "{got:?}");
}

#[test]
fn without_parameter_sets_a_consumer_starts_at_an_intra_picture() {
    let (mut call, mut alice, mut bob, ..) = stage(Codec::H264);
    for payload in [IDR_START, IDR_END, INTER] {
        let datagram = alice.packet(0, payload);
        deliver(&mut call, &alice, &datagram);
    }
    assert_eq!(payloads(&mut call, &mut bob).len(), 3);
}

#[test]
fn a_sender_of_parameter_sets_at_other_times_is_recognised_by_three_pictures_without() {
    let (mut call, mut alice, mut bob, _, consumer) = stage(Codec::H264);
    for payload in [PARAMETER_SETS, IDR_START, IDR_END] {
        let datagram = alice.packet(0, payload);
        deliver(&mut call, &alice, &datagram);
    }
    payloads(&mut call, &mut bob);
    for paused in [true, false] {
        call.router
            .set_consumer_paused(consumer, paused, call.now)
            .unwrap();
    }
    for picture in 1..=3 {
        for payload in [IDR_START, IDR_END] {
            let datagram = alice.packet(3000 * picture, payload);
            deliver(&mut call, &alice, &datagram);
        }
        let got = payloads(&mut call, &mut bob).len();
        assert_eq!(got, if picture < 3 { 0 } else { 2 }, "picture {picture}");
    }
}

/// The first packet of a key frame, another of it, and one of the picture behind.
fn pictures(codec: Codec) -> [Vec<u8>; 3] {
    match codec {
        Codec::Vp8 => [vec![0x10, 0, 1], vec![0x00, 9, 2], vec![0x10, 1, 3]],
        // I, B or not; P for the picture behind.
        Codec::Vp9 => [vec![0x88, 1, 1], vec![0x84, 1, 2], vec![0xcc, 2, 3]],
        Codec::Av1 => [vec![0x18, 1, 1], vec![0x90, 9, 2], vec![0x10, 1, 3]],
        _ => [PARAMETER_SETS.to_vec(), IDR_START.to_vec(), INTER.to_vec()],
    }
}

#[test]
fn a_late_first_packet_of_a_key_frame_starts_the_consumer_and_the_rest_follows() {
    for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264] {
        for late in [Duration::ZERO, 60 * MS] {
            let (mut call, mut alice, mut bob, producer, _) = stage(codec);
            let all = pictures(codec);
            let warm = alice.packet(0, &all[2]);
            if codec == Codec::H264 {
                let shown = alice.packet(0, PARAMETER_SETS);
                deliver(&mut call, &alice, &shown);
            }
            deliver(&mut call, &alice, &warm);
            call.inbox(&mut bob);
            let mut carol = call.peer();
            call.consume(&carol, producer, video_consumer(5000, "0"));
            let first = alice.packet(3000, &all[0]);
            for (timestamp, payload) in [(3000, &all[1]), (6000, &all[2])] {
                let datagram = alice.packet(timestamp, payload);
                deliver(&mut call, &alice, &datagram);
            }
            assert!(call.inbox(&mut carol).rtp.is_empty(), "{codec:?}");
            call.wait(late);
            deliver(&mut call, &alice, &first);
            assert_eq!(payloads(&mut call, &mut carol), all, "{codec:?}");
            let next = alice.packet(9000, &all[2]);
            deliver(&mut call, &alice, &next);
            assert_eq!(payloads(&mut call, &mut carol).len(), 1);
        }
    }
}

#[test]
fn a_key_frame_whose_first_packet_is_lost_is_requested_again() {
    for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264] {
        let (mut call, mut alice, mut bob, producer, _) = stage(codec);
        let all = pictures(codec);
        if codec == Codec::H264 {
            let shown = alice.packet(0, PARAMETER_SETS);
            deliver(&mut call, &alice, &shown);
        }
        call.wait(Duration::from_secs(2));
        call.inbox(&mut alice.peer);
        call.inbox(&mut bob);
        let mut carol = call.peer();
        call.consume(&carol, producer, video_consumer(5000, "0"));
        call.wait(MS);
        alice.packet(3000, &all[0]);
        for step in 1..150 {
            let datagram = alice.packet(3000 * step, &all[if step == 1 { 1 } else { 2 }]);
            deliver(&mut call, &alice, &datagram);
            call.wait(10 * MS);
        }
        let inbox = call.inbox(&mut alice.peer);
        let asked = inbox.rtcp.iter().flat_map(|compound| packets(compound));
        let asked = asked
            .filter(|packet| matches!(packet, Ok(Rtcp::Pli(_))))
            .count();
        assert!(asked >= 2, "{codec:?}: {asked}");
        assert!(call.inbox(&mut carol).rtp.is_empty(), "{codec:?}");
    }
}

#[test]
fn a_late_key_frame_of_an_earlier_picture_is_not_sent_behind_a_newer_one() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    let former = alice.protect(&video_packet(1000, 8, 0, true));
    call.send(&mut alice, &video_packet(1000, 10, 3000, true));
    let first = call.inbox(&mut bob).rtp;
    assert_eq!(first.len(), 1);
    call.deliver(&alice, &former);
    call.flush();
    assert!(call.inbox(&mut bob).rtp.is_empty());
    call.send(&mut alice, &video_packet(1000, 11, 6000, false));
    assert_eq!(call.inbox(&mut bob).rtp[0].index, first[0].index + 1);
}

#[test]
fn an_encoding_that_begins_without_the_parameter_sets_that_another_has_shown_is_no_start() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let mut config = simulcast(2);
    config.codecs[0].codec = Some(Codec::H264);
    let producer = call.produce(&alice, config);
    call.consume(&bob, producer, video_consumer(5000, "0"));
    let mut got = |encoding: usize, first: u16, contents: &[&[u8]]| {
        for (sequence, payload) in (first..).zip(contents) {
            let ssrc = 100 + encoding as u32;
            let ticks = 3000 * u32::from(first);
            let mut packet = encoding_packet(encoding, ssrc, sequence, ticks, true);
            packet.payload = payload.to_vec();
            call.send(&mut alice, &packet);
        }
        payloads(&mut call, &mut bob)
    };
    let whole = [PARAMETER_SETS, IDR_START, IDR_END];
    assert_eq!(got(0, 0, &whole), whole);
    // The very first packet of the second encoding is lost: nobody can know of it.
    assert_eq!(got(1, 1, &whole[1..]), [[0; 0]; 0], "cannot be decoded");
    assert_eq!(got(0, 3, &[INTER]), [INTER], "the first goes on");
    assert_eq!(got(1, 3, &whole), whole);
}
