//! Path and keys of one transport: ICE and DTLS, for the server and for the client side.
//!
//! # Job
//! Takes STUN and DTLS datagrams and yields datagrams to send and events: the destination, the SRTP keys, failures.
//! Media does not pass through here; the owner asks `selected` and `is_known_source`.
//!
//! # Invariants
//! - No input of a peer panics, and no unauthenticated input changes a state.
//! - DTLS is accepted only from a source whose check was valid (server) or answered (client).
//! - DTLS starts once there is a path and `connect` was called; a ClientHello that arrives before `connect` is kept.
//! - After `LinkEvent::Failed` a link accepts nothing and sends nothing but the alert of a refused handshake.
//! - A server whose client is silent for the consent time stops sending and waits for it: `Ice(Disconnected)` is no
//!   failure, and keys and DTLS stay valid (RFC 8842 §5).
//!
//! # Cost
//! Handshakes, and one check every few seconds; per media packet only `is_known_source`, a scan of at most eight
//! tuples.
//!
//! # Left out
//! Data channels; gathering and TURN. See `ice` and `dtls`.
//!
//! RFC 8445 (ICE), RFC 5764 (DTLS-SRTP), RFC 8842 §5 (DTLS survives an ICE restart).

mod failure;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

pub use crate::dtls::{
    Certificate, CertificateError, DtlsFailure, DtlsRole, DtlsState, DtlsVersion, Fingerprint,
    HashAlgorithm, SrtpKeys,
};
use crate::dtls::{DtlsEvent, Session, hello::HelloAssembly};
use crate::ice::{FullAgent, IceEvent, IceRefusal, LiteAgent};
pub use crate::ice::{IceCandidate, IceError, IceParameters, IceProtocol, IceState, TcpType};
use crate::net::{Class, Destination, SocketId};
pub use failure::{LinkError, LinkFailure};

/// The ICE and DTLS of one transport.
#[derive(Debug)]
pub struct Link {
    path: Path,
    candidates: Vec<IceCandidate>,
    certificate: Arc<Certificate>,
    dtls_role: DtlsRole,
    dtls: Dtls,
    failed: bool,
    events: VecDeque<LinkEvent>,
    /// Datagrams that `close` left to be sent.
    farewell: VecDeque<(Destination, Vec<u8>)>,
}

/// An event for the owner of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The ICE state changed.
    Ice(IceState),
    /// The DTLS state changed.
    Dtls(DtlsState),
    /// The destination of media from now on.
    Selected(Destination),
    /// The SRTP keys; precedes `Dtls(Connected)`.
    Keys(SrtpKeys),
    /// The link has failed; its owner closes the transport.
    Failed(LinkFailure),
    /// The first check with the credentials of a restart arrived (server) or was answered (client); the former
    /// credentials are invalid now.
    IceRestarted,
    /// A check with a username fragment of ours was refused.
    CheckRefused(IceRefusal),
}

/// What a link that was connected still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// The first valid check.
    NoCheck,
    /// The end of the DTLS handshake.
    Handshake,
}

#[derive(Debug)]
enum Path {
    Lite(Box<LiteAgent>),
    Full(Box<FullAgent>),
    /// A client whose address or credentials ICE cannot use.
    None(IceParameters),
}

#[derive(Debug)]
enum Dtls {
    /// `connect` was not called yet; keeps a ClientHello that arrived too early.
    Waiting(HelloAssembly),
    /// `connect` was called, but there is no path yet.
    Ready {
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
        hello: HelloAssembly,
    },
    Running(Box<Session>),
    Closed,
}

impl Link {
    /// Creates the server side: ICE-lite. `candidates` are only kept to be announced.
    pub fn server(
        certificate: Arc<Certificate>,
        ice: IceParameters,
        candidates: Vec<IceCandidate>,
        _now: Instant,
    ) -> Link {
        Link::new(
            certificate,
            Path::Lite(Box::new(LiteAgent::new(ice))),
            candidates,
            DtlsRole::Auto,
        )
    }

    /// Creates the client side over UDP: full ICE, controlling. It sends by `SocketId::udp_for(&local)`.
    ///
    /// `dtls_role` is the role it announces; with `Auto` it takes the role that the server leaves.
    pub fn client(
        certificate: Arc<Certificate>,
        ice: IceParameters,
        local: SocketAddr,
        dtls_role: DtlsRole,
        now: Instant,
    ) -> Link {
        Link::client_by(
            certificate,
            ice,
            local,
            SocketId::udp_for(&local),
            dtls_role,
            now,
        )
    }

    /// Creates one side of a peer-to-peer path over UDP: full ICE; the offerer is controlling, the answerer is not.
    pub fn peer(
        certificate: Arc<Certificate>,
        ice: IceParameters,
        local: SocketAddr,
        dtls_role: DtlsRole,
        controlling: bool,
        now: Instant,
    ) -> Link {
        let mut link = Link::client(certificate, ice, local, dtls_role, now);
        if let (Path::Full(agent), false) = (&mut link.path, controlling) {
            agent.set_controlled();
        }
        link
    }

    /// Creates the client side over any socket; a TCP connection (`socket.is_tcp()`) uses the TCP candidates.
    pub fn client_by(
        certificate: Arc<Certificate>,
        ice: IceParameters,
        local: SocketAddr,
        socket: SocketId,
        dtls_role: DtlsRole,
        _now: Instant,
    ) -> Link {
        match FullAgent::new(ice.clone(), local, socket) {
            Ok(agent) => Link::new(
                certificate,
                Path::Full(Box::new(agent)),
                Vec::new(),
                dtls_role,
            ),
            Err(error) => {
                let mut link = Link::new(certificate, Path::None(ice), Vec::new(), dtls_role);
                link.fail(LinkFailure::Ice(error));
                link
            }
        }
    }

    fn new(
        certificate: Arc<Certificate>,
        path: Path,
        candidates: Vec<IceCandidate>,
        dtls_role: DtlsRole,
    ) -> Link {
        Link {
            path,
            candidates,
            certificate,
            dtls_role,
            dtls: Dtls::Waiting(HelloAssembly::default()),
            failed: false,
            events: VecDeque::new(),
            farewell: VecDeque::new(),
        }
    }

    /// Returns our ICE credentials; after `restart_ice` the fresh ones.
    pub fn ice_parameters(&self) -> &IceParameters {
        match &self.path {
            Path::Lite(agent) => agent.parameters(),
            Path::Full(agent) => agent.parameters(),
            Path::None(parameters) => parameters,
        }
    }

    /// Returns the candidates to announce.
    pub fn candidates(&self) -> &[IceCandidate] {
        &self.candidates
    }

    /// Returns our certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the one or two username fragments of this link, by which a client's first check is recognised.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        let (lite, other) = match &self.path {
            Path::Lite(agent) => (Some(agent.username_fragments()), None),
            _ => (None, Some(self.ice_parameters().username_fragment.as_str())),
        };
        lite.into_iter().flatten().chain(other)
    }

    /// Returns the destination of media.
    pub fn selected(&self) -> Option<Destination> {
        match &self.path {
            _ if self.failed => None,
            Path::Lite(agent) => agent.selected(),
            Path::Full(agent) => agent.selected(),
            Path::None(_) => None,
        }
    }

    /// Returns whether a check has validated this source; media from other sources must be dropped.
    pub fn is_known_source(&self, from: &Destination) -> bool {
        match &self.path {
            _ if self.failed => false,
            Path::Lite(agent) => agent.is_known(from),
            Path::Full(agent) => agent.is_known(from),
            Path::None(_) => false,
        }
    }

    /// Returns the state of the path.
    pub fn ice_state(&self) -> IceState {
        match &self.path {
            Path::Lite(agent) => agent.state(),
            Path::Full(agent) => agent.state(),
            Path::None(_) => IceState::Disconnected,
        }
    }

    /// Returns the state of the DTLS association.
    pub fn dtls_state(&self) -> DtlsState {
        match &self.dtls {
            Dtls::Waiting(_) | Dtls::Ready { .. } => DtlsState::New,
            Dtls::Running(session) => session.state(),
            Dtls::Closed => DtlsState::Closed,
        }
    }

    /// Returns what the link waits for since its `connect`; `None` before that, and once it is established.
    pub fn unfinished(&self) -> Option<Unfinished> {
        match &self.dtls {
            _ if self.failed => None,
            Dtls::Ready { .. } => Some(Unfinished::NoCheck),
            Dtls::Running(session) if session.state() == DtlsState::Connecting => {
                Some(Unfinished::Handshake)
            }
            _ => None,
        }
    }

    /// Returns the negotiated DTLS version, if there is one.
    pub fn dtls_version(&self) -> Option<DtlsVersion> {
        match &self.dtls {
            Dtls::Running(session) => session.version(),
            _ => None,
        }
    }

    /// Client side: sets the peer to check. Calling it with other credentials restarts ICE; the old path is used
    /// until the new checks succeed. Ignored on the server side, which never checks.
    pub fn set_remote_ice(
        &mut self,
        remote: &IceParameters,
        candidates: &[IceCandidate],
        now: Instant,
    ) {
        if let (Path::Full(agent), false) = (&mut self.path, self.failed)
            && let Err(error) = agent.set_remote(remote, candidates, now)
        {
            self.fail(LinkFailure::Ice(error));
        }
        self.advance(now);
    }

    /// Sets the peer's role and fingerprints, once, and returns our role.
    ///
    /// If the peer leaves the choice to us we are the client. DTLS starts as soon as there is a path.
    pub fn connect(
        &mut self,
        remote_role: DtlsRole,
        fingerprints: &[Fingerprint],
        now: Instant,
    ) -> Result<DtlsRole, LinkError> {
        if self.failed || matches!(self.dtls, Dtls::Closed) {
            return Err(LinkError::Closed);
        }
        let Dtls::Waiting(hello) = &mut self.dtls else {
            return Err(LinkError::AlreadyConnected);
        };
        if fingerprints.is_empty() {
            return Err(LinkError::NoFingerprint);
        }
        if !fingerprints.iter().all(Fingerprint::is_well_formed) {
            return Err(LinkError::MalformedFingerprint);
        }
        let role = match (self.dtls_role, remote_role) {
            (DtlsRole::Client, DtlsRole::Client) | (DtlsRole::Server, DtlsRole::Server) => {
                return Err(LinkError::RoleConflict);
            }
            (DtlsRole::Auto, DtlsRole::Client) | (DtlsRole::Server, _) => DtlsRole::Server,
            (DtlsRole::Auto | DtlsRole::Client, _) => DtlsRole::Client,
        };
        let hello = std::mem::take(hello);
        self.dtls = Dtls::Ready {
            role,
            fingerprints: fingerprints.to_vec(),
            hello,
        };
        self.advance(now);
        Ok(role)
    }

    /// Server side: `fresh` and the old credentials are both valid until the first check with `fresh`; DTLS and SRTP
    /// continue. Ignored on the client side, which restarts by `set_remote_ice`.
    pub fn restart_ice(&mut self, fresh: IceParameters, _now: Instant) {
        if let Path::Lite(agent) = &mut self.path {
            agent.restart(fresh);
        }
    }

    /// Handles a STUN or DTLS datagram; anything else is ignored. No input panics.
    pub fn handle(&mut self, class: Class, datagram: &[u8], from: Destination, now: Instant) {
        if self.failed {
            return;
        }
        match class {
            Class::Stun => match &mut self.path {
                Path::Lite(agent) => agent.handle(datagram, from, now),
                Path::Full(agent) => agent.handle(datagram, from, now),
                Path::None(_) => {}
            },
            Class::Dtls if self.is_known_source(&from) => match &mut self.dtls {
                Dtls::Waiting(hello) | Dtls::Ready { hello, .. } => hello.push(datagram),
                Dtls::Running(session) => {
                    // Not authenticated yet, but answers reach the client at the tuple it sends by.
                    if session.state() == DtlsState::Connecting
                        && let Path::Lite(agent) = &mut self.path
                    {
                        agent.on_authenticated_media(&from, now);
                    }
                    session.handle(datagram, now);
                }
                Dtls::Closed => {}
            },
            _ => return,
        }
        self.advance(now);
    }

    /// Server side: authenticated media arrived from this source; media is sent there from now on.
    pub fn on_authenticated_media(&mut self, from: &Destination, now: Instant) {
        if let Path::Lite(agent) = &mut self.path {
            agent.on_authenticated_media(from, now);
        }
        self.advance(now);
    }

    /// Server side: forgets a destination whose TCP connection has closed; another tuple is selected if there is one.
    pub fn remove_destination(&mut self, destination: &Destination, now: Instant) {
        if let Path::Lite(agent) = &mut self.path {
            agent.remove(destination);
        }
        self.advance(now);
    }

    /// Processes what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.failed {
            return;
        }
        match &mut self.path {
            Path::Lite(agent) => agent.handle_timeout(now),
            Path::Full(agent) if agent.poll_timeout().is_some_and(|due| now >= due) => {
                agent.handle_timeout(now)
            }
            _ => {}
        }
        if let Dtls::Running(session) = &mut self.dtls {
            session.handle_timeout(now);
        }
        self.advance(now);
    }

    /// Returns when `handle_timeout` must be called next. Ask after every other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.failed {
            return None;
        }
        let path = match &self.path {
            Path::Lite(agent) => agent.poll_timeout(),
            Path::Full(agent) => agent.poll_timeout(),
            Path::None(_) => None,
        };
        let dtls = match &self.dtls {
            Dtls::Running(session) => session.poll_timeout(),
            _ => None,
        };
        path.into_iter().chain(dtls).min()
    }

    /// Writes the next datagram to send into `buf` (at least 2048 bytes) and returns its length and destination.
    ///
    /// A datagram that does not fit is dropped; it is retransmitted like one lost on the way.
    pub fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<(usize, Destination)> {
        loop {
            let (to, datagram) = self.next_datagram()?;
            if let Some(room) = buf.get_mut(..datagram.len()) {
                room.copy_from_slice(&datagram);
                return Some((datagram.len(), to));
            }
        }
    }

    /// Returns the next event. Ask after every other call.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Sends close_notify and stops; `poll_transmit` yields what is left to send. Idempotent.
    pub fn close(&mut self, _now: Instant) {
        let to = self.selected();
        match std::mem::replace(&mut self.dtls, Dtls::Closed) {
            Dtls::Running(mut session) => {
                session.close();
                if let Some(to) = to {
                    self.farewell.extend(
                        std::iter::from_fn(|| session.poll_transmit()).map(|bytes| (to, bytes)),
                    );
                }
                self.dtls = Dtls::Running(session);
            }
            Dtls::Waiting(_) | Dtls::Ready { .. } => {
                self.events.push_back(LinkEvent::Dtls(DtlsState::Closed))
            }
            Dtls::Closed => {}
        }
        match &mut self.path {
            Path::Lite(agent) => agent.close(),
            Path::Full(agent) => agent.close(),
            Path::None(_) => {}
        }
        self.take_dtls_events();
        self.take_ice_events();
    }

    fn next_datagram(&mut self) -> Option<(Destination, Vec<u8>)> {
        if self.failed {
            return self.farewell.pop_front();
        }
        let check = match &mut self.path {
            Path::Lite(agent) => agent.poll_transmit(),
            Path::Full(agent) => agent.poll_transmit(),
            Path::None(_) => None,
        };
        if check.is_some() {
            return check;
        }
        if let (Some(to), Dtls::Running(session)) = (self.selected(), &mut self.dtls)
            && let Some(datagram) = session.poll_transmit()
        {
            return Some((to, datagram));
        }
        self.farewell.pop_front()
    }

    /// Starts DTLS when both of its conditions hold, and queues the events.
    fn advance(&mut self, now: Instant) {
        self.take_ice_events();
        if !self.failed && self.selected().is_some() && matches!(self.dtls, Dtls::Ready { .. }) {
            self.start_dtls(now);
        }
        self.take_dtls_events();
    }

    fn start_dtls(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.dtls, Dtls::Closed);
        if let Dtls::Ready {
            role,
            fingerprints,
            hello,
        } = before
        {
            let session = Session::start(
                role,
                Arc::clone(&self.certificate),
                fingerprints,
                hello,
                now,
            );
            self.dtls = Dtls::Running(Box::new(session));
        }
    }

    fn take_ice_events(&mut self) {
        loop {
            let event = match &mut self.path {
                Path::Lite(agent) => agent.poll_event(),
                Path::Full(agent) => agent.poll_event(),
                Path::None(_) => None,
            };
            match event {
                None => return,
                Some(IceEvent::State(state)) => self.events.push_back(LinkEvent::Ice(state)),
                Some(IceEvent::Selected(to)) => self.events.push_back(LinkEvent::Selected(to)),
                Some(IceEvent::Restarted) => self.events.push_back(LinkEvent::IceRestarted),
                Some(IceEvent::ConsentLost) => self.fail(LinkFailure::ConsentLost),
                Some(IceEvent::Unreachable) => self.fail(LinkFailure::Unreachable),
                Some(IceEvent::Refused(why)) => self.events.push_back(LinkEvent::CheckRefused(why)),
            }
        }
    }

    fn take_dtls_events(&mut self) {
        loop {
            let Dtls::Running(session) = &mut self.dtls else {
                return;
            };
            match session.poll_event() {
                None => return,
                Some(DtlsEvent::State(state)) => self.events.push_back(LinkEvent::Dtls(state)),
                Some(DtlsEvent::Keys(keys)) => self.events.push_back(LinkEvent::Keys(keys)),
                Some(DtlsEvent::Failed(reason)) => {
                    let alert = std::iter::from_fn(|| session.poll_transmit());
                    let alert: Vec<_> = alert.collect();
                    if let Some(to) = self.selected() {
                        self.farewell
                            .extend(alert.into_iter().map(|bytes| (to, bytes)));
                    }
                    self.fail(LinkFailure::Dtls(reason));
                }
            }
        }
    }

    fn fail(&mut self, reason: LinkFailure) {
        if !self.failed {
            self.failed = true;
            self.events.push_back(LinkEvent::Failed(reason));
        }
    }
}

/// Returns our username fragment in a STUN binding request (the part of USERNAME before the colon), for a client's
/// first check. Not authenticated.
pub fn username_of(stun: &[u8]) -> Option<&str> {
    crate::ice::username_of(stun)
}
