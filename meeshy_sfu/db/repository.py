"""What the gateway stores and looks up; each method is one transaction.

Takes and gives values of `models`; the current time is an argument. Decides nothing about calls.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.exc import OperationalError

from meeshy_sfu.db.models import (
    NAME,
    Call,
    CallMetrics,
    CallParticipant,
    CallSession,
    Metrics,
    ModeTransition,
    Participant,
    TransitionStatistics,
    seconds_between,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row, Select, Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

PATIENCE_S = 20.0
"""How long a database may take for one transaction: calls wait for it, but not for ever."""
LIVE = ("initiated", "ringing", "active")
"""Statuses of a call that is not over."""
QUALITY_FIELDS = ("avg_packet_loss", "avg_jitter", "avg_rtt", "avg_bitrate")
TOTALS = ("total_data_sent", "total_data_received")
TOTAL_MAX = 2**63 - 1
COUNTERS = ("reconnections", "ice_failures", "transport_errors")
SFU_FIELDS = (
    "sfu_send_transport_id",
    "sfu_recv_transport_id",
    "sfu_audio_producer_id",
    "sfu_video_producer_id",
    "sfu_screen_producer_id",
)

sessions = cast("Table", CallSession.__table__)
participants = cast("Table", CallParticipant.__table__)
metrics = cast("Table", CallMetrics.__table__)


def new_id() -> str:
    """An identifier as the plan's databases make them: 24 hexadecimal digits."""
    return secrets.token_hex(12)


def _participant(row: Row[Any]) -> Participant:
    return Participant(**{field.name: row._mapping[field.name] for field in fields(Participant)})


def _call(row: Row[Any], people: Iterable[Participant]) -> Call:
    values = {f.name: row._mapping[f.name] for f in fields(Call) if f.name != "participants"}
    if not isinstance(values["settings"], dict):
        # the column is any JSON to the programs of Phase 1A
        values["settings"] = {}
    return Call(**values, participants=tuple(people))


class Repository:
    """All reads and writes of the gateway.

    Owns nothing: the engine belongs to who made it. Safe for concurrent use. Every method raises SQLAlchemyError
    when the database is down, does not answer in time, or refuses.

    Example:
        ```python
        engine = create_engine("sqlite:////tmp/meeshy-example.db")
        await schema.upgrade(engine)
        calls = Repository(engine)
        call = await calls.create_call("c1", "video", "ada", mode="p2p", settings={}, now=datetime.now(UTC))
        assert (await calls.get_call(call.id)).status == "initiated"
        ```
    """

    def __init__(self, engine: AsyncEngine, *, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine
        self._patience_s = patience_s

    # ---- calls

    async def create_call(
        self,
        conversation_id: str,
        kind: str,
        initiator_id: str,
        *,
        mode: str,
        settings: Mapping[str, Any],
        now: datetime,
    ) -> Call:
        """Store a new call and its empty metrics."""
        call_id = new_id()
        async with self._transaction() as db:
            await db.execute(
                sessions.insert().values(
                    id=call_id,
                    conversation_id=conversation_id,
                    mode=mode,
                    type=kind,
                    initiator_id=initiator_id,
                    settings=dict(settings),
                    created_at=now,
                    updated_at=now,
                )
            )
            await db.execute(
                metrics.insert().values(
                    id=new_id(), call_session_id=call_id, mode_transitions=[], created_at=now, updated_at=now
                )
            )
            return await self._one(db, call_id)

    async def get_call(self, call_id: str) -> Call | None:
        """One call, or None."""
        async with self._transaction() as db:
            found = await self._load(db, select(sessions).where(sessions.c.id == call_id))
        return found[0] if found else None

    async def active_calls(self) -> list[Call]:
        """Calls that are not over, oldest first."""
        query = select(sessions).where(sessions.c.status.in_(LIVE)).order_by(sessions.c.created_at)
        async with self._transaction() as db:
            return await self._load(db, query)

    async def active_sfu_calls(self) -> list[Call]:
        """Calls that are not over and whose media goes through a media server."""
        query = select(sessions).where(sessions.c.mode == "sfu", sessions.c.status.in_(LIVE))
        async with self._transaction() as db:
            return await self._load(db, query.order_by(sessions.c.created_at))

    async def active_call_of(self, conversation_id: str) -> Call | None:
        """The call of a conversation that is not over, or None."""
        query = select(sessions).where(
            sessions.c.conversation_id == conversation_id, sessions.c.status.in_(LIVE)
        )
        async with self._transaction() as db:
            found = await self._load(db, query.order_by(sessions.c.created_at.desc()).limit(1))
        return found[0] if found else None

    async def list_calls(
        self, conversation_id: str, *, limit: int, offset: int, status: str | None = None
    ) -> tuple[list[Call], int]:
        """A page of a conversation's calls, newest first, and how many there are in all."""
        where = [sessions.c.conversation_id == conversation_id]
        if status is not None:
            where.append(sessions.c.status == status)
        page = select(sessions).where(*where).order_by(sessions.c.created_at.desc(), sessions.c.id)
        async with self._transaction() as db:
            total = (await db.execute(select(func.count()).select_from(sessions).where(*where))).scalar_one()
            return await self._load(db, page.limit(limit).offset(offset)), int(total)

    async def set_status(self, call_id: str, status: str, now: datetime) -> None:
        """Change the status; the first `active` sets when the call started."""
        values: dict[str, Any] = {"status": status, "updated_at": now}
        if status == "active":
            values["started_at"] = func.coalesce(sessions.c.started_at, now)
        async with self._transaction() as db:
            await db.execute(update(sessions).where(sessions.c.id == call_id).values(**values))

    async def end_call(
        self, call_id: str, *, reason: str, ended_by: str | None, now: datetime
    ) -> Call | None:
        """End a call that is not over: status, time, duration, reason; everyone in it has left. None if it is over.

        The mode stays as it was; the SFU fields of participants are nulled, the room is gone.
        """
        async with self._transaction() as db:
            row = (
                await db.execute(
                    select(sessions.c.started_at).where(sessions.c.id == call_id, sessions.c.status.in_(LIVE))
                )
            ).first()
            if row is None:
                return None
            duration = seconds_between(row.started_at, now) if row.started_at else 0
            await db.execute(
                update(sessions)
                .where(sessions.c.id == call_id)
                .values(
                    status="failed" if reason == "error" else "ended",
                    ended_at=now,
                    duration=duration,
                    end_reason=reason,
                    ended_by=ended_by,
                    updated_at=now,
                )
            )
            await db.execute(
                update(participants)
                .where(participants.c.call_session_id == call_id, participants.c.left_at.is_(None))
                .values(status="disconnected", left_at=now, updated_at=now)
            )
            await self._clear_sfu(db, call_id, now)
            return await self._one(db, call_id)

    # ---- modes

    async def set_mode(
        self,
        call_id: str,
        mode: str,
        *,
        room_id: str | None,
        rtp_capabilities: Mapping[str, Any] | None,
        transition: ModeTransition,
    ) -> None:
        """Store a completed change of mode with its transition; going to P2P nulls every SFU field in one update."""
        now = transition.timestamp
        async with self._transaction() as db:
            await db.execute(
                update(sessions)
                .where(sessions.c.id == call_id)
                .values(
                    mode=mode,
                    sfu_room_id=room_id,
                    sfu_rtp_capabilities=dict(rtp_capabilities) if rtp_capabilities is not None else None,
                    last_mode_change=now,
                    mode_change_count=sessions.c.mode_change_count + 1,
                    updated_at=now,
                )
            )
            if mode == "p2p":
                await self._clear_sfu(db, call_id, now)
            # Read and write in one transaction; the lock keeps two transitions from losing one.
            row = (
                await db.execute(
                    select(metrics.c.mode_transitions)
                    .where(metrics.c.call_session_id == call_id)
                    .with_for_update()
                )
            ).first()
            if row is not None:
                await db.execute(
                    update(metrics)
                    .where(metrics.c.call_session_id == call_id)
                    .values(mode_transitions=[*row.mode_transitions, transition.as_json()], updated_at=now)
                )

    async def clear_sfu_fields(self, call_id: str, now: datetime) -> None:
        """Null the SFU fields of everyone in a call."""
        async with self._transaction() as db:
            await self._clear_sfu(db, call_id, now)

    # ---- participants

    async def add_participant(
        self,
        call_id: str,
        *,
        user_id: str | None,
        anonymous_user_id: str | None,
        role: str,
        audio_enabled: bool,
        video_enabled: bool,
        now: datetime,
        status: str = "connecting",
        username: str | None = None,
    ) -> Participant:
        """Store who joined; who was there before gets the same row again."""
        identity = (
            participants.c.user_id == user_id
            if user_id is not None
            else participants.c.anonymous_user_id == anonymous_user_id
        )
        values: dict[str, Any] = {
            "status": status,
            "joined_at": now,
            "left_at": None,
            "audio_enabled": audio_enabled,
            "video_enabled": video_enabled,
            "updated_at": now,
            **dict.fromkeys(SFU_FIELDS),
        }
        async with self._transaction() as db:
            known = select(participants.c.id, participants.c.device_info).where(
                participants.c.call_session_id == call_id, identity
            )
            row = (await db.execute(known)).first()
            if username is not None:
                before = row.device_info if row is not None and isinstance(row.device_info, dict) else {}
                values["device_info"] = before | {NAME: username}
            if row is None:
                participant_id = new_id()
                await db.execute(
                    participants.insert().values(
                        id=participant_id,
                        call_session_id=call_id,
                        user_id=user_id,
                        anonymous_user_id=anonymous_user_id,
                        role=role,
                        **values,
                    )
                )
            else:
                participant_id = row.id
                await db.execute(
                    update(participants).where(participants.c.id == participant_id).values(**values)
                )
            await self._count_people(db, call_id, now)
            found = await db.execute(select(participants).where(participants.c.id == participant_id))
            return _participant(found.one())

    async def set_participant_status(self, participant_id: str, status: str, now: datetime) -> None:
        """Change the status; `disconnected` and `failed` set when they left, everything else takes it back."""
        gone = status in {"disconnected", "failed"}
        values: dict[str, Any] = {"status": status, "updated_at": now, "left_at": now if gone else None}
        if gone:
            values.update(dict.fromkeys(SFU_FIELDS))
        async with self._transaction() as db:
            await db.execute(update(participants).where(participants.c.id == participant_id).values(**values))

    async def set_media_enabled(self, participant_id: str, media: str, enabled: bool, now: datetime) -> None:
        """Store that somebody switched `audio`, `video` or `screen_share` on or off."""
        async with self._transaction() as db:
            await db.execute(
                update(participants)
                .where(participants.c.id == participant_id)
                .values({f"{media}_enabled": enabled, "updated_at": now})
            )

    async def set_sfu_ids(self, participant_id: str, ids: Mapping[str, str | None], now: datetime) -> None:
        """Store transport and producer ids; keys are the names of SFU_FIELDS."""
        values = {name: ids[name] for name in SFU_FIELDS if name in ids}
        async with self._transaction() as db:
            await db.execute(
                update(participants)
                .where(participants.c.id == participant_id)
                .values(**values, updated_at=now)
            )

    async def find_by_producer(self, producer_id: str) -> Participant | None:
        """Whose producer it is, or None."""
        query = select(participants).where(
            or_(
                participants.c.sfu_audio_producer_id == producer_id,
                participants.c.sfu_video_producer_id == producer_id,
                participants.c.sfu_screen_producer_id == producer_id,
            )
        )
        async with self._transaction() as db:
            row = (await db.execute(query)).first()
        return _participant(row) if row is not None else None

    # ---- metrics

    async def get_metrics(self, call_id: str) -> Metrics | None:
        """The figures of a call, or None."""
        async with self._transaction() as db:
            row = (await db.execute(select(metrics).where(metrics.c.call_session_id == call_id))).first()
        if row is None:
            return None
        values = {field.name: row._mapping[field.name] for field in fields(Metrics)}
        values["mode_transitions"] = tuple(values["mode_transitions"])
        return Metrics(**values)

    async def record_quality(self, call_id: str, sample: Mapping[str, float], now: datetime) -> None:
        """Take a client's report into the averages (keys of QUALITY_FIELDS) and sums (keys of TOTALS)."""
        async with self._transaction() as db:
            query = select(metrics).where(metrics.c.call_session_id == call_id).with_for_update()
            row = (await db.execute(query)).first()
            if row is None:
                return
            count = row.quality_samples
            values: dict[str, Any] = {"updated_at": now}
            if any(name in sample for name in QUALITY_FIELDS):
                values["quality_samples"] = count + 1
            for name in QUALITY_FIELDS:
                if name in sample:
                    before = row._mapping[name]
                    values[name] = (
                        sample[name] if before is None else before + (sample[name] - before) / (count + 1)
                    )
            for name in TOTALS:
                if name in sample:
                    values[name] = min(TOTAL_MAX, (row._mapping[name] or 0) + int(sample[name]))
            await db.execute(update(metrics).where(metrics.c.call_session_id == call_id).values(**values))

    async def count(self, call_id: str, counter: str, now: datetime) -> None:
        """Add one to a counter of COUNTERS."""
        column = metrics.c[counter]
        async with self._transaction() as db:
            await db.execute(
                update(metrics)
                .where(metrics.c.call_session_id == call_id)
                .values({counter: column + 1, "updated_at": now})
            )

    async def transition_statistics(self) -> TransitionStatistics:
        """Changes of mode over all calls: how many, how long, why."""
        async with self._transaction() as db:
            rows: Sequence[Row[Any]] = (await db.execute(select(metrics.c.mode_transitions))).all()
        by_reason: dict[str, int] = {}
        durations: list[float] = []
        for row in rows:
            for transition in row.mode_transitions:
                by_reason[transition["reason"]] = by_reason.get(transition["reason"], 0) + 1
                durations.append(float(transition["duration"]))
        return TransitionStatistics(
            total=len(durations),
            calls=len(rows),
            per_call=len(durations) / len(rows) if rows else 0.0,
            mean_duration_s=sum(durations) / len(durations) if durations else None,
            by_reason=by_reason,
        )

    # ---- inside

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(self._patience_s), self._engine.begin() as db:
                yield db
        except TimeoutError as error:
            silent = TimeoutError(f"no answer within {self._patience_s:g} s")
            raise OperationalError(None, None, silent) from error

    async def _one(self, db: AsyncConnection, call_id: str) -> Call:
        (call,) = await self._load(db, select(sessions).where(sessions.c.id == call_id))
        return call

    async def _load(self, db: AsyncConnection, query: Select[Any]) -> list[Call]:
        rows = (await db.execute(query)).all()
        people: dict[str, list[Participant]] = {row.id: [] for row in rows}
        if rows:
            found = await db.execute(
                select(participants)
                .where(participants.c.call_session_id.in_(people))
                .order_by(participants.c.joined_at, participants.c.id)
            )
            for row in found:
                people[row.call_session_id].append(_participant(row))
        return [_call(row, people[row.id]) for row in rows]

    async def _clear_sfu(self, db: AsyncConnection, call_id: str, now: datetime) -> None:
        await db.execute(
            update(participants)
            .where(participants.c.call_session_id == call_id)
            .values(**dict.fromkeys(SFU_FIELDS), updated_at=now)
        )

    async def _count_people(self, db: AsyncConnection, call_id: str, now: datetime) -> None:
        """Keep how many were there at once at most, and how many in all."""
        of_call = participants.c.call_session_id == call_id
        counted = select(func.count(participants.c.id)).where(of_call)
        here = counted.where(participants.c.left_at.is_(None)).scalar_subquery()
        before = func.coalesce(metrics.c.peak_participants, 0)
        await db.execute(
            update(metrics)
            .where(metrics.c.call_session_id == call_id)
            .values(
                peak_participants=case((here > before, here), else_=before),
                total_participants=counted.scalar_subquery(),
                updated_at=now,
            )
        )
