//! Transports with real ICE and DTLS: from the first check to media and to closing.
#![allow(clippy::unwrap_used)]

mod link_stage;
mod router_call;

use std::time::Duration;

use link_stage::*;
use meeshy_sfu_proto::link::{Certificate, DtlsRole, DtlsState, HashAlgorithm, IceState};
use meeshy_sfu_proto::net::{Class, Destination, SocketId};
use meeshy_sfu_proto::router::{RouterError, RouterEvent, TransportKey};
use meeshy_sfu_proto::rtp::{HeaderFields, RtpHeader};
use meeshy_sfu_proto::srtp::SrtpRx;
use router_call::{audio_consumer, video, video_consumer, vp8};

#[test]
fn media_flows_once_both_sides_are_connected_in_either_dtls_role() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let Connected {
            mut stage,
            alice,
            bob,
            ..
        } = connected(role);
        for sequence in 0..5 {
            stage.send_audio(alice, 1000, sequence);
            stage.run(Duration::from_millis(20));
        }
        let keys = stage.clients[bob].keys.clone().expect("connected");
        let mut rx = SrtpRx::new(keys.profile, &keys.remote);
        assert_eq!(stage.clients[bob].media.len(), 5, "{role:?}");
        for datagram in &stage.clients[bob].media {
            let header = RtpHeader::parse(datagram).unwrap();
            let mut payload = [0; 256];
            let (_, len) = rx
                .unprotect_rtp(datagram, header.header_len(), &mut payload)
                .unwrap();
            assert_eq!((header.ssrc, &payload[..len]), (5000, &[1; 80][..]));
        }
        let dtls = |wanted| {
            let states = stage.events.iter().filter_map(|event| match event {
                RouterEvent::TransportDtls { state, profile, .. } => {
                    Some((*state, profile.is_some()))
                }
                _ => None,
            });
            states.filter(|state| *state == wanted).count()
        };
        assert_eq!(dtls((DtlsState::Connected, true)), 2);
        let connected = |event: &&RouterEvent| {
            matches!(
                event,
                RouterEvent::TransportIce {
                    state: IceState::Completed,
                    selected: Some(_),
                    ..
                }
            )
        };
        assert_eq!(stage.events.iter().filter(connected).count(), 2);
    }
}

#[test]
fn media_goes_where_the_client_sends_from_though_it_goes_on_nominating_another_tuple() {
    let Connected {
        mut stage,
        alice,
        bob,
        ..
    } = connected(DtlsRole::Client);
    let transport = stage.clients[bob].transport;
    let talks_by = stage.source(bob);
    // Bob's checks come by TCP as well, nominated too; what is sent there never reaches him.
    let blocked = Destination {
        socket: SocketId(7),
        remote: "198.51.100.2:6000".parse().unwrap(),
    };
    let selected = |stage: &Stage| stage.router.link(transport).unwrap().selected();
    let (mut lost, mut nominated) = (0, 0);
    for round in 0..100u16 {
        if round % 3 == 0 {
            let mut check = nominated_check();
            stage.receive(transport, &mut check, blocked);
            nominated += u32::from(selected(&stage) == Some(blocked));
        }
        stage.run(Duration::from_millis(5));
        stage.send_audio(bob, 77, round);
        stage.run(Duration::from_millis(200));
        stage.send_audio(alice, 1000, round);
        stage.run(Duration::from_millis(20));
        lost += u32::from(selected(&stage) != Some(talks_by));
    }
    assert!(lost <= 1, "{lost} rounds by the blocked tuple");
    assert_eq!(nominated, 1, "until media contradicts it");
    assert!(stage.clients[bob].media.len() >= 99);
}

#[test]
fn a_second_connect_is_refused_and_presets_have_no_link() {
    let mut stage = Stage::new();
    let alice = stage.join(DtlsRole::Client);
    let transport = stage.clients[alice].transport;
    let print = [Certificate::generate()
        .unwrap()
        .fingerprint(HashAlgorithm::Sha256)];
    let again = stage.router.connect(
        transport,
        DtlsRole::Client,
        &print,
        stage.now,
        &mut stage.sent,
    );
    assert!(matches!(again, Err(RouterError::Link(_))));
    let gone = TransportKey(9);
    let unknown = stage
        .router
        .connect(gone, DtlsRole::Client, &print, stage.now, &mut stage.sent);
    assert_eq!(unknown, Err(RouterError::Unknown));
    assert_eq!(
        stage
            .router
            .link(transport)
            .unwrap()
            .username_fragments()
            .count(),
        1
    );
}

#[test]
fn close_notify_of_a_client_closes_its_transport_and_tracks() {
    let Connected {
        mut stage,
        alice,
        producer,
        consumer,
        ..
    } = connected(DtlsRole::Client);
    stage.events.clear();
    let now = stage.now;
    stage.clients[alice].link.close(now);
    stage.run(Duration::from_millis(100));
    assert!(
        stage
            .events
            .contains(&RouterEvent::ProducerClosed { producer })
    );
    assert!(
        stage
            .events
            .contains(&RouterEvent::ConsumerClosed { consumer })
    );
    let transport = stage.clients[alice].transport;
    let closed = |event: &RouterEvent| matches!(event, RouterEvent::TransportClosed { transport: which, .. } if *which == transport);
    assert!(stage.events.iter().any(closed));
    assert_eq!(stage.router.stats().transports, 1);
}

#[test]
fn thirty_seconds_without_consent_fail_ice_but_the_transport_stays_for_restart_ice() {
    let Connected {
        mut stage,
        alice,
        bob,
        ..
    } = connected(DtlsRole::Client);
    stage.events.clear();
    // Both are out of reach for a minute.
    stage.run_out_of_reach(Duration::from_secs(60));
    let lost = |event: &&RouterEvent| {
        matches!(
            event,
            RouterEvent::TransportIce {
                state: IceState::Disconnected,
                selected: None,
                ..
            }
        )
    };
    assert_eq!(stage.events.iter().filter(lost).count(), 2);
    assert_eq!(stage.events.len(), 2, "nothing closes: {:?}", stage.events);
    assert_eq!(stage.router.stats().transports, 2);
    assert_eq!(stage.router.poll_timeout(), None, "no timer is needed");
    // Without consent nothing is taken, and nothing sent.
    stage.send_audio(alice, 1000, 0);
    stage.router.flush(stage.now, &mut stage.sent);
    assert!(stage.sent.datagrams.is_empty());
    let fresh = credentials("restarted");
    for client in [alice, bob] {
        let transport = stage.clients[client].transport;
        stage
            .router
            .restart_ice(transport, fresh.clone(), stage.now)
            .unwrap();
        let candidates = stage.router.link(transport).unwrap().candidates().to_vec();
        let now = stage.now;
        stage.clients[client]
            .link
            .set_remote_ice(&fresh, &candidates, now);
    }
    stage.run(Duration::from_secs(3));
    for sequence in 1..6 {
        stage.send_audio(alice, 1000, sequence);
        stage.run(Duration::from_millis(20));
    }
    assert_eq!(stage.clients[bob].media.len(), 5, "with the keys of before");
    let restarted = |event: &&RouterEvent| matches!(event, RouterEvent::IceRestarted { .. });
    assert_eq!(stage.events.iter().filter(restarted).count(), 2);
}

#[test]
fn media_before_the_keys_is_counted_and_dropped() {
    let mut stage = Stage::new();
    let alice = stage.join(DtlsRole::Client);
    stage.produce(alice, 1000);
    let (transport, from) = (stage.clients[alice].transport, stage.source(alice));
    let mut check = nominated_check();
    stage.receive(transport, &mut check, from);
    let mut media = [0; 60];
    media[0] = 0x80;
    media[1] = 111;
    let (router, sent) = (&mut stage.router, &mut stage.sent);
    for class in [Class::Rtp, Class::Rtcp] {
        router.handle_datagram(transport, class, &mut media, from, stage.now, sent);
    }
    let drops = stage.router.stats().drops;
    assert_eq!((drops.no_keys, drops.unknown_source), (2, 0));
}

#[test]
fn packets_pending_for_a_lost_path_are_dropped() {
    let Connected {
        mut stage, alice, ..
    } = connected(DtlsRole::Client);
    stage.run_out_of_reach(Duration::from_secs(25));
    stage.send_audio(alice, 1000, 0);
    assert_eq!(stage.router.pending(), 1);
    while let Some(due) = stage.router.poll_timeout() {
        stage.now = stage.now.max(due);
        stage.router.handle_timeout(stage.now, &mut stage.sent);
    }
    stage.sent.datagrams.clear();
    stage.router.flush(stage.now, &mut stage.sent);
    assert_eq!(stage.router.pending(), 0);
    assert!(stage.sent.datagrams.is_empty());
}

/// A packet of one key frame from a connected client.
fn send_key_frame(stage: &mut Stage, client: usize, ssrc: u32) {
    let fields = HeaderFields {
        payload_type: 96,
        ssrc,
        ..HeaderFields::default()
    };
    stage.send(client, &fields, &vp8(true, 200));
}

#[test]
fn a_key_frame_is_requested_when_the_receiver_becomes_ready_and_not_before() {
    let mut stage = Stage::new();
    let alice = stage.join(DtlsRole::Client);
    let sender = stage.clients[alice].transport;
    let producer = stage
        .router
        .produce(sender, video(1000), stage.now)
        .unwrap();
    stage.run(Duration::from_secs(1));
    let bob = stage.join(DtlsRole::Client);
    let receiver = stage.clients[bob].transport;
    stage
        .router
        .consume(receiver, producer, video_consumer(5000, "0"), stage.now)
        .unwrap();
    let late = stage.clients.pop().unwrap();
    stage.run(Duration::from_millis(10));
    send_key_frame(&mut stage, alice, 1000);
    stage.run(Duration::from_secs(1));
    let requests =
        |stage: &Stage| stage.router.producer_stats(producer).unwrap()[0].key_frame_requests;
    let before = requests(&stage);
    stage.clients.push(late);
    let state = |stage: &Stage| stage.router.link(receiver).unwrap().dtls_state();
    while state(&stage) != DtlsState::Connected {
        assert_eq!(requests(&stage), before, "not ready yet");
        stage.run(Duration::from_millis(1));
    }
    stage.run(Duration::from_millis(20));
    assert_eq!(requests(&stage), before + 1);
}

#[test]
fn a_path_that_changes_is_reported_with_its_new_destination() {
    let mut stage = Stage::new();
    let alice = stage.join(DtlsRole::Client);
    stage.run(Duration::from_secs(2));
    stage.events.clear();
    let transport = stage.clients[alice].transport;
    let other = Destination {
        socket: SocketId(7),
        remote: "198.51.100.2:6000".parse().unwrap(),
    };
    let mut check = nominated_check();
    stage.receive(transport, &mut check, other);
    stage.run(Duration::from_millis(5));
    let told = |destination| RouterEvent::TransportIce {
        transport,
        state: IceState::Completed,
        selected: Some(destination),
    };
    assert_eq!(stage.events, [told(other)]);
    // Media by the first path takes it back.
    stage.produce(alice, 1000);
    stage.send_audio(alice, 1000, 0);
    stage.run(Duration::from_millis(5));
    let first = stage.source(alice);
    let ice = |event: &RouterEvent| matches!(event, RouterEvent::TransportIce { .. });
    stage.events.retain(ice);
    assert_eq!(stage.events, [told(other), told(first)]);
}

#[test]
fn nothing_is_queued_for_a_receiver_without_path_and_keys() {
    let mut stage = Stage::new();
    let alice = stage.join(DtlsRole::Client);
    let producer = stage.produce(alice, 1000);
    stage.run(Duration::from_secs(1));
    let bob = stage.join(DtlsRole::Client);
    let receiver = stage.clients[bob].transport;
    stage
        .router
        .consume(receiver, producer, audio_consumer(5000, "0"), stage.now)
        .unwrap();
    stage.send_audio(alice, 1000, 0);
    assert_eq!(stage.router.pending(), 0);
    assert_eq!(stage.router.stats().drops.unready, 1);
}
