//! Pauses of producers and consumers: nothing is forwarded, no sequence number is lost, video resumes with a key
//! frame.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::rtcp::nack;
use router_call::*;

#[test]
fn a_pause_leaves_no_gap_and_ends_with_a_key_frame_request() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(Duration::from_secs(2));
    call.inbox(&mut alice);
    call.router
        .set_consumer_paused(consumer, true, call.now)
        .unwrap();
    for step in 1..50 {
        call.send(
            &mut alice,
            &video_packet(1000, step, 3000 * u32::from(step), false),
        );
    }
    call.router
        .set_consumer_paused(consumer, false, call.now)
        .unwrap();
    call.wait(Duration::from_millis(1));
    let asked = key_frame_requests(&call.inbox(&mut alice).rtcp);
    assert_eq!(asked, 1);
    call.send(&mut alice, &video_packet(1000, 50, 150_000, false));
    call.send(&mut alice, &video_packet(1000, 51, 153_000, true));
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 2);
    assert_eq!(got[1].index, got[0].index + 1);
    assert_eq!(got[1].timestamp, 153_000);
}

#[test]
fn a_paused_producer_is_not_forwarded_and_its_resume_requests_a_key_frame() {
    let mut call = Call::new();
    let (mut alice, mut bob, producer, consumer) =
        call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(Duration::from_secs(2));
    call.inbox(&mut alice);
    call.router
        .set_producer_paused(producer, true, call.now)
        .unwrap();
    assert!(
        call.router
            .consumer_stats(consumer)
            .unwrap()
            .producer_paused
    );
    call.send(&mut alice, &video_packet(1000, 1, 3000, true));
    call.router
        .set_producer_paused(producer, false, call.now)
        .unwrap();
    call.wait(Duration::from_millis(1));
    assert_eq!(key_frame_requests(&call.inbox(&mut alice).rtcp), 1);
    call.send(&mut alice, &video_packet(1000, 2, 6000, true));
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 2);
    assert_eq!(got[1].index, got[0].index + 1);
}

#[test]
fn a_consumer_that_is_paused_or_resumed_twice_asks_for_no_key_frame() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    for (step, paused) in [(1, false), (2, true), (3, true)] {
        call.wait(Duration::from_secs(2));
        call.inbox(&mut alice);
        call.router
            .set_consumer_paused(consumer, paused, call.now)
            .unwrap();
        call.wait(Duration::from_millis(1));
        assert_eq!(key_frame_requests(&call.inbox(&mut alice).rtcp), 0);
        call.send(
            &mut alice,
            &video_packet(1000, step, 180_000 * u32::from(step), false),
        );
    }
    assert_eq!(
        call.inbox(&mut bob).rtp.len(),
        2,
        "resumed while it flowed, the picture goes on"
    );
}

#[test]
fn a_pause_applies_to_pending_packets() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(audio(1000), audio_consumer(5000, "0"));
    for step in 0..3u16 {
        let packet = audio_packet(1000, step, 960 * u32::from(step), 40);
        let datagram = alice.protect(&packet);
        call.deliver(&alice, &datagram);
        call.router
            .set_consumer_paused(consumer, step == 1, call.now)
            .unwrap();
        assert_eq!(call.router.pending(), 1);
        call.flush();
        assert_eq!(call.router.pending(), 0);
        if step == 1 {
            call.router
                .set_consumer_paused(consumer, false, call.now)
                .unwrap();
        }
    }
    let got = call.inbox(&mut bob).rtp;
    let seen: Vec<_> = got.iter().map(|p| (p.index, p.timestamp)).collect();
    let first = got[0].index;
    assert_eq!(
        seen,
        [(first, 0), (first + 1, 1920)],
        "one is left out, no gap"
    );
}

fn key_frame_requests(compounds: &[Vec<u8>]) -> usize {
    use meeshy_sfu_proto::rtcp::{Packet, packets};
    let all = compounds.iter().flat_map(|compound| packets(compound));
    all.filter(|packet| matches!(packet, Ok(Packet::Pli(_))))
        .count()
}

#[test]
fn a_paused_consumer_answers_no_nacks() {
    for by_sender in [false, true] {
        let mut call = Call::new();
        let (mut alice, mut bob, producer, consumer) =
            call.pair(video(1000), video_consumer(5000, "0"));
        for step in 0..10 {
            call.send(&mut alice, &video_packet(1000, step, 0, true));
        }
        let sequence = call.inbox(&mut bob).rtp[5].sequence;
        let mut out = [0; 64];
        let len = nack::write(9, 5000, &[sequence], &mut out).unwrap().len;
        let pause = |call: &mut Call, paused| {
            if by_sender {
                call.router.set_producer_paused(producer, paused, call.now)
            } else {
                call.router.set_consumer_paused(consumer, paused, call.now)
            }
        };
        pause(&mut call, true).unwrap();
        call.send_rtcp(&mut bob, &out[..len]);
        assert!(call.inbox(&mut bob).rtp.is_empty(), "paused");
        pause(&mut call, false).unwrap();
        call.send_rtcp(&mut bob, &out[..len]);
        let again = call.inbox(&mut bob).rtp;
        assert_eq!((again.len(), again[0].ssrc), (1, 5001));
        assert_eq!(again[0].payload[..2], sequence.to_be_bytes());
        assert_eq!(call.router.consumer_stats(consumer).unwrap().nacks, 2);
    }
}
