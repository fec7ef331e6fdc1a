"""What members report of their paths: whether a transition works for them, and whether a prewarmed SFU leg does.

Also what a moderator asks of the mode: to try a transition again. Who is a member is up to `calls`; what follows for the mode
is decided by `mode` and carried out by `switching`.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from meeshy_sfu.errors import (
    InvalidModeError,
    InvalidRequestError,
    MediaServerError,
)
from meeshy_sfu.gateway.calls.call_mode import Phase, determine_mode
from meeshy_sfu.gateway.wire.messages import CallAnswer, MediaTokenData, ModeSwitchedAnswer
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.messages import ModeSwitchedRequest
    from meeshy_sfu.gateway.wire.notices import Notices

logger = logging.getLogger(__name__)

ICE = re.compile(r"(?<![A-Za-z])(?:ICE|[Ii]ce)(?![a-z])")
"""The word in a reported failure, alone or at the head of a name as WebRTC has them."""


class Confirmations:
    """Take the reports of members, store them, and hand them to the mode machine."""

    def __init__(
        self,
        *,
        clock: Clock,
        rows: CallRows,
        calls: Calls,
        switcher: Switcher,
        notices: Notices,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self._clock = clock
        self._rows = rows
        self._calls = calls
        self._switcher = switcher
        self._notices = notices
        self._journal = journal
        self._metrics = metrics

    async def confirm(
        self, user: User, call_id: str, request: ModeSwitchedRequest, *, sid: str | None = None
    ) -> ModeSwitchedAnswer:
        """Take a member's report on a transition, and the ids of what they have on the media server.

        Raises:
            InvalidModeError: It is about another mode than the transition of this epoch.
            InvalidRequestError: This epoch was not announced yet.
        """
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            member = call.require_speaker(user, sid)
            target = {Phase.SWITCHING_TO_SFU: "sfu", Phase.SWITCHING_TO_P2P: "p2p"}.get(call.phase)
            # a client that knows no epochs can only mean the newest announcement
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
                    self._count_join(member, success=request.success)
                if not request.success:
                    if call.switch_failed_for(member, request.error):
                        self._count_ice_failure(call, request.error)
                    logger.warning(
                        "a participant reports that the switch failed: %s",
                        request.error,
                        extra=log_ids(call=call.id, participant=member.id, epoch=epoch),
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

    def _count_join(self, member: Member, *, success: bool) -> None:
        waited_s = member.media_arrived(self._clock.monotonic_s()) if success else None
        if waited_s is not None:
            self._metrics.join_took(waited_s)

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
        reported = {name: value for name, value in ids.items() if value is not None}
        if reported:
            member.reported_sfu_ids(reported)
            self._rows.member(call, member)

    async def sfu_ready(
        self, user: User, call_id: str, *, success: bool, reason: str | None, sid: str | None = None
    ) -> CallAnswer:
        """Take a report on the prewarmed SFU leg; warn all members if it does not work."""
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
            raise MediaServerError(f"call {call_id} has no room on a media server; wait for call:mode-switch")
        return payload

    async def retry_mode(self, user: User, call_id: str, mode: str) -> LiveCall:
        """Look at the mode again now, for example after a failed switch.

        Raises:
            PermissionDeniedError: The user is neither initiator nor admin.
            InvalidModeError: The number of participants does not lead to this mode.
        """
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            call.require_moderator(user)
            wanted = determine_mode(call.conversation_type, len(call.members)).value
            if mode != wanted:
                raise InvalidModeError(
                    f"a {call.conversation_type} call of {len(call.members)} is {wanted}", {"mode": wanted}
                )
            await self._switcher.carry_out(call, call.mode.retry(self._clock.monotonic_s()))
        return call
