"""The end of `meeshy serve` while callers are connected: in order, soon, and without an error in the log."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from pathlib import Path

import aiohttp
import pytest
import socketio

from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import FREE
from tests.integration.gateway.test_switch import meet
from tests.integration.server.processes import meeshy

ALARMING = re.compile(
    r"traceback|error|exception|warning|critical|destroyed|never (awaited|retrieved)|failed|kill|refused",
    re.IGNORECASE,
)
VARIABLES = {f"MEESHY_{name.upper()}": str(value) for name, value in FREE.items()}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["p2p", "sfu"])
async def test_the_stack_ends_quietly_with_callers_connected(
    tmp_path: Path, http: aiohttp.ClientSession, number: signal.Signals, mode: str
) -> None:
    async with meeshy(tmp_path, "serve", **VARIABLES) as running:
        for service in ("call gateway", "media server"):
            await running.wait_for(f"Meeshy {service}", within_s=60)
        url = running.output.partition("Meeshy call gateway")[2].partition("Socket.IO")[2].split()[0]
        callers = [await Caller(http, url, name).connect() for name in ("ada", "bob", "eve")]
        await meet(callers if mode == "sfu" else callers[:2])
        poller = socketio.AsyncClient(reconnection=False)
        await poller.connect(url, auth={"token": callers[0].token}, transports=["polling"])
        silent = await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket")
        asking = asyncio.create_task(ask_on(callers[0], url))

        before, began_s = len(running.output), time.monotonic()
        running.signal(number)
        code = await running.ended(within_s=10)
        took_s = time.monotonic() - began_s
        told = running.output[before:]
        await asking
        await silent.close()
        await poller.disconnect()
        for peer in callers:
            await peer.close()
        assert code == 0, told
        assert took_s < 5, told
        assert not [line for line in told.splitlines() if ALARMING.search(line)]


async def ask_on(peer: Caller, url: str) -> None:
    """Requests one after the other, as long as there are answers."""
    with contextlib.suppress(aiohttp.ClientError):
        while True:
            await peer.request("GET", "/api/conversations/c1/calls")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_gateway_by_itself_ends_quietly_while_it_listens_to_a_media_server(
    tmp_path: Path, media: MediaServer, http: aiohttp.ClientSession, number: signal.Signals
) -> None:
    variables = VARIABLES | {"MEDIA_SERVER_URL": media.url}
    async with meeshy(tmp_path, "serve", "gateway", **variables) as running:
        await running.wait_for("connected", within_s=60)
        url = running.output.partition("Socket.IO")[2].split()[0]
        ada, bob, eve = [await Caller(http, url, name).connect() for name in ("ada", "bob", "eve")]
        await meet([ada, bob, eve])
        before = len(running.output)
        running.signal(number)
        code = await running.ended(within_s=5)
        told = running.output[before:]
        for peer in (ada, bob, eve):
            await peer.close()
        assert code == 0, told
        assert "stopped" in told
        assert not [line for line in told.splitlines() if ALARMING.search(line)]
        # media outlives the gateway
        assert len(media.rooms.rooms) == 1
