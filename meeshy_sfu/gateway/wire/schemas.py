"""Bodies and answers of the gateway's REST API, and the values that events share with them, in camelCase.

Checks shape and size; permission and state are checked by `calls`. Events are in messages.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from meeshy_sfu.edge.wire import Message, Omittable, OneOf, Token, WireModel, an_id
from meeshy_sfu.names import MAX_NAME_CHARS, name_problem

CallId = Annotated[str, an_id("callId"), Field(max_length=128)]
ConversationId = Annotated[str, an_id("conversationId"), Field(max_length=128)]
Kind = Literal["audio", "video"]
Mode = Literal["p2p", "sfu"]
Share = Annotated[float, Field(ge=0, le=1)]
Figure = Annotated[float, Field(ge=0, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**15)]
RtpCapabilities = Annotated[
    dict[str, Any], Field(description="Of the room, as the media server returns them.")
]

# values of answers and events: text inside, one of a few words on the wire
ModeName = Annotated[str, OneOf("p2p", "sfu")]
PhaseName = Annotated[str, OneOf("p2p", "switching_to_sfu", "sfu", "switching_to_p2p")]
KindName = Annotated[str, OneOf("audio", "video")]
RoleName = Annotated[str, OneOf("initiator", "participant")]
CallStatus = Annotated[str, OneOf("initiated", "ringing", "active", "ended", "failed")]
ParticipantStatus = Annotated[str, OneOf("connecting", "connected", "disconnected", "failed")]
EndReason = Annotated[str, OneOf("normal", "timeout", "error", "forced")]


def _number(value: object) -> object:
    """Let whole numbers pass for fractions, which strict models refuse."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shown(value: str) -> str:
    problem = name_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


ShownName = Annotated[
    str,
    AfterValidator(_shown),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_NAME_CHARS}),
]
"""A name that others see: no control, bidirectional or invisible characters."""


class MediaSettings(WireModel):
    """The tracks a participant sends at the start."""

    audio_enabled: bool = True
    video_enabled: bool = True
    screen_share_enabled: bool = False


class InitiateRequest(WireModel):
    """Begin a call in a conversation."""

    conversation_id: ConversationId
    type: Kind
    settings: MediaSettings = MediaSettings()
    expected_participants: Annotated[int, Field(ge=0, le=500)] = 0
    """The number of participants, if it is known; a group of more than two starts on the media server."""


class JoinBody(WireModel):
    """Join the call of the path."""

    settings: MediaSettings | None = None
    audio_enabled: bool | None = None
    video_enabled: bool | None = None

    def media(self) -> MediaSettings:
        """Return the settings, from `settings` or from the body itself."""
        base = self.settings or MediaSettings()
        return MediaSettings(
            audio_enabled=base.audio_enabled if self.audio_enabled is None else self.audio_enabled,
            video_enabled=base.video_enabled if self.video_enabled is None else self.video_enabled,
            screen_share_enabled=base.screen_share_enabled,
        )


class SetModeBody(WireModel):
    """Request a mode; only the one that follows from the rules is accepted."""

    mode: Mode


class QualityBody(WireModel):
    """A client's statistics of the last seconds."""

    packets_lost: Count | None = None
    packets_received: Count | None = None
    packet_loss_rate: Annotated[Share, BeforeValidator(_number)] | None = None
    jitter: Annotated[Figure, BeforeValidator(_number)] | None = None
    """Milliseconds; WebRTC's statistics give seconds."""
    rtt: Annotated[Figure, BeforeValidator(_number)] | None = None
    """Milliseconds."""
    bitrate: Annotated[Figure, BeforeValidator(_number)] | None = None
    """Kilobits per second."""
    bytes_sent: Count | None = None
    """Since the last report; WebRTC's statistics count from the beginning."""
    bytes_received: Count | None = None
    """As `bytesSent`."""
    frames_decoded: Count | None = None
    frame_width: Count | None = None
    frame_height: Count | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("holds no figure")
        return self


class GuestRequest(WireModel):
    """Become a guest."""

    invite: Token
    """The invite, out of the link."""
    name: ShownName


class RenewRequest(WireModel):
    """Renew a guest's token."""

    name: ShownName | None = None
    """Another name from now on."""


# ---- answers -------------------------------------------------------------------------------------------------


class UserView(Message):
    """A user or guest as others see them."""

    id: str
    username: str
    kind: Annotated[str, OneOf("user", "anonymous")]


class IceServer(Message):
    """A STUN or TURN server, as RTCPeerConnection takes it."""

    urls: list[str]
    username: Omittable[str] = None
    """Of TURN: expires with the credential."""
    credential: Omittable[str] = None


class MediaServerConfig(Message):
    """The room of a call."""

    room_id: str
    router_id: str
    rtp_capabilities: RtpCapabilities


class ParticipantData(Message):
    """A participant of a call."""

    participant_id: str
    user_id: Omittable[str] = None
    """Left out for a guest, who has `anonymousUserId`."""
    anonymous_user_id: Omittable[str] = None
    username: str
    """As in the token they joined with."""
    role: RoleName
    status: ParticipantStatus
    """`connecting` while its socket is disconnected."""
    joined_at: str
    left_at: str | None
    audio_enabled: bool
    video_enabled: bool
    screen_share_enabled: bool


class InitiatorData(Message):
    """The initiator of a call."""

    user_id: str
    username: str


class CallData(Message):
    """A call."""

    call_id: str
    id: str
    """The same as `callId`."""
    conversation_id: str
    mode: ModeName
    status: CallStatus
    type: KindName
    initiator_id: str
    initiator: InitiatorData
    settings: dict[str, Any]
    """`audioEnabled`, `videoEnabled` and `screenShareEnabled` as the call was started with."""
    participants: list[ParticipantData]
    created_at: str
    started_at: str | None
    ended_at: str | None
    expires_at: str | None
    """When the call ends if it is not answered."""
    duration: int | None
    """Seconds; null until the call has ended."""
    end_reason: EndReason | None
    media_server_config: MediaServerConfig | None


class InitiatedData(CallData):
    """A call that was started over REST, and its initiator as a participant."""

    participant_id: str
    ice_servers: list[IceServer]


class CallPage(Message):
    """Some calls of a conversation, newest first."""

    calls: list[CallData]
    total: int
    limit: int
    offset: int
    next_cursor: str | None
    """`cursor` of the next page; null on the last."""


class LiveCallLine(Message):
    """A live call in short."""

    call_id: str
    conversation_id: str
    conversation_type: str
    type: str
    status: str
    mode: str
    phase: str
    epoch: int
    participant_count: int
    connected_count: int
    """Participants who have a socket."""
    created_at: str
    started_at: str | None
    media_server_url: str | None
    room_id: str | None
    prewarmed: bool
    """The room was created in advance: the call's media does not use it yet."""
    failure: str | None
    """Why the last switch failed; null unless a retry is due."""


class LiveCalls(Message):
    """Live calls, oldest first."""

    calls: list[LiveCallLine]
    total: int
    """The number of live calls, also those beyond the limit."""


class ActiveCallData(Message):
    """The call of a conversation that is not over, or null."""

    call: CallData | None


class RemoteProducer(Message):
    """A track that a participant sends through the media server."""

    call_id: str
    participant_id: str
    producer_id: str
    kind: KindName
    app_data: dict[str, Any]
    paused: bool


class MediaAccess(Message):
    """The address and token with which a participant reaches the call's room; without a room, null and no producers."""

    rtp_capabilities: RtpCapabilities | None
    media_server_config: MediaServerConfig | None
    media_token: str | None
    media_server_url: str | None
    producers: list[RemoteProducer]
    """The tracks of the other participants in the room."""


class JoinAnswer(MediaAccess):
    """The state of the call for a participant who joined. After a join over REST, `call:join` or `call:rejoin` binds a socket."""

    call_id: str
    participant_id: str
    role: RoleName
    mode: ModeName
    """The path to build now."""
    phase: PhaseName
    epoch: int
    """Of the running transition, or the last one."""
    initiator: bool
    """Make the offer to `peer`."""
    peer: str | None
    """The participantId of the peer, in P2P."""
    switch_deadline: int | None
    """Milliseconds since 1970, while a transition runs."""
    reason: str | None
    """Why the call is not on the SFU although the rules want it there."""
    prewarm: bool
    """A `call:prewarm` will follow."""
    status: CallStatus
    joined_at: str
    call_session: CallData
    participants: list[ParticipantData]
    ice_servers: list[IceServer]


class LeftData(Message):
    """The participant who left, now or before."""

    message: str
    call_id: str
    participant_id: str
    left_at: str
    reason: str | None
    """`left`, `timeout`, `forced` or `ended`; null if it is not known any more."""


class EndedData(Message):
    """How a call ended."""

    message: str
    call_id: str
    ended_at: str
    duration: int
    """Seconds since it was answered."""


class ModeData(Message):
    """The mode of a call."""

    call_id: str
    mode: ModeName
    switched_at: str | None
    media_server_config: MediaServerConfig | None


class GuestData(Message):
    """A guest and their token."""

    token: str
    """For `auth.token` of the socket and REST."""
    user_id: str
    """The guest's id; in participants it is `anonymousUserId`."""
    name: str
    conversation_id: str
    conversation_type: str
    expires_at: str
    """Renew the token before."""
    renewable_until: str
    """The end of the guest's session; from then on an invite is needed."""


class WebConfig(Message):
    """What a page needs to know at its start."""

    version: str
    development: bool
    server_time: str
    media_server_urls: list[str]
    """As clients reach them."""
    turn: bool
    """Whether there are TURN servers; join answers hold their addresses and credentials."""
    invites: bool
    """Whether guests are let in by an invite."""
    max_participants: int
    """Of a group call."""
    ring_timeout_s: float
    """When a call that no other participant has joined ends."""
    reconnect_grace_s: float
    """How long the place of a participant whose socket broke is kept."""
    max_name_chars: int
