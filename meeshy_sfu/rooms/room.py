"""A call on this server: who is in it and what they exchange.

Enforces caps and ownership and notifies the listener; which calls there are is kept in registry.py.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NewType, ParamSpec, TypeVar

from meeshy_sfu.clock import Clock
from meeshy_sfu.errors import (
    CapacityError,
    ConsumerNotFoundError,
    ForbiddenError,
    NotFoundError,
    ParticipantNotFoundError,
    ProducerNotFoundError,
    RoomFullError,
    RoomNotFoundError,
    TransportNotFoundError,
)
from meeshy_sfu.log import log_ids
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ConsumerId, ProducerId, TransportId, new_id
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.router import Router
from meeshy_sfu.media.rtp_parameters import RtpCapabilities
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.rooms.departures import Departure, Departures
from meeshy_sfu.rooms.limits import RoomLimits
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.ownership import Direction
from meeshy_sfu.rooms.participant import REPLACED, Participant, ParticipantId

CallId = NewType("CallId", str)
RoomId = NewType("RoomId", str)
T = TypeVar("T")
P = ParamSpec("P")

logger = logging.getLogger(__name__)


class Room:
    """One call: a router and the participants around it.

    Made by the registry. Closes when the last participant leaves, when it is destroyed, or when its worker
    dies; then all participants are closed, the listener is called with ``room_closed`` and the registry forgets it.
    A room that no participant has joined yet stays open.
    """

    id: RoomId
    call_id: CallId
    router: Router
    created_at_s: float
    """Seconds since 1970."""
    limits: RoomLimits
    padding: bool
    """Pad what is sent, for less CPU time (see Router.create_webrtc_transport)."""
    udp: bool
    """Offer UDP, but to clients that force TCP."""
    tcp: bool
    """Offer TCP."""
    participants: dict[ParticipantId, Participant]
    closed_reason: str | None
    """Why it is closed, or None."""
    in_advance: bool
    """Whether the call does not need it yet, so that it does not count (see RoomRegistry.activate)."""
    owner: str | None
    """The name of the service that manages the room, by which it finds its rooms again."""

    def __init__(
        self,
        call_id: CallId,
        router: Router,
        *,
        limits: RoomLimits,
        clock: Clock,
        listener: RoomListener,
        on_closed: Callable[["Room"], None],
        departures: Departures,
        padding: bool = False,
        udp: bool = True,
        tcp: bool = True,
    ) -> None:
        self.id = RoomId(new_id())
        self.call_id = call_id
        self.router = router
        self.limits = limits
        self.padding = padding
        self.udp, self.tcp = udp, tcp
        self.created_at_s = clock.unix_s()
        self.idle_since_s: float | None = clock.monotonic_s()
        self.participants = {}
        self.closed_reason = None
        self.in_advance = False
        self.owner = None
        self._clock = clock
        self._listener = listener
        self._on_closed = on_closed
        self._departures = departures
        self._transports: dict[TransportId, tuple[Participant, WebRtcTransport]] = {}
        self._producers: dict[ProducerId, tuple[Participant, Producer]] = {}
        self._consumers: dict[ConsumerId, tuple[Participant, Consumer]] = {}
        self._pending_transports = 0
        self._pending_producers = 0
        router.closed.subscribe(self.close)
        router.active_speaker_changed.subscribe(self._on_active_speaker)
        router.volumes_changed.subscribe(self._on_volumes)

    # ---- participants ------------------------------------------------------------------------------------------

    def join(
        self,
        participant_id: ParticipantId,
        *,
        rtp_capabilities: RtpCapabilities | None = None,
        app_data: Mapping[str, object] | None = None,
    ) -> Participant:
        """Add a participant. One of the same id, such as the same page before a reload, is removed first.

        Raises:
            RoomNotFoundError: The room is closed.
            RoomFullError: There are as many participants as allowed.
        """
        self.require_open()
        former = self.participants.get(participant_id)
        if former is not None:
            self._put_out(former, REPLACED)
        return self._let_in(participant_id, rtp_capabilities, app_data)

    def enter(self, participant_id: ParticipantId) -> Participant:
        """Return the participant of this id, adding them on their first request.

        Raises:
            RoomNotFoundError: The room is closed.
            RoomFullError: There are as many participants as allowed.
        """
        self.require_open()
        return self.participants.get(participant_id) or self._let_in(participant_id, None, None)

    async def join_with_transports(
        self,
        participant_id: ParticipantId,
        *,
        rtp_capabilities: RtpCapabilities | None = None,
        app_data: Mapping[str, object] | None = None,
        force_tcp: bool = False,
    ) -> tuple[Participant, WebRtcTransport, WebRtcTransport]:
        """Add a participant, as :meth:`join`, and open their transports for sending and receiving.

        Raises:
            RoomNotFoundError: The room is closed.
            RoomFullError: There are as many participants as allowed.
            CapacityError: There are as many transports as allowed.
        """
        participant = self.join(participant_id, rtp_capabilities=rtp_capabilities, app_data=app_data)
        try:
            send = await participant.create_transport("send", force_tcp=force_tcp)
            receive = await participant.create_transport("recv", force_tcp=force_tcp)
        except BaseException:
            self._turn_away(participant)
            raise
        return participant, send, receive

    async def create_transport(
        self,
        participant_id: ParticipantId,
        direction: Direction,
        *,
        force_tcp: bool = False,
        max_incoming_bps: int | None = None,
    ) -> WebRtcTransport:
        """Open a transport for a participant, adding them if it is their first.

        Raises:
            RoomNotFoundError: The room is closed.
            RoomFullError: There are as many participants as allowed.
            CapacityError: There are as many transports as allowed.
        """
        is_new = participant_id not in self.participants
        participant = self.enter(participant_id)
        try:
            return await participant.create_transport(
                direction, force_tcp=force_tcp, max_incoming_bps=max_incoming_bps
            )
        except BaseException:
            if is_new and not participant.transports:
                self._turn_away(participant)
            raise

    def participant(self, participant_id: ParticipantId) -> Participant:
        """Return the participant of this id.

        Raises:
            ParticipantNotFoundError: No participant of this id is in the room.
        """
        participant = self.participants.get(participant_id)
        if participant is None:
            raise ParticipantNotFoundError(f"participant {participant_id} is not in call {self.call_id}")
        return participant

    def leave(self, participant_id: ParticipantId, reason: str = "left") -> bool:
        """Remove a participant and return whether they were in. The last one to leave closes the room."""
        participant = self.participants.get(participant_id)
        if participant is None:
            return False
        participant.leave(reason)
        return True

    # ---- what they have ----------------------------------------------------------------------------------

    def transport(
        self, transport_id: TransportId, *, by: ParticipantId | None
    ) -> tuple[Participant, WebRtcTransport]:
        """Return a transport with its owner.

        Args:
            transport_id: Its id.
            by: Who asks, or None for a service that may touch everything.

        Raises:
            TransportNotFoundError: There is none of this id in the room.
            ForbiddenError: It is another participant's.
        """
        return _owned(self._transports, transport_id, by, TransportNotFoundError, "transport")

    def producer(self, producer_id: ProducerId, *, by: ParticipantId | None) -> tuple[Participant, Producer]:
        """Return a producer with its owner.

        Raises:
            ProducerNotFoundError: There is none of this id in the room.
            ForbiddenError: It is another participant's.
        """
        return _owned(self._producers, producer_id, by, ProducerNotFoundError, "producer")

    def consumer(self, consumer_id: ConsumerId, *, by: ParticipantId | None) -> tuple[Participant, Consumer]:
        """Return a consumer with its owner.

        Raises:
            ConsumerNotFoundError: There is none of this id in the room.
            ForbiddenError: It is another participant's.
        """
        return _owned(self._consumers, consumer_id, by, ConsumerNotFoundError, "consumer")

    def producers(self, *, but: ParticipantId | None = None) -> list[tuple[Participant, Producer]]:
        """List all producers in the room, oldest first, but for those of one participant."""
        return [item for item in self._producers.values() if item[0].id != but]

    def find_producer(self, producer_id: ProducerId) -> Producer | None:
        """Return a producer of any participant, or None."""
        found = self._producers.get(producer_id)
        return found[1] if found else None

    @property
    def transport_count(self) -> int:
        """How many transports are open."""
        return len(self._transports)

    @property
    def producer_count(self) -> int:
        """How many tracks are sent."""
        return len(self._producers)

    @property
    def consumer_count(self) -> int:
        """How many tracks are received."""
        return len(self._consumers)

    @property
    def is_closed(self) -> bool:
        """Return whether it is closed."""
        return self.closed_reason is not None

    def close(self, reason: str) -> None:
        """Close the room and its participants. Idempotent."""
        if self.closed_reason is not None:
            return
        self.closed_reason = reason
        for participant in tuple(self.participants.values()):
            self._put_out(participant, reason)
        self.router.close(reason)
        self._on_closed(self)
        self._tell(self._listener.room_closed, self, reason)

    # ---- for the participants ----------------------------------------------------------------------------

    def now_s(self) -> float:
        """Return the time, as the room's clock has it."""
        return self._clock.monotonic_s()

    def remove_participant(self, participant: Participant, reason: str) -> None:
        """Remove a participant, and close the room if they were the last."""
        if self.participants.get(participant.id) is participant:
            self._put_out(participant, reason)
            if not self.participants:
                self.close("the last participant left")

    @contextmanager
    def transport_slot(self) -> Iterator[None]:
        """Hold a place for a transport that is being opened."""
        limit = self.limits.transports_per_room
        if len(self._transports) + self._pending_transports >= limit:
            raise CapacityError(
                f"call {self.call_id} may have {limit} transports", {"limit": "transports_per_room"}
            )
        self._pending_transports += 1
        try:
            yield
        finally:
            self._pending_transports -= 1

    @contextmanager
    def producer_slot(self) -> Iterator[None]:
        """Hold a place for a producer that is being made."""
        limit = self.limits.producers_per_room
        if len(self._producers) + self._pending_producers >= limit:
            raise CapacityError(
                f"call {self.call_id} may have {limit} producers", {"limit": "producers_per_room"}
            )
        self._pending_producers += 1
        try:
            yield
        finally:
            self._pending_producers -= 1

    def add_transport(self, participant: Participant, transport: WebRtcTransport) -> None:
        """Take note of a new transport."""
        self._transports[transport.id] = (participant, transport)

    def add_producer(self, participant: Participant, producer: Producer) -> None:
        """Take note of a new track and notify of it."""
        self._producers[producer.id] = (participant, producer)
        for other in self.participants.values():
            if other is not participant:
                other.await_media(self.now_s())
        producer.score_changed.subscribe(
            lambda: self._tell(self._listener.producer_score, self, participant, producer)
        )
        producer.paused_changed.subscribe(lambda paused: self._on_producer_paused(producer, paused=paused))
        self._tell(self._listener.new_producer, self, participant, producer)

    def add_consumer(self, participant: Participant, consumer: Consumer) -> None:
        """Take note of a new consumer."""
        self._consumers[consumer.id] = (participant, consumer)
        consumer.score_changed.subscribe(
            lambda: self._tell(self._listener.consumer_score, self, participant, consumer)
        )
        consumer.layers_changed.subscribe(
            lambda former: self._tell(self._listener.consumer_layers, self, participant, consumer, former)
        )

    def media_started(self, participant: Participant, waited_s: float) -> None:
        """Take note of the first media that is sent to a participant."""
        self._tell(self._listener.media_started, self, participant, waited_s)

    def forget_transport(self, transport: WebRtcTransport) -> None:
        """Let go of a closed transport."""
        self._transports.pop(transport.id, None)

    def forget_producer(self, participant: Participant, producer: Producer, reason: str) -> None:
        """Let go of a closed track and notify of it."""
        if self._producers.pop(producer.id, None) is not None and not self._ending:
            self._tell(self._listener.producer_closed, self, participant, producer, reason)

    def forget_consumer(self, participant: Participant, consumer: Consumer, reason: str) -> None:
        """Remove a closed consumer; its owner is notified unless they closed it."""
        known = self._consumers.pop(consumer.id, None) is not None
        if known and consumer.producer.is_closed and not self._ending:
            self._tell(self._listener.consumer_closed, self, participant, consumer, reason)

    @property
    def _ending(self) -> bool:
        """Whether it is reported: a room's end is, so its tracks' need not be."""
        return self.is_closed or self.router.is_closed

    def _let_in(
        self,
        participant_id: ParticipantId,
        rtp_capabilities: RtpCapabilities | None,
        app_data: Mapping[str, object] | None,
    ) -> Participant:
        limit = self.limits.participants_per_room
        if len(self.participants) >= limit:
            raise RoomFullError(
                f"call {self.call_id} has {limit} participants", {"limit": "participants_per_room"}
            )
        participant = Participant(
            self,
            participant_id,
            joined_at_s=self._clock.unix_s(),
            rtp_capabilities=rtp_capabilities,
            app_data=app_data,
        )
        self.participants[participant_id] = participant
        if self._producers:
            participant.await_media(self.now_s())
        self._departures.forget(self.call_id, participant_id)
        self.idle_since_s = None
        self._tell(self._listener.participant_joined, self, participant)
        return participant

    def _put_out(self, participant: Participant, reason: str) -> None:
        del self.participants[participant.id]
        self._departures.note(self.call_id, participant.id, Departure(self._clock.unix_s(), reason))
        participant.close(reason)
        self._tell(self._listener.participant_left, self, participant, reason)

    def _turn_away(self, participant: Participant) -> None:
        """Undo an entrance that failed; the room stays, as it was there before."""
        if self.participants.get(participant.id) is participant:
            self._put_out(participant, "could not join")
            if not self.participants:
                self.idle_since_s = self._clock.monotonic_s()

    def _on_producer_paused(self, producer: Producer, *, paused: bool) -> None:
        for consumer in tuple(producer.consumers):
            found = self._consumers.get(consumer.id)
            if found is None:
                continue
            if paused:
                self._tell(self._listener.consumer_paused, self, *found)
            else:
                self._tell(self._listener.consumer_resumed, self, *found)

    def _on_active_speaker(self, producer: Producer | None) -> None:
        found = None if producer is None else self._producers.get(producer.id)
        if found is not None or producer is None:
            self._tell(self._listener.active_speaker, self, *(found or (None, None)))

    def _on_volumes(self, volumes: tuple[tuple[Producer, int], ...]) -> None:
        known = ((self._producers.get(producer.id), volume) for producer, volume in volumes)
        self._tell(
            self._listener.volumes, self, [(*found, volume) for found, volume in known if found is not None]
        )

    def _tell(self, what: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            what(*args, **kwargs)
        except Exception:
            logger.exception("the listener failed", extra=log_ids(room=self.id))

    def require_open(self) -> None:
        """Check that it is open.

        Raises:
            RoomNotFoundError: It is closed.
        """
        if self.closed_reason is not None:
            raise RoomNotFoundError(f"call {self.call_id} has ended: {self.closed_reason}")


IdType = TypeVar("IdType", bound=str)


def _owned(
    things: Mapping[IdType, tuple[Participant, T]],
    thing_id: IdType,
    by: ParticipantId | None,
    missing: type[NotFoundError],
    name: str,
) -> tuple[Participant, T]:
    found = things.get(thing_id)
    if found is None:
        raise missing(f"there is no {name} {thing_id}")
    if by is not None and found[0].id != by:
        raise ForbiddenError(f"{name} {thing_id} belongs to another participant")
    return found
