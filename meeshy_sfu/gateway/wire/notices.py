"""Events to the participants of a call: builds their payloads and chooses the sockets they go to.

Decides nothing. The events are declared in messages.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from meeshy_sfu.edge.token_signing import sign_media_token
from meeshy_sfu.errors import MeeshyError, ModeSwitchFailedError
from meeshy_sfu.gateway.calls.call_mode import CallMode, Phase
from meeshy_sfu.gateway.calls.decisions import CompleteSwitch, RollBack, StartSwitch
from meeshy_sfu.gateway.calls.waiting_calls import FULL, UNAVAILABLE
from meeshy_sfu.gateway.turn.ice_servers import ice_servers
from meeshy_sfu.gateway.wire import messages
from meeshy_sfu.gateway.wire.schemas import (
    CallData,
    IceServer,
    InitiatorData,
    JoinAnswer,
    MediaAccess,
    MediaServerConfig,
    ParticipantData,
)
from meeshy_sfu.gateway.wire.times import iso, iso_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.db.models import Call, Participant
    from meeshy_sfu.edge.event_table import PayloadT, ServerEvent
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.media.media_client import MediaRoom

FAILURES = {
    FULL: "all media servers are full",
    UNAVAILABLE: "no media server answers",
    "participant_failed": "a participant's new path does not work",
    "deadline": "not all participants confirmed in time",
}
"""Texts for reasons of failed transitions; other reasons name how a media server was lost."""


class Outbox(Protocol):
    """Where events go."""

    def deliver(self, sids: Iterable[str], event: ServerEvent[PayloadT], payload: PayloadT) -> None:
        """Queue an event for some sockets; never waits."""

    def deliver_to_conversation(
        self,
        conversation_id: str,
        event: ServerEvent[PayloadT],
        payload: PayloadT,
        *,
        but: str | None = None,
    ) -> int:
        """Queue an event for all sockets of a conversation but those of one user, by User.key; return their number."""


class Notices:
    """Notify the participants of a call, and those who could join it."""

    def __init__(self, settings: Settings, secret: str, clock: Clock, outbox: Outbox) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self.outbox = outbox
        """Delivers the events."""

    # ---- the call as such

    def initiated(self, call: LiveCall, *, but: str) -> int:
        """Ring all members of the conversation but the user of this key; return the number of sockets."""
        initiator = InitiatorData(user_id=call.initiator_id, username=call.initiator_name)
        payload = messages.CallInitiated(
            call_id=call.id,
            conversation_id=call.conversation_id,
            type=call.kind,
            mode=call.mode.mode.value,
            initiator=initiator,
            caller=initiator,
            participants=participants(call),
            expires_at=self.expires_at(call),
        )
        delivered = 0
        for event in (messages.INITIATED, messages.INCOMING):
            delivered = self.outbox.deliver_to_conversation(call.conversation_id, event, payload, but=but)
        return delivered

    def ended(
        self, call: LiveCall, *, reason: str, ended_by: str | None, ended_at: datetime, duration_s: int
    ) -> None:
        """Notify all members of the conversation, so that clients also stop ringing."""
        payload = messages.CallEnded(
            call_id=call.id,
            conversation_id=call.conversation_id,
            duration=duration_s,
            ended_by=ended_by,
            reason=reason,
            ended_at=iso(ended_at),
        )
        self.outbox.deliver_to_conversation(call.conversation_id, messages.ENDED, payload)

    def rejected(self, call: LiveCall, user_id: str, reason: str) -> None:
        """Notify the members that a user refused the call."""
        payload = messages.Rejected(call_id=call.id, user_id=user_id, reason=reason)
        self.outbox.deliver(call.sids(), messages.REJECTED, payload)

    # ---- participants

    def participant_joined(self, call: LiveCall, member: Member) -> None:
        """Notify the other members; in P2P the member who was there makes the offer when this arrives."""
        for other in list(call.members.values()):
            if other.id == member.id or other.sid is None:
                continue
            direct = call.phase is Phase.P2P and call.peer_of(other.id) == member.id
            payload = messages.ParticipantJoined(
                call_id=call.id,
                participant=participant(member),
                mode=call.mode.mode.value,
                phase=call.phase.value,
                epoch=call.mode.epoch,
                total_participants=len(call.members),
                initiator=direct and call.offers(other.id),
                ice_servers=self.ice_servers(other),
            )
            self.outbox.deliver([other.sid], messages.PARTICIPANT_JOINED, payload)

    def participant_left(self, call: LiveCall, member: Member, reason: str) -> None:
        """Notify the other members."""
        payload = messages.ParticipantLeft(
            call_id=call.id,
            participant_id=member.id,
            user_id=None if member.anonymous else member.user_id,
            anonymous_id=member.user_id if member.anonymous else None,
            username=member.username,
            reason=reason,
            left_at=iso_s(self._clock.unix_s()),
            mode=call.mode.mode.value,
            total_participants=len(call.members) - (member.id in call.members),
        )
        self.outbox.deliver(call.sids(but=[member.id]), messages.PARTICIPANT_LEFT, payload)

    def connection(self, call: LiveCall, member: Member) -> None:
        """Notify the other members that a member's socket disconnected or reconnected."""
        payload = messages.ParticipantConnection(
            call_id=call.id,
            participant_id=member.id,
            state="reconnecting" if member.sid is None else "connected",
        )
        self.outbox.deliver(call.sids(but=[member.id]), messages.PARTICIPANT_CONNECTION, payload)

    def media_toggled(self, call: LiveCall, member: Member, media: str, *, enabled: bool) -> None:
        """Notify all members, the sender included."""
        payload = messages.MediaToggled(
            call_id=call.id, participant_id=member.id, media_type=media, enabled=enabled
        )
        self.outbox.deliver(call.sids(), messages.MEDIA_TOGGLED, payload)

    def signal(self, call: LiveCall, target: Member, signal: messages.RelayedSignal) -> None:
        """Relay a signal to its target alone."""
        if target.sid is not None:
            payload = messages.SignalEvent(call_id=call.id, signal=signal)
            self.outbox.deliver([target.sid], messages.RELAYED_SIGNAL, payload)

    def error(self, sid: str, error: MeeshyError) -> None:
        """Send an error that belongs to no event to one socket."""
        payload = messages.CallError(code=error.code, message=error.message)
        self.outbox.deliver([sid], messages.ERROR, payload)

    # ---- the switch

    def mode_switch(self, call: LiveCall, start: StartSwitch) -> None:
        """Ask every member to build the new path."""
        direct = start.target is CallMode.P2P
        described = participants(call)
        for member in list(call.members.values()):
            if member.sid is None:
                continue
            offers = direct and call.offers(member.id)
            payload = messages.ModeSwitch(
                call_id=call.id,
                mode=start.target.value,
                old_mode=start.source.value,
                new_mode=start.target.value,
                epoch=start.epoch,
                reason=start.reason,
                initiator=offers,
                role="initiator" if offers else "receiver",
                peer=call.peer_of(member.id) if direct else None,
                switch_deadline=call.deadline_unix_ms,
                participants=described,
                ice_servers=self.ice_servers(member),
                **self._media_access(call, member, active=not direct),
            )
            self.outbox.deliver([member.sid], messages.MODE_SWITCH, payload)

    def completed(self, call: LiveCall, done: CompleteSwitch) -> None:
        """Notify every member that the old path may be closed."""
        payload = _mode_switched(call, done, mode=done.target, success=True, missing=sorted(done.missing))
        self.outbox.deliver(call.sids(), messages.MODE_SWITCHED, payload)

    def rolled_back(self, call: LiveCall, back: RollBack) -> None:
        """Notify every member that the old path stays."""
        failed = sorted(back.failed)
        errors = {who: call.errors[who] for who in failed if who in call.errors}
        payload = _mode_switched(call, back, mode=back.source, success=False, failed=failed, errors=errors)
        self.outbox.deliver(call.sids(), messages.MODE_SWITCHED, payload)

    def switch_failed(self, call: LiveCall, waiting: Iterable[str]) -> None:
        """Send the members without a path what is wrong, and when the next try is."""
        failure, retry_at_s = call.mode.failure, call.mode.retry_at
        if failure is None or retry_at_s is None:
            return
        retry_at = iso_s(self._clock.unix_s() + retry_at_s - self._clock.monotonic_s())
        why = FAILURES.get(failure, "the media server of the call was lost")
        payload = messages.CallError(
            call_id=call.id,
            code=ModeSwitchFailedError.code,
            message=f"no path leads to every participant of the call: {why}; the next try is at {retry_at}",
            details={"reason": failure, "retryAt": retry_at},
        )
        sids = [member.sid for who in waiting if (member := call.members.get(who)) and member.sid]
        self.outbox.deliver(sids, messages.ERROR, payload)

    def prewarm(self, call: LiveCall) -> None:
        """Ask the two who talk directly to prepare their SFU leg."""
        for member in list(call.members.values()):
            self.prewarm_one(call, member)

    def prewarm_one(self, call: LiveCall, member: Member) -> None:
        """Ask one of them, for example after a rejoin."""
        if member.sid is not None:
            payload = messages.Prewarm(
                call_id=call.id,
                ice_servers=self.ice_servers(member),
                **self._media_access(call, member, active=True),
            )
            self.outbox.deliver([member.sid], messages.PREWARM, payload)

    def sfu_unreachable(self, call: LiveCall, participant_id: str, reason: str) -> None:
        """Warn all members that a switch would fail for one of them."""
        payload = messages.SfuUnreachable(call_id=call.id, participant_id=participant_id, reason=reason)
        self.outbox.deliver(call.sids(), messages.SFU_UNREACHABLE, payload)

    def relay(
        self, call: LiveCall, event: ServerEvent[PayloadT], payload: PayloadT, *, owner: str | None
    ) -> None:
        """Relay an event of the media server to every member but the owner."""
        self.outbox.deliver(call.sids(but=[] if owner is None else [owner]), event, payload)

    def media_token(self, call: LiveCall, member: Member) -> messages.MediaTokenData | None:
        """Make a new media token for a member, and send it; None if the call has no room."""
        room = call.room
        if room is None:
            return None
        payload = self._token(call, member, room)
        if member.sid is not None:
            self.outbox.deliver([member.sid], messages.FRESH_MEDIA_TOKEN, payload)
        return payload

    # ---- views

    def join_answer(self, call: LiveCall, member: Member) -> JoinAnswer:
        """Return the answer to a join: what a member needs to build their path."""
        mode = call.build_mode
        # two participants whose room is being made again have no direct connection
        direct = mode is CallMode.P2P and call.mode.mode is CallMode.P2P
        # a socket that missed the call:mode-switch needs the same values
        meeting = call.phase is Phase.SWITCHING_TO_P2P
        offers = call.offers(member.id) and (meeting or (direct and call.may_offer(member.id)))
        switching = call.phase in (Phase.SWITCHING_TO_SFU, Phase.SWITCHING_TO_P2P)
        return JoinAnswer(
            call_id=call.id,
            participant_id=member.id,
            role=member.role,
            mode=mode.value,
            phase=call.phase.value,
            epoch=call.mode.epoch,
            initiator=offers,
            peer=call.peer_of(member.id) if direct or meeting else None,
            switch_deadline=call.deadline_unix_ms if switching else None,
            reason=_why_not_sfu(call),
            prewarm=self._settings.prewarm and direct and len(call.members) == 2,
            status=call.status,
            joined_at=iso(member.joined_at),
            call_session=self.live_view(call),
            participants=participants(call),
            ice_servers=self.ice_servers(member),
            **self._media_access(call, member, active=mode is CallMode.SFU),
        )

    def _media_access(self, call: LiveCall, member: Member, *, active: bool) -> dict[str, Any]:
        """Return the fields of a MediaAccess, by name."""
        room = call.room if active else None
        if room is None:
            return _NO_MEDIA_ACCESS
        token = self._token(call, member, room)
        access = MediaAccess(
            rtp_capabilities=room.rtp_capabilities,
            media_server_config=media_config(room),
            media_token=token.media_token,
            media_server_url=token.media_server_url,
            producers=[p for p in call.room_state.producers.values() if p.participant_id != member.id],
        )
        return dict(access)

    def ice_servers(self, member: Member) -> list[IceServer]:
        """Return the STUN and TURN servers with a fresh credential."""
        secret = self._settings.turn_secret
        servers = ice_servers(
            self._settings.turn_servers,
            secret.get_secret_value() if secret else None,
            member.user_id,
            now_s=self._clock.unix_s(),
            ttl_s=self._settings.turn_credential_ttl_s,
        )
        return [IceServer(**server) for server in servers]

    def live_view(self, call: LiveCall) -> CallData:
        """Return a call that is not over."""
        room = call.room if call.mode.mode is CallMode.SFU else None
        return CallData(
            call_id=call.id,
            id=call.id,
            conversation_id=call.conversation_id,
            mode=call.mode.mode.value,
            status=call.status,
            type=call.kind,
            initiator_id=call.initiator_id,
            initiator=InitiatorData(user_id=call.initiator_id, username=call.initiator_name),
            settings=public_settings(call.settings),
            participants=participants(call),
            created_at=iso(call.created_at),
            started_at=iso(call.started_at),
            ended_at=None,
            expires_at=self.expires_at(call),
            duration=None,
            end_reason=None,
            media_server_config=None if room is None else media_config(room),
        )

    def stored_view(self, row: Call) -> CallData:
        """Return a call out of the database."""
        initiator = row.settings.get("initiator") or {}
        name = initiator.get("username") or row.initiator_id
        return CallData(
            call_id=row.id,
            id=row.id,
            conversation_id=row.conversation_id,
            mode=row.mode,
            status=row.status,
            type=row.type,
            initiator_id=row.initiator_id,
            initiator=InitiatorData(user_id=row.initiator_id, username=name),
            settings=public_settings(row.settings),
            participants=[stored_participant(one) for one in row.participants],
            created_at=iso(row.created_at),
            started_at=iso(row.started_at),
            ended_at=iso(row.ended_at),
            expires_at=None,
            duration=row.duration,
            end_reason=row.end_reason,
            media_server_config=None,
        )

    def expires_at(self, call: LiveCall) -> str | None:
        """Return when an unanswered call ends."""
        if call.status == "active":
            return None
        return iso_s(call.created_at.timestamp() + self._settings.ring_timeout_s)

    def _token(self, call: LiveCall, member: Member, room: MediaRoom) -> messages.MediaTokenData:
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
        return messages.MediaTokenData(
            call_id=call.id,
            media_token=token,
            media_server_url=self._settings.public_media_urls.get(room.server_url, room.server_url),
            expires_at=iso_s(now_s + lifetime_s),
        )


_NO_MEDIA_ACCESS = dict(
    MediaAccess(
        rtp_capabilities=None, media_server_config=None, media_token=None, media_server_url=None, producers=[]
    )
)


def _mode_switched(
    call: LiveCall, end: CompleteSwitch | RollBack, *, mode: CallMode, success: bool, **more: Any
) -> messages.ModeSwitched:
    return messages.ModeSwitched(
        call_id=call.id,
        mode=mode.value,
        old_mode=end.source.value,
        epoch=end.epoch,
        success=success,
        reason=end.reason,
        duration_ms=round(end.duration_s * 1000),
        **more,
    )


def _why_not_sfu(call: LiveCall) -> str | None:
    if call.build_mode is CallMode.SFU or (not call.mode.needs_room and len(call.members) <= 2):
        return None
    return call.room_state.failure or "sfu-unavailable"


def participant(member: Member) -> ParticipantData:
    """Return a member as a participant on the wire."""
    return ParticipantData(
        participant_id=member.id,
        user_id=None if member.anonymous else member.user_id,
        anonymous_user_id=member.user_id if member.anonymous else None,
        username=member.username,
        role=member.role,
        status="connecting" if member.away_since_s is not None else "connected",
        joined_at=iso(member.joined_at),
        left_at=None,
        audio_enabled=member.audio_enabled,
        video_enabled=member.video_enabled,
        screen_share_enabled=member.screen_enabled,
    )


def stored_participant(row: Participant) -> ParticipantData:
    """Return a participant out of the database."""
    return ParticipantData(
        participant_id=row.id,
        user_id=None if row.user_id is None else row.identity,
        anonymous_user_id=row.identity if row.user_id is None else None,
        username=row.username,
        role=row.role,
        status=row.status,
        joined_at=iso(row.joined_at),
        left_at=iso(row.left_at),
        audio_enabled=row.audio_enabled,
        video_enabled=row.video_enabled,
        screen_share_enabled=row.screen_share_enabled,
    )


def participants(call: LiveCall) -> list[ParticipantData]:
    """List the members of a call, oldest first."""
    return [participant(member) for member in call.members.values()]


def media_config(room: MediaRoom) -> MediaServerConfig:
    """Return a room as it is on the wire."""
    return MediaServerConfig(
        room_id=room.room_id, router_id=room.router_id, rtp_capabilities=room.rtp_capabilities
    )


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's settings without what only the gateway needs."""
    return {name: value for name, value in settings.items() if name.endswith("Enabled")}
