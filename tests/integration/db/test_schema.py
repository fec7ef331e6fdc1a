"""Migrations on both databases, with data, under load, and against a program that is too old."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, select, table, text
from sqlalchemy import column as col

from meeshy_sfu.db import schema
from meeshy_sfu.db.models import Base, UtcDateTime
from meeshy_sfu.db.repository import Repository
from meeshy_sfu.db.session import create_engine
from meeshy_sfu.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# As Phase 1A knows them: without anything that came later.
OLD_CALLS = table(
    "call_sessions",
    *(col(name) for name in ("id", "conversation_id", "mode", "status", "type", "initiator_id", "duration")),
    col("created_at", UtcDateTime()),
    col("updated_at", UtcDateTime()),
)
OLD_PARTICIPANTS = table(
    "call_participants",
    *(col(name) for name in ("id", "call_session_id", "user_id", "status")),
    col("joined_at", UtcDateTime()),
    col("updated_at", UtcDateTime()),
)


def old_call(n: int) -> dict[str, Any]:
    return {
        "id": f"{n:024x}",
        "conversation_id": f"conversation{n % 97}",
        "mode": "p2p",
        "status": "ended",
        "type": "video",
        "initiator_id": f"user{n % 13}",
        "duration": n,
        "created_at": T0,
        "updated_at": T0,
    }


def old_participant(n: int) -> dict[str, Any]:
    return {
        "id": f"{n:024x}",
        "call_session_id": f"{n:024x}",
        "user_id": f"user{n}",
        "status": "disconnected",
        "joined_at": T0,
        "updated_at": T0,
    }


async def fill(engine: AsyncEngine, rows: int) -> None:
    async with engine.begin() as db:
        for start in range(0, rows, 2000):
            numbers = range(start, min(start + 2000, rows))
            await db.execute(insert(OLD_CALLS), [old_call(n) for n in numbers])
            await db.execute(insert(OLD_PARTICIPANTS), [old_participant(n) for n in numbers])


async def snapshot(engine: AsyncEngine) -> tuple[list[Any], list[Any]]:
    async with engine.connect() as db:
        calls = (await db.execute(select(OLD_CALLS).order_by(OLD_CALLS.c.id))).all()
        participants = (await db.execute(select(OLD_PARTICIPANTS).order_by(OLD_PARTICIPANTS.c.id))).all()
    return [tuple(row) for row in calls], [tuple(row) for row in participants]


async def columns(engine: AsyncEngine) -> dict[str, set[str]]:
    def read(db: Connection) -> dict[str, set[str]]:
        found = inspect(db)
        return {name: {c["name"] for c in found.get_columns(name)} for name in found.get_table_names()}

    async with engine.connect() as db:
        return await db.run_sync(read)


async def test_migrations_make_what_the_models_say(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)
    async with engine.connect() as db:
        differences = await db.run_sync(
            lambda c: compare_metadata(
                MigrationContext.configure(c, opts={"compare_type": False}), Base.metadata
            )
        )
    assert differences == []


async def test_upgrade_leaves_phase_1a_unchanged_and_downgrade_gives_it_back(engine: AsyncEngine) -> None:
    await schema.upgrade(engine, schema.PHASE_1A)
    before = await columns(engine)
    await fill(engine, 500)
    data = await snapshot(engine)
    assert await schema.upgrade(engine) == (schema.PHASE_1A, schema.GATEWAY_IDENTITY)
    assert await snapshot(engine) == data
    old = await Repository(engine).get_call(f"{7:024x}")
    assert old is not None
    assert (old.mode, old.duration, old.sfu_room_id, old.mode_change_count, old.created_at) == (
        "p2p",
        7,
        None,
        0,
        T0,
    )
    assert await schema.downgrade(engine, schema.PHASE_1A) == (schema.GATEWAY_IDENTITY, schema.PHASE_1A)
    assert await columns(engine) == before
    assert await snapshot(engine) == data
    assert await schema.upgrade(engine) == (schema.PHASE_1A, schema.GATEWAY_IDENTITY)
    assert await snapshot(engine) == data


@pytest.mark.timeout(120)
async def test_a_hundred_thousand_old_calls_migrate_within_30_s(engine: AsyncEngine) -> None:
    await schema.upgrade(engine, schema.PHASE_1A)
    await fill(engine, 100_000)
    started = time.monotonic()
    await schema.upgrade(engine)
    await schema.downgrade(engine, schema.PHASE_1A)
    await schema.upgrade(engine)
    assert time.monotonic() - started < 30


async def test_calls_written_during_the_upgrade_are_all_there(engine: AsyncEngine) -> None:
    await schema.upgrade(engine, schema.PHASE_1A)
    await fill(engine, 5000)
    stop = asyncio.Event()
    written: list[int] = []

    async def write(first: int) -> None:
        n = first
        while not stop.is_set():
            async with engine.begin() as db:
                await db.execute(insert(OLD_CALLS), [old_call(n)])
                await db.execute(insert(OLD_PARTICIPANTS), [old_participant(n)])
            written.append(n)
            n += 1
            await asyncio.sleep(0.002)

    writers = [asyncio.create_task(write(10**6 * (k + 1))) for k in range(3)]
    await asyncio.sleep(0.2)
    await schema.upgrade(engine)
    await asyncio.sleep(0.2)
    stop.set()
    await asyncio.gather(*writers)
    calls, participants = await snapshot(engine)
    assert len(written) > 20
    assert {row[0] for row in calls} == {f"{n:024x}" for n in [*range(5000), *written]}
    assert len(participants) == len(calls)
    assert await schema.check(engine) is None


async def test_a_newer_database_is_refused_with_the_reason(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)
    async with engine.begin() as db:
        await db.execute(text("update alembic_version set version_num = 'from_the_future'"))
    for attempt in (schema.upgrade(engine), schema.downgrade(engine, "base")):
        with pytest.raises(ConfigError, match=r"from_the_future.*newer"):
            await attempt
    assert "from_the_future" in (await schema.check(engine) or "")


async def test_a_database_without_revision_is_not_guessed_at(engine: AsyncEngine) -> None:
    await schema.upgrade(engine, schema.PHASE_1A)
    async with engine.begin() as db:
        await db.execute(text("drop table alembic_version"))
    with pytest.raises(ConfigError, match="meeshy db stamp phase_1a"):
        await schema.upgrade(engine)
    await schema.stamp(engine, schema.PHASE_1A)
    await schema.upgrade(engine)
    assert await schema.current(engine) == schema.GATEWAY_IDENTITY


async def test_check_names_what_to_do(engine: AsyncEngine) -> None:
    assert "meeshy db upgrade" in (await schema.check(engine) or "")
    await schema.upgrade(engine, schema.PHASE_1A)
    assert "phase_1a" in (await schema.check(engine) or "")
    with pytest.raises(
        ConfigError, match="known revisions: add_sfu_support, call_pages, gateway_identity, phase_1a"
    ):
        await schema.upgrade(engine, "no_such_revision")
    await schema.upgrade(engine)
    assert await schema.check(engine) is None
    assert await schema.downgrade(engine, "base") == (schema.GATEWAY_IDENTITY, None)


async def test_four_upgrades_at_once_all_succeed(database_url: str) -> None:
    engines = [create_engine(database_url) for _ in range(4)]
    done = await asyncio.gather(*(schema.upgrade(engine) for engine in engines))
    assert sorted(str(before) for before, _ in done) == ["None", *[schema.GATEWAY_IDENTITY] * 3]
    assert {after for _, after in done} == {schema.GATEWAY_IDENTITY}
    assert await schema.check(engines[0]) is None
    for engine in engines:
        await engine.dispose()
