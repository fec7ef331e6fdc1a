"""Rooms and their objects as clients see them: made into the models of schemas.py and messages.py.

Only writes; the shapes are described there.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from meeshy_sfu.edge.envelope import error_body
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.events import Layers
from meeshy_sfu.media.ids import ProducerId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import Wire
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.room import Room
from meeshy_sfu.server import messages, schemas
from meeshy_sfu.server.auth import Claims


def acting_for(claims: Claims) -> ParticipantId | None:
    """Return whose objects the caller may touch; None for every participant's."""
    return None if claims.is_service else ParticipantId(str(claims.participant_id))


def moment_wire(unix_s: float) -> str:
    """Write a time: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- REST ----------------------------------------------------------------------------------------------------


def room_data(room: Room) -> schemas.RoomData:
    """Return what every member may see of a room."""
    return schemas.RoomData(
        room_id=room.id, router_id=room.router.id, rtp_capabilities=room.router.rtp_capabilities.to_wire()
    )


def room_details(room: Room) -> schemas.RoomDetails:
    """Return a room with its size."""
    return schemas.RoomDetails(
        participant_count=len(room.participants),
        created_at=moment_wire(room.created_at_s),
        **dict(room_data(room)),
    )


def join_data(
    room: Room, participant: Participant, send: WebRtcTransport, recv: WebRtcTransport
) -> schemas.JoinData:
    """Return what a participant who came in needs: the room, both transports, and the tracks there are."""
    return schemas.JoinData(
        send_transport=transport_data(send),
        recv_transport=transport_data(recv),
        producers=[producer_summary(owner, one) for owner, one in room.producers(but=participant.id)],
        **dict(room_data(room)),
    )


def transport_data(transport: WebRtcTransport) -> schemas.TransportData:
    """Return all that a client needs to build its side; the id twice, as clients differ."""
    return schemas.TransportData(
        transport_id=transport.id,
        id=transport.id,
        ice_parameters=transport.ice_parameters.to_wire(),
        ice_candidates=[candidate.to_wire() for candidate in transport.ice_candidates],
        dtls_parameters=transport.dtls_parameters.to_wire(),
        sctp_parameters=None,
    )


def producer_summary(owner: Participant, producer: Producer) -> schemas.ProducerSummary:
    """Return a track that can be consumed."""
    return schemas.ProducerSummary(
        participant_id=owner.id,
        producer_id=producer.id,
        kind=producer.kind,
        app_data=dict(producer.app_data),
        paused=producer.paused,
    )


def consumer_data(consumer: Consumer, owners: Mapping[ProducerId, Participant]) -> schemas.ConsumerData:
    """Return a consumer with the owner of its track."""
    producer = consumer.producer
    owner = owners.get(producer.id)
    return schemas.ConsumerData(
        consumer_id=consumer.id,
        id=consumer.id,
        producer_id=producer.id,
        kind=consumer.kind,
        rtp_parameters=consumer.rtp_parameters.to_wire(),
        type=consumer.type,
        producer_paused=consumer.producer_paused,
        paused=consumer.paused,
        preferred_layers=layers_data(consumer.preferred_layers),
        current_layers=layers_data(consumer.current_layers),
        participant_id="" if owner is None else owner.id,
        app_data=dict(producer.app_data),
    )


def layers_data(layers: Layers | None) -> schemas.ConsumerLayers | None:
    """Return layers, or null where there are none."""
    if layers is None:
        return None
    return schemas.ConsumerLayers(spatial_layer=layers.spatial_layer, temporal_layer=layers.temporal_layer)


def consume_failure(error: MeeshyError, producer_id: str) -> schemas.ConsumeFailure:
    """Return why one producer of a batch could not be consumed."""
    return schemas.ConsumeFailure(producer_id=producer_id, error=error_body(error))


def consumer_failure(error: MeeshyError, consumer_id: str) -> schemas.ConsumerFailure:
    """Return why one consumer of a batch could not be changed."""
    return schemas.ConsumerFailure(consumer_id=consumer_id, error=error_body(error))


def owned_data(participant: Participant | None) -> schemas.Owned:
    """Return what a session owns, so that its client can drop what it does not know, and make what is missing."""
    if participant is None:
        return schemas.Owned(transports=[], producers=[], consumers=[])
    return schemas.Owned(
        transports=[
            schemas.OwnedTransport(
                transport_id=transport_id, direction=participant.direction_of(transport_id)
            )
            for transport_id in participant.transports
        ],
        producers=[
            schemas.OwnedProducer(
                producer_id=producer.id,
                kind=producer.kind,
                app_data=dict(producer.app_data),
                paused=producer.paused,
            )
            for producer in participant.producers.values()
        ],
        consumers=[
            schemas.OwnedConsumer(
                consumer_id=consumer.id,
                producer_id=consumer.producer.id,
                kind=consumer.kind,
                paused=consumer.paused,
            )
            for consumer in participant.consumers.values()
        ],
    )


# ---- events --------------------------------------------------------------------------------------------------


def new_producer(room: Room, participant: Participant, producer: Producer) -> messages.NewProducer:
    """Return a track of a participant."""
    return messages.NewProducer(
        call_id=room.call_id,
        participant_id=participant.id,
        producer_id=producer.id,
        kind=producer.kind,
        app_data=dict(producer.app_data),
        paused=producer.paused,
    )


def consumer_flow(room: Room, consumer: Consumer) -> messages.ConsumerFlow:
    """Return which consumer was paused or resumed by its producer."""
    return messages.ConsumerFlow(
        call_id=room.call_id, consumer_id=consumer.id, producer_id=consumer.producer.id
    )


def active_speaker(
    room: Room, speaker: tuple[str, str] | None, volumes: Sequence[tuple[Participant, Producer, int]]
) -> messages.ActiveSpeaker:
    """Return who speaks, by participant and producer, and how loud each participant is."""
    participant_id, producer_id = speaker or (None, None)
    return messages.ActiveSpeaker(
        call_id=room.call_id,
        participant_id=participant_id,
        producer_id=producer_id,
        volumes=[
            messages.SpeakerVolume(participant_id=participant.id, producer_id=producer.id, volume=volume)
            for participant, producer, volume in volumes
        ],
    )


def producer_score(room: Room, producer: Producer) -> messages.Score:
    """Return how well each stream of a track arrives."""
    scores = [
        messages.StreamScore(encoding_idx=s.encoding_index, ssrc=s.ssrc, score=s.score, rid=s.rid or None)
        for s in producer.scores
    ]
    return messages.Score(call_id=room.call_id, producer_id=producer.id, score=scores)


def consumer_score(room: Room, consumer: Consumer) -> messages.Score:
    """Return how well a track is delivered."""
    score = messages.ConsumerScore(
        score=consumer.score,
        producer_score=consumer.producer_score,
        producer_scores=list(consumer.producer_scores),
    )
    return messages.Score(
        call_id=room.call_id, producer_id=consumer.producer.id, consumer_id=consumer.id, score=score
    )


def consumer_layers(room: Room, consumer: Consumer) -> messages.LayersChanged:
    """Return which layers of a track are forwarded."""
    return messages.LayersChanged(
        call_id=room.call_id,
        consumer_id=consumer.id,
        producer_id=consumer.producer.id,
        layers=layers_data(consumer.current_layers),
    )


def transport_state(participant: Participant, transport: WebRtcTransport) -> messages.TransportState:
    """Return the states of a transport, and why it failed if it did."""
    return messages.TransportState(
        call_id=participant.room.call_id,
        transport_id=transport.id,
        ice_state=transport.ice_state,
        dtls_state=transport.dtls_state,
        reason=transport.failure,
    )


# ---- counters ------------------------------------------------------------------------------------------------


def camel_case(values: Mapping[str, object]) -> Wire:
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
