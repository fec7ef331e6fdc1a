//! Two links and an emulated network between them, with virtual time: the fixture of the link tests.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::seeded::Random;
use meeshy_sfu_proto::link::{
    Certificate, DtlsRole, Fingerprint, HashAlgorithm, IceCandidate, IceParameters, IceProtocol,
    Link, LinkEvent, SrtpKeys,
};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};

/// One end of the wire.
pub trait End {
    fn receive(&mut self, bytes: &[u8], from: SocketAddr, now: Instant);
    fn transmit(&mut self) -> Option<(Vec<u8>, SocketAddr)>;
    fn due(&mut self) -> Option<Instant>;
    fn wake(&mut self, now: Instant);
}

/// What the wire does to datagrams.
#[derive(Clone, Copy)]
pub struct Wire {
    pub loss: f64,
    pub delay: Duration,
    /// Uniform extra delay; above the gap between datagrams it reorders them.
    pub jitter: Duration,
    /// Cut ClientHellos into pieces of at most this many bytes, each in its own datagram.
    pub cut_hello: Option<usize>,
}

pub const CLEAN: Wire = Wire {
    loss: 0.0,
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    cut_hello: None,
};

/// Server and client with a wire between them; the client may sit behind an address that changes.
pub struct World<S, C> {
    pub server: S,
    pub client: C,
    pub now: Instant,
    pub wire: Wire,
    pub server_address: SocketAddr,
    /// The client's address as the server sees it; datagrams to an older one are lost.
    pub client_address: SocketAddr,
    pub random: Random,
    flying: BTreeMap<(Instant, u64), Flight>,
    count: u64,
    /// DTLS datagrams put on the wire by server and client.
    pub sent: (u64, u64),
    pub cut: bool,
}

enum Flight {
    ToServer { from: SocketAddr, bytes: Vec<u8> },
    ToClient { to: SocketAddr, bytes: Vec<u8> },
}

impl<S: End, C: End> World<S, C> {
    pub fn new(server: S, client: C, wire: Wire, now: Instant) -> World<S, C> {
        World {
            server,
            client,
            now,
            wire,
            server_address: server_address(),
            client_address: client_address(),
            random: seeded_random(),
            flying: BTreeMap::new(),
            count: 0,
            sent: (0, 0),
            cut: false,
        }
    }

    /// Runs until `done`, at most for `limit`; tells whether it was reached.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut S, &mut C) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.collect();
            if done(&mut self.server, &mut self.client) {
                return true;
            }
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let timers = [self.server.due(), self.client.due()];
            let next = timers.into_iter().flatten().chain(arrival).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            // Time must move even if an end wants to be woken in the past.
            self.now = next.max(self.now);
            while let Some(entry) = self
                .flying
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                match entry.remove() {
                    Flight::ToServer { from, bytes } => self.server.receive(&bytes, from, self.now),
                    Flight::ToClient { to, bytes } if to == self.client_address => {
                        self.client.receive(&bytes, self.server_address, self.now);
                    }
                    Flight::ToClient { .. } => {}
                }
                self.collect();
            }
            if self.server.due().is_some_and(|due| due <= self.now) {
                self.server.wake(self.now);
            }
            if self.client.due().is_some_and(|due| due <= self.now) {
                self.client.wake(self.now);
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.run(time, |_, _| false);
    }

    fn collect(&mut self) {
        while let Some((bytes, to)) = self.server.transmit() {
            self.sent.0 += u64::from(classify(&bytes) == Class::Dtls);
            for bytes in self.pieces(bytes) {
                self.fly(Flight::ToClient { to, bytes });
            }
        }
        while let Some((bytes, to)) = self.client.transmit() {
            self.sent.1 += u64::from(classify(&bytes) == Class::Dtls);
            if to == self.server_address {
                for bytes in self.pieces(bytes) {
                    let from = self.client_address;
                    self.fly(Flight::ToServer { from, bytes });
                }
            }
        }
    }

    fn pieces(&self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        match self.wire.cut_hello {
            Some(size) if is_hello(&bytes) => cut_hello(&bytes, size),
            _ => vec![bytes],
        }
    }

    fn fly(&mut self, flight: Flight) {
        if self.cut || self.random.chance(self.wire.loss) {
            return;
        }
        let jitter = self.wire.jitter.mul_f64(self.random.unit());
        self.count += 1;
        self.flying
            .insert((self.now + self.wire.delay + jitter, self.count), flight);
    }
}

fn is_hello(bytes: &[u8]) -> bool {
    bytes.len() > 25 && bytes[0] == 22 && bytes[3..5] == [0, 0] && bytes[13] == 1
}

/// Cuts one unfragmented ClientHello, last piece first.
pub fn cut_hello(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let body = &bytes[25..];
    let whole = usize::from(bytes[14]) << 16 | usize::from(bytes[15]) << 8 | usize::from(bytes[16]);
    if body.len() != whole {
        return vec![bytes.to_vec()];
    }
    let mut pieces: Vec<Vec<u8>> = (body.chunks(size).enumerate())
        .map(|(number, piece)| {
            let mut datagram = bytes[..11].to_vec();
            datagram[10] = datagram[10].wrapping_add(number as u8);
            datagram.extend(((12 + piece.len()) as u16).to_be_bytes());
            datagram.extend(&bytes[13..19]);
            datagram.extend(&((number * size) as u32).to_be_bytes()[1..]);
            datagram.extend(&(piece.len() as u32).to_be_bytes()[1..]);
            datagram.extend(piece);
            datagram
        })
        .collect();
    pieces.reverse();
    pieces
}

/// A `Link` at one end.
pub struct LinkEnd {
    pub link: Link,
    pub events: Vec<LinkEvent>,
    pub keys: Option<SrtpKeys>,
    pub failure: Option<String>,
}

impl LinkEnd {
    pub fn new(link: Link) -> LinkEnd {
        LinkEnd {
            link,
            events: Vec::new(),
            keys: None,
            failure: None,
        }
    }

    pub fn fetch(&mut self) {
        while let Some(event) = self.link.poll_event() {
            match &event {
                LinkEvent::Keys(keys) => self.keys = Some(keys.clone()),
                LinkEvent::Failed(reason) => self.failure = Some(reason.to_string()),
                _ => {}
            }
            self.events.push(event);
        }
    }

    pub fn saw(&mut self, wanted: &LinkEvent) -> bool {
        self.fetch();
        self.events.contains(wanted)
    }

    pub fn has_keys(&mut self) -> bool {
        self.fetch();
        self.keys.is_some()
    }

    pub fn failed(&mut self) -> Option<&str> {
        self.fetch();
        self.failure.as_deref()
    }
}

impl End for LinkEnd {
    fn receive(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) {
        self.link
            .handle(classify(bytes), bytes, destination(from), now);
    }

    fn transmit(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 2048];
        let (length, to) = self.link.poll_transmit(&mut buffer)?;
        Some((buffer[..length].to_vec(), to.remote))
    }

    fn due(&mut self) -> Option<Instant> {
        self.link.poll_timeout()
    }

    fn wake(&mut self, now: Instant) {
        self.link.handle_timeout(now);
    }
}

pub fn destination(remote: SocketAddr) -> Destination {
    Destination {
        socket: SocketId::udp_for(&remote),
        remote,
    }
}

pub fn server_address() -> SocketAddr {
    ([198, 51, 100, 1], 10_000).into()
}

pub fn client_address() -> SocketAddr {
    ([192, 0, 2, 33], 40_000).into()
}

pub fn ice(name: &str) -> IceParameters {
    IceParameters {
        username_fragment: format!("{name}fragment"),
        password: format!("{name}passwordpasswordpassword"),
        ice_lite: name.starts_with("server"),
    }
}

pub fn candidate(address: SocketAddr) -> IceCandidate {
    IceCandidate {
        foundation: "udpcandidate".into(),
        priority: 1_076_302_079,
        address: address.ip(),
        port: address.port(),
        protocol: IceProtocol::Udp,
        tcp_type: None,
    }
}

pub fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::generate().unwrap())
}

pub fn server_link(now: Instant) -> Link {
    Link::server(
        certificate(),
        ice("server"),
        vec![candidate(server_address())],
        now,
    )
}

pub fn client_link(role: DtlsRole, now: Instant) -> Link {
    Link::client(certificate(), ice("client"), client_address(), role, now)
}

pub fn fingerprint(link: &Link) -> Vec<Fingerprint> {
    vec![link.certificate().fingerprint(HashAlgorithm::Sha256)]
}

/// Server and client, connected to each other by signalling; the client takes `role`.
pub fn pair(role: DtlsRole, wire: Wire) -> World<LinkEnd, LinkEnd> {
    let now = Instant::now();
    let (mut server, mut client) = (server_link(now), client_link(role, now));
    let opposite = if role == DtlsRole::Client {
        DtlsRole::Server
    } else {
        DtlsRole::Client
    };
    assert_eq!(
        server.connect(role, &fingerprint(&client), now),
        Ok(opposite)
    );
    assert_eq!(
        client.connect(DtlsRole::Auto, &fingerprint(&server), now),
        Ok(role)
    );
    client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
    World::new(LinkEnd::new(server), LinkEnd::new(client), wire, now)
}

/// The generator of this run: its seed is printed, and taken from MEESHY_TEST_SEED.
pub fn seeded_random() -> Random {
    Random::from_environment(u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The first ClientHello of a client link, and that client's fingerprints.
pub fn first_hello() -> (Vec<u8>, Vec<Fingerprint>) {
    let now = Instant::now();
    let (mut server, mut client) = (server_link(now), client_link(DtlsRole::Client, now));
    client
        .connect(DtlsRole::Auto, &fingerprint(&server), now)
        .unwrap();
    client.set_remote_ice(server.ice_parameters(), server.candidates(), now);
    let mut buffer = [0; 2048];
    loop {
        let (length, _) = client.poll_transmit(&mut buffer).unwrap();
        if classify(&buffer[..length]) == Class::Dtls {
            return (buffer[..length].to_vec(), fingerprint(&client));
        }
        server.handle(
            Class::Stun,
            &buffer[..length],
            destination(client_address()),
            now,
        );
        let (length, _) = server.poll_transmit(&mut buffer).unwrap();
        client.handle(
            Class::Stun,
            &buffer[..length],
            destination(server_address()),
            now,
        );
    }
}
