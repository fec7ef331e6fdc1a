//! First bytes of a datagram, and what a server's link makes of STUN and DTLS.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use meeshy_sfu_proto::dtls::{Certificate, DtlsRole, Fingerprint, HashAlgorithm};
use meeshy_sfu_proto::ice::IceParameters;
use meeshy_sfu_proto::link::{Link, username_of};
use meeshy_sfu_proto::net::{self, Class, Destination, SocketId};

pub(super) fn classify(data: &[u8]) {
    match net::classify(data) {
        Class::Stun => {
            if let Some(username) = username_of(data) {
                assert!(username.len() < data.len());
            }
        }
        Class::Rtp => assert!(data.len() >= 12),
        Class::Rtcp => assert!(data.len() >= 8),
        _ => {}
    }
}

/// The credentials under which the checks of the corpus are signed.
fn credentials() -> IceParameters {
    IceParameters {
        username_fragment: "fuzzserver".to_owned(),
        password: "fuzzserverfuzzserverfuzz".to_owned(),
        ice_lite: true,
    }
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| Arc::new(Certificate::generate().expect("a certificate")))
        .clone()
}

fn server(now: Instant) -> Link {
    Link::server(certificate(), credentials(), Vec::new(), now)
}

fn peer() -> Destination {
    Destination {
        socket: SocketId(0),
        remote: ([192, 0, 2, 1], 4000).into(),
    }
}

/// Empties the queues, as an owner does after each call.
fn drain(link: &mut Link) {
    let mut buffer = [0; 2048];
    while link.poll_transmit(&mut buffer).is_some() {}
    while link.poll_event().is_some() {}
}

pub(super) fn stun(data: &[u8]) {
    let now = Instant::now();
    let mut link = server(now);
    let _ = username_of(data);
    link.handle(Class::Stun, data, peer(), now);
    drain(&mut link);
    link.handle_timeout(now + Duration::from_secs(60));
    drain(&mut link);
}

/// The data is several datagrams, each with its length in two bytes; they come by a path that was checked.
pub(super) fn dtls(mut data: &[u8]) {
    let mut now = Instant::now();
    let mut link = server(now);
    link.handle(
        Class::Stun,
        include_bytes!("../corpus/link_stun/check"),
        peer(),
        now,
    );
    let fingerprint = Fingerprint {
        algorithm: HashAlgorithm::Sha256,
        value: ["AB"; 32].join(":"),
    };
    link.connect(DtlsRole::Client, &[fingerprint], now)
        .expect("first call");
    drain(&mut link);
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let (datagram, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*len))));
        data = rest;
        link.handle(Class::Dtls, datagram, peer(), now);
        drain(&mut link);
        now += Duration::from_millis(150);
        link.handle_timeout(now);
        drain(&mut link);
    }
}
