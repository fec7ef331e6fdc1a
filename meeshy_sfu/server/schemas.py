"""What comes over the wire and goes back: bodies, answers and events, in camelCase.

Checks shape and types; what rtpParameters and the like mean is checked by media/rtp_parameters.py, whose readers
are called from here. The same models make the OpenAPI document. Unknown fields are ignored, null counts as absent.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, RootModel, model_validator
from pydantic_core import core_schema

from meeshy_sfu.edge.wire import MODEL_MARKER, Token, Whole, WireModel, an_id
from meeshy_sfu.media.rtp_parameters import (
    DtlsParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpParameters,
    read_media_codecs,
)
from meeshy_sfu.server import media_schemas

MAX_APP_DATA_BYTES = 4096
MAX_BATCH = 512
MAX_BITRATE_BPS = 10_000_000_000


def _app_data(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(value, allow_nan=False))
    except ValueError:
        # read as infinite; written to others it would be no JSON
        raise ValueError("holds a number that is too large") from None
    if size > MAX_APP_DATA_BYTES:
        raise ValueError(f"has {size} bytes as JSON, at most {MAX_APP_DATA_BYTES} are allowed")
    return value


@dataclass(frozen=True, slots=True)
class ReadBy:
    """Marks a field that a reader of media/ checks, and the model that describes it."""

    reader: Callable[[Any], Any]
    model: type[BaseModel]
    many: bool = False

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        """Have the reader called for the field."""
        return core_schema.no_info_plain_validator_function(self.reader)

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> dict[str, Any]:
        """Describe the field; pydantic refuses references it did not make, so openapi.py makes them."""
        marker = {MODEL_MARKER: self.model.__name__}
        return {"type": "array", "items": marker} if self.many else marker


ObjectId = Annotated[str, Field(min_length=1, max_length=128)]
ParticipantId = Annotated[str, an_id("participantId"), Field(max_length=128)]
CallId = Annotated[str, an_id("callId"), Field(max_length=128)]
AppData = Annotated[dict[str, Any], AfterValidator(_app_data)]
Kind = Literal["audio", "video"]
Ids = Annotated[list[ObjectId], Field(min_length=1, max_length=MAX_BATCH)]

DtlsParametersField = Annotated[
    DtlsParameters, ReadBy(DtlsParameters.from_wire, media_schemas.DtlsParameters)
]
RtpParametersField = Annotated[RtpParameters, ReadBy(RtpParameters.from_wire, media_schemas.RtpParameters)]
RtpCapabilitiesField = Annotated[
    RtpCapabilities, ReadBy(RtpCapabilities.from_wire, media_schemas.RtpCapabilities)
]
MediaCodecsField = Annotated[
    tuple[RtpCodecCapability, ...] | None,
    ReadBy(read_media_codecs, media_schemas.RtpCodecCapability, many=True),
]

# ---- requests ------------------------------------------------------------------------------------------------


class NoBody(WireModel):
    """Nothing is needed; what is sent is ignored."""


class CreateRoomRequest(WireModel):
    """The call's room; the body may be left out."""

    media_codecs: MediaCodecsField = None
    """Codecs of this call, most wanted first; the server's own choice when left out."""
    prewarm: bool = False
    """Made in advance, by a service: it counts as a call from POST …/activate on."""
    owner: Annotated[str, an_id("owner"), Field(max_length=128)] | None = None
    """The service that sees to the room, by a name of its own; GET /api/rooms shows it."""


class JoinRequest(WireModel):
    """A participant with both transports at once."""

    participant_id: ParticipantId
    rtp_capabilities: RtpCapabilitiesField | None = None
    """What the participant can receive; may be given later with each consume."""
    app_data: AppData = Field(default_factory=dict)
    force_tcp: bool = False
    create: bool = False
    """Create the room when it does not exist."""


class CreateTransportRequest(WireModel):
    """One direction of one participant."""

    participant_id: ParticipantId
    direction: Literal["send", "recv"]
    force_tcp: bool = False
    """Offer TCP candidates only."""
    producing: bool | None = None
    """Ignored: direction says it."""
    consuming: bool | None = None
    """Ignored: direction says it."""


class ConnectTransportRequest(WireModel):
    """The client's side of the DTLS handshake; once per transport."""

    dtls_parameters: DtlsParametersField


class ProduceRequest(WireModel):
    """A track that the participant sends."""

    participant_id: ParticipantId
    kind: Kind
    rtp_parameters: RtpParametersField
    app_data: AppData = Field(default_factory=dict)
    """Passed on to the others; ``source`` (microphone, camera, screen) tells tracks of one kind apart."""
    paused: bool = False


class ConsumeRequest(WireModel):
    """One producer, or several at once, to receive."""

    participant_id: ParticipantId
    producer_id: ObjectId | None = None
    producer_ids: Ids | None = None
    rtp_capabilities: RtpCapabilitiesField | None = None
    """May be left out if the join gave them."""
    paused: bool = True
    """Consumers are born paused unless this is false."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.producer_id is None) == (self.producer_ids is None):
            raise ValueError("needs either producerId or producerIds")
        return self


class ConsumersRequest(WireModel):
    """Several consumers at once."""

    consumer_ids: Ids


class PreferredLayersRequest(WireModel):
    """The best layers that the participant wants of a consumer."""

    spatial_layer: Annotated[Whole, Field(ge=0, le=7)]
    temporal_layer: Annotated[Whole, Field(ge=0, le=7)] | None = None


class MaxIncomingBitrateRequest(WireModel):
    """The most that a transport's client is asked to send."""

    bitrate: Annotated[Whole, Field(ge=0, le=MAX_BITRATE_BPS)]
    """Bits per second; 0 lifts the limit."""


# ---- answers -------------------------------------------------------------------------------------------------


class RoomData(WireModel):
    """A room as its members see it."""

    room_id: str
    router_id: str
    rtp_capabilities: media_schemas.RtpCapabilities


class RoomDetails(RoomData):
    """A room with its size."""

    participant_count: int
    created_at: str
    """ISO 8601, UTC."""


class ListedRoom(WireModel):
    """One room of the list."""

    call_id: str
    room_id: str
    participant_count: int
    prewarm: bool
    owner: str | None
    """Who sees to it, as said by whoever created it."""


class RoomList(WireModel):
    """All rooms of this server, oldest first."""

    rooms: list[ListedRoom]


class LeftData(WireModel):
    """How somebody left, now or before."""

    participant_id: str
    left_at: str
    """ISO 8601, UTC."""
    reason: str


class TransportData(WireModel):
    """All that a client needs to build its side of a transport."""

    transport_id: str
    id: str
    """The same as transportId, under the name mediasoup-client wants."""
    ice_parameters: media_schemas.IceParameters
    ice_candidates: list[media_schemas.IceCandidate]
    dtls_parameters: media_schemas.DtlsParameters
    sctp_parameters: None = None


class ProducerSummary(WireModel):
    """A track that can be consumed."""

    participant_id: str
    producer_id: str
    kind: Kind
    app_data: dict[str, Any]
    paused: bool


class JoinData(RoomData):
    """The room, both transports, and who is there already."""

    send_transport: TransportData
    recv_transport: TransportData
    producers: list[ProducerSummary]


class ProduceData(WireModel):
    """A new producer."""

    producer_id: str
    id: str
    kind: Kind


class ConsumerData(WireModel):
    """A new consumer; paused until resumed."""

    consumer_id: str
    id: str
    producer_id: str
    kind: Kind
    rtp_parameters: media_schemas.RtpParameters
    type: Literal["simple", "simulcast", "svc"]
    producer_paused: bool
    paused: bool
    participant_id: str
    """Whose track it is."""
    app_data: dict[str, Any]


class ItemError(WireModel):
    """Why one item of a batch failed; details as in the error of a single request."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class ConsumeFailure(WireModel):
    """A producer of a batch that could not be consumed."""

    producer_id: str
    error: ItemError


class ConsumeBatchData(WireModel):
    """One entry per producer asked for, in the same order."""

    consumers: list[ConsumerData | ConsumeFailure]


class PreferredLayersData(WireModel):
    """The layers that are received at best; null for a simple track."""

    preferred_layers: dict[str, int] | None


class ConsumeAnswer(RootModel[ConsumerData | ConsumeBatchData]):
    """A consumer for producerId, a list for producerIds."""


class ConsumerFailure(WireModel):
    """A consumer of a batch that could not be changed."""

    consumer_id: str
    error: ItemError


class ResumedData(WireModel):
    """Which consumers flow now."""

    resumed: list[str]
    errors: list[ConsumerFailure]


class PausedData(WireModel):
    """Which consumers stand still now."""

    paused: list[str]
    errors: list[ConsumerFailure]


class IceRestartData(WireModel):
    """Fresh credentials; the old ones hold until the first check with the new."""

    ice_parameters: media_schemas.IceParameters


class StatsData(WireModel):
    """Counters of one object."""

    stats: dict[str, Any]


# ---- Socket.IO events ----------------------------------------------------------------------------------------


class RoomEventRequest(WireModel):
    """leave-room."""

    call_id: CallId
    participant_id: ParticipantId


class JoinRoomRequest(RoomEventRequest):
    """join-room."""

    resume: bool = False
    """Go on with what the former session owns, as after a broken connection; else it is closed."""


class ConsumerEventRequest(WireModel):
    """pause-consumer and resume-consumer."""

    consumer_id: ObjectId


class RefreshTokenRequest(WireModel):
    """A new token for the same call and participant."""

    token: Token


class NewProducerEvent(WireModel):
    """Somebody else sends a track; also told of each existing one after join-room."""

    call_id: str
    participant_id: str
    producer_id: str
    kind: Kind
    app_data: dict[str, Any]
    paused: bool


class ProducerClosedEvent(WireModel):
    """A track has ended."""

    call_id: str
    participant_id: str
    producer_id: str
    kind: Kind


class ConsumerFlowEvent(WireModel):
    """consumer-paused and consumer-resumed: its producer was paused or resumed."""

    call_id: str
    consumer_id: str
    producer_id: str


class SpeakerVolume(WireModel):
    """How loud somebody is."""

    participant_id: str
    producer_id: str
    volume: Annotated[int, Field(ge=-127, le=0)]
    """dBov: 0 is the loudest."""


class ActiveSpeakerEvent(WireModel):
    """Who speaks; sent when that changes, and with volumes once a second while there is sound."""

    call_id: str
    participant_id: str | None
    """The dominant speaker, or null when nobody spoke yet."""
    producer_id: str | None
    volumes: list[SpeakerVolume]
    """Loudest first; empty in silence."""


class ScoreEvent(WireModel):
    """Quality of a track, 0 to 10: of a producer to its owner, of a consumer to its receiver."""

    call_id: str
    producer_id: str
    consumer_id: str | None = None
    score: Any
    """Of a producer a list, one entry per stream; of a consumer an object."""


class TransportStateEvent(WireModel):
    """A transport of yours changed its state."""

    call_id: str
    transport_id: str
    ice_state: Literal["new", "connected", "completed", "disconnected", "closed"]
    dtls_state: Literal["new", "connecting", "connected", "failed", "closed"]
    reason: str | None
    """Why it failed, if it did."""


class RoomClosedEvent(WireModel):
    """The call is over on this server."""

    call_id: str
    room_id: str
    reason: str
    """closed, empty, worker-died or server-shutdown."""


class ParticipantJoinedEvent(WireModel):
    """Somebody came into the call."""

    call_id: str
    participant_id: str


class ParticipantLeftEvent(WireModel):
    """Somebody is out of the call; told to them as well."""

    call_id: str
    participant_id: str
    reason: str
    """left, removed, disconnected, token-expired, or a sentence such as why the connection was lost."""


class EventError(ItemError):
    """Why an event was refused."""

    details: dict[str, Any] | None = None
    retry_after: float | None = None
    """Seconds; of a rate limit only."""


class RequestErrorEvent(WireModel):
    """An event of yours was refused; the acknowledgement says the same to those who ask for one."""

    event: str
    error: EventError
