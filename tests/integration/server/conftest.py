"""A media server in this process, on free ports, with the real core; and peers that talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meeshy_sfu.config import load_settings
from meeshy_sfu.server.app import MediaServer
from tests.integration.server.peers import SECRET, Peer

StartServer = Callable[..., Awaitable[MediaServer]]
MakePeer = Callable[..., Peer]


@pytest.fixture
async def start_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Start servers with settings of the test's choice; closed afterwards."""
    async with AsyncExitStack() as stack:

        async def start(**flags: Any) -> MediaServer:
            defaults: dict[str, Any] = {
                "port": 0,
                "rtc_min_port": 0,
                "workers": 1,
                "jwt_secret": SECRET,
                "state_dir": tmp_path / "state",
            }
            server = await MediaServer.start(load_settings(flags=defaults | flags))
            return await stack.enter_async_context(server)

        yield start


@pytest.fixture
async def server(start_server: StartServer) -> MediaServer:
    """A server with the default limits."""
    return await start_server()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
async def peer(server: MediaServer, http: aiohttp.ClientSession) -> AsyncIterator[MakePeer]:
    """Make peers of the default server; their sockets are closed afterwards."""
    made: list[Peer] = []

    def make(name: str = "alice", call_id: str = "call-1", **options: Any) -> Peer:
        url = options.pop("url", server.url)
        made.append(Peer(http, url, call_id, name, **options))
        return made[-1]

    yield make
    for known in made:
        await known.close()
