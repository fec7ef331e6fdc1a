//! Media through a worker over real sockets, between clients that bring their own ICE, DTLS and SRTP.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeSet;

use meeshy_sfu_worker::command::*;
use meeshy_sfu_worker::event::{DtlsState, IceState};
use meeshy_sfu_worker::{Event, Fault, FaultLog, WorkerConfig};
use rig::peer::Peer;
use rig::{AUDIO_PT, Rig, VIDEO_PT, Way, consume, consume_one, number_of, produce, vp8};
use str0m::media::MediaKind as PeerKind;

const AUDIO: u32 = 1111;
const VIDEO: u32 = 2222;
/// SSRCs towards the subscriber.
const AUDIO_OUT: u32 = 71_111;
const VIDEO_OUT: u32 = 72_222;

/// A publisher on transport 1 and a subscriber on transport 2 of router 1, connected.
fn call(rig: &mut Rig, publish: Way, subscribe: Way) -> (Peer, Peer) {
    rig.create_router(1);
    let mut publisher = rig.join(1, 1, publish);
    let mut subscriber = rig.join(1, 2, subscribe);
    publisher.sends("a", PeerKind::Audio, AUDIO);
    publisher.sends("v", PeerKind::Video, VIDEO);
    subscriber.receives("a", PeerKind::Audio, AUDIO_OUT);
    subscriber.receives("v", PeerKind::Video, VIDEO_OUT);
    rig.connect(&mut [&mut publisher, &mut subscriber]);
    for (producer, kind, ssrc) in [(1, MediaKind::Audio, AUDIO), (2, MediaKind::Video, VIDEO)] {
        rig.tell(Command::Produce(produce(1, 1, producer, kind, ssrc)));
    }
    let consumers = vec![
        consume_one(1, 1, MediaKind::Audio, AUDIO_OUT),
        consume_one(2, 2, MediaKind::Video, VIDEO_OUT),
    ];
    let results: ConsumeResults = rig.ask(consume(1, 2, consumers));
    assert!(results.results.iter().all(|r| r.ok), "{results:?}");
    (publisher, subscriber)
}

/// Numbers of the video packets received.
fn video_numbers(peer: &Peer) -> BTreeSet<u32> {
    let video = peer.received.iter().filter(|p| *p.header.ssrc == VIDEO_OUT);
    video.map(|p| number_of(&p.payload)).collect()
}

/// Sends `count` packets of each kind and waits until all arrived.
fn exchange(rig: &mut Rig, publisher: &mut Peer, subscriber: &mut Peer, from: u32, count: u32) {
    for number in from..from + count {
        publisher.write(AUDIO, AUDIO_PT, u64::from(number), vec![number as u8; 80]);
        publisher.write(
            VIDEO,
            VIDEO_PT,
            u64::from(number),
            vp8(number, number == from),
        );
        rig.until(
            &mut [publisher, subscriber],
            "a pause between packets",
            |_, _| true,
        );
    }
    let expected: BTreeSet<u32> = (from..from + count).collect();
    rig.until(
        &mut [publisher, subscriber],
        "the arrival of all media",
        |_, peers| {
            let audio = peers[1]
                .received
                .iter()
                .filter(|p| *p.header.ssrc == AUDIO_OUT);
            audio.count() as u32 >= count && video_numbers(peers[1]).is_superset(&expected)
        },
    );
}

fn forwards(
    publish: Way,
    subscribe: Way,
    adjust: impl FnOnce(&mut WorkerConfig),
) -> (Rig, Peer, Peer) {
    let mut rig = Rig::new(adjust);
    let (mut publisher, mut subscriber) = call(&mut rig, publish, subscribe);
    exchange(&mut rig, &mut publisher, &mut subscriber, 100, 50);
    for packet in &subscriber.received {
        let audio = *packet.header.ssrc == AUDIO_OUT;
        assert_eq!(*packet.header.payload_type, if audio { 100 } else { 101 });
        assert_eq!(
            packet.header.ext_vals.mid.unwrap().to_string(),
            if audio { "a" } else { "v" }
        );
        if audio {
            assert_eq!(packet.payload.len(), 80);
            assert_eq!(packet.header.ext_vals.audio_level, Some(-20));
        } else {
            let number = number_of(&packet.payload);
            assert_eq!(packet.payload[..], vp8(number, number == 100)[..]);
        }
    }
    for transport in [1, 2] {
        let ice = rig.ice_states(transport);
        assert!(ice.contains(&IceState::Connected) || ice.contains(&IceState::Completed));
        assert_eq!(
            rig.dtls_states(transport).last(),
            Some(&DtlsState::Connected)
        );
    }
    (rig, publisher, subscriber)
}

#[test]
fn audio_and_video_reach_the_subscriber_over_udp() {
    let (rig, ..) = forwards(Way::UDP, Way::UDP, |_| {});
    assert!(rig.saw(|e| matches!(
        e,
        Event::TransportDtls { state: DtlsState::Connected, srtp_profile: Some(p), dtls_version: Some(v), .. }
            if p.starts_with("AEAD_AES_") && v == "1.2"
    )));
    assert!(rig.saw(|e| matches!(
        e,
        Event::TransportIce { selected: Some(s), .. }
            if s.protocol == Protocol::Udp && s.local.port() == rig.worker.port()
    )));
}

#[test]
fn audio_and_video_reach_the_subscriber_over_tcp() {
    let (mut rig, _publisher, _subscriber) = forwards(Way::TCP, Way::TCP, |_| {});
    assert!(rig.saw(|e| matches!(
        e,
        Event::TransportIce { selected: Some(s), .. } if s.protocol == Protocol::Tcp
    )));
    let stats = rig.stats();
    assert_eq!(stats.tcp_connections, 2);
    rig.tell(Command::CloseRouter {
        router: RouterId(1),
    });
    assert_eq!(rig.stats().tcp_connections, 0);
}

#[test]
fn audio_and_video_cross_between_tcp_and_udp() {
    forwards(Way::TCP, Way::UDP, |_| {});
    forwards(Way::UDP, Way::TCP, |_| {});
}

#[test]
fn audio_and_video_reach_the_subscriber_over_ipv6() {
    let six = Way {
        six: true,
        ..Way::UDP
    };
    let listen = |c: &mut WorkerConfig| {
        c.listen = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    };
    forwards(six, six, listen);
    forwards(Way::UDP, six, listen);
    forwards(
        Way {
            six: true,
            ..Way::TCP
        },
        six,
        |c| c.listen = vec!["::1".parse().unwrap()],
    );
}

#[test]
fn the_worker_can_be_the_dtls_client() {
    let passive = Way {
        active: false,
        ..Way::UDP
    };
    forwards(passive, passive, |_| {});
    forwards(
        Way {
            active: false,
            ..Way::TCP
        },
        passive,
        |_| {},
    );
}

#[test]
fn media_flows_without_segmentation_offload() {
    let (mut rig, ..) = forwards(Way::UDP, Way::UDP, |c| c.gso = false);
    assert!(!rig.stats().gso);
}

#[test]
fn lost_packets_are_sent_again_by_rtx() {
    let mut rig = Rig::new(|_| {});
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    exchange(&mut rig, &mut publisher, &mut subscriber, 0, 20);
    subscriber.lose = 6;
    for number in 20..40 {
        publisher.write(VIDEO, VIDEO_PT, number, vp8(number as u32, false));
    }
    let all: BTreeSet<u32> = (0..40).collect();
    rig.until(
        &mut [&mut publisher, &mut subscriber],
        "the repair",
        |_, peers| peers[1].lose == 0 && video_numbers(peers[1]).is_superset(&all),
    );
    let dump: meeshy_sfu_worker::event::RouterDump = rig.ask(Command::Dump {
        router: RouterId(1),
    });
    let video = dump
        .consumers
        .iter()
        .find(|c| c.consumer == ConsumerId(2))
        .unwrap();
    assert!(
        video.stats["retransmitted"].as_u64().unwrap() >= 6,
        "{:?}",
        video.stats
    );
}

#[test]
fn a_key_frame_request_reaches_the_publisher() {
    let mut rig = Rig::new(|_| {});
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    exchange(&mut rig, &mut publisher, &mut subscriber, 0, 20);
    // The first packet was awaited with a request of the router's own, so let the next one be ours.
    let before = publisher.key_frame_requests;
    subscriber.request_key_frame(VIDEO_OUT);
    rig.until(
        &mut [&mut publisher, &mut subscriber],
        "the request",
        |_, peers| peers[0].key_frame_requests > before,
    );
    exchange(&mut rig, &mut publisher, &mut subscriber, 20, 1);
    let before = publisher.key_frame_requests;
    rig.tell(Command::RequestKeyFrame {
        router: RouterId(1),
        consumers: vec![ConsumerId(2)],
    });
    rig.until(
        &mut [&mut publisher, &mut subscriber],
        "the command's request",
        |_, peers| peers[0].key_frame_requests > before,
    );
}

#[test]
fn a_paused_consumer_gets_nothing_and_then_goes_on_without_a_gap() {
    let mut rig = Rig::new(|_| {});
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    exchange(&mut rig, &mut publisher, &mut subscriber, 0, 10);
    let consumers = vec![ConsumerId(1), ConsumerId(2), ConsumerId(77)];
    let touched: Touched = rig.ask(Command::PauseConsumers {
        router: RouterId(1),
        consumers: consumers.clone(),
    });
    assert_eq!(touched.missing, [ConsumerId(77)]);
    let count = subscriber.received.len();
    for number in 10..30 {
        publisher.write(AUDIO, AUDIO_PT, number, vec![0; 80]);
    }
    // A round trip over the worker: whatever it would have sent, it has sent by now.
    rig.stats();
    rig.until(&mut [&mut publisher, &mut subscriber], "nothing", |_, _| {
        true
    });
    assert_eq!(subscriber.received.len(), count);
    rig.tell(Command::ResumeConsumers {
        router: RouterId(1),
        consumers,
    });
    exchange(&mut rig, &mut publisher, &mut subscriber, 30, 10);
    let audio = subscriber
        .received
        .iter()
        .filter(|p| *p.header.ssrc == AUDIO_OUT);
    let numbers: Vec<u64> = audio.map(|p| *p.seq_no).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
}

#[test]
fn two_calls_on_one_worker_are_never_mixed() {
    // Two routers on one worker: the same kind of media, never mixed.
    let mut rig = Rig::new(|_| {});
    let (mut p1, mut s1) = call(&mut rig, Way::UDP, Way::UDP);
    rig.create_router(2);
    let mut p2 = rig.join(2, 1, Way::UDP);
    p2.sends("a", PeerKind::Audio, AUDIO);
    rig.connect(&mut [&mut p2]);
    rig.tell(Command::Produce(produce(2, 1, 1, MediaKind::Audio, AUDIO)));
    for number in 0..20 {
        p2.write(AUDIO, AUDIO_PT, number, vec![0xee; 80]);
    }
    exchange(&mut rig, &mut p1, &mut s1, 0, 20);
    assert!(s1.received.iter().all(|p| p.payload[0] != 0xee));
}

#[test]
fn clients_may_change_their_address_in_mid_call() {
    let mut rig = Rig::new(|_| {});
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    exchange(&mut rig, &mut publisher, &mut subscriber, 0, 10);
    publisher.move_to_another_port();
    subscriber.move_to_another_port();
    // Media from the new port counts only after a check from there, and goes there only then.
    let mut number = 10;
    rig.until(
        &mut [&mut publisher, &mut subscriber],
        "media by the new addresses",
        |_, peers| {
            number += 1;
            peers[0].write(VIDEO, VIDEO_PT, number, vp8(number as u32, true));
            video_numbers(peers[1]).iter().any(|n| *n > 10)
        },
    );
    assert!(rig.stats().drops["unknown_source"] > 0);
    assert_eq!(rig.stats().remotes, 4);
    let addresses = rig.events.iter().filter_map(|e| match e {
        Event::TransportIce {
            transport: TransportId(2),
            selected: Some(s),
            ..
        } => Some(s.remote),
        _ => None,
    });
    assert_eq!(
        addresses.collect::<BTreeSet<_>>().len(),
        2,
        "both are reported"
    );
}

#[test]
fn loudness_and_speaker_are_reported() {
    let mut rig = Rig::new(|_| {});
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    let mut number = 0;
    rig.until(
        &mut [&mut publisher, &mut subscriber],
        "volumes",
        |rig, peers| {
            number += 1;
            if number % 20 == 0 {
                peers[0].write(AUDIO, AUDIO_PT, number / 20, vec![1; 80]);
            }
            rig.saw(|e| matches!(e, Event::Volumes { volumes, .. } if !volumes.is_empty()))
                && rig.saw(|e| {
                    matches!(
                        e,
                        Event::ActiveSpeaker {
                            producer: Some(ProducerId(1)),
                            ..
                        }
                    )
                })
        },
    );
}

#[test]
fn faults_alter_what_receivers_get_and_are_logged() {
    let mut rig = Rig::new(|c| c.allow_faults = true);
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    exchange(&mut rig, &mut publisher, &mut subscriber, 100, 20);
    let before = subscriber.received.len();
    let faults: Vec<Fault> = serde_json::from_value(serde_json::json!([
        { "kind": "withhold", "payload_types": [101], "share": 0.5 },
        { "kind": "damage_payload", "payload_types": [100] },
    ]))
    .unwrap();
    rig.tell(Command::InjectFaults { seed: 3, faults });
    for number in 200..260 {
        publisher.write(AUDIO, AUDIO_PT, number, vec![7; 80]);
        publisher.write(VIDEO, VIDEO_PT, number, vp8(number as u32, number == 200));
        let both = &mut [&mut publisher, &mut subscriber];
        rig.until(both, "a pause between packets", |_, _| true);
    }
    let mut log = FaultLog::default();
    let both = &mut [&mut publisher, &mut subscriber];
    rig.until(both, "all media in the log", |rig, peers| {
        log = rig.ask(Command::FaultLog {});
        let withheld = log.acts.iter().filter(|act| act.fault == 0).count();
        let arrived = peers[1].received.len() - before;
        log.reach.iter().all(|reach| reach.packets == 60) && arrived == 120 - withheld
    });
    let withheld = log.acts.iter().filter(|act| act.fault == 0).count();
    assert!((15..45).contains(&withheld), "{withheld} of 60");
    let after: Vec<_> = subscriber.received.iter().skip(before).collect();
    let video: Vec<u16> = after
        .iter()
        .filter(|p| *p.header.ssrc == VIDEO_OUT)
        .map(|p| p.header.sequence_number)
        .collect();
    assert!(
        video.windows(2).all(|w| w[1] == w[0].wrapping_add(1)),
        "{video:?}"
    );
    let audio = after.iter().filter(|p| *p.header.ssrc == AUDIO_OUT);
    let damaged = audio.filter(|p| p.payload.iter().filter(|&&byte| byte != 7).count() == 1);
    assert_eq!(damaged.count(), 60);
}

#[test]
fn a_pause_stops_a_producer_unless_a_fault_ignores_pauses() {
    let mut rig = Rig::new(|c| c.allow_faults = true);
    let (mut publisher, mut subscriber) = call(&mut rig, Way::UDP, Way::UDP);
    exchange(&mut rig, &mut publisher, &mut subscriber, 100, 20);
    let (router, audio) = (RouterId(1), ProducerId(1));
    let mut while_paused = |rig: &mut Rig, first: u64| {
        rig.ask::<serde_json::Value>(Command::PauseProducer {
            router,
            producer: audio,
        });
        let before = subscriber.received.len();
        for number in first..first + 20 {
            publisher.write(AUDIO, AUDIO_PT, number, vec![7; 80]);
            publisher.write(VIDEO, VIDEO_PT, number, vp8(number as u32, number == first));
            let both = &mut [&mut publisher, &mut subscriber];
            rig.until(both, "a pause between packets", |_, _| true);
        }
        // Video is not paused: once all of it is there, so is the audio that was forwarded before it.
        let count = |subscriber: &Peer, ssrc| {
            let after = subscriber.received.iter().skip(before);
            after.filter(|p| *p.header.ssrc == ssrc).count()
        };
        let both = &mut [&mut publisher, &mut subscriber];
        rig.until(both, "all video", |_, peers| {
            count(peers[1], VIDEO_OUT) == 20
        });
        rig.ask::<serde_json::Value>(Command::ResumeProducer {
            router,
            producer: audio,
        });
        count(&subscriber, AUDIO_OUT)
    };
    let faults: Vec<Fault> =
        serde_json::from_value(serde_json::json!([{ "kind": "ignore_pause" }])).unwrap();
    assert_eq!(while_paused(&mut rig, 200), 0);
    rig.tell(Command::InjectFaults { seed: 1, faults });
    assert_eq!(while_paused(&mut rig, 300), 20);
    let log: FaultLog = rig.ask(Command::FaultLog {});
    assert_eq!((log.acts.len(), log.reach[0].packets), (0, 0));
    rig.tell(Command::InjectFaults {
        seed: 1,
        faults: Vec::new(),
    });
    assert_eq!(while_paused(&mut rig, 400), 0);
}
