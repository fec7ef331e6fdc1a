"""The bots of `meeshy serve --bots` as a browser sees and hears them: directly, and through the media server."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from simulator.client.call_records import user_name
from simulator.client.gateway import user_token
from simulator.runs.demo_bots import DemoBots, Place
from simulator.stack.full import GatewayStack

from . import browser
from .browser import PageServer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow(reason="starts a browser"),
    pytest.mark.timeout(120),
]
PATIENCE_S = 60.0
PAGE = 100
"""The number of the page's user, of no bot."""


@pytest.fixture(autouse=True)
def _needs_a_browser() -> None:
    reason = browser.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def is_seen_and_heard(path: dict[str, Any] | None, bots: int) -> bool:
    """Whether the video of all bots is decoded, and each has talked."""
    inbound = [] if path is None else path["inbound"]
    video = [s for s in inbound if s["kind"] == "video" and s["framesDecoded"] >= 20]
    audio = [s for s in inbound if s["kind"] == "audio" and s["totalAudioEnergy"] > 0]
    return len(video) == len(audio) == bots


@pytest.mark.parametrize(("bots", "mode"), [(1, "p2p"), (3, "sfu")])
async def test_a_page_alone_sees_and_hears_the_bots(tmp_path: Path, bots: int, mode: str) -> None:
    await browser.build_page()
    async with AsyncExitStack() as things:
        pages = await things.enter_async_context(PageServer().running())
        stack = GatewayStack(tmp_path, prewarm=False, more={"MEESHY_CORS_ORIGINS": pages.origin})
        await things.enter_async_context(stack)
        await stack.start()
        place = Place(stack.gateway.url, stack.secret, "c", bind="127.0.0.1", cache=tmp_path / "cache")
        ready = asyncio.Event()
        running = asyncio.create_task(DemoBots(place, bots).run(on_ready=ready.set))
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        name = user_name(PAGE)
        participants = [{"name": name, "token": user_token(stack.secret, name, "c")}]
        await things.enter_async_context(
            browser.callers(
                pages.origin, tmp_path / "chromium", gateway=stack.gateway.url, participants=participants
            )
        )
        await pages.wait(name, lambda report: report.get("connected", False), within_s=PATIENCE_S)
        pages.orders[name] = {"what": "initiate"}
        await pages.wait(
            name,
            lambda report: report["mode"] == mode and is_seen_and_heard(report.get(mode), bots),
            within_s=PATIENCE_S,
        )
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
