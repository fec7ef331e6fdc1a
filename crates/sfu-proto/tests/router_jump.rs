//! Senders that continue with other numbers: sequence jumps and replaced SSRCs.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::rtcp::{Packet as Rtcp, packets};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn key_frame_requests(call: &mut Call, peer: &mut Peer) -> usize {
    let inbox = call.inbox(peer);
    let all = inbox.rtcp.iter().flat_map(|compound| packets(compound));
    all.filter(|packet| matches!(packet, Ok(Rtcp::Pli(_))))
        .count()
}

#[test]
fn after_a_jump_pictures_wait_for_a_key_frame() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    for step in 0..20 {
        call.send(
            &mut alice,
            &video_packet(1000, step, 3000 * u32::from(step), step == 0),
        );
        call.wait(33 * MS);
    }
    call.wait(Duration::from_secs(1));
    key_frame_requests(&mut call, &mut alice);
    let before = call.inbox(&mut bob).rtp;
    assert_eq!(before.len(), 20);
    for step in 0..3 {
        let timestamp = 93_000 + 60_000 + 3000 * u32::from(step);
        call.send(
            &mut alice,
            &video_packet(1000, 5000 + step, timestamp, false),
        );
    }
    call.wait(20 * MS);
    assert!(
        call.inbox(&mut bob).rtp.is_empty(),
        "nothing to decode from"
    );
    assert_eq!(key_frame_requests(&mut call, &mut alice), 1);
    // A late packet from before the jump changes nothing.
    call.send(&mut alice, &video_packet(1000, 20, 60_000, false));
    call.send(&mut alice, &video_packet(1000, 5003, 162_000, true));
    call.send(&mut alice, &video_packet(1000, 5004, 165_000, false));
    let after = call.inbox(&mut bob).rtp;
    let numbers: Vec<u64> = after.iter().map(|packet| packet.index).collect();
    let last = before[19].index;
    assert_eq!(numbers, [last + 1, last + 2], "no gap to wait for");
    let later = after[0].timestamp.wrapping_sub(before[19].timestamp);
    assert!(
        (80_000..110_000).contains(&later),
        "{later}: as time passed"
    );
}

#[test]
fn packets_pending_when_numbers_jump_leave_no_gap() {
    for jump in [4000u16, 30_000] {
        let mut call = Call::new();
        let (mut alice, mut bob, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
        call.send(&mut alice, &audio_packet(1000, 0, 0, 40));
        for (sequence, timestamp) in [(1, 960), (1 + jump, 1920), (2 + jump, 2880)] {
            let datagram = alice.protect(&audio_packet(1000, sequence, timestamp, 40));
            call.deliver(&alice, &datagram);
        }
        call.flush();
        call.send(&mut alice, &audio_packet(1000, 3 + jump, 3840, 40));
        let got = call.inbox(&mut bob).rtp;
        let first = got[0].index;
        for (step, packet) in got.iter().enumerate() {
            assert_eq!(packet.index, first + step as u64);
        }
        assert!(got.len() >= 4, "{}", got.len());
    }
}

/// A camera whose SSRCs were not announced, with its RTX.
fn camera(ssrc: u32, sequence: u16, key_frame: bool) -> Packet {
    encoding_packet(0, ssrc, sequence, 3000 * u32::from(sequence), key_frame)
}

fn rtx(ssrc: u32, sequence: u16, original: u16) -> Packet {
    let mut payload = original.to_be_bytes().to_vec();
    payload.extend(vp8(false, 200));
    Packet {
        ssrc,
        payload_type: 97,
        sequence,
        timestamp: 3000 * u32::from(original),
        extensions: vec![(4, b"v".to_vec()), (11, b"r0".to_vec())],
        payload,
        ..Packet::default()
    }
}

fn stage() -> (Call, Peer, Peer, meeshy_sfu_proto::router::ProducerKey) {
    let mut call = Call::new();
    let mut source = simulcast(1);
    source
        .header_extensions
        .push((meeshy_sfu_proto::rtp::ExtensionUri::RepairedRid, 11));
    let (alice, bob, producer, _) = call.pair(source, video_consumer(5000, "0"));
    (call, alice, bob, producer)
}

#[test]
fn late_packets_of_a_replaced_ssrc_do_not_take_the_stream_back() {
    let (mut call, mut alice, mut bob, producer) = stage();
    for step in 0..10 {
        call.send(&mut alice, &camera(777, step, step == 0));
    }
    let late: Vec<_> = (10..14)
        .map(|step| alice.protect(&camera(777, step, step == 12)))
        .collect();
    call.send(&mut alice, &camera(999, 40_000, true));
    call.inbox(&mut bob);
    let mut first = None;
    for (step, datagram) in late.iter().enumerate() {
        call.deliver(&alice, datagram);
        call.send(&mut alice, &camera(999, 40_001 + step as u16, false));
        let got = call.inbox(&mut bob).rtp;
        assert_eq!(got.len(), 1, "of the new source alone");
        let first = *first.get_or_insert(got[0].index);
        assert_eq!(got[0].index, first + step as u64);
    }
    let stats = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stats.ssrc, stats.key_frames), (Some(999), 2));
    // Nor when the new one is silent for a while.
    call.wait(Duration::from_secs(3));
    call.send(&mut alice, &camera(777, 14, true));
    assert_eq!(
        call.router.producer_stats(producer).unwrap()[0].ssrc,
        Some(999)
    );
    // Long after, it may come back.
    call.wait(Duration::from_secs(10));
    call.send(&mut alice, &camera(777, 15, true));
    assert_eq!(
        call.router.producer_stats(producer).unwrap()[0].ssrc,
        Some(777)
    );
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
}

#[test]
fn late_rtx_of_a_replaced_ssrc_repairs_nothing_of_the_new_one() {
    let (mut call, mut alice, mut bob, producer) = stage();
    for step in (0..10).filter(|step| *step != 5) {
        call.send(&mut alice, &camera(777, step, step == 0));
    }
    call.send(&mut alice, &rtx(778, 0, 5));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 10, "its repair is known");
    // The new source counts where the old one did: a hole of the one could be filled from the other.
    for step in (0..20).filter(|step| *step != 15) {
        call.send(&mut alice, &camera(999, step, step == 0));
    }
    let before = call.inbox(&mut bob).rtp;
    assert_eq!(before.len(), 19);
    for (sequence, original) in [(1, 15), (2, 21), (3, 9000)] {
        call.send(&mut alice, &rtx(778, sequence, original));
    }
    assert!(
        call.inbox(&mut bob).rtp.is_empty(),
        "it repeats another picture"
    );
    let stats = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stats.ssrc, stats.rtx_ssrc), (Some(999), None));
    // Its own repair is taken.
    call.send(&mut alice, &rtx(1000, 0, 15));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
}

#[test]
fn rtx_that_runs_ahead_of_its_new_source_waits_for_it() {
    let (mut call, mut alice, mut bob, producer) = stage();
    for step in (0..10).filter(|step| *step != 5) {
        call.send(&mut alice, &camera(777, step, step == 0));
    }
    call.send(&mut alice, &rtx(778, 0, 6));
    call.inbox(&mut bob);
    call.send(&mut alice, &rtx(1000, 0, 5));
    assert!(
        call.inbox(&mut bob).rtp.is_empty(),
        "of numbers yet to come"
    );
    for step in (0..10).filter(|step| *step != 5) {
        call.send(&mut alice, &camera(999, step, step == 0));
    }
    assert_eq!(call.inbox(&mut bob).rtp.len(), 9);
    call.send(&mut alice, &rtx(1000, 1, 5));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
    let stats = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stats.ssrc, stats.rtx_ssrc), (Some(999), Some(1000)));
}

#[test]
fn a_run_that_starts_in_order_keeps_the_larger_packets_first() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    let sound = call.produce(&alice, audio(2000));
    call.consume(&bob, sound, audio_consumer(6000, "1"));
    call.send(&mut alice, &video_packet(1000, 5, 0, true));
    call.inbox(&mut bob);
    let sized = |mut packet: Packet, len: usize| {
        packet.payload.resize(len, 7);
        packet
    };
    for packet in [
        sized(video_packet(1000, 6, 3000, false), 900),
        sized(audio_packet(2000, 0, 0, 40), 500),
        sized(video_packet(1000, 10_000, 6000, true), 200),
    ] {
        let datagram = alice.protect(&packet);
        call.deliver(&alice, &datagram);
    }
    call.flush();
    let got = call.inbox(&mut bob).rtp;
    let lens: Vec<usize> = got.iter().map(|packet| packet.payload.len()).collect();
    assert_eq!(lens, [900, 500, 200]);
}
