//! Against str0m, an independent client: both DTLS roles and versions, SRTP both ways.

#![allow(clippy::unwrap_used)]

mod link_net;
mod seeded;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use link_net::*;
use meeshy_sfu_proto::link::{
    DtlsRole, DtlsState, DtlsVersion, Fingerprint, HashAlgorithm, IceState, LinkEvent,
};
use meeshy_sfu_proto::net::{Class, classify};
use meeshy_sfu_proto::srtp::{SrtpProfile, SrtpRx, SrtpTx};
use str0m::config::DtlsVersion as Str0mVersion;
use str0m::ice::IceCreds;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RawPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// str0m as the client of a call.
struct Str0m {
    rtc: Rtc,
    events: Vec<Event>,
    outbox: Vec<(Vec<u8>, SocketAddr)>,
    due: Option<Instant>,
}

impl Str0m {
    fn new(version: Str0mVersion, now: Instant) -> Str0m {
        let config = RtcConfig::new()
            .set_rtp_mode(true)
            .enable_raw_packets(true)
            .set_dtls_version(version)
            .set_local_ice_credentials(IceCreds {
                ufrag: "str0".into(),
                pass: "str0mstr0mstr0mstr0mstr0m".into(),
            });
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(client_address(), "udp").unwrap());
        Str0m {
            rtc,
            events: Vec::new(),
            outbox: Vec::new(),
            due: None,
        }
    }

    fn fingerprint(&mut self) -> Fingerprint {
        let text = self.rtc.direct_api().local_dtls_fingerprint().to_string();
        let (algorithm, value) = text.split_once(' ').unwrap();
        Fingerprint {
            algorithm: HashAlgorithm::from_name(algorithm).unwrap(),
            value: value.into(),
        }
    }

    fn meet(&mut self, server: &LinkEnd, active: bool, now: Instant) {
        let ice = server.link.ice_parameters();
        self.rtc
            .add_remote_candidate(Candidate::host(server_address(), "udp").unwrap());
        let print = server.link.certificate().fingerprint(HashAlgorithm::Sha256);
        let mut api = self.rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(IceCreds {
            ufrag: ice.username_fragment.clone(),
            pass: ice.password.clone(),
        });
        api.set_remote_fingerprint(format!("sha-256 {}", print.value).parse().unwrap());
        api.start_dtls(active).unwrap();
        self.wake(now);
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    self.due = Some(due);
                    return;
                }
                Ok(Output::Transmit(transmit)) => self
                    .outbox
                    .push((transmit.contents.to_vec(), transmit.destination)),
                Ok(Output::Event(event)) => self.events.push(event),
                Err(error) if error.to_string().contains("timeout: handshake") => {
                    // As an application would: it takes in and sends nothing more.
                    self.rtc.disconnect();
                }
                Err(error) => panic!("str0m: {error}"),
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Connected))
    }
}

impl End for Str0m {
    fn receive(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) {
        let receive = Receive::new(Protocol::Udp, from, client_address(), bytes).unwrap();
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.poll();
    }

    fn transmit(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        (!self.outbox.is_empty()).then(|| self.outbox.remove(0))
    }

    fn due(&mut self) -> Option<Instant> {
        self.due
    }

    fn wake(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.poll();
    }
}

/// Server link and str0m, told of each other; `active`: str0m is the DTLS client.
fn call(active: bool, version: Str0mVersion, wire: Wire) -> World<LinkEnd, Str0m> {
    let now = Instant::now();
    let mut server = LinkEnd::new(server_link(now));
    let mut client = Str0m::new(version, now);
    let role = if active {
        DtlsRole::Client
    } else {
        DtlsRole::Server
    };
    server
        .link
        .connect(role, &[client.fingerprint()], now)
        .unwrap();
    client.meet(&server, active, now);
    World::new(server, client, wire, now)
}

fn connect(world: &mut World<LinkEnd, Str0m>) {
    let ok = world.run(Duration::from_secs(20), |server, client| {
        server.has_keys() && client.is_connected()
    });
    assert!(ok, "{:?} {:?}", world.server.events, world.client.events);
}

#[test]
fn every_version_connects_in_both_roles_and_gcm_is_chosen() {
    for active in [true, false] {
        for (theirs, expected) in [
            (Str0mVersion::Dtls12, DtlsVersion::V1_2),
            (Str0mVersion::Dtls13, DtlsVersion::V1_3),
            // As server we take 1.2 where it is offered; as client we leave it to the other side.
            (
                Str0mVersion::Auto,
                if active {
                    DtlsVersion::V1_2
                } else {
                    DtlsVersion::V1_3
                },
            ),
        ] {
            let mut world = call(active, theirs, CLEAN);
            connect(&mut world);
            assert_eq!(
                world.server.link.dtls_version(),
                Some(expected),
                "{theirs:?}, active {active}"
            );
            assert_eq!(
                world.server.keys.as_ref().unwrap().profile,
                SrtpProfile::AeadAes256Gcm
            );
            assert_eq!(world.server.link.dtls_state(), DtlsState::Connected);
        }
    }
}

/// str0m sends each flight five times at most, in growing intervals: with a fifth lost, one call in sixty fails.
#[test]
fn loss_and_reordering_are_survived() {
    let wire = Wire {
        loss: 0.2,
        jitter: Duration::from_millis(50),
        ..CLEAN
    };
    let mut random = seeded_random();
    let mut connected = 0;
    for round in 0..15 {
        let (active, version) = [
            (true, Str0mVersion::Dtls12),
            (false, Str0mVersion::Dtls12),
            (true, Str0mVersion::Dtls13),
        ][round % 3];
        let mut world = call(active, version, wire);
        world.random = random.fork();
        connected += usize::from(world.run(Duration::from_secs(30), |server, client| {
            server.has_keys() && client.is_connected()
        }));
    }
    assert!(connected >= 13, "{connected} of 15");
}

#[test]
fn what_one_side_encrypts_the_other_opens() {
    for (active, version) in [
        (true, Str0mVersion::Dtls12),
        (false, Str0mVersion::Dtls12),
        (true, Str0mVersion::Dtls13),
        (false, Str0mVersion::Dtls13),
    ] {
        let mut world = call(active, version, CLEAN);
        connect(&mut world);
        world.pass(Duration::from_millis(200));
        let keys = world.server.keys.clone().unwrap();

        // From us: an empty receiver report.
        let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0x12, 0x34];
        packet.resize(8 + keys.profile.rtcp_overhead(), 0);
        let length = SrtpTx::new(keys.profile, &keys.local).protect_rtcp(&mut packet, 8);
        world
            .client
            .receive(&packet[..length], server_address(), world.now);
        let opened = world.client.events.iter().filter_map(Event::as_raw_packet);
        assert!(
            opened
                .clone()
                .any(|packet| matches!(packet, RawPacket::RtcpRx(_))),
            "{:?}",
            world.client.events
        );

        // To us: one RTP packet of opus.
        let mut api = world.client.rtc.direct_api();
        api.declare_media("a".into(), MediaKind::Audio);
        api.declare_stream_tx(77.into(), None, "a".into(), None);
        let write = RtpWrite::new(111.into(), 500.into(), 960, world.now, *b"sound");
        api.stream_tx(&77.into()).unwrap().write_rtp(write);
        let mut rx = SrtpRx::new(keys.profile, &keys.remote);
        let mut heard = None;
        for _ in 0..20 {
            world.now += Duration::from_millis(5);
            world.client.wake(world.now);
            while let Some((bytes, _)) = world.client.transmit() {
                if classify(&bytes) == Class::Rtp {
                    let header = meeshy_sfu_proto::rtp::RtpHeader::parse(&bytes).unwrap();
                    let mut out = [0; 64];
                    let (index, length) = rx
                        .unprotect_rtp(&bytes, header.header_len(), &mut out)
                        .unwrap();
                    heard = Some((index & 0xffff, out[..length].to_vec()));
                }
            }
        }
        assert_eq!(heard, Some((500, b"sound".to_vec())));
    }
}

#[test]
fn close_notify_closes_both_sides() {
    for (active, version) in [(true, Str0mVersion::Dtls12), (false, Str0mVersion::Dtls13)] {
        let mut world = call(active, version, CLEAN);
        connect(&mut world);
        world.pass(Duration::from_millis(200));
        let now = world.now;
        world.server.link.close(now);
        assert!(world.run(Duration::from_secs(1), |_, client| {
            client
                .events
                .iter()
                .any(|event| matches!(event, Event::Closed))
        }));

        let mut world = call(active, version, CLEAN);
        connect(&mut world);
        world.pass(Duration::from_millis(200));
        world.client.rtc.close().unwrap();
        world.client.poll();
        assert!(world.run(Duration::from_secs(1), |server, _| {
            server.saw(&LinkEvent::Dtls(DtlsState::Closed))
        }));
    }
}

#[test]
fn an_ice_restart_of_both_sides_leaves_media_alone() {
    let mut world = call(true, Str0mVersion::Dtls12, CLEAN);
    connect(&mut world);
    world.pass(Duration::from_secs(1));
    let fresh = ice("server3");
    world.server.link.restart_ice(fresh.clone(), world.now);
    world.pass(Duration::from_secs(10));
    // str0m is told of the fresh credentials, as a browser by a new remote description.
    world
        .client
        .rtc
        .direct_api()
        .set_remote_ice_credentials(IceCreds {
            ufrag: fresh.username_fragment.clone(),
            pass: fresh.password.clone(),
        });
    assert!(world.run(Duration::from_secs(10), |server, _| {
        server.saw(&LinkEvent::IceRestarted)
    }));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.server.failed(), None);
    assert_eq!(world.server.link.ice_state(), IceState::Completed);
    assert_eq!(world.server.link.dtls_state(), DtlsState::Connected);
}
