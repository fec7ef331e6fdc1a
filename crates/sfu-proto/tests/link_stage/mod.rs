//! Clients with real ICE and DTLS around a router, on a clock of their own.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::router_call::{EPOCH, Sent, audio, audio_consumer};
use meeshy_sfu_proto::link::{
    Certificate, DtlsRole, HashAlgorithm, IceCandidate, IceParameters, IceProtocol, Link,
    LinkEvent, SrtpKeys,
};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::router::{
    ConsumerKey, Endpoint, ProducerKey, Router, RouterConfig, RouterEvent, TransportConfig,
    TransportKey,
};
use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter};
use meeshy_sfu_proto::srtp::SrtpTx;

pub(crate) const SERVER: &str = "192.0.2.1:10000";

pub(crate) fn credentials(name: &str) -> IceParameters {
    IceParameters {
        username_fragment: format!("{name}Fragment"),
        password: format!("{name}PasswordOfEnoughLength"),
        ice_lite: name == "server",
    }
}

/// A client behind its own address.
pub(crate) struct Client {
    pub link: Link,
    pub address: SocketAddr,
    pub transport: TransportKey,
    pub keys: Option<SrtpKeys>,
    pub media: Vec<Vec<u8>>,
}

pub(crate) struct Stage {
    pub router: Router,
    pub sent: Sent,
    pub now: Instant,
    pub clients: Vec<Client>,
    pub events: Vec<RouterEvent>,
}

/// A call of two with keys and paths: alice's sound is sent to bob.
pub(crate) struct Connected {
    pub stage: Stage,
    pub alice: usize,
    pub bob: usize,
    pub producer: ProducerKey,
    pub consumer: ConsumerKey,
}

pub(crate) fn connected(role: DtlsRole) -> Connected {
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
    pub(crate) fn run_out_of_reach(&mut self, time: Duration) {
        let clients = std::mem::take(&mut self.clients);
        self.run(time);
        self.clients = clients;
    }

    pub(crate) fn new() -> Self {
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
    pub(crate) fn join(&mut self, client_role: DtlsRole) -> usize {
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

    pub(crate) fn source(&self, client: usize) -> Destination {
        Destination {
            socket: SocketId::UDP_V4,
            remote: self.clients[client].address,
        }
    }

    /// Lets both sides talk for `time`, a millisecond at a time.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            for at in 0..self.clients.len() {
                let from = self.source(at);
                let client = &mut self.clients[at];
                client.link.handle_timeout(self.now);
                let mut buffer = [0; 2048];
                while let Some((len, _)) = self.clients[at].link.poll_transmit(&mut buffer) {
                    self.receive(self.clients[at].transport, &mut buffer[..len], from);
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

    pub(crate) fn deliver(&mut self) {
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

    /// Hands one datagram to the router.
    pub(crate) fn receive(
        &mut self,
        transport: TransportKey,
        datagram: &mut [u8],
        from: Destination,
    ) {
        let class = classify(datagram);
        self.router
            .handle_datagram(transport, class, datagram, from, self.now, &mut self.sent);
    }

    /// Sends a packet of media from a connected client.
    pub(crate) fn send(&mut self, client: usize, fields: &HeaderFields, payload: &[u8]) {
        let keys = self.clients[client].keys.as_ref().expect("connected");
        let tx = SrtpTx::new(keys.profile, &keys.local);
        let mut out = [0; 512];
        let header = HeaderWriter::new(&mut out, fields, ExtensionForm::OneByte)
            .unwrap()
            .finish();
        let index = u64::from(fields.sequence);
        let len = tx.protect_rtp(&mut out, header, payload, fields.ssrc, index);
        let from = self.source(client);
        self.receive(self.clients[client].transport, &mut out[..len], from);
    }

    pub(crate) fn send_audio(&mut self, client: usize, ssrc: u32, sequence: u16) {
        let fields = HeaderFields {
            payload_type: 111,
            sequence,
            ssrc,
            ..HeaderFields::default()
        };
        self.send(client, &fields, &[1; 80]);
    }

    pub(crate) fn produce(&mut self, client: usize, ssrc: u32) -> ProducerKey {
        let transport = self.clients[client].transport;
        self.router
            .produce(transport, audio(ssrc), self.now)
            .unwrap()
    }
}

/// A check with USE-CANDIDATE for the server's credentials: a client sends it once another check was answered.
pub(crate) fn nominated_check() -> Vec<u8> {
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
