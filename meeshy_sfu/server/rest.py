"""The REST API of calls: rooms, transports, producers, consumers.

Handlers get checked input from guard.py and put rooms' objects on the wire; rules of calls are in rooms/.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.border import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.edge.tokens import check_id
from meeshy_sfu.errors import (
    CapacityError,
    ConsumerCreationError,
    ConsumerNotFoundError,
    ForbiddenError,
    InvalidRequestError,
    InvalidStateError,
    MeeshyError,
    NotFoundError,
    ParticipantNotFoundError,
    ProducerAlreadyExistsError,
    ProducerCreationError,
    ProducerNotFoundError,
    RoomAlreadyExistsError,
    RoomFullError,
    RoomNotFoundError,
    TransportConnectionError,
    TransportNotFoundError,
    UnavailableError,
    UnsupportedCodecError,
)
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ConsumerId, ProducerId, TransportId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import Wire
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from meeshy_sfu.server import schemas
from meeshy_sfu.server.auth import ROOM_OWNER_ROLES, Claims
from meeshy_sfu.server.guard import Call
from meeshy_sfu.server.metrics import Metrics

ROOM = "/api/rooms/{callId}"
TRANSPORTS = f"{ROOM}/transports"
TRANSPORT = f"{TRANSPORTS}/{{transportId}}"
PRODUCER = f"{ROOM}/producers/{{producerId}}"
CONSUMERS = f"{ROOM}/consumers"
CONSUMER = f"{CONSUMERS}/{{consumerId}}"

_ROOMS, _TRANSPORTS, _PRODUCERS, _CONSUMERS = "Rooms", "Transports", "Producers", "Consumers"


class RestApi:
    """Answer requests about calls. Every object is looked up in the caller's own call and its owner compared."""

    def __init__(
        self,
        *,
        settings: Settings,
        pool: WorkerPool,
        rooms: RoomRegistry,
        clock: Clock,
        metrics: Metrics,
        on_transport: Callable[[Participant, WebRtcTransport], None],
    ) -> None:
        self._settings = settings
        self._on_transport = on_transport
        self._pool = pool
        self._rooms = rooms
        self._clock = clock
        self._metrics = metrics
        self._creators: dict[str, str] = {}
        self._creating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ---- rooms ---------------------------------------------------------------------------------------------------

    @handles(
        Route(
            "POST",
            f"{ROOM}/create",
            "Create the room of a call",
            _ROOMS,
            body=schemas.CreateRoomRequest,
            data=schemas.RoomData,
            quota="create",
            errors=(RoomAlreadyExistsError, UnsupportedCodecError, CapacityError, UnavailableError),
        )
    )
    async def create_room(self, call: Call, body: schemas.CreateRoomRequest) -> web.Response:
        """Open a room; optional mediaCodecs say what it forwards."""
        return success(_room(await self._create(call, body.media_codecs)))

    @handles(
        Route("GET", ROOM, "Look at a room", _ROOMS, data=schemas.RoomDetails, errors=(RoomNotFoundError,))
    )
    async def get_room(self, call: Call) -> web.Response:
        """Show a room with its size."""
        room = self._room(call)
        created_at = datetime.fromtimestamp(room.created_at_s, UTC).isoformat(timespec="milliseconds")
        data = _room(room) | {
            "participantCount": len(room.participants),
            "createdAt": created_at.replace("+00:00", "Z"),
        }
        return success(data)

    @handles(
        Route(
            "DELETE",
            ROOM,
            "End a call for everybody; for services, initiators and whoever created the room",
            _ROOMS,
            errors=(RoomNotFoundError,),
        )
    )
    async def destroy_room(self, call: Call) -> web.Response:
        """Close a room with all in it."""
        room = self._room(call)
        may = call.claims.role in ROOM_OWNER_ROLES or self._creators.get(room.id) == call.claims.subject
        if not may:
            raise ForbiddenError(
                "only a service, the call's initiator or the creator of the room may end it for everybody"
            )
        room.close("closed")
        return success(message="Room destroyed")

    @handles(
        Route(
            "POST",
            f"{ROOM}/join",
            "Come in and get both transports at once",
            _ROOMS,
            body=schemas.JoinRequest,
            data=schemas.JoinData,
            quota="transports",
            cost=2,
            errors=(RoomNotFoundError, RoomFullError, CapacityError, UnavailableError, UnsupportedCodecError),
        )
    )
    async def join(self, call: Call, body: schemas.JoinRequest) -> web.Response:
        """Let a participant in with a send and a receive transport, and list what there is to receive."""
        call.claims.require_participant(body.participant_id)
        room = await self._find_or_create(call) if body.create else self._room(call)
        self._check_tcp(force=body.force_tcp)
        participant, send, recv = await room.join_with_transports(
            ParticipantId(body.participant_id),
            rtp_capabilities=body.rtp_capabilities,
            app_data=body.app_data,
            force_tcp=body.force_tcp,
        )
        for transport in (send, recv):
            self._watch(participant, transport)
        if self._settings.max_incoming_bps:
            await send.set_max_incoming_bitrate(self._settings.max_incoming_bps)
        return success(
            _room(room)
            | {
                "sendTransport": _transport(send),
                "recvTransport": _transport(recv),
                "producers": [
                    _producer(owner, producer) for owner, producer in room.producers(but=participant.id)
                ],
            }
        )

    @handles(
        Route(
            "POST",
            f"{ROOM}/participants/{{participantId}}/leave",
            "Leave a call; the last one out closes the room",
            _ROOMS,
            errors=(RoomNotFoundError, ParticipantNotFoundError),
        )
    )
    async def leave(self, call: Call) -> web.Response:
        """Close all that a participant has."""
        participant_id = ParticipantId(check_id(call.id("participantId"), "participantId"))
        call.claims.require_participant(participant_id)
        room = self._room(call)
        removed = call.claims.is_service and call.claims.participant_id != participant_id
        room.participant(participant_id).leave("removed" if removed else "left")
        return success(message="Participant left")

    # ---- transports ----------------------------------------------------------------------------------------------

    @handles(
        Route(
            "POST",
            TRANSPORTS,
            "Create a transport for one direction; the first one lets the participant in",
            _TRANSPORTS,
            body=schemas.CreateTransportRequest,
            data=schemas.TransportData,
            quota="transports",
            errors=(RoomNotFoundError, RoomFullError, CapacityError, UnavailableError),
        )
    )
    async def create_transport(self, call: Call, body: schemas.CreateTransportRequest) -> web.Response:
        """Open an ICE and DTLS endpoint."""
        call.claims.require_participant(body.participant_id)
        room = self._room(call)
        self._check_tcp(force=body.force_tcp)
        participant_id = ParticipantId(body.participant_id)
        known = room.participants.get(participant_id)
        limit = self._settings.max_transports_per_participant
        if known is not None and len(known.transports) >= limit:
            raise CapacityError(
                f"participant {participant_id} has {limit} transports; "
                "the cap is max_transports_per_participant",
                {"limit": "transports_per_participant"},
            )
        transport = await room.create_transport(
            participant_id,
            body.direction,
            force_tcp=body.force_tcp,
            max_incoming_bps=self._settings.max_incoming_bps or None,
        )
        self._watch(room.participant(participant_id), transport)
        return success(_transport(transport))

    @handles(
        Route(
            "POST",
            f"{TRANSPORT}/connect",
            "Give the client's DTLS parameters; once",
            _TRANSPORTS,
            body=schemas.ConnectTransportRequest,
            quota="connect",
            errors=(RoomNotFoundError, TransportNotFoundError, InvalidStateError, TransportConnectionError),
        )
    )
    async def connect_transport(self, call: Call, body: schemas.ConnectTransportRequest) -> web.Response:
        """Start the DTLS handshake as soon as ICE has found the client."""
        _, transport = self._own_transport(call)
        await transport.connect(body.dtls_parameters)
        return success(message="Transport connected")

    @handles(
        Route(
            "POST",
            f"{TRANSPORT}/restart-ice",
            "Get fresh ICE credentials, for a client whose network changed",
            _TRANSPORTS,
            data=schemas.IceRestartData,
            quota="connect",
            errors=(RoomNotFoundError, TransportNotFoundError),
        )
    )
    async def restart_ice(self, call: Call) -> web.Response:
        """Renew the credentials; the old ones hold until the first check with the new."""
        _, transport = self._own_transport(call)
        return success({"iceParameters": (await transport.restart_ice()).to_wire()})

    @handles(
        Route(
            "POST",
            f"{TRANSPORT}/max-incoming-bitrate",
            "Limit what the client of a transport is asked to send",
            _TRANSPORTS,
            body=schemas.MaxIncomingBitrateRequest,
            errors=(RoomNotFoundError, TransportNotFoundError),
        )
    )
    async def set_max_incoming_bitrate(
        self, call: Call, body: schemas.MaxIncomingBitrateRequest
    ) -> web.Response:
        """Set or lift the limit."""
        _, transport = self._own_transport(call)
        await transport.set_max_incoming_bitrate(body.bitrate or None)
        return success(message="Limit set")

    @handles(
        Route(
            "GET",
            f"{TRANSPORT}/stats",
            "Counters of a transport",
            _TRANSPORTS,
            data=schemas.StatsData,
            errors=(RoomNotFoundError, TransportNotFoundError),
        )
    )
    async def transport_stats(self, call: Call) -> web.Response:
        """Give the counters."""
        _, transport = self._own_transport(call)
        state: dict[str, object] = {
            "iceState": transport.ice_state,
            "dtlsState": transport.dtls_state,
            "selected": None
            if transport.selected is None
            else {
                "local": transport.selected.local,
                "remote": transport.selected.remote,
                "protocol": transport.selected.protocol,
            },
            "srtpProfile": transport.srtp_profile,
            "dtlsVersion": transport.dtls_version,
        }
        return success({"stats": state | _camel(await transport.stats())})

    @handles(
        Route(
            "DELETE",
            TRANSPORT,
            "Close a transport with its producers and consumers",
            _TRANSPORTS,
            errors=(RoomNotFoundError, TransportNotFoundError),
        )
    )
    async def close_transport(self, call: Call) -> web.Response:
        """Close it; the participant stays."""
        _, transport = self._own_transport(call)
        transport.close("closed by the participant")
        return success(message="Transport closed")

    # ---- producers -----------------------------------------------------------------------------------------------

    @handles(
        Route(
            "POST",
            f"{TRANSPORT}/produce",
            "Send a track",
            _PRODUCERS,
            body=schemas.ProduceRequest,
            data=schemas.ProduceData,
            errors=(
                RoomNotFoundError,
                TransportNotFoundError,
                ProducerAlreadyExistsError,
                UnsupportedCodecError,
                CapacityError,
                ProducerCreationError,
            ),
        )
    )
    async def produce(self, call: Call, body: schemas.ProduceRequest) -> web.Response:
        """Take in a track and tell the others."""
        began_s = self._clock.monotonic_s()
        call.claims.require_participant(body.participant_id)
        participant, transport = self._own_transport(call)
        if participant.id != body.participant_id:
            raise ForbiddenError(f"transport {transport.id} belongs to another participant")
        limit = self._settings.max_producers_per_participant
        if len(participant.producers) >= limit:
            raise CapacityError(
                f"participant {participant.id} has {limit} producers; the cap is max_producers_per_participant",
                {"limit": "producers_per_participant"},
            )
        producer = await participant.produce(
            transport.id, body.kind, body.rtp_parameters, app_data=body.app_data, paused=body.paused
        )
        self._metrics.producer_creation.observe(self._clock.monotonic_s() - began_s)
        return success({"producerId": producer.id, "id": producer.id, "kind": producer.kind})

    @handles(
        Route(
            "POST",
            f"{PRODUCER}/pause",
            "Hold a track for everybody",
            _PRODUCERS,
            errors=(RoomNotFoundError, ProducerNotFoundError),
        )
    )
    async def pause_producer(self, call: Call) -> web.Response:
        """Stop forwarding; receivers hear consumer-paused."""
        await self._own_producer(call).pause()
        return success(message="Producer paused")

    @handles(
        Route(
            "POST",
            f"{PRODUCER}/resume",
            "Let a track flow again",
            _PRODUCERS,
            errors=(RoomNotFoundError, ProducerNotFoundError),
        )
    )
    async def resume_producer(self, call: Call) -> web.Response:
        """Forward again; receivers hear consumer-resumed."""
        await self._own_producer(call).resume()
        return success(message="Producer resumed")

    @handles(
        Route(
            "GET",
            f"{PRODUCER}/stats",
            "Counters of a track",
            _PRODUCERS,
            data=schemas.StatsData,
            errors=(RoomNotFoundError, ProducerNotFoundError),
        )
    )
    async def producer_stats(self, call: Call) -> web.Response:
        """Give the counters."""
        return success({"stats": _camel(await self._own_producer(call).stats())})

    @handles(
        Route(
            "DELETE",
            PRODUCER,
            "End a track; closes its consumers and tells the others",
            _PRODUCERS,
            errors=(RoomNotFoundError, ProducerNotFoundError),
        )
    )
    async def close_producer(self, call: Call) -> web.Response:
        """Close it."""
        self._own_producer(call).close()
        return success(message="Producer closed")

    # ---- consumers -----------------------------------------------------------------------------------------------

    @handles(
        Route(
            "POST",
            f"{ROOM}/consume",
            "Receive one track, or several at once, on the newest receive transport",
            _CONSUMERS,
            body=schemas.ConsumeRequest,
            data=schemas.ConsumeAnswer,
            quota="consume",
            errors=(
                RoomNotFoundError,
                ParticipantNotFoundError,
                TransportNotFoundError,
                ProducerNotFoundError,
                UnsupportedCodecError,
                CapacityError,
                ConsumerCreationError,
            ),
        )
    )
    async def consume(self, call: Call, body: schemas.ConsumeRequest) -> web.Response:
        """Make consumers, born paused; of a batch, each succeeds or fails alone."""
        began_s = self._clock.monotonic_s()
        call.claims.require_participant(body.participant_id)
        participant = self._consuming_participant(call, body)
        wanted = body.producer_ids or [str(body.producer_id)]
        results = await participant.consume(
            [ProducerId(producer_id) for producer_id in wanted], body.rtp_capabilities, paused=body.paused
        )
        self._metrics.consumer_creation.observe(self._clock.monotonic_s() - began_s)
        owners = {producer.id: owner for owner, producer in participant.room.producers()}
        if body.producer_ids is None:
            (result,) = results
            if isinstance(result, MeeshyError):
                raise result
            return success(_consumer(result, owners))
        items = [
            _failure(result, "producerId", producer_id)
            if isinstance(result, MeeshyError)
            else _consumer(result, owners)
            for producer_id, result in zip(wanted, results, strict=True)
        ]
        return success({"consumers": items})

    @handles(
        Route(
            "POST",
            f"{CONSUMERS}/resume",
            "Let several tracks flow; pictures begin with a key frame",
            _CONSUMERS,
            body=schemas.ConsumersRequest,
            data=schemas.ResumedData,
            errors=(RoomNotFoundError,),
        )
    )
    async def resume_consumers(self, call: Call, body: schemas.ConsumersRequest) -> web.Response:
        """Resume a batch; each succeeds or fails alone."""
        done, errors = await self._set_paused(call, body.consumer_ids, paused=False)
        return success({"resumed": done, "errors": errors})

    @handles(
        Route(
            "POST",
            f"{CONSUMERS}/pause",
            "Hold several tracks",
            _CONSUMERS,
            body=schemas.ConsumersRequest,
            data=schemas.PausedData,
            errors=(RoomNotFoundError,),
        )
    )
    async def pause_consumers(self, call: Call, body: schemas.ConsumersRequest) -> web.Response:
        """Pause a batch; each succeeds or fails alone."""
        done, errors = await self._set_paused(call, body.consumer_ids, paused=True)
        return success({"paused": done, "errors": errors})

    @handles(
        Route(
            "POST",
            f"{CONSUMER}/resume",
            "Let a track flow; pictures begin with a key frame",
            _CONSUMERS,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def resume_consumer(self, call: Call) -> web.Response:
        """Resume one."""
        await self._own_consumer(call).resume()
        return success(message="Consumer resumed")

    @handles(
        Route(
            "POST",
            f"{CONSUMER}/pause",
            "Hold a track",
            _CONSUMERS,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def pause_consumer(self, call: Call) -> web.Response:
        """Pause one."""
        await self._own_consumer(call).pause()
        return success(message="Consumer paused")

    @handles(
        Route(
            "POST",
            f"{CONSUMER}/preferred-layers",
            "Choose the best layers to receive; of a simple track nothing",
            _CONSUMERS,
            body=schemas.PreferredLayersRequest,
            data=schemas.PreferredLayersData,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def set_preferred_layers(self, call: Call, body: schemas.PreferredLayersRequest) -> web.Response:
        """Set the layers, clamped to what there is."""
        layers = self._own_consumer(call).set_preferred_layers(body.spatial_layer, body.temporal_layer)
        chosen = None
        if layers is not None:
            chosen = {"spatialLayer": layers.spatial_layer, "temporalLayer": layers.temporal_layer}
        return success({"preferredLayers": chosen})

    @handles(
        Route(
            "GET",
            f"{CONSUMER}/stats",
            "Counters of a received track",
            _CONSUMERS,
            data=schemas.StatsData,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def consumer_stats(self, call: Call) -> web.Response:
        """Give the counters."""
        return success({"stats": _camel(await self._own_consumer(call).stats())})

    @handles(
        Route(
            "DELETE",
            CONSUMER,
            "Stop receiving a track",
            _CONSUMERS,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def close_consumer(self, call: Call) -> web.Response:
        """Close it."""
        self._own_consumer(call).close("closed by the receiver")
        return success(message="Consumer closed")

    # ---- development ---------------------------------------------------------------------------------------------

    @handles(
        Route(
            "POST",
            "/api/dev/workers/{index}/panic",
            "Make a worker die, to see what its calls do; for services, in development mode only",
            "Development",
            errors=(NotFoundError,),
            development_only=True,
        )
    )
    async def panic_worker(self, call: Call) -> web.Response:
        """Break a worker; the pool replaces it."""
        if not call.claims.is_service:
            raise ForbiddenError("only a service may break workers")
        index = call.id("index")
        workers = [worker for worker in self._pool.workers if str(worker.index) == index]
        if not workers:
            raise NotFoundError(f"there is no worker {index[:20]}")
        await workers[0].panic()
        return success(message="Worker broken")

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _room(self, call: Call) -> Room:
        return self._rooms.get(CallId(call.call_id))

    async def _find_or_create(self, call: Call) -> Room:
        """Give the call's room; when all come at once, the first creates it and the others wait for that."""
        lock = self._creating.setdefault(call.call_id, asyncio.Lock())
        async with lock:
            return self._rooms.find(CallId(call.call_id)) or await self._create(call, None)

    async def _create(self, call: Call, media_codecs: Any) -> Room:
        room = await self._rooms.create(CallId(call.call_id), media_codecs)
        live = {known.id for known in self._rooms.rooms}
        self._creators = {room_id: who for room_id, who in self._creators.items() if room_id in live}
        self._creators[room.id] = call.claims.subject
        return room

    def _check_tcp(self, *, force: bool) -> None:
        if force and not self._settings.tcp:
            raise InvalidRequestError("this server offers no TCP; its setting is tcp", path="forceTcp")

    def _watch(self, participant: Participant, transport: WebRtcTransport) -> None:
        transport.dtls_state_changed.subscribe(self._connection_timer())
        self._on_transport(participant, transport)

    def _connection_timer(self) -> Callable[[str], None]:
        created_s = self._clock.monotonic_s()

        def note(state: str) -> None:
            if state == "connected":
                self._metrics.transport_connection.observe(self._clock.monotonic_s() - created_s)

        return note

    def _own_transport(self, call: Call) -> tuple[Participant, WebRtcTransport]:
        return self._room(call).transport(TransportId(call.id("transportId")), by=_who(call.claims))

    def _own_producer(self, call: Call) -> Producer:
        return self._room(call).producer(ProducerId(call.id("producerId")), by=_who(call.claims))[1]

    def _own_consumer(self, call: Call) -> Consumer:
        return self._room(call).consumer(ConsumerId(call.id("consumerId")), by=_who(call.claims))[1]

    def _consuming_participant(self, call: Call, body: schemas.ConsumeRequest) -> Participant:
        room = self._room(call)
        participant = room.participants.get(ParticipantId(body.participant_id))
        if participant is None:
            # without a transport there is nothing to consume on, whoever asks
            raise TransportNotFoundError(
                f"participant {body.participant_id} has no receive transport; create one first"
            )
        if body.producer_ids is not None and len(set(body.producer_ids)) != len(body.producer_ids):
            raise InvalidRequestError("must not name a producer twice", path="producerIds")
        return participant

    async def _set_paused(
        self, call: Call, consumer_ids: Sequence[str], *, paused: bool
    ) -> tuple[list[str], list[Wire]]:
        room, who = self._room(call), _who(call.claims)
        by_owner: dict[Participant, list[ConsumerId]] = {}
        errors: list[Wire] = []
        for consumer_id in dict.fromkeys(consumer_ids):
            try:
                owner, consumer = room.consumer(ConsumerId(consumer_id), by=who)
            except MeeshyError as error:
                errors.append(_failure(error, "consumerId", consumer_id))
            else:
                by_owner.setdefault(owner, []).append(consumer.id)
        done: list[str] = []
        for owner, ids in by_owner.items():
            change = owner.pause_consumers if paused else owner.resume_consumers
            gone = set(await change(ids))
            done += [consumer_id for consumer_id in ids if consumer_id not in gone]
            errors += [
                _failure(ConsumerNotFoundError(f"there is no consumer {item}"), "consumerId", item)
                for item in gone
            ]
        return done, errors


def _who(claims: Claims) -> ParticipantId | None:
    """Give whose objects may be touched; None: everybody's."""
    return None if claims.is_service else ParticipantId(str(claims.participant_id))


def _room(room: Room) -> Wire:
    return {
        "roomId": room.id,
        "routerId": room.router.id,
        "rtpCapabilities": room.router.rtp_capabilities.to_wire(),
    }


def _transport(transport: WebRtcTransport) -> Wire:
    return {
        "transportId": transport.id,
        "id": transport.id,
        "iceParameters": transport.ice_parameters.to_wire(),
        "iceCandidates": [candidate.to_wire() for candidate in transport.ice_candidates],
        "dtlsParameters": transport.dtls_parameters.to_wire(),
        "sctpParameters": None,
    }


def _producer(owner: Participant, producer: Producer) -> Wire:
    return {
        "participantId": owner.id,
        "producerId": producer.id,
        "kind": producer.kind,
        "appData": dict(producer.app_data),
        "paused": producer.paused,
    }


def _consumer(consumer: Consumer, owners: Mapping[ProducerId, Participant]) -> Wire:
    producer = consumer.producer
    owner = owners.get(producer.id)
    return {
        "consumerId": consumer.id,
        "id": consumer.id,
        "producerId": producer.id,
        "kind": consumer.kind,
        "rtpParameters": consumer.rtp_parameters.to_wire(),
        "type": consumer.type,
        "producerPaused": consumer.producer_paused,
        "paused": consumer.paused,
        "participantId": "" if owner is None else owner.id,
        "appData": dict(producer.app_data),
    }


def _failure(error: MeeshyError, name: str, value: str) -> Wire:
    return {name: value, "error": {"code": error.code, "message": error.message}}


def _camel(values: Mapping[str, object]) -> Wire:
    """Write counters with wire names; they come from the core in snake_case."""

    def rename(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    def convert(value: object) -> object:
        if isinstance(value, Mapping):
            return {rename(str(name)): convert(member) for name, member in value.items()}
        if isinstance(value, (list, tuple)):
            return [convert(item) for item in value]
        return value

    return {rename(name): convert(value) for name, value in values.items()}
