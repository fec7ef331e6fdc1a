"""The process in reserve under `meeshy serve`: it takes the place of a crashed service, and is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.integration.hearing import eventually
from tests.integration.server.peers import Peer
from tests.integration.server.processes import Meeshy, children, is_running, meeshy

READY = "as offered to clients"
GATEWAY_READY = "Meeshy call gateway"

pytestmark = pytest.mark.timeout(90)


def standbys(supervisor: Meeshy) -> list[int]:
    """The children that run no service; a process that is just being made is none yet."""
    found = {
        pid
        for pid in children(supervisor.process.pid)
        if "meeshy_sfu.cli.standby" in told(f"/proc/{pid}/cmdline")
    }
    services = {
        told(str(supervisor.state_dir / "run" / f"{name}.pid")).strip() for name in ("media", "gateway")
    }
    return [pid for pid in found if str(pid) not in services]


def told(path: str) -> str:
    """What a file says; nothing when it is gone by now."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


async def standby_of(supervisor: Meeshy, *, but: int = 0) -> int:
    """The one standby, once it is there."""
    await eventually(lambda: len(standbys(supervisor)) == 1 and standbys(supervisor) != [but], within_s=20)
    return standbys(supervisor)[0]


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Meeshy]:
    """A supervisor whose services are ready."""
    async with meeshy(tmp_path, "serve", "--max-rooms", "1") as running:
        await running.wait_for(READY)
        await running.wait_for(GATEWAY_READY)
        yield running


async def test_the_standby_becomes_the_crashed_service_and_is_replaced(supervisor: Meeshy) -> None:
    for name, ready, times in (("media", READY, 2), ("gateway", GATEWAY_READY, 2)):
        reserve = await standby_of(supervisor)
        crashed = await supervisor.service(name)
        os.kill(crashed, signal.SIGKILL)
        assert await supervisor.service(name, but=crashed) == reserve
        await supervisor.wait_for(ready, times=times)
    supervisor.signal(signal.SIGTERM)
    assert await supervisor.ended(within_s=6) == 0, supervisor.output
    assert "Traceback" not in supervisor.output


async def test_the_standby_takes_the_settings_of_the_crashed_service(supervisor: Meeshy) -> None:
    reserve = await standby_of(supervisor)
    url = supervisor.url
    os.kill(await supervisor.service(), signal.SIGKILL)
    await supervisor.wait_for(READY, times=2)
    assert await supervisor.service() == reserve
    async with aiohttp.ClientSession() as session:
        await Peer(session, url, "call-1", "a").create()
        full = await Peer(session, url, "call-2", "a").post("create")
        assert full.code == "SERVER_AT_CAPACITY"


async def test_a_crashed_standby_is_replaced_and_ends_no_service(supervisor: Meeshy) -> None:
    services = [await supervisor.service(name) for name in ("media", "gateway")]
    reserve = await standby_of(supervisor)
    os.kill(reserve, signal.SIGKILL)
    await standby_of(supervisor, but=reserve)
    assert "the standby process was killed by SIGKILL" in supervisor.output
    assert [await supervisor.service(name) for name in ("media", "gateway")] == services


async def test_a_service_that_crashes_while_the_standby_is_stopped_is_taken_over_once_it_continues(
    supervisor: Meeshy,
) -> None:
    reserve = await standby_of(supervisor)
    os.kill(reserve, signal.SIGSTOP)
    os.kill(await supervisor.service(), signal.SIGKILL)
    await eventually(lambda: not standbys(supervisor))
    os.kill(reserve, signal.SIGCONT)
    await supervisor.wait_for(READY, times=2)


async def test_both_services_may_crash_at_once(supervisor: Meeshy) -> None:
    await standby_of(supervisor)
    for name in ("media", "gateway"):
        os.kill(await supervisor.service(name), signal.SIGKILL)
    await supervisor.wait_for(READY, times=2)
    await supervisor.wait_for(GATEWAY_READY, times=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_standby_outlives_its_supervisor(supervisor: Meeshy, number: signal.Signals) -> None:
    reserve = await standby_of(supervisor)
    supervisor.signal(number)
    await supervisor.ended(within_s=6)
    await eventually(lambda: not is_running(reserve), within_s=6)


async def test_without_the_setting_no_process_stands_by(tmp_path: Path) -> None:
    async with meeshy(tmp_path, "serve", "--no-standby") as running:
        await running.wait_for(READY)
        await running.wait_for(GATEWAY_READY)
        await asyncio.sleep(4)
        assert not standbys(running)
