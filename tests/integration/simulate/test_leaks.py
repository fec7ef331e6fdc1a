"""Leaks of the real stack are found, named, and fail the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from simulator.client.media_server import Rest
from simulator.runs.base import pattern_of
from simulator.samples.end_state import EndState
from simulator.scenario import Scenario
from simulator.stack import inspector
from tests.integration.db.databases import postgres, postgres_programs

pytestmark = [
    pytest.mark.slow(reason="whole runs, and the wait for what never closes"),
    pytest.mark.timeout(120),
]

SPOILED_ROWS = (
    "UPDATE call_participants SET status = 'connected', left_at = NULL WHERE user_id = 'person-3'",
    "UPDATE call_sessions SET mode = 'sfu'",
    "UPDATE call_metrics SET mode_transitions = '[]'",
    "INSERT INTO call_sessions (id, conversation_id, mode, status, type, initiator_id, created_at, updated_at)"
    " SELECT 'leaked', conversation_id, 'p2p', 'active', 'video', 'person-1', created_at, updated_at"
    " FROM call_sessions",
)
CONNECTIONS = 25


def test_every_leak_made_on_purpose_is_found_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One change each way, and then a room, rows, sockets and their tasks that leak."""
    monkeypatch.setattr(inspector, "PATIENCE_S", 1.0)
    clean = inspector.StackInspector.after
    held = contextlib.AsyncExitStack()

    async def spoiled(self: inspector.StackInspector, conversations: list[str]) -> object:
        """Spoil the stack once all participants have left, just before it is inspected."""
        stack = self._stack
        async with Rest(stack.media.url) as rest:
            await rest.create_room("leaked-room", stack.credentials.for_service())
        http = await held.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=False))
        )
        open_at_once = [http.get(f"{stack.gateway.url}/health") for _ in range(CONNECTIONS)]
        for answer in await asyncio.gather(*(held.enter_async_context(request) for request in open_at_once)):
            assert answer.status == 200
        database = sqlite3.connect(stack.gateway.state / "meeshy.db")
        with contextlib.closing(database), database:
            for statement in SPOILED_ROWS:
                database.execute(statement)
        return await clean(self, conversations)

    monkeypatch.setattr(inspector.StackInspector, "after", spoiled)
    scenario = Scenario.load("switch").with_values({"switching": {"transitions": 1, "stay_s": 0.2}})

    async def run() -> None:
        async with held:
            _, summary = (
                await pattern_of(scenario).make_run(scenario, state=tmp_path, out=tmp_path / "run").execute()
            )
        leaks = summary.leftovers
        assert leaks is not None
        assert (leaks.rooms, leaks.calls, leaks.people) == (1, 1, 1), leaks
        assert leaks.sockets >= CONNECTIONS - 5
        assert leaks.tasks >= CONNECTIONS - 5
        assert summary.verdict in {"fail", "void"}
        text = "\n".join(summary.reasons)
        for words in (
            "call leaked-room still has a room on the media server",
            "call leaked is still active in the database",
            "person-3 is still connected in call",
            "more sockets open than at its start",
            "RequestHandler.start",
            "is sfu in call_sessions, but its changes lead to p2p",
            "but call_metrics has no such change",
        ):
            assert words in text, (words, leaks.findings)

    asyncio.run(run())


def test_rows_are_read_from_postgresql_where_the_gateway_keeps_them_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is missing: sudo apt-get install -y postgresql")
    with postgres() as server:
        monkeypatch.setenv("MEESHY_DATABASE_URL", server.new_database())
        scenario = Scenario.load("switch").with_values({"switching": {"transitions": 1, "stay_s": 0.2}})
        _, summary = asyncio.run(
            pattern_of(scenario).make_run(scenario, state=tmp_path, out=tmp_path / "run").execute()
        )
    found = EndState.read(tmp_path / "run")
    assert found is not None
    assert [(change.old, change.new) for change in found.changes] == [("p2p", "sfu"), ("sfu", "p2p")]
    assert len(found.participants) == 3
    assert summary.leftovers is not None
    assert summary.leftovers.findings == []
