"""What time and lost sockets cause: unanswered calls, members who do not come back, deadlines of the mode.

Nothing here runs by itself: `socket_gone` and `sweep` are called, and start what is due as jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.leaving import Leaving
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.wire.notices import Notices


class Timeouts:
    """Do in live calls what is due, and notice sockets that are gone."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        calls: Calls,
        leaving: Leaving,
        switcher: Switcher,
        notices: Notices,
        jobs: Jobs,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._calls = calls
        self._leaving = leaving
        self._switcher = switcher
        self._notices = notices
        self._jobs = jobs

    def socket_gone(self, call_id: str, participant_id: str, sid: str, *, clean: bool) -> None:
        """A member's socket is gone: after a clean disconnect they leave at once, otherwise they may come back."""
        call = self._calls.live.get(call_id)
        member = call.members.get(participant_id) if call else None
        if call is None or member is None or member.sid != sid:
            return
        member.disconnected(self._clock.monotonic_s())
        if clean or not self._settings.reconnect_grace_s:
            self._jobs.start(self._drop(call, member, "left"), f"leave of {member.id}")
        else:
            self._notices.connection(call, member)
            self._switcher.presence_changed(call)

    async def _drop(self, call: LiveCall, member: Member, reason: str) -> None:
        async with call.lock:
            if not call.ended and call.members.get(member.id) is member and member.sid is None:
                await self._leaving.take_out(call, member, reason)

    def sweep(self) -> None:
        """See to calls with something due."""
        now_s = self._clock.monotonic_s()
        for call in tuple(self._calls.live.values()):
            due_s = call.due_s(grace_s=self._settings.reconnect_grace_s)
            if due_s is not None and due_s <= now_s and not call.busy:
                call.begin_due()
                self._jobs.start(self._do_due(call), f"due of call {call.id}")
            elif call.wants_prewarmed_room:
                self._switcher.keeper.reconcile(call)

    async def _do_due(self, call: LiveCall) -> None:
        try:
            async with call.lock:
                if not call.ended:
                    await self._do_due_now(call, self._clock.monotonic_s())
        finally:
            call.end_due()

    async def _do_due_now(self, call: LiveCall, now_s: float) -> None:
        if call.ring_deadline_s is not None and now_s >= call.ring_deadline_s:
            call.ring_timed_out()
            if call.status != "active":
                await self._leaving.end_now(call, "timeout", None)
                return
            await self._switcher.carry_out(call, call.mode.await_no_more(now_s))
        for member in tuple(call.members.values()):
            if (
                member.away_since_s is not None
                and now_s >= member.away_since_s + self._settings.reconnect_grace_s
            ):
                await self._leaving.take_out(call, member, "timeout")
                if call.ended:
                    return
            elif member.token_renewal_s is not None and now_s >= member.token_renewal_s:
                member.token_sent(renewal_s=now_s + self._settings.media_token_lifetime_s / 2)
                self._notices.media_token(call, member)
        deadline_s = call.mode.next_deadline()
        thawed = call.mode_frozen_until_s is not None and now_s >= call.mode_frozen_until_s
        if thawed:
            call.decide_mode_at(None)
        if (deadline_s is not None and now_s >= deadline_s) or thawed:
            await self._switcher.carry_out(call, call.mode.tick(now_s))
