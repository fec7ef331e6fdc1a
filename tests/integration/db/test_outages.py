"""A database that is down, or hangs: errors that callers know, after a bounded time."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from meeshy_sfu.db import schema
from meeshy_sfu.db.repository import Patience, Repository
from meeshy_sfu.db.session import create_engine

from .databases import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .databases import PostgresServer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def own_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that the test may break."""
    with postgres() as server:
        yield server


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    """Stop all processes of a server with SIGSTOP."""
    stopped = server.pids()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
async def test_a_database_that_cannot_be_reached_is_an_error_of_the_database(host: str) -> None:
    engine = create_engine(f"postgresql://meeshy@{host}/calls")
    with pytest.raises(OperationalError):
        await Repository(engine).get_call("x")
    await engine.dispose()


async def test_a_database_that_went_down_is_an_error_and_back_again_works(
    own_server: PostgresServer,
) -> None:
    engine = create_engine(own_server.new_database())
    await schema.upgrade(engine)
    calls = Repository(engine)
    call = await calls.create_call("c1", "video", "ada", mode="p2p", settings={}, now=NOW)
    own_server.stop()
    for _ in range(2):
        with pytest.raises(OperationalError):
            await calls.set_status(call.id, "active", NOW)
    own_server.run()
    await calls.set_status(call.id, "active", NOW)
    await engine.dispose()


async def test_every_transaction_is_reported_by_its_name_with_its_time_and_whether_it_failed(
    own_server: PostgresServer,
) -> None:
    engine = create_engine(own_server.new_database())
    await schema.upgrade(engine)
    done: list[tuple[str, float, bool]] = []

    def note(operation: str, duration_s: float, *, failed: bool) -> None:
        done.append((operation, duration_s, failed))

    calls = Repository(engine, patience=Patience(write_s=0.5), on_done=note)
    call = await calls.create_call("c1", "video", "ada", mode="p2p", settings={}, now=NOW)
    assert await calls.get_call("nobody") is None
    with hanging(own_server), pytest.raises(OperationalError):
        await calls.set_status(call.id, "active", NOW)
    assert [(name, failed) for name, _, failed in done] == [
        ("create_call", False),
        ("get_call", False),
        ("set_status", True),
    ]
    assert done[-1][1] >= 0.5
    assert all(duration_s > 0 for _, duration_s, _ in done)
    await engine.dispose()


async def test_a_database_that_hangs_is_not_waited_for_for_ever(own_server: PostgresServer) -> None:
    engine = create_engine(own_server.new_database())
    await schema.upgrade(engine)
    calls = Repository(engine, patience=Patience(write_s=0.5))
    call = await calls.create_call("c1", "video", "ada", mode="p2p", settings={}, now=NOW)
    with hanging(own_server):
        began_s = time.monotonic()
        with pytest.raises(OperationalError):
            await calls.set_status(call.id, "active", NOW)
        assert time.monotonic() - began_s < 2
    await calls.set_status(call.id, "active", NOW)
    await engine.dispose()


async def test_readers_of_an_embedded_database_and_its_writer_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "calls.db"
    engine = create_engine(f"sqlite:///{path}")
    await schema.upgrade(engine)
    calls = Repository(engine, patience=Patience(read_s=1.0, write_s=1.0))
    call = await calls.create_call("c1", "video", "ada", mode="p2p", settings={}, now=NOW)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert await calls.get_call(call.id) is not None
        assert (await calls.list_calls("c1", limit=5))[1] == 1
        assert len(await calls.active_calls()) == 1
        with pytest.raises(OperationalError):
            await calls.set_status(call.id, "active", NOW)
    finally:
        other.execute("ROLLBACK")
    async with engine.begin() as reader:
        # a long list is being read
        await reader.execute(text("SELECT * FROM call_sessions"))
        await calls.set_status(call.id, "active", NOW)
    other.close()
    await calls.close()
    await engine.dispose()
