"""How members leave, are removed, and calls end.

Checks permission and state, keeps rows and members in step, and hands the decisions of `mode` to `switching`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from meeshy_sfu.errors import CallEndedError, CallNotFoundError
from meeshy_sfu.gateway.calls import journal as log
from meeshy_sfu.gateway.calls.call_mode import ConversationType
from meeshy_sfu.gateway.calls.member import identity_key
from meeshy_sfu.gateway.wire.schemas import EndedData, LeftData
from meeshy_sfu.gateway.wire.times import iso
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from datetime import datetime

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.db.models import Participant
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.notices import Notices

logger = logging.getLogger(__name__)


class Leaving:
    """Take members out of calls, and end calls."""

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

    async def leave(self, user: User, call_id: str, *, sid: str | None = None) -> LeftData:
        """Leave a call, by the socket that speaks for the user, or over REST; repeated, return when and why they left.

        Raises:
            NotAParticipantError: The user has never been in it.
            KickedError: Another socket took the place.
            NotInCallError: Another socket has it.
        """
        call = self._calls.live.get(call_id)
        if call is None:
            return await self._left_before(user, call_id)
        self._calls.require_conversation(user, call.conversation_id, call_id)
        async with call.lock:
            call.require_not_replaced(sid)
            if call.ended:
                return await self._left_before(user, call_id)
            row = call.participants.get(user.key)
            if call.member_of(user) is None and row is not None:
                return departure(row, call.gone.get(row.id))
            member = call.require_speaker(user, sid)
            answer = await self.take_out(call, member, "left")
        await self._rows.settle(call)
        return answer

    async def remove(self, user: User, call_id: str, participant_id: str) -> LeftData:
        """Leave a call, which repeated returns when and why; or as initiator or admin remove another participant.

        Raises:
            ParticipantNotFoundError: No member has this id.
            PermissionDeniedError: It is another participant, and the user is neither initiator nor admin.
        """
        call = self._calls.live.get(call_id)
        if call is None:
            return await self._left_before(user, call_id, participant_id)
        self._calls.require_conversation(user, call.conversation_id, call_id)
        async with call.lock:
            if call.ended:
                return await self._left_before(user, call_id, participant_id)
            own = call.participants.get(user.key)
            is_own = own is not None and own.id == participant_id
            if own is not None and is_own and participant_id not in call.members:
                return departure(own, call.gone.get(participant_id))
            member = call.member(participant_id)
            reason = "left" if is_own else "forced"
            if reason == "forced":
                call.require_moderator(user)
                self._calls.kick(call, member, None, "you were removed from the call")
            answer = await self.take_out(call, member, reason)
        await self._rows.settle(call)
        return answer

    async def _left_before(self, user: User, call_id: str, participant_id: str | None = None) -> LeftData:
        """Return how a user left a call that is over.

        Raises:
            CallEndedError: They were never in it.
        """
        row = await self._calls.find_row(user, call_id)
        for participant in row.participants:
            own = identity_key(participant.identity, anonymous=participant.user_id is None) == user.key
            if own and participant_id in (None, participant.id) and row.ended_at is not None:
                there = participant.left_at is None or participant.left_at >= row.ended_at
                return departure(participant, "ended" if there else None, ended_at=row.ended_at)
        raise CallEndedError(f"call {row.id} is over", {"endReason": row.end_reason})

    async def recheck_membership(self, user: User, call_id: str) -> None:
        """Remove a member whose fresh token does not name the call's conversation any more."""
        call = self._calls.live.get(call_id)
        if call is not None and call.conversation_id not in user.conversations:
            async with call.lock:
                if (member := call.member_of(user)) is not None:
                    self._calls.kick(call, member, None, "you are not in the call's conversation any more")
                    await self.take_out(call, member, "forced")

    async def force_leave(
        self, user: User, conversation_id: str, participant_id: str | None, *, sid: str | None = None
    ) -> LeftData:
        """Leave a conversation's call, whichever socket joined it; or remove another participant.

        Raises:
            CallNotFoundError: The conversation has no call.
            NotAParticipantError: The user is not in it.
            KickedError: This socket has lost its place in it.
        """
        user.conversation(conversation_id)
        call = self._calls.active_in(conversation_id)
        if call is None:
            raise CallNotFoundError(f"conversation {conversation_id} has no call")
        call.require_not_replaced(sid)
        if participant_id is not None:
            return await self.remove(user, call.id, participant_id)
        async with call.lock:
            call.require_live()
            member = call.require_member(user)
            self._calls.kick(call, member, None)
            answer = await self.take_out(call, member, "left")
        await self._rows.settle(call)
        return answer

    async def end(self, user: User, call_id: str, *, sid: str | None = None) -> EndedData:
        """End a call for all participants.

        Raises:
            PermissionDeniedError: The user is neither its initiator nor an admin, nor a participant of a direct call.
            KickedError: This socket has lost its place in it.
        """
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            call.require_not_replaced(sid)
            own = call.member_of(user)
            if not (own is not None and call.conversation_type is ConversationType.DIRECT):
                call.require_moderator(user)
            answer = await self.end_now(call, "normal" if own is not None else "forced", user.id)
        await self._rows.settle(call)
        return answer

    async def reject(self, user: User, call_id: str, reason: str, *, sid: str | None = None) -> None:
        """Reject a call. An unanswered call of a direct conversation ends by it.

        Raises:
            PermissionDeniedError: The user is not a member of its conversation.
            KickedError: This socket has lost its place in it.
        """
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            call.require_not_replaced(sid)
            if call.member_of(user) is None:
                self._notices.rejected(call, user.id, reason)
                if call.conversation_type is ConversationType.DIRECT and call.status != "active":
                    await self.end_now(call, "normal", user.id)

    async def abandon(self, call: LiveCall) -> None:
        """End a call without members."""
        async with call.lock:
            await self.end_now(call, "error", None)

    async def take_out(self, call: LiveCall, member: Member, reason: str) -> LeftData:
        """Take a member out; the last one out ends the call. The caller holds the lock."""
        now = self._calls.now()
        call.left(member, reason)
        self._calls.detach(member)
        self._rows.left(call, member, now)
        self._journal.note(call.id, "leave", participantId=member.id, reason=reason)
        if member.announced:
            self._notices.participant_left(call, member, reason)
        decisions = call.mode.leave(member.id, self._clock.monotonic_s())
        if call.members:
            await self._switcher.carry_out(call, decisions)
            self._switcher.keeper.remove_participant(call, member.id)
        else:
            await self.end_now(call, "normal", member.user_id)
        return LeftData(
            message="left", call_id=call.id, participant_id=member.id, left_at=iso(now), reason=reason
        )

    async def end_now(self, call: LiveCall, reason: str, ended_by: str | None) -> EndedData:
        """End a call. The caller holds the lock."""
        now = self._calls.now()
        duration_s = self._rows.ended(call, reason, ended_by, now)
        members = call.end()
        self._journal.note(call.id, log.ENDED, reason=reason, mode=call.mode.mode.value)
        logger.info("call ended: %s", reason, extra=log_ids(call=call.id))
        self._notices.ended(call, reason=reason, ended_by=ended_by, ended_at=now, duration_s=duration_s)
        self._metrics.ended(duration_s, reason)
        for member in members:
            self._calls.detach(member)
        self._calls.remove(call)
        await self._switcher.carry_out(call, [])
        return EndedData(message="ended", call_id=call.id, ended_at=iso(now), duration=duration_s)


def departure(participant: Participant, reason: str | None, *, ended_at: datetime | None = None) -> LeftData:
    """Return how a participant left before; the reason is None if it is not known any more."""
    left_at = participant.left_at or ended_at
    if left_at is None:
        raise ValueError(f"participant {participant.id} has not left")
    return LeftData(
        message="had left already",
        call_id=participant.call_session_id,
        participant_id=participant.id,
        left_at=iso(left_at),
        reason=reason,
    )
