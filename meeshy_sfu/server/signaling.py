"""Socket.IO of the media server: handlers of clients' events, and the end of sessions whose client is gone.

The events are declared in messages.py, what rooms report goes out through audiences.py, connections and their limits are
in edge/socketio_server.py.
"""

import logging

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.event_table import handles_event
from meeshy_sfu.edge.limits import RateLimiter
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
from meeshy_sfu.rooms import ownership
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from meeshy_sfu.server import messages, representation
from meeshy_sfu.server.absences import Absences, take_due
from meeshy_sfu.server.audiences import Audiences
from meeshy_sfu.server.auth import Claims, read_token
from meeshy_sfu.server.expiry import REASON as TOKEN_EXPIRED
from meeshy_sfu.server.expiry import Expiry
from meeshy_sfu.server.metrics import Metrics
from meeshy_sfu.server.quotas import Quotas
from meeshy_sfu.server.representation import owned_data
from meeshy_sfu.server.schemas import Owned
from meeshy_sfu.server.sessions import Session

logger = logging.getLogger(__name__)


class Signaling(SocketService[Session]):
    """Handle the events of sockets, and end the sessions of participants whose client is gone."""

    def __init__(
        self,
        *,
        settings: Settings,
        rules: TokenRules,
        clock: Clock,
        limiter: RateLimiter,
        quotas: Quotas,
        metrics: Metrics,
        io: SocketServer,
        rooms: RoomRegistry,
        audiences: Audiences,
        absences: Absences,
        expiry: Expiry,
    ) -> None:
        super().__init__(
            events=messages.EVENTS,
            settings=settings,
            rules=rules,
            clock=clock,
            io=io,
            limiter=limiter,
            quotas=quotas,
            metrics=metrics,
            handshakes=quotas.other,
            no_token=UnauthorizedError("this socket has no token"),
        )
        self._rooms = rooms
        self._audiences = audiences
        self._absences = absences
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
        for key in take_due(self._absences.disconnected, now_s):
            if participant := self._participant(*key):
                self._end_session(participant, "disconnected")
        for key in take_due(self._absences.awaited, now_s):
            participant = self._participant(*key)
            if participant is not None and self._audiences.speaker(*key) is None and not participant.has_path:
                participant.leave("disconnected")
        for key in take_due(self._absences.cut_off, now_s):
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
        self._audiences.forget(session)
        if call_id is None or participant_id is None:
            return
        participant = self._participant(call_id, participant_id)
        if participant is None:
            return
        if clean or not self._settings.disconnect_grace_s:
            self._end_session(participant, "disconnected")
        else:
            participant.ownership.away()
            self._absences.disconnected[call_id, participant_id] = (
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
        else:
            resumed, owned = self._take_place(session, room, request)
        audience = self._audiences.of(request.call_id)
        audience.sessions[session.sid] = session
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
        former = self._audiences.speaker(request.call_id, request.participant_id)
        again = former is session
        if former is not None and not again:
            self._audiences.replace(former, room)
        self._audiences.forget(session)
        session.call_id, session.participant_id = request.call_id, request.participant_id
        session.replaced_in = session.left = None
        self._audiences.of(request.call_id).speaking[request.participant_id] = session
        self._absences.back(request.call_id, request.participant_id)
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
            self._audiences.unwatch(session, request.call_id)
            return Nothing()
        speaker = self._audiences.speaker(request.call_id, request.participant_id)
        if session.replaced_in == request.call_id or (speaker is not None and speaker is not session):
            raise _kicked()
        self._audiences.forget(session)
        participant = self._participant(request.call_id, request.participant_id)
        if participant is not None and speaker is session:
            self._end_session(participant, "left")
        elif participant is not None and session.left != request.call_id:
            # a participant who only made REST requests has no session
            participant.leave("left")
        session.left = request.call_id
        return Nothing()

    @handles_event(messages.PAUSE_CONSUMER)
    async def _pause_consumer(
        self, session: Session, request: messages.ConsumerEventRequest
    ) -> messages.ConsumerAnswer:
        await self._consumer(session, request.consumer_id).pause()
        return messages.ConsumerAnswer(consumer_id=request.consumer_id)

    @handles_event(messages.RESUME_CONSUMER)
    async def _resume_consumer(
        self, session: Session, request: messages.ConsumerEventRequest
    ) -> messages.ConsumerAnswer:
        await self._consumer(session, request.consumer_id).resume()
        return messages.ConsumerAnswer(consumer_id=request.consumer_id)

    @handles_event(messages.SET_PREFERRED_LAYERS)
    async def _set_preferred_layers(
        self, session: Session, request: messages.PreferredLayersEventRequest
    ) -> messages.PreferredLayersAnswer:
        chosen = await self._consumer(session, request.consumer_id).set_preferred_layers(
            request.spatial_layer, request.temporal_layer
        )
        return messages.PreferredLayersAnswer(
            consumer_id=request.consumer_id, preferred_layers=representation.layers_data(chosen)
        )

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

    def _consumer(self, session: Session, consumer_id: str) -> Consumer:
        if session.replaced_in is not None:
            raise _kicked()
        if session.call_id is None:
            raise ConsumerNotFoundError(f"there is no consumer {consumer_id}; join-room first")
        room = self._rooms.get(CallId(session.call_id))
        owner = None if session.claims.is_service else ParticipantId(str(session.claims.participant_id))
        return room.consumer(ConsumerId(consumer_id), by=owner)[1]

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _leave_cut_off(self, call_id: str, participant_id: str) -> None:
        """Take out who has neither a path nor a socket by which they could request an ICE restart."""
        participant = self._participant(call_id, participant_id)
        if (
            participant is not None
            and participant.is_cut_off
            and self._audiences.speaker(call_id, participant_id) is None
        ):
            participant.leave("connection lost: no ICE check came for half a minute")

    def _end_session(self, participant: Participant, reason: str) -> None:
        participant.end_session(reason)
        if not participant.is_closed:
            due_s = self._clock.monotonic_s() + ownership.CLAIM_S
            self._absences.awaited[participant.room.call_id, participant.id] = due_s

    def _participant(self, call_id: str, participant_id: str) -> Participant | None:
        room = self._rooms.find(CallId(call_id))
        return None if room is None else room.participants.get(ParticipantId(participant_id))

    def _read_token(self, token: object) -> Claims:
        return read_token(token, self._rules, now_s=self._clock.unix_s())


def _kicked() -> KickedError:
    return KickedError("another session of yours took your place; join-room takes it back")
