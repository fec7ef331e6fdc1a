//! Edge cases of a call: lost requests, sources that change, participants that leave.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::router::{Codec, EncodingConfig, ProducerKey, RouterEvent};
use meeshy_sfu_proto::rtcp::{Nack, Packet as Rtcp, nack, packets};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn key_frame_requests(inbox: &Inbox) -> usize {
    rtcp_packets(&inbox.rtcp)
        .filter(|packet| matches!(packet, Rtcp::Pli(_)))
        .count()
}

#[test]
fn a_lost_key_frame_request_is_repeated() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let producer = call.produce(&alice, video(1000));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(500 * MS);
    call.consume(&bob, producer, video_consumer(5000, "0"));
    call.wait(50 * MS);
    assert_eq!(key_frame_requests(&call.inbox(&mut alice)), 1);
    // The request was lost. Bob has no picture to lose and so sends no PLI: only the router can repeat it.
    for sequence in 1..31 {
        call.send(
            &mut alice,
            &video_packet(1000, sequence, 3000 * u32::from(sequence), false),
        );
        call.wait(40 * MS);
    }
    assert!(call.inbox(&mut bob).rtp.is_empty());
    assert_eq!(key_frame_requests(&call.inbox(&mut alice)), 1, "once more");
    call.send(&mut alice, &video_packet(1000, 31, 93_000, true));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
    call.wait(Duration::from_secs(60));
    assert_eq!(key_frame_requests(&call.inbox(&mut alice)), 0);
}

#[test]
fn a_sender_that_never_answers_is_asked_again_only_after_it_sends() {
    let mut call = Call::new();
    let (mut alice, bob) = (call.peer(), call.peer());
    let producer = call.produce(&alice, video(1000));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(500 * MS);
    call.consume(&bob, producer, video_consumer(5000, "0"));
    call.wait(Duration::from_secs(60));
    let asked = key_frame_requests(&call.inbox(&mut alice));
    assert!((3..=5).contains(&asked), "{asked}");
    call.send(&mut alice, &video_packet(1000, 1, 900_000, false));
    call.wait(50 * MS);
    assert_eq!(key_frame_requests(&call.inbox(&mut alice)), 1);
}

/// Units of one H.264 key frame as encoders send them: parameter sets, then the picture.
const PARAMETER_SETS: &[u8] = &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1];
const IDR_START: &[u8] = &[0x7c, 0x85, 1, 2, 3];
const IDR_END: &[u8] = &[0x7c, 0x45, 1, 2, 3];
const INTER: &[u8] = &[0x61, 1, 2, 3];

#[test]
fn no_consumer_starts_in_the_middle_of_a_key_frame() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let mut source = video(1000);
    source.codecs[0].codec = Some(Codec::H264);
    let producer = call.produce(&alice, source);
    let mut sequence = 0;
    let mut picture = |call: &mut Call, alice: &mut Peer, timestamp: u32, payload: &[u8]| {
        let mut packet = video_packet(1000, sequence, timestamp, false);
        packet.payload = payload.to_vec();
        call.send(alice, &packet);
        sequence += 1;
    };
    picture(&mut call, &mut alice, 0, PARAMETER_SETS);
    call.consume(&bob, producer, video_consumer(5000, "0"));
    picture(&mut call, &mut alice, 0, IDR_START);
    picture(&mut call, &mut alice, 0, IDR_END);
    picture(&mut call, &mut alice, 3000, INTER);
    assert_eq!(call.inbox(&mut bob).rtp.len(), 0);
    let stats = call.router.producer_stats(producer).unwrap();
    assert_eq!(stats[0].key_frames, 1, "one picture is one key frame");
    picture(&mut call, &mut alice, 6000, PARAMETER_SETS);
    picture(&mut call, &mut alice, 6000, IDR_START);
    assert_eq!(call.inbox(&mut bob).rtp.len(), 2);
}

#[test]
fn a_speaker_that_left_is_not_confused_with_a_new_one() {
    let mut call = Call::new();
    let (mut alice, bob) = (call.peer(), call.peer());
    let speaker = call.produce(&alice, audio(1000));
    call.produce(&bob, audio(2000));
    for step in 0..100u16 {
        call.send(&mut alice, &audio_packet(1000, step, 0, 10));
        call.wait(20 * MS);
    }
    assert_eq!(call.router.active_speaker(), Some(speaker));
    call.events();
    call.router.close_producer(speaker);
    // Keys are given out again: who comes next has the one of who left.
    let carol = call.peer();
    assert_eq!(call.produce(&carol, audio(3000)), speaker);
    call.wait(Duration::from_secs(1));
    let told: Vec<Option<ProducerKey>> = call
        .events()
        .into_iter()
        .filter_map(|event| match event {
            RouterEvent::ActiveSpeaker { producer } => Some(producer),
            _ => None,
        })
        .collect();
    assert_eq!(told, [None]);
    assert_eq!(call.router.active_speaker(), None);
}

#[test]
fn no_report_describes_a_source_that_is_not_forwarded_yet() {
    let mut call = Call::new();
    let mut source = video(0);
    source.encodings = vec![EncodingConfig::default()];
    let (mut alice, mut bob, ..) = call.pair(source, video_consumer(5000, "0"));
    let mut packet = video_packet(777, 0, 0, true);
    packet.extensions = vec![(4, b"v".to_vec())];
    call.send(&mut alice, &packet);
    call.inbox(&mut bob);
    // Another source takes over, and its key frame is late.
    packet = video_packet(999, 0, 0x7000_0000, false);
    packet.extensions = vec![(4, b"v".to_vec())];
    call.send(&mut alice, &packet);
    call.wait(Duration::from_millis(1600));
    let inbox = call.inbox(&mut bob);
    assert!(inbox.rtp.is_empty());
    assert_eq!(sender_infos(&inbox.rtcp), []);
    packet = video_packet(999, 1, 0x7000_0000 + 144_000, true);
    call.send(&mut alice, &packet);
    call.wait(Duration::from_millis(1600));
    let inbox = call.inbox(&mut bob);
    let sent = inbox.rtp[0].timestamp;
    let reported = sender_infos(&inbox.rtcp)[0].rtp_timestamp;
    assert!(
        reported.wrapping_sub(sent) < 90_000 * 2,
        "{reported} {sent}"
    );
}

#[test]
fn a_lost_packet_keeps_its_place_through_bursts_of_padding() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    let mut sequence = 0u16;
    let mut send = |call: &mut Call, alice: &mut Peer, padding: bool, lost: bool| {
        let mut packet = video_packet(1000, sequence, 3000, sequence == 0);
        packet.payload[2] = sequence as u8;
        if padding {
            packet.payload.clear();
            packet.padding = 100;
        }
        sequence += 1;
        let datagram = alice.protect(&packet);
        if !lost {
            call.deliver(alice, &datagram);
        }
        datagram
    };
    send(&mut call, &mut alice, false, false);
    send(&mut call, &mut alice, false, false);
    let lost = send(&mut call, &mut alice, false, true);
    send(&mut call, &mut alice, false, false);
    for _ in 0..12 {
        send(&mut call, &mut alice, true, false);
    }
    send(&mut call, &mut alice, false, false);
    call.deliver(&alice, &lost);
    call.flush();
    let mut got = call.inbox(&mut bob).rtp;
    got.sort_by_key(|packet| packet.index);
    let contents: Vec<u8> = got.iter().map(|packet| packet.payload[2]).collect();
    assert_eq!(contents, [0, 1, 2, 3, 16]);
    let first = got[0].index;
    let places: Vec<u64> = got.iter().map(|packet| packet.index - first).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
}

#[test]
fn retransmissions_are_not_counted_as_forwarded() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    for sequence in 0..10 {
        call.send(&mut alice, &video_packet(1000, sequence, 0, sequence == 0));
    }
    let sequences: Vec<u16> = call
        .inbox(&mut bob)
        .rtp
        .iter()
        .map(|p| p.sequence)
        .collect();
    let mut out = [0; 128];
    let len = nack::write(1, 5000, &sequences, &mut out).unwrap().len;
    assert!(matches!(
        packets(&out[..len]).next(),
        Some(Ok(Rtcp::Nack(Nack { .. })))
    ));
    call.send_rtcp(&mut bob, &out[..len]);
    assert_eq!(call.inbox(&mut bob).rtp.len(), 10);
    let stats = call.router.stats();
    assert_eq!((stats.packets_out, stats.retransmitted), (20, 10));
}

#[test]
fn a_source_that_changes_within_one_window_repeats_no_number() {
    let mut call = Call::new();
    let mut source = video(0);
    source.encodings = vec![EncodingConfig::default()];
    let (mut alice, mut bob, producer, _) = call.pair(source, video_consumer(5000, "0"));
    for ssrc in [777, 999] {
        let mut packet = video_packet(ssrc, 5, 0, true);
        packet.extensions = vec![(4, b"v".to_vec())];
        let datagram = alice.protect(&packet);
        call.deliver(&alice, &datagram);
    }
    call.flush();
    // The inbox refuses what comes twice under one index.
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
    let producer_stats = call.router.producer_stats(producer).unwrap();
    assert_eq!(producer_stats[0].ssrc, Some(999));
}

#[test]
fn a_changed_source_is_reported_under_its_own_numbers() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let mut source = video(0);
    source.encodings = vec![EncodingConfig::default()];
    call.produce(&alice, source);
    for ssrc in [777, 999] {
        let mut packet = video_packet(ssrc, 300, 0, true);
        packet.extensions = vec![(4, b"v".to_vec())];
        call.send(&mut alice, &packet);
    }
    call.wait(Duration::from_millis(1600));
    let inbox = call.inbox(&mut alice);
    let blocks: Vec<(u32, u32)> = rtcp_packets(&inbox.rtcp)
        .filter_map(|packet| match packet {
            Rtcp::ReceiverReport(report) => report.reports().next(),
            _ => None,
        })
        .map(|block| (block.ssrc, block.highest_sequence))
        .collect();
    assert_eq!(blocks, [(999, 300)]);
}

#[test]
fn a_packet_older_than_the_history_is_counted_as_late_and_dropped() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    let old = [
        alice.protect(&video_packet(1000, 1, 3000, false)),
        alice.protect(&video_packet(1000, 2, 3000, false)),
    ];
    for step in 3..700 {
        let timestamp = 3000 * u32::from(step);
        call.send(&mut alice, &video_packet(1000, step, timestamp, false));
    }
    call.inbox(&mut bob);
    for (count, datagram) in (1..).zip(&old) {
        call.deliver(&alice, datagram);
        call.flush();
        assert_eq!(call.router.stats().drops.late, count);
    }
    assert!(call.inbox(&mut bob).rtp.is_empty());
}
