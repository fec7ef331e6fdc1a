//! Server link against client link over an emulated network: handshakes in both roles, close, failures.

#![allow(clippy::unwrap_used)]

mod link_net;
mod seeded;

use std::time::{Duration, Instant};

use link_net::*;
use meeshy_sfu_proto::link::{
    DtlsFailure, DtlsRole, DtlsState, DtlsVersion, Fingerprint, HashAlgorithm, IceState, LinkError,
    LinkEvent, LinkFailure,
};
use meeshy_sfu_proto::srtp::SrtpProfile;

const ROLES: [DtlsRole; 2] = [DtlsRole::Client, DtlsRole::Server];

fn assert_keys_agree(world: &mut World<LinkEnd, LinkEnd>) {
    let (server, client) = (
        world.server.keys.clone().unwrap(),
        world.client.keys.clone().unwrap(),
    );
    assert_eq!(server.profile, client.profile);
    assert!(server.local == client.remote && server.remote == client.local);
    assert_eq!(server.local.key.len(), server.profile.key_len());
    assert_eq!(server.local.salt.len(), server.profile.salt_len());
    assert!(server.local != server.remote);
}

#[test]
fn both_roles_connect_and_the_keys_of_both_ends_agree() {
    for role in ROLES {
        let mut world = pair(role, CLEAN);
        let began = world.now;
        assert!(
            world.run(Duration::from_secs(5), |server, client| server.has_keys()
                && client.has_keys())
        );
        assert!(
            world.now - began < Duration::from_millis(300),
            "{:?}",
            world.now - began
        );
        assert_keys_agree(&mut world);
        world.pass(Duration::from_millis(200));
        for end in [&mut world.server, &mut world.client] {
            end.fetch();
            assert_eq!(end.link.dtls_state(), DtlsState::Connected);
            assert_eq!(end.link.ice_state(), IceState::Completed);
            let keys = end
                .events
                .iter()
                .position(|event| matches!(event, LinkEvent::Keys(_)));
            let connected = end
                .events
                .iter()
                .position(|event| *event == LinkEvent::Dtls(DtlsState::Connected));
            assert!(keys < connected);
        }
        assert_eq!(
            world.server.link.selected(),
            Some(destination(client_address()))
        );
        assert_eq!(
            world.client.link.selected(),
            Some(destination(server_address()))
        );
    }
}

#[test]
fn as_dtls_server_we_speak_1_2_and_choose_gcm() {
    let mut world = pair(DtlsRole::Client, CLEAN);
    assert!(
        world.run(Duration::from_secs(5), |server, client| server.has_keys()
            && client.has_keys())
    );
    assert_eq!(world.server.link.dtls_version(), Some(DtlsVersion::V1_2));
    assert_eq!(
        world.server.keys.as_ref().unwrap().profile,
        SrtpProfile::AeadAes256Gcm
    );
}

#[test]
fn loss_of_a_fifth_and_reordering_are_survived() {
    let wire = Wire {
        loss: 0.2,
        jitter: Duration::from_millis(60),
        ..CLEAN
    };
    let mut random = seeded_random();
    for round in 0..20 {
        let mut world = pair(ROLES[round % 2], wire);
        world.random = random.fork();
        let ok = world.run(Duration::from_secs(29), |server, client| {
            server.has_keys() && client.has_keys()
        });
        assert!(
            ok,
            "round {round}: {:?} {:?}",
            world.server.events, world.client.events
        );
        assert_keys_agree(&mut world);
    }
}

#[test]
fn a_client_hello_in_pieces_and_backwards_is_understood() {
    for size in [40, 150, 1188] {
        let wire = Wire {
            cut_hello: Some(size),
            ..CLEAN
        };
        let mut world = pair(DtlsRole::Client, wire);
        let began = world.now;
        assert!(
            world.run(Duration::from_secs(5), |server, client| server.has_keys()
                && client.has_keys())
        );
        // Without waiting for a retransmission.
        assert!(world.now - began < Duration::from_millis(300));
    }
}

#[test]
fn a_lost_first_flight_is_sent_again_within_100_ms() {
    for role in ROLES {
        let mut world = pair(role, CLEAN);
        let starter = role == DtlsRole::Client;
        world.run(Duration::from_secs(5), |server, client| {
            let end = if starter { client } else { server };
            end.saw(&LinkEvent::Dtls(DtlsState::Connecting))
        });
        world.cut = true;
        let began = world.now;
        let sent =
            |world: &World<LinkEnd, LinkEnd>| if starter { world.sent.1 } else { world.sent.0 };
        world.pass(Duration::ZERO);
        let before = sent(&world);
        while sent(&world) == before {
            world.pass(Duration::from_millis(1));
            assert!(world.now - began <= Duration::from_millis(101));
        }
        assert!(world.now - began >= Duration::from_millis(50));
    }
}

#[test]
fn a_client_hello_before_connect_is_kept() {
    let now = Instant::now();
    let (server, mut client) = (server_link(now), client_link(DtlsRole::Client, now));
    client
        .connect(DtlsRole::Auto, &fingerprint(&server), now)
        .unwrap();
    client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
    let client_fingerprint = fingerprint(&client);
    let mut world = World::new(LinkEnd::new(server), LinkEnd::new(client), CLEAN, now);
    world.run(Duration::from_secs(1), |_, client| {
        client.saw(&LinkEvent::Dtls(DtlsState::Connecting))
    });
    world.pass(Duration::from_millis(15));
    // From here the client is silent for a while, so only what was kept can start the handshake.
    world.cut = true;
    world.pass(Duration::from_millis(20));
    world.cut = false;
    let before = world.now;
    world
        .server
        .link
        .connect(DtlsRole::Client, &client_fingerprint, world.now)
        .unwrap();
    assert!(
        world.run(Duration::from_secs(1), |server, client| server.has_keys()
            && client.has_keys())
    );
    assert!(
        world.now - before < Duration::from_millis(60),
        "{:?}",
        world.now - before
    );
}

#[test]
fn a_wrong_fingerprint_fails_with_the_reason_and_gives_no_keys() {
    for role in ROLES {
        let now = Instant::now();
        let (mut server, mut client) = (server_link(now), client_link(role, now));
        let stranger = vec![certificate().fingerprint(HashAlgorithm::Sha256)];
        server.connect(role, &stranger, now).unwrap();
        client
            .connect(DtlsRole::Auto, &fingerprint(&server), now)
            .unwrap();
        client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
        let seen = client.certificate().fingerprint(HashAlgorithm::Sha256);
        let mut world = World::new(LinkEnd::new(server), LinkEnd::new(client), CLEAN, now);
        assert!(world.run(Duration::from_secs(5), |server, _| {
            server.failed().is_some()
        }));
        let reason = LinkFailure::Dtls(DtlsFailure::FingerprintMismatch(seen.clone()));
        assert_eq!(world.server.events.last(), Some(&LinkEvent::Failed(reason)));
        assert!(world.server.failed().unwrap().contains(&seen.value));
        assert_eq!(world.server.link.dtls_state(), DtlsState::Failed);
        assert!(world.server.keys.is_none());
        assert_eq!(world.server.link.poll_timeout(), None);
        assert_eq!(world.server.link.selected(), None);
        // The client is told, and never takes the handshake for done.
        let ended = world.run(Duration::from_secs(5), |_, client| {
            client.failed().is_some()
        });
        assert!(ended, "{role:?}: {:?}", world.client.events);
        let told = LinkFailure::Dtls(DtlsFailure::Alert(42));
        assert_eq!(world.client.events.last(), Some(&LinkEvent::Failed(told)));
        assert!(world.client.keys.is_none());
    }
}

#[test]
fn any_matching_fingerprint_of_any_hash_will_do() {
    for algorithm in [HashAlgorithm::Sha512, HashAlgorithm::Sha384] {
        for role in ROLES {
            let now = Instant::now();
            let (mut server, mut client) = (server_link(now), client_link(role, now));
            let mut right = client.certificate().fingerprint(algorithm);
            right.value = right.value.to_lowercase();
            let wrong = certificate().fingerprint(HashAlgorithm::Sha256);
            server.connect(role, &[wrong, right], now).unwrap();
            client
                .connect(DtlsRole::Auto, &fingerprint(&server), now)
                .unwrap();
            client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
            let mut world = World::new(LinkEnd::new(server), LinkEnd::new(client), CLEAN, now);
            assert!(
                world.run(Duration::from_secs(5), |server, client| server.has_keys()
                    && client.has_keys())
            );
        }
    }
}

#[test]
fn a_refused_connect_leaves_the_link_as_it_was() {
    let now = Instant::now();
    let (mut server, client) = (server_link(now), client_link(DtlsRole::Client, now));
    let good = fingerprint(&client);
    let short = Fingerprint {
        algorithm: HashAlgorithm::Sha512,
        value: good[0].value.clone(),
    };
    assert_eq!(
        server.connect(DtlsRole::Client, &[], now),
        Err(LinkError::NoFingerprint)
    );
    assert_eq!(
        server.connect(DtlsRole::Client, &[short], now),
        Err(LinkError::MalformedFingerprint)
    );
    assert_eq!(
        server.connect(DtlsRole::Client, &good, now),
        Ok(DtlsRole::Server)
    );
    assert_eq!(
        server.connect(DtlsRole::Server, &good, now),
        Err(LinkError::AlreadyConnected)
    );
    server.close(now);
    assert_eq!(
        server.connect(DtlsRole::Server, &good, now),
        Err(LinkError::Closed)
    );

    let mut world = pair(DtlsRole::Client, CLEAN);
    assert!(
        world.run(Duration::from_secs(5), |server, client| server.has_keys()
            && client.has_keys())
    );
    let refused = world
        .server
        .link
        .connect(DtlsRole::Client, &good, world.now);
    assert_eq!(refused, Err(LinkError::AlreadyConnected));
    assert_eq!(world.server.link.dtls_state(), DtlsState::Connected);
}

#[test]
fn dtls_roles_follow_the_signalling() {
    let now = Instant::now();
    let prints = vec![certificate().fingerprint(HashAlgorithm::Sha256)];
    for (remote, ours) in [
        (DtlsRole::Client, DtlsRole::Server),
        (DtlsRole::Server, DtlsRole::Client),
        (DtlsRole::Auto, DtlsRole::Client),
    ] {
        assert_eq!(server_link(now).connect(remote, &prints, now), Ok(ours));
        assert_eq!(
            client_link(DtlsRole::Auto, now).connect(remote, &prints, now),
            Ok(ours)
        );
    }
    for role in ROLES {
        assert_eq!(
            client_link(role, now).connect(DtlsRole::Auto, &prints, now),
            Ok(role)
        );
        assert_eq!(
            client_link(role, now).connect(role, &prints, now),
            Err(LinkError::RoleConflict)
        );
    }
}

#[test]
fn close_sends_close_notify_and_the_peer_closes() {
    for role in ROLES {
        for server_closes in [true, false] {
            let mut world = pair(role, CLEAN);
            assert!(
                world.run(Duration::from_secs(5), |server, client| server.has_keys()
                    && client.has_keys())
            );
            world.pass(Duration::from_millis(300));
            let now = world.now;
            let closing = if server_closes {
                &mut world.server
            } else {
                &mut world.client
            };
            closing.link.close(now);
            closing.link.close(now);
            closing.fetch();
            assert_eq!(closing.link.ice_state(), IceState::Closed);
            assert_eq!(closing.link.dtls_state(), DtlsState::Closed);
            assert_eq!(
                closing
                    .events
                    .iter()
                    .filter(|e| **e == LinkEvent::Dtls(DtlsState::Closed))
                    .count(),
                1
            );
            let heard = world.run(Duration::from_secs(1), |server, client| {
                let other = if server_closes { client } else { server };
                other.saw(&LinkEvent::Dtls(DtlsState::Closed))
            });
            assert!(heard, "role {role:?}, server closes {server_closes}");
            assert_eq!((world.server.failed(), world.client.failed()), (None, None));
        }
    }
}

#[test]
fn a_peer_without_dtls_fails_with_a_timeout() {
    for role in ROLES {
        let now = Instant::now();
        let (mut server, mut client) = (server_link(now), client_link(role, now));
        server.connect(role, &fingerprint(&client), now).unwrap();
        client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
        let mut world = World::new(LinkEnd::new(server), LinkEnd::new(client), CLEAN, now);
        assert!(world.run(Duration::from_secs(40), |server, _| {
            server.failed().is_some()
        }));
        assert!(world.now - now < Duration::from_secs(31));
        assert_eq!(
            world.server.events.last(),
            Some(&LinkEvent::Failed(LinkFailure::Dtls(DtlsFailure::Timeout)))
        );
    }
}

#[test]
fn a_link_can_be_handed_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<meeshy_sfu_proto::link::Link>();
}
