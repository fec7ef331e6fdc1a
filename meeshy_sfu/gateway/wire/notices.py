"""What people in a call are told: payloads of events and answers, and to whom they go.

Writes the wire's words and hands them to sockets; decides nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from meeshy_sfu.edge.token_signing import sign_media_token
from meeshy_sfu.errors import ModeSwitchFailedError
from meeshy_sfu.gateway.calls.mode import CallMode, CompleteSwitch, Phase, RollBack, StartSwitch
from meeshy_sfu.gateway.calls.waiting_calls import FULL, UNAVAILABLE
from meeshy_sfu.gateway.turn.ice_servers import ice_servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.db.models import Call, Participant
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.media.media_client import MediaRoom

Payload = dict[str, Any]
FAILURES = {
    FULL: "all media servers are full",
    UNAVAILABLE: "no media server answers",
    "participant_failed": "a participant could not change to it",
    "deadline": "not all participants changed to it in time",
}
"""Reasons of failed transitions, for people; others name how a media server was lost."""


class Outbox(Protocol):
    """Where events go."""

    def deliver(self, sids: Iterable[str], event: str, payload: dict[str, object]) -> None:
        """Queue an event for some sockets; never waits."""

    def deliver_to_conversation(
        self, conversation_id: str, event: str, payload: dict[str, object], *, but: str | None = None
    ) -> int:
        """Queue an event for all sockets of a conversation's people but one, by User.key; gives their number."""


class Notices:
    """Tell members of a call, and those who could be."""

    def __init__(self, settings: Settings, secret: str, clock: Clock, outbox: Outbox) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self.outbox = outbox
        """Where everything goes."""

    # ---- the call as such

    def initiated(self, call: LiveCall, *, but: str) -> int:
        """Ring: tell everyone of the conversation but the person of this key; gives how many sockets heard it."""
        initiator = {"userId": call.initiator_id, "username": call.initiator_name}
        payload: Payload = {
            "callId": call.id,
            "conversationId": call.conversation_id,
            "type": call.kind,
            "mode": call.mode.mode.value,
            "initiator": initiator,
            "caller": initiator,
            "participants": people(call),
            "expiresAt": self.expires_at(call),
        }
        for event in ("call:initiated", "call:incoming"):
            heard = self.outbox.deliver_to_conversation(call.conversation_id, event, payload, but=but)
        return heard

    def ended(
        self, call: LiveCall, *, reason: str, ended_by: str | None, ended_at: datetime, duration_s: int
    ) -> None:
        """Tell everyone of the conversation, so that clients also stop ringing."""
        payload: Payload = {
            "callId": call.id,
            "conversationId": call.conversation_id,
            "duration": duration_s,
            "endedBy": ended_by,
            "reason": reason,
            "endedAt": iso(ended_at),
        }
        self.outbox.deliver_to_conversation(call.conversation_id, "call:ended", payload)

    def rejected(self, call: LiveCall, user_id: str, reason: str) -> None:
        """Tell the members that somebody will not come."""
        payload: Payload = {"callId": call.id, "userId": user_id, "reason": reason}
        self.outbox.deliver(call.sids(), "call:rejected", payload)

    # ---- people

    def participant_joined(self, call: LiveCall, member: Member) -> None:
        """Tell the others; in P2P the one who was there makes the offer, and does it on hearing this."""
        for other in list(call.members.values()):
            if other.id == member.id or other.sid is None:
                continue
            direct = call.phase is Phase.P2P and call.peer_of(other.id) == member.id
            payload: Payload = {
                "callId": call.id,
                "participant": person(member),
                "mode": call.mode.mode.value,
                "phase": call.phase.value,
                "epoch": call.mode.epoch,
                "totalParticipants": len(call.members),
                "initiator": direct and call.offers(other.id),
                "iceServers": self.ice_servers(other),
            }
            self.outbox.deliver([other.sid], "call:participant-joined", payload)

    def participant_left(self, call: LiveCall, member: Member, reason: str) -> None:
        """Tell the others."""
        identity = "anonymousId" if member.anonymous else "userId"
        payload: Payload = {
            "callId": call.id,
            "participantId": member.id,
            identity: member.user_id,
            "username": member.username,
            "reason": reason,
            "leftAt": iso_s(self._clock.unix_s()),
            "mode": call.mode.mode.value,
            "totalParticipants": len(call.members) - (member.id in call.members),
        }
        self.outbox.deliver(call.sids(but=[member.id]), "call:participant-left", payload)

    def connection(self, call: LiveCall, member: Member) -> None:
        """Tell the others that somebody's socket is away, or back."""
        payload: Payload = {
            "callId": call.id,
            "participantId": member.id,
            "state": "reconnecting" if member.sid is None else "connected",
        }
        self.outbox.deliver(call.sids(but=[member.id]), "call:participant-connection", payload)

    def media_toggled(self, call: LiveCall, member: Member, media: str, *, enabled: bool) -> Payload:
        """Tell all members, the sender included."""
        payload: Payload = {
            "callId": call.id,
            "participantId": member.id,
            "mediaType": media,
            "enabled": enabled,
        }
        self.outbox.deliver(call.sids(), "call:media-toggled", payload)
        return payload

    def signal(self, call: LiveCall, target: Member, signal: Payload) -> None:
        """Pass a signal on to its target alone."""
        if target.sid is not None:
            self.outbox.deliver([target.sid], "call:signal", {"callId": call.id, "signal": signal})

    def error(self, sid: str, payload: Payload) -> None:
        """Tell one socket what was wrong."""
        self.outbox.deliver([sid], "call:error", payload)

    # ---- the switch

    def mode_switch(self, call: LiveCall, start: StartSwitch) -> None:
        """Tell every member to build the new path."""
        for member in list(call.members.values()):
            if member.sid is None:
                continue
            direct = start.target is CallMode.P2P
            payload: Payload = {
                "callId": call.id,
                "mode": start.target.value,
                "oldMode": start.source.value,
                "newMode": start.target.value,
                "epoch": start.epoch,
                "reason": start.reason,
                "initiator": direct and call.offers(member.id),
                "role": "initiator" if direct and call.offers(member.id) else "receiver",
                "peer": call.peer_of(member.id) if direct else None,
                "switchDeadline": call.deadline_unix_ms,
                "participants": people(call),
                "iceServers": self.ice_servers(member),
                **self.media_access(call, member, active=not direct),
            }
            self.outbox.deliver([member.sid], "call:mode-switch", payload)

    def completed(self, call: LiveCall, done: CompleteSwitch) -> None:
        """Tell every member that the old path may be closed."""
        self._mode_switched(call, done.target, done, success=True, missing=sorted(done.missing))

    def rolled_back(self, call: LiveCall, back: RollBack) -> None:
        """Tell every member that the old path stays."""
        errors = {who: call.errors[who] for who in sorted(back.failed) if who in call.errors}
        self._mode_switched(call, back.source, back, success=False, failed=sorted(back.failed), errors=errors)

    def _mode_switched(
        self, call: LiveCall, mode: CallMode, end: CompleteSwitch | RollBack, *, success: bool, **more: Any
    ) -> None:
        payload: Payload = {
            "callId": call.id,
            "mode": mode.value,
            "oldMode": end.source.value,
            "epoch": end.epoch,
            "success": success,
            "reason": end.reason,
            "durationMs": round(end.duration_s * 1000),
            **more,
        }
        self.outbox.deliver(call.sids(), "call:mode-switched", payload)

    def switch_failed(self, call: LiveCall, waiting: Iterable[str]) -> None:
        """Tell those whom no path serves what is wrong, and when it is tried again."""
        failure, retry_at_s = call.mode.failure, call.mode.retry_at
        if failure is None or retry_at_s is None:
            return
        retry_at = iso_s(self._clock.unix_s() + retry_at_s - self._clock.monotonic_s())
        why = FAILURES.get(failure, "the media server that carried it is gone")
        payload: Payload = {
            "callId": call.id,
            "code": ModeSwitchFailedError.code,
            "message": f"no path leads to everybody in the call: {why}; the next try is at {retry_at}",
            "details": {"reason": failure, "retryAt": retry_at},
        }
        sids = [member.sid for who in waiting if (member := call.members.get(who)) and member.sid]
        self.outbox.deliver(sids, "call:error", payload)

    def prewarm(self, call: LiveCall) -> None:
        """Tell the two who talk directly where to prepare their SFU leg."""
        for member in list(call.members.values()):
            self.prewarm_one(call, member)

    def prewarm_one(self, call: LiveCall, member: Member) -> None:
        """Tell one of them, for example after a rejoin."""
        if member.sid is not None:
            payload: Payload = {
                "callId": call.id,
                "iceServers": self.ice_servers(member),
                **self.media_access(call, member, active=True),
            }
            self.outbox.deliver([member.sid], "call:prewarm", payload)

    def sfu_unreachable(self, call: LiveCall, participant_id: str, reason: str) -> None:
        """Warn everybody that a switch would fail for somebody."""
        payload: Payload = {"callId": call.id, "participantId": participant_id, "reason": reason}
        self.outbox.deliver(call.sids(), "call:sfu-unreachable", payload)

    def relay(self, call: LiveCall, event: str, payload: Payload, *, owner: str | None) -> None:
        """Pass on what the media server tells, to everyone but the owner."""
        self.outbox.deliver(call.sids(but=[] if owner is None else [owner]), event, payload)

    def media_token(self, call: LiveCall, member: Member) -> Payload | None:
        """Make a member's token anew, and send it; None if the call has no room."""
        room = call.room
        if room is None:
            return None
        payload: Payload = {"callId": call.id, **self._token(call, member, room)}
        if member.sid is not None:
            self.outbox.deliver([member.sid], "call:media-token", payload)
        return payload

    # ---- views

    def join_answer(self, call: LiveCall, member: Member) -> Payload:
        """Give somebody who came in all they need to build their path."""
        mode = call.build_mode
        # two people whose room is being made again have no direct connection
        direct = mode is CallMode.P2P and call.mode.mode is CallMode.P2P
        # who missed the call:mode-switch has to know the same
        meeting = call.phase is Phase.SWITCHING_TO_P2P
        offers = call.offers(member.id) and (meeting or (direct and call.may_offer(member.id)))
        switching = call.phase in (Phase.SWITCHING_TO_SFU, Phase.SWITCHING_TO_P2P)
        return {
            "callId": call.id,
            "participantId": member.id,
            "role": member.role,
            "mode": mode.value,
            "phase": call.phase.value,
            "epoch": call.mode.epoch,
            "initiator": offers,
            "peer": call.peer_of(member.id) if direct or meeting else None,
            "switchDeadline": call.deadline_unix_ms if switching else None,
            "reason": _why_not_sfu(call),
            "prewarm": self._settings.prewarm and direct and len(call.members) == 2,
            "status": call.status,
            "joinedAt": iso(member.joined_at),
            "callSession": self.live_view(call),
            "participants": people(call),
            "iceServers": self.ice_servers(member),
            **self.media_access(call, member, active=mode is CallMode.SFU),
        }

    def media_access(self, call: LiveCall, member: Member, *, active: bool) -> Payload:
        """Give where and with which token a member reaches the call's room; all null without one."""
        room = call.room if active else None
        if room is None:
            return {
                "rtpCapabilities": None,
                "mediaServerConfig": None,
                "mediaToken": None,
                "mediaServerUrl": None,
                "producers": [],
            }
        token = self._token(call, member, room)
        return {
            "rtpCapabilities": room.rtp_capabilities,
            "mediaServerConfig": media_config(room),
            "mediaToken": token["mediaToken"],
            "mediaServerUrl": token["mediaServerUrl"],
            "producers": [p for p in call.room_state.producers.values() if p["participantId"] != member.id],
        }

    def ice_servers(self, member: Member) -> list[dict[str, Any]]:
        """Give the STUN and TURN servers with a fresh credential."""
        secret = self._settings.turn_secret
        return ice_servers(
            self._settings.turn_servers,
            secret.get_secret_value() if secret else None,
            member.user_id,
            now_s=self._clock.unix_s(),
            ttl_s=self._settings.turn_credential_ttl_s,
        )

    def live_view(self, call: LiveCall) -> Payload:
        """Give a call that is not over."""
        room = call.room if call.mode.mode is CallMode.SFU else None
        return {
            "callId": call.id,
            "id": call.id,
            "conversationId": call.conversation_id,
            "mode": call.mode.mode.value,
            "status": call.status,
            "type": call.kind,
            "initiatorId": call.initiator_id,
            "initiator": {"userId": call.initiator_id, "username": call.initiator_name},
            "settings": public_settings(call.settings),
            "participants": people(call),
            "createdAt": iso(call.created_at),
            "startedAt": iso(call.started_at),
            "endedAt": None,
            "expiresAt": self.expires_at(call),
            "duration": None,
            "endReason": None,
            "mediaServerConfig": None if room is None else media_config(room),
        }

    def stored_view(self, row: Call) -> Payload:
        """Give a call out of the database."""
        initiator = row.settings.get("initiator") or {}
        name = initiator.get("username") or row.initiator_id
        return {
            "callId": row.id,
            "id": row.id,
            "conversationId": row.conversation_id,
            "mode": row.mode,
            "status": row.status,
            "type": row.type,
            "initiatorId": row.initiator_id,
            "initiator": {"userId": row.initiator_id, "username": name},
            "settings": public_settings(row.settings),
            "participants": [stored_person(p) for p in row.participants],
            "createdAt": iso(row.created_at),
            "startedAt": iso(row.started_at),
            "endedAt": iso(row.ended_at),
            "expiresAt": None,
            "duration": row.duration,
            "endReason": row.end_reason,
            "mediaServerConfig": None,
        }

    def expires_at(self, call: LiveCall) -> str | None:
        """Give when an unanswered call ends."""
        if call.status == "active":
            return None
        return iso_s(call.created_at.timestamp() + self._settings.ring_timeout_s)

    def _token(self, call: LiveCall, member: Member, room: MediaRoom) -> Payload:
        now_s = self._clock.unix_s()
        lifetime_s = self._settings.media_token_lifetime_s
        member.token_sent(renewal_s=self._clock.monotonic_s() + lifetime_s / 2)
        token = sign_media_token(
            secret=self._secret,
            now_s=now_s,
            lifetime_s=lifetime_s,
            call_id=call.id,
            participant_id=member.id,
            subject=member.user_id,
        )
        return {
            "mediaToken": token,
            "mediaServerUrl": self._settings.public_media_urls.get(room.server_url, room.server_url),
            "expiresAt": iso_s(now_s + lifetime_s),
        }


def _why_not_sfu(call: LiveCall) -> str | None:
    if call.build_mode is CallMode.SFU or (not call.mode.needs_room and len(call.members) <= 2):
        return None
    return call.room_state.failure or "sfu-unavailable"


def person(member: Member) -> Payload:
    """Give a member as the wire has them."""
    return {
        "participantId": member.id,
        ("anonymousUserId" if member.anonymous else "userId"): member.user_id,
        "username": member.username,
        "role": member.role,
        "status": "connecting" if member.away_since_s is not None else "connected",
        "joinedAt": iso(member.joined_at),
        "leftAt": None,
        "audioEnabled": member.audio_enabled,
        "videoEnabled": member.video_enabled,
        "screenShareEnabled": member.screen_enabled,
    }


def stored_person(row: Participant) -> Payload:
    """Give a participant out of the database."""
    return {
        "participantId": row.id,
        ("anonymousUserId" if row.user_id is None else "userId"): row.identity,
        "username": row.username,
        "role": row.role,
        "status": row.status,
        "joinedAt": iso(row.joined_at),
        "leftAt": iso(row.left_at),
        "audioEnabled": row.audio_enabled,
        "videoEnabled": row.video_enabled,
        "screenShareEnabled": row.screen_share_enabled,
    }


def people(call: LiveCall) -> list[Payload]:
    """Give the members of a call, oldest first."""
    return [person(member) for member in call.members.values()]


def media_config(room: MediaRoom) -> Payload:
    """Give a room as the wire has it."""
    return {"roomId": room.room_id, "routerId": room.router_id, "rtpCapabilities": room.rtp_capabilities}


def public_settings(settings: Mapping[str, Any]) -> Payload:
    """Give a call's settings without what only the gateway needs."""
    return {name: value for name, value in settings.items() if name.endswith("Enabled")}


def iso(at: datetime | None) -> str | None:
    """Write a time as the wire has it."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_s(unix_s: float) -> str:
    """Write a time given in seconds since 1970."""
    return str(iso(datetime.fromtimestamp(unix_s, UTC)))
