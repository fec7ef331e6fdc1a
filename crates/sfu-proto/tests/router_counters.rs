//! What a router counts for operators: repair, key frame requests, the first media, and when packets arrived.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::net::classify;
use meeshy_sfu_proto::router::{Counters, RouterEvent};
use meeshy_sfu_proto::rtcp::{FirEntry, Pli, fir, nack};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn pli(ssrc: u32) -> Vec<u8> {
    let request = Pli {
        sender_ssrc: 1,
        media_ssrc: ssrc,
    };
    written(|out| request.write(out))
}

fn fir_of(ssrc: u32, sequence: u8) -> Vec<u8> {
    written(|out| fir::write(1, &[FirEntry { ssrc, sequence }], out))
}

#[test]
fn nacks_and_retransmissions_are_counted_in_both_directions() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    for step in 0..3 {
        call.send(&mut alice, &video_packet(1000, step, 0, true));
    }
    let sequences: Vec<u16> = call
        .inbox(&mut bob)
        .rtp
        .iter()
        .map(|p| p.sequence)
        .collect();
    let asked = written(|out| nack::write(1, 5000, &sequences[..2], out).map(|list| list.len));
    call.send_rtcp(&mut bob, &asked);
    let sent: Vec<usize> = call
        .sent
        .datagrams
        .iter()
        .map(|(_, bytes)| bytes.len())
        .collect();
    assert_eq!(sent.len(), 2);
    // Of the sender, 4 and 5 are lost, asked for, and 5 comes by RTX.
    call.send(&mut alice, &video_packet(1000, 6, 3000, false));
    call.wait(11 * MS);
    let mut payload = 5u16.to_be_bytes().to_vec();
    payload.extend(vp8(false, 300));
    let rtx = Packet {
        ssrc: 1001,
        payload_type: 97,
        sequence: 9,
        payload,
        ..video_packet(1000, 5, 3000, false)
    };
    let datagram = alice.protect(&rtx);
    call.deliver(&alice, &datagram);
    let counted = Counters {
        plis_sent: 0,
        plis_received: 0,
        ..call.router.stats().counters
    };
    let expected = Counters {
        nacks_received: 1,
        nacked_packets_received: 2,
        nacks_sent: 1,
        nacked_packets_sent: 3,
        rtx_packets_sent: 2,
        rtx_bytes_sent: sent.iter().sum::<usize>() as u64,
        rtx_packets_received: 1,
        rtx_bytes_received: datagram.len() as u64,
        ..Counters::default()
    };
    assert_eq!(counted, expected);
}

#[test]
fn key_frame_requests_are_received_suppressed_and_sent() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(Duration::from_secs(2));
    let before = call.router.stats().counters;
    // The first is passed on; the second finds it under way; the third is a repeated command, as well under way.
    call.send_rtcp(&mut bob, &pli(5000));
    call.send_rtcp(&mut bob, &pli(5000));
    call.send_rtcp(&mut bob, &fir_of(5000, 7));
    call.send_rtcp(&mut bob, &fir_of(5000, 7));
    // Nobody's SSRC is nobody's request.
    call.send_rtcp(&mut bob, &pli(4711));
    call.wait(10 * MS);
    let after = call.router.stats().counters;
    let received = after.plis_received - before.plis_received;
    let suppressed = after.plis_suppressed - before.plis_suppressed;
    assert_eq!((received, suppressed), (2, 1));
    assert_eq!((after.firs_received, after.firs_suppressed), (2, 2));
    assert_eq!(after.plis_sent - before.plis_sent, 1);
    assert_eq!(after.firs_sent, 0);
    // Unanswered, it is repeated; then the allowance of the receiver is used up.
    call.wait(Duration::from_secs(2));
    assert_eq!(call.router.stats().counters.plis_sent, after.plis_sent + 1);
    call.send(&mut alice, &video_packet(1000, 1, 3000, true));
    let before = call.router.stats().counters.plis_suppressed;
    for _ in 0..40 {
        call.send_rtcp(&mut bob, &pli(5000));
    }
    assert!(call.router.stats().counters.plis_suppressed - before >= 38);
}

#[test]
fn a_sender_without_pli_is_counted_as_asked_by_fir() {
    let mut call = Call::new();
    let mut config = video(1000);
    config.codecs[0].pli = false;
    call.pair(config, video_consumer(5000, "0"));
    call.wait(MS);
    let counted = call.router.stats().counters;
    assert_eq!((counted.plis_sent, counted.firs_sent), (0, 1));
}

#[test]
fn the_first_media_of_a_transport_is_reported_once() {
    let mut call = Call::new();
    let (mut alice, bob, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
    call.events();
    for sequence in 0..5 {
        call.send(&mut alice, &audio_packet(1000, sequence, 0, 10));
    }
    let started = |event: &RouterEvent| matches!(event, RouterEvent::MediaStarted { .. });
    let found: Vec<_> = call.events().into_iter().filter(started).collect();
    let transport = bob.transport;
    assert_eq!(found, [RouterEvent::MediaStarted { transport }]);
}

#[test]
fn a_train_is_marked_with_the_arrival_of_its_oldest_packet_of_each_kind() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.sound_and_picture();
    let began = call.now;
    // Two packets of each kind, 3 ms and 1 ms (sound), 2 ms and 1 ms (picture) before the flush.
    let arrive = |call: &mut Call, alice: &mut Peer, packet: &Packet, age: u32| {
        let mut bytes = alice.protect(packet);
        let class = classify(&bytes);
        let times = (began + 3 * MS - age * MS, began + 3 * MS);
        let (transport, address) = (alice.transport, alice.address);
        let sink = &mut call.sent;
        call.router
            .handle_datagram_received_at(transport, class, &mut bytes, address, times, sink);
    };
    arrive(&mut call, &mut alice, &audio_packet(1000, 0, 0, 10), 3);
    arrive(&mut call, &mut alice, &video_packet(2000, 0, 0, true), 2);
    arrive(&mut call, &mut alice, &audio_packet(1000, 1, 960, 10), 1);
    arrive(&mut call, &mut alice, &video_packet(2000, 1, 0, false), 1);
    call.now = began + 3 * MS;
    call.flush();
    assert_eq!(call.inbox(&mut bob).rtp.len(), 4);
    let to = bob.address;
    assert_eq!(call.sent.marks, [(to, 0, began), (to, 1, began + MS)]);
    // A picture that waits for a key frame is not sent, and marks nothing.
    call.sent.marks.clear();
    call.flush();
    assert_eq!(call.sent.marks, []);
}
