"""Every Socket.IO event of the gateway, both ways: its payload, its answer, and one row in `EVENTS`.

Values that REST has as well are in schemas.py. Handlers are in events.py; what is sent to whom, in notices.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from meeshy_sfu.edge.event_table import EventTable
from meeshy_sfu.edge.wire import Message, Nothing, Omittable, OneOf, Token, WireModel, an_id
from meeshy_sfu.gateway.wire.schemas import (
    CallId,
    ConversationId,
    EndedData,
    EndReason,
    IceServer,
    InitiateRequest,
    InitiatorData,
    JoinAnswer,
    JoinBody,
    KindName,
    LeftData,
    MediaAccess,
    Mode,
    ModeName,
    ParticipantData,
    PhaseName,
    RemoteProducer,
    UserView,
)

ParticipantId = Annotated[str, an_id("participantId"), Field(max_length=128)]
SignalTarget = Annotated[str, an_id("signal.to"), Field(max_length=128)]
SignalSender = Annotated[str, an_id("signal.from"), Field(max_length=128)]
SdpMid = Annotated[str, Field(max_length=64, pattern=r"^[!-~]*$")]
UsernameFragment = Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9+/]*$")]
Reason = Annotated[str, Field(max_length=500)]
ObjectId = Annotated[str, Field(min_length=1, max_length=64, pattern="^[!-~]+$")]
Epoch = Annotated[int, Field(ge=0, le=2**53 - 1)]
SignalType = Literal["offer", "answer", "ice-candidate"]

# ---- from clients --------------------------------------------------------------------------------------------


class AuthenticateRequest(WireModel):
    """A fresh token of the same user."""

    token: Token


class JoinRequest(JoinBody):
    """The call to join."""

    call_id: CallId


class RejoinRequest(WireModel):
    """The participant whose socket broke."""

    call_id: CallId
    participant_id: ParticipantId


class CallRequest(WireModel):
    """The call."""

    call_id: CallId


class RejectRequest(WireModel):
    """The call that is refused, and why."""

    call_id: CallId
    reason: Literal["busy", "declined", "unavailable"] = "declined"


class ToggleRequest(WireModel):
    """Whether a track is on."""

    call_id: CallId
    enabled: bool


class MediaStateRequest(WireModel):
    """The tracks that are on; a field that is left out stays as it is."""

    call_id: CallId
    audio_enabled: bool | None = None
    video_enabled: bool | None = None
    screen_share_enabled: bool | None = None


class ForceLeaveRequest(WireModel):
    """The participant who leaves the call of a conversation."""

    conversation_id: ConversationId
    participant_id: ParticipantId | None = None
    """Left out: the sender."""


class CandidateBody(WireModel):
    """An ICE candidate, as RTCIceCandidate.toJSON writes it."""

    candidate: str
    """Empty: no more candidates."""
    sdp_mid: SdpMid | None = None
    sdp_m_line_index: Annotated[int, Field(ge=0, le=1024)] | None = None
    username_fragment: UsernameFragment | None = None


class Signal(WireModel):
    """One message of the negotiation between two participants."""

    type: SignalType
    to: SignalTarget
    """participantId of the target."""
    sender: Annotated[SignalSender | None, Field(alias="from")] = None
    """The sender's participantId; may be left out."""
    sdp: str | None = None
    """Of an offer or answer."""
    candidate: str | CandidateBody | None = None
    """Of an ice-candidate; empty: no more candidates."""
    sdp_mid: SdpMid | None = None
    sdp_m_line_index: Annotated[int, Field(ge=0, le=1024)] | None = None
    username_fragment: UsernameFragment | None = None
    epoch: Epoch | None = None


class SignalRequest(WireModel):
    """A signal for another participant."""

    call_id: CallId
    signal: Signal


class ProducerIds(WireModel):
    """The producers of a participant on the media server."""

    audio: ObjectId | None = None
    video: ObjectId | None = None
    screen: ObjectId | None = None


class ModeSwitchedRequest(WireModel):
    """Whether the new path works."""

    call_id: CallId | None = None
    """Left out: the call this socket is in."""
    mode: Mode | None = None
    epoch: Epoch | None = None
    """Left out: the newest transition that was announced."""
    success: bool
    error: Reason | None = None
    sfu_send_transport_id: ObjectId | None = None
    sfu_recv_transport_id: ObjectId | None = None
    producer_ids: ProducerIds | None = None


class SfuReadyRequest(WireModel):
    """Whether the pre-warmed SFU leg works."""

    call_id: CallId
    success: bool
    error: Reason | None = None


# ---- answers -------------------------------------------------------------------------------------------------


class AuthenticateAnswer(Message):
    """The user of the token."""

    user: UserView


class CallAnswer(Message):
    """The call that was meant."""

    call_id: str


class ParticipantAnswer(CallAnswer):
    """The call and participant that were meant."""

    participant_id: str


class ModeSwitchedAnswer(CallAnswer):
    """The call's mode after a confirmation."""

    mode: ModeName
    epoch: int
    """The current epoch; a confirmation of an older one changes nothing."""
    phase: PhaseName


# ---- to clients ----------------------------------------------------------------------------------------------


class Authenticated(AuthenticateAnswer):
    """The token is accepted."""

    success: Literal[True] = True


class CallInitiated(Message):
    """A call that rings."""

    call_id: str
    conversation_id: str
    type: KindName
    mode: ModeName
    initiator: InitiatorData
    caller: InitiatorData
    """The same as `initiator`."""
    participants: list[ParticipantData]
    expires_at: str | None
    """When the call ends if it is not answered."""


class Joined(JoinAnswer):
    """The join answer as an event."""

    success: Literal[True] = True


class ParticipantJoined(Message):
    """A participant joined."""

    call_id: str
    participant: ParticipantData
    mode: ModeName
    phase: PhaseName
    epoch: int
    total_participants: int
    initiator: bool
    """In P2P: make the offer to `participant.participantId` now, its socket is there."""
    ice_servers: list[IceServer]


class ParticipantLeft(Message):
    """A participant left."""

    call_id: str
    participant_id: str
    user_id: Omittable[str] = None
    """Left out for a guest, who has `anonymousId`."""
    anonymous_id: Omittable[str] = None
    username: str
    reason: Annotated[str, OneOf("left", "timeout", "forced", "rejoined")]
    left_at: str
    mode: ModeName
    total_participants: int


class ParticipantConnection(Message):
    """A participant's socket disconnected or reconnected."""

    call_id: str
    participant_id: str
    state: Annotated[str, OneOf("reconnecting", "connected")]


class RelayedCandidate(Message):
    """An ICE candidate, unchanged."""

    candidate: str
    sdp_mid: Omittable[str] = None
    sdp_m_line_index: Omittable[int] = None
    username_fragment: Omittable[str] = None


class RelayedSignal(Message):
    """One message of the negotiation, with its sender."""

    type: SignalType
    sender: Annotated[str, Field(alias="from")]
    """participantId of the sender."""
    to: str
    sdp: Omittable[str] = None
    candidate: Omittable[str | RelayedCandidate] = None
    sdp_mid: Omittable[str] = None
    sdp_m_line_index: Omittable[int] = None
    username_fragment: Omittable[str] = None
    epoch: Omittable[int] = None


class SignalEvent(Message):
    """A signal from another participant."""

    call_id: str
    signal: RelayedSignal


class MediaToggled(ParticipantAnswer):
    """A track is on or off."""

    media_type: Annotated[str, OneOf("audio", "video", "screen")]
    enabled: bool


class Rejected(Message):
    """A user refused the call."""

    call_id: str
    user_id: str
    reason: str


class ModeSwitch(MediaAccess):
    """Build a new path; the old one keeps flowing."""

    call_id: str
    mode: ModeName
    """The same as `newMode`."""
    old_mode: ModeName
    new_mode: ModeName
    epoch: int
    reason: str
    """What began the transition."""
    initiator: bool
    """To P2P: make the offer to `peer`."""
    role: Annotated[str, OneOf("initiator", "receiver")]
    peer: str | None
    """To P2P: the participantId of the peer."""
    switch_deadline: int | None
    """Milliseconds since 1970."""
    participants: list[ParticipantData]
    ice_servers: list[IceServer]


class ModeSwitched(Message):
    """A transition is over."""

    call_id: str
    mode: ModeName
    """The path that stays."""
    old_mode: ModeName
    epoch: int
    success: bool
    reason: str
    """What began the transition, or why it failed."""
    duration_ms: int
    missing: Omittable[list[str]] = None
    """Of a completed transition: the participantIds that have not confirmed."""
    failed: Omittable[list[str]] = None
    """Of a failed transition: the participantIds whose new path does not work."""
    errors: Omittable[dict[str, str]] = None
    """Of a failed transition: the error each reported, by participantId."""


class Prewarm(MediaAccess):
    """A room that is created in advance."""

    call_id: str
    ice_servers: list[IceServer]


class SfuUnreachable(ParticipantAnswer):
    """A participant whose SFU leg does not work."""

    reason: str


class SpeakerVolume(Message):
    """The audio level of a participant."""

    participant_id: str
    producer_id: str
    volume: int
    """dBov: 0 is the loudest."""


class ActiveSpeaker(Message):
    """The active speakers."""

    call_id: str
    participant_id: str | None
    """The dominant speaker; null before the first."""
    producer_id: str | None
    volumes: list[SpeakerVolume]
    """Loudest first; empty in silence."""


class ProducerClosed(Message):
    """A track has ended."""

    call_id: str
    participant_id: str
    producer_id: str
    kind: KindName


class MediaTokenData(Message):
    """A fresh token for the media server."""

    call_id: str
    media_token: str
    media_server_url: str
    expires_at: str


class CallEnded(Message):
    """A call is over."""

    call_id: str
    conversation_id: str
    duration: int
    """Seconds since it was answered."""
    ended_by: str | None
    """A user's id; null if no user ended it."""
    reason: EndReason
    ended_at: str


class CallError(Message):
    """An error."""

    event: Omittable[str] = None
    """The event that was refused, or `packet`."""
    code: str
    message: str
    call_id: Omittable[str] = None
    details: Omittable[dict[str, Any]] = None
    retry_after: Omittable[int | float] = None
    """Seconds; of a rate limit only."""


# ---- the table -----------------------------------------------------------------------------------------------

EVENTS = EventTable()
"""All events; docs/gateway.md, the AsyncAPI document and docs/schemas/gateway.json are made of it."""

AUTHENTICATE = EVENTS.from_client(
    "authenticate", AuthenticateRequest, AuthenticateAnswer, "Present a new token before the old one expires"
)
INITIATE = EVENTS.from_client(
    "call:initiate", InitiateRequest, JoinAnswer, "Start a call and join it", quota="initiate"
)
JOIN = EVENTS.from_client("call:join", JoinRequest, JoinAnswer, "Join a call, or join it anew", quota="join")
ACCEPT = EVENTS.from_client("call:accept", JoinRequest, JoinAnswer, "The same as `call:join`", quota="join")
REJOIN = EVENTS.from_client(
    "call:rejoin",
    RejoinRequest,
    JoinAnswer,
    "Be the same participant again after the socket broke; media went on",
    quota="join",
)
LEAVE = EVENTS.from_client("call:leave", CallRequest, LeftData, "Leave", quota="leave")
REJECT = EVENTS.from_client(
    "call:reject", RejectRequest, CallAnswer, "Refuse a call; an unanswered call of two ends", quota="leave"
)
SIGNAL = EVENTS.from_client(
    "call:signal",
    SignalRequest,
    Nothing,
    "Send an offer, answer or candidate to another participant",
    quota="signals",
)
TOGGLE_AUDIO = EVENTS.from_client(
    "call:toggle-audio", ToggleRequest, MediaToggled, "Switch one's microphone on or off", quota="toggle"
)
TOGGLE_VIDEO = EVENTS.from_client(
    "call:toggle-video", ToggleRequest, MediaToggled, "Switch one's camera on or off", quota="toggle"
)
MEDIA_STATE = EVENTS.from_client(
    "call:media-state-change",
    MediaStateRequest,
    ParticipantAnswer,
    "Switch microphone, camera and screen sharing at once",
    quota="toggle",
)
END = EVENTS.from_client(
    "call:end", CallRequest, EndedData, "End the call for all participants", quota="leave"
)
FORCE_LEAVE = EVENTS.from_client(
    "call:force-leave",
    ForceLeaveRequest,
    LeftData,
    "Leave a call that one is still in, or as initiator or admin remove another participant",
    quota="leave",
)
CONFIRM = EVENTS.from_client(
    "call:mode-switched", ModeSwitchedRequest, ModeSwitchedAnswer, "Confirm that the new path works, or not"
)
CONFIRM_ALIAS = EVENTS.from_client(
    "call:mode-switch-ack", ModeSwitchedRequest, ModeSwitchedAnswer, "The same as `call:mode-switched`"
)
SFU_READY = EVENTS.from_client(
    "call:sfu-ready",
    SfuReadyRequest,
    CallAnswer,
    "Report whether the pre-warmed SFU leg works",
    quota="toggle",
)
MEDIA_TOKEN = EVENTS.from_client(
    "call:media-token", CallRequest, MediaTokenData, "Get a fresh token for the media server", quota="toggle"
)

_ALL, _OTHERS, _ONE = "the participants", "the other participants", "one participant"
_CONVERSATION = "all members of the conversation"
_SENDER = "the sender"

AUTHENTICATED = EVENTS.to_client(
    "authenticated", Authenticated, to="the socket", summary="After the connection, and after `authenticate`"
)
INITIATED = EVENTS.to_client(
    "call:initiated", CallInitiated, to=f"{_CONVERSATION} but the initiator", summary="A call rings"
)
INCOMING = EVENTS.to_client(
    "call:incoming",
    CallInitiated,
    to=f"{_CONVERSATION} but the initiator",
    summary="The same as `call:initiated`",
)
JOINED = EVENTS.to_client("call:join", Joined, to=_SENDER, summary="The join answer once more")
REJOINED = EVENTS.to_client(
    "call:rejoined", Joined, to=_SENDER, summary="The answer of `call:rejoin` once more"
)
PARTICIPANT_JOINED = EVENTS.to_client(
    "call:participant-joined", ParticipantJoined, to=_OTHERS, summary="A participant joined"
)
PARTICIPANT_LEFT = EVENTS.to_client(
    "call:participant-left", ParticipantLeft, to=_OTHERS, summary="A participant left or was removed"
)
PARTICIPANT_CONNECTION = EVENTS.to_client(
    "call:participant-connection",
    ParticipantConnection,
    to=_OTHERS,
    summary="A participant's socket disconnected or reconnected",
)
RELAYED_SIGNAL = EVENTS.to_client(
    "call:signal", SignalEvent, to="the target", summary="An offer, answer or candidate"
)
MEDIA_TOGGLED = EVENTS.to_client(
    "call:media-toggled", MediaToggled, to=_ALL, summary="A participant switched a track on or off"
)
REJECTED = EVENTS.to_client("call:rejected", Rejected, to=_ALL, summary="A user refused the call")
MODE_SWITCH = EVENTS.to_client(
    "call:mode-switch", ModeSwitch, to=_ALL, summary="Build the new path while the old one flows"
)
MODE_SWITCHED = EVENTS.to_client(
    "call:mode-switched",
    ModeSwitched,
    to=_ALL,
    summary="A transition is over: close the old path, or drop the new one",
)
PREWARM = EVENTS.to_client(
    "call:prewarm", Prewarm, to="each of two in P2P", summary="Prepare the SFU leg, paused"
)
SFU_UNREACHABLE = EVENTS.to_client(
    "call:sfu-unreachable", SfuUnreachable, to=_ALL, summary="A switch would fail for a participant"
)
NEW_PRODUCER = EVENTS.to_client(
    "new-producer",
    RemoteProducer,
    to=_OTHERS,
    summary="A participant sends a track through the media server",
)
PRODUCER_CLOSED = EVENTS.to_client("producer-closed", ProducerClosed, to=_OTHERS, summary="A track has ended")
ACTIVE_SPEAKER = EVENTS.to_client("active-speaker", ActiveSpeaker, to=_ALL, summary="Who speaks")
FRESH_MEDIA_TOKEN = EVENTS.to_client(
    "call:media-token",
    MediaTokenData,
    to=_ONE,
    summary="A fresh token for the media server, before the old one expires",
)
ENDED = EVENTS.to_client("call:ended", CallEnded, to=_CONVERSATION, summary="The call is over")
ERROR = EVENTS.to_client(
    "call:error",
    CallError,
    to=_ONE,
    summary="An event was refused, your place is lost, or no path serves you",
)
