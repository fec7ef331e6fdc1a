"""A participant of a room: their transports, producers and consumers.

Owns them all and enforces the limits of one participant; who is in a room is decided in room.py.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NewType

from meeshy_sfu.errors import (
    CapacityError,
    ConsumerAlreadyExistsError,
    ConsumerNotFoundError,
    InvalidRequestError,
    InvalidStateError,
    KickedError,
    MeeshyError,
    ParticipantNotFoundError,
    ProducerAlreadyExistsError,
    ProducerNotFoundError,
    TransportNotFoundError,
)
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ConsumerId, ProducerId, TransportId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import DtlsParameters, MediaKind, RtpCapabilities, RtpParameters
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.names import name_problem
from meeshy_sfu.rooms.ownership import Direction, Ownership

if TYPE_CHECKING:
    from meeshy_sfu.rooms.room import Room

ParticipantId = NewType("ParticipantId", str)
Source = str

MAX_SOURCE = 64
REPLACED = "replaced by a new connection"
"""Why a participant's former session, or what it owned, has ended."""


class Participant:
    """One participant of one room.

    Owned by the room, which makes it on the participant's first request and closes it when they leave. Closing it
    closes the transports, and through them all tracks sent and received. A participant whose transports the
    media core has all given up leaves by itself.
    """

    id: ParticipantId
    room: "Room"
    joined_at_s: float
    """Seconds since 1970."""
    app_data: Mapping[str, object]
    """What the client attached to itself; never looked into here."""
    rtp_capabilities: RtpCapabilities | None
    """What the client said it can receive, if it said so on joining."""
    transports: dict[TransportId, WebRtcTransport]
    producers: dict[ProducerId, Producer]
    consumers: dict[ConsumerId, Consumer]
    ownership: Ownership
    """Which session the transports belong to."""

    def __init__(
        self,
        room: "Room",
        participant_id: ParticipantId,
        *,
        joined_at_s: float,
        rtp_capabilities: RtpCapabilities | None = None,
        app_data: Mapping[str, object] | None = None,
    ) -> None:
        self.room = room
        self.id = participant_id
        self.joined_at_s = joined_at_s
        self.rtp_capabilities = rtp_capabilities
        self.app_data = dict(app_data or {})
        self.transports = {}
        self.producers = {}
        self.consumers = {}
        self.ownership = Ownership()
        self._directions: dict[TransportId, Direction] = {}
        self._sources: set[tuple[MediaKind, Source]] = set()
        self._pending_consumers: set[tuple[TransportId, ProducerId]] = set()
        self._pending_transports = 0
        self._closed = False
        self._awaits_media_s: float | None = None
        self._has_media = False

    @property
    def is_closed(self) -> bool:
        """Return whether they have left."""
        return self._closed

    @property
    def has_path(self) -> bool:
        """Return whether one of their transports is connected."""
        return any(t.ice_state in ("connected", "completed") for t in self.transports.values())

    @property
    def is_cut_off(self) -> bool:
        """Return whether none of their transports has a path any more; each would need an ICE restart."""
        states = [transport.ice_state for transport in self.transports.values()]
        return bool(states) and all(state == "disconnected" for state in states)

    def direction_of(self, transport_id: TransportId) -> Direction:
        """Return what one of their transports is for.

        Raises:
            TransportNotFoundError: They have no such transport.
        """
        try:
            return self._directions[transport_id]
        except KeyError:
            raise TransportNotFoundError(f"there is no transport {transport_id}") from None

    def receive_transport(self) -> WebRtcTransport:
        """Return their newest transport for receiving.

        Raises:
            TransportNotFoundError: They have none.
        """
        for transport_id in reversed(self.transports):
            if self._directions[transport_id] == "recv":
                return self.transports[transport_id]
        raise TransportNotFoundError(f"participant {self.id} has no receive transport; create one first")

    async def create_transport(
        self,
        direction: Direction,
        *,
        force_tcp: bool = False,
        max_incoming_bps: int | None = None,
    ) -> WebRtcTransport:
        """Open an endpoint for sending or receiving.

        Raises:
            CapacityError: The room has as many transports as allowed.
            RoomNotFoundError: The room was closed meanwhile.
            ParticipantNotFoundError: They left meanwhile.
            KickedError: A newer session of theirs took over meanwhile.
        """
        self._require_in_room()
        claim = self.ownership.claim(direction)
        self._pending_transports += 1
        try:
            with self.room.transport_slot():
                transport = await self.room.router.create_webrtc_transport(
                    udp=self.room.udp and not force_tcp,
                    tcp=self.room.tcp,
                    max_incoming_bps=max_incoming_bps,
                    padding=direction == "recv" and self.room.padding,
                )
        except InvalidStateError:
            self.room.require_open()
            raise
        finally:
            self._pending_transports -= 1
        if self._closed:
            transport.close("participant left")
            self._require_in_room()
        if not self.ownership.add(transport.id, direction, claim, now_s=self.room.now_s()):
            transport.close(REPLACED)
            raise KickedError("another session of yours took over while the transport was made")
        self.transports[transport.id] = transport
        self._directions[transport.id] = direction
        transport.media_started.subscribe(self._on_media)
        transport.closed.subscribe(lambda reason: self._on_transport_closed(transport, reason))
        self.room.add_transport(self, transport)
        return transport

    async def connect_transport(self, transport_id: TransportId, dtls_parameters: DtlsParameters) -> None:
        """Pass the client's parameters to a transport.

        Raises:
            TransportNotFoundError: They have no such transport.
            InvalidStateError: It was connected before.
        """
        await self._transport(transport_id).connect(dtls_parameters)

    async def produce(
        self,
        transport_id: TransportId,
        kind: MediaKind,
        rtp_parameters: RtpParameters,
        *,
        app_data: Mapping[str, object] | None = None,
        paused: bool = False,
    ) -> Producer:
        """Send a track to the room; one of each kind and named source.

        Args:
            transport_id: One of their transports for sending.
            kind: Audio or video.
            rtp_parameters: As the client has negotiated with itself.
            app_data: ``source`` names where the track comes from, such as camera or screen; there is one of
                each name, and any number of tracks without one.
            paused: Begin paused.

        Raises:
            TransportNotFoundError: They have no such transport.
            ProducerAlreadyExistsError: They send this kind from this named source already.
            CapacityError: The room has as many producers as allowed.
            InvalidRequestError: The parameters contradict themselves, or the transport is for receiving.
            UnsupportedCodecError: The room does not forward the codec.
        """
        transport = self._transport(transport_id)
        if self._directions[transport.id] != "send":
            raise InvalidRequestError(f"transport {transport_id} is for receiving", path="transportId")
        source = _source(app_data)
        key = None if source is None else (kind, source)
        if key is not None:
            if key in self._sources:
                raise ProducerAlreadyExistsError(
                    f"participant {self.id} already sends {kind} from {source}; close that producer first",
                    {"kind": kind, "source": source},
                )
            self._sources.add(key)
        try:
            with self.room.producer_slot():
                producer = await transport.produce(kind, rtp_parameters, app_data=app_data, paused=paused)
        except BaseException:
            self._free_source(key)
            raise
        self.producers[producer.id] = producer
        producer.closed.subscribe(lambda reason: self._on_producer_closed(producer, key, reason))
        self.room.add_producer(self, producer)
        return producer

    async def consume(
        self,
        producer_ids: Sequence[ProducerId],
        rtp_capabilities: RtpCapabilities | None = None,
        *,
        paused: bool = True,
    ) -> list[Consumer | MeeshyError]:
        """Receive tracks of others on the newest receive transport; each succeeds or fails alone, in order.

        A track is received once on a transport: who asks again would multiply what the server sends.

        Args:
            producer_ids: Of other participants of the room.
            rtp_capabilities: What the client can decode; None takes what it said on joining.
            paused: Begin paused (default), so that the client can build its side before the key frame comes.

        Raises:
            TransportNotFoundError: They have no receive transport.
            CapacityError: They have as many consumers as allowed.
            InvalidRequestError: They never said what they can decode.
        """
        transport = self.receive_transport()
        capabilities = rtp_capabilities or self.rtp_capabilities
        if capabilities is None:
            raise InvalidRequestError("is missing, and was not given on joining", path="rtpCapabilities")
        limit = self.room.limits.consumers_per_participant
        if len(self.consumers) + len(self._pending_consumers) + len(producer_ids) > limit:
            raise CapacityError(
                f"participant {self.id} may have {limit} consumers", {"limit": "consumers_per_participant"}
            )
        found = self._consumable(transport, producer_ids)
        producers = [producer for producer in found if isinstance(producer, Producer)]
        keys = {(transport.id, producer.id) for producer in producers}
        self._pending_consumers |= keys
        try:
            made = iter(await transport.consume_many(producers, capabilities, paused=paused))
        finally:
            self._pending_consumers -= keys
        results: list[Consumer | MeeshyError] = []
        for entry in found:
            result = next(made) if isinstance(entry, Producer) else entry
            if isinstance(result, Consumer):
                self._add_consumer(result)
            results.append(result)
        return results

    def _consumable(
        self, transport: WebRtcTransport, producer_ids: Sequence[ProducerId]
    ) -> list[Producer | MeeshyError]:
        """Find each producer, or the reason why it cannot be received on this transport."""
        received = {consumer.producer.id: consumer.id for consumer in transport.consumers.values()}
        found: list[Producer | MeeshyError] = []
        for producer_id in producer_ids:
            producer = self.room.find_producer(producer_id)
            if producer is None:
                found.append(_no_producer(producer_id))
            elif producer_id in received or (transport.id, producer_id) in self._pending_consumers:
                found.append(_already_received(transport, producer_id, received.get(producer_id)))
            else:
                found.append(producer)
        return found

    async def resume_consumers(self, consumer_ids: Sequence[ConsumerId]) -> list[ConsumerId]:
        """Let tracks flow, pictures beginning with a key frame; gives the ids that are unknown."""
        return await self._set_paused(consumer_ids, paused=False)

    async def pause_consumers(self, consumer_ids: Sequence[ConsumerId]) -> list[ConsumerId]:
        """Hold tracks; gives the ids that are unknown."""
        return await self._set_paused(consumer_ids, paused=True)

    def close_consumer(self, consumer_id: ConsumerId) -> None:
        """Stop receiving a track.

        Raises:
            ConsumerNotFoundError: They have no such consumer.
        """
        consumer = self.consumers.get(consumer_id)
        if consumer is None:
            raise ConsumerNotFoundError(f"there is no consumer {consumer_id}")
        consumer.close("closed by the receiver")

    def close_producer(self, producer_id: ProducerId) -> None:
        """Stop sending a track, which ends it for all receivers.

        Raises:
            ProducerNotFoundError: They have no such producer.
        """
        producer = self.producers.get(producer_id)
        if producer is None:
            raise _no_producer(producer_id)
        producer.close()

    def close_transport(self, transport_id: TransportId) -> None:
        """Close a transport with its tracks.

        Raises:
            TransportNotFoundError: They have no such transport.
        """
        self._transport(transport_id).close("closed by the participant")

    def await_media(self, now_s: float) -> None:
        """Take note that there is media to be received from now on; for the room."""
        if self._awaits_media_s is None:
            self._awaits_media_s = now_s

    def take_over(self) -> None:
        """Let a new session begin; what the former one owned is closed, what was made for this one stays."""
        for transport_id in self.ownership.begin(now_s=self.room.now_s()):
            self.transports[transport_id].close(REPLACED)

    def end_session(self, reason: str) -> None:
        """Leave because the session says so; a newer one that is coming in keeps the place and what it has made."""
        if not self.ownership.has_successor(now_s=self.room.now_s()):
            self.leave(reason)
            return
        self.ownership.away()
        for transport_id in self.ownership.of_session(now_s=self.room.now_s()):
            self.transports[transport_id].close(reason)

    def leave(self, reason: str = "left") -> None:
        """Leave the room; the last one out closes it. Idempotent."""
        self.room.remove_participant(self, reason)

    def close(self, reason: str) -> None:
        """Close all they have; for the room. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for transport in tuple(self.transports.values()):
            transport.close(reason)

    def _transport(self, transport_id: TransportId) -> WebRtcTransport:
        transport = self.transports.get(transport_id)
        if transport is None:
            raise TransportNotFoundError(f"there is no transport {transport_id}")
        return transport

    def _add_consumer(self, consumer: Consumer) -> None:
        self.consumers[consumer.id] = consumer
        consumer.closed.subscribe(lambda reason: self._on_consumer_closed(consumer, reason))
        self.room.add_consumer(self, consumer)

    async def _set_paused(self, consumer_ids: Sequence[ConsumerId], *, paused: bool) -> list[ConsumerId]:
        by_transport: dict[WebRtcTransport, list[Consumer]] = {}
        missing: list[ConsumerId] = []
        for consumer_id in consumer_ids:
            consumer = self.consumers.get(consumer_id)
            if consumer is None:
                missing.append(consumer_id)
            else:
                by_transport.setdefault(consumer.transport, []).append(consumer)
        for transport, consumers in by_transport.items():
            if paused:
                await transport.pause_consumers(consumers)
            else:
                await transport.resume_consumers(consumers)
        return missing

    def _on_media(self) -> None:
        if not self._has_media and self._awaits_media_s is not None:
            self._has_media = True
            self.room.media_started(self, self.room.now_s() - self._awaits_media_s)

    def _on_transport_closed(self, transport: WebRtcTransport, reason: str) -> None:
        self.transports.pop(transport.id, None)
        self._directions.pop(transport.id, None)
        self.ownership.remove(transport.id)
        self.room.forget_transport(transport)
        given_up = transport.failure is not None and not self._closed
        if given_up and not self.transports and not self._pending_transports:
            self.leave(f"connection lost: {reason}")

    def _free_source(self, key: tuple[MediaKind, Source] | None) -> None:
        if key is not None:
            self._sources.discard(key)

    def _on_producer_closed(
        self, producer: Producer, key: tuple[MediaKind, Source] | None, reason: str
    ) -> None:
        self._free_source(key)
        self.producers.pop(producer.id, None)
        self.room.forget_producer(self, producer, reason)

    def _on_consumer_closed(self, consumer: Consumer, reason: str) -> None:
        self.consumers.pop(consumer.id, None)
        self.room.forget_consumer(self, consumer, reason)

    def _require_in_room(self) -> None:
        if self._closed:
            raise ParticipantNotFoundError(f"participant {self.id} has left")


def _source(app_data: Mapping[str, object] | None) -> Source | None:
    source = (app_data or {}).get("source")
    if source is None:
        return None
    problem = name_problem(source, max_chars=MAX_SOURCE)
    if not isinstance(source, str) or problem is not None:
        raise InvalidRequestError(str(problem), path="appData.source")
    return source


def _already_received(
    transport: WebRtcTransport, producer_id: ProducerId, consumer_id: ConsumerId | None
) -> ConsumerAlreadyExistsError:
    details = {"transportId": transport.id, "producerId": producer_id}
    if consumer_id is None:
        return ConsumerAlreadyExistsError(
            f"another request is making a consumer of producer {producer_id}; use that one", details
        )
    return ConsumerAlreadyExistsError(
        f"producer {producer_id} is received by consumer {consumer_id} already; use or close that one",
        details | {"consumerId": consumer_id},
    )


def _no_producer(producer_id: ProducerId) -> ProducerNotFoundError:
    return ProducerNotFoundError(f"there is no producer {producer_id}")
