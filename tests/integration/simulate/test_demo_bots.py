"""`meeshy serve --bots`: bots join one who calls alone, and none stays when they leave."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meeshy_sfu.config import load_settings
from meeshy_sfu.errors import ConfigError
from meeshy_sfu.gateway.wire.auth import Conversation
from tests.integration.gateway.callers import SECRET, Caller

BOTS = 3
PATIENCE_S = 30.0
pytestmark = [
    pytest.mark.slow(reason="starts the services, and waits until bots have talked in turns"),
    pytest.mark.timeout(120),
]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


class Visitor(Caller):
    """One who says yes to every change of path, without media."""

    async def note(self, event: str, payload: Any = None) -> None:
        await super().note(event, payload)
        if event == "call:mode-switch":
            told = {name: payload[name] for name in ("callId", "epoch")}
            await self.socket.emit(
                "call:mode-switched", {**told, "mode": payload["newMode"], "success": True}
            )

    async def live_call(self) -> dict[str, Any] | None:
        answer = await self.request("GET", "/api/conversations/demo/active-call")
        call: dict[str, Any] | None = answer.data["call"]
        return call


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[tuple[Process, str]]:
    """The command, and the URL of its gateway."""
    arguments = ["serve", "--bots", str(BOTS), "--port", "0", "--gateway-port", "0", "--rtc-min-port", "0"]
    environment = {**os.environ, "JWT_SECRET": SECRET, "MEESHY_DEVELOPMENT": "true", "MEESHY_RATE_CALLS": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "meeshy_sfu", *arguments, "--workers", "1", "--no-standby",
        cwd=directory, env=environment, stdout=PIPE, stderr=DEVNULL,
    )  # fmt: skip
    try:
        yield process, await asyncio.wait_for(_gateway_url(process), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _gateway_url(process: Process) -> str:
    assert process.stdout is not None
    gateway = False
    while line := (await process.stdout.readline()).decode():
        gateway = gateway or "call gateway" in line
        if gateway and (found := re.search(r"REST and Socket.IO +(\S+)", line)):
            return found[1]
    pytest.fail("the gateway did not start")


def pid(directory: Path, service: str) -> int:
    return int((directory / ".meeshy/run" / f"{service}.pid").read_text())


async def test_bots_join_talk_in_turns_and_leave_with_the_last_visitor(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path) as (process, url):
        ada = Visitor(http, url, "ada", conversations=[Conversation("demo", "GROUP")])
        await ada.connect()
        for _ in range(2):
            ada.events.clear()
            call = await ada.initiate("demo")
            names = set()
            for _ in range(BOTS):
                joined = await ada.wait(
                    "call:participant-joined",
                    holds=lambda event, known=frozenset(names): event["participant"]["username"] not in known,
                    within_s=PATIENCE_S,
                )
                names.add(joined["participant"]["username"])
            assert all(name.endswith("(bot)") for name in names)
            await ada.wait(
                "call:mode-switched", holds=lambda event: event["mode"] == "sfu" and event["success"]
            )
            first = await ada.wait("active-speaker", holds=lambda e: e["participantId"], within_s=PATIENCE_S)
            await ada.wait(
                "active-speaker",
                holds=lambda e, first=first: e["participantId"] not in (None, first["participantId"]),
                within_s=PATIENCE_S,
            )
            await ada.leave()
            deadline = time.monotonic() + PATIENCE_S
            while (live := await ada.live_call()) is not None:
                assert live["callId"] == call["callId"]
                assert time.monotonic() < deadline, "bots keep a call alive"
                await asyncio.sleep(0.05)
        await ada.close()
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        assert not (tmp_path / ".meeshy/run/bots.pid").exists()


async def test_a_crash_of_the_bots_costs_nothing_else(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with serving(tmp_path) as (_, url):
        ada = Visitor(http, url, "ada", conversations=[Conversation("demo", "GROUP")])
        await ada.connect()
        call = await ada.initiate("demo")
        await ada.wait("call:participant-joined", within_s=PATIENCE_S)
        before = {name: pid(tmp_path, name) for name in ("media", "gateway", "bots")}
        os.kill(before["bots"], signal.SIGKILL)
        # the same users come back, by a new process
        await ada.wait(
            "call:participant-left", holds=lambda e: e["reason"] == "rejoined", within_s=PATIENCE_S
        )
        assert pid(tmp_path, "bots") != before["bots"]
        assert {name: pid(tmp_path, name) for name in ("media", "gateway")} == {
            name: before[name] for name in ("media", "gateway")
        }
        live = await ada.live_call()
        assert live is not None
        assert live["callId"] == call["callId"]
        await ada.close()


def test_bots_are_for_development_mode() -> None:
    with pytest.raises(ConfigError, match="bots"):
        load_settings(flags={"bots": 1, "jwt_secret": SECRET})
