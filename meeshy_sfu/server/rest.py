"""The REST API of calls: rooms, transports, producers; consumers are in rest_consumers.py.

Handlers get checked input from rest_dispatch.py and put rooms' objects on the wire; rules of calls are in rooms/.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import check_id
from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import (
    CapacityError,
    ForbiddenError,
    InvalidRequestError,
    InvalidStateError,
    KickedError,
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
from meeshy_sfu.media.ids import ProducerId, TransportId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from meeshy_sfu.server import schemas
from meeshy_sfu.server.auth import ROOM_OWNER_ROLES
from meeshy_sfu.server.metrics import Metrics
from meeshy_sfu.server.representation import (
    acting_for,
    camel_case,
    join_data,
    moment_wire,
    room_data,
    room_details,
    transport_data,
)
from meeshy_sfu.server.rest_dispatch import RestRequest

ROOM = "/api/rooms/{callId}"
TRANSPORTS = f"{ROOM}/transports"
TRANSPORT = f"{TRANSPORTS}/{{transportId}}"
PRODUCER = f"{ROOM}/producers/{{producerId}}"

_ROOMS, _TRANSPORTS, _PRODUCERS = "Rooms", "Transports", "Producers"


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
    async def create_room(self, request: RestRequest, body: schemas.CreateRoomRequest) -> web.Response:
        """Open a room; optional mediaCodecs say what it forwards."""
        if body.prewarm and not request.claims.is_service:
            raise ForbiddenError("only a service may make rooms in advance")
        if body.owner is not None and not request.claims.is_service:
            raise ForbiddenError("only a service may name the owner of a room")
        async with self._creation(request):
            room = await self._create(request, body.media_codecs, in_advance=body.prewarm)
        room.owner = body.owner
        return success(room_data(room))

    @handles(
        Route("GET", ROOM, "Look at a room", _ROOMS, data=schemas.RoomDetails, errors=(RoomNotFoundError,))
    )
    async def get_room(self, request: RestRequest) -> web.Response:
        """Show a room with its size."""
        return success(room_details(self._room(request)))

    @handles(
        Route(
            "DELETE",
            ROOM,
            "End a call for all participants; for services, initiators and whoever created the room",
            _ROOMS,
            errors=(RoomNotFoundError,),
        )
    )
    async def destroy_room(self, request: RestRequest) -> web.Response:
        """Close a room with all in it; one that is being made is waited for, so that 404 holds."""
        async with self._creation(request):
            self._destroy(request)
        return success(message="Room destroyed")

    def _destroy(self, request: RestRequest) -> None:
        room = self._room(request)
        may = request.claims.role in ROOM_OWNER_ROLES or self._creators.get(room.id) == request.claims.subject
        if not may:
            raise ForbiddenError(
                "only a service, the call's initiator or the creator of the room may end it for all participants"
            )
        room.close("closed")

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
    async def join(self, request: RestRequest, body: schemas.JoinRequest) -> web.Response:
        """Let a participant in with a send and a receive transport, and list what there is to receive."""
        request.claims.require_participant(body.participant_id)
        room = await self._find_or_create(request) if body.create else self._room(request)
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
        return success(join_data(room, participant, send, recv))

    @handles(
        Route(
            "POST",
            f"{ROOM}/participants/{{participantId}}/leave",
            "Leave a call; the last one out closes the room. A participant who has left already gets when and why",
            _ROOMS,
            data=schemas.LeftData,
            errors=(RoomNotFoundError, ParticipantNotFoundError),
        )
    )
    async def leave(self, request: RestRequest) -> web.Response:
        """Close all that a participant has; again, it only says what happened."""
        participant_id = ParticipantId(check_id(request.id("participantId"), "participantId"))
        request.claims.require_participant(participant_id)
        room = self._rooms.find(CallId(request.call_id))
        here = None if room is None else room.participants.get(participant_id)
        if here is not None:
            removed = request.claims.is_service and request.claims.participant_id != participant_id
            here.leave("removed" if removed else "left")
        departure = self._rooms.departures.find(request.call_id, participant_id)
        if departure is None:
            # no participant of this id was in the room; raises the error that says so
            self._room(request).participant(participant_id)
            raise ParticipantNotFoundError(f"participant {participant_id} is not in call {request.call_id}")
        data = schemas.LeftData(
            participant_id=participant_id,
            left_at=moment_wire(departure.left_at_s),
            reason=departure.reason,
        )
        return success(data, message="Participant left")

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
            errors=(RoomNotFoundError, RoomFullError, CapacityError, UnavailableError, KickedError),
        )
    )
    async def create_transport(
        self, request: RestRequest, body: schemas.CreateTransportRequest
    ) -> web.Response:
        """Open an ICE and DTLS endpoint."""
        request.claims.require_participant(body.participant_id)
        room = self._room(request)
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
        return success(transport_data(transport))

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
    async def connect_transport(
        self, request: RestRequest, body: schemas.ConnectTransportRequest
    ) -> web.Response:
        """Start the DTLS handshake as soon as ICE has found the client."""
        _, transport = self._own_transport(request)
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
    async def restart_ice(self, request: RestRequest) -> web.Response:
        """Renew the credentials; the old ones hold until the first check with the new."""
        _, transport = self._own_transport(request)
        fresh = await transport.restart_ice()
        return success(schemas.IceRestartData(ice_parameters=fresh.to_wire()))

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
        self, request: RestRequest, body: schemas.MaxIncomingBitrateRequest
    ) -> web.Response:
        """Set or lift the limit."""
        _, transport = self._own_transport(request)
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
    async def transport_stats(self, request: RestRequest) -> web.Response:
        """Return the counters."""
        _, transport = self._own_transport(request)
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
        return success(schemas.StatsData(stats=state | camel_case(await transport.stats())))

    @handles(
        Route(
            "DELETE",
            TRANSPORT,
            "Close a transport with its producers and consumers",
            _TRANSPORTS,
            errors=(RoomNotFoundError, TransportNotFoundError),
        )
    )
    async def close_transport(self, request: RestRequest) -> web.Response:
        """Close it; the participant stays."""
        _, transport = self._own_transport(request)
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
    async def produce(self, request: RestRequest, body: schemas.ProduceRequest) -> web.Response:
        """Take in a track and notify the other participants."""
        began_s = self._clock.monotonic_s()
        request.claims.require_participant(body.participant_id)
        participant, transport = self._own_transport(request)
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
        data = schemas.ProduceData(producer_id=producer.id, id=producer.id, kind=producer.kind)
        return success(data)

    @handles(
        Route(
            "POST",
            f"{PRODUCER}/pause",
            "Pause a track for all receivers",
            _PRODUCERS,
            errors=(RoomNotFoundError, ProducerNotFoundError),
        )
    )
    async def pause_producer(self, request: RestRequest) -> web.Response:
        """Stop forwarding; receivers hear consumer-paused."""
        await self._own_producer(request).pause()
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
    async def resume_producer(self, request: RestRequest) -> web.Response:
        """Forward again; receivers hear consumer-resumed."""
        await self._own_producer(request).resume()
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
    async def producer_stats(self, request: RestRequest) -> web.Response:
        """Return the counters."""
        return success(schemas.StatsData(stats=camel_case(await self._own_producer(request).stats())))

    @handles(
        Route(
            "DELETE",
            PRODUCER,
            "End a track; closes its consumers and notifies the other participants",
            _PRODUCERS,
            errors=(RoomNotFoundError, ProducerNotFoundError),
        )
    )
    async def close_producer(self, request: RestRequest) -> web.Response:
        """Close it."""
        self._own_producer(request).close()
        return success(message="Producer closed")

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
    async def panic_worker(self, request: RestRequest) -> web.Response:
        """Break a worker; the pool replaces it."""
        if not request.claims.is_service:
            raise ForbiddenError("only a service may break workers")
        index = request.id("index")
        workers = [worker for worker in self._pool.workers if str(worker.index) == index]
        if not workers:
            raise NotFoundError(f"there is no worker {index[:20]}")
        await workers[0].panic()
        return success(message="Worker broken")

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _room(self, request: RestRequest) -> Room:
        return self._rooms.get(CallId(request.call_id))

    async def _find_or_create(self, request: RestRequest) -> Room:
        """Return the call's room; of requests that come at once, the first creates it and the others wait for it."""
        async with self._creation(request):
            return self._rooms.find(CallId(request.call_id)) or await self._create(request, None)

    def _creation(self, request: RestRequest) -> asyncio.Lock:
        return self._creating.setdefault(request.call_id, asyncio.Lock())

    async def _create(self, request: RestRequest, media_codecs: Any, *, in_advance: bool = False) -> Room:
        room = await self._rooms.create(CallId(request.call_id), media_codecs, in_advance=in_advance)
        live = {known.id for known in self._rooms.rooms}
        self._creators = {room_id: who for room_id, who in self._creators.items() if room_id in live}
        self._creators[room.id] = request.claims.subject
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

    def _own_transport(self, request: RestRequest) -> tuple[Participant, WebRtcTransport]:
        return self._room(request).transport(
            TransportId(request.id("transportId")), by=acting_for(request.claims)
        )

    def _own_producer(self, request: RestRequest) -> Producer:
        return self._room(request).producer(
            ProducerId(request.id("producerId")), by=acting_for(request.claims)
        )[1]
