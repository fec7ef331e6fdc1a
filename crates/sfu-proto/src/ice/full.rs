//! The full ICE agent: sends checks, and nominates when controlling. Used by bots.
//!
//! # Job
//! Adapts the agent of `is` to one local address and to `Destination`. Signalling decides when to restart; `link`
//! handles what is sent over the path.
//!
//! # Invariants
//! - The selected destination stays until a check on another pair was answered, also across a restart.
//! - Credentials reach `is` only after they were checked: it panics on usernames over 128 bytes.
//!
//! # Cost
//! `is` allocates per check; a bot makes one every three seconds.
//!
//! # Left out
//! Candidates other than the one host address, TURN, and nomination by anything but priority.
//!
//! RFC 8445 §7.2 (sending checks), §8.1.1 (nomination).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use is::stun::{StunMessage, StunPacket};
use is::{
    Candidate, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol, Sha1HmacProvider,
};

use super::stun::{check_credentials, sha1_hmac};
use super::{IceCandidate, IceError, IceEvent, IceParameters, IceProtocol, IceState};
use crate::net::{Destination, SocketId};

/// A full agent with one local address; controlling unless told otherwise.
#[derive(Debug)]
pub struct FullAgent {
    agent: IceAgent,
    parameters: IceParameters,
    remote: Option<IceCreds>,
    local: SocketAddr,
    socket: SocketId,
    state: IceState,
    selected: Option<Destination>,
    /// A restart is in progress: the next selection is the first with the new credentials.
    restarting: bool,
    closed: bool,
    events: VecDeque<IceEvent>,
    next_timeout: Option<Instant>,
}

impl FullAgent {
    /// Creates an agent at `local`, over TCP if `socket` is a TCP connection, over UDP otherwise.
    pub fn new(
        parameters: IceParameters,
        local: SocketAddr,
        socket: SocketId,
    ) -> Result<FullAgent, IceError> {
        check_credentials(&parameters.username_fragment, &parameters.password)?;
        let credentials = IceCreds {
            ufrag: parameters.username_fragment.clone(),
            pass: parameters.password.clone(),
        };
        let mut agent = IceAgent::with_hmac(credentials, &AwsLcHmac);
        agent.set_controlling(true);
        agent.set_max_stun_retransmits(UNANSWERED);
        let candidate =
            Candidate::host(local, protocol_of(socket)).map_err(|_| IceError::LocalAddress)?;
        agent.add_local_candidate(candidate);
        Ok(FullAgent {
            agent,
            parameters,
            remote: None,
            local,
            socket,
            state: IceState::New,
            selected: None,
            restarting: false,
            closed: false,
            events: VecDeque::new(),
            next_timeout: None,
        })
    }

    /// Makes this agent controlled: the peer nominates. Between two full agents that is the answerer (RFC 8445
    /// §6.1.1). Call it before there is a remote.
    pub fn set_controlled(&mut self) {
        self.agent.set_controlling(false);
    }

    /// Returns our credentials.
    pub fn parameters(&self) -> &IceParameters {
        &self.parameters
    }

    /// Starts checking `candidates`. Other credentials than before restart ICE; the old path is used until the new
    /// checks succeed.
    pub fn set_remote(
        &mut self,
        remote: &IceParameters,
        candidates: &[IceCandidate],
        now: Instant,
    ) -> Result<(), IceError> {
        check_credentials(&remote.username_fragment, &remote.password)?;
        let credentials = IceCreds {
            ufrag: remote.username_fragment.clone(),
            pass: remote.password.clone(),
        };
        if self
            .remote
            .as_ref()
            .is_some_and(|known| *known != credentials)
        {
            self.agent
                .ice_restart(self.agent.local_credentials().clone(), true);
            self.restarting = true;
        }
        self.agent.set_remote_credentials(credentials.clone());
        self.remote = Some(credentials);
        let ours = if self.socket.is_tcp() {
            IceProtocol::Tcp
        } else {
            IceProtocol::Udp
        };
        for candidate in candidates
            .iter()
            .filter(|candidate| candidate.protocol == ours)
        {
            let address = SocketAddr::new(candidate.address, candidate.port);
            // Skip addresses that cannot be sent to, as browsers do.
            if let Ok(candidate) = Candidate::host(address, protocol_of(self.socket)) {
                self.agent.add_remote_candidate(candidate);
            }
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Handles a STUN datagram: answers to our checks, and checks of a full peer.
    pub fn handle(&mut self, datagram: &[u8], from: Destination, now: Instant) {
        if self.closed || from.socket != self.socket {
            return;
        }
        let Ok(message) = StunMessage::parse(datagram) else {
            return;
        };
        let packet = StunPacket {
            proto: protocol_of(self.socket),
            source: from.remote,
            destination: self.local,
            message,
        };
        if self.agent.handle_packet(now, packet) {
            self.after(now);
        }
    }

    /// Returns whether a check of this destination was answered, or media goes there.
    pub fn is_known(&self, from: &Destination) -> bool {
        self.selected == Some(*from)
            || (from.socket == self.socket && self.agent.has_viable_remote_candidate(from.remote))
    }

    /// Sends the checks that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.agent.handle_timeout(now);
        self.after(now);
    }

    /// Returns when the next check is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timeout
    }

    /// Returns the next check or answer to send.
    pub fn poll_transmit(&mut self) -> Option<(Destination, Vec<u8>)> {
        let transmit = self.agent.poll_transmit()?;
        let to = Destination {
            socket: self.socket,
            remote: transmit.destination,
        };
        Some((to, transmit.contents.into()))
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }

    /// Returns the destination of media.
    pub fn selected(&self) -> Option<Destination> {
        self.selected
    }

    /// Returns the state of the path.
    pub fn state(&self) -> IceState {
        self.state
    }

    /// Stops checking.
    pub fn close(&mut self) {
        self.closed = true;
        self.next_timeout = None;
        self.selected = None;
        self.set_state(IceState::Closed);
        while self.agent.poll_transmit().is_some() {}
    }

    fn after(&mut self, _now: Instant) {
        while let Some(event) = self.agent.poll_event() {
            match event {
                IceAgentEvent::NominatedSend { destination, .. } => self.nominated(destination),
                IceAgentEvent::IceConnectionStateChange(state) => self.changed(state),
                _ => {}
            }
        }
        // Without a remote, `is` would only ask for timers that do nothing.
        self.next_timeout = self
            .remote
            .is_some()
            .then(|| self.agent.poll_timeout())
            .flatten();
        if self.state == IceState::Disconnected {
            self.next_timeout = None;
        }
    }

    fn nominated(&mut self, remote: SocketAddr) {
        let destination = Destination {
            socket: self.socket,
            remote,
        };
        if std::mem::take(&mut self.restarting) {
            self.events.push_back(IceEvent::Restarted);
        }
        if self.selected != Some(destination) {
            self.selected = Some(destination);
            self.events.push_back(IceEvent::Selected(destination));
        }
    }

    fn changed(&mut self, state: IceConnectionState) {
        match state {
            // A restart sets `is` back to checking, but the old path is still in use.
            IceConnectionState::New | IceConnectionState::Checking => {}
            IceConnectionState::Connected => self.set_state(IceState::Connected),
            IceConnectionState::Completed => self.set_state(IceState::Completed),
            IceConnectionState::Disconnected => {
                let lost = self.selected.take().is_some();
                self.set_state(IceState::Disconnected);
                self.events.push_back(if lost {
                    IceEvent::ConsentLost
                } else {
                    IceEvent::Unreachable
                });
            }
        }
    }

    fn set_state(&mut self, state: IceState) {
        if self.state != state {
            self.state = state;
            self.events.push_back(IceEvent::State(state));
        }
    }
}

fn protocol_of(socket: SocketId) -> Protocol {
    if socket.is_tcp() {
        Protocol::Tcp
    } else {
        Protocol::Udp
    }
}

/// Unanswered checks in a row until a pair fails: 30 s at the pace of `is`, the consent time.
const UNANSWERED: usize = 12;

#[derive(Debug)]
struct AwsLcHmac;

impl Sha1HmacProvider for AwsLcHmac {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        sha1_hmac(key, payloads)
    }
}
