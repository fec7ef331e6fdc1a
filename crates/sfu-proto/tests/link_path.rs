//! The path during a call: ICE restart, change of address, consent, IPv6, TCP.

#![allow(clippy::unwrap_used)]

mod link_net;
mod seeded;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use link_net::*;
use meeshy_sfu_proto::link::{
    DtlsRole, DtlsState, IceProtocol, IceState, Link, LinkEvent, LinkFailure, TcpType, username_of,
};
use meeshy_sfu_proto::net::{Class, Destination, SocketId};

fn connected(role: DtlsRole) -> World<LinkEnd, LinkEnd> {
    let mut world = pair(role, CLEAN);
    assert!(
        world.run(Duration::from_secs(5), |server, client| server.has_keys()
            && client.has_keys())
    );
    world.pass(Duration::from_secs(1));
    for end in [&mut world.server, &mut world.client] {
        end.fetch();
        end.events.clear();
    }
    world
}

#[test]
fn restart_ice_keeps_the_old_credentials_until_the_new_ones_are_used() {
    let mut world = connected(DtlsRole::Client);
    let fresh = ice("server2");
    world.server.link.restart_ice(fresh.clone(), world.now);
    let fragments: Vec<String> = world
        .server
        .link
        .username_fragments()
        .map(String::from)
        .collect();
    assert_eq!(fragments, ["server2fragment", "serverfragment"]);
    // The client got no answer for longer than the consent time, and is still alive.
    world.pass(Duration::from_secs(45));
    assert_eq!((world.server.failed(), world.client.failed()), (None, None));
    assert!(!world.server.saw(&LinkEvent::IceRestarted));
    let candidates = world.server.link.candidates().to_vec();
    world
        .client
        .link
        .set_remote_ice(&fresh, &candidates, world.now);
    assert!(
        world
            .client
            .link
            .is_known_source(&destination(server_address()))
    );
    assert_eq!(
        world.client.link.selected(),
        Some(destination(server_address()))
    );
    assert!(world.run(Duration::from_secs(2), |server, client| {
        server.saw(&LinkEvent::IceRestarted) && client.saw(&LinkEvent::IceRestarted)
    }));
    assert_eq!(
        world.server.link.username_fragments().collect::<Vec<_>>(),
        ["server2fragment"]
    );
    world.pass(Duration::from_secs(60));
    assert_eq!((world.server.failed(), world.client.failed()), (None, None));
    for end in [&world.server, &world.client] {
        assert_eq!(end.link.dtls_state(), DtlsState::Connected);
        assert!(
            !end.events
                .iter()
                .any(|event| matches!(event, LinkEvent::Keys(_) | LinkEvent::Dtls(_)))
        );
    }
}

#[test]
fn a_client_that_changes_its_address_stays_connected() {
    let mut world = connected(DtlsRole::Client);
    let moved: SocketAddr = ([203, 0, 113, 9], 51_000).into();
    world.client_address = moved;
    assert!(!world.server.link.is_known_source(&destination(moved)));
    assert!(world.run(Duration::from_secs(15), |server, _| {
        server.saw(&LinkEvent::Selected(destination(moved)))
    }));
    assert!(world.server.link.is_known_source(&destination(moved)));
    // Both for a while: packets under way from the old address are still good.
    assert!(
        world
            .server
            .link
            .is_known_source(&destination(client_address()))
    );
    world.pass(Duration::from_secs(60));
    assert_eq!((world.server.failed(), world.client.failed()), (None, None));
    assert!(
        !world
            .server
            .link
            .is_known_source(&destination(client_address()))
    );
    assert!(
        !world
            .server
            .events
            .iter()
            .any(|event| matches!(event, LinkEvent::Dtls(_) | LinkEvent::Keys(_)))
    );
    // DTLS continues over the new address: close_notify arrives.
    world.server.link.close(world.now);
    assert!(world.run(Duration::from_secs(1), |_, client| {
        client.saw(&LinkEvent::Dtls(DtlsState::Closed))
    }));
}

#[test]
fn a_client_that_changes_its_address_in_the_handshake_gets_through() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut world = pair(role, CLEAN);
        world.run(Duration::from_secs(1), |server, _| {
            server.saw(&LinkEvent::Dtls(DtlsState::Connecting))
        });
        world.client_address = ([203, 0, 113, 9], 51_000).into();
        assert!(
            world.run(Duration::from_secs(15), |server, client| server.has_keys()
                && client.has_keys())
        );
    }
}

#[test]
fn a_silent_client_is_sent_nothing_after_thirty_seconds_and_can_come_back() {
    let mut world = connected(DtlsRole::Client);
    world.cut = true;
    let began = world.now;
    assert!(world.run(Duration::from_secs(40), |server, _| {
        server.saw(&LinkEvent::Ice(IceState::Disconnected))
    }));
    let waited = world.now - began;
    assert!((26..=30).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(
        world.server.events,
        [LinkEvent::Ice(IceState::Disconnected)]
    );
    assert_eq!(world.server.link.selected(), None);
    assert_eq!(world.server.link.poll_timeout(), None);
    assert!(
        !world
            .server
            .link
            .is_known_source(&destination(client_address()))
    );
    assert!(world.run(Duration::from_secs(40), |_, client| {
        client.failed().is_some()
    }));
    assert_eq!(world.client.link.ice_state(), IceState::Disconnected);
}

#[test]
fn a_path_interrupted_for_twenty_seconds_stays_connected() {
    let mut world = connected(DtlsRole::Client);
    world.cut = true;
    world.pass(Duration::from_secs(20));
    world.cut = false;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.server.failed(), None);
}

#[test]
fn a_server_that_never_answers_is_unreachable() {
    let mut world = pair(DtlsRole::Client, CLEAN);
    world.cut = true;
    assert!(world.run(Duration::from_secs(60), |_, client| {
        client.failed().is_some()
    }));
    assert_eq!(
        world.client.events.last(),
        Some(&LinkEvent::Failed(LinkFailure::Unreachable))
    );
    assert_eq!(world.server.failed(), None);
    assert_eq!(world.server.link.ice_state(), IceState::New);
    assert_eq!(world.server.link.poll_timeout(), None);
}

#[test]
fn credentials_and_addresses_that_cannot_work_say_so() {
    let now = Instant::now();
    let mut long = ice("client");
    long.username_fragment = "x".repeat(200);
    let anywhere: SocketAddr = ([0, 0, 0, 0], 5).into();
    for mut link in [
        Link::client(
            certificate(),
            long.clone(),
            client_address(),
            DtlsRole::Auto,
            now,
        ),
        Link::client(certificate(), ice("client"), anywhere, DtlsRole::Auto, now),
        {
            let mut link = client_link(DtlsRole::Auto, now);
            link.set_remote_ice(&long, &[candidate(server_address())], now);
            link
        },
    ] {
        assert!(matches!(
            link.poll_event(),
            Some(LinkEvent::Failed(LinkFailure::Ice(_)))
        ));
        assert_eq!(
            (link.poll_timeout(), link.poll_transmit(&mut [0; 2048])),
            (None, None)
        );
        link.close(now);
    }
}

fn connect_by(socket: SocketId, server: SocketAddr, local: SocketAddr) {
    let now = Instant::now();
    let mut offered = candidate(server);
    if socket.is_tcp() {
        offered.protocol = IceProtocol::Tcp;
        offered.tcp_type = Some(TcpType::Passive);
    }
    let mut other = offered.clone();
    other.protocol = if socket.is_tcp() {
        IceProtocol::Udp
    } else {
        IceProtocol::Tcp
    };
    let mut one = Link::server(certificate(), ice("server"), vec![other, offered], now);
    let mut two = Link::client_by(
        certificate(),
        ice("client"),
        local,
        socket,
        DtlsRole::Client,
        now,
    );
    one.connect(DtlsRole::Client, &fingerprint(&two), now)
        .unwrap();
    two.connect(DtlsRole::Auto, &fingerprint(&one), now)
        .unwrap();
    two.set_remote_ice(one.ice_parameters(), one.candidates(), now);
    let there = Destination {
        socket,
        remote: server,
    };
    let here = Destination {
        socket: SocketId(77),
        remote: local,
    };
    let (mut at, mut buffer) = (now, [0; 2048]);
    for _ in 0..200 {
        while let Some((length, to)) = two.poll_transmit(&mut buffer) {
            assert_eq!(to, there);
            one.handle(
                meeshy_sfu_proto::net::classify(&buffer),
                &buffer[..length],
                here,
                at,
            );
        }
        while let Some((length, to)) = one.poll_transmit(&mut buffer) {
            assert_eq!(to, here);
            two.handle(
                meeshy_sfu_proto::net::classify(&buffer),
                &buffer[..length],
                there,
                at,
            );
        }
        at += Duration::from_millis(10);
        one.handle_timeout(at);
        two.handle_timeout(at);
    }
    assert_eq!(
        (one.dtls_state(), two.dtls_state()),
        (DtlsState::Connected, DtlsState::Connected)
    );
    // The connection breaks: nowhere to send to until another one is checked.
    one.remove_destination(&here, at);
    assert_eq!((one.selected(), one.is_known_source(&here)), (None, false));
}

#[test]
fn ipv6_and_tcp_work_as_udp_does() {
    connect_by(
        SocketId::UDP_V6,
        "[2001:db8::1]:10000".parse().unwrap(),
        "[2001:db8::2]:7".parse().unwrap(),
    );
    connect_by(SocketId(5), server_address(), client_address());
}

#[test]
fn the_first_check_is_assigned_by_its_username() {
    let mut world = pair(DtlsRole::Client, CLEAN);
    let (bytes, _) = world.client.transmit().unwrap();
    assert_eq!(username_of(&bytes), Some("serverfragment"));
    assert_eq!(username_of(&bytes[..bytes.len() - 4]), None);
}

#[test]
fn dtls_from_a_source_without_a_check_is_ignored() {
    let (hello, prints) = first_hello();
    let now = Instant::now();
    let mut server = server_link(now);
    server.connect(DtlsRole::Client, &prints, now).unwrap();
    server.handle(Class::Dtls, &hello, destination(client_address()), now);
    assert_eq!(server.dtls_state(), DtlsState::New);
    assert_eq!(server.poll_transmit(&mut [0; 2048]), None);
}

#[test]
fn two_clients_talk_to_each_other_without_a_server() {
    let now = Instant::now();
    let mut one = Link::client(
        certificate(),
        ice("one"),
        server_address(),
        DtlsRole::Auto,
        now,
    );
    let mut two = client_link(DtlsRole::Client, now);
    one.connect(DtlsRole::Client, &fingerprint(&two), now)
        .unwrap();
    two.connect(DtlsRole::Auto, &fingerprint(&one), now)
        .unwrap();
    // Both start as controlling: the tie-breakers settle it.
    one.set_remote_ice(two.ice_parameters(), &[candidate(client_address())], now);
    two.set_remote_ice(one.ice_parameters(), &[candidate(server_address())], now);
    let mut world = World::new(LinkEnd::new(one), LinkEnd::new(two), CLEAN, now);
    assert!(world.run(Duration::from_secs(5), |one, two| one.has_keys()
        && two.has_keys()));
    world.pass(Duration::from_secs(60));
    assert_eq!((world.server.failed(), world.client.failed()), (None, None));
}
