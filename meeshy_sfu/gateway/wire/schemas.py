"""What comes over the gateway's wire and goes back: bodies, answers and events, in camelCase.

Checks shape and size; permission and state are checked by `calls`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from meeshy_sfu.edge.wire import Token, WireModel, an_id

CallId = Annotated[str, an_id("callId"), Field(max_length=128)]
ConversationId = Annotated[str, an_id("conversationId"), Field(max_length=128)]
ParticipantId = Annotated[str, an_id("participantId"), Field(max_length=128)]
SignalTarget = Annotated[str, an_id("signal.to"), Field(max_length=128)]
SignalSender = Annotated[str, an_id("signal.from"), Field(max_length=128)]
SdpMid = Annotated[str, Field(max_length=64, pattern=r"^[!-~]*$")]
UsernameFragment = Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9+/]*$")]
Kind = Literal["audio", "video"]
Mode = Literal["p2p", "sfu"]
Reason = Annotated[str, Field(max_length=500)]
ObjectId = Annotated[str, Field(min_length=1, max_length=64, pattern="^[!-~]+$")]
Epoch = Annotated[int, Field(ge=0, le=2**53 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Figure = Annotated[float, Field(ge=0, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**15)]
RTP_CAPABILITIES_NOTE = "As the media server gives them."


def _number(value: object) -> object:
    """Let whole numbers pass for fractions, which strict models refuse."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class MediaSettings(WireModel):
    """What somebody sends when they come in."""

    audio_enabled: bool = True
    video_enabled: bool = True
    screen_share_enabled: bool = False


class InitiateRequest(WireModel):
    """Begin a call in a conversation."""

    conversation_id: ConversationId
    type: Kind
    settings: MediaSettings = MediaSettings()
    expected_participants: Annotated[int, Field(ge=0, le=500)] = 0
    """How many will come, if that is known; a group of more than two begins on the media server."""


class JoinBody(WireModel):
    """Come into the call of the path."""

    settings: MediaSettings | None = None
    audio_enabled: bool | None = None
    video_enabled: bool | None = None

    def media(self) -> MediaSettings:
        """Give the settings, wherever they stand."""
        base = self.settings or MediaSettings()
        return MediaSettings(
            audio_enabled=base.audio_enabled if self.audio_enabled is None else self.audio_enabled,
            video_enabled=base.video_enabled if self.video_enabled is None else self.video_enabled,
            screen_share_enabled=base.screen_share_enabled,
        )


class JoinRequest(JoinBody):
    """Come into a call."""

    call_id: CallId


class RejoinRequest(WireModel):
    """Take one's place again after a broken socket."""

    call_id: CallId
    participant_id: ParticipantId


class CallRequest(WireModel):
    """Something about a call."""

    call_id: CallId


class RejectRequest(WireModel):
    """Say no to a call."""

    call_id: CallId
    reason: Literal["busy", "declined", "unavailable"] = "declined"


class ToggleRequest(WireModel):
    """Switch a track on or off."""

    call_id: CallId
    enabled: bool


class MediaStateRequest(WireModel):
    """Say what one sends now."""

    call_id: CallId
    audio_enabled: bool | None = None
    video_enabled: bool | None = None
    screen_share_enabled: bool | None = None


class ForceLeaveRequest(WireModel):
    """Give up a place in the call of a conversation."""

    conversation_id: ConversationId
    participant_id: ParticipantId | None = None


class CandidateBody(WireModel):
    """An ICE candidate as browsers write it."""

    candidate: str
    sdp_mid: SdpMid | None = None
    sdp_m_line_index: Annotated[int, Field(ge=0, le=1024)] | None = None
    username_fragment: UsernameFragment | None = None


class Signal(WireModel):
    """One message of the negotiation between two people."""

    type: Literal["offer", "answer", "ice-candidate"]
    to: SignalTarget
    sender: Annotated[SignalSender | None, Field(alias="from")] = None
    sdp: str | None = None
    candidate: str | CandidateBody | None = None
    sdp_mid: SdpMid | None = None
    sdp_m_line_index: Annotated[int, Field(ge=0, le=1024)] | None = None
    username_fragment: UsernameFragment | None = None
    epoch: Epoch | None = None


class SignalRequest(WireModel):
    """A signal for somebody in the call."""

    call_id: CallId
    signal: Signal


class ProducerIds(WireModel):
    """What somebody sends through the media server."""

    audio: ObjectId | None = None
    video: ObjectId | None = None
    screen: ObjectId | None = None


class ModeSwitchedRequest(WireModel):
    """Say that the new path works, or that it does not."""

    call_id: CallId | None = None
    """Left out: the call this socket is in."""
    mode: Mode | None = None
    epoch: Epoch | None = None
    """Left out: the newest transition people were told of."""
    success: bool
    error: Reason | None = None
    sfu_send_transport_id: ObjectId | None = None
    sfu_recv_transport_id: ObjectId | None = None
    producer_ids: ProducerIds | None = None


class SfuReadyRequest(WireModel):
    """Say whether the pre-warmed leg works."""

    call_id: CallId
    success: bool
    error: Reason | None = None


class AuthenticateRequest(WireModel):
    """Present a new token before the old one expires."""

    token: Token


class SetModeBody(WireModel):
    """Ask for a mode; only the one the rules give is possible."""

    mode: Mode


class QualityBody(WireModel):
    """A client's figures of the last seconds."""

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


# ---- answers -------------------------------------------------------------------------------------------------


class MediaServerConfig(WireModel):
    """The room of a call."""

    room_id: str
    router_id: str
    rtp_capabilities: Annotated[dict[str, Any], Field(description=RTP_CAPABILITIES_NOTE)]


class ParticipantData(WireModel):
    """Somebody in a call."""

    participant_id: str
    user_id: str | None = None
    anonymous_user_id: str | None = None
    username: str
    role: Literal["initiator", "participant"]
    status: Literal["connecting", "connected", "disconnected", "failed"]
    joined_at: str
    left_at: str | None
    audio_enabled: bool
    video_enabled: bool
    screen_share_enabled: bool


class InitiatorData(WireModel):
    """Who began a call."""

    user_id: str
    username: str


class CallData(WireModel):
    """A call."""

    call_id: str
    conversation_id: str
    mode: Mode
    status: Literal["initiated", "ringing", "active", "ended", "failed"]
    type: Kind
    initiator: InitiatorData
    settings: dict[str, Any]
    participants: list[ParticipantData]
    created_at: str
    started_at: str | None
    ended_at: str | None
    expires_at: str | None
    duration: int | None
    end_reason: Literal["normal", "timeout", "error", "forced"] | None
    media_server_config: MediaServerConfig | None


class CallPage(WireModel):
    """Some calls of a conversation, newest first."""

    calls: list[CallData]
    total: int
    limit: int
    offset: int
    next_cursor: str | None


class LiveCallLine(WireModel):
    """A live call at a glance."""

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
    """Those who have a socket."""
    created_at: str
    started_at: str | None
    media_server_url: str | None
    room_id: str | None
    prewarmed: bool
    """The room is made in advance: no media of the call's needs it yet."""
    failure: str | None
    """Why the last switch failed, while the next try is awaited."""


class LiveCalls(WireModel):
    """Live calls, oldest first."""

    calls: list[LiveCallLine]
    total: int
    """How many there are, also beyond the limit."""


class ActiveCallData(WireModel):
    """The call of a conversation that is not over, or null."""

    call: CallData | None


class JoinData(WireModel):
    """The place in a call; over REST without a socket until `call:join` or `call:rejoin` takes it."""

    participant_id: str
    call_id: str
    mode: Mode
    phase: Literal["p2p", "switching_to_sfu", "sfu", "switching_to_p2p"]
    epoch: int
    status: str
    joined_at: str
    participants: list[ParticipantData]
    call_session: CallData
    ice_servers: list[dict[str, Any]]
    media_server_config: MediaServerConfig | None
    media_token: str | None
    media_server_url: str | None


class LeftData(WireModel):
    """Who left."""

    message: str
    call_id: str
    participant_id: str
    left_at: str
    reason: str | None
    """left, timeout, forced or ended; null if it is not known any more."""


class EndedData(WireModel):
    """How a call ended."""

    message: str
    call_id: str
    ended_at: str
    duration: int


class ModeData(WireModel):
    """The mode of a call."""

    call_id: str
    mode: Mode
    switched_at: str | None
    media_server_config: MediaServerConfig | None
