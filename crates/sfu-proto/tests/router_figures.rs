//! The router's statistics: every figure against a number known beforehand.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::net::classify;
use meeshy_sfu_proto::router::{EncodingConfig, ProduceError, ProducerKey, TransportKey};
use meeshy_sfu_proto::rtcp::Pli;
use router_call::*;

#[test]
fn packets_of_a_paused_producer_are_counted_as_dropped_for_it() {
    let mut call = Call::new();
    let mut config = video(1000);
    config.paused = true;
    let (mut alice, mut bob, ..) = call.pair(config, video_consumer(5000, "0"));
    for step in 0..5u16 {
        call.send(&mut alice, &video_packet(1000, step, 0, step == 0));
    }
    assert!(call.inbox(&mut bob).rtp.is_empty());
    let stats = call.router.stats();
    assert_eq!((stats.packets_in, stats.drops.paused), (5, 5));
}

#[test]
fn the_rate_of_each_encoding_is_measured() {
    let mut call = Call::new();
    let mut config = video(1000);
    config.encodings.push(EncodingConfig {
        ssrc: Some(2000),
        rtx_ssrc: Some(2001),
        ..config.encodings[0].clone()
    });
    let (mut alice, _, producer, _) = call.pair(config, video_consumer(5000, "0"));
    let rates = |call: &mut Call| {
        let now = call.now;
        call.router.measure_rates(now);
        let stats = call.router.producer_stats(producer).unwrap();
        stats.iter().map(|s| s.bitrate_bps).collect::<Vec<u64>>()
    };
    assert_eq!(rates(&mut call), [0, 0]);
    for step in 0..10 {
        call.send(&mut alice, &video_packet(1000, step, 0, step == 0));
        if step % 2 == 0 {
            call.send(&mut alice, &video_packet(2000, step, 0, step == 0));
        }
    }
    let bytes: Vec<u64> = (call.router.producer_stats(producer).unwrap().iter())
        .map(|s| s.bytes)
        .collect();
    assert_eq!(bytes[0], 2 * bytes[1]);
    call.now += Duration::from_secs(2);
    assert_eq!(rates(&mut call), [bytes[0] * 4, bytes[1] * 4]);
    call.now += Duration::from_secs(1);
    assert_eq!(rates(&mut call), [0, 0]);
}

#[test]
fn requests_beyond_the_allowance_of_a_consumer_are_counted() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    let dropped = |call: &mut Call, bob: &mut Peer| {
        let before = call.router.stats().drops.excessive;
        let mut out = [0; 12];
        let request = Pli {
            sender_ssrc: 1,
            media_ssrc: 5000,
        };
        let len = request.write(&mut out).unwrap();
        call.send_rtcp(bob, &out[..len]);
        call.router.stats().drops.excessive - before
    };
    let each: Vec<u64> = (0..40).map(|_| dropped(&mut call, &mut bob)).collect();
    let accepted = each.iter().take_while(|count| **count == 0).count();
    assert!((1..20).contains(&accepted), "{each:?}");
    assert!(each[accepted..].iter().all(|count| *count == 1), "{each:?}");
    let told = call.router.consumer_stats(consumer).unwrap();
    assert_eq!(told.key_frame_requests, 40);
    assert_eq!(call.router.stats().rtcp_in, 40);
}

#[test]
fn a_packet_is_padded_by_no_more_than_64_bytes() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let mut bob = call.peer_with(true, None);
    let producer = call.produce(&alice, video(1000));
    call.consume(&bob, producer, video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.inbox(&mut bob);
    assert_eq!(call.router.stats().padding_out, 0);
    // 64 bytes less than the largest; 65 less than the next.
    for (sequence, len) in [(1, 300), (2, 236), (3, 171)] {
        let mut packet = video_packet(1000, sequence, 0, false);
        packet.payload = vp8(false, len);
        let datagram = alice.protect(&packet);
        call.deliver(&alice, &datagram);
    }
    call.flush();
    let padded: Vec<(usize, bool)> = call
        .inbox(&mut bob)
        .rtp
        .iter()
        .map(|packet| (packet.payload.len(), packet.padded))
        .collect();
    assert_eq!(padded, [(300, false), (236, true), (171, false)]);
    assert_eq!(call.router.stats().padding_out, 64);
}

#[test]
fn a_producer_has_one_to_eight_encodings() {
    let mut call = Call::new();
    let alice = call.peer();
    for (count, refused) in [(0, true), (1, false), (8, false), (9, true)] {
        let mut config = video(1000);
        config.mid = Some(format!("m{count}"));
        config.encodings = (0..count)
            .map(|at| EncodingConfig {
                ssrc: None,
                rid: (count > 1).then(|| format!("r{at}")),
                rtx_ssrc: None,
            })
            .collect();
        let answer = call.router.produce(alice.transport, config, call.now);
        let is_refused =
            matches!(&answer, Err(ProduceError::EncodingCount(told)) if *told == count);
        assert_eq!(is_refused, refused, "{count}: {answer:?}");
        assert_eq!(answer.is_err(), refused, "{count}: {answer:?}");
    }
}

#[test]
fn a_producer_has_one_to_eight_codecs() {
    let mut call = Call::new();
    let alice = call.peer();
    for (count, refused) in [(0, true), (1, false), (8, false), (9, true), (12, true)] {
        let mut config = video(1000 + count as u32);
        config.mid = Some(format!("m{count}"));
        let codec = config.codecs[0].clone();
        config.codecs = (0..count)
            .map(|at| {
                let mut one = codec.clone();
                one.payload_type = 30 + at as u8;
                one.rtx_payload_type = None;
                one
            })
            .collect();
        config.encodings[0].rtx_ssrc = None;
        let answer = call.router.produce(alice.transport, config, call.now);
        let is_refused = matches!(&answer, Err(ProduceError::CodecCount(told)) if *told == count);
        assert_eq!(is_refused, refused, "{count}: {answer:?}");
        assert_eq!(answer.is_err(), refused, "{count}: {answer:?}");
    }
}

#[test]
fn the_owner_of_a_consumer_can_request_a_key_frame() {
    let mut call = Call::new();
    let (mut alice, _bob, producer, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(Duration::from_secs(2));
    let asked =
        |call: &Call, producer| call.router.producer_stats(producer).unwrap()[0].key_frame_requests;
    let before = asked(&call, producer);
    call.router.request_key_frame(consumer, call.now).unwrap();
    call.wait(Duration::from_millis(300));
    assert_eq!(asked(&call, producer), before + 1);
}

#[test]
fn a_router_counts_what_is_open() {
    let mut call = Call::new();
    let (_alice, bob, producer, _) = call.pair(video(1000), video_consumer(5000, "0"));
    call.consume(&bob, producer, video_consumer(6000, "1"));
    call.peer();
    let open = |call: &Call| {
        let stats = call.router.stats();
        (stats.transports, stats.producers, stats.consumers)
    };
    assert_eq!(open(&call), (3, 1, 2));
    call.router.close_producer(producer);
    assert_eq!(open(&call), (3, 0, 0));
}

#[test]
fn loss_reported_by_transport_feedback_is_smoothed_over_ten_feedbacks() {
    let mut call = Call::new();
    let (_alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    // Two packets from number 7 on, a run of one received and a run of one missing.
    let feedback = [
        0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 9, 0, 7, 0, 2, 0, 0, 1, 0, 0x20, 1, 0, 1, 4, 0, 0, 0,
    ];
    call.send_rtcp(&mut bob, &feedback);
    let stats = call.router.transport_stats(bob.transport).unwrap();
    assert!(
        (stats.reported_loss - 0.05).abs() < 1e-9,
        "half of it, a tenth of that"
    );
}

#[test]
fn errors_of_a_router_say_what_is_wrong() {
    let mut call = Call::new();
    let alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    let consumer = call.consume(&alice, producer, video_consumer(5000, "0"));
    call.router.close_producer(producer);
    let error = call
        .router
        .request_key_frame(consumer, call.now)
        .unwrap_err();
    assert_eq!(error.to_string(), "no such transport, producer or consumer");
}

#[test]
fn datagrams_for_an_unknown_transport_are_counted() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let mut datagram = alice.protect(&audio_packet(1000, 0, 0, 40));
    let (now, sent) = (call.now, &mut call.sent);
    let gone = TransportKey(99);
    let class = classify(&datagram);
    call.router
        .handle_datagram(gone, class, &mut datagram, alice.address, now, sent);
    assert_eq!(call.router.stats().drops.unknown_class, 1);
    assert_eq!(call.router.stats().packets_in, 0);
}

#[test]
fn a_list_of_4096_packets_takes_no_more() {
    let mut call = Call::new();
    let (mut alice, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
    for step in 0..4098u16 {
        let datagram = alice.protect(&audio_packet(1000, step, 0, 40));
        call.deliver(&alice, &datagram);
    }
    assert_eq!(call.router.pending(), 4096);
    assert_eq!(call.router.stats().drops.unready, 2);
    call.flush();
    assert_eq!(call.router.pending(), 0);
}

/// A receiver that wants padding, of one camera, and a second camera.
fn padded() -> (Call, Peer, Peer, [ProducerKey; 2]) {
    let mut call = Call::new();
    let (alice, bob) = (call.peer(), call.peer_with(true, None));
    let mut second = video(3000);
    second.mid = Some("w".into());
    let producers = [
        call.produce(&alice, video(1000)),
        call.produce(&alice, second),
    ];
    call.consume(&bob, producers[0], video_consumer(5000, "0"));
    (call, alice, bob, producers)
}

fn deliver_sized(call: &mut Call, alice: &mut Peer, ssrc: u32, sequence: u16, len: usize) {
    let mut packet = video_packet(ssrc, sequence, 0, false);
    packet.payload = vp8(sequence == 0, len);
    let datagram = alice.protect(&packet);
    call.deliver(alice, &datagram);
}

#[test]
fn nothing_is_padded_up_to_a_packet_without_receivers() {
    let (mut call, mut alice, _bob, _) = padded();
    deliver_sized(&mut call, &mut alice, 1000, 0, 236);
    deliver_sized(&mut call, &mut alice, 3000, 0, 300);
    call.flush();
    assert_eq!(call.router.stats().padding_out, 0);
}

#[test]
fn a_producer_that_closes_leaves_the_padding_of_others() {
    let (mut call, mut alice, bob, [_, other]) = padded();
    call.consume(&bob, other, video_consumer(6000, "1"));
    deliver_sized(&mut call, &mut alice, 1000, 0, 300);
    deliver_sized(&mut call, &mut alice, 1000, 1, 240);
    deliver_sized(&mut call, &mut alice, 3000, 0, 290);
    call.router.close_producer(other);
    call.flush();
    assert_eq!(call.router.stats().padding_out, 60);
}

#[test]
fn a_padding_only_packet_is_not_padded() {
    let (mut call, mut alice, mut bob, _) = padded();
    deliver_sized(&mut call, &mut alice, 1000, 0, 60);
    call.flush();
    let mut filler = video_packet(1000, 1, 0, false);
    filler.payload.clear();
    filler.padding = 40;
    let filler = alice.protect(&filler);
    deliver_sized(&mut call, &mut alice, 1000, 2, 60);
    call.deliver(&alice, &filler);
    call.flush();
    let mut got = call.inbox(&mut bob).rtp;
    got.sort_by_key(|packet| packet.index);
    let lens: Vec<usize> = got.iter().map(|packet| packet.payload.len()).collect();
    assert_eq!(lens, [60, 0, 60]);
    assert_eq!(call.router.stats().padding_out, 0);
}

#[test]
fn a_payload_type_is_127_at_most() {
    let mut call = Call::new();
    let alice = call.peer();
    for (payload_type, refused) in [(127, false), (128, true), (200, true)] {
        let mut config = audio(1000 + u32::from(payload_type));
        config.mid = Some(format!("m{payload_type}"));
        config.codecs[0].payload_type = payload_type;
        let answer = call.router.produce(alice.transport, config, call.now);
        let told = matches!(answer, Err(ProduceError::PayloadType(told)) if told == payload_type);
        assert_eq!((told, answer.is_err()), (refused, refused), "{answer:?}");
    }
}

#[test]
fn datagrams_too_short_for_their_tag_are_counted_as_malformed() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, audio(1000));
    let datagram = alice.protect(&audio_packet(1000, 0, 0, 40));
    for len in [27, 28] {
        call.deliver(&alice, &datagram[..len]);
    }
    call.deliver(&alice, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    assert_eq!(call.router.stats().drops.malformed, 3);
}

#[test]
fn a_transport_counts_the_rtp_and_rtcp_it_sends() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    for step in 0..5u16 {
        call.send(&mut alice, &video_packet(1000, step, 0, step == 0));
        call.wait(Duration::from_secs(1));
    }
    let bytes = |to: &Peer| -> Vec<u64> {
        let sent = call
            .sent
            .datagrams
            .iter()
            .filter(|(at, _)| *at == to.address);
        sent.map(|(_, datagram)| datagram.len() as u64).collect()
    };
    let lens = bytes(&bob);
    let stats = call.router.transport_stats(bob.transport).unwrap();
    assert_eq!(
        (stats.packets_out, stats.bytes_out),
        (lens.len() as u64, lens.iter().sum())
    );
    let inbox = call.inbox(&mut bob);
    assert_eq!(inbox.rtp.len(), 5);
    assert!(inbox.rtcp.len() >= 2, "{}", inbox.rtcp.len());
}
