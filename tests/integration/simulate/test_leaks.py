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
    pytest.mark.slow(reason="whole runs, and the wait for what never goes"),
    pytest.mark.timeout(120),
]

SABOTAGE = (
    "UPDATE call_participants SET status = 'connected', left_at = NULL WHERE user_id = 'person-3'",
    "UPDATE call_sessions SET mode = 'sfu'",
    "UPDATE call_metrics SET mode_transitions = '[]'",
    "INSERT INTO call_sessions (id, conversation_id, mode, status, type, initiator_id, created_at, updated_at)"
    " SELECT 'forgotten', conversation_id, 'p2p', 'active', 'video', 'person-1', created_at, updated_at"
    " FROM call_sessions",
)
CONNECTIONS = 25


def test_everything_left_on_purpose_is_found_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One change each way, and then a room, rows, sockets and their jobs that nobody clears away."""
    monkeypatch.setattr(inspector, "PATIENCE_S", 1.0)
    clean = inspector.StackInspector.after
    held = contextlib.AsyncExitStack()

    async def spoilt(self: inspector.StackInspector, conversations: list[str]) -> object:
        """Spoil the stack once everybody has left, just before stock is taken."""
        stack = self._stack
        async with Rest(stack.media.url) as rest:
            await rest.create_room("nobodys-room", stack.credentials.for_service())
        http = await held.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=False))
        )
        open_at_once = [http.get(f"{stack.gateway.url}/health") for _ in range(CONNECTIONS)]
        for answer in await asyncio.gather(*(held.enter_async_context(request) for request in open_at_once)):
            assert answer.status == 200
        database = sqlite3.connect(stack.gateway.state / "meeshy.db")
        with contextlib.closing(database), database:
            for statement in SABOTAGE:
                database.execute(statement)
        return await clean(self, conversations)

    monkeypatch.setattr(inspector.StackInspector, "after", spoilt)
    scenario = Scenario.load("switch").with_values({"switching": {"transitions": 1, "stay_s": 0.2}})

    async def run() -> None:
        async with held:
            _, summary = (
                await pattern_of(scenario).make_run(scenario, state=tmp_path, out=tmp_path / "run").execute()
            )
        left = summary.leftovers
        assert left is not None
        assert (left.rooms, left.calls, left.people) == (1, 1, 1), left
        assert left.sockets >= CONNECTIONS - 5
        assert left.tasks >= CONNECTIONS - 5
        assert summary.verdict in {"fail", "void"}
        text = "\n".join(summary.reasons)
        for words in (
            "call nobodys-room still has a room on the media server",
            "call forgotten is still active in the database",
            "person-3 is still connected in call",
            "more sockets open than at its start",
            "RequestHandler.start",
            "is sfu in call_sessions, but its changes lead to p2p",
            "but call_metrics has no such change",
        ):
            assert words in text, (words, left.findings)

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
