//! One transport's path and keys: ICE and DTLS, for the server's side and for the client's.
//!
//! # Job
//! Takes STUN and DTLS datagrams, gives datagrams to send and events: where to send, which SRTP keys,
//! what failed. Media never passes through here; it asks `selected` and `is_known_source`.
//!
//! # Invariants
//! - Nothing a peer sends panics, and nothing unauthenticated changes state.
//! - Time is an argument; sockets are numbers.
//!
//! RFC 8445 (ICE), RFC 5764 (DTLS-SRTP).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

pub use crate::dtls::{
    Certificate, CertificateError, DtlsRole, DtlsState, DtlsVersion, Fingerprint, HashAlgorithm,
    SrtpKeys,
};
pub use crate::ice::{IceCandidate, IceParameters, IceProtocol, IceState, TcpType};
use crate::net::{Class, Destination};

/// Something the owner of a link must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The ICE state changed.
    Ice(IceState),
    /// The DTLS state changed.
    Dtls(DtlsState),
    /// Send media here from now on.
    Selected(Destination),
    /// The keys of SRTP; comes before `Dtls(Connected)`.
    Keys(SrtpKeys),
    /// The link is of no use any more; its owner closes the transport.
    Failed(LinkFailure),
    /// The first check with the credentials of `restart_ice` was seen; the old ones are forgotten.
    IceRestarted,
}

/// Why a link is of no use any more. `Display` names the cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFailure {
    /// No check came (server) or was answered (client) for the consent time.
    ConsentLost,
    /// The peer's certificate has none of the announced fingerprints.
    FingerprintMismatch,
    /// The handshake was not finished in time.
    HandshakeTimeout,
    /// The peer offers no SRTP profile we speak.
    NoSrtpProfile,
    /// DTLS gave up for another reason.
    Dtls(String),
}

impl std::fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for LinkFailure {}

/// Why a call on a link was refused; the link is as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// `connect` was called before.
    AlreadyConnected,
    /// The list of fingerprints is empty.
    NoFingerprint,
    /// A fingerprint is not as many hexadecimal pairs as its hash has bytes.
    MalformedFingerprint,
    /// Both sides would take the same DTLS role.
    RoleConflict,
    /// The link is closed.
    Closed,
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for LinkError {}

/// The ICE and DTLS of one transport.
#[derive(Debug)]
pub struct Link {
    parameters: IceParameters,
    candidates: Vec<IceCandidate>,
    certificate: Arc<Certificate>,
    ice_state: IceState,
    dtls_state: DtlsState,
}

impl Link {
    /// The server's side: ICE-lite, `candidates` are what it announces.
    pub fn server(
        certificate: Arc<Certificate>,
        ice: IceParameters,
        candidates: Vec<IceCandidate>,
        _now: Instant,
    ) -> Link {
        Link {
            parameters: ice,
            candidates,
            certificate,
            ice_state: IceState::New,
            dtls_state: DtlsState::New,
        }
    }

    /// The client's side: full ICE, controlling. It sends by `SocketId::udp_for(&local)`.
    pub fn client(
        certificate: Arc<Certificate>,
        ice: IceParameters,
        _local: SocketAddr,
        _role: DtlsRole,
        now: Instant,
    ) -> Link {
        Link::server(certificate, ice, Vec::new(), now)
    }

    /// Our current ICE credentials: the newest ones.
    pub fn ice_parameters(&self) -> &IceParameters {
        &self.parameters
    }

    /// The candidates to announce.
    pub fn candidates(&self) -> &[IceCandidate] {
        &self.candidates
    }

    /// The certificate given at the start.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Client side: who to check. A call with other credentials restarts the checks.
    pub fn set_remote_ice(
        &mut self,
        _remote: &IceParameters,
        _candidates: &[IceCandidate],
        _now: Instant,
    ) {
    }

    /// Gives the peer's role and fingerprints, once; DTLS starts as soon as there is a path. Returns our role.
    pub fn connect(
        &mut self,
        _remote_role: DtlsRole,
        _fingerprints: &[Fingerprint],
        _now: Instant,
    ) -> Result<DtlsRole, LinkError> {
        Ok(DtlsRole::Client)
    }

    /// Server side: `fresh` and the old credentials are both valid until the first check with `fresh`.
    pub fn restart_ice(&mut self, fresh: IceParameters, _now: Instant) {
        self.parameters = fresh;
    }

    /// The one or two username fragments that belong to this link, for the first contact of a client.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.parameters.username_fragment.as_str())
    }

    /// Takes a STUN or DTLS datagram; anything else is ignored. Never panics on what a peer sends.
    pub fn handle(&mut self, _class: Class, _datagram: &[u8], _from: Destination, _now: Instant) {}

    /// Tells whether a check has validated this source; media from elsewhere is to be dropped.
    pub fn is_known_source(&self, _from: &Destination) -> bool {
        false
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When `handle_timeout` must be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Writes the next datagram to send into `buf` (at least 2048 bytes) and tells its length and destination.
    pub fn poll_transmit(&mut self, _buf: &mut [u8]) -> Option<(usize, Destination)> {
        None
    }

    /// The next event. Ask after every other call.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        None
    }

    /// Where media goes.
    pub fn selected(&self) -> Option<Destination> {
        None
    }

    /// State of the path.
    pub fn ice_state(&self) -> IceState {
        self.ice_state
    }

    /// State of the DTLS association.
    pub fn dtls_state(&self) -> DtlsState {
        self.dtls_state
    }

    /// The DTLS version agreed on, once it is.
    pub fn dtls_version(&self) -> Option<DtlsVersion> {
        None
    }

    /// Says goodbye (close_notify) and stops; what it leaves is fetched by `poll_transmit`.
    pub fn close(&mut self, _now: Instant) {
        self.ice_state = IceState::Closed;
        self.dtls_state = DtlsState::Closed;
    }
}

/// Our username fragment in a STUN request (the part before the colon), for the first contact of a client.
pub fn username_of(stun: &[u8]) -> Option<&str> {
    let username = is::stun::StunMessage::parse(stun).ok()?.username()?;
    username.split(':').next()
}
