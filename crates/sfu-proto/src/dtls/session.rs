//! One DTLS association, from the first handshake message to SRTP keys and close_notify.
//!
//! # Job
//! Drives `dimpl` in either role, checks the peer's certificate against the announced fingerprints, and splits the
//! exported keying material into both directions. `link` decides when there is a path.
//!
//! # Invariants
//! - Keys are released only after the certificate has matched, and before `Connected`.
//! - Unauthenticated input (garbage, plaintext alerts, a message that `dimpl` fails on during the handshake) never
//!   ends the association by itself: the handshake restarts, and only if it does not complete within [`GRACE`] that
//!   input becomes the reason of the failure.
//! - A certificate other than the announced one ends the association at once.
//! - Queues of output and of held input are bounded.
//! - After the alert of a refused handshake nothing is sent that would complete it.
//!
//! # Cost
//! Handshakes only; a finished one keeps its `dimpl` state until the transport closes.
//!
//! # Left out
//! An attacker who can send from the peer's own address can still prevent a handshake that has begun (not one that
//! has completed): plaintext messages of DTLS are not authenticated. Application data (SCTP) is ignored; `dimpl` has
//! no resumption and no renegotiation.
//!
//! RFC 5764 §4.2 (key derivation), RFC 6347 §4.2.4 (timers), RFC 8122 §5 (fingerprints).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, KeyingMaterial, Output, ProtocolVersion};

use super::hello::{
    ALERT, HANDSHAKE, HelloAssembly, fragments, is_hello_verify_request, is_server_hello, records,
};
use super::{
    Certificate, DtlsFailure, DtlsRole, DtlsState, DtlsVersion, Fingerprint, HANDSHAKE_TIMEOUT,
    HashAlgorithm, SrtpKeys,
};
use crate::srtp::{MasterKey, SrtpProfile};

/// How long a handshake may still complete after unauthenticated input broke it.
pub const GRACE: Duration = Duration::from_secs(3);
/// Before a jitter of a quarter: the first retransmission follows the flight after 60 to 100 ms.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(80);
/// High enough for the handshake timeout to come first.
const RETRIES: usize = 40;
/// Restarts of a handshake that unauthenticated input broke.
const MAX_RESTARTS: u32 = 8;
/// Datagrams of the server's first flight kept while its first message is missing.
const MAX_EARLY: usize = 8;
/// Datagrams waiting for `poll_transmit`.
const MAX_WAITING: usize = 32;
/// A later timer counts as none.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);
/// Buffer size for one datagram or the peer's certificate.
const BUFFER: usize = 4096;

/// What a session reports to the link it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtlsEvent {
    /// The state changed.
    State(DtlsState),
    /// The keys; precede `State(Connected)`.
    Keys(SrtpKeys),
    /// Follows `State(Failed)`.
    Failed(DtlsFailure),
}

/// A DTLS association of one transport.
pub struct Session {
    role: DtlsRole,
    certificate: Arc<Certificate>,
    fingerprints: Vec<Fingerprint>,
    state: DtlsState,
    /// `None` while a server waits for a complete ClientHello.
    engine: Option<Box<Dtls>>,
    hello: HelloAssembly,
    /// As client before the version is known: datagrams received ahead of the server's first message.
    early: VecDeque<Vec<u8>>,
    version: Option<DtlsVersion>,
    certificate_matched: bool,
    keys: Option<SrtpKeys>,
    suspicion: Option<DtlsFailure>,
    restarts: u32,
    deadline: Instant,
    engine_timeout: Option<Instant>,
    now: Instant,
    waiting: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>,
}

impl Session {
    /// Starts the handshake as `role`, client or server; `hello` holds what arrived before.
    pub fn start(
        role: DtlsRole,
        certificate: Arc<Certificate>,
        fingerprints: Vec<Fingerprint>,
        hello: HelloAssembly,
        now: Instant,
    ) -> Session {
        let mut session = Session {
            role,
            certificate,
            fingerprints,
            state: DtlsState::New,
            engine: None,
            hello,
            early: VecDeque::new(),
            version: None,
            certificate_matched: false,
            keys: None,
            suspicion: None,
            restarts: 0,
            deadline: now + HANDSHAKE_TIMEOUT,
            engine_timeout: None,
            now,
            waiting: VecDeque::new(),
            events: VecDeque::new(),
        };
        session.set_state(DtlsState::Connecting);
        if role == DtlsRole::Client {
            session.start_client();
        } else {
            session.try_server();
        }
        session
    }

    /// Handles a DTLS datagram.
    pub fn handle(&mut self, datagram: &[u8], now: Instant) {
        if !matches!(self.state, DtlsState::Connecting | DtlsState::Connected) {
            return;
        }
        self.now = self.now.max(now);
        if self.is_unauthenticated_alert(datagram) {
            return;
        }
        match (&self.engine, self.role) {
            (None, DtlsRole::Client) => {}
            (None, _) => {
                self.hello.push(datagram);
                self.try_server();
            }
            (Some(engine), DtlsRole::Client) if engine.protocol_version().is_none() => {
                self.handle_before_version(datagram);
            }
            (Some(_), _) if is_plausible(datagram) => self.feed(datagram),
            (Some(_), _) => {}
        }
    }

    /// Retransmits what is due, and fails when the handshake has timed out.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.state == DtlsState::Connecting && self.now >= self.deadline {
            let reason = self.suspicion.take().unwrap_or(DtlsFailure::Timeout);
            self.fail(reason);
            return;
        }
        if self.engine_timeout.is_some_and(|due| self.now >= due) {
            let Some(engine) = &mut self.engine else {
                return;
            };
            let result = engine.handle_timeout(self.now);
            self.settle(result);
        }
    }

    /// Returns when `handle_timeout` must be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            DtlsState::Connecting => Some(
                self.engine_timeout
                    .map_or(self.deadline, |due| due.min(self.deadline)),
            ),
            DtlsState::Connected => self.engine_timeout,
            _ => None,
        }
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Returns the state of the association.
    pub fn state(&self) -> DtlsState {
        self.state
    }

    /// Returns the negotiated version.
    pub fn version(&self) -> Option<DtlsVersion> {
        self.version
    }

    /// Sends close_notify if there are keys, and stops.
    pub fn close(&mut self) {
        if self.state == DtlsState::Connected
            && let Some(engine) = &mut self.engine
        {
            // Without keys there is no close_notify to send.
            let _ = engine.close();
            self.drain();
        } else {
            self.waiting.clear();
        }
        self.engine = None;
        self.engine_timeout = None;
        if self.state != DtlsState::Failed {
            self.set_state(DtlsState::Closed);
        }
    }

    fn start_client(&mut self) {
        let mut engine = Dtls::new_auto(config(), self.dimpl_certificate(), self.now);
        engine.set_active(true);
        self.begin(engine);
    }

    /// Starts the server's engine once the ClientHello is complete, in the version chosen from it.
    fn try_server(&mut self) {
        let (Some(offer), Some(datagram)) = (self.hello.offer(), self.hello.complete()) else {
            return;
        };
        self.hello.clear();
        let spoken = |id: &u16| SrtpProfile::from_use_srtp_id(*id).is_some();
        if !offer.srtp_profiles.iter().any(spoken) {
            return self.suspect(DtlsFailure::NoSrtpProfile);
        }
        let shares = |suites: &[u16]| offer.cipher_suites.iter().any(|id| suites.contains(id));
        let certificate = self.dimpl_certificate();
        let engine = if offer.dtls_1_2 && shares(&SUITES_1_2) {
            Dtls::new_12(config(), certificate, self.now)
        } else if offer.dtls_1_3 && shares(&SUITES_1_3) {
            Dtls::new_13(config(), certificate, self.now)
        } else if offer.dtls_1_2 || offer.dtls_1_3 {
            return self.suspect(DtlsFailure::NoCipherSuite);
        } else {
            return self.suspect(DtlsFailure::NoVersion);
        };
        self.begin(engine);
        self.feed(&datagram);
    }

    fn begin(&mut self, mut engine: Dtls) {
        let result = engine.handle_timeout(self.now);
        self.engine = Some(Box::new(engine));
        self.settle(result);
    }

    /// As client, `dimpl` needs the server's first message first and fails on any other.
    fn handle_before_version(&mut self, datagram: &[u8]) {
        if decides_version(datagram) {
            self.feed(datagram);
            for held in std::mem::take(&mut self.early) {
                if self
                    .engine
                    .as_ref()
                    .is_some_and(|engine| engine.protocol_version().is_some())
                {
                    self.feed(&held);
                }
            }
        } else if is_plausible(datagram) && self.early.len() < MAX_EARLY {
            self.early.push_back(datagram.to_vec());
        }
    }

    fn feed(&mut self, datagram: &[u8]) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let result = engine
            .handle_timeout(self.now)
            .and_then(|()| engine.handle_packet(datagram));
        self.settle(result);
    }

    /// Fetches the engine's output and decides what an error means.
    fn settle(&mut self, result: Result<(), dimpl::Error>) {
        self.drain();
        let Err(error) = result else { return };
        match self.state {
            DtlsState::Connecting => {
                let reason = match error {
                    dimpl::Error::Timeout(_) => DtlsFailure::Timeout,
                    dimpl::Error::SecurityError(dimpl::SecurityError::FatalAlert {
                        description,
                    }) => DtlsFailure::Alert(description),
                    other => DtlsFailure::Handshake(other.to_string()),
                };
                self.suspect(reason);
                self.restart();
            }
            // From here on only authenticated input becomes an error.
            DtlsState::Connected => {
                self.engine = None;
                self.engine_timeout = None;
                self.set_state(DtlsState::Closed);
            }
            _ => {}
        }
    }

    fn restart(&mut self) {
        self.engine = None;
        self.engine_timeout = None;
        self.early.clear();
        self.hello.clear();
        self.version = None;
        self.certificate_matched = false;
        self.keys = None;
        self.restarts += 1;
        if self.role == DtlsRole::Client && self.restarts <= MAX_RESTARTS {
            self.start_client();
        }
    }

    fn drain(&mut self) {
        let Some(mut engine) = self.engine.take() else {
            return;
        };
        let mut buffer = vec![0; BUFFER];
        let mut connected = false;
        let mut closed = false;
        loop {
            match engine.poll_output(&mut buffer) {
                Output::Packet(packet) if self.waiting.len() < MAX_WAITING => {
                    self.waiting.push_back(packet.to_vec());
                }
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    // An idle engine asks for a timer in ten years.
                    self.engine_timeout = (due < self.now + IDLE).then_some(due);
                    break;
                }
                Output::Connected => connected = true,
                Output::PeerCert(certificate) => {
                    if let Some(reason) = mismatch(&self.fingerprints, certificate) {
                        self.engine = Some(engine);
                        self.fail(reason);
                        return;
                    }
                    self.certificate_matched = true;
                }
                Output::KeyingMaterial(material, profile) => {
                    self.keys = split(&material, profile, engine.is_active());
                }
                Output::CloseNotify => closed = true,
                _ => {}
            }
        }
        self.version = match engine.protocol_version() {
            Some(ProtocolVersion::DTLS1_2) => Some(DtlsVersion::V1_2),
            Some(ProtocolVersion::DTLS1_3) => Some(DtlsVersion::V1_3),
            _ => None,
        };
        self.engine = Some(engine);
        if connected {
            self.connected();
        }
        if closed && self.state == DtlsState::Connected {
            // Answers the close_notify, as TLS demands, and ends.
            self.close();
        }
    }

    fn connected(&mut self) {
        if !self.certificate_matched {
            self.fail(DtlsFailure::Handshake(
                "the peer showed no certificate".into(),
            ));
            return;
        }
        match self.keys.take() {
            Some(keys) => {
                self.suspicion = None;
                self.events.push_back(DtlsEvent::Keys(keys));
                self.set_state(DtlsState::Connected);
            }
            None => self.fail(DtlsFailure::NoSrtpProfile),
        }
    }

    /// Records a plaintext alert. Returns whether the datagram needs no further handling.
    fn is_unauthenticated_alert(&mut self, datagram: &[u8]) -> bool {
        let Some(record) = records(datagram).next() else {
            return false;
        };
        if record.content_type != ALERT || record.epoch != 0 {
            return false;
        }
        if let ([FATAL, description], DtlsState::Connecting) = (record.body, self.state) {
            self.suspect(DtlsFailure::Alert(*description));
        }
        true
    }

    fn suspect(&mut self, reason: DtlsFailure) {
        self.suspicion = Some(reason);
        self.deadline = self.deadline.min(self.now + GRACE);
    }

    fn fail(&mut self, reason: DtlsFailure) {
        self.waiting.clear();
        if let Some(description) = reason.alert() {
            self.refuse(description);
        }
        self.engine = None;
        self.engine_timeout = None;
        self.keys = None;
        self.hello.clear();
        self.early.clear();
        self.set_state(DtlsState::Failed);
        self.events.push_back(DtlsEvent::Failed(reason));
    }

    /// Queues the alert that ends a handshake.
    ///
    /// Until our Finished is sent, which no longer happens, a peer of 1.2 reads plaintext. A peer of 1.3 reads
    /// encrypted records only; the only one the engine makes without a message of its own is close_notify.
    fn refuse(&mut self, description: u8) {
        let sealed = self
            .engine
            .as_mut()
            .filter(|engine| engine.protocol_version() == Some(ProtocolVersion::DTLS1_3));
        if let Some(engine) = sealed {
            let _ = engine.close();
            let mut buffer = vec![0; BUFFER];
            while let Output::Packet(packet) = engine.poll_output(&mut buffer) {
                self.waiting.push_back(packet.to_vec());
                if self.waiting.len() == MAX_WAITING {
                    break;
                }
            }
            return;
        }
        let mut record = vec![ALERT, 0xfe, 0xfd, 0, 0];
        record.extend_from_slice(&LAST_RECORD.to_be_bytes()[2..]);
        record.extend_from_slice(&[0, 2, FATAL, description]);
        self.waiting.push_back(record);
    }

    fn set_state(&mut self, state: DtlsState) {
        if self.state != state {
            self.state = state;
            self.events.push_back(DtlsEvent::State(state));
        }
    }

    fn dimpl_certificate(&self) -> DtlsCertificate {
        DtlsCertificate {
            certificate: self.certificate.der().to_vec(),
            private_key: self.certificate.private_key().to_vec(),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Compares the peer's certificate with the announced fingerprints; one match is enough.
fn mismatch(announced: &[Fingerprint], certificate: &[u8]) -> Option<DtlsFailure> {
    if announced
        .iter()
        .any(|fingerprint| fingerprint.matches(certificate))
    {
        return None;
    }
    let algorithm = announced
        .first()
        .map_or(HashAlgorithm::Sha256, |first| first.algorithm);
    Some(DtlsFailure::FingerprintMismatch(Fingerprint::of(
        certificate,
        algorithm,
    )))
}

/// Splits keying material into client key, server key, client salt, server salt (RFC 5764 §4.2).
fn split(
    material: &KeyingMaterial,
    profile: dimpl::SrtpProfile,
    is_client: bool,
) -> Option<SrtpKeys> {
    let profile = match profile {
        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmSha1_80,
        _ => return None,
    };
    let (keys, salts) = material.split_at_checked(2 * profile.key_len())?;
    let (client_key, server_key) = keys.split_at_checked(profile.key_len())?;
    let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len())?;
    let client = MasterKey {
        key: client_key.to_vec(),
        salt: client_salt.to_vec(),
    };
    let server = MasterKey {
        key: server_key.to_vec(),
        salt: server_salt.get(..profile.salt_len())?.to_vec(),
    };
    let (local, remote) = if is_client {
        (client, server)
    } else {
        (server, client)
    };
    Some(SrtpKeys {
        profile,
        local,
        remote,
    })
}

/// Returns whether to pass a record to the engine: it has the long header and fits, or the short one of 1.3.
fn is_plausible(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(32..=63)) || records(datagram).next().is_some()
}

/// Returns whether this is a HelloVerifyRequest or a whole ServerHello, which decides the client's version.
fn decides_version(datagram: &[u8]) -> bool {
    records(datagram).next().is_some_and(|record| {
        record.content_type == HANDSHAKE
            && record.epoch == 0
            && fragments(record.body)
                .next()
                .is_some_and(|fragment| match fragment.message_type {
                    SERVER_HELLO => {
                        fragment.body.len() == fragment.length && is_server_hello(fragment.body)
                    }
                    HELLO_VERIFY_REQUEST => is_hello_verify_request(fragment.body),
                    _ => false,
                })
    })
}

fn config() -> Arc<Config> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let config = Config::builder()
            .flight_start_rto(FIRST_RETRANSMISSION)
            .flight_retries(RETRIES)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            // ICE has validated the client's address already; the cookie would cost a round trip.
            .use_server_cookie(false)
            .require_client_certificate(true)
            .build();
        Arc::new(config.expect("invariant: these constants are within dimpl's limits"))
    });
    Arc::clone(config)
}

/// ECDHE_ECDSA with AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
const SUITES_1_2: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];
/// AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
const SUITES_1_3: [u16; 3] = [0x1301, 0x1302, 0x1303];
const FATAL: u8 = 2;
/// Sequence number of the alert's record: beyond those of the handshake, so that no replay window refuses it.
const LAST_RECORD: u64 = 0xffff;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
