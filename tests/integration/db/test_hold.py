"""One holder at a time has a database; a second is refused with the holder's name."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from meeshy_sfu.db import hold as hold_module
from meeshy_sfu.db.hold import DatabaseHold
from meeshy_sfu.db.session import create_engine
from meeshy_sfu.lock_file import HeldError, LockFile

from .databases import postgres

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

HOLD = """
import asyncio, sys
from meeshy_sfu.db.hold import DatabaseHold
from meeshy_sfu.db.session import create_engine

async def main():
    held = await DatabaseHold.take(create_engine(sys.argv[1]))
    print("held", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_second_holder_is_refused_with_host_and_pid_of_the_first_and_the_remedy(
    engine: AsyncEngine, database_url: str
) -> None:
    held = await DatabaseHold.take(engine)
    other = create_engine(database_url)
    with pytest.raises(HeldError) as refused:
        await DatabaseHold.take(other)
    assert (refused.value.holder.host, refused.value.holder.pid) == (socket.gethostname(), os.getpid())
    for part in (socket.gethostname(), str(os.getpid()), "DATABASE_URL", "end that one first"):
        assert part in refused.value.message
    await held.release()
    await held.release()
    await (await DatabaseHold.take(other)).release()
    await other.dispose()


async def test_a_killed_holder_lets_go_by_itself(engine: AsyncEngine, database_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, database_url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    try:
        with pytest.raises(HeldError) as refused:
            await DatabaseHold.take(engine)
        assert refused.value.holder.pid == process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await (await DatabaseHold.take(engine, wait_s=5)).release()


async def test_two_databases_of_one_server_are_held_apart(request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_server")
    engines = [create_engine(server.new_database()) for _ in range(2)]
    for held in [await DatabaseHold.take(engine) for engine in engines]:
        await held.release()
    for engine in engines:
        await engine.dispose()


async def test_a_hold_that_broke_with_the_server_is_taken_again_or_its_loss_is_reported(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue("postgres_server")
    monkeypatch.setattr(hold_module, "WATCH_INTERVAL_S", 0.05)
    with postgres() as server:
        url = server.new_database()
        first, second = create_engine(url), create_engine(url)
        held = await DatabaseHold.take(first)
        lost: list[HeldError] = []
        watch = asyncio.create_task(held.watch(lost.append))
        server.stop()
        server.run()
        async with asyncio.timeout(10):
            while True:
                try:
                    other = await DatabaseHold.take(second)
                except HeldError:
                    break
                # it came first: let the watch have it
                await other.release()
                await asyncio.sleep(4 * hold_module.WATCH_INTERVAL_S)
        assert not lost
        watch.cancel()
        server.stop()
        server.run()
        other = await DatabaseHold.take(second)
        async with asyncio.timeout(10):
            await held.watch(lost.append)
        assert [one.holder.pid for one in lost] == [os.getpid()]
        await other.release()
        await held.release()
        for engine in (first, second):
            await engine.dispose()


def test_a_lock_file_is_held_once_and_stays_when_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.lock"
    first = LockFile.take(path, what="it", remedy="wait")
    with pytest.raises(HeldError, match=rf"it is in use by process {os.getpid()} on \S+; wait"):
        LockFile.take(path, what="it", remedy="wait")
    first.close()
    first.close()
    LockFile.take(path, what="it", remedy="wait").close()
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o600
