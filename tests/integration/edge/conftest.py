"""Both services, each with its own routes behind the same edge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.integration.gateway.conftest import (
    StartGateway,
    StartMedia,
    caller,
    gateway,
    http,
    media,
    patience,
    start_gateway,
    start_media,
)

__all__ = ["caller", "gateway", "http", "media", "patience", "start_gateway", "start_media"]

StartService = Callable[..., Awaitable[str]]


@pytest.fixture(params=["media server", "gateway"])
def start_service(
    request: pytest.FixtureRequest, start_media: StartMedia, start_gateway: StartGateway
) -> StartService:
    """Start one of the two services with settings of the test's choice; gives its URL."""

    async def start(**flags: object) -> str:
        begin = start_media if request.param == "media server" else start_gateway
        return (await begin(**flags)).url

    return start


@pytest.fixture
async def url(start_service: StartService) -> str:
    """Where one of the two services is reached."""
    return await start_service()
