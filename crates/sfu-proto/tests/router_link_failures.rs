//! Paths and handshakes that fail are counted by their reason.
#![allow(clippy::unwrap_used)]

mod link_stage;
mod router_call;

use std::sync::Arc;
use std::time::Duration;

use link_stage::*;
use meeshy_sfu_proto::link::{Certificate, DtlsRole, HashAlgorithm, Link};
use meeshy_sfu_proto::router::Counters;

#[test]
fn failures_of_ice_and_dtls_are_counted_by_their_reason() {
    let mut stage = Stage::new();
    let counters = |stage: &Stage| stage.router.stats().counters;
    // Closed before its first check, and in the middle of its handshake.
    let early = stage.join(DtlsRole::Client);
    let transport = stage.clients[early].transport;
    stage
        .router
        .close_transport(transport, stage.now, &mut stage.sent);
    stage.clients.clear();
    assert_eq!(counters(&stage).ice_no_check, 1);
    let late = stage.join(DtlsRole::Server);
    let (transport, from) = (stage.clients[late].transport, stage.source(late));
    let mut check = nominated_check();
    stage.receive(transport, &mut check, from);
    stage
        .router
        .close_transport(transport, stage.now, &mut stage.sent);
    stage.clients.clear();
    assert_eq!(counters(&stage).dtls_abandoned, 1);
    // Nobody answers the handshake; then nobody checks.
    let silent = stage.join(DtlsRole::Server);
    let (transport, from) = (stage.clients[silent].transport, stage.source(silent));
    let mut check = nominated_check();
    stage.receive(transport, &mut check, from);
    // A check with another password, under our name.
    let last = check.len() - 12;
    check[last] ^= 1;
    stage.receive(transport, &mut check, from);
    stage.clients.clear();
    stage.run(Duration::from_secs(40));
    let expected = Counters {
        ice_no_check: 1,
        ice_wrong_password: 1,
        ice_consent_lost: 1,
        dtls_abandoned: 1,
        dtls_timeout: 1,
        ..Counters::default()
    };
    assert_eq!(counters(&stage), expected);
    assert_eq!(stage.router.stats().transports, 0);
}

#[test]
fn a_certificate_that_was_not_announced_is_counted_as_such_and_a_closed_call_as_nothing() {
    let mut stage = connected(DtlsRole::Client).stage;
    let transports: Vec<_> = stage.clients.iter().map(|one| one.transport).collect();
    for transport in transports {
        stage
            .router
            .close_transport(transport, stage.now, &mut stage.sent);
    }
    assert_eq!(stage.router.stats().counters, Counters::default());
    let mallory = stage.join(DtlsRole::Client);
    let other = Arc::new(Certificate::generate().unwrap());
    let address = stage.clients[mallory].address;
    let transport = stage.clients[mallory].transport;
    let candidates = stage.router.link(transport).unwrap().candidates().to_vec();
    let ours = stage.router.link(transport).unwrap().certificate();
    let print = [ours.fingerprint(HashAlgorithm::Sha256)];
    let mut link = Link::client(
        other,
        credentials("client"),
        address,
        DtlsRole::Client,
        stage.now,
    );
    link.set_remote_ice(&credentials("server"), &candidates, stage.now);
    link.connect(DtlsRole::Server, &print, stage.now).unwrap();
    stage.clients[mallory].link = link;
    stage.run(Duration::from_secs(3));
    let expected = Counters {
        dtls_fingerprint: 1,
        ..Counters::default()
    };
    assert_eq!(stage.router.stats().counters, expected);
}
