"""The rows of live calls: store what happened without holding up the call.

Everything but the beginning of a call is written late (see late_writes.py); until it is, memory knows better than the
database. What happens is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from meeshy_sfu.db.models import NAME, Call, Figures, ModeTransition, Participant, seconds_between
from meeshy_sfu.db.repository import SFU_FIELDS, new_id
from meeshy_sfu.gateway.calls.call_mode import CallMode
from meeshy_sfu.gateway.calls.live_call import LiveCall, moment
from meeshy_sfu.gateway.calls.member import Member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.db.repository import Repository
    from meeshy_sfu.gateway.calls.decisions import CompleteSwitch, RollBack
    from meeshy_sfu.gateway.calls.late_writes import LateWrites
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.schemas import MediaSettings

FIGURES = "figures"


class CallRows:
    """Store calls and their participants; only the beginning of a call is waited for."""

    def __init__(self, repository: Repository, late: LateWrites, clock: Clock) -> None:
        self._repository = repository
        self._late = late
        self._clock = clock
        self._over: dict[str, Call] = {}
        """Calls that are over, and not in the database yet."""

    # ---- the beginning

    async def begin(self, call: LiveCall, initiator: Member) -> None:
        """Store a new call and who begins it.

        Raises:
            SQLAlchemyError: The database does not take it, or not in time; there is no call.
        """
        row = participant_row(call, initiator)
        try:
            await self._repository.create_call(
                call.conversation_id,
                call.kind,
                call.initiator_id,
                mode=call.mode.mode.value,
                settings=call.settings,
                now=call.created_at,
                call_id=call.id,
                initiator=row,
            )
        except BaseException:
            # it may have been stored all the same, and would come back with a restart
            end = partial(self._repository.end_call, call.id, reason="error", ended_by=None, now=self._now())
            self._late.add(call.id, "end", end)
            raise
        call.row_changed(initiator.key, row)
        call.figures_changed(Figures().with_participants(1, 1))

    # ---- what happens

    def joined(self, call: LiveCall, member: Member) -> None:
        """Store a participant who joined; `members` has them already."""
        self.member(call, member)
        self._figures(call, call.figures.with_participants(len(call.members), len(call.participants)))

    def member(self, call: LiveCall, member: Member) -> None:
        """Store a member as they are now."""
        self._store(call, member.key, participant_row(call, member))

    def left(self, call: LiveCall, member: Member, now: datetime) -> None:
        """Store that a member is gone."""
        member.forget_sfu_ids()
        row = replace(participant_row(call, member), status="disconnected", left_at=now)
        self._store(call, member.key, row)

    def status(self, call: LiveCall) -> None:
        """Store whether a call rings or is answered."""
        now = call.started_at if call.status == "active" and call.started_at else self._now()
        self._late.add(call.id, "status", partial(self._repository.set_status, call.id, call.status, now))

    def switched(self, call: LiveCall, done: CompleteSwitch, now: datetime) -> None:
        """Store a completed change of mode: a gateway that starts again takes the call up as it is written."""
        room = call.room if done.target is CallMode.SFU else None
        store = partial(
            self._repository.set_mode,
            call.id,
            done.target.value,
            room_id=room.room_id if room else None,
            rtp_capabilities=room.rtp_capabilities if room else None,
            transition=ModeTransition(
                done.epoch, done.source.value, done.target.value, now, round(done.duration_s, 6), done.reason
            ),
        )
        self._late.add(call.id, f"change of mode, epoch {done.epoch}", store)
        if done.target is CallMode.P2P:
            call.forget_sfu_ids()

    def rolled_back(self, call: LiveCall, back: RollBack, now: datetime) -> None:
        """Store a transition that was rolled back; in a call that stays P2P nothing is left on a media server."""
        if back.source is CallMode.P2P:
            call.forget_sfu_ids()
        transition = ModeTransition(
            back.epoch,
            back.source.value,
            back.target.value,
            now,
            round(back.duration_s, 6),
            back.reason,
            success=False,
        )
        store = partial(self._repository.record_roll_back, call.id, transition)
        self._late.add(call.id, f"roll-back, epoch {back.epoch}", store)

    def count(self, call: LiveCall, counter: str) -> None:
        """Add one to a counter of the call's figures."""
        self._figures(call, call.figures.with_one_more(counter))

    def quality(self, call: LiveCall, sample: Mapping[str, float]) -> None:
        """Take a client's report into the call's figures."""
        self._figures(call, call.figures.with_sample(sample))

    def ended(self, call: LiveCall, reason: str, ended_by: str | None, now: datetime) -> int:
        """Store the end of a call; return its duration in seconds."""
        over = _over(call, reason, ended_by, now)
        self._over[call.id] = over

        async def store() -> None:
            await self._repository.end_call(call.id, reason=reason, ended_by=ended_by, now=now)
            self._over.pop(call.id, None)

        self._late.add(call.id, "end", store)
        return over.duration or 0

    # ---- looking

    async def get(self, call_id: str) -> Call | None:
        """One call that may be over, or None.

        Raises:
            SQLAlchemyError: The database does not answer in time.
        """
        return self._over.get(call_id) or await self._repository.get_call(call_id)

    async def settle(self, call: LiveCall) -> None:
        """Wait a moment for what is still to be written of a call."""
        await self._late.settle(call.id)

    async def settle_conversation(self, conversation_id: str, live: LiveCall | None) -> None:
        """Wait a moment for what is still to be written of a conversation's calls."""
        over = [call.id for call in self._over.values() if call.conversation_id == conversation_id]
        await self._late.settle(*over, *([] if live is None else [live.id]))

    def newest(self, row: Call) -> Call:
        """A call as it is by now; its row may not say yet that it is over."""
        return self._over.get(row.id, row)

    # ---- inside

    def _store(self, call: LiveCall, key: str, row: Participant) -> None:
        call.row_changed(key, row)
        store = partial(self._repository.store_participant, row, self._now())
        self._late.add(call.id, f"participant {row.id}", store)

    def _figures(self, call: LiveCall, figures: Figures) -> None:
        call.figures_changed(figures)
        store = partial(self._repository.store_figures, call.id, figures, self._now())
        self._late.add(call.id, FIGURES, store)

    def _now(self) -> datetime:
        return moment(self._clock.unix_s())


def new_member(
    call: LiveCall, user: User, media: MediaSettings, *, role: str, now_s: float, now: datetime
) -> Member:
    """Make a member of a user; who was in the call before gets the same id and role again."""
    before = call.participants.get(user.key)
    return Member(
        id=new_id() if before is None else before.id,
        user_id=user.id,
        anonymous=user.anonymous,
        username=user.username,
        role=role if before is None else before.role,
        joined_at=now,
        audio_enabled=media.audio_enabled,
        video_enabled=media.video_enabled,
        away_since_s=now_s,
    )


def participant_row(call: LiveCall, member: Member) -> Participant:
    """Return the row of a member of a call."""
    ids: dict[str, str | None] = dict.fromkeys(SFU_FIELDS)
    before = call.participants.get(member.key)
    known = before.device_info if before is not None and isinstance(before.device_info, dict) else {}
    return Participant(
        id=member.id,
        call_session_id=call.id,
        user_id=None if member.anonymous else member.user_id,
        anonymous_user_id=member.user_id if member.anonymous else None,
        role=member.role,
        status="connected",
        joined_at=member.joined_at,
        left_at=None,
        audio_enabled=member.audio_enabled,
        video_enabled=member.video_enabled,
        screen_share_enabled=member.screen_enabled,
        device_info=known | {NAME: member.username},
        **{**ids, **member.sfu_ids},
    )


def _over(call: LiveCall, reason: str, ended_by: str | None, now: datetime) -> Call:
    """A call that has just ended, as its row will be."""
    ids: dict[str, Any] = dict.fromkeys(SFU_FIELDS)
    participants = (
        replace(one, status="disconnected", left_at=one.left_at or now, **ids)
        for one in sorted(call.participants.values(), key=lambda one: (one.joined_at, one.id))
    )
    room = call.room if call.mode.mode is CallMode.SFU else None
    return Call(
        id=call.id,
        conversation_id=call.conversation_id,
        mode=call.mode.mode.value,
        status="failed" if reason == "error" else "ended",
        type=call.kind,
        initiator_id=call.initiator_id,
        settings=call.settings,
        created_at=call.created_at,
        started_at=call.started_at,
        ended_at=now,
        duration=seconds_between(call.started_at, now) if call.started_at else 0,
        end_reason=reason,
        ended_by=ended_by,
        sfu_room_id=room.room_id if room else None,
        sfu_rtp_capabilities=room.rtp_capabilities if room else None,
        last_mode_change=call.last_mode_change,
        # counted by the database; no view shows it
        mode_change_count=0,
        participants=tuple(participants),
    )
