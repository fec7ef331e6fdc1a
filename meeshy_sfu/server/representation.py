"""Rooms and their objects as clients see them: plain JSON, names in camelCase.

Only writes; the shapes are described in schemas.py.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ProducerId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import Wire
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.room import Room
from meeshy_sfu.server.auth import Claims


def acting_for(claims: Claims) -> ParticipantId | None:
    """Give whose objects may be touched; None: everybody's."""
    return None if claims.is_service else ParticipantId(str(claims.participant_id))


def moment_wire(unix_s: float) -> str:
    """Show a time: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def room_wire(room: Room) -> Wire:
    """Show what every member may know of a room."""
    return {
        "roomId": room.id,
        "routerId": room.router.id,
        "rtpCapabilities": room.router.rtp_capabilities.to_wire(),
    }


def transport_wire(transport: WebRtcTransport) -> Wire:
    """Show all that a client needs to build its side; id twice, as clients differ."""
    return {
        "transportId": transport.id,
        "id": transport.id,
        "iceParameters": transport.ice_parameters.to_wire(),
        "iceCandidates": [candidate.to_wire() for candidate in transport.ice_candidates],
        "dtlsParameters": transport.dtls_parameters.to_wire(),
        "sctpParameters": None,
    }


def producer_wire(owner: Participant, producer: Producer) -> Wire:
    """Show a track that can be consumed."""
    return {
        "participantId": owner.id,
        "producerId": producer.id,
        "kind": producer.kind,
        "appData": dict(producer.app_data),
        "paused": producer.paused,
    }


def consumer_wire(consumer: Consumer, owners: Mapping[ProducerId, Participant]) -> Wire:
    """Show a consumer with the owner of its track."""
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


def owned_wire(participant: Participant | None) -> Wire:
    """Show what a session owns, so that its client can drop what it does not know, and make what is missing."""
    if participant is None:
        return {"transports": [], "producers": [], "consumers": []}
    return {
        "transports": [
            {"transportId": transport_id, "direction": participant.direction_of(transport_id)}
            for transport_id in participant.transports
        ],
        "producers": [
            {
                "producerId": producer.id,
                "kind": producer.kind,
                "appData": dict(producer.app_data),
                "paused": producer.paused,
            }
            for producer in participant.producers.values()
        ],
        "consumers": [
            {
                "consumerId": consumer.id,
                "producerId": consumer.producer.id,
                "kind": consumer.kind,
                "paused": consumer.paused,
            }
            for consumer in participant.consumers.values()
        ],
    }


def failed_item(error: MeeshyError, name: str, value: str) -> Wire:
    """Show why one item of a batch failed."""
    shown: Wire = {"code": error.code, "message": error.message}
    if error.details:
        shown["details"] = error.details
    return {name: value, "error": shown}


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
