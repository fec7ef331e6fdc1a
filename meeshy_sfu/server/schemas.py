"""Bodies and answers of the REST API, and the values that events share with them, in camelCase.

Checks shape and types; the meaning of rtpParameters and the like is checked by media/rtp_parameters.py, whose readers
are called from here. The same models make the OpenAPI document. Events are in messages.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, GetJsonSchemaHandler, RootModel, model_validator
from pydantic_core import core_schema

from meeshy_sfu.edge.wire import (
    DescribedBy,
    ErrorBody,
    Message,
    Omittable,
    OneOf,
    Whole,
    WireModel,
    an_id,
    described,
)
from meeshy_sfu.media.rtp_parameters import (
    DtlsParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpParameters,
    Wire,
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

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the field by the model."""
        one = described(self.model, handler)
        return {"type": "array", "items": one} if self.many else one


ObjectId = Annotated[str, Field(min_length=1, max_length=128)]
ParticipantId = Annotated[str, an_id("participantId"), Field(max_length=128)]
CallId = Annotated[str, an_id("callId"), Field(max_length=128)]
AppData = Annotated[dict[str, Any], AfterValidator(_app_data)]
Kind = Literal["audio", "video"]
KindName = Annotated[str, OneOf("audio", "video")]
"""Of an answer or event: text inside."""
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


class CreateRoomRequest(WireModel):
    """The call's room; the body may be left out."""

    media_codecs: MediaCodecsField = None
    """Codecs of this call, most wanted first; the server's own choice when left out."""
    prewarm: bool = False
    """Created in advance, by a service: it counts as a call from POST …/activate on."""
    owner: Annotated[str, an_id("owner"), Field(max_length=128)] | None = None
    """The name of the service that manages the room; GET /api/rooms shows it."""


class JoinRequest(WireModel):
    """A participant with both transports at once."""

    participant_id: ParticipantId
    rtp_capabilities: RtpCapabilitiesField | None = None
    """What the participant can receive; may be sent with each consume instead."""
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
    """Ignored; `direction` decides."""
    consuming: bool | None = None
    """Ignored; `direction` decides."""


class ConnectTransportRequest(WireModel):
    """The client's side of the DTLS handshake; once per transport."""

    dtls_parameters: DtlsParametersField


class ProduceRequest(WireModel):
    """A track that the participant sends."""

    participant_id: ParticipantId
    kind: Kind
    rtp_parameters: RtpParametersField
    app_data: AppData = Field(default_factory=dict)
    """Passed on to the other participants; ``source`` (microphone, camera, screen) distinguishes tracks of one kind."""
    paused: bool = False


class ConsumeRequest(WireModel):
    """One producer, or several at once, to receive."""

    participant_id: ParticipantId
    producer_id: ObjectId | None = None
    producer_ids: Ids | None = None
    rtp_capabilities: RtpCapabilitiesField | None = None
    """May be left out if they were sent with the join."""
    paused: bool = True
    """Consumers are created paused unless this is false."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.producer_id is None) == (self.producer_ids is None):
            raise ValueError("needs either producerId or producerIds")
        return self


class ConsumersRequest(WireModel):
    """Several consumers at once."""

    consumer_ids: Ids


class PreferredLayersRequest(WireModel):
    """The highest layers that the participant wants of a consumer."""

    spatial_layer: Annotated[Whole, Field(ge=0, le=7)]
    temporal_layer: Annotated[Whole, Field(ge=0, le=7)] | None = None


class MaxIncomingBitrateRequest(WireModel):
    """The most that a transport's client is asked to send."""

    bitrate: Annotated[Whole, Field(ge=0, le=MAX_BITRATE_BPS)]
    """Bits per second; 0 lifts the limit."""


# ---- answers -------------------------------------------------------------------------------------------------


class RoomData(Message):
    """A room as its members see it."""

    room_id: str
    router_id: str
    rtp_capabilities: Annotated[Wire, DescribedBy(media_schemas.RtpCapabilities)]


class RoomDetails(RoomData):
    """A room with its size."""

    participant_count: int
    created_at: str
    """ISO 8601, UTC."""


class ListedRoom(Message):
    """One room of the list."""

    call_id: str
    room_id: str
    participant_count: int
    prewarm: bool
    owner: str | None
    """The service that manages the room, as named when it was created."""


class RoomList(Message):
    """All rooms of this server, oldest first."""

    rooms: list[ListedRoom]


class LeftData(Message):
    """How a participant left, now or before."""

    participant_id: str
    left_at: str
    """ISO 8601, UTC."""
    reason: str


class TransportData(Message):
    """The parameters with which a client creates its side of a transport."""

    transport_id: str
    id: str
    """The same as transportId, under the name mediasoup-client wants."""
    ice_parameters: Annotated[Wire, DescribedBy(media_schemas.IceParameters)]
    ice_candidates: list[Annotated[Wire, DescribedBy(media_schemas.IceCandidate)]]
    dtls_parameters: Annotated[Wire, DescribedBy(media_schemas.DtlsParameters)]
    sctp_parameters: None = None


class ProducerSummary(Message):
    """A track that can be consumed."""

    participant_id: str
    producer_id: str
    kind: KindName
    app_data: dict[str, Any]
    paused: bool


class JoinData(RoomData):
    """The room, both transports, and the producers to consume."""

    send_transport: TransportData
    recv_transport: TransportData
    producers: list[ProducerSummary]


class ProduceData(Message):
    """A new producer."""

    producer_id: str
    id: str
    kind: KindName


class ConsumerLayers(Message):
    """Layers of a simulcast or SVC track, counted from 0, the lowest."""

    spatial_layer: int
    temporal_layer: Omittable[int] = None
    """Absent where no temporal layer is chosen: all are received."""


class ConsumerData(Message):
    """A new consumer; paused until resumed."""

    consumer_id: str
    id: str
    producer_id: str
    kind: KindName
    rtp_parameters: Annotated[Wire, DescribedBy(media_schemas.RtpParameters)]
    type: Annotated[str, OneOf("simple", "simulcast", "svc")]
    producer_paused: bool
    paused: bool
    preferred_layers: ConsumerLayers | None
    """The highest layers that are received; null unless the track is simulcast or SVC."""
    current_layers: ConsumerLayers | None
    """The layers of a simulcast track that are forwarded now; null while none are, and for other tracks."""
    participant_id: str
    """The participant who sends the track."""
    app_data: dict[str, Any]


class ConsumeFailure(Message):
    """A producer of a batch that could not be consumed."""

    producer_id: str
    error: ErrorBody


class ConsumeBatchData(Message):
    """One entry per producer asked for, in the same order."""

    consumers: list[ConsumerData | ConsumeFailure]


class PreferredLayersData(Message):
    """The highest layers that are received; null unless the track is simulcast or SVC."""

    preferred_layers: ConsumerLayers | None


class ConsumeAnswer(RootModel[ConsumerData | ConsumeBatchData]):
    """A consumer for producerId, a list for producerIds."""


class ConsumerFailure(Message):
    """A consumer of a batch that could not be changed."""

    consumer_id: str
    error: ErrorBody


class ResumedData(Message):
    """The consumers that were resumed."""

    resumed: list[str]
    errors: list[ConsumerFailure]


class PausedData(Message):
    """The consumers that were paused."""

    paused: list[str]
    errors: list[ConsumerFailure]


class IceRestartData(Message):
    """New credentials; the old ones are valid until the first check with the new ones."""

    ice_parameters: Annotated[Wire, DescribedBy(media_schemas.IceParameters)]


class StatsData(Message):
    """Counters of one object."""

    stats: dict[str, Any]


class OwnedTransport(Message):
    """A transport of a session."""

    transport_id: str
    direction: Annotated[str, OneOf("send", "recv")]


class OwnedProducer(Message):
    """A producer of a session."""

    producer_id: str
    kind: KindName
    app_data: dict[str, Any]
    paused: bool


class OwnedConsumer(Message):
    """A consumer of a session."""

    consumer_id: str
    producer_id: str
    kind: KindName
    paused: bool


class Owned(Message):
    """What a session owns."""

    transports: list[OwnedTransport]
    producers: list[OwnedProducer]
    consumers: list[OwnedConsumer]
