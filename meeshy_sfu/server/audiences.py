"""The sockets that follow each call, and the events of rooms that they are sent.

The events are declared in messages.py, their payloads are made in representation.py; who joins an audience is decided in
signaling.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meeshy_sfu.clock import Clock
from meeshy_sfu.edge.event_table import PayloadT, ServerEvent
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.events import Layers
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.participant import REPLACED, Participant
from meeshy_sfu.rooms.room import Room
from meeshy_sfu.server import messages, representation
from meeshy_sfu.server.absences import Absences
from meeshy_sfu.server.expiry import REASON as TOKEN_EXPIRED
from meeshy_sfu.server.sessions import Session

ROOM_REASONS = {
    "the last participant left": "empty",
    "worker died": "worker-died",
    "worker closed": "server-shutdown",
    "no participant came": "empty",
}
"""Reasons of rooms, and the words that clients compare."""


@dataclass(slots=True)
class Audience:
    """The sockets that follow one call."""

    sessions: dict[str, Session] = field(default_factory=dict)
    """By socket."""
    speaking: dict[str, Session] = field(default_factory=dict)
    """The one session that speaks for a participant."""
    speaker: tuple[str, str] | None = None
    """Participant and producer that dominate."""


class Audiences(RoomListener):
    """Notify sockets of what happens in their calls. Each room has an audience for as long as it is open.

    Args:
        io: The sockets.
        clock: The time.
        absences: Whose client is gone.
        grace_s: How long a participant is kept without a path or a socket.
        on_first_media: Called with the seconds that a participant waited for media.
        on_layer_switch: Called when a receiver gets another layer than before.
    """

    def __init__(
        self,
        io: SocketServer,
        clock: Clock,
        *,
        absences: Absences,
        grace_s: float,
        on_first_media: Callable[[float], object],
        on_layer_switch: Callable[[], object],
    ) -> None:
        self._io = io
        self._clock = clock
        self._absences = absences
        self._grace_s = grace_s
        self._on_first_media = on_first_media
        self._on_layer_switch = on_layer_switch
        self._audiences: dict[str, Audience] = {}

    def of(self, call_id: str) -> Audience:
        """Return the audience of a call that has a room."""
        return self._audiences[call_id]

    # ---- what rooms report

    def room_created(self, room: Room) -> None:
        """Begin the room's audience."""
        self._audiences[room.call_id] = Audience()

    def room_closed(self, room: Room, reason: str) -> None:
        """Notify all sockets of the call that it is over on this server."""
        audience = self._audiences.pop(room.call_id, None)
        if audience is None:
            return
        code = ROOM_REASONS.get(reason.partition(":")[0], reason if " " not in reason else "closed")
        closed = messages.RoomClosed(call_id=room.call_id, room_id=room.id, reason=code)
        self._io.deliver(audience.sessions, messages.ROOM_CLOSED, closed)
        for session in audience.sessions.values():
            session.watched.discard(room.call_id)
            if session.call_id == room.call_id:
                session.call_id = session.participant_id = None

    def participant_joined(self, room: Room, participant: Participant) -> None:
        """Notify the other participants; one that was waited for is back, even if the socket is not yet."""
        self._absences.back(room.call_id, participant.id)
        if self.speaker(room.call_id, participant.id) is not None:
            participant.take_over()
        payload = messages.ParticipantJoined(call_id=room.call_id, participant_id=participant.id)
        self._to_others(room, participant, messages.PARTICIPANT_JOINED, payload)

    def media_started(self, room: Room, participant: Participant, waited_s: float) -> None:
        """Count how long a participant waited for media."""
        self._on_first_media(waited_s)

    def participant_left(self, room: Room, participant: Participant, reason: str) -> None:
        """Notify all sockets of the call, that of the participant who left included."""
        audience = self._audiences.get(room.call_id)
        if audience is None or room.is_closed:
            return
        payload = messages.ParticipantLeft(call_id=room.call_id, participant_id=participant.id, reason=reason)
        self._io.deliver(audience.sessions, messages.PARTICIPANT_LEFT, payload)
        speaker = self.speaker(room.call_id, participant.id)
        if speaker is not None and reason == TOKEN_EXPIRED:
            speaker.expired = True
            self._io.cut(speaker.eio_sid)
        elif speaker is not None and reason == REPLACED:
            # by a request; the new client's socket may not be there yet
            self._silence(speaker, room)

    def new_producer(self, room: Room, participant: Participant, producer: Producer) -> None:
        """Notify the other participants of a track that they can receive."""
        payload = representation.new_producer(room, participant, producer)
        self._to_others(room, participant, messages.NEW_PRODUCER, payload)

    def producer_closed(self, room: Room, participant: Participant, producer: Producer, reason: str) -> None:
        """Notify the other participants of a track that has ended."""
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

    def consumer_layers(
        self, room: Room, participant: Participant, consumer: Consumer, former: Layers | None
    ) -> None:
        """Report to the receiver which layers of a track are forwarded; a change between two layers is counted."""
        if former is not None and consumer.current_layers is not None:
            self._on_layer_switch()
        self._to(room, participant, messages.LAYERS_CHANGED, representation.consumer_layers(room, consumer))

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
        audience = self._audiences.get(room.call_id)
        if audience is None:
            return
        audience.speaker = None if participant is None or producer is None else (participant.id, producer.id)
        payload = representation.active_speaker(room, audience.speaker, [])
        self._io.deliver(audience.sessions, messages.ACTIVE_SPEAKER, payload)

    def volumes(self, room: Room, volumes: Sequence[tuple[Participant, Producer, int]]) -> None:
        """Report to all sockets of the call how loud each participant is."""
        audience = self._audiences.get(room.call_id)
        if audience is not None:
            payload = representation.active_speaker(room, audience.speaker, volumes)
            self._io.deliver(audience.sessions, messages.ACTIVE_SPEAKER, payload)

    def watch_transport(self, participant: Participant, transport: WebRtcTransport) -> None:
        """Report the states of a transport to its owner from now on."""

        def report(_: str) -> None:
            payload = representation.transport_state(participant, transport)
            self._to(participant.room, participant, messages.TRANSPORT_STATE, payload)
            if participant.is_cut_off:
                due_s = self._clock.monotonic_s() + self._grace_s
                self._absences.cut_off[participant.room.call_id, participant.id] = due_s

        transport.ice_state_changed.subscribe(report)
        transport.dtls_state_changed.subscribe(report)
        transport.closed.subscribe(report)

    # ---- sessions that follow

    def _to(
        self, room: Room, participant: Participant, event: ServerEvent[PayloadT], payload: PayloadT
    ) -> None:
        audience = self._audiences.get(room.call_id)
        if audience is not None:
            speaking = audience.speaking.get(participant.id)
            self._io.deliver([] if speaking is None else [speaking.sid], event, payload)

    def _to_others(
        self, room: Room, participant: Participant, event: ServerEvent[PayloadT], payload: PayloadT
    ) -> None:
        audience = self._audiences.get(room.call_id)
        if audience is not None:
            own = audience.speaking.get(participant.id)
            self._io.deliver(
                [sid for sid in audience.sessions if own is None or sid != own.sid], event, payload
            )

    def unwatch(self, session: Session, call_id: str) -> None:
        """End a service's following of a call."""
        session.watched.discard(call_id)
        audience = self._audiences.get(call_id)
        if audience is not None:
            audience.sessions.pop(session.sid, None)

    def forget(self, session: Session) -> None:
        """Take a socket out of its call's audience; a service out of all."""
        for call_id in tuple(session.watched):
            self.unwatch(session, call_id)
        audience = self._audiences.get(session.call_id or "")
        if audience is not None:
            audience.sessions.pop(session.sid, None)
            if audience.speaking.get(session.participant_id or "") is session:
                del audience.speaking[session.participant_id or ""]
        session.call_id = session.participant_id = None

    def speaker(self, call_id: str, participant_id: str) -> Session | None:
        """Return the session that speaks for a participant."""
        audience = self._audiences.get(call_id)
        return None if audience is None else audience.speaking.get(participant_id)

    def replace(self, session: Session, room: Room) -> None:
        """Notify a session that another one took its place."""
        payload = messages.ParticipantLeft(
            call_id=room.call_id, participant_id=session.participant_id or "", reason=REPLACED
        )
        self._io.deliver([session.sid], messages.PARTICIPANT_LEFT, payload)
        self._silence(session, room)

    def _silence(self, session: Session, room: Room) -> None:
        """Let a session receive and do nothing more in its call, until it joins it again."""
        self.forget(session)
        session.replaced_in = room.call_id
