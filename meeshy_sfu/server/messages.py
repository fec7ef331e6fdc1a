"""Every Socket.IO event of the media server, both ways: its payload, its answer, and one row in `EVENTS`.

Values that REST has as well are in schemas.py. Handlers are in signaling.py.
"""

from typing import Annotated, Any

from meeshy_sfu.edge.event_table import EventTable
from meeshy_sfu.edge.wire import ErrorBody, Message, Nothing, Omittable, OneOf, Token, WireModel
from meeshy_sfu.server.schemas import (
    CallId,
    ConsumerLayers,
    KindName,
    ObjectId,
    Owned,
    ParticipantId,
    PreferredLayersRequest,
)

# ---- from clients --------------------------------------------------------------------------------------------


class RoomEventRequest(WireModel):
    """A participant of a call."""

    call_id: CallId
    participant_id: ParticipantId


class JoinRoomRequest(RoomEventRequest):
    """A participant of a call, and whether it resumes its session."""

    resume: bool = False
    """Resume the former session, as after a broken connection; otherwise what it owns is closed."""


class ConsumerEventRequest(WireModel):
    """A consumer."""

    consumer_id: ObjectId


class PreferredLayersEventRequest(PreferredLayersRequest):
    """A consumer, and the highest layers to receive of it."""

    consumer_id: ObjectId


class RefreshTokenRequest(WireModel):
    """A new token for the same call, participant and role."""

    token: Token


# ---- answers -------------------------------------------------------------------------------------------------


class JoinRoomAnswer(Message):
    """The room, and what a resumed session owns."""

    room_id: str
    participants: int
    """The number of participants."""
    producers: int
    """The number of other participants' producers."""
    resumed: Omittable[bool] = None
    """Whether there was a session to resume; absent for a service."""
    owned: Omittable[Owned] = None
    """What the session owns; absent for a service."""


class ConsumerAnswer(Message):
    """The consumer that was meant."""

    consumer_id: str


class PreferredLayersAnswer(Message):
    """The consumer that was meant, and its layers, clamped to what there is."""

    consumer_id: str
    preferred_layers: ConsumerLayers | None
    """The highest layers that are received; null unless the track is simulcast or SVC."""


class RefreshTokenAnswer(Message):
    """Until when the new token is valid."""

    expires_at: int | float
    """Seconds since 1970."""


# ---- to clients ----------------------------------------------------------------------------------------------


class NewProducer(Message):
    """A track that can be consumed."""

    call_id: str
    participant_id: str
    producer_id: str
    kind: KindName
    app_data: dict[str, Any]
    paused: bool


class ProducerClosed(Message):
    """A track has ended."""

    call_id: str
    participant_id: str
    producer_id: str
    kind: KindName


class ConsumerFlow(Message):
    """A consumer whose producer was paused or resumed."""

    call_id: str
    consumer_id: str
    producer_id: str


class SpeakerVolume(Message):
    """The audio level of a participant."""

    participant_id: str
    producer_id: str
    volume: int
    """dBov, -127 to 0: 0 is the loudest."""


class ActiveSpeaker(Message):
    """The active speakers."""

    call_id: str
    participant_id: str | None
    """The dominant speaker; null before the first."""
    producer_id: str | None
    volumes: list[SpeakerVolume]
    """Loudest first; empty in silence."""


class StreamScore(Message):
    """The quality of one stream of a producer."""

    encoding_idx: int
    ssrc: int
    score: int
    """0 to 10."""
    rid: Omittable[str] = None


class ConsumerScore(Message):
    """The quality of a consumer."""

    score: int
    """0 to 10."""
    producer_score: int
    """Of the stream that is forwarded."""
    producer_scores: list[int]
    """Of all streams of the producer."""


class Score(Message):
    """The quality of a track: of a producer to its owner, of a consumer to its receiver."""

    call_id: str
    producer_id: str
    consumer_id: Omittable[str] = None
    """Of a consumer only."""
    score: list[StreamScore] | ConsumerScore
    """Of a producer a list, one entry per stream; of a consumer an object."""


class LayersChanged(Message):
    """The layers of a simulcast track that are forwarded to a receiver."""

    call_id: str
    consumer_id: str
    producer_id: str
    layers: ConsumerLayers | None
    """What is forwarded from now on; null when nothing is."""


class TransportState(Message):
    """The state of a transport."""

    call_id: str
    transport_id: str
    ice_state: Annotated[str, OneOf("new", "connected", "completed", "disconnected", "closed")]
    dtls_state: Annotated[str, OneOf("new", "connecting", "connected", "failed", "closed")]
    reason: str | None
    """Why it failed, if it did."""


class ParticipantJoined(Message):
    """A participant joined."""

    call_id: str
    participant_id: str


class ParticipantLeft(Message):
    """A participant left."""

    call_id: str
    participant_id: str
    reason: str
    """`left`, `removed`, `disconnected`, `token-expired`, or a sentence such as why the connection was lost."""


class RoomClosed(Message):
    """The call is over on this server."""

    call_id: str
    room_id: str
    reason: str
    """`closed`, `empty`, `worker-died` or `server-shutdown`."""


class RequestError(Message):
    """An event that was refused; the acknowledgement says the same."""

    event: str
    """Its name, or `packet`."""
    error: ErrorBody


# ---- the table -----------------------------------------------------------------------------------------------

EVENTS = EventTable()
"""All events; docs/signalling.md, the AsyncAPI document and docs/schemas/media-server.json are made of it."""

JOIN_ROOM = EVENTS.from_client(
    "join-room",
    JoinRoomRequest,
    JoinRoomAnswer,
    "Get the events of a call, and act for the participant from now on ([sessions](#sessions)). "
    "The room must exist; the participant need not be in it yet",
)
LEAVE_ROOM = EVENTS.from_client(
    "leave-room", RoomEventRequest, Nothing, "Leave the call: closes all that the session owns"
)
PAUSE_CONSUMER = EVENTS.from_client(
    "pause-consumer", ConsumerEventRequest, ConsumerAnswer, "The same as the REST path; `join-room` first"
)
RESUME_CONSUMER = EVENTS.from_client(
    "resume-consumer", ConsumerEventRequest, ConsumerAnswer, "The same as the REST path; `join-room` first"
)
SET_PREFERRED_LAYERS = EVENTS.from_client(
    "set-preferred-layers",
    PreferredLayersEventRequest,
    PreferredLayersAnswer,
    "The same as the REST path; `join-room` first",
)
REFRESH_TOKEN = EVENTS.from_client(
    "refresh-token",
    RefreshTokenRequest,
    RefreshTokenAnswer,
    "Present a new token for the same call, participant and role, before the old one expires",
)

_ALL, _OTHERS = "all", "the other participants"
_RECEIVER, _PRODUCER_OWNER, _TRANSPORT_OWNER = "the receiver", "owner of the track", "owner of the transport"

NEW_PRODUCER = EVENTS.to_client(
    "new-producer",
    NewProducer,
    to=_OTHERS,
    summary="A participant sends a track, or did before you joined",
)
PRODUCER_CLOSED = EVENTS.to_client("producer-closed", ProducerClosed, to=_OTHERS, summary="A track has ended")
CONSUMER_PAUSED = EVENTS.to_client(
    "consumer-paused", ConsumerFlow, to=_RECEIVER, summary="The sender has paused the track"
)
CONSUMER_RESUMED = EVENTS.to_client(
    "consumer-resumed", ConsumerFlow, to=_RECEIVER, summary="The sender has resumed the track"
)
ACTIVE_SPEAKER = EVENTS.to_client(
    "active-speaker",
    ActiveSpeaker,
    to=_ALL,
    summary="The active speakers and the audio level of each participant",
)
SCORE = EVENTS.to_client(
    "score", Score, to=_PRODUCER_OWNER, summary="The quality of one of your tracks changed"
)
LAYERS_CHANGED = EVENTS.to_client(
    "layers-changed",
    LayersChanged,
    to=_RECEIVER,
    summary="Other layers of a simulcast track are forwarded to you, or none any more",
)
TRANSPORT_STATE = EVENTS.to_client(
    "transport-state",
    TransportState,
    to=_TRANSPORT_OWNER,
    summary="ICE or DTLS of one of your transports changed",
)
PARTICIPANT_JOINED = EVENTS.to_client(
    "participant-joined", ParticipantJoined, to=_OTHERS, summary="A participant joined"
)
PARTICIPANT_LEFT = EVENTS.to_client(
    "participant-left",
    ParticipantLeft,
    to="all, the one who left included",
    summary="A participant left or was removed",
)
ROOM_CLOSED = EVENTS.to_client("room-closed", RoomClosed, to=_ALL, summary="The call is over on this server")
REQUEST_ERROR = EVENTS.to_client(
    "request-error",
    RequestError,
    to="the sender",
    summary="An event of yours was refused. Of a flood only the first refusal is sent",
)
