//! Transports with real ICE and DTLS: from the first check to media and to closing.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meeshy_sfu_proto::link::{
    Certificate, DtlsRole, DtlsState, HashAlgorithm, IceCandidate, IceParameters, IceProtocol,
    IceState, Link, LinkEvent, SrtpKeys,
};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::router::{
    ConsumerKey, Counters, Endpoint, ProducerKey, Router, RouterConfig, RouterError, RouterEvent,
    TransportConfig, TransportKey,
};
use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter, RtpHeader};
use meeshy_sfu_proto::srtp::{SrtpRx, SrtpTx};
use router_call::{EPOCH, Sent, audio, audio_consumer, video, video_consumer, vp8};

const SERVER: &str = "192.0.2.1:10000";

fn credentials(name: &str) -> IceParameters {
    IceParameters {
        username_fragment: format!("{name}Fragment"),
        password: format!("{name}PasswordOfEnoughLength"),
        ice_lite: name == "server",
    }
}

/// A client behind its own address.
struct Client {
    link: Link,
    address: SocketAddr,
    transport: TransportKey,
    keys: Option<SrtpKeys>,
    media: Vec<Vec<u8>>,
}

struct Stage {
    router: Router,
    sent: Sent,
    now: Instant,
    clients: Vec<Client>,
    events: Vec<RouterEvent>,
}

/// A call of two with keys and paths: alice's sound is sent to bob.
struct Connected {
    stage: Stage,
    alice: usize,
    bob: usize,
    producer: ProducerKey,
    consumer: ConsumerKey,
}

fn connected(role: DtlsRole) -> Connected {
    let mut stage = Stage::new();
    let (alice, bob) = (stage.join(role), stage.join(role));
    let producer = stage.produce(alice, 1000);
    let receiver = stage.clients[bob].transport;
    let consumer = stage
        .router
        .consume(receiver, producer, audio_consumer(5000, "0"), stage.now)
        .unwrap();
    stage.run(Duration::from_secs(2));
    Connected {
        stage,
        alice,
        bob,
        producer,
        consumer,
    }
}

impl Stage {
    /// Lets so much time go by in which no client is within reach.
    fn run_out_of_reach(&mut self, time: Duration) {
        let clients = std::mem::take(&mut self.clients);
        self.run(time);
        self.clients = clients;
    }

    fn new() -> Self {
        let now = Instant::now();
        Self {
            router: Router::new(RouterConfig::new((now, EPOCH), 3)),
            sent: Sent::default(),
            now,
            clients: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Adds a client; `server_role` is ours in DTLS.
    fn join(&mut self, client_role: DtlsRole) -> usize {
        let number = self.clients.len();
        let ours = Arc::new(Certificate::generate().unwrap());
        let theirs = Arc::new(Certificate::generate().unwrap());
        let server = credentials("server");
        let candidate = IceCandidate {
            foundation: "udpcandidate".into(),
            priority: 1_076_302_079,
            address: "192.0.2.1".parse().unwrap(),
            port: 10_000,
            protocol: IceProtocol::Udp,
            tcp_type: None,
        };
        let link = Link::server(
            ours.clone(),
            server.clone(),
            vec![candidate.clone()],
            self.now,
        );
        let transport = self.router.create_transport(
            TransportConfig {
                endpoint: Endpoint::Link(Box::new(link)),
                max_incoming_bps: None,
                padding: false,
            },
            self.now,
        );
        let address: SocketAddr = format!("198.51.100.{}:5000", number + 1).parse().unwrap();
        let mut link = Link::client(
            theirs.clone(),
            credentials("client"),
            address,
            client_role,
            self.now,
        );
        link.set_remote_ice(&server, &[candidate], self.now);
        let prints = |certificate: &Certificate| [certificate.fingerprint(HashAlgorithm::Sha256)];
        let our_role = self
            .router
            .connect(
                transport,
                client_role,
                &prints(&theirs),
                self.now,
                &mut self.sent,
            )
            .unwrap();
        link.connect(our_role, &prints(&ours), self.now).unwrap();
        self.clients.push(Client {
            link,
            address,
            transport,
            keys: None,
            media: Vec::new(),
        });
        number
    }

    fn source(&self, client: usize) -> Destination {
        Destination {
            socket: SocketId::UDP_V4,
            remote: self.clients[client].address,
        }
    }

    /// Lets both sides talk for `time`, a millisecond at a time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            for at in 0..self.clients.len() {
                let from = self.source(at);
                let client = &mut self.clients[at];
                client.link.handle_timeout(self.now);
                let mut buffer = [0; 2048];
                while let Some((len, _)) = self.clients[at].link.poll_transmit(&mut buffer) {
                    let class = classify(&buffer[..len]);
                    let transport = self.clients[at].transport;
                    let datagram = &mut buffer[..len];
                    self.router.handle_datagram(
                        transport,
                        class,
                        datagram,
                        from,
                        self.now,
                        &mut self.sent,
                    );
                }
                while let Some(event) = self.clients[at].link.poll_event() {
                    if let LinkEvent::Keys(keys) = event {
                        self.clients[at].keys = Some(keys);
                    }
                }
            }
            if self
                .router
                .poll_timeout()
                .is_some_and(|due| due <= self.now)
            {
                self.router.handle_timeout(self.now, &mut self.sent);
            }
            self.router.flush(self.now, &mut self.sent);
            self.deliver();
            self.events
                .extend(std::iter::from_fn(|| self.router.poll_event()));
        }
    }

    fn deliver(&mut self) {
        let server = Destination {
            socket: SocketId::UDP_V4,
            remote: SERVER.parse().unwrap(),
        };
        for (to, datagram) in std::mem::take(&mut self.sent.datagrams) {
            let Some(client) = self
                .clients
                .iter_mut()
                .find(|client| client.address == to.remote)
            else {
                continue;
            };
            match classify(&datagram) {
                class @ (Class::Stun | Class::Dtls) => {
                    client.link.handle(class, &datagram, server, self.now)
                }
                Class::Rtp => client.media.push(datagram),
                _ => {}
            }
        }
    }

    fn send_audio(&mut self, client: usize, ssrc: u32, sequence: u16) {
        let keys = self.clients[client].keys.as_ref().expect("connected");
        let tx = SrtpTx::new(keys.profile, &keys.local);
        let mut out = [0; 256];
        let fields = HeaderFields {
            payload_type: 111,
            sequence,
            ssrc,
            ..HeaderFields::default()
        };
        let header = HeaderWriter::new(&mut out, &fields, ExtensionForm::OneByte)
            .unwrap()
            .finish();
        let len = tx.protect_rtp(&mut out, header, &[1; 80], ssrc, u64::from(sequence));
        let (from, transport) = (self.source(client), self.clients[client].transport);
        self.router.handle_datagram(
            transport,
            Class::Rtp,
            &mut out[..len],
            from,
            self.now,
            &mut self.sent,
        );
    }

    fn produce(&mut self, client: usize, ssrc: u32) -> ProducerKey {
        let transport = self.clients[client].transport;
        self.router
            .produce(transport, audio(ssrc), self.now)
            .unwrap()
    }
}

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
            let (router, sent) = (&mut stage.router, &mut stage.sent);
            router.handle_datagram(transport, Class::Stun, &mut check, blocked, stage.now, sent);
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

/// A check with USE-CANDIDATE for the server's credentials: a client sends it once another check was answered.
fn nominated_check() -> Vec<u8> {
    let mut now = Instant::now();
    let certificate = || Arc::new(Certificate::generate().unwrap());
    let address: SocketAddr = "198.51.100.9:1".parse().unwrap();
    let candidate = IceCandidate {
        foundation: "udpcandidate".into(),
        priority: 1,
        address: "192.0.2.1".parse().unwrap(),
        port: 10_000,
        protocol: IceProtocol::Udp,
        tcp_type: None,
    };
    let role = DtlsRole::Client;
    let mut client = Link::client(certificate(), credentials("client"), address, role, now);
    client.set_remote_ice(&credentials("server"), &[candidate], now);
    let mut server = Link::server(certificate(), credentials("server"), Vec::new(), now);
    let at = |remote| Destination {
        socket: SocketId::UDP_V4,
        remote,
    };
    let mut buffer = [0; 2048];
    for _ in 0..100 {
        client.handle_timeout(now);
        while let Some((len, _)) = client.poll_transmit(&mut buffer) {
            let check = &buffer[..len];
            if check.windows(4).any(|bytes| bytes == [0, 0x25, 0, 0]) {
                return check.to_vec();
            }
            server.handle(Class::Stun, check, at(address), now);
        }
        while let Some((len, _)) = server.poll_transmit(&mut buffer) {
            let from = at(SERVER.parse().unwrap());
            client.handle(Class::Stun, &buffer[..len], from, now);
        }
        now += Duration::from_millis(50);
    }
    panic!("no nomination in five seconds");
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
    stage.router.handle_datagram(
        transport,
        Class::Stun,
        &mut check,
        from,
        stage.now,
        &mut stage.sent,
    );
    stage
        .router
        .close_transport(transport, stage.now, &mut stage.sent);
    stage.clients.clear();
    assert_eq!(counters(&stage).dtls_abandoned, 1);
    // Nobody answers the handshake; then nobody checks.
    let silent = stage.join(DtlsRole::Server);
    let (transport, from) = (stage.clients[silent].transport, stage.source(silent));
    let mut check = nominated_check();
    stage.router.handle_datagram(
        transport,
        Class::Stun,
        &mut check,
        from,
        stage.now,
        &mut stage.sent,
    );
    // A check with another password, under our name.
    let last = check.len() - 12;
    check[last] ^= 1;
    stage.router.handle_datagram(
        transport,
        Class::Stun,
        &mut check,
        from,
        stage.now,
        &mut stage.sent,
    );
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

#[test]
fn media_before_the_keys_is_counted_and_dropped() {
    let mut stage = Stage::new();
    let alice = stage.join(DtlsRole::Client);
    stage.produce(alice, 1000);
    let (transport, from) = (stage.clients[alice].transport, stage.source(alice));
    let mut check = nominated_check();
    let (router, sent) = (&mut stage.router, &mut stage.sent);
    router.handle_datagram(transport, Class::Stun, &mut check, from, stage.now, sent);
    let mut media = [0; 60];
    media[0] = 0x80;
    media[1] = 111;
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
    let keys = stage.clients[client].keys.as_ref().expect("connected");
    let tx = SrtpTx::new(keys.profile, &keys.local);
    let mut out = [0; 512];
    let fields = HeaderFields {
        payload_type: 96,
        ssrc,
        ..HeaderFields::default()
    };
    let header = HeaderWriter::new(&mut out, &fields, ExtensionForm::OneByte)
        .unwrap()
        .finish();
    let len = tx.protect_rtp(&mut out, header, &vp8(true, 200), ssrc, 0);
    let (from, transport) = (stage.source(client), stage.clients[client].transport);
    let (router, sent) = (&mut stage.router, &mut stage.sent);
    router.handle_datagram(
        transport,
        Class::Rtp,
        &mut out[..len],
        from,
        stage.now,
        sent,
    );
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
    let (router, sent) = (&mut stage.router, &mut stage.sent);
    router.handle_datagram(transport, Class::Stun, &mut check, other, stage.now, sent);
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
