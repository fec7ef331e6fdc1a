//! Forwarding: sequence numbers without gaps, the receiver's extension ids, no misrouted packets.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::net::{Destination, Sink, SocketId};
use meeshy_sfu_proto::router::{
    ConsumeError, EncodingConfig, ProduceError, RouterEvent, TransportKey,
};
use meeshy_sfu_proto::rtcp::bye;
use meeshy_sfu_proto::rtp::ExtensionUri;
use meeshy_sfu_proto::srtp::SrtpProfile;
use router_call::*;

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::Aes128CmSha1_80,
];

#[test]
fn a_packet_arrives_rewritten_for_its_receiver() {
    for profile in PROFILES {
        let mut call = Call::with_profile(profile);
        let (mut alice, mut bob, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
        for step in 0..3u16 {
            call.send(
                &mut alice,
                &audio_packet(
                    1000,
                    65_535u16.wrapping_add(step),
                    960 * u32::from(step),
                    30,
                ),
            );
        }
        let got = call.inbox(&mut bob).rtp;
        assert_eq!(got.len(), 3, "{profile:?}");
        for (step, packet) in got.iter().enumerate() {
            assert_eq!((packet.ssrc, packet.payload_type), (5000, 100));
            assert_eq!(packet.index, got[0].index + step as u64, "no gap");
            assert_eq!(packet.timestamp, 960 * step as u32);
            assert_eq!(packet.payload, vec![0xa0; 80]);
            assert_eq!(packet.extension(1), Some(&b"0"[..]));
            assert_eq!(packet.extension(6), Some(&[30][..]));
            assert_eq!(packet.extension(4).map(<[u8]>::len), Some(3));
        }
        assert!(call.inbox(&mut alice).rtp.is_empty());
    }
}

#[test]
fn every_participant_receives_all_others_and_not_itself() {
    let mut call = Call::new();
    let mut peers: Vec<Peer> = (0..6).map(|_| call.peer()).collect();
    let producers: Vec<_> = (0..6)
        .map(|who| call.produce(&peers[who], audio(1000 + who as u32)))
        .collect();
    for (receiver, peer) in peers.iter().enumerate() {
        for (sender, producer) in producers.iter().enumerate() {
            if sender != receiver {
                let config = audio_consumer(5000 + sender as u32, &format!("{sender}"));
                call.consume(peer, *producer, config);
            }
        }
    }
    for step in 0..20u16 {
        for (who, peer) in peers.iter_mut().enumerate() {
            let mut packet = audio_packet(1000 + who as u32, step, 960 * u32::from(step), 40);
            packet.payload = vec![who as u8; 60];
            let datagram = peer.protect(&packet);
            call.deliver(peer, &datagram);
        }
        call.flush();
        call.now += Duration::from_millis(20);
    }
    for (receiver, peer) in peers.iter_mut().enumerate() {
        let got = call.inbox(peer).rtp;
        assert_eq!(got.len(), 5 * 20);
        for packet in &got {
            let sender = packet.ssrc - 5000;
            assert_ne!(sender as usize, receiver);
            assert_eq!(packet.payload, vec![sender as u8; 60], "no foreign media");
        }
    }
    assert_eq!(call.router.pending(), 0);
}

#[test]
fn packets_of_one_destination_leave_in_one_train() {
    let mut call = Call::new();
    let bob = call.peer();
    let mut senders: Vec<Peer> = (0..8).map(|_| call.peer()).collect();
    for (who, peer) in senders.iter().enumerate() {
        let producer = call.produce(peer, audio(1000 + who as u32));
        call.consume(
            &bob,
            producer,
            audio_consumer(5000 + who as u32, &format!("{}", who * 20)),
        );
    }
    for (who, peer) in senders.iter_mut().enumerate() {
        let datagram = peer.protect(&audio_packet(1000 + who as u32, 1, 0, 40));
        call.deliver(peer, &datagram);
    }
    assert_eq!(call.router.pending(), 8);
    call.flush();
    let lens: Vec<usize> = call.sent.trains.iter().map(Vec::len).collect();
    assert_eq!(
        lens,
        [8],
        "mids of one and of three characters make no difference"
    );
}

#[test]
fn padding_brings_different_sizes_into_one_train_and_the_payload_stays() {
    for padding in [false, true] {
        let mut call = Call::new();
        let mut bob = call.peer_with(padding, None);
        let mut carol = call.peer_with(false, None);
        let mut alice = call.peer();
        let producer = call.produce(&alice, audio(1000));
        call.consume(&bob, producer, audio_consumer(5000, "0"));
        call.consume(&carol, producer, audio_consumer(6000, "0"));
        let lens = [84usize, 120, 90, 140, 101];
        for (step, len) in lens.iter().enumerate() {
            let mut packet = audio_packet(1000, step as u16, 960 * step as u32, 40);
            packet.payload = vec![step as u8; *len];
            let datagram = alice.protect(&packet);
            call.deliver(&alice, &datagram);
        }
        call.flush();
        let trains = call.sent.trains.iter().map(Vec::len).max();
        if padding {
            assert_eq!(trains, Some(5));
        }
        for (peer, may_pad) in [(&mut bob, padding), (&mut carol, false)] {
            let got = call.inbox(peer).rtp;
            assert_eq!(got.len(), 5);
            for (step, packet) in got.iter().enumerate() {
                assert_eq!(packet.payload, vec![step as u8; lens[step]], "in order");
                assert!(may_pad || !packet.padded);
            }
        }
        assert_eq!(call.router.stats().padding_out > 0, padding);
    }
}

#[test]
fn sizes_are_sorted_but_a_stream_keeps_its_order() {
    let mut call = Call::new();
    let mut bob = call.peer();
    let (mut alice, mut carol) = (call.peer(), call.peer());
    let small = call.produce(&alice, audio(1000));
    let large = call.produce(&carol, audio(2000));
    call.consume(&bob, small, audio_consumer(5000, "0"));
    call.consume(&bob, large, audio_consumer(6000, "1"));
    for step in 0..4u16 {
        let mut one = audio_packet(1000, step, 0, 40);
        one.payload = vec![1; 60 + 10 * usize::from(step % 2)];
        let mut two = audio_packet(2000, step, 0, 40);
        two.payload = vec![2; 160];
        let (one, two) = (alice.protect(&one), carol.protect(&two));
        call.deliver(&alice, &one);
        call.deliver(&carol, &two);
    }
    call.flush();
    let got = call.inbox(&mut bob).rtp;
    let ssrcs: Vec<u32> = got.iter().map(|packet| packet.ssrc).collect();
    assert_eq!(ssrcs, [6000, 6000, 6000, 6000, 5000, 5000, 5000, 5000]);
    for pair in got.windows(2).filter(|pair| pair[0].ssrc == pair[1].ssrc) {
        assert_eq!(pair[1].index, pair[0].index + 1);
    }
}

#[test]
fn a_video_consumer_starts_with_a_key_frame() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    for (step, key_frame) in [false, false, true, false].into_iter().enumerate() {
        call.send(
            &mut alice,
            &video_packet(1000, step as u16, 3000 * step as u32, key_frame),
        );
    }
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].payload, vp8(true, 200));
    assert_eq!(got[1].index, got[0].index + 1);
}

#[test]
fn padding_only_packets_are_dropped_without_a_gap() {
    let mut call = Call::new();
    let (mut alice, mut bob, producer, _) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    for sequence in 1..4 {
        let mut probe = video_packet(1000, sequence, 0, false);
        probe.payload.clear();
        probe.padding = 200;
        call.send(&mut alice, &probe);
    }
    let mut last = video_packet(1000, 4, 3000, false);
    last.padding = 9;
    call.send(&mut alice, &last);
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 2);
    assert_eq!(got[1].index, got[0].index + 1);
    assert_eq!(got[1].payload.len(), 200, "padding is not passed on");
    assert_eq!(
        call.router.producer_stats(producer).unwrap()[0].padding_only,
        3
    );
}

#[test]
fn ids_above_fourteen_make_the_two_byte_form() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let mut source = video(1000);
    source.header_extensions = vec![(MID, 40), (ExtensionUri::VideoOrientation, 41)];
    let producer = call.produce(&alice, source);
    let mut config = video_consumer(5000, "12");
    config.header_extensions = vec![(MID, 20), (TWCC, 21), (ExtensionUri::VideoOrientation, 200)];
    call.consume(&bob, producer, config);
    let mut packet = video_packet(1000, 0, 0, true);
    packet.extensions = vec![(40, b"v".to_vec()), (41, vec![2])];
    call.send(&mut alice, &packet);
    let got = call.inbox(&mut bob).rtp;
    assert!(got[0].two_byte);
    assert_eq!(got[0].extension(20), Some(&b"12"[..]));
    assert_eq!(got[0].extension(21), Some(&[0, 0][..]));
    assert_eq!(got[0].extension(200), Some(&[2][..]));
}

#[test]
fn transport_wide_numbers_follow_the_order_of_sending() {
    let mut call = Call::new();
    let mut bob = call.peer();
    let (mut alice, mut carol) = (call.peer(), call.peer());
    let one = call.produce(&alice, video(1000));
    let two = call.produce(&carol, video(2000));
    call.consume(&bob, one, video_consumer(5000, "0"));
    call.consume(&bob, two, video_consumer(6000, "1"));
    for step in 0..10u16 {
        let mut small = video_packet(1000, step, 0, true);
        small.payload.truncate(100);
        let small = alice.protect(&small);
        let large = carol.protect(&video_packet(2000, step, 0, true));
        call.deliver(&alice, &small);
        call.deliver(&carol, &large);
        call.flush();
    }
    let numbers: Vec<u16> = call
        .inbox(&mut bob)
        .rtp
        .iter()
        .map(|packet| u16::from_be_bytes(packet.extension(5).unwrap().try_into().unwrap()))
        .collect();
    assert_eq!(numbers, (0..20).collect::<Vec<u16>>());
}

#[test]
fn passthrough_extensions_pass_with_the_receivers_ids_and_only_when_present() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let mut source = video(1000);
    let delay = ExtensionUri::PlayoutDelay;
    let offset = ExtensionUri::TransmissionOffset;
    source.header_extensions.extend([(delay, 9), (offset, 10)]);
    let producer = call.produce(&alice, source);
    let mut config = video_consumer(5000, "0");
    config.header_extensions.extend([(delay, 7), (offset, 8)]);
    call.consume(&bob, producer, config);
    let mut packet = video_packet(1000, 0, 0, true);
    packet.extensions = vec![(9, vec![3; 3]), (10, vec![0, 1, 2])];
    call.send(&mut alice, &packet);
    call.send(&mut alice, &video_packet(1000, 1, 0, false));
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got[0].extension(7), Some(&[3; 3][..]));
    assert_eq!(got[0].extension(8), Some(&[0, 1, 2][..]));
    assert_eq!(got[1].extension(7), None);
    assert_eq!(got[1].extension(1), Some(&b"0"[..]));
}

#[test]
fn a_stream_without_announced_ssrc_is_learned_by_mid_from_authentic_packets_only() {
    let mut call = Call::new();
    let mut source = video(0);
    source.encodings = vec![EncodingConfig {
        rid: Some("r0".into()),
        ..EncodingConfig::default()
    }];
    let (mut alice, mut bob, producer, _) = call.pair(source, video_consumer(5000, "0"));
    let mut packet = video_packet(777, 0, 0, true);
    packet.extensions = vec![(4, b"v".to_vec())];
    let mut forged = alice.protect(&packet);
    *forged.last_mut().unwrap() ^= 1;
    forged[8..12].copy_from_slice(&888u32.to_be_bytes());
    call.deliver(&alice, &forged);
    assert_eq!(call.router.producer_stats(producer).unwrap()[0].ssrc, None);
    call.send(&mut alice, &packet);
    assert_eq!(
        call.router.producer_stats(producer).unwrap()[0].ssrc,
        Some(777)
    );
    // From now on the SSRC suffices.
    call.send(&mut alice, &video_packet(777, 1, 3000, false));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 2);
    // The sender starts anew under another SSRC: one stream goes on for the receiver.
    call.now += Duration::from_millis(100);
    packet.ssrc = 999;
    packet.sequence = 30_000;
    packet.timestamp = 5;
    call.send(&mut alice, &packet);
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].timestamp, 3000 + 9000, "time goes on as it passed");
}

#[test]
fn what_is_not_authentic_or_not_announced_changes_nothing() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let good = alice.protect(&audio_packet(1000, 1, 0, 40));
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    call.deliver(&alice, &forged);
    let stranger = Destination {
        socket: SocketId::UDP_V4,
        remote: "192.0.2.9:1".parse().unwrap(),
    };
    call.deliver_from(&alice, &good, stranger);
    call.deliver(&alice, &good);
    call.deliver(&alice, &good);
    let unknown = alice.protect(&audio_packet(4242, 1, 0, 40));
    call.deliver(&alice, &unknown);
    let mut other_type = audio_packet(1000, 2, 0, 40);
    other_type.payload_type = 120;
    let other_type = alice.protect(&other_type);
    call.deliver(&alice, &other_type);
    call.deliver(
        &alice,
        &[
            0x90, 111, 0, 1, 0, 0, 0, 0, 0, 0, 3, 232, 0xbe, 0xde, 0xff, 0xff,
        ],
    );
    let mut huge = audio_packet(1000, 3, 0, 40);
    huge.payload = vec![0; 1600];
    let huge = alice.protect(&huge);
    call.deliver(&alice, &huge);
    call.flush();
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
    let drops = call.router.stats().drops;
    assert_eq!(drops.not_authentic, 1);
    assert_eq!(drops.unknown_source, 1);
    assert_eq!(drops.replayed, 1);
    assert_eq!(drops.unknown_stream, 2);
    assert_eq!(drops.malformed, 1);
    assert_eq!(drops.oversize, 1);
    // The same of RTCP: from a foreign address it is dropped before it is looked at.
    let report = alice.protect_rtcp(&written(|out| bye::write(&[1000], out)));
    call.deliver_from(&alice, &report, stranger);
    let drops = call.router.stats().drops;
    assert_eq!((drops.unknown_source, drops.not_authentic), (2, 1));
}

#[test]
fn the_longest_payload_is_forwarded_and_one_byte_more_is_not() {
    const LONGEST: usize = 1470;
    let mut call = Call::new();
    let (mut alice, mut bob, producer, _) = call.pair(audio(1000), audio_consumer(5000, "0"));
    for (sequence, len) in [(0, LONGEST), (1, LONGEST + 1), (2, 40)] {
        let packet = Packet {
            payload: vec![7; len],
            ..audio_packet(1000, sequence, 0, 40)
        };
        call.send(&mut alice, &packet);
    }
    let got = call.inbox(&mut bob).rtp;
    let lengths: Vec<usize> = got.iter().map(|packet| packet.payload.len()).collect();
    assert_eq!(lengths, [LONGEST, 40]);
    assert_eq!(call.router.stats().drops.oversize, 1);
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stream.packets, stream.bytes), (2, LONGEST as u64 + 40));
}

#[test]
fn closing_cascades_and_frees_names() {
    let mut call = Call::new();
    let (alice, bob, producer, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.router
        .close_transport(alice.transport, call.now, &mut call.sent);
    assert_eq!(
        call.events(),
        [
            RouterEvent::ConsumerClosed { consumer },
            RouterEvent::ProducerClosed { producer }
        ]
    );
    let stats = call.router.stats();
    assert_eq!(
        (stats.transports, stats.producers, stats.consumers),
        (1, 0, 0)
    );
    assert!(
        call.router
            .set_consumer_paused(consumer, true, call.now)
            .is_err()
    );
    // The names are free again.
    let producer = call.produce(&bob, video(1000));
    call.router.close_producer(producer);
    let producer = call.produce(&bob, video(1000));
    let carol = call.peer();
    call.consume(&carol, producer, video_consumer(5000, "0"));
}

#[test]
fn rings_are_allocated_at_the_first_packet_and_freed_with_the_producer() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    assert_eq!(call.router.stats().ring_bytes, 0);
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    assert_eq!(call.router.stats().ring_bytes, 513 * 1536);
    call.router.close_producer(producer);
    assert_eq!(call.router.stats().ring_bytes, 0);
}

#[test]
fn producers_that_would_be_mixed_up_are_refused_by_field() {
    let mut call = Call::new();
    let alice = call.peer();
    call.produce(&alice, video(1000));
    let refuse = |call: &mut Call, config| {
        call.router
            .produce(alice.transport, config, call.now)
            .unwrap_err()
    };
    assert_eq!(
        refuse(&mut call, video(1000)),
        ProduceError::SsrcInUse(1000)
    );
    assert_eq!(
        refuse(&mut call, video(999)),
        ProduceError::RtxSsrcInUse(1000)
    );
    assert_eq!(
        refuse(&mut call, video(2000)),
        ProduceError::MidInUse("v".into())
    );
    let other = |change: &dyn Fn(&mut meeshy_sfu_proto::router::ProducerConfig)| {
        let mut config = video(3000);
        config.mid = Some("w".into());
        change(&mut config);
        config
    };
    assert_eq!(
        refuse(
            &mut call,
            other(&|config| config.codecs[0].rtx_payload_type = Some(96))
        ),
        ProduceError::DuplicatePayloadType(96)
    );
    assert_eq!(
        refuse(&mut call, other(&|config| config.codecs.clear())),
        ProduceError::CodecCount(0)
    );
    assert_eq!(
        refuse(
            &mut call,
            other(&|config| config.header_extensions[0].1 = 0)
        ),
        ProduceError::ExtensionId
    );
    assert_eq!(
        refuse(
            &mut call,
            other(&|config| config.encodings.push(EncodingConfig::default()))
        ),
        ProduceError::AnonymousEncoding(1)
    );
    let nameless = other(&|config| {
        config.mid = None;
        config.encodings = vec![EncodingConfig::default()];
    });
    let error = refuse(&mut call, nameless);
    assert_eq!(error, ProduceError::NoWayToRecognise);
    assert!(
        error.to_string().contains("mid"),
        "the message names the field"
    );
    let gone = TransportKey(99);
    let error = call.router.produce(gone, video(1), call.now).unwrap_err();
    assert_eq!(error, ProduceError::UnknownTransport);
    assert_eq!(call.router.stats().producers, 1);
}

#[test]
fn consumers_that_would_be_mixed_up_are_refused() {
    let mut call = Call::new();
    let (_, bob, producer, _) = call.pair(video(1000), video_consumer(5000, "0"));
    let mut refuse = |config| {
        call.router
            .consume(bob.transport, producer, config, call.now)
            .unwrap_err()
    };
    assert_eq!(
        refuse(video_consumer(4999, "1")),
        ConsumeError::SsrcInUse(5000)
    );
    assert_eq!(
        refuse(video_consumer(6000, "0")),
        ConsumeError::Mid("0".into())
    );
    assert_eq!(
        refuse(audio_consumer(6000, "1")),
        ConsumeError::NoCommonCodec
    );
}

#[test]
fn an_ssrc_once_sent_is_never_sent_again_under_the_same_keys() {
    let mut call = Call::new();
    let (_, bob, producer, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.router.close_consumer(consumer);
    for ssrc in [5000, 5001] {
        let again = video_consumer(ssrc, "1");
        let error = call
            .router
            .consume(bob.transport, producer, again, call.now)
            .unwrap_err();
        assert!(
            matches!(error, ConsumeError::SsrcInUse(5000 | 5001)),
            "a nonce would repeat"
        );
    }
}

#[test]
fn a_video_codec_without_key_frame_detection_is_forwarded_from_its_first_packet() {
    let mut call = Call::new();
    let mut source = video(1000);
    source.codecs[0].codec = None;
    let (mut alice, mut bob, ..) = call.pair(source, video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, false));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1);
}

/// Counts trains, and nothing else.
struct Trains {
    buffer: Vec<u8>,
    ended: usize,
}

impl Sink for Trains {
    fn space(&mut self, max: usize) -> &mut [u8] {
        &mut self.buffer[..max]
    }

    fn commit(&mut self, _to: &Destination, _len: usize) {}

    fn end_train(&mut self) {
        self.ended += 1;
    }
}

#[test]
fn a_receiver_whose_last_consumer_closed_ends_no_train() {
    let mut call = Call::new();
    let (mut alice, bob, producer, closed) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let carol = call.peer();
    call.consume(&carol, producer, audio_consumer(6000, "0"));
    let datagram = alice.protect(&audio_packet(1000, 0, 0, 40));
    call.deliver(&alice, &datagram);
    assert_eq!(call.router.pending(), 2);
    call.router.close_consumer(closed);
    assert_eq!(call.router.pending(), 1);
    let mut trains = Trains {
        buffer: vec![0; 2048],
        ended: 0,
    };
    call.router.flush(call.now, &mut trains);
    assert_eq!((trains.ended, call.router.pending()), (1, 0));
    drop(bob);
}

#[test]
fn a_late_packet_of_an_unknown_codec_starts_no_new_segment() {
    let mut call = Call::new();
    let mut source = video(1000);
    source.codecs[0].codec = None;
    let (mut alice, mut bob, ..) = call.pair(source, video_consumer(5000, "0"));
    let late = alice.protect(&video_packet(1000, 4, 0, false));
    call.send(&mut alice, &video_packet(1000, 5, 0, false));
    call.deliver(&alice, &late);
    call.flush();
    assert_eq!(call.inbox(&mut bob).rtp.len(), 1, "older than the first");
}
