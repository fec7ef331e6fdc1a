//! The server side of ICE: answers checks, keeps their sources, and never sends checks.
//!
//! # Job
//! Verifies binding requests, answers them, and selects the tuple media is sent to. Authenticating the peer belongs
//! to `dtls`.
//!
//! # Why not the agent of `is`
//! Its STUN codec is used; its lite agent is not, because it answers nothing until the peer's password is known (our
//! signalling never carries it), keeps a nominated pair over a new one of the same priority for 15 seconds (a client
//! that changes its address would get no media), fails after a fixed 15 seconds, and keeps every remote address it
//! ever saw.
//!
//! # Invariants
//! - Only a request with a valid MESSAGE-INTEGRITY changes anything or is answered.
//! - At most [`MAX_TUPLES`] tuples and [`MAX_REPLIES`] queued answers.
//! - The selected tuple is one of the tuples.
//! - Media outweighs nomination: a tuple that media contradicted is not selected by nomination until media arrives
//!   from it.
//!
//! # Cost
//! A check is one parse, one or two HMACs and one small allocation for the answer.
//!
//! # Left out
//! FINGERPRINT is not required; the renomination attribute is ignored (clients send USE-CANDIDATE too); wrong
//! credentials are dropped, not answered with 401, so that our answers cannot be used to flood others.
//!
//! RFC 8445 §7.3 (responding to checks), §2.5 (lite); RFC 7675 (consent).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use is::stun::StunMessage;

use super::stun::sha1_hmac;
use super::{IceEvent, IceParameters, IceRefusal, IceState};
use crate::net::Destination;

/// Media moves the selection at most once in this time, however its packets are reordered.
const MOVE_INTERVAL: Duration = Duration::from_millis(100);
/// Tuples kept per transport; the one without a check for longest is replaced.
pub const MAX_TUPLES: usize = 8;
/// Answers queued for `poll_transmit`.
pub const MAX_REPLIES: usize = 32;
/// Without a check for this long the path is lost (RFC 7675 §5.1), until the next check.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A selected tuple without a check for this long is replaced by one with checks, nominated or not: behind a NAT that
/// changed its mapping, some clients nominate only once.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// A controlled agent that only answers checks.
#[derive(Debug)]
pub struct LiteAgent {
    current: IceParameters,
    /// Valid beside `current` until the first check with `current`.
    previous: Option<IceParameters>,
    state: IceState,
    tuples: Vec<Tuple>,
    selected: Option<Destination>,
    /// The latest check on any tuple; consent is counted from it.
    last_check: Option<Instant>,
    /// When media last moved the selection.
    moved_at: Option<Instant>,
    replies: VecDeque<(Destination, Vec<u8>)>,
    events: VecDeque<IceEvent>,
}

#[derive(Clone, Copy, Debug)]
struct Tuple {
    destination: Destination,
    last_check: Instant,
    /// It was selected, but the peer sent by another tuple.
    doubted: bool,
}

impl LiteAgent {
    /// Creates an agent with `parameters` as its credentials.
    pub fn new(parameters: IceParameters) -> LiteAgent {
        LiteAgent {
            current: parameters,
            previous: None,
            state: IceState::New,
            tuples: Vec::new(),
            selected: None,
            last_check: None,
            moved_at: None,
            replies: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns the newest credentials.
    pub fn parameters(&self) -> &IceParameters {
        &self.current
    }

    /// Returns the username fragments that checks may carry.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(self.previous.as_ref())
            .map(|p| p.username_fragment.as_str())
    }

    /// Makes `fresh` valid beside the credentials in use.
    ///
    /// Called again before `fresh` was used, it replaces `fresh`: what the client uses stays valid.
    pub fn restart(&mut self, fresh: IceParameters) {
        let replaced = std::mem::replace(&mut self.current, fresh);
        self.previous.get_or_insert(replaced);
    }

    /// Handles a STUN datagram; everything but a valid binding request is ignored.
    pub fn handle(&mut self, datagram: &[u8], from: Destination, now: Instant) {
        if self.state == IceState::Closed {
            return;
        }
        let Ok(message) = StunMessage::parse(datagram) else {
            return;
        };
        if !message.is_binding_request() {
            return;
        }
        let Some((fragment, _)) = message.split_username() else {
            return;
        };
        let with_current = fragment == self.current.username_fragment;
        let credentials = match &self.previous {
            _ if with_current => &self.current,
            Some(previous) if fragment == previous.username_fragment => previous,
            _ => return,
        };
        let password = credentials.password.as_bytes();
        if !message.verify(password, sha1_hmac) {
            self.events
                .push_back(IceEvent::Refused(IceRefusal::WrongPassword));
            return;
        }
        if message.ice_controlled().is_some() {
            // A lite agent is always controlled, so the other side must switch (RFC 8445 §7.3.1.1).
            let conflict = StunMessage::binding_role_conflict_reply(message.trans_id());
            let reply = encode(conflict, password);
            self.queue(from, reply);
            self.events
                .push_back(IceEvent::Refused(IceRefusal::RoleConflict));
            return;
        }
        let reply = encode(
            StunMessage::binding_reply(message.trans_id(), from.remote),
            password,
        );
        self.queue(from, reply);
        if with_current && self.previous.take().is_some() {
            self.events.push_back(IceEvent::Restarted);
        }
        self.record(from, now);
        self.choose(from, message.use_candidate(), now);
    }

    /// Returns whether a check came from this source within the consent time.
    pub fn is_known(&self, from: &Destination) -> bool {
        self.tuples.iter().any(|tuple| tuple.destination == *from)
    }

    /// Authenticated media arrived from this tuple, so answers reach the peer there: selects it. A client that gets
    /// no answers on one tuple keeps nominating it and sends by another.
    pub fn on_authenticated_media(&mut self, from: &Destination, now: Instant) {
        let settling = self.moved_at.is_some_and(|at| now < at + MOVE_INTERVAL);
        if self.selected == Some(*from) || settling || !self.is_known(from) {
            return;
        }
        self.moved_at = Some(now);
        for tuple in &mut self.tuples {
            if tuple.destination == *from {
                tuple.doubted = false;
            } else if Some(tuple.destination) == self.selected {
                tuple.doubted = true;
            }
        }
        self.select(*from);
    }

    /// Forgets a tuple whose connection has closed.
    pub fn remove(&mut self, destination: &Destination) {
        self.tuples
            .retain(|tuple| tuple.destination != *destination);
        if self.selected == Some(*destination) {
            self.selected = None;
            if let Some(freshest) = self.tuples.iter().max_by_key(|tuple| tuple.last_check) {
                self.select(freshest.destination);
            }
        }
    }

    /// Stops sending when the consent time has passed without a check, and forgets all tuples. The next valid check,
    /// with the credentials in use or those of a restart, opens a path again.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| now >= due) {
            self.tuples.clear();
            self.selected = None;
            self.set_state(IceState::Disconnected);
        }
    }

    /// Returns when the consent time ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !matches!(self.state, IceState::Connected | IceState::Completed) {
            return None;
        }
        self.last_check.map(|at| at + CONSENT_TIMEOUT)
    }

    /// Returns the next answer to send.
    pub fn poll_transmit(&mut self) -> Option<(Destination, Vec<u8>)> {
        self.replies.pop_front()
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

    /// Stops answering.
    pub fn close(&mut self) {
        self.set_state(IceState::Closed);
        self.tuples.clear();
        self.selected = None;
        self.replies.clear();
    }

    fn record(&mut self, from: Destination, now: Instant) {
        self.last_check = Some(now);
        let selected = self.selected;
        self.tuples.retain(|tuple| {
            Some(tuple.destination) == selected
                || now.duration_since(tuple.last_check) < CONSENT_TIMEOUT
        });
        if let Some(tuple) = self
            .tuples
            .iter_mut()
            .find(|tuple| tuple.destination == from)
        {
            tuple.last_check = now;
            return;
        }
        if self.tuples.len() >= MAX_TUPLES {
            let oldest = (self.tuples.iter().enumerate())
                .filter(|(_, tuple)| Some(tuple.destination) != selected)
                .min_by_key(|(_, tuple)| tuple.last_check)
                .map(|(index, _)| index);
            if let Some(index) = oldest {
                self.tuples.swap_remove(index);
            }
        }
        self.tuples.push(Tuple {
            destination: from,
            last_check: now,
            doubted: false,
        });
    }

    fn choose(&mut self, from: Destination, nominated: bool, now: Instant) {
        let stale = match self.selected {
            None => true,
            Some(selected) => (self.tuples.iter())
                .find(|tuple| tuple.destination == selected)
                .is_none_or(|tuple| now.duration_since(tuple.last_check) >= STALE_AFTER),
        };
        let doubted = self
            .tuples
            .iter()
            .any(|tuple| tuple.destination == from && tuple.doubted);
        if stale || nominated && !doubted {
            self.select(from);
        }
        if nominated {
            self.set_state(IceState::Completed);
        } else if matches!(self.state, IceState::New | IceState::Disconnected) {
            self.set_state(IceState::Connected);
        }
    }

    fn select(&mut self, destination: Destination) {
        if self.selected != Some(destination) {
            self.selected = Some(destination);
            self.events.push_back(IceEvent::Selected(destination));
        }
    }

    fn set_state(&mut self, state: IceState) {
        if self.state != state {
            self.state = state;
            self.events.push_back(IceEvent::State(state));
        }
    }

    fn queue(&mut self, to: Destination, reply: Vec<u8>) {
        if self.replies.len() >= MAX_REPLIES {
            self.replies.pop_front();
        }
        self.replies.push_back((to, reply));
    }
}

/// Size of an answer: at most 20 + 24 (address or error) + 24 (integrity) + 8 (fingerprint).
fn encode(message: StunMessage<'_>, password: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 128];
    let length = message
        .to_bytes(Some(password), &mut buffer, sha1_hmac)
        .expect("invariant: an answer is shorter than 128 bytes");
    buffer[..length].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::SocketId;
    use is::stun::{StunMessageBuilder, TransId};

    const OURS: &str = "serverfragment";
    const PASSWORD: &str = "serverpasswordserverpassword";

    fn parameters(fragment: &str, password: &str) -> IceParameters {
        IceParameters {
            username_fragment: fragment.into(),
            password: password.into(),
            ice_lite: true,
        }
    }

    fn from(port: u16) -> Destination {
        Destination {
            socket: SocketId::UDP_V4,
            remote: ([192, 0, 2, 1], port).into(),
        }
    }

    fn check(fragment: &str, password: &str, nominate: bool) -> Vec<u8> {
        let username = format!("{fragment}:client");
        let message =
            StunMessage::binding_request(&username, TransId::new(), true, 7, 100, nominate);
        let mut buffer = [0; 256];
        let length = message
            .to_bytes(Some(password.as_bytes()), &mut buffer, sha1_hmac)
            .unwrap();
        buffer[..length].to_vec()
    }

    fn agent() -> LiteAgent {
        LiteAgent::new(parameters(OURS, PASSWORD))
    }

    fn events(agent: &mut LiteAgent) -> Vec<IceEvent> {
        std::iter::from_fn(|| agent.poll_event()).collect()
    }

    fn replies(agent: &mut LiteAgent) -> usize {
        std::iter::from_fn(|| agent.poll_transmit()).count()
    }

    #[test]
    fn the_first_valid_check_selects_and_nomination_completes() {
        let (mut agent, now) = (agent(), Instant::now());
        agent.handle(&check(OURS, PASSWORD, false), from(1), now);
        assert_eq!(
            events(&mut agent),
            [
                IceEvent::Selected(from(1)),
                IceEvent::State(IceState::Connected)
            ]
        );
        agent.handle(&check(OURS, PASSWORD, false), from(2), now);
        assert_eq!(events(&mut agent), []);
        agent.handle(&check(OURS, PASSWORD, true), from(2), now);
        assert_eq!(
            events(&mut agent),
            [
                IceEvent::Selected(from(2)),
                IceEvent::State(IceState::Completed)
            ]
        );
        assert_eq!(replies(&mut agent), 3);
    }

    #[test]
    fn the_answer_carries_the_address_seen_and_verifies() {
        let (mut agent, now) = (agent(), Instant::now());
        let six = Destination {
            socket: SocketId::UDP_V6,
            remote: "[2001:db8::7]:4242".parse().unwrap(),
        };
        for source in [from(4711), six] {
            agent.handle(&check(OURS, PASSWORD, true), source, now);
            let (to, bytes) = agent.poll_transmit().unwrap();
            let answer = StunMessage::parse(&bytes).unwrap();
            assert_eq!(to, source);
            assert!(answer.is_successful_binding_response());
            assert_eq!(answer.mapped_address(), Some(source.remote));
            assert!(answer.verify(PASSWORD.as_bytes(), sha1_hmac));
        }
    }

    #[test]
    fn wrong_fragments_passwords_and_classes_are_ignored() {
        let (mut agent, now) = (agent(), Instant::now());
        agent.handle(&check("other", PASSWORD, true), from(1), now);
        agent.handle(
            &check(OURS, "wrongwrongwrongwrongwrong", true),
            from(1),
            now,
        );
        let mut tampered = check(OURS, PASSWORD, true);
        tampered[30] ^= 1;
        agent.handle(&tampered, from(1), now);
        let refused = IceEvent::Refused(IceRefusal::WrongPassword);
        assert_eq!(
            (events(&mut agent), replies(&mut agent), agent.state()),
            (vec![refused], 0, IceState::New)
        );
        assert!(!agent.is_known(&from(1)));
    }

    #[test]
    fn a_controlled_peer_gets_487_and_changes_nothing() {
        let (mut agent, now) = (agent(), Instant::now());
        let message =
            StunMessage::binding_request("serverfragment:x", TransId::new(), false, 7, 100, false);
        let mut buffer = [0; 256];
        let length = message
            .to_bytes(Some(PASSWORD.as_bytes()), &mut buffer, sha1_hmac)
            .unwrap();
        agent.handle(&buffer[..length], from(1), now);
        let (_, bytes) = agent.poll_transmit().unwrap();
        let answer = StunMessage::parse(&bytes).unwrap();
        assert_eq!(answer.error_code().map(|(code, _)| code), Some(487));
        assert_eq!((agent.state(), agent.selected()), (IceState::New, None));
    }

    #[test]
    fn a_request_without_a_role_is_taken_as_from_a_controlling_peer() {
        let (mut agent, now) = (agent(), Instant::now());
        let message = StunMessageBuilder::new()
            .binding()
            .request()
            .username("serverfragment:x")
            .prio(1)
            .build(TransId::new());
        let mut buffer = [0; 256];
        let length = message
            .to_bytes(Some(PASSWORD.as_bytes()), &mut buffer, sha1_hmac)
            .unwrap();
        agent.handle(&buffer[..length], from(1), now);
        assert_eq!(agent.state(), IceState::Connected);
    }

    #[test]
    fn after_restart_both_credentials_work_until_the_new_ones_are_used() {
        let (mut agent, now) = (agent(), Instant::now());
        agent.handle(&check(OURS, PASSWORD, true), from(1), now);
        let fresh = "freshpasswordfreshpassword";
        agent.restart(parameters("unused", fresh));
        agent.restart(parameters("fresh", fresh));
        assert_eq!(
            agent.username_fragments().collect::<Vec<_>>(),
            ["fresh", OURS]
        );
        events(&mut agent);
        replies(&mut agent);
        agent.handle(&check(OURS, PASSWORD, false), from(1), now);
        assert_eq!((events(&mut agent).len(), replies(&mut agent)), (0, 1));
        agent.handle(&check("fresh", fresh, false), from(2), now);
        assert_eq!(
            (events(&mut agent), replies(&mut agent)),
            (vec![IceEvent::Restarted], 1)
        );
        agent.handle(&check(OURS, PASSWORD, true), from(3), now);
        assert_eq!((events(&mut agent), replies(&mut agent)), (vec![], 0));
        assert_eq!(agent.username_fragments().collect::<Vec<_>>(), ["fresh"]);
    }

    #[test]
    fn the_tuple_that_carried_authentic_media_last_wins_over_one_that_is_only_nominated() {
        let (mut agent, mut now) = (agent(), Instant::now());
        let (udp, tcp) = (from(1), from(2));
        let nominate = |agent: &mut LiteAgent, from, now| {
            agent.handle(&check(OURS, PASSWORD, true), from, now);
            agent.selected()
        };
        // No answer reaches the client by the first tuple, so it keeps nominating it and sends by the second.
        assert_eq!(nominate(&mut agent, tcp, now), Some(tcp));
        assert_eq!(
            nominate(&mut agent, udp, now),
            Some(udp),
            "media has not contradicted it yet"
        );
        agent.on_authenticated_media(&tcp, now);
        assert_eq!(agent.selected(), Some(tcp));
        for _ in 0..20 {
            now += Duration::from_secs(1);
            assert_eq!(nominate(&mut agent, udp, now), Some(tcp));
            assert_eq!(nominate(&mut agent, tcp, now), Some(tcp));
        }
        // The first tuple works again: the client sends by it.
        agent.on_authenticated_media(&udp, now);
        assert_eq!(agent.selected(), Some(udp));
        assert_eq!(nominate(&mut agent, tcp, now), Some(udp));
        // A new path can be nominated without media, and media from an unknown source changes nothing.
        assert_eq!(nominate(&mut agent, from(3), now), Some(from(3)));
        now += MOVE_INTERVAL;
        agent.on_authenticated_media(&from(9), now);
        assert_eq!(agent.selected(), Some(from(3)));
        // Packets by both tuples at once move the selection once.
        now += MOVE_INTERVAL;
        events(&mut agent);
        for step in 0..50 {
            agent.on_authenticated_media(&[udp, tcp][step % 2], now);
        }
        assert_eq!(events(&mut agent), [IceEvent::Selected(udp)]);
    }

    #[test]
    fn a_contradicted_tuple_is_selected_over_a_silent_one() {
        let (mut agent, now) = (agent(), Instant::now());
        for from in [from(1), from(2)] {
            agent.handle(&check(OURS, PASSWORD, true), from, now);
        }
        agent.on_authenticated_media(&from(1), now);
        let later = now + STALE_AFTER;
        agent.handle(&check(OURS, PASSWORD, true), from(2), later);
        assert_eq!(agent.selected(), Some(from(2)));
    }

    #[test]
    fn tuples_are_bounded_and_the_selected_one_stays() {
        let (mut agent, now) = (agent(), Instant::now());
        agent.handle(&check(OURS, PASSWORD, true), from(1), now);
        for port in 2..100 {
            agent.handle(
                &check(OURS, PASSWORD, false),
                from(port),
                now + Duration::from_millis(port.into()),
            );
        }
        assert_eq!(agent.tuples.len(), MAX_TUPLES);
        assert_eq!(replies(&mut agent), MAX_REPLIES);
        assert!(
            agent.is_known(&from(1)) && agent.is_known(&from(99)) && !agent.is_known(&from(50))
        );
        assert_eq!(agent.selected(), Some(from(1)));
    }

    #[test]
    fn a_silent_selected_tuple_is_replaced_without_nomination() {
        let (mut agent, now) = (agent(), Instant::now());
        agent.handle(&check(OURS, PASSWORD, true), from(1), now);
        agent.handle(
            &check(OURS, PASSWORD, false),
            from(2),
            now + STALE_AFTER / 2,
        );
        assert_eq!(agent.selected(), Some(from(1)));
        agent.handle(&check(OURS, PASSWORD, false), from(2), now + STALE_AFTER);
        assert_eq!(
            (agent.selected(), agent.state()),
            (Some(from(2)), IceState::Completed)
        );
    }

    #[test]
    fn thirty_seconds_without_a_check_end_consent() {
        let (mut agent, now) = (agent(), Instant::now());
        assert_eq!(agent.poll_timeout(), None);
        agent.handle(&check(OURS, PASSWORD, true), from(1), now);
        let later = now + Duration::from_secs(20);
        agent.handle(&check(OURS, PASSWORD, false), from(1), later);
        events(&mut agent);
        agent.handle_timeout(later + CONSENT_TIMEOUT - Duration::from_millis(1));
        assert_eq!(events(&mut agent), []);
        assert_eq!(agent.poll_timeout(), Some(later + CONSENT_TIMEOUT));
        agent.handle_timeout(later + CONSENT_TIMEOUT);
        assert_eq!(
            events(&mut agent),
            [IceEvent::State(IceState::Disconnected)]
        );
        assert_eq!((agent.selected(), agent.poll_timeout()), (None, None));
        assert!(!agent.is_known(&from(1)));
    }

    #[test]
    fn after_the_path_is_lost_a_restart_or_the_client_itself_opens_another() {
        let (mut agent, now) = (agent(), Instant::now());
        let mut later = now;
        agent.handle(&check(OURS, PASSWORD, true), from(1), later);
        for (fragment, nominate, state) in [
            (OURS, false, IceState::Connected),
            ("fresh", true, IceState::Completed),
        ] {
            later += CONSENT_TIMEOUT;
            agent.handle_timeout(later);
            assert_eq!(agent.state(), IceState::Disconnected);
            // Hours later.
            later += Duration::from_secs(7200);
            if fragment == "fresh" {
                agent.restart(parameters("fresh", PASSWORD));
            }
            agent.handle(&check(fragment, PASSWORD, nominate), from(2), later);
            assert_eq!((agent.state(), agent.selected()), (state, Some(from(2))));
            assert_eq!(agent.poll_timeout(), Some(later + CONSENT_TIMEOUT));
        }
    }

    #[test]
    fn a_lost_connection_hands_over_to_the_freshest_tuple_and_consent_still_runs_out() {
        let (mut agent, now) = (agent(), Instant::now());
        agent.handle(&check(OURS, PASSWORD, true), from(1), now);
        agent.handle(
            &check(OURS, PASSWORD, false),
            from(2),
            now + Duration::from_secs(1),
        );
        agent.remove(&from(1));
        assert_eq!(agent.selected(), Some(from(2)));
        agent.remove(&from(2));
        assert_eq!(agent.selected(), None);
        assert_eq!(
            agent.poll_timeout(),
            Some(now + Duration::from_secs(1) + CONSENT_TIMEOUT)
        );
        agent.handle(
            &check(OURS, PASSWORD, false),
            from(3),
            now + Duration::from_secs(2),
        );
        assert_eq!(agent.selected(), Some(from(3)));
    }
}
