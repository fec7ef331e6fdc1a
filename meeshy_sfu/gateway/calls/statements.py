"""What members of a call say: signals to each other, what they send, how a transition went for them.

Who is a member is up to `calls`, what follows for the mode to the machine and `switching`.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from meeshy_sfu.errors import (
    InvalidModeError,
    InvalidRequestError,
    MediaServerError,
    SignalSenderMismatchError,
    TargetNotFoundError,
)
from meeshy_sfu.gateway.calls.mode import Phase
from meeshy_sfu.gateway.wire.messages import CallAnswer, MediaTokenData, ModeSwitchedAnswer
from meeshy_sfu.gateway.wire.signals import relayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import MediaType, Member
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.messages import ModeSwitchedRequest, Signal
    from meeshy_sfu.gateway.wire.notices import Notices

logger = logging.getLogger(__name__)

ICE = re.compile(r"(?<![A-Za-z])(?:ICE|[Ii]ce)(?![a-z])")
"""The word in what somebody says of a failure, alone or at the head of a name as WebRTC has them."""


class Statements:
    """Take members at their word, note it and pass it on."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        rows: CallRows,
        calls: Calls,
        switcher: Switcher,
        notices: Notices,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rows = rows
        self._calls = calls
        self._switcher = switcher
        self._notices = notices
        self._journal = journal

    def signal(self, user: User, call: LiveCall, signal: Signal, *, sid: str | None = None) -> None:
        """Pass a signal on to its target.

        Raises:
            NotAParticipantError: The sender is not in the call.
            KickedError: Another socket took the sender's place.
            NotInCallError: Another socket has it.
            SignalSenderMismatchError: It claims to come from somebody else.
            TargetNotFoundError: The target is not in the call, or away.
            InvalidSignalError: It lacks what its type needs, is too large, or is none of its kind.
        """
        sender = call.require_speaker(user, sid)
        if signal.sender is not None and signal.sender != sender.id:
            raise SignalSenderMismatchError("the signal's from is not your participantId")
        passed_on = relayed(signal, self._settings, sender=sender.id)
        target = call.members.get(signal.to)
        if target is None or target.id == sender.id:
            raise TargetNotFoundError(f"participant {signal.to} is not in call {call.id}")
        if target.sid is None:
            raise TargetNotFoundError(f"participant {signal.to} is away; try again")
        self._notices.signal(call, target, passed_on)

    async def toggle(
        self, user: User, call_id: str, changes: Mapping[MediaType, bool | None], *, sid: str | None = None
    ) -> Member:
        """Note and announce what a member sends; keys are `audio`, `video` and `screen`. Return the member."""
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            member = call.require_speaker(user, sid)
            for media, enabled in changes.items():
                if enabled is None:
                    continue
                member.toggled(media, enabled=enabled)
                self._rows.member(call, member)
                self._notices.media_toggled(call, member, media, enabled=enabled)
        await self._rows.settle(call)
        return member

    async def confirm(
        self, user: User, call_id: str, request: ModeSwitchedRequest, *, sid: str | None = None
    ) -> ModeSwitchedAnswer:
        """Take a member's word on a transition, and the ids of what they have on the media server.

        Raises:
            InvalidModeError: It is about another mode than the transition of this epoch.
            InvalidRequestError: Nobody has been told of this epoch.
        """
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            member = call.require_speaker(user, sid)
            target = {Phase.SWITCHING_TO_SFU: "sfu", Phase.SWITCHING_TO_P2P: "p2p"}.get(call.phase)
            # who knows no epochs can only mean what they were told last
            epoch = call.mode.announced_epoch if request.epoch is None else request.epoch
            if epoch > call.mode.announced_epoch:
                raise InvalidRequestError(
                    f"{epoch} has not been announced; confirm the epoch of the newest call:mode-switch",
                    path="epoch",
                )
            mode = request.mode or target or call.mode.mode.value
            if epoch == call.mode.epoch and target is not None and mode != target:
                raise InvalidModeError(f"epoch {epoch} is about {target}, not {mode}", {"mode": target})
            if epoch == call.mode.epoch:
                if mode == "sfu":
                    self._store_ids(call, member, request)
                if not request.success:
                    if call.switch_failed_for(member, request.error):
                        self._count_ice_failure(call, request.error)
                    logger.warning(
                        "call=%s participant=%s epoch=%d failed: %s",
                        call.id,
                        member.id,
                        epoch,
                        request.error,
                    )
                decisions = call.mode.confirm(
                    member.id, epoch, self._clock.monotonic_s(), success=request.success
                )
                self._journal.note(
                    call.id,
                    "confirm",
                    participantId=member.id,
                    epoch=epoch,
                    success=request.success,
                )
                await self._switcher.carry_out(call, decisions)
            return ModeSwitchedAnswer(
                call_id=call.id,
                mode=call.mode.mode.value,
                epoch=call.mode.epoch,
                phase=call.phase.value,
            )

    def _count_ice_failure(self, call: LiveCall, error: str | None) -> None:
        if error is not None and ICE.search(error):
            self._rows.count(call, "ice_failures")

    def _store_ids(self, call: LiveCall, member: Member, request: ModeSwitchedRequest) -> None:
        if not request.success or call.phase is Phase.P2P:
            return
        producers = request.producer_ids
        ids = {
            "sfu_send_transport_id": request.sfu_send_transport_id,
            "sfu_recv_transport_id": request.sfu_recv_transport_id,
            "sfu_audio_producer_id": producers.audio if producers else None,
            "sfu_video_producer_id": producers.video if producers else None,
            "sfu_screen_producer_id": producers.screen if producers else None,
        }
        told = {name: value for name, value in ids.items() if value is not None}
        if told:
            member.reported_sfu_ids(told)
            self._rows.member(call, member)

    async def sfu_ready(
        self, user: User, call_id: str, *, success: bool, reason: str | None, sid: str | None = None
    ) -> CallAnswer:
        """Take note of whether the leg made in advance works; warn everybody if not."""
        call = await self._calls.find(user, call_id)
        member = call.require_speaker(user, sid)
        if success:
            call.sfu_reachable_for(member)
        elif call.sfu_unreachable_for(member, reason or "unreachable"):
            self._notices.sfu_unreachable(call, member.id, reason or "unreachable")
            self._rows.count(call, "transport_errors")
            self._count_ice_failure(call, reason)
        self._journal.note(call.id, "sfu_ready", participantId=member.id, success=success, reason=reason)
        return CallAnswer(call_id=call_id)

    async def media_token(self, user: User, call_id: str, *, sid: str | None = None) -> MediaTokenData:
        """Return a fresh token for the media server."""
        call = await self._calls.find(user, call_id)
        payload = self._notices.media_token(call, call.require_speaker(user, sid))
        if payload is None:
            raise MediaServerError(f"call {call_id} has no room on a media server just now")
        return payload
