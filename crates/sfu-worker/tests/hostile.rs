//! Datagrams that no honest peer sends.
#![allow(clippy::unwrap_used)]

mod rig;

use std::net::UdpSocket;

use meeshy_sfu_worker::Event;
use meeshy_sfu_worker::command::*;
use rig::connection::{checked_connection, idle_connection, is_answered, is_open, wait_closed};
use rig::peer::Peer;
use rig::random::Random;
use rig::{AUDIO_PT, Rig, Way, consume, consume_one, produce};
use str0m::media::MediaKind as PeerKind;

/// Of each kind, in each state, from a stranger and from the peer's own address.
const COUNT: usize = 10_000;
const AUDIO: u32 = 5;
const AUDIO_OUT: u32 = 6;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
}

fn datagram(kind: Kind, random: &mut Random, fragment: &str) -> Vec<u8> {
    let len = 12 + (random.next() % 200) as usize;
    let mut bytes = random.bytes(len);
    match kind {
        Kind::Stun => {
            // A binding request with our username, so that it reaches the transport, and garbage behind.
            let username = format!("{fragment}:peer");
            let mut text = username.clone().into_bytes();
            text.resize(username.len().next_multiple_of(4), 0);
            let words = (random.next() % 20) as usize;
            let garbage = random.bytes(4 * words);
            let length = (4 + text.len() + garbage.len()) as u16;
            bytes = vec![0, 1];
            bytes.extend(length.to_be_bytes());
            bytes.extend([0x21, 0x12, 0xa4, 0x42]);
            bytes.extend(random.bytes(12));
            bytes.extend([0, 6]);
            bytes.extend((username.len() as u16).to_be_bytes());
            bytes.extend(text);
            bytes.extend(garbage);
        }
        Kind::Dtls => {
            bytes[0] = 20 + (random.next() % 44) as u8;
            if random.next().is_multiple_of(2) {
                bytes[..3].copy_from_slice(&[22, 0xfe, 0xfd]);
            }
        }
        Kind::Rtp => {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = AUDIO_PT;
            bytes[8..12].copy_from_slice(&AUDIO.to_be_bytes());
        }
        Kind::Rtcp => {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = 192 + bytes[1] % 32;
        }
    }
    bytes
}

/// Sends all kinds and waits until the worker has seen them.
fn bombard(rig: &mut Rig, random: &mut Random, peer: &mut Peer, fragment: &str) {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.connect(("127.0.0.1", rig.worker.port())).unwrap();
    let before = rig.stats();
    let mut sent = 0;
    for kind in [Kind::Stun, Kind::Dtls, Kind::Rtp, Kind::Rtcp] {
        for number in 0..COUNT {
            let bytes = datagram(kind, random, fragment);
            if number % 2 == 0 {
                stranger.send(&bytes).unwrap();
            } else {
                peer.send_raw(&bytes);
            }
            sent += 1;
            if number % 500 == 0 {
                // Keeps the socket's buffer from filling.
                rig.stats();
            }
        }
    }
    // Without the peer, whose own checks would add to what is counted.
    rig.until(&mut [], "the receipt of everything", |rig, _| {
        let stats = rig.stats();
        let lost = stats.drops.get("receive_buffer_full").copied().unwrap_or(0);
        stats.packets_in + lost >= before.packets_in + sent
    });
    let after = rig.stats();
    assert_eq!(after.transport_panics, 0);
    assert_eq!(after.transports, before.transports);
    assert_eq!(after.remotes, before.remotes);
    assert!(!rig.saw(|e| matches!(e, Event::TransportClosed { .. } | Event::Died { .. })));
}

#[test]
fn random_datagrams_change_nothing_in_any_state() {
    let mut random = Random::new();
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let mut subscriber = rig.join(1, 2, Way::UDP);
    subscriber.receives("a", PeerKind::Audio, AUDIO_OUT);
    rig.connect(&mut [&mut subscriber]);

    let mut publisher = rig.join(1, 1, Way::UDP);
    let restart = Command::RestartIce {
        router: RouterId(1),
        transport: TransportId(1),
    };
    // Nothing came from the peer yet.
    bombard(&mut rig, &mut random, &mut publisher, "nobody");
    rig.connect(&mut [&mut publisher, &mut subscriber]);
    publisher.sends("a", PeerKind::Audio, AUDIO);
    rig.tell(Command::Produce(produce(1, 1, 1, MediaKind::Audio, AUDIO)));
    let entries = vec![consume_one(1, 1, MediaKind::Audio, AUDIO_OUT)];
    rig.ask::<ConsumeResults>(consume(1, 2, entries));
    // Connected, with fragments that are valid.
    let fresh: IceParameters = rig.ask(restart);
    bombard(
        &mut rig,
        &mut random,
        &mut publisher,
        &fresh.username_fragment,
    );
    for number in 0..50 {
        publisher.write(AUDIO, AUDIO_PT, number, vec![7; 60]);
    }
    rig.until(
        &mut [&mut publisher, &mut subscriber],
        "media",
        |_, peers| peers[1].received.len() >= 50,
    );
}

#[test]
fn one_client_cannot_hold_connections_without_end() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let created = rig.create_transport(1, 1);
    let mut connections = Vec::new();
    for number in 1..=60 {
        let mut connection = checked_connection(&rig, &created);
        assert!(is_answered(&mut connection));
        connections.push(connection);
        let stats = rig.stats();
        assert!(stats.remotes <= number.min(16), "{}", stats.remotes);
        assert!(stats.tcp_connections <= 16, "{}", stats.tcp_connections);
    }
    // What was forgotten was closed, and what was used last is open.
    let mut newest = connections.pop().unwrap();
    assert!(is_open(&mut newest));
    let mut oldest = connections.swap_remove(0);
    wait_closed(&mut oldest);
}

#[test]
fn a_thousand_idle_connections_of_an_address_keep_no_neighbour_behind_it_out() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let created = rig.create_transport(1, 1);
    let mut valid = checked_connection(&rig, &created);
    assert!(is_answered(&mut valid));
    let idle: Vec<_> = (0..1000).filter_map(|_| idle_connection(&rig)).collect();
    assert!(idle.len() > 900);
    assert!(is_answered(&mut checked_connection(&rig, &created)));
    let stats = rig.stats();
    assert!(stats.tcp_connections <= 258, "{}", stats.tcp_connections);
    // Whoever was validated before is not closed for strangers.
    assert!(is_open(&mut valid));
}

#[test]
fn a_full_table_of_connections_has_room_for_whoever_can_show_a_check() {
    let mut rig = Rig::new(|config| config.max_connections = 20);
    rig.create_router(1);
    let created = rig.create_transport(1, 1);
    let idle: Vec<_> = (0..100).filter_map(|_| idle_connection(&rig)).collect();
    assert!(idle.len() > 90);
    assert!(is_answered(&mut checked_connection(&rig, &created)));
    let stats = rig.stats();
    assert!(stats.tcp_connections <= 20, "{}", stats.tcp_connections);
}

#[test]
fn strangers_on_tcp_are_closed_and_cost_nothing_but_their_connection() {
    use std::io::{Read, Write};
    let mut random = Random::new();
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    rig.create_transport(1, 1);
    let mut strangers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = idle_connection(&rig).unwrap();
            // A length beyond the limit, or a frame of garbage followed by one.
            let mut bytes = [&[0, 50][..], &random.bytes(50)].concat();
            bytes.extend([0xff, 0xff]);
            stream.write_all(&bytes).unwrap();
            stream
        })
        .collect();
    for stream in &mut strangers {
        stream.set_read_timeout(Some(rig::PATIENCE)).unwrap();
        assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
    rig.until(&mut [], "the end of their connections", |rig, _| {
        rig.stats().tcp_connections == 0
    });
    assert_eq!(rig.stats().transports, 1);
}
