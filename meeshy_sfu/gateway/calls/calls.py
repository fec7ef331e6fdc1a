"""Calls: initiating, joining, leaving and ending them.

Checks permission and state, keeps rows and members in step, and hands the decisions of `mode` to `switching`.
Sockets and HTTP are known to `events` and `rest`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from meeshy_sfu.db.repository import new_id
from meeshy_sfu.errors import (
    CallAlreadyActiveError,
    CallEndedError,
    CallFullError,
    CallNotFoundError,
    InvalidModeError,
    KickedError,
    NotAParticipantError,
    PermissionDeniedError,
)
from meeshy_sfu.gateway.calls import journal as log
from meeshy_sfu.gateway.calls.call_rows import new_member
from meeshy_sfu.gateway.calls.live_call import LiveCall, moment
from meeshy_sfu.gateway.calls.member import Member, identity_key
from meeshy_sfu.gateway.calls.mode import (
    P2P_PARTICIPANTS_MAX,
    ConversationType,
    ModeController,
    ModePolicy,
    Phase,
    determine_mode,
)
from meeshy_sfu.gateway.wire.schemas import EndedData, JoinAnswer, LeftData, MediaSettings
from meeshy_sfu.gateway.wire.times import iso
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.db.models import Call, Participant
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.notices import Notices

logger = logging.getLogger(__name__)

ROOM_WAIT_S = 5.0
"""How long a join waits for the room it needs; then it is answered without one."""
ANOTHER_SOCKET = "another socket of yours took your place in the call"


class Calls:
    """All calls that are not over."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        rows: CallRows,
        switcher: Switcher,
        notices: Notices,
        journal: Journal,
        metrics: Metrics,
        jobs: Jobs,
        detach: Callable[[str], None],
    ) -> None:
        """Begin without calls.

        Args:
            settings: Limits and times.
            clock: The time.
            rows: Where calls are stored.
            switcher: Carries out changes of mode.
            notices: Notifies members.
            journal: The event log.
            metrics: What is counted.
            jobs: Runs what goes on beside.
            detach: Called with a socket that does not speak for a member any more.
        """
        self._settings = settings
        self._clock = clock
        self._rows = rows
        self._switcher = switcher
        self._notices = notices
        self._journal = journal
        self._metrics = metrics
        self._jobs = jobs
        self.live: dict[str, LiveCall] = {}
        self._by_conversation: dict[str, str] = {}
        self._initiating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._detach = detach

    # ---- finding

    def add(self, call: LiveCall) -> None:
        """Take a call in, new or from before a restart."""
        self.live[call.id] = call
        self._by_conversation[call.conversation_id] = call.id

    def active_in(self, conversation_id: str) -> LiveCall | None:
        """Return the call of a conversation that is not over, or None."""
        return self.live.get(self._by_conversation.get(conversation_id, ""))

    async def find(self, user: User, call_id: str) -> LiveCall:
        """Return a call that is not over, of a conversation the user is a member of.

        Raises:
            CallNotFoundError: There is none.
            PermissionDeniedError: The user is not a member of its conversation.
            CallEndedError: It is over.
        """
        call = self.live.get(call_id)
        if call is None:
            row = await self.find_row(user, call_id)
            raise CallEndedError(f"call {row.id} is over", {"endReason": row.end_reason})
        self._require_conversation(user, call.conversation_id, call_id)
        return call

    async def find_row(self, user: User, call_id: str) -> Call:
        """Return a call from the database, live or over.

        Raises:
            CallNotFoundError: There is none.
            PermissionDeniedError: The user is not a member of its conversation.
        """
        row = await self._rows.get(call_id)
        if row is None:
            raise CallNotFoundError(f"there is no call {call_id}")
        self._require_conversation(user, row.conversation_id, call_id)
        return row

    def _require_conversation(self, user: User, conversation_id: str, call_id: str) -> None:
        if conversation_id not in user.conversations:
            raise PermissionDeniedError(
                f"you are not a member of the conversation of call {call_id}; your token does not name it"
            )

    # ---- joining

    async def initiate(
        self,
        user: User,
        conversation_id: str,
        kind: str,
        media: MediaSettings,
        *,
        sid: str | None,
        expected: int = 0,
    ) -> JoinAnswer:
        """Begin a call and put its initiator in it.

        Raises:
            PermissionDeniedError: The user is not a member of the conversation.
            CallsNotSupportedError: It cannot call.
            CallAlreadyActiveError: It has a call already.
        """
        conversation_type = user.call_type(conversation_id)
        lock = self._initiating.setdefault(conversation_id, asyncio.Lock())
        async with lock:
            active = self.active_in(conversation_id)
            if active is not None:
                raise CallAlreadyActiveError(
                    f"conversation {conversation_id} has a call; join that", {"callId": active.id}
                )
            call = self._new_call(
                user, conversation_id, conversation_type, kind=kind, media=media, expected=expected
            )
            member = self._new_member(call, user, media, role="initiator")
            # the only write that is waited for: without a row there is no call to come back to
            await self._rows.begin(call, member)
            self.add(call)
            self._journal.note(call.id, log.BEGUN, mode=call.mode.mode.value)
            self._metrics.began(kind, conversation_type.value)
            ids = log_ids(call=call.id, conversation=conversation_id, user=user.id)
            logger.info("call initiated", extra=ids)
            async with call.lock:
                await self._seat(call, member)
                # before anybody else can come, or their status and this one would overtake each other
                if self._notices.initiated(call, but=user.key):
                    call.rings()
                    self._rows.status(call)
        await self._wait_for_room(call)
        return self._answer(call, member, sid)

    def _new_call(
        self,
        user: User,
        conversation_id: str,
        conversation_type: ConversationType,
        *,
        kind: str,
        media: MediaSettings,
        expected: int,
    ) -> LiveCall:
        settings = {
            **media.model_dump(by_alias=True),
            "conversationType": conversation_type.value,
            "initiator": {"username": user.username, "anonymous": user.anonymous},
        }
        mode = ModeController(conversation_type, policy=mode_policy(self._settings), expected=expected)
        return LiveCall(
            id=new_id(),
            conversation_id=conversation_id,
            conversation_type=conversation_type,
            kind=kind,
            initiator_id=user.id,
            initiator_name=user.username,
            settings=settings,
            created_at=self.now(),
            mode=mode,
            ring_deadline_s=self._clock.monotonic_s() + self._settings.ring_timeout_s,
        )

    async def join(self, user: User, call_id: str, media: MediaSettings, *, sid: str | None) -> JoinAnswer:
        """Let a user join a call; a member of it begins anew.

        Raises:
            CallNotFoundError: There is none.
            CallEndedError: It is over.
            PermissionDeniedError: The user is not a member of its conversation.
            CallFullError: It is full.
        """
        call = await self.find(user, call_id)
        async with call.lock:
            call.require_live()
            known = call.member_of(user)
            if known is not None and not known.has_connected and sid is not None:
                # a place taken over REST that no socket has spoken for yet
                member = known
            elif known is not None:
                member = await self._renew_member(call, known, user, media, sid)
            else:
                self._require_room(call)
                member = self._new_member(call, user, media, role="participant")
                await self._seat(call, member)
                self._rows.joined(call, member)
            if len(call.members) > 1 and call.status != "active":
                call.answered(self.now())
                self._rows.status(call)
            # before the next one comes, whose coming may change what this one is answered
            await self._rows.settle(call)
        await self._wait_for_room(call)
        return self._answer(call, member, sid)

    async def rejoin(self, user: User, call_id: str, participant_id: str, *, sid: str) -> JoinAnswer:
        """Let a member speak by a new socket after a broken one; nothing else changes.

        Raises:
            NotAParticipantError: The place is given up, or another's.
        """
        call = await self.find(user, call_id)
        async with call.lock:
            call.require_live()
            member = call.require_member(user)
            if member.id != participant_id:
                raise NotAParticipantError(f"participant {participant_id} is not you")
            member.renamed(user.username)
            self._rows.count(call, "reconnections")
            others = (other for other in call.members.values() if other is not member)
            if call.mode_frozen_until_s is not None and all(other.sid for other in others):
                call.decide_mode_at(self._clock.monotonic_s())
        return self._answer(call, member, sid)

    async def _wait_for_room(self, call: LiveCall) -> None:
        try:
            async with asyncio.timeout(ROOM_WAIT_S):
                await call.room_ready.wait()
        except TimeoutError:
            logger.warning(
                "no room within %g s; the join is answered without", ROOM_WAIT_S, extra=log_ids(call=call.id)
            )

    def _new_member(self, call: LiveCall, user: User, media: MediaSettings, *, role: str) -> Member:
        return new_member(call, user, media, role=role, now_s=self._clock.monotonic_s(), now=self.now())

    async def _seat(self, call: LiveCall, member: Member) -> None:
        """Add a new member. The caller holds the lock."""
        call.joined(member)
        self._switcher.keeper.rejoined(call, member.id)
        decisions = call.mode.join(member.id, self._clock.monotonic_s(), present=False)
        await self._switcher.carry_out(call, decisions)
        self._metrics.joined()
        self._journal.note(call.id, "join", participantId=member.id, epoch=call.mode.epoch)
        self._announce(call)

    async def _renew_member(
        self, call: LiveCall, known: Member, user: User, media: MediaSettings, sid: str | None
    ) -> Member:
        member = self._new_member(call, user, media, role=known.role)
        self._kick(call, known, sid)
        if known.announced:
            self._notices.participant_left(call, known, "rejoined")
        call.rejoined(known, member)
        self._rows.joined(call, member)
        decisions = call.mode.rejoin(member.id, self._clock.monotonic_s(), present=False)
        await self._switcher.carry_out(call, decisions)
        self._journal.note(call.id, "rejoin", participantId=member.id, epoch=call.mode.epoch)
        self._announce(call)
        return member

    def _announce(self, call: LiveCall) -> None:
        """Announce members who joined and were not announced yet.

        Of two who talk directly the one who was there offers at once, so both sockets have to be there: without the
        one no member would be asked for the offer, without the other it could not be delivered.
        """
        direct = call.phase is Phase.P2P and len(call.members) == P2P_PARTICIPANTS_MAX
        for member in call.members.values():
            if member.announced or (direct and None in (m.sid for m in call.members.values())):
                continue
            member.was_announced()
            self._notices.participant_joined(call, member)
            if direct:
                self._introduce(call)

    def _introduce(self, call: LiveCall) -> None:
        call.mode.introduce()
        self._journal.note(call.id, log.INTRODUCED, participants=sorted(call.mode.pair))

    def _answer(self, call: LiveCall, member: Member, sid: str | None) -> JoinAnswer:
        """Return the answer to a join, as of now; from here on the socket gets every event of the call.

        Nothing may wait between this and the acknowledgement, so that no event comes before it.

        Raises:
            CallEndedError: It ended while its room was waited for.
            KickedError: Another socket replaced this one, or the member was removed.
        """
        call.require_live()
        if call.members.get(member.id) is not member:
            raise KickedError(
                "another socket of yours took your place meanwhile, or you were removed; call:join joins anew"
            )
        was_away = False
        if sid is not None:
            self._kick(call, member, sid)
            call.reinstate(sid)
            was_away = member.connected(sid)
        answer = self._notices.join_answer(call, member)
        peer = call.members.get(answer.peer or "")
        if peer is not None and answer.initiator and not peer.announced:
            # the answer itself asks for the offer
            peer.was_announced()
            self._introduce(call)
        self._announce(call)
        if was_away:
            self._notices.connection(call, member)
        self._switcher.presence_changed(call)
        return answer

    def after_answer(self, call_id: str, participant_id: str) -> None:
        """Notify a participant who joined of what the answer does not hold: the prewarmed room, a failure."""
        call = self.live.get(call_id)
        member = call.members.get(participant_id) if call else None
        if (
            call is not None
            and member is not None
            and call.room_state.is_prewarmed
            and call.wants_prewarmed_room
        ):
            self._notices.prewarm_one(call, member)
        if call is not None and member is not None:
            self._switcher.notify_failure(call, member)

    def _kick(self, call: LiveCall, member: Member, sid: str | None, why: str = ANOTHER_SOCKET) -> None:
        if member.sid is not None and member.sid != sid:
            call.replace(member.sid, why)
            self._notices.error(member.sid, KickedError(why))
            self._detach(member.sid)
        member.detached()

    def _require_room(self, call: LiveCall) -> None:
        direct = call.conversation_type is ConversationType.DIRECT
        limit = P2P_PARTICIPANTS_MAX if direct else self._settings.max_participants_per_room
        if len(call.members) >= limit:
            raise CallFullError(
                f"call {call.id} is full: it holds at most {limit} participants", {"limit": limit}
            )

    # ---- leaving

    async def leave(self, user: User, call_id: str, *, sid: str | None = None) -> LeftData:
        """Take oneself out of a call, by the socket that speaks for one, or over REST; again, it says what happened.

        Raises:
            NotAParticipantError: One has never been in it.
            KickedError: Another socket took the place.
            NotInCallError: Another socket has it.
        """
        call = self.live.get(call_id)
        if call is None:
            return await self._left_before(user, call_id)
        self._require_conversation(user, call.conversation_id, call_id)
        async with call.lock:
            call.require_not_replaced(sid)
            if call.ended:
                return await self._left_before(user, call_id)
            row = call.participants.get(user.key)
            if call.member_of(user) is None and row is not None:
                return departure(row, call.gone.get(row.id))
            member = call.require_speaker(user, sid)
            answer = await self._remove(call, member, "left")
        await self._rows.settle(call)
        return answer

    async def remove(self, user: User, call_id: str, participant_id: str) -> LeftData:
        """Remove oneself, which repeated returns what happened; or as initiator or admin another participant.

        Raises:
            ParticipantNotFoundError: No member has this id.
            PermissionDeniedError: It is another participant, and the user is neither initiator nor admin.
        """
        call = self.live.get(call_id)
        if call is None:
            return await self._left_before(user, call_id, participant_id)
        self._require_conversation(user, call.conversation_id, call_id)
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
                self._require_moderator(call, user)
                self._kick(call, member, None, "you were removed from the call")
            answer = await self._remove(call, member, reason)
        await self._rows.settle(call)
        return answer

    async def _left_before(self, user: User, call_id: str, participant_id: str | None = None) -> LeftData:
        """Return how a user left a call that is over.

        Raises:
            CallEndedError: They were never in it.
        """
        row = await self.find_row(user, call_id)
        for person in row.participants:
            own = identity_key(person.identity, anonymous=person.user_id is None) == user.key
            if own and participant_id in (None, person.id) and row.ended_at is not None:
                there = person.left_at is None or person.left_at >= row.ended_at
                return departure(person, "ended" if there else None, ended_at=row.ended_at)
        raise CallEndedError(f"call {row.id} is over", {"endReason": row.end_reason})

    async def recheck_membership(self, user: User, call_id: str) -> None:
        """Remove a member whose fresh token does not name the call's conversation any more."""
        call = self.live.get(call_id)
        if call is not None and call.conversation_id not in user.conversations:
            async with call.lock:
                if (member := call.member_of(user)) is not None:
                    self._kick(call, member, None, "you are not in the call's conversation any more")
                    await self._remove(call, member, "forced")

    async def force_leave(
        self, user: User, conversation_id: str, participant_id: str | None, *, sid: str | None = None
    ) -> LeftData:
        """Leave a conversation's call, whichever socket joined it; or remove another participant.

        Raises:
            CallNotFoundError: The conversation has no call.
            NotAParticipantError: One is not in it.
            KickedError: This socket has lost its place in it.
        """
        user.conversation(conversation_id)
        call = self.active_in(conversation_id)
        if call is None:
            raise CallNotFoundError(f"conversation {conversation_id} has no call")
        call.require_not_replaced(sid)
        if participant_id is not None:
            return await self.remove(user, call.id, participant_id)
        async with call.lock:
            call.require_live()
            member = call.require_member(user)
            self._kick(call, member, None)
            answer = await self._remove(call, member, "left")
        await self._rows.settle(call)
        return answer

    async def _remove(self, call: LiveCall, member: Member, reason: str) -> LeftData:
        """Take a member out; the last one out ends the call. The caller holds the lock."""
        now = self.now()
        call.left(member, reason)
        if member.sid is not None:
            self._detach(member.sid)
        self._rows.left(call, member, now)
        self._journal.note(call.id, "leave", participantId=member.id, reason=reason)
        if member.announced:
            self._notices.participant_left(call, member, reason)
        decisions = call.mode.leave(member.id, self._clock.monotonic_s())
        if call.members:
            await self._switcher.carry_out(call, decisions)
            self._switcher.keeper.remove_participant(call, member.id)
        else:
            await self._end(call, "normal", member.user_id)
        return LeftData(
            message="left", call_id=call.id, participant_id=member.id, left_at=iso(now), reason=reason
        )

    async def end(self, user: User, call_id: str, *, sid: str | None = None) -> EndedData:
        """End a call for everybody.

        Raises:
            PermissionDeniedError: One is neither its initiator nor an admin, nor one of two.
            KickedError: This socket has lost its place in it.
        """
        call = await self.find(user, call_id)
        async with call.lock:
            call.require_live()
            call.require_not_replaced(sid)
            own = call.member_of(user)
            if not (own is not None and call.conversation_type is ConversationType.DIRECT):
                self._require_moderator(call, user)
            answer = await self._end(call, "normal" if own is not None else "forced", user.id)
        await self._rows.settle(call)
        return answer

    async def reject(self, user: User, call_id: str, reason: str, *, sid: str | None = None) -> None:
        """Reject a call. An unanswered call of a direct conversation ends by it.

        Raises:
            PermissionDeniedError: The user is not a member of its conversation.
            KickedError: This socket has lost its place in it.
        """
        call = await self.find(user, call_id)
        async with call.lock:
            call.require_live()
            call.require_not_replaced(sid)
            if call.member_of(user) is None:
                self._notices.rejected(call, user.id, reason)
                if call.conversation_type is ConversationType.DIRECT and call.status != "active":
                    await self._end(call, "normal", user.id)

    async def abandon(self, call: LiveCall) -> None:
        """End a call without members."""
        async with call.lock:
            await self._end(call, "error", None)

    def _require_moderator(self, call: LiveCall, user: User) -> None:
        initiator = call.settings.get("initiator") or {}
        is_initiator = user.id == call.initiator_id and user.anonymous is bool(initiator.get("anonymous"))
        if not (is_initiator or user.conversation(call.conversation_id).is_admin):
            raise PermissionDeniedError("only the call's initiator and the conversation's admins may do this")

    async def _end(self, call: LiveCall, reason: str, ended_by: str | None) -> EndedData:
        """End a call. The caller holds the lock."""
        now = self.now()
        duration_s = self._rows.ended(call, reason, ended_by, now)
        members = call.end()
        self._journal.note(call.id, log.ENDED, reason=reason, mode=call.mode.mode.value)
        logger.info("call ended: %s", reason, extra=log_ids(call=call.id))
        self._notices.ended(call, reason=reason, ended_by=ended_by, ended_at=now, duration_s=duration_s)
        self._metrics.ended(duration_s, reason)
        for member in members:
            if member.sid is not None:
                self._detach(member.sid)
        self.live.pop(call.id, None)
        if self._by_conversation.get(call.conversation_id) == call.id:
            del self._by_conversation[call.conversation_id]
        await self._switcher.carry_out(call, [])
        return EndedData(message="ended", call_id=call.id, ended_at=iso(now), duration=duration_s)

    async def retry_mode(self, user: User, call_id: str, mode: str) -> LiveCall:
        """Look at the mode again now, for example after a failed switch.

        Raises:
            PermissionDeniedError: One is neither initiator nor admin.
            InvalidModeError: The number of participants does not lead to this mode.
        """
        call = await self.find(user, call_id)
        async with call.lock:
            call.require_live()
            self._require_moderator(call, user)
            wanted = determine_mode(call.conversation_type, len(call.members)).value
            if mode != wanted:
                raise InvalidModeError(
                    f"a {call.conversation_type} call of {len(call.members)} is {wanted}", {"mode": wanted}
                )
            await self._switcher.carry_out(call, call.mode.retry(self._clock.monotonic_s()))
        return call

    # ---- time and sockets

    def socket_gone(self, call_id: str, participant_id: str, sid: str, *, clean: bool) -> None:
        """A member's socket is gone; who said goodbye leaves at once, others may come back."""
        call = self.live.get(call_id)
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
                await self._remove(call, member, reason)

    def sweep(self) -> None:
        """See to calls with something due."""
        now_s = self._clock.monotonic_s()
        for call in tuple(self.live.values()):
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
                await self._end(call, "timeout", None)
                return
            await self._switcher.carry_out(call, call.mode.await_no_more(now_s))
        for member in tuple(call.members.values()):
            if (
                member.away_since_s is not None
                and now_s >= member.away_since_s + self._settings.reconnect_grace_s
            ):
                await self._remove(call, member, "timeout")
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

    def now(self) -> datetime:
        """Return the time as the database holds it."""
        return moment(self._clock.unix_s())


def departure(person: Participant, reason: str | None, *, ended_at: datetime | None = None) -> LeftData:
    """Return how a participant left before; the reason is None if it is not known any more."""
    left_at = person.left_at or ended_at
    if left_at is None:
        raise ValueError(f"participant {person.id} has not left")
    return LeftData(
        message="had left already",
        call_id=person.call_session_id,
        participant_id=person.id,
        left_at=iso(left_at),
        reason=reason,
    )


def mode_policy(settings: Settings) -> ModePolicy:
    """Return the times of the mode machine from the settings."""
    return ModePolicy(deadline_s=settings.switch_deadline_s, hysteresis_s=settings.p2p_hysteresis_s)
