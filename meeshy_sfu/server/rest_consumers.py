"""The REST API of consumers: receiving tracks, one by one or many at once.

The other half of rest.py; rules of calls are in rooms/.
"""

from collections.abc import Sequence

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import (
    CapacityError,
    ConsumerAlreadyExistsError,
    ConsumerCreationError,
    ConsumerNotFoundError,
    InvalidRequestError,
    MeeshyError,
    ParticipantNotFoundError,
    ProducerNotFoundError,
    RoomNotFoundError,
    TransportNotFoundError,
    UnsupportedCodecError,
)
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ConsumerId, ProducerId
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from meeshy_sfu.server import schemas
from meeshy_sfu.server.metrics import Metrics
from meeshy_sfu.server.representation import (
    acting_for,
    camel_case,
    consume_failure,
    consumer_data,
    consumer_failure,
    layers_data,
)
from meeshy_sfu.server.rest_dispatch import RestRequest

ROOM = "/api/rooms/{callId}"
CONSUMERS = f"{ROOM}/consumers"
CONSUMER = f"{CONSUMERS}/{{consumerId}}"

_CONSUMERS = "Consumers"


class ConsumerApi:
    """Answer requests about consumers. Each is looked up in the caller's own call and its owner compared."""

    def __init__(self, *, rooms: RoomRegistry, clock: Clock, metrics: Metrics) -> None:
        self._rooms = rooms
        self._clock = clock
        self._metrics = metrics

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
                ConsumerAlreadyExistsError,
                UnsupportedCodecError,
                CapacityError,
                ConsumerCreationError,
            ),
        )
    )
    async def consume(self, request: RestRequest, body: schemas.ConsumeRequest) -> web.Response:
        """Make consumers, born paused; of a batch, each succeeds or fails alone."""
        began_s = self._clock.monotonic_s()
        request.claims.require_participant(body.participant_id)
        participant = self._consuming_participant(request, body)
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
            return success(consumer_data(result, owners))
        items = [
            consume_failure(result, producer_id)
            if isinstance(result, MeeshyError)
            else consumer_data(result, owners)
            for producer_id, result in zip(wanted, results, strict=True)
        ]
        return success(schemas.ConsumeBatchData(consumers=items))

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
    async def resume_consumers(self, request: RestRequest, body: schemas.ConsumersRequest) -> web.Response:
        """Resume a batch; each succeeds or fails alone."""
        done, errors = await self._set_paused(request, body.consumer_ids, paused=False)
        return success(schemas.ResumedData(resumed=done, errors=errors))

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
    async def pause_consumers(self, request: RestRequest, body: schemas.ConsumersRequest) -> web.Response:
        """Pause a batch; each succeeds or fails alone."""
        done, errors = await self._set_paused(request, body.consumer_ids, paused=True)
        return success(schemas.PausedData(paused=done, errors=errors))

    @handles(
        Route(
            "POST",
            f"{CONSUMER}/resume",
            "Let a track flow; pictures begin with a key frame",
            _CONSUMERS,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def resume_consumer(self, request: RestRequest) -> web.Response:
        """Resume one."""
        await self._own_consumer(request).resume()
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
    async def pause_consumer(self, request: RestRequest) -> web.Response:
        """Pause one."""
        await self._own_consumer(request).pause()
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
    async def set_preferred_layers(
        self, request: RestRequest, body: schemas.PreferredLayersRequest
    ) -> web.Response:
        """Set the layers, clamped to what there is."""
        chosen = await self._own_consumer(request).set_preferred_layers(
            body.spatial_layer, body.temporal_layer
        )
        return success(schemas.PreferredLayersData(preferred_layers=layers_data(chosen)))

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
    async def consumer_stats(self, request: RestRequest) -> web.Response:
        """Return the counters."""
        return success(schemas.StatsData(stats=camel_case(await self._own_consumer(request).stats())))

    @handles(
        Route(
            "DELETE",
            CONSUMER,
            "Stop receiving a track",
            _CONSUMERS,
            errors=(RoomNotFoundError, ConsumerNotFoundError),
        )
    )
    async def close_consumer(self, request: RestRequest) -> web.Response:
        """Close it."""
        self._own_consumer(request).close("closed by the receiver")
        return success(message="Consumer closed")

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _room(self, request: RestRequest) -> Room:
        return self._rooms.get(CallId(request.call_id))

    def _own_consumer(self, request: RestRequest) -> Consumer:
        return self._room(request).consumer(
            ConsumerId(request.id("consumerId")), by=acting_for(request.claims)
        )[1]

    def _consuming_participant(self, request: RestRequest, body: schemas.ConsumeRequest) -> Participant:
        room = self._room(request)
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
        self, request: RestRequest, consumer_ids: Sequence[str], *, paused: bool
    ) -> tuple[list[str], list[schemas.ConsumerFailure]]:
        room, who = self._room(request), acting_for(request.claims)
        by_owner: dict[Participant, list[ConsumerId]] = {}
        errors: list[schemas.ConsumerFailure] = []
        for consumer_id in dict.fromkeys(consumer_ids):
            try:
                owner, consumer = room.consumer(ConsumerId(consumer_id), by=who)
            except MeeshyError as error:
                errors.append(consumer_failure(error, consumer_id))
            else:
                by_owner.setdefault(owner, []).append(consumer.id)
        done: list[str] = []
        for owner, ids in by_owner.items():
            change = owner.pause_consumers if paused else owner.resume_consumers
            gone = set(await change(ids))
            done += [consumer_id for consumer_id in ids if consumer_id not in gone]
            errors += [
                consumer_failure(ConsumerNotFoundError(f"there is no consumer {item}"), item) for item in gone
            ]
        return done, errors
