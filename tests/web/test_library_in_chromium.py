"""The built client library in Debian's Chromium: three participants on real servers, and what a user sees meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from simulator.client.gateway import user_token
from simulator.stack.full import GatewayStack
from tests.interop import browser

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).parent / "page"
CLIENT = ROOT / "meeshy_sfu" / "web" / "client"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow(reason="three participants in a browser, and two changes of path"),
    pytest.mark.timeout(150),
]

MAX_VIDEO_GAP_MS = 300
MAX_QUIET_MS = 100
LOUDEST = 1.5
"""Times the usual level: the same tone twice would be up to 2."""


@pytest.fixture(autouse=True)
def _needs_browser_and_library() -> None:
    reason = browser.missing()
    if not (CLIENT / "meeshy-client.js").is_file():
        reason = "the web client is not built: make web"
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class LibraryPages(browser.PageServer):
    """Serves the participants' pages and the built library."""

    def add_routes(self, app: web.Application) -> None:
        for path, file in {
            "/": PAGE / "pages.html",
            "/participant": PAGE / "participant.html",
            "/participant.js": PAGE / "participant.js",
            "/client/meeshy-client.js": CLIENT / "meeshy-client.js",
        }.items():
            app.router.add_get(path, self._sender(file))

    @staticmethod
    def _sender(file: Path) -> Callable[[web.Request], Any]:
        async def send(_: web.Request) -> web.FileResponse:
            return web.FileResponse(file)

        return send


class Place:
    """Servers of our own and pages of three users who share a conversation."""

    def __init__(self, stack: GatewayStack, pages: LibraryPages) -> None:
        self.stack, self.pages = stack, pages

    async def order(self, who: str, what: str) -> None:
        self.pages.orders[who] = what
        deadline = time.monotonic() + 20
        while who in self.pages.orders:
            assert time.monotonic() < deadline, f"the page of {who} does not ask for orders"
            await asyncio.sleep(0.05)

    async def wait(
        self, who: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 30
    ) -> dict[str, Any]:
        return await self.pages.wait(who, holds, within_s=within_s)

    async def measure(self, *names: str) -> None:
        """Begin to measure anew on these pages."""
        before = {name: self.pages.reports[name].get("measured", 0) for name in names}
        for name in names:
            await self.order(name, "measure")
        for name in names:
            await self.wait(name, lambda report, n=name: report.get("measured", 0) > before[n])


@asynccontextmanager
async def place(directory: Path, *names: str) -> AsyncIterator[Place]:
    pages = LibraryPages()
    async with pages.running():
        stack = GatewayStack(directory, more={"MEESHY_CORS_ORIGINS": pages.origin})
        async with stack:
            await stack.start()
            tokens = {name: user_token(stack.secret, name, "demo") for name in names}
            config = quote(json.dumps({"gateway": stack.gateway.url, "tokens": tokens}))
            async with browser.open_page(f"{pages.origin}/#{config}", directory / "chromium"):
                yield Place(stack, pages)


def sees(report: dict[str, Any], *others: str, mode: str) -> bool:
    """Whether the page is in this mode, with pictures and sound of all the others."""
    tiles = {tile["of"]: tile for tile in report["tiles"].values() if not tile["gone"]}
    arriving = [one for one in report.get("participants", []) if not one["self"]]
    return (
        report.get("mode") == mode
        and report.get("transition") is None
        and all(name in tiles and tiles[name]["frames"] > 10 for name in others)
        and all(report["sound"].get(name, {}).get("readings", 0) > 100 for name in others)
        and len(arriving) == len(others)
        and all(one["connection"] == "connected" for one in arriving)
    )


def flow(report: dict[str, Any]) -> set[str]:
    """The modes in which tracks of the page carry something."""
    return {track["mode"] for track in report["stats"]["tracks"] if track["bitrateBps"]}


def judge(report: dict[str, Any], other: str) -> None:
    """No gap, no black picture, no doubled sound of `other` since measuring began."""
    who = report["participantId"]
    (tile,) = (tile for tile in report["tiles"].values() if tile["of"] == other and not tile["gone"])
    sound = report["sound"][other]
    print(who, "of", other, tile, sound, report["switched"][-1:])
    assert tile["checks"] > 20, f"{who}: the picture of {other} was not looked at: {tile}"
    assert tile["black"] == 0, f"{who}: black pictures of {other}: {tile}"
    assert tile["longestMs"] <= MAX_VIDEO_GAP_MS, f"{who}: gap in the video of {other}: {tile}"
    assert sound["usual"] > 0.05, f"{who} does not hear {other}: {sound}"
    assert sound["longestQuietMs"] <= MAX_QUIET_MS, f"{who}: gap in the audio of {other}: {sound}"
    assert sound["max"] <= LOUDEST, f"{who}: the audio of {other} is doubled: {sound}"


async def test_two_talk_directly_a_third_joins_and_leaves_and_nothing_flickers(tmp_path: Path) -> None:
    async with place(tmp_path, "ada", "bob", "eve") as here:
        for name in ("ada", "bob", "eve"):
            await here.wait(name, lambda report: report["stage"] == "new")
        await here.order("ada", "enter")
        await here.wait("ada", lambda report: report["stage"] == "in-call")
        await here.order("bob", "enter")
        for name, other in (("ada", "bob"), ("bob", "ada")):
            report = await here.wait(name, lambda report, o=other: sees(report, o, mode="p2p"))
            assert flow(report) == {"p2p"}, report["stats"]

        await here.measure("ada", "bob")
        await here.order("eve", "enter")
        for name in ("ada", "bob", "eve"):
            others = {"ada", "bob", "eve"} - {name}
            report = await here.wait(name, lambda report, o=others: sees(report, *o, mode="sfu"))
        await asyncio.sleep(1)  # what comes late would be seen by then
        for name, other in (("ada", "bob"), ("bob", "ada")):
            report = await here.wait(name, lambda report: flow(report) == {"sfu"})
            judge(report, other)

        await here.measure("ada", "bob")
        await here.order("eve", "leave")
        for name, other in (("ada", "bob"), ("bob", "ada")):
            await here.wait(name, lambda report, o=other: sees(report, o, mode="p2p"))
        await asyncio.sleep(1)
        for name, other in (("ada", "bob"), ("bob", "ada")):
            report = await here.wait(name, lambda report: flow(report) == {"p2p"})
            judge(report, other)


@pytest.mark.parametrize("sharer", ["ada", "bob"])
async def test_a_screen_that_is_shared_between_two_arrives(tmp_path: Path, sharer: str) -> None:
    """Whoever made the first offer: the other side's section for the screen needs an offer of its own."""
    watcher = "bob" if sharer == "ada" else "ada"
    async with place(tmp_path, "ada", "bob") as here:
        for name in ("ada", "bob"):
            await here.wait(name, lambda report: report["stage"] == "new")
            await here.order(name, "enter")
            await here.wait(name, lambda report: report["stage"] == "in-call")
        await here.wait(watcher, lambda report: sees(report, sharer, mode="p2p"))
        for again in range(2):
            seen = max(tile["screenFrames"] for tile in here.pages.reports[watcher]["tiles"].values())
            await here.order(sharer, "share")
            await here.wait(
                watcher,
                lambda report, seen=seen: any(
                    tile["screenFrames"] > seen + 10 for tile in report["tiles"].values()
                ),
                within_s=15,
            )
            await here.wait(
                watcher, lambda report: any(one["screenEnabled"] for one in report["participants"])
            )
            if not again:
                await here.order(sharer, "unshare")
                await here.wait(
                    watcher, lambda report: not any(one["screenEnabled"] for one in report["participants"])
                )


async def test_a_call_outlives_the_death_of_the_gateway_and_of_the_media_server(tmp_path: Path) -> None:
    names = ("ada", "bob", "eve")
    async with place(tmp_path, *names) as here:
        for name in names:
            await here.wait(name, lambda report: report["stage"] == "new")
            await here.order(name, "enter")
            await here.wait(name, lambda report: report["stage"] == "in-call")

        async def all_see(*, newer: dict[str, int], within_s: float) -> dict[str, int]:
            """Wait until every page decodes more pictures of both others than before; return how many."""
            frames = {}
            for name in names:
                others = {*names} - {name}

                def moves(report: dict[str, Any], others: set[str] = others, name: str = name) -> bool:
                    tiles = [tile for tile in report["tiles"].values() if not tile["gone"]]
                    return sees(report, *others, mode="sfu") and all(
                        tile["frames"] > newer.get(f"{name} {tile['of']}", 0) + 20 for tile in tiles
                    )

                report = await here.wait(name, moves, within_s)
                for tile in report["tiles"].values():
                    frames[f"{name} {tile['of']}"] = tile["frames"]
            return frames

        frames = await all_see(newer={}, within_s=40)
        await here.measure(*names)
        await here.stack.gateway.kill()
        await here.wait("ada", lambda report: report["stage"] == "reconnecting", 10)
        for name in names:
            await here.wait(name, lambda report: report["stage"] == "in-call", 30)
        frames = await all_see(newer=frames, within_s=20)
        judge(here.pages.reports["ada"], "bob")  # media does not depend on the gateway

        await here.stack.media.kill()
        began = time.monotonic()
        frames = await all_see(newer=frames, within_s=40)
        print(f"back {time.monotonic() - began:.1f} s after the media server was killed")
