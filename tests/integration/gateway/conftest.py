"""A gateway and a media server in this process, on free ports, with the real core; and callers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meeshy_sfu.config import Settings, load_settings
from meeshy_sfu.db.repository import Patience
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SECRET, Caller

StartGateway = Callable[..., Awaitable[Gateway]]
StartMedia = Callable[..., Awaitable[MediaServer]]
MakeCaller = Callable[..., Awaitable[Caller]]
LIMITS = "calls page guests initiate join leave toggle quality signals events create transports connect consume other"
FREE = dict.fromkeys((f"rate_{name}" for name in LIMITS.split()), 0)


def settings_for(directory: Path, **flags: Any) -> Settings:
    """Settings for one of the services, without rate limits."""
    defaults: dict[str, Any] = {
        "port": 0,
        "gateway_port": 0,
        "rtc_min_port": 0,
        "workers": 1,
        "jwt_secret": SECRET,
        "state_dir": directory / "state",
        "prewarm": False,
    }
    return load_settings(flags=defaults | FREE | flags)


@pytest.fixture
async def start_media(tmp_path: Path) -> AsyncIterator[StartMedia]:
    """Start media servers; closed afterwards."""
    async with AsyncExitStack() as stack:

        async def start(**flags: Any) -> MediaServer:
            server = await MediaServer.start(settings_for(tmp_path, development=True, **flags))
            return await stack.enter_async_context(server)

        yield start


@pytest.fixture
async def media(start_media: StartMedia) -> MediaServer:
    """A media server."""
    return await start_media()


@pytest.fixture
def patience() -> Patience:
    """How long gateways wait for their database: a disk that others use as well may stall for longer than clients wait."""
    return Patience(read_s=6.0, create_s=6.0)


@pytest.fixture
async def start_gateway(
    tmp_path: Path, media: MediaServer, patience: Patience
) -> AsyncIterator[StartGateway]:
    """Start gateways with settings of the test's choice; closed afterwards."""
    async with AsyncExitStack() as stack:

        async def start(**flags: Any) -> Gateway:
            flags.setdefault("media_server_urls", [media.url])
            gateway = await Gateway.start(settings_for(tmp_path, **flags))
            gateway.repository.patience = patience
            return await stack.enter_async_context(gateway)

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway without rate limits and pre-warming."""
    return await start_gateway()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
async def caller(http: aiohttp.ClientSession) -> AsyncIterator[MakeCaller]:
    """Make callers that are connected to a gateway; their sockets are closed afterwards."""
    made: list[Caller] = []

    async def make(gateway: Gateway, name: str, *, connect: bool = True, **options: Any) -> Caller:
        made.append(Caller(http, gateway.url, name, **options))
        return await made[-1].connect() if connect else made[-1]

    yield make
    for known in made:
        await known.close()
