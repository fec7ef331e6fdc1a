"""What the gateway's OpenAPI document says beside its routes: path parameters and events."""

from __future__ import annotations

from typing import Any

from meeshy_sfu.edge.openapi import Description, Events
from meeshy_sfu.edge.wire import WireModel
from meeshy_sfu.gateway.wire import schemas


class CallEvent(WireModel):
    """Something about a call; docs/gateway.md describes the fields of each event."""

    call_id: str


class JoinAnswer(WireModel):
    """All that somebody who came in has to know."""

    success: bool
    call_id: str
    participant_id: str
    mode: schemas.Mode
    phase: str
    epoch: int
    initiator: bool
    peer: str | None
    switch_deadline: int | None
    reason: str | None
    prewarm: bool
    call_session: schemas.CallData
    participants: list[schemas.ParticipantData]
    ice_servers: list[dict[str, Any]]
    media_token: str | None
    media_server_url: str | None
    media_server_config: schemas.MediaServerConfig | None
    rtp_capabilities: dict[str, Any] | None
    producers: list[dict[str, Any]]


class ModeSwitch(WireModel):
    """Build a new path; the old one keeps flowing."""

    call_id: str
    mode: schemas.Mode
    old_mode: schemas.Mode
    new_mode: schemas.Mode
    epoch: int
    reason: str
    initiator: bool
    role: str
    peer: str | None
    switch_deadline: int | None
    rtp_capabilities: dict[str, Any] | None
    media_server_config: schemas.MediaServerConfig | None
    media_token: str | None
    media_server_url: str | None
    ice_servers: list[dict[str, Any]]
    participants: list[schemas.ParticipantData]
    producers: list[dict[str, Any]]


class ModeSwitched(WireModel):
    """A transition is over."""

    call_id: str
    mode: schemas.Mode
    old_mode: schemas.Mode
    epoch: int
    success: bool
    reason: str
    duration_ms: int
    missing: list[str] | None = None
    failed: list[str] | None = None


class ErrorEvent(WireModel):
    """An event of yours was refused."""

    code: str
    message: str
    event: str | None = None
    call_id: str | None = None
    details: dict[str, Any] | None = None


class Authenticated(WireModel):
    """The token is good."""

    success: bool
    user: dict[str, Any]


CLIENT_EVENTS: Events = {
    "authenticate": (schemas.AuthenticateRequest, "Present a new token before the old one expires."),
    "call:initiate": (schemas.InitiateRequest, "Begin a call and be in it."),
    "call:join": (schemas.JoinRequest, "Come into a call, or begin anew in it."),
    "call:accept": (schemas.JoinRequest, "The same as call:join."),
    "call:rejoin": (schemas.RejoinRequest, "Take one's place again after a broken socket; media went on."),
    "call:leave": (schemas.CallRequest, "Leave."),
    "call:reject": (schemas.RejectRequest, "Say no; an unanswered call of two ends by it."),
    "call:signal": (schemas.SignalRequest, "Offer, answer or candidate for somebody in the call."),
    "call:toggle-audio": (schemas.ToggleRequest, "Switch one's microphone on or off."),
    "call:toggle-video": (schemas.ToggleRequest, "Switch one's camera on or off."),
    "call:media-state-change": (schemas.MediaStateRequest, "Both at once, and screen sharing."),
    "call:end": (schemas.CallRequest, "End the call for everybody."),
    "call:force-leave": (schemas.ForceLeaveRequest, "Give up a stale place, or put somebody out."),
    "call:mode-switched": (schemas.ModeSwitchedRequest, "The new path works, or does not."),
    "call:mode-switch-ack": (schemas.ModeSwitchedRequest, "The same as call:mode-switched."),
    "call:sfu-ready": (schemas.SfuReadyRequest, "The leg made in advance works, or does not."),
    "call:media-token": (schemas.CallRequest, "Ask for a fresh token for the media server."),
}
SERVER_EVENTS: Events = {
    "authenticated": (Authenticated, "After the connection, and after authenticate."),
    "call:initiated": (CallEvent, "Somebody calls in a conversation of yours."),
    "call:incoming": (CallEvent, "The same."),
    "call:join": (JoinAnswer, "You are in; also the acknowledgement."),
    "call:rejoined": (JoinAnswer, "You are in again."),
    "call:participant-joined": (CallEvent, "Somebody came."),
    "call:participant-left": (CallEvent, "Somebody is gone."),
    "call:participant-connection": (CallEvent, "Somebody's socket is away, or back."),
    "call:signal": (schemas.SignalRequest, "Offer, answer or candidate for you."),
    "call:media-toggled": (CallEvent, "Somebody switched a track on or off."),
    "call:rejected": (CallEvent, "Somebody will not come."),
    "call:mode-switch": (ModeSwitch, "Build the new path while the old one flows."),
    "call:mode-switched": (ModeSwitched, "A transition is over: close the old path, or drop the new one."),
    "call:prewarm": (CallEvent, "Prepare the SFU leg, paused."),
    "call:sfu-unreachable": (CallEvent, "A switch would fail for somebody."),
    "new-producer": (CallEvent, "Somebody sends a track through the media server."),
    "producer-closed": (CallEvent, "A track has ended."),
    "active-speaker": (CallEvent, "Who speaks."),
    "call:media-token": (CallEvent, "A fresh token for the media server."),
    "call:ended": (CallEvent, "The call is over."),
    "call:error": (ErrorEvent, "An event was refused, or your place is lost."),
}
DESCRIPTION = Description(
    title="Meeshy call gateway",
    text="Calls of conversations, peer to peer or through the media server. Events go over Socket.IO at /socket.io/ "
    "with the user's token in auth.token.",
    path_parameters={
        "callId": "The call's id.",
        "participantId": "Somebody's id within the call.",
        "conversationId": "One of the caller's conversations.",
    },
    client_events=CLIENT_EVENTS,
    server_events=SERVER_EVENTS,
)
