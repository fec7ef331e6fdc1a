"""What the gateway stores and looks up; each method is one transaction.

Takes and returns values of `models`; the current time is an argument. Decides nothing about calls. Whatever writes may
be done again: it leaves the rows as they were after the first time.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from sqlalchemy import column, func, literal, select, table, tuple_, update
from sqlalchemy.exc import OperationalError

from meeshy_sfu.db.models import (
    Call,
    CallMetrics,
    CallParticipant,
    CallSession,
    Figures,
    GatewayIdentity,
    Metrics,
    ModeTransition,
    Participant,
    UtcDateTime,
    seconds_between,
)
from meeshy_sfu.db.session import writing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Row, Select, Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

LIVE = ("initiated", "ringing", "active")
"""Statuses of a call that is not over."""
ROLL_BACKS_MAX = 100
"""How many transitions that were rolled back are kept of a call, the newest."""
SFU_FIELDS = (
    "sfu_send_transport_id",
    "sfu_recv_transport_id",
    "sfu_audio_producer_id",
    "sfu_video_producer_id",
    "sfu_screen_producer_id",
)
WRITERS_MAX = 10
"""Transactions that write at once; the other connections are for those who read. SQLite has one writer anyway."""
PROBE_BYTES = 65_536
"""What a probe asks an embedded database to hold for a moment."""
CLOSE_S = 2.0
"""How long the end waits for the connections of transactions that were given up."""

sessions = cast("Table", CallSession.__table__)
participants = cast("Table", CallParticipant.__table__)
metrics = cast("Table", CallMetrics.__table__)
identities = cast("Table", GatewayIdentity.__table__)
version = table("alembic_version", column("version_num"))
_NULL_AT_FIRST = (
    "started_at",
    "ended_at",
    "duration",
    "end_reason",
    "ended_by",
    "sfu_room_id",
    "sfu_rtp_capabilities",
    "last_mode_change",
)
"""Columns of a call that has just begun."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transaction may take, with the wait for a connection, before it is given up."""

    read_s: float = 2.0
    """A client waits for the answer."""
    create_s: float = 2.0
    """A client waits for its call."""
    write_s: float = 5.0
    """No client waits; it is tried again."""
    probe_s: float = 1.5
    """A health check asks whether the database accepts writes, and has two seconds."""
    start_s: float = 20.0
    """The start of the gateway."""


class OnDone(Protocol):
    """Hears of every transaction."""

    def __call__(self, operation: str, duration_s: float, *, failed: bool) -> None:
        """Take note of a transaction: the method it is, how long it took, and whether it failed."""


def _unobserved(operation: str, duration_s: float, *, failed: bool) -> None:
    """Take no note."""


def new_id() -> str:
    """An identifier as the plan's databases make them: 24 hexadecimal digits."""
    return secrets.token_hex(12)


def _participant(row: Row[Any]) -> Participant:
    return Participant(**{field.name: row._mapping[field.name] for field in fields(Participant)})


def _call(row: Row[Any], joined: Iterable[Participant]) -> Call:
    values = {f.name: row._mapping[f.name] for f in fields(Call) if f.name != "participants"}
    if not isinstance(values["settings"], dict):
        # the column is any JSON to the programs of Phase 1A
        values["settings"] = {}
    return Call(**values, participants=tuple(sorted(joined, key=lambda one: (one.joined_at, one.id))))


def within(
    patience: str,
) -> Callable[
    [Callable[Concatenate[Repository, Arguments], Coroutine[Any, Any, Result]]],
    Callable[Concatenate[Repository, Arguments], Coroutine[Any, Any, Result]],
]:
    """Let a method take no longer than the named time of Patience, and report how long it took under its name."""

    def bound(
        method: Callable[Concatenate[Repository, Arguments], Coroutine[Any, Any, Result]],
    ) -> Callable[Concatenate[Repository, Arguments], Coroutine[Any, Any, Result]]:
        async def call(self: Repository, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            began_s, failed = time.perf_counter(), True
            try:
                result = await self._within(getattr(self.patience, patience), method(self, *args, **kwargs))
                failed = False
            finally:
                self._on_done(method.__name__, time.perf_counter() - began_s, failed=failed)
            return result

        functools.update_wrapper(call, method)
        return call

    return bound


def _bounded(transitions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the oldest roll-backs beyond ROLL_BACKS_MAX: a switch that cannot succeed is tried for hours."""
    failed = [index for index, one in enumerate(transitions) if not one.get("success", True)]
    surplus = set(failed[: max(0, len(failed) - ROLL_BACKS_MAX)])
    return [one for index, one in enumerate(transitions) if index not in surplus]


class Repository:
    """All reads and writes of the gateway.

    Owns nothing but transactions that were given up: close it before the engine, which belongs to who made it. Safe
    for concurrent use. Every method raises SQLAlchemyError when the database is down, does not answer in time, or
    refuses.

    Example:
        ```python
        engine = create_engine("sqlite:////tmp/meeshy-example.db")
        await schema.upgrade(engine)
        calls = Repository(engine)
        call = await calls.create_call("c1", "video", "ada", mode="p2p", settings={}, now=datetime.now(UTC))
        assert (await calls.get_call(call.id)).status == "initiated"
        ```
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        patience: Patience = Patience(),
        settle: Callable[[str], Awaitable[None]] | None = None,
        on_done: OnDone = _unobserved,
    ) -> None:
        """Prepare; connections are made when they are needed.

        Args:
            engine: Where the database is.
            patience: How long transactions may take.
            settle: Awaited before a call is read: what is still to be written of it.
            on_done: Called after each transaction with the name of its method, the seconds it took, and whether it
                failed.
        """
        self.patience = patience
        self._settle = settle
        self._on_done = on_done
        self._engine = engine
        self._writing = writing(engine)
        # SQLite's driver cannot be interrupted, and does not survive an attempt; its waits end by themselves
        self._interruptible = engine.dialect.name != "sqlite"
        self._writers = asyncio.Semaphore(WRITERS_MAX if self._interruptible else 1)
        self._given_up: set[asyncio.Task[Any]] = set()
        self._begun: set[asyncio.Task[Any] | None] = set()
        """Transactions that have or want a connection."""

    async def close(self) -> None:
        """Wait a moment for transactions that were given up and still have their connection. Idempotent."""
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=CLOSE_S)

    @within("start_s")
    async def identity(self) -> str:
        """The name of who serves this database; made with the first question."""
        async with self._write() as db:
            found = (await db.execute(select(identities.c.id))).scalar()
            if found is None:
                found = new_id()
                await db.execute(identities.insert().values(id=found))
        return str(found)

    # ---- calls

    @within("create_s")
    async def create_call(
        self,
        conversation_id: str,
        kind: str,
        initiator_id: str,
        *,
        mode: str,
        settings: Mapping[str, Any],
        now: datetime,
        call_id: str | None = None,
        initiator: Participant | None = None,
    ) -> Call:
        """Store a new call, its metrics, and who is in it from the beginning; all of it or nothing.

        Nothing is read back: a client waits for this transaction, and each statement costs it two changes of thread.
        """
        call = Call(
            id=call_id or new_id(),
            conversation_id=conversation_id,
            mode=mode,
            status="initiated",
            type=kind,
            initiator_id=initiator_id,
            settings=dict(settings),
            created_at=now,
            mode_change_count=0,
            participants=() if initiator is None else (initiator,),
            **dict.fromkeys(_NULL_AT_FIRST),
        )
        row = {
            name: value for name, value in _values(call).items() if name in sessions.c and value is not None
        }
        figures = Figures() if initiator is None else Figures().with_participants(1, 1)
        kept = {"id": new_id(), "call_session_id": call.id, "mode_transitions": [], "created_at": now}
        async with self._write() as db:
            await db.execute(sessions.insert().values(**row, updated_at=now))
            await db.execute(metrics.insert().values(**kept, **_values(figures), updated_at=now))
            if initiator is not None:
                await db.execute(participants.insert().values(**_values(initiator), updated_at=now))
        return call

    @within("read_s")
    async def get_call(self, call_id: str) -> Call | None:
        """One call, or None."""
        if self._settle is not None:
            await self._settle(call_id)
        async with self._read() as db:
            found = await self._load(db, select(sessions).where(sessions.c.id == call_id))
        return found[0] if found else None

    @within("start_s")
    async def active_calls(self) -> list[Call]:
        """Calls that are not over, oldest first."""
        async with self._read() as db:
            found = await self._load(db, select(sessions).where(sessions.c.status.in_(LIVE)))
        return sorted(found, key=lambda call: (call.created_at, call.id))

    @within("read_s")
    async def list_calls(
        self,
        conversation_id: str,
        *,
        limit: int,
        offset: int = 0,
        status: str | None = None,
        before: tuple[datetime, str] | None = None,
    ) -> tuple[list[Call], int]:
        """A page of a conversation's calls, newest first, and how many there are in all.

        Args:
            conversation_id: Whose.
            limit: How many at most.
            offset: How many to skip; each costs a look at a row, so far pages are asked for by `before`.
            status: Only calls of this one.
            before: Time and id of the last call of the page before.
        """
        where = [sessions.c.conversation_id == conversation_id]
        if status is not None:
            where.append(sessions.c.status == status)
        page = select(sessions).where(*where)
        if before is not None:
            last = tuple_(literal(before[0], UtcDateTime()), literal(before[1]))
            page = page.where(tuple_(sessions.c.created_at, sessions.c.id) < last)
        page = page.order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
        async with self._read() as db:
            total = (await db.execute(select(func.count()).select_from(sessions).where(*where))).scalar_one()
            return await self._load(db, page.limit(limit).offset(offset)), int(total)

    @within("write_s")
    async def set_status(self, call_id: str, status: str, now: datetime) -> None:
        """Change the status; the first `active` sets when the call started."""
        values: dict[str, Any] = {"status": status, "updated_at": now}
        if status == "active":
            values["started_at"] = func.coalesce(sessions.c.started_at, now)
        async with self._write() as db:
            await db.execute(update(sessions).where(sessions.c.id == call_id).values(**values))

    @within("write_s")
    async def end_call(
        self, call_id: str, *, reason: str, ended_by: str | None, now: datetime
    ) -> Call | None:
        """End a call that is not over: status, time, duration, reason; all its participants have left. None if it is over.

        The mode stays as it was; the SFU fields of participants are nulled, the room is gone.
        """
        async with self._write() as db:
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
            (call,) = await self._load(db, select(sessions).where(sessions.c.id == call_id))
        return call

    # ---- modes

    @within("write_s")
    async def set_mode(
        self,
        call_id: str,
        mode: str,
        *,
        room_id: str | None,
        rtp_capabilities: Mapping[str, Any] | None,
        transition: ModeTransition,
    ) -> None:
        """Store a completed transition and where it led; going to P2P nulls every SFU field in one update.

        A transition within a mode leads to another room or another peer, and does not count as a change. An epoch is
        written once: what is there already stays as it is.
        """
        now = transition.timestamp
        values: dict[str, Any] = {
            "mode": mode,
            "sfu_room_id": room_id,
            "sfu_rtp_capabilities": dict(rtp_capabilities) if rtp_capabilities is not None else None,
            "updated_at": now,
        }
        if transition.is_change:
            values |= {"last_mode_change": now, "mode_change_count": sessions.c.mode_change_count + 1}
        async with self._write() as db:
            if not await self._append(db, call_id, transition):
                return
            await db.execute(update(sessions).where(sessions.c.id == call_id).values(**values))
            if mode == "p2p":
                await self._clear_sfu(db, call_id, now)

    @within("write_s")
    async def record_roll_back(self, call_id: str, transition: ModeTransition) -> None:
        """Store a transition that was rolled back; if the call stays P2P, null every SFU field."""
        async with self._write() as db:
            if await self._append(db, call_id, transition) and transition.source == "p2p":
                await self._clear_sfu(db, call_id, transition.timestamp)

    async def _append(self, db: AsyncConnection, call_id: str, transition: ModeTransition) -> bool:
        """Add a transition to the metrics of its call, unless its epoch is there."""
        known = await self._transitions(db, call_id, transition.timestamp)
        if any(one.get("epoch") == transition.epoch for one in known):
            return False
        await db.execute(
            update(metrics)
            .where(metrics.c.call_session_id == call_id)
            .values(
                mode_transitions=_bounded([*known, transition.as_json()]), updated_at=transition.timestamp
            )
        )
        return True

    # ---- participants

    @within("write_s")
    async def store_participant(self, participant: Participant, now: datetime) -> None:
        """Store a participant as they are now, new or known; what else is known of their device stays."""
        values = _values(participant) | {"updated_at": now}
        async with self._write() as db:
            known = select(participants.c.device_info).where(participants.c.id == participant.id)
            row = (await db.execute(known)).first()
            if row is None:
                await db.execute(participants.insert().values(**values))
                return
            before = row.device_info if isinstance(row.device_info, dict) else {}
            values["device_info"] = before | (participant.device_info or {})
            await db.execute(update(participants).where(participants.c.id == participant.id).values(**values))

    # ---- metrics

    @within("start_s")
    async def get_metrics(self, call_id: str) -> Metrics | None:
        """The figures and changes of mode of a call, or None."""
        if self._settle is not None:
            await self._settle(call_id)
        async with self._read() as db:
            row = (await db.execute(select(metrics).where(metrics.c.call_session_id == call_id))).first()
        if row is None:
            return None
        values = {field.name: row._mapping[field.name] for field in fields(Metrics)}
        values["mode_transitions"] = tuple(values["mode_transitions"])
        return Metrics(**values)

    @within("write_s")
    async def store_figures(self, call_id: str, figures: Figures, now: datetime) -> None:
        """Store what a call adds up to by now."""
        async with self._write() as db:
            await self._transitions(db, call_id, now)
            await db.execute(
                update(metrics)
                .where(metrics.c.call_session_id == call_id)
                .values(**_values(figures), updated_at=now)
            )

    # ---- health

    @within("probe_s")
    async def probe(self, revision: str) -> str | None:
        """Write as calls do, and return what keeps calls from it; None if nothing does.

        Args:
            revision: The version that the schema has to have.

        Raises:
            SQLAlchemyError: The database does not take it, or not in time.
        """
        self._begun.add(asyncio.current_task())
        # not in the queue of those who write: a long one is no fault of the database
        async with self._writing.begin() as db:
            for known in (sessions, participants, metrics):
                await db.execute(select(known).limit(0))
            number = version.c.version_num
            written = update(version).where(number == revision).values(version_num=revision)
            if (await db.execute(written)).rowcount != 1:
                found = (await db.execute(select(number))).scalars().all()
                return f"its schema is of revision {', '.join(found) or 'none'}, not {revision}"
            if db.dialect.name == "sqlite":
                # the statement above needs no page that the file does not have
                await db.exec_driver_sql("SAVEPOINT probe")
                await db.exec_driver_sql("CREATE TABLE probe (space BLOB)")
                await db.exec_driver_sql("INSERT INTO probe VALUES (zeroblob(?))", (PROBE_BYTES,))
                await db.exec_driver_sql("ROLLBACK TO probe")
        return None

    # ---- inside

    async def _within(self, seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait no longer, even if the driver takes its time to let go of the connection.

        What is given up may still be done.
        """
        task = asyncio.create_task(work)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                self._given_up.add(task)
                if self._interruptible or task not in self._begun:
                    task.cancel()
        if not task.done():
            raise OperationalError(None, None, TimeoutError(f"no answer within {seconds:g} s"))
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._given_up.discard(task)
        self._begun.discard(task)
        if not task.cancelled():
            # no caller is left to receive the outcome
            task.exception()

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        self._begun.add(asyncio.current_task())
        async with self._engine.begin() as db:
            yield db

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        async with self._writers:
            self._begun.add(asyncio.current_task())
            async with self._writing.begin() as db:
                yield db

    async def _load(self, db: AsyncConnection, query: Select[Any]) -> list[Call]:
        rows = (await db.execute(query)).all()
        by_call: dict[str, list[Participant]] = {row.id: [] for row in rows}
        if rows:
            found = await db.execute(select(participants).where(participants.c.call_session_id.in_(by_call)))
            for row in found:
                by_call[row.call_session_id].append(_participant(row))
        return [_call(row, by_call[row.id]) for row in rows]

    async def _transitions(self, db: AsyncConnection, call_id: str, now: datetime) -> list[dict[str, Any]]:
        """Lock the metrics of a call; make them if it is of Phase 1A and has none."""
        query = select(metrics.c.mode_transitions).where(metrics.c.call_session_id == call_id)
        row = (await db.execute(query.with_for_update())).first()
        if row is not None:
            return list(row.mode_transitions)
        values = {"id": new_id(), "call_session_id": call_id, "mode_transitions": []}
        await db.execute(metrics.insert().values(**values, created_at=now, updated_at=now))
        return []

    async def _clear_sfu(self, db: AsyncConnection, call_id: str, now: datetime) -> None:
        await db.execute(
            update(participants)
            .where(participants.c.call_session_id == call_id)
            .values(**dict.fromkeys(SFU_FIELDS), updated_at=now)
        )


def _values(row: Call | Participant | Figures) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}
