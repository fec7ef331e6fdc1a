"""How calls begin and participants join them, anew or by a new socket.

Checks permission and state, keeps rows and members in step, and hands the decisions of `mode` to `switching`.
Sockets and HTTP are known to `events` and `rest`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from meeshy_sfu.db.repository import new_id
from meeshy_sfu.errors import CallAlreadyActiveError, CallFullError, KickedError, NotAParticipantError
from meeshy_sfu.gateway.calls import journal as log
from meeshy_sfu.gateway.calls.call_mode import P2P_PARTICIPANTS_MAX, ConversationType, Phase
from meeshy_sfu.gateway.calls.call_rows import new_member
from meeshy_sfu.gateway.calls.calls import mode_policy
from meeshy_sfu.gateway.calls.live_call import LiveCall
from meeshy_sfu.gateway.calls.mode import ModeController
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.notices import Notices
    from meeshy_sfu.gateway.wire.schemas import JoinAnswer, MediaSettings

logger = logging.getLogger(__name__)

ROOM_WAIT_S = 5.0
"""How long a join waits for the room it needs; then it is answered without one."""


class Joining:
    """Begin calls, and let participants join them."""

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
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rows = rows
        self._calls = calls
        self._switcher = switcher
        self._notices = notices
        self._journal = journal
        self._metrics = metrics
        self._initiating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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
            active = self._calls.active_in(conversation_id)
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
            self._calls.add(call)
            self._journal.note(call.id, log.BEGUN, mode=call.mode.mode.value)
            self._metrics.began(kind, conversation_type.value)
            ids = log_ids(call=call.id, conversation=conversation_id, user=user.id)
            logger.info("call initiated", extra=ids)
            async with call.lock:
                await self._seat(call, member)
                # before another participant can join, or their status and this one would overtake each other
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
            created_at=self._calls.now(),
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
        asked_s = self._clock.monotonic_s()
        call = await self._calls.find(user, call_id)
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
            if len(call.members) > 1 and call.phase in (Phase.SFU, Phase.SWITCHING_TO_SFU):
                member.awaits_media(asked_s)
            if len(call.members) > 1 and call.status != "active":
                call.answered(self._calls.now())
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
        call = await self._calls.find(user, call_id)
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
        return new_member(
            call, user, media, role=role, now_s=self._clock.monotonic_s(), now=self._calls.now()
        )

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
        self._calls.kick(call, known, sid)
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
        one no member would be requested to offer, without the other it could not be delivered.
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
            self._calls.kick(call, member, sid)
            call.reinstate(sid)
            was_away = member.connected(sid)
        answer = self._notices.join_answer(call, member)
        peer = call.members.get(answer.peer or "")
        if peer is not None and answer.initiator and not peer.announced:
            # the answer itself requests the offer
            peer.was_announced()
            self._introduce(call)
        self._announce(call)
        if was_away:
            self._notices.connection(call, member)
        self._switcher.presence_changed(call)
        return answer

    def after_answer(self, call_id: str, participant_id: str) -> None:
        """Notify a participant who joined of what the answer does not hold: the prewarmed room, a failure."""
        call = self._calls.live.get(call_id)
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

    def _require_room(self, call: LiveCall) -> None:
        direct = call.conversation_type is ConversationType.DIRECT
        limit = P2P_PARTICIPANTS_MAX if direct else self._settings.max_participants_per_room
        if len(call.members) >= limit:
            raise CallFullError(
                f"call {call.id} is full: it holds at most {limit} participants", {"limit": limit}
            )
