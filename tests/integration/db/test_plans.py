"""How the databases find rows among 100,000 calls: by an index, in the order they are asked for."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, insert, text

from meeshy_sfu.db import schema
from meeshy_sfu.db.models import CallMetrics, CallParticipant, CallSession, Figures, ModeTransition
from meeshy_sfu.db.repository import Repository
from tests.integration.db.test_repository import participant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

CALLS = 100_000
LARGE = 40_000
"""Calls of one conversation."""
T0 = datetime(2026, 1, 1, tzinfo=UTC)
EXPLAINED = ("SELECT", "UPDATE", "DELETE")
PAGE = 100
"""Rows of the longest page."""


def call_id(n: int) -> str:
    return f"{n:024x}"


async def fill(engine: AsyncEngine) -> None:
    """Calls of one large conversation and many small ones; ten are not over."""
    async with engine.begin() as db:
        for start in range(0, CALLS, 5000):
            numbers = range(start, start + 5000)
            await db.execute(
                insert(CallSession.__table__),
                [
                    {
                        "id": call_id(n),
                        "conversation_id": "large" if n < LARGE else f"c{n % 9973}",
                        "mode": "sfu" if n % 3 else "p2p",
                        "status": "active" if n % 10_000 == 0 else "failed" if n % 50 == 0 else "ended",
                        "type": "video",
                        "initiator_id": "ada",
                        "settings": {},
                        "created_at": T0 + timedelta(seconds=n),
                        "updated_at": T0,
                    }
                    for n in numbers
                ],
            )
            await db.execute(
                insert(CallParticipant.__table__),
                [
                    {
                        "id": f"{who}{call_id(n)}",
                        "call_session_id": call_id(n),
                        "user_id": who,
                        "joined_at": T0,
                        "updated_at": T0,
                    }
                    for n in numbers
                    for who in ("ada", "bob")
                ],
            )
            rows = [
                {
                    "id": call_id(n),
                    "call_session_id": call_id(n),
                    "mode_transitions": [],
                    "created_at": T0,
                    "updated_at": T0,
                }
                for n in numbers
            ]
            await db.execute(insert(CallMetrics.__table__), rows)
    async with engine.connect() as db:
        await (await db.execution_options(isolation_level="AUTOCOMMIT")).execute(
            # as PostgreSQL's autovacuum does
            text("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")
        )


async def use_everything(calls: Repository) -> set[str]:
    """Call every method that asks the database something; return their names."""
    call = await calls.get_call(call_id(20_000))
    assert call is not None
    page, total = await calls.list_calls("large", limit=20)
    assert (len(page), total) == (20, LARGE)
    last = (page[-1].created_at, page[-1].id)
    for status in (None, "ended", "failed", "active"):
        await calls.list_calls("large", limit=20, status=status)
        await calls.list_calls("large", limit=20, status=status, before=last)
        await calls.list_calls("c5", limit=20, offset=5, status=status)
    assert len(await calls.active_calls()) == CALLS // 10_000
    await calls.create_call("new", "video", "ada", mode="p2p", settings={}, now=T0)
    await calls.set_status(call.id, "active", T0)
    for number, mode in enumerate(("sfu", "p2p")):
        change = ModeTransition(number, "p2p", mode, T0, 0.1, "test")
        await calls.set_mode(call.id, mode, room_id="r", rtp_capabilities={}, transition=change)
    await calls.record_roll_back(call.id, ModeTransition(9, "p2p", "sfu", T0, 0.1, "test", success=False))
    guest = participant(call, None, "guest")
    for _ in range(2):
        await calls.store_participant(guest, T0)
    await calls.get_metrics(call.id)
    await calls.store_figures(call.id, Figures(), T0)
    await calls.end_call(call.id, reason="normal", ended_by="ada", now=T0)
    assert await calls.probe(schema.head()) is None
    assert await calls.identity() == await calls.identity()
    return {
        "get_call", "list_calls", "active_calls", "create_call", "set_status", "set_mode", "record_roll_back",
        "store_participant", "get_metrics", "store_figures", "end_call", "probe", "identity",
    }  # fmt: skip


def is_known_small(statement: str) -> bool:
    """The tables of the version and of the gateway's name have one row; a probe asks the others for none."""
    return "alembic_version" in statement or "gateway_identity" in statement


@pytest.mark.slow(reason="writes 100,000 calls, without which the planner would scan")
@pytest.mark.timeout(180)
async def test_no_query_scans_or_sorts_a_table_of_100_000_calls(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)
    await fill(engine)
    asked: dict[str, Any] = {}

    def note(_db: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(EXPLAINED) and not is_known_small(statement):
            asked.setdefault(f"{statement} {parameters!r:.200}", (statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    used = await use_everything(Repository(engine))
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    methods = inspect.getmembers(Repository, inspect.isfunction)
    assert used == {name for name, _ in methods if not name.startswith("_")} - {"close"}

    slow = []
    async with engine.connect() as db:
        for statement, parameters in asked.values():
            plan = await explain(db, statement, parameters)
            if engine.dialect.name == "sqlite":
                bad = [line for line in plan if line.startswith("SCAN") or "TEMP B-TREE" in line]
            else:
                bad = [line for line in plan if "Seq Scan" in line or is_long_sort(line)]
            if bad and not asks_for_nothing(statement, parameters):
                slow.append((statement, bad))
    for statement, bad in slow:
        print(bad, statement)
    assert slow == []
    assert len(asked) > 20


def asks_for_nothing(statement: str, parameters: Any) -> bool:
    """A probe's look at the columns."""
    return "WHERE" not in statement and 0 in tuple(parameters)


def is_long_sort(line: str) -> bool:
    """PostgreSQL sorts a handful of rows that another index found, as those of a rare status; no more than a page."""
    return "Sort" in line and int(line.rpartition(" ")[2]) > PAGE


async def explain(db: Any, statement: str, parameters: Any) -> list[str]:
    if db.dialect.name == "sqlite":
        rows = await db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row.detail for row in rows]
    rows = await db.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    found = rows.scalar_one()
    return nodes((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])


def nodes(plan: dict[str, Any]) -> list[str]:
    """What a plan of PostgreSQL does, with the number of rows it expects."""
    line = f"{plan['Node Type']} {plan.get('Relation Name', '')} {plan['Plan Rows']}"
    return [line, *(found for below in plan.get("Plans", ()) for found in nodes(below))]
