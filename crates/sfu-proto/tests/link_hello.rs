//! First messages and alerts as other stacks send them, and how the server's link reacts.

#![allow(clippy::unwrap_used)]

mod link_net;
mod seeded;

use std::time::{Duration, Instant};

use link_net::*;
use meeshy_sfu_proto::link::{
    DtlsFailure, DtlsRole, DtlsState, HashAlgorithm, Link, LinkEvent, LinkFailure,
};
use meeshy_sfu_proto::net::{Class, classify};

/// A ClientHello in two datagrams with the contents and sizes Chromium 156 was seen to send.
fn chromium() -> Vec<Vec<u8>> {
    let key = aws_lc_key();
    let mut share = vec![0x11, 0xec];
    share.extend(1216u16.to_be_bytes());
    share.extend(vec![0x5a; 1216]);
    share.extend([0, 0x1d, 0, 32]);
    share.extend(key);
    let mut share_list = (share.len() as u16).to_be_bytes().to_vec();
    share_list.extend(share);
    let extensions: Vec<(u16, Vec<u8>)> = vec![
        (23, vec![]),
        (65281, vec![0]),
        (10, vec![0, 8, 0x11, 0xec, 0, 0x1d, 0, 0x17, 0, 0x18]),
        (11, vec![1, 0]),
        (
            13,
            vec![0, 18, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1, 2, 1],
        ),
        (51, share_list),
        (45, vec![1, 1]),
        (43, vec![4, 0xfe, 0xfc, 0xfe, 0xfd]),
        (14, vec![0, 6, 0, 1, 0, 8, 0, 7, 0]),
    ];
    let suites = [
        0x1301u16, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc009, 0xc013, 0xc00a, 0xc014,
        0x009c, 0x002f, 0x0035,
    ];
    let body = hello(0xfefd, &suites, &extensions);
    assert!((1390..1430).contains(&body.len()), "{}", body.len());
    let mut pieces = cut_hello(&datagram(&body), 1175);
    pieces.reverse();
    pieces
}

/// A valid X25519 public key: any 32 bytes are.
fn aws_lc_key() -> [u8; 32] {
    std::array::from_fn(|at| at as u8 + 9)
}

fn hello(version: u16, suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend((0..32).map(|at| at as u8));
    body.extend([0, 0]);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    let mut block = Vec::new();
    for (kind, data) in extensions {
        block.extend(kind.to_be_bytes());
        block.extend((data.len() as u16).to_be_bytes());
        block.extend(data);
    }
    body.extend((block.len() as u16).to_be_bytes());
    body.extend(block);
    body
}

fn datagram(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    datagram.extend((body.len() as u16 + 12).to_be_bytes());
    datagram.push(1);
    datagram.extend(&length[1..]);
    datagram.extend([0, 0, 0, 0, 0]);
    datagram.extend(&length[1..]);
    datagram.extend(body);
    datagram
}

/// A server link with a path to `client_address()`, waiting as DTLS server.
fn waiting_server(now: Instant) -> Link {
    let mut server = server_link(now);
    let prints = [certificate().fingerprint(HashAlgorithm::Sha256)];
    server.connect(DtlsRole::Client, &prints, now).unwrap();
    let mut client = client_link(DtlsRole::Auto, now);
    client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
    let mut buffer = [0; 2048];
    let (length, _) = client.poll_transmit(&mut buffer).unwrap();
    server.handle(
        Class::Stun,
        &buffer[..length],
        destination(client_address()),
        now,
    );
    while server.poll_transmit(&mut buffer).is_some() {}
    assert_eq!(server.dtls_state(), DtlsState::Connecting);
    server
}

fn failure(server: &mut Link, now: Instant) -> (LinkFailure, Duration) {
    loop {
        let due = server.poll_timeout().unwrap();
        server.handle_timeout(due);
        while let Some(event) = server.poll_event() {
            if let LinkEvent::Failed(reason) = event {
                return (reason, due - now);
            }
        }
    }
}

/// What a failed link still sends: bodies of alerts in the clear, to where the client is.
fn last_words(server: &mut Link) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2048];
    let mut words = Vec::new();
    while let Some((length, to)) = server.poll_transmit(&mut buffer) {
        assert_eq!(to, destination(client_address()));
        let record = &buffer[..length];
        assert_eq!(record[..5], [21, 0xfe, 0xfd, 0, 0], "{record:?}");
        assert_eq!(record[11..13], ((length - 13) as u16).to_be_bytes());
        words.push(record[13..].to_vec());
    }
    words
}

#[test]
fn chromiums_first_flight_is_answered_with_1_2_and_our_first_profile() {
    let now = Instant::now();
    for backwards in [false, true] {
        let mut server = waiting_server(now);
        let mut pieces = chromium();
        if backwards {
            pieces.reverse();
        }
        let mut buffer = [0; 2048];
        server.handle(Class::Dtls, &pieces[0], destination(client_address()), now);
        assert_eq!(server.poll_transmit(&mut buffer), None);
        server.handle(Class::Dtls, &pieces[1], destination(client_address()), now);
        let (length, to) = server.poll_transmit(&mut buffer).unwrap();
        assert_eq!(to, destination(client_address()));
        let flight = &buffer[..length];
        assert_eq!(
            (flight[0], flight[13]),
            (22, 2),
            "a ServerHello comes first"
        );
        assert_eq!(flight[25..27], [0xfe, 0xfd]);
        let use_srtp = [0, 14, 0, 5, 0, 2, 0, 8, 0];
        assert!(
            flight.windows(9).any(|window| window == use_srtp),
            "AEAD_AES_256_GCM though SHA1 came first"
        );
        let versions = [0, 43, 0, 2, 0xfe, 0xfc];
        assert!(!flight.windows(6).any(|window| window == versions));
    }
}

#[test]
fn a_client_without_a_common_srtp_profile_cipher_or_version_gets_an_alert() {
    let now = Instant::now();
    let srtp = (14, vec![0, 2, 0, 7, 0]);
    for (body, reason) in [
        (
            hello(0xfefd, &[0xc02b], &[(10, vec![0, 2, 0, 0x17])]),
            DtlsFailure::NoSrtpProfile,
        ),
        (
            hello(0xfefd, &[0xc02b], &[(14, vec![0, 2, 0, 2, 0])]),
            DtlsFailure::NoSrtpProfile,
        ),
        (
            hello(0xfeff, &[0xc009], std::slice::from_ref(&srtp)),
            DtlsFailure::NoVersion,
        ),
        (
            hello(0xfefd, &[0xc009], &[(43, vec![2, 0x7f, 0x12]), srtp]),
            DtlsFailure::NoVersion,
        ),
    ] {
        let mut server = waiting_server(now);
        server.handle(
            Class::Dtls,
            &datagram(&body),
            destination(client_address()),
            now,
        );
        let alert = match reason {
            DtlsFailure::NoVersion => 70,
            _ => 40,
        };
        let (failure, after) = failure(&mut server, now);
        assert_eq!(failure, LinkFailure::Dtls(reason));
        assert!(after <= Duration::from_secs(4));
        assert_eq!(last_words(&mut server), [vec![2, alert]]);
    }
}

#[test]
fn a_real_alert_is_reported_and_a_forged_one_ignored() {
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40];
    assert_eq!(classify(&alert), Class::Dtls);
    let now = Instant::now();
    let mut server = waiting_server(now);
    server.handle(Class::Dtls, &alert, destination(client_address()), now);
    let (reason, after) = failure(&mut server, now);
    assert_eq!(last_words(&mut server), Vec::<Vec<u8>>::new(), "it knows");
    assert_eq!(reason, LinkFailure::Dtls(DtlsFailure::Alert(40)));
    assert!(reason.to_string().contains("handshake_failure"));
    assert!(after <= Duration::from_secs(4));

    for role in [DtlsRole::Client, DtlsRole::Server] {
        for millis in [25, 35, 45, 55] {
            let mut world = pair(role, CLEAN);
            world.pass(Duration::from_millis(millis));
            world.server.receive(&alert, client_address(), world.now);
            world.client.receive(&alert, server_address(), world.now);
            let ok = world.run(Duration::from_secs(2), |server, client| {
                server.has_keys() && client.has_keys()
            });
            assert!(ok, "{role:?} at {millis}: {:?}", world.server.events);
            world.pass(Duration::from_secs(10));
            assert_eq!((world.server.failed(), world.client.failed()), (None, None));
        }
    }
}
