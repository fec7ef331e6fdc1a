//! One transport's path and keys: ICE and DTLS, for the server's side and for the client's.
//!
//! # Job
//! Takes STUN and DTLS datagrams, gives datagrams to send and events: where to send, which SRTP keys,
//! what failed. Media never passes through here; its owner asks `selected` and `is_known_source`.
//!
//! # Invariants
//! - Nothing a peer sends panics, and nothing unauthenticated changes a state.
//! - DTLS is taken only from where a check came from (server) or was answered (client).
//! - DTLS starts as soon as there is a path and `connect` was called, whichever comes last; a ClientHello
//!   that comes before `connect` is kept.
//! - After `LinkEvent::Failed` a link takes nothing, and sends nothing but the alert of a refused handshake.
//! - A server whose client is silent for the consent time sends nothing more, but waits for it: `Ice(Disconnected)`
//!   is no failure, and keys and DTLS outlive it (RFC 8842 §5).
//!
//! # Cost
//! Handshakes and one check every few seconds; nothing per media packet but `is_known_source`,
//! a scan of at most eight tuples.
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
use crate::ice::{FullAgent, IceEvent, LiteAgent};
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
    /// What `close` leaves to be sent.
    farewell: VecDeque<(Destination, Vec<u8>)>,
}

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
    /// The first check with the credentials of a restart was seen (server) or answered (client); the old
    /// ones are forgotten.
    IceRestarted,
}

#[derive(Debug)]
enum Path {
    Lite(Box<LiteAgent>),
    Full(Box<FullAgent>),
    /// A client that was given an address or credentials ICE cannot use.
    None(IceParameters),
}

#[derive(Debug)]
enum Dtls {
    /// `connect` was not called; keeps a ClientHello that comes too early.
    Waiting(HelloAssembly),
    /// `connect` was called, but there is no path.
    Ready {
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
        hello: HelloAssembly,
    },
    Running(Box<Session>),
    Closed,
}

impl Link {
    /// The server's side: ICE-lite. `candidates` are only kept to be announced.
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

    /// The client's side over UDP: full ICE, controlling. It sends by `SocketId::udp_for(&local)`.
    ///
    /// `dtls_role` is what it announces; with `Auto` it takes what the server leaves it.
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

    /// One side of a peer-to-peer path over UDP: full ICE; the offerer is controlling, the answerer is not.
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

    /// The client's side over any socket; a TCP connection (`socket.is_tcp()`) uses the TCP candidates.
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

    /// Our ICE credentials; after `restart_ice` the fresh ones.
    pub fn ice_parameters(&self) -> &IceParameters {
        match &self.path {
            Path::Lite(agent) => agent.parameters(),
            Path::Full(agent) => agent.parameters(),
            Path::None(parameters) => parameters,
        }
    }

    /// The candidates to announce.
    pub fn candidates(&self) -> &[IceCandidate] {
        &self.candidates
    }

    /// The certificate given at the start.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The one or two username fragments that belong to this link, for the first contact of a client.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        let (lite, other) = match &self.path {
            Path::Lite(agent) => (Some(agent.username_fragments()), None),
            _ => (None, Some(self.ice_parameters().username_fragment.as_str())),
        };
        lite.into_iter().flatten().chain(other)
    }

    /// Where media goes.
    pub fn selected(&self) -> Option<Destination> {
        match &self.path {
            _ if self.failed => None,
            Path::Lite(agent) => agent.selected(),
            Path::Full(agent) => agent.selected(),
            Path::None(_) => None,
        }
    }

    /// Tells whether a check has validated this source; media from elsewhere is to be dropped.
    pub fn is_known_source(&self, from: &Destination) -> bool {
        match &self.path {
            _ if self.failed => false,
            Path::Lite(agent) => agent.is_known(from),
            Path::Full(agent) => agent.is_known(from),
            Path::None(_) => false,
        }
    }

    /// State of the path.
    pub fn ice_state(&self) -> IceState {
        match &self.path {
            Path::Lite(agent) => agent.state(),
            Path::Full(agent) => agent.state(),
            Path::None(_) => IceState::Disconnected,
        }
    }

    /// State of the DTLS association.
    pub fn dtls_state(&self) -> DtlsState {
        match &self.dtls {
            Dtls::Waiting(_) | Dtls::Ready { .. } => DtlsState::New,
            Dtls::Running(session) => session.state(),
            Dtls::Closed => DtlsState::Closed,
        }
    }

    /// The DTLS version agreed on, once it is.
    pub fn dtls_version(&self) -> Option<DtlsVersion> {
        match &self.dtls {
            Dtls::Running(session) => session.version(),
            _ => None,
        }
    }

    /// Client side: who to check. A call with other credentials restarts ICE; the old path is used until
    /// the new checks succeed. Ignored on the server's side, which never checks.
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

    /// Gives the peer's role and fingerprints, once, and tells our role.
    ///
    /// Against a peer that leaves the choice to us we are the client. DTLS starts as soon as there is a path.
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

    /// Server side: `fresh` and the old credentials are both valid until the first check with `fresh`;
    /// DTLS and SRTP go on. Ignored on the client's side, whose restart is `set_remote_ice`.
    pub fn restart_ice(&mut self, fresh: IceParameters, _now: Instant) {
        if let Path::Lite(agent) = &mut self.path {
            agent.restart(fresh);
        }
    }

    /// Takes a STUN or DTLS datagram; anything else is ignored. Never panics on what a peer sends.
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
                    // No key proves anything yet, but what the client sends by is where it hears.
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

    /// Server side: the peer, proven by its keys, sent by this source; media goes there from now on.
    pub fn on_authenticated_media(&mut self, from: &Destination, now: Instant) {
        if let Path::Lite(agent) = &mut self.path {
            agent.on_authenticated_media(from, now);
        }
        self.advance(now);
    }

    /// Server side: forgets a destination whose TCP connection is gone; another tuple takes over if there is one.
    pub fn remove_destination(&mut self, destination: &Destination, now: Instant) {
        if let Path::Lite(agent) = &mut self.path {
            agent.remove(destination);
        }
        self.advance(now);
    }

    /// Does what is due at `now`.
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

    /// When `handle_timeout` must be called next. Ask after every other call.
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

    /// Writes the next datagram to send into `buf` (at least 2048 bytes) and tells its length and destination.
    ///
    /// A datagram that does not fit is dropped; it will be sent again like one lost on the way.
    pub fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<(usize, Destination)> {
        loop {
            let (to, datagram) = self.next_datagram()?;
            if let Some(room) = buf.get_mut(..datagram.len()) {
                room.copy_from_slice(&datagram);
                return Some((datagram.len(), to));
            }
        }
    }

    /// The next event. Ask after every other call.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Says goodbye (close_notify) and stops; what is left to send is fetched by `poll_transmit`. Idempotent.
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

    /// Starts DTLS when both of its conditions are there, and carries the news out.
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

/// Our username fragment in a STUN binding request (the part of USERNAME before the colon), for the first
/// contact of a client. Nothing is verified yet.
pub fn username_of(stun: &[u8]) -> Option<&str> {
    crate::ice::username_of(stun)
}
