//! Garbage in every state of a link changes nothing, and the call continues.
//!
//! The seed is printed and can be given as MEESHY_TEST_SEED.

#![allow(clippy::unwrap_used)]

mod link_net;
mod seeded;

use std::time::Duration;

use link_net::*;
use meeshy_sfu_proto::link::{DtlsRole, DtlsState, IceState, LinkEvent};
use meeshy_sfu_proto::net::{Class, classify};

const COUNT: usize = 10_000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Random bytes behind a first byte of STUN.
    Stun,
    /// A STUN header and attributes that parse, with random contents.
    StunShaped,
    /// Random bytes behind a first byte of DTLS.
    Dtls,
    /// A record header that fits, with random contents.
    Record,
    /// A record with a handshake header that fits, with random contents.
    Handshake,
}

const KINDS: [Kind; 5] = [
    Kind::Stun,
    Kind::StunShaped,
    Kind::Dtls,
    Kind::Record,
    Kind::Handshake,
];

fn make(kind: Kind, random: &mut Random) -> Vec<u8> {
    let length = 1 + random.below(300);
    let mut bytes = random.bytes(length.max(20));
    match kind {
        Kind::Stun => bytes[0] &= 3,
        Kind::StunShaped => {
            bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            bytes.extend(random.bytes(12));
            for _ in 0..random.below(8) {
                let kind = [
                    6u16, 8, 9, 0x12, 0x20, 0x24, 0x25, 0x8028, 0x8029, 0x802a, 0xc057,
                ][random.below(11)];
                let size = random.below(40);
                bytes.extend(kind.to_be_bytes());
                bytes.extend((size as u16).to_be_bytes());
                bytes.extend(random.bytes(size.next_multiple_of(4)));
            }
            let size = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&size.to_be_bytes());
        }
        Kind::Dtls => bytes[0] = 20 + bytes[0] % 44,
        Kind::Record | Kind::Handshake => {
            let content = if matches!(kind, Kind::Handshake) {
                22
            } else {
                20 + random.below(7) as u8
            };
            let epoch = if matches!(kind, Kind::Handshake) {
                0
            } else {
                random.below(4) as u8
            };
            let size = 12 + random.below(200);
            let mut body = random.bytes(size);
            if matches!(kind, Kind::Handshake) {
                let size = (body.len() - 12) as u8;
                let types = [0, 1, 2, 3, 4, 8, 11, 12, 13, 14, 15, 16, 20, 24];
                body[..12].copy_from_slice(&[
                    types[random.below(types.len())],
                    0,
                    0,
                    size,
                    0,
                    random.below(12) as u8,
                    0,
                    0,
                    0,
                    0,
                    0,
                    size,
                ]);
            }
            bytes = vec![content, 0xfe, 0xfd, 0, epoch];
            bytes.extend(random.bytes(6));
            bytes.extend((body.len() as u16).to_be_bytes());
            bytes.extend(body);
        }
    }
    bytes
}

/// What noise must not change.
fn state(end: &LinkEnd) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        end.link.ice_state(),
        end.link.dtls_state(),
        end.link.selected(),
        end.events.len(),
        end.keys.clone(),
        end.link
            .username_fragments()
            .map(String::from)
            .collect::<Vec<_>>(),
    )
}

/// Shows a link all kinds of noise, from the known source and from a stranger, and that nothing changed.
fn batter(
    end: &mut LinkEnd,
    from_known: std::net::SocketAddr,
    world_now: std::time::Instant,
    random: &mut Random,
) {
    end.fetch();
    let before = state(end);
    let stranger = ([203, 0, 113, 66], 6).into();
    for kind in KINDS {
        for _ in 0..COUNT {
            let bytes = make(kind, random);
            let from = if random.chance(0.5) {
                from_known
            } else {
                stranger
            };
            let class = match kind {
                Kind::Stun | Kind::StunShaped => Class::Stun,
                _ => Class::Dtls,
            };
            end.link.handle(class, &bytes, destination(from), world_now);
        }
        end.fetch();
        let after = state(end);
        assert!(
            before == after,
            "{kind:?}: {before:?} became {after:?}: {:?}",
            end.events
        );
        assert!(!end.link.is_known_source(&destination(stranger)));
    }
}

/// Batters both ends after `stage`, then expects the handshake to finish with keys that agree.
fn at_stage(role: DtlsRole, stage: impl Fn(&mut World<LinkEnd, LinkEnd>)) {
    let mut world = pair(role, CLEAN);
    stage(&mut world);
    let mut random = seeded_random();
    batter(&mut world.server, client_address(), world.now, &mut random);
    batter(&mut world.client, server_address(), world.now, &mut random);
    let ok = world.run(Duration::from_secs(20), |server, client| {
        server.has_keys() && client.has_keys()
    });
    assert!(ok, "{:?} {:?}", world.server.events, world.client.events);
    let (server, client) = (
        world.server.keys.clone().unwrap(),
        world.client.keys.clone().unwrap(),
    );
    assert!(server.local == client.remote && server.remote == client.local);
    world.pass(Duration::from_secs(5));
    assert_eq!((world.server.failed(), world.client.failed()), (None, None));
}

#[test]
fn before_any_check() {
    at_stage(DtlsRole::Client, |_| {});
}

#[test]
fn with_a_path_and_a_handshake_just_begun() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        at_stage(role, |world| {
            world.run(Duration::from_secs(1), |server, client| {
                server.saw(&LinkEvent::Dtls(DtlsState::Connecting))
                    && client.saw(&LinkEvent::Dtls(DtlsState::Connecting))
            });
        });
    }
}

#[test]
fn in_the_middle_of_the_handshake() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        for millis in [25, 35, 45, 55, 65] {
            at_stage(role, |world| world.pass(Duration::from_millis(millis)));
        }
    }
}

#[test]
fn once_connected() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        at_stage(role, |world| {
            assert!(
                world.run(Duration::from_secs(5), |server, client| server.has_keys()
                    && client.has_keys())
            );
            world.pass(Duration::from_secs(1));
        });
    }
}

#[test]
fn before_connect_was_called() {
    let now = std::time::Instant::now();
    let (server, mut client) = (server_link(now), client_link(DtlsRole::Client, now));
    client
        .connect(DtlsRole::Auto, &fingerprint(&server), now)
        .unwrap();
    client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
    let prints = fingerprint(&client);
    let mut world = World::new(LinkEnd::new(server), LinkEnd::new(client), CLEAN, now);
    assert!(world.run(Duration::from_secs(1), |server, _| {
        server.saw(&LinkEvent::Ice(IceState::Connected))
            || server.saw(&LinkEvent::Ice(IceState::Completed))
    }));
    let mut random = seeded_random();
    batter(&mut world.server, client_address(), world.now, &mut random);
    world
        .server
        .link
        .connect(DtlsRole::Client, &prints, world.now)
        .unwrap();
    assert!(
        world.run(Duration::from_secs(5), |server, client| server.has_keys()
            && client.has_keys())
    );
}

#[test]
fn when_closed_or_failed() {
    let mut world = pair(DtlsRole::Client, CLEAN);
    assert!(
        world.run(Duration::from_secs(5), |server, client| server.has_keys()
            && client.has_keys())
    );
    world.server.link.close(world.now);
    let mut random = seeded_random();
    batter(&mut world.server, client_address(), world.now, &mut random);
    world.cut = true;
    assert!(world.run(Duration::from_secs(60), |_, client| {
        client.saw(&LinkEvent::Dtls(DtlsState::Closed)) || client.failed().is_some()
    }));
    batter(&mut world.client, server_address(), world.now, &mut random);
}

#[test]
fn datagrams_of_this_very_call_with_flipped_bits_break_nothing_once_connected() {
    let mut random = seeded_random();
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut world = pair(role, CLEAN);
        // Tap what both ends send until the keys are there.
        let mut taped: Vec<(bool, Vec<u8>)> = Vec::new();
        let mut buffer = [0; 2048];
        let mut now = world.now;
        for _ in 0..2000 {
            while let Some((length, _)) = world.client.link.poll_transmit(&mut buffer) {
                taped.push((true, buffer[..length].to_vec()));
                world
                    .server
                    .receive(&buffer[..length], client_address(), now);
            }
            while let Some((length, _)) = world.server.link.poll_transmit(&mut buffer) {
                taped.push((false, buffer[..length].to_vec()));
                world
                    .client
                    .receive(&buffer[..length], server_address(), now);
            }
            now += Duration::from_millis(1);
            world.server.wake(now);
            world.client.wake(now);
        }
        assert!(world.server.has_keys() && world.client.has_keys());
        for _ in 0..COUNT {
            let (to_server, bytes) = &taped[random.below(taped.len())];
            let mut bytes = bytes.clone();
            let bits = 1 + random.below(4);
            for _ in 0..bits {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            if *to_server {
                world.server.link.handle(
                    classify(&bytes),
                    &bytes,
                    destination(client_address()),
                    now,
                );
            } else {
                world.client.link.handle(
                    classify(&bytes),
                    &bytes,
                    destination(server_address()),
                    now,
                );
            }
            while world.server.link.poll_transmit(&mut buffer).is_some() {}
            while world.client.link.poll_transmit(&mut buffer).is_some() {}
        }
        for end in [&mut world.server, &mut world.client] {
            assert_eq!(end.failed(), None);
            assert_eq!(
                end.link.dtls_state(),
                DtlsState::Connected,
                "{:?}",
                end.events
            );
        }
    }
}
