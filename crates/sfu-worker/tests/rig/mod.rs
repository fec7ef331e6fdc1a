//! The rig of the tests: a worker with its commands and events, and str0m as an independent client.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

pub mod connection;
pub mod peer;
pub mod random;
#[path = "../../src/test_media.rs"]
mod test_media;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use meeshy_sfu_proto::link::{Certificate, HashAlgorithm};
use meeshy_sfu_worker::command::{self, *};
use meeshy_sfu_worker::event::{DtlsState, IceState};
use meeshy_sfu_worker::{Event, Worker, WorkerConfig};
use peer::Peer;
use serde::de::DeserializeOwned;
use serde_json::Value;
pub(crate) use test_media::{AUDIO_PT, RTX_PT, VIDEO_PT, consume_one, produce};

pub const PATIENCE: Duration = Duration::from_secs(10);

/// A worker and all events it reported.
pub struct Rig {
    pub worker: Worker,
    pub events: Vec<Event>,
    fingerprint: Fingerprint,
    next: u64,
}

impl Rig {
    pub fn new(adjust: impl FnOnce(&mut WorkerConfig)) -> Rig {
        let identity = Certificate::generate().unwrap();
        let fingerprint = Fingerprint {
            algorithm: "sha-256".into(),
            value: identity.fingerprint(HashAlgorithm::Sha256).value,
        };
        let mut config = config_of(&identity);
        config.allow_panic = true;
        adjust(&mut config);
        let worker = Worker::start(config).unwrap();
        Rig {
            worker,
            events: Vec::new(),
            fingerprint,
            next: 0,
        }
    }

    /// Sends a command and waits for its answer.
    pub fn try_ask<T: DeserializeOwned>(&mut self, command: Command) -> Result<T, CommandError> {
        self.next += 1;
        let id = self.next;
        self.worker.request(Request { id, command }).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.listen();
            let mine = |e: &Event| matches!(e, Event::Reply(r) if r.id == id);
            if let Some(position) = self.events.iter().position(mine) {
                let Event::Reply(reply) = self.events.remove(position) else {
                    unreachable!()
                };
                return match reply.error {
                    Some(error) => Err(error),
                    None => Ok(serde_json::from_value(reply.ok.unwrap()).unwrap()),
                };
            }
            assert!(
                Instant::now() < deadline,
                "no answer; events: {:?}",
                self.events
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub fn ask<T: DeserializeOwned>(&mut self, command: Command) -> T {
        self.try_ask(command).unwrap()
    }

    pub fn tell(&mut self, command: Command) {
        self.ask::<Value>(command);
    }

    /// Collects what was reported.
    pub fn listen(&mut self) {
        self.events.extend(self.worker.drain_events(1000));
    }

    pub fn stats(&mut self) -> meeshy_sfu_worker::Stats {
        self.ask(Command::Stats {})
    }

    pub fn create_router(&mut self, router: u64) {
        self.tell(Command::CreateRouter {
            router: RouterId(router),
        });
    }

    pub fn create_transport(&mut self, router: u64, transport: u64) -> TransportCreated {
        self.ask(Command::CreateTransport(CreateTransport {
            router: RouterId(router),
            transport: TransportId(transport),
            tcp: true,
            udp: true,
            max_incoming_bps: None,
            padding: false,
        }))
    }

    /// A transport with a peer at its other end, not yet connected.
    pub fn join(&mut self, router: u64, transport: u64, way: Way) -> Peer {
        let created = self.create_transport(router, transport);
        let peer = Peer::new(&created, &self.fingerprint, way);
        let role = if way.active {
            DtlsRole::Client
        } else {
            DtlsRole::Server
        };
        let connected: TransportConnected = self.ask(Command::ConnectTransport {
            router: RouterId(router),
            transport: TransportId(transport),
            role,
            fingerprints: vec![peer.fingerprint()],
        });
        let expected = if way.active {
            DtlsRole::Server
        } else {
            DtlsRole::Client
        };
        assert_eq!(connected.local_role, expected);
        peer
    }

    /// Runs worker and clients until `done`.
    pub fn until(
        &mut self,
        peers: &mut [&mut Peer],
        what: &str,
        mut done: impl FnMut(&mut Rig, &mut [&mut Peer]) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for peer in peers.iter_mut() {
                peer.pump();
            }
            self.listen();
            if done(self, peers) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what} did not happen; events: {:?}",
                self.events
            );
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub fn connect(&mut self, peers: &mut [&mut Peer]) {
        self.until(peers, "connecting", |_, peers| {
            peers.iter().all(|p| p.is_connected())
        });
    }

    pub fn saw(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(wanted)
    }

    pub fn ice_states(&self, transport: u64) -> Vec<IceState> {
        let mine = |e: &Event| match e {
            Event::TransportIce {
                transport: t,
                state,
                ..
            } if t.0 == transport => Some(*state),
            _ => None,
        };
        self.events.iter().filter_map(mine).collect()
    }

    pub fn dtls_states(&self, transport: u64) -> Vec<DtlsState> {
        let mine = |e: &Event| match e {
            Event::TransportDtls {
                transport: t,
                state,
                ..
            } if t.0 == transport => Some(*state),
            _ => None,
        };
        self.events.iter().filter_map(mine).collect()
    }
}

fn config_of(identity: &Certificate) -> WorkerConfig {
    WorkerConfig::new(identity.der().to_vec(), identity.private_key().to_vec())
}

/// A configuration with a certificate of its own, for workers without a rig.
pub fn config() -> WorkerConfig {
    config_of(&Certificate::generate().unwrap())
}

/// How a peer reaches the worker.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub protocol: Protocol,
    pub six: bool,
    /// The peer sends the ClientHello.
    pub active: bool,
}

impl Way {
    pub const UDP: Way = Way {
        protocol: Protocol::Udp,
        six: false,
        active: true,
    };
    pub const TCP: Way = Way {
        protocol: Protocol::Tcp,
        six: false,
        active: true,
    };

    /// The server's address of this kind.
    pub fn find(&self, candidates: &[IceCandidate]) -> SocketAddr {
        let fits = |c: &&IceCandidate| {
            let ip: IpAddr = c.address.parse().unwrap();
            c.protocol == self.protocol && ip.is_ipv6() == self.six
        };
        let found = candidates
            .iter()
            .find(fits)
            .expect("a candidate of this kind");
        SocketAddr::new(found.address.parse().unwrap(), found.port)
    }
}

pub fn consume(router: u64, transport: u64, consumers: Vec<ConsumeOne>) -> Command {
    Command::Consume {
        router: RouterId(router),
        transport: TransportId(transport),
        consumers,
    }
}

/// One VP8 packet: payload descriptor with S bit, frame tag, and the number of the packet.
pub fn vp8(number: u32, key: bool) -> Vec<u8> {
    let mut payload = vec![0x10, u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
    payload.extend_from_slice(&number.to_be_bytes());
    payload.resize(700, 0xaa);
    payload
}

/// The number put into a payload by `vp8`.
pub fn number_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[11..15].try_into().unwrap())
}

/// File descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What was received, in the order of arrival.
pub type Received = VecDeque<(u32, u8, Vec<u8>)>;
