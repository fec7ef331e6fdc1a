"""Socket.IO of the media server: handlers of clients' events, and events of rooms to the sockets that follow them.

The events are declared in messages.py, their payloads are made in representation.py, connections and their limits are in
edge/socketio_server.py.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.cors import Origins
from meeshy_sfu.edge.event_table import PayloadT, ServerEvent, handles_event
from meeshy_sfu.edge.limits import RateLimiter
from meeshy_sfu.edge.socketio_dispatch import SocketSession
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.edge.socketio_service import Connection, SocketService
from meeshy_sfu.edge.wire import ErrorBody, Nothing
from meeshy_sfu.errors import (
    ConsumerNotFoundError,
    ForbiddenError,
    KickedError,
    UnauthorizedError,
)
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ConsumerId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.rooms import ownership
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.participant import REPLACED, Participant, ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from meeshy_sfu.server import messages, representation
from meeshy_sfu.server.auth import Claims, read_token
from meeshy_sfu.server.expiry import REASON as TOKEN_EXPIRED
from meeshy_sfu.server.expiry import Expiry
from meeshy_sfu.server.metrics import Metrics
from meeshy_sfu.server.quotas import Quotas
from meeshy_sfu.server.representation import owned_data
from meeshy_sfu.server.schemas import Owned

logger = logging.getLogger(__name__)

ROOM_REASONS = {
    "the last participant left": "empty",
    "worker died": "worker-died",
    "worker closed": "server-shutdown",
    "nobody came": "empty",
}
"""Reasons of rooms, and the words that clients compare."""


@dataclass(slots=True, kw_only=True)
class Session(SocketSession):
    """One socket with a valid token."""

    claims: Claims
    call_id: str | None = None
    """The call it has joined."""
    participant_id: str | None = None
    replaced_in: str | None = None
    """The call in which another session took its place."""
    left: str | None = None
    """The call it has left; to leave it again changes nothing."""
    watched: set[str] = field(default_factory=set)
    """The calls a service hears of; it may hear of many."""
    expired: bool = False
    """Its token has expired; it was notified and is being closed."""

    @property
    def owner(self) -> str:
        """The participant of a call, or the service."""
        return self.claims.owner

    @property
    def is_service(self) -> bool:
        """Whether it is a service's."""
        return self.claims.is_service


@dataclass(slots=True)
class Audience:
    """The sockets that hear of one call."""

    sids: set[str] = field(default_factory=set)
    speaking: dict[str, str] = field(default_factory=dict)
    """The one socket that speaks for a participant."""
    speaker: tuple[str, str] | None = None
    """Participant and producer that dominate."""


class Signaling(SocketService[Session], RoomListener):
    """Notify sockets of what happens in their calls, and handle their events."""

    def __init__(
        self,
        *,
        settings: Settings,
        rules: TokenRules,
        clock: Clock,
        origins: Origins,
        limiter: RateLimiter,
        quotas: Quotas,
    ) -> None:
        super().__init__(
            events=messages.EVENTS,
            settings=settings,
            rules=rules,
            clock=clock,
            io=SocketServer(settings, origins, clock),
            limiter=limiter,
            quotas=quotas,
            handshakes=quotas.other,
            no_token=UnauthorizedError("this socket has no token"),
        )
        self._rooms: RoomRegistry
        self._expiry: Expiry
        self._audiences: dict[str, Audience] = {}
        self._leaving: dict[tuple[str, str], float] = {}
        self._awaited: dict[tuple[str, str], float] = {}
        """Whose former session has ended while a newer one was coming in, and until when that may begin."""
        self._cut_off: dict[tuple[str, str], float] = {}

    def use(self, *, rooms: RoomRegistry, metrics: Metrics, expiry: Expiry) -> None:
        """Hand over what can only be built once rooms have their listener, which this is."""
        self._rooms = rooms
        self.count_with(metrics)
        self._expiry = expiry

    def sweep(self) -> None:
        """Close sockets whose token ran out, and take out who did not come back; to be called again and again."""
        self._io.sweep()
        for session in tuple(self._sessions.values()):
            if not session.expired and self._expiry.is_over(session.claims):
                session.expired = True
                left = messages.ParticipantLeft(
                    call_id=session.call_id or session.claims.call_id or "",
                    participant_id=session.claims.participant_id or session.claims.subject,
                    reason=TOKEN_EXPIRED,
                )
                self._io.deliver([session.sid], messages.PARTICIPANT_LEFT, left)
                self._io.cut(session.eio_sid)
        now_s = self._clock.monotonic_s()
        for key in [key for key, due_s in self._leaving.items() if now_s >= due_s]:
            del self._leaving[key]
            if participant := self._participant(*key):
                self._end_session(participant, "disconnected")
        for key in [key for key, due_s in self._awaited.items() if now_s >= due_s]:
            del self._awaited[key]
            participant = self._participant(*key)
            if participant is not None and self._speaker(*key) is None and not participant.has_path:
                participant.leave("disconnected")
        for key in [key for key, due_s in self._cut_off.items() if now_s >= due_s]:
            del self._cut_off[key]
            self._leave_cut_off(*key)

    # ---- events from clients -------------------------------------------------------------------------------------

    def open_session(self, token: object, connection: Connection) -> Session:
        """Make the session of a participant or a service."""
        return Session(**connection, claims=self._read_token(token))

    def session_opened(self, session: Session) -> None:
        """Nothing happens before it joins a room."""

    def session_ended(self, session: Session, *, clean: bool) -> None:
        """End what the session owned; without a clean disconnect its participant may come back for a while."""
        call_id, participant_id = session.call_id, session.participant_id
        self._forget(session)
        if call_id is None or participant_id is None:
            return
        participant = self._participant(call_id, participant_id)
        if participant is None:
            return
        if clean or not self._settings.disconnect_grace_s:
            self._end_session(participant, "disconnected")
        else:
            participant.ownership.away()
            self._leaving[call_id, participant_id] = (
                self._clock.monotonic_s() + self._settings.disconnect_grace_s
            )

    def report_error(self, session: Session, event: str, payload: object, error: ErrorBody) -> None:
        """Send `request-error`."""
        refused = messages.RequestError(event=event, error=error)
        self._io.deliver([session.sid], messages.REQUEST_ERROR, refused)

    @handles_event(messages.JOIN_ROOM)
    async def _join_room(
        self, session: Session, request: messages.JoinRoomRequest
    ) -> messages.JoinRoomAnswer:
        session.claims.require_call(request.call_id)
        session.claims.require_participant(request.participant_id)
        room = self._rooms.get(CallId(request.call_id))
        self._expiry.note(session.claims, request.call_id)
        resumed, owned = None, None
        if session.claims.is_service:
            # it follows all events and is no participant; consumers it names are looked for in the call it joined last
            session.watched.add(request.call_id)
            session.call_id = request.call_id
            audience = self._audiences.setdefault(request.call_id, Audience())
        else:
            resumed, owned = self._take_place(session, room, request)
            audience = self._audiences[request.call_id]
        audience.sids.add(session.sid)
        own = None if session.participant_id is None else ParticipantId(session.participant_id)
        existing = room.producers(but=own)
        for participant, producer in existing:
            payload = representation.new_producer(room, participant, producer)
            self._io.deliver([session.sid], messages.NEW_PRODUCER, payload)
        if audience.speaker is not None:
            speaker = representation.active_speaker(room, audience.speaker, [])
            self._io.deliver([session.sid], messages.ACTIVE_SPEAKER, speaker)
        return messages.JoinRoomAnswer(
            room_id=room.id,
            participants=len(room.participants),
            producers=len(existing),
            resumed=resumed,
            owned=owned,
        )

    def _take_place(
        self, session: Session, room: Room, request: messages.JoinRoomRequest
    ) -> tuple[bool, Owned]:
        """Let a session speak for its participant from now on; a former session is notified and replaced.

        Return whether a session was resumed, and what it owns.
        """
        former = self._speaker(request.call_id, request.participant_id)
        again = former is session
        if former is not None and not again:
            self._replace(former, room)
        self._forget(session)
        session.call_id, session.participant_id = request.call_id, request.participant_id
        session.replaced_in = session.left = None
        audience = self._audiences.setdefault(request.call_id, Audience())
        audience.speaking[request.participant_id] = session.sid
        self._leaving.pop((request.call_id, request.participant_id), None)
        self._awaited.pop((request.call_id, request.participant_id), None)
        participant = room.participants.get(ParticipantId(request.participant_id))
        if participant is None:
            return False, owned_data(None)
        resumed = (request.resume and participant.ownership.has_begun) or again
        if not resumed:
            participant.take_over()
        elif not again:
            participant.ownership.resume()
        return resumed, owned_data(participant)

    @handles_event(messages.LEAVE_ROOM)
    async def _leave_room(self, session: Session, request: messages.RoomEventRequest) -> Nothing:
        session.claims.require_call(request.call_id)
        session.claims.require_participant(request.participant_id)
        if session.claims.is_service:
            self._unwatch(session, request.call_id)
            return Nothing()
        speaker = self._speaker(request.call_id, request.participant_id)
        if session.replaced_in == request.call_id or (speaker is not None and speaker is not session):
            raise _kicked()
        self._forget(session)
        participant = self._participant(request.call_id, request.participant_id)
        if participant is not None and speaker is session:
            self._end_session(participant, "left")
        elif participant is not None and session.left != request.call_id:
            # nobody speaks for who has made requests alone
            participant.leave("left")
        session.left = request.call_id
        return Nothing()

    @handles_event(messages.PAUSE_CONSUMER)
    async def _pause_consumer(
        self, session: Session, request: messages.ConsumerEventRequest
    ) -> messages.ConsumerAnswer:
        await self._consumer(session, request).pause()
        return messages.ConsumerAnswer(consumer_id=request.consumer_id)

    @handles_event(messages.RESUME_CONSUMER)
    async def _resume_consumer(
        self, session: Session, request: messages.ConsumerEventRequest
    ) -> messages.ConsumerAnswer:
        await self._consumer(session, request).resume()
        return messages.ConsumerAnswer(consumer_id=request.consumer_id)

    @handles_event(messages.REFRESH_TOKEN)
    async def _refresh_token(
        self, session: Session, request: messages.RefreshTokenRequest
    ) -> messages.RefreshTokenAnswer:
        fresh, former = self._read_token(request.token), session.claims
        if (fresh.call_id, fresh.participant_id, fresh.role) != (
            former.call_id,
            former.participant_id,
            former.role,
        ):
            raise ForbiddenError("the new token is for another call, participant or role")
        session.claims = fresh
        if session.call_id is not None:
            self._expiry.note(fresh, session.call_id)
        return messages.RefreshTokenAnswer(expires_at=fresh.expires_at_s)

    def _consumer(self, session: Session, request: messages.ConsumerEventRequest) -> Consumer:
        if session.replaced_in is not None:
            raise _kicked()
        if session.call_id is None:
            raise ConsumerNotFoundError(f"there is no consumer {request.consumer_id}; join-room first")
        room = self._rooms.get(CallId(session.call_id))
        owner = None if session.claims.is_service else ParticipantId(str(session.claims.participant_id))
        return room.consumer(ConsumerId(request.consumer_id), by=owner)[1]

    # ---- what rooms tell -----------------------------------------------------------------------------------------

    def room_closed(self, room: Room, reason: str) -> None:
        """Notify all sockets of the call that it is over on this server."""
        audience = self._audiences.pop(room.call_id, None)
        if audience is None:
            return
        code = ROOM_REASONS.get(reason.partition(":")[0], reason if " " not in reason else "closed")
        closed = messages.RoomClosed(call_id=room.call_id, room_id=room.id, reason=code)
        self._io.deliver(audience.sids, messages.ROOM_CLOSED, closed)
        for sid in audience.sids:
            if session := self._sessions.get(sid):
                session.watched.discard(room.call_id)
                if session.call_id == room.call_id:
                    session.call_id = session.participant_id = None

    def participant_joined(self, room: Room, participant: Participant) -> None:
        """Notify the others; a participant that was waited for is back, even if the socket is not yet."""
        self._leaving.pop((room.call_id, participant.id), None)
        self._awaited.pop((room.call_id, participant.id), None)
        if self._speaker(room.call_id, participant.id) is not None:
            participant.take_over()
        payload = messages.ParticipantJoined(call_id=room.call_id, participant_id=participant.id)
        self._to_others(room, participant, messages.PARTICIPANT_JOINED, payload)

    def participant_left(self, room: Room, participant: Participant, reason: str) -> None:
        """Notify all sockets of the call, that of the participant who left included."""
        audience = self._audiences.get(room.call_id)
        if audience is None or room.is_closed:
            return
        payload = messages.ParticipantLeft(call_id=room.call_id, participant_id=participant.id, reason=reason)
        self._io.deliver(audience.sids, messages.PARTICIPANT_LEFT, payload)
        speaker = self._speaker(room.call_id, participant.id)
        if speaker is not None and reason == TOKEN_EXPIRED:
            speaker.expired = True
            self._io.cut(speaker.eio_sid)
        elif speaker is not None and reason == REPLACED:
            # by a request; the new client's socket may not be there yet
            self._silence(speaker, room)

    def new_producer(self, room: Room, participant: Participant, producer: Producer) -> None:
        """Notify the others of a track that they can receive."""
        payload = representation.new_producer(room, participant, producer)
        self._to_others(room, participant, messages.NEW_PRODUCER, payload)

    def producer_closed(self, room: Room, participant: Participant, producer: Producer, reason: str) -> None:
        """Notify the others of a track that has ended."""
        if room.is_closed:
            return
        payload = messages.ProducerClosed(
            call_id=room.call_id,
            participant_id=participant.id,
            producer_id=producer.id,
            kind=producer.kind,
        )
        self._to_others(room, participant, messages.PRODUCER_CLOSED, payload)

    def producer_score(self, room: Room, participant: Participant, producer: Producer) -> None:
        """Report to the sender how well a track arrives."""
        self._to(room, participant, messages.SCORE, representation.producer_score(room, producer))

    def consumer_score(self, room: Room, participant: Participant, consumer: Consumer) -> None:
        """Report to the receiver how well a track is delivered."""
        self._to(room, participant, messages.SCORE, representation.consumer_score(room, consumer))

    def consumer_paused(self, room: Room, participant: Participant, consumer: Consumer) -> None:
        """Notify the receiver."""
        payload = representation.consumer_flow(room, consumer)
        self._to(room, participant, messages.CONSUMER_PAUSED, payload)

    def consumer_resumed(self, room: Room, participant: Participant, consumer: Consumer) -> None:
        """Notify the receiver."""
        payload = representation.consumer_flow(room, consumer)
        self._to(room, participant, messages.CONSUMER_RESUMED, payload)

    def active_speaker(self, room: Room, participant: Participant | None, producer: Producer | None) -> None:
        """Notify all sockets of the call of the dominant speaker."""
        audience = self._audiences.setdefault(room.call_id, Audience())
        audience.speaker = None if participant is None or producer is None else (participant.id, producer.id)
        payload = representation.active_speaker(room, audience.speaker, [])
        self._io.deliver(audience.sids, messages.ACTIVE_SPEAKER, payload)

    def volumes(self, room: Room, volumes: Sequence[tuple[Participant, Producer, int]]) -> None:
        """Report to all sockets of the call how loud each participant is."""
        audience = self._audiences.get(room.call_id)
        if audience is not None:
            payload = representation.active_speaker(room, audience.speaker, volumes)
            self._io.deliver(audience.sids, messages.ACTIVE_SPEAKER, payload)

    def watch_transport(self, participant: Participant, transport: WebRtcTransport) -> None:
        """Report the states of a transport to its owner from now on."""

        def report(_: str) -> None:
            payload = representation.transport_state(participant, transport)
            self._to(participant.room, participant, messages.TRANSPORT_STATE, payload)
            if participant.is_cut_off:
                due_s = self._clock.monotonic_s() + self._settings.disconnect_grace_s
                self._cut_off[participant.room.call_id, participant.id] = due_s

        transport.ice_state_changed.subscribe(report)
        transport.dtls_state_changed.subscribe(report)
        transport.closed.subscribe(report)

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _to(
        self, room: Room, participant: Participant, event: ServerEvent[PayloadT], payload: PayloadT
    ) -> None:
        audience = self._audiences.get(room.call_id)
        if audience is not None:
            sid = audience.speaking.get(participant.id)
            self._io.deliver([] if sid is None else [sid], event, payload)

    def _to_others(
        self, room: Room, participant: Participant, event: ServerEvent[PayloadT], payload: PayloadT
    ) -> None:
        audience = self._audiences.get(room.call_id)
        if audience is not None:
            own = audience.speaking.get(participant.id)
            self._io.deliver([sid for sid in audience.sids if sid != own], event, payload)

    def _unwatch(self, session: Session, call_id: str) -> None:
        """End a service's following of a call."""
        session.watched.discard(call_id)
        audience = self._audiences.get(call_id)
        if audience is not None:
            audience.sids.discard(session.sid)
            if not audience.sids and self._rooms.find(CallId(call_id)) is None:
                del self._audiences[call_id]

    def _forget(self, session: Session) -> None:
        """Take a socket out of its call's audience; a service out of all."""
        for call_id in tuple(session.watched):
            self._unwatch(session, call_id)
        audience = self._audiences.get(session.call_id or "")
        if audience is not None:
            audience.sids.discard(session.sid)
            if audience.speaking.get(session.participant_id or "") == session.sid:
                del audience.speaking[session.participant_id or ""]
            if not audience.sids and self._rooms.find(CallId(session.call_id or "")) is None:
                del self._audiences[session.call_id or ""]
        session.call_id = session.participant_id = None

    def _speaker(self, call_id: str, participant_id: str) -> Session | None:
        """Return the session that speaks for a participant."""
        audience = self._audiences.get(call_id)
        return None if audience is None else self._sessions.get(audience.speaking.get(participant_id, ""))

    def _leave_cut_off(self, call_id: str, participant_id: str) -> None:
        """Take out who has neither a path nor a socket by which they could ask for an ICE restart."""
        participant = self._participant(call_id, participant_id)
        if (
            participant is not None
            and participant.is_cut_off
            and self._speaker(call_id, participant_id) is None
        ):
            participant.leave("connection lost: no ICE check came for half a minute")

    def _replace(self, session: Session, room: Room) -> None:
        """Notify a session that another one took its place."""
        payload = messages.ParticipantLeft(
            call_id=room.call_id, participant_id=session.participant_id or "", reason=REPLACED
        )
        self._io.deliver([session.sid], messages.PARTICIPANT_LEFT, payload)
        self._silence(session, room)

    def _silence(self, session: Session, room: Room) -> None:
        """Let a session hear and do nothing more in its call, until it joins it again."""
        self._forget(session)
        session.replaced_in = room.call_id

    def _end_session(self, participant: Participant, reason: str) -> None:
        participant.end_session(reason)
        if not participant.is_closed:
            due_s = self._clock.monotonic_s() + ownership.CLAIM_S
            self._awaited[participant.room.call_id, participant.id] = due_s

    def _participant(self, call_id: str, participant_id: str) -> Participant | None:
        room = self._rooms.find(CallId(call_id))
        return None if room is None else room.participants.get(ParticipantId(participant_id))

    def _read_token(self, token: object) -> Claims:
        return read_token(token, self._rules, now_s=self._clock.unix_s())


def _kicked() -> KickedError:
    return KickedError("another session of yours took your place; join-room takes it back")
