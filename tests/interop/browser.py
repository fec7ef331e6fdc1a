"""Debian's Chromium, headless, on the interop page; reports come back by HTTP from the page itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = Path(__file__).parent / "page"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


def quoted(value: Any) -> str:
    """Write a value as a page reads it from behind the #."""
    return quote(json.dumps(value))


def missing() -> str | None:
    """Say what a browser test lacks here and how to get it; None if it can run."""
    if not shutil.which("chromium"):
        return "chromium is missing: sudo apt-get install -y chromium"
    if not (PAGE / "node_modules" / "mediasoup-client").is_dir():
        return "the interop page is not built: make setup-test"
    return None


class PageServer:
    """Serves the page and keeps the newest report of each participant."""

    def __init__(self) -> None:
        self.reports: dict[str, dict[str, Any]] = {}
        self.orders: dict[str, Any] = {}
        self.origin = ""

    async def _report(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.reports[body["participantId"]] = body
        return web.json_response({"order": self.orders.pop(body["participantId"], None)})

    async def _page(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / {"/call": "call.html"}.get(request.path, "index.html"))

    async def _script(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "dist" / request.path.removeprefix("/"))

    def add_routes(self, app: web.Application) -> None:
        """Add what the server serves beside the reports."""
        for path in ("/", "/call"):
            app.router.add_get(path, self._page)
        for path in ("/page.js", "/call.js"):
            app.router.add_get(path, self._script)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PageServer]:
        app = web.Application()
        app.router.add_post("/report", self._report)
        self.add_routes(app)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def wait(
        self, who: str, holds: Callable[[dict[str, Any]], bool], *, within_s: float
    ) -> dict[str, Any]:
        """The first report of `who` for which `holds`; errors of the page end the wait at once."""
        deadline = time.monotonic() + within_s
        while True:
            report = self.reports.get(who)
            if report is not None:
                assert not report["errors"], f"{who}: {report['errors']}"
                if holds(report):
                    return report
            assert time.monotonic() < deadline, (
                f"{who}: not within {within_s} s; last report: {json.dumps(report)[:3000]}"
            )
            await asyncio.sleep(0.1)


async def build_page() -> None:
    """Bundle the page with esbuild."""
    process = await asyncio.create_subprocess_exec(
        "npm",
        "run",
        "-s",
        "build",
        cwd=PAGE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@asynccontextmanager
async def participant(origin: str, profile: Path, **config: Any) -> AsyncIterator[None]:
    """One browser with one page for a room of the media server; killed with all its processes on exit."""
    async with open_page(f"{origin}/#{quote(json.dumps(config))}", profile):
        yield


@asynccontextmanager
async def callers(origin: str, profile: Path, **config: Any) -> AsyncIterator[None]:
    """One browser with participants for calls of the gateway; killed with all its processes on exit."""
    async with open_page(f"{origin}/call#{quote(json.dumps(config))}", profile):
        yield


@asynccontextmanager
async def open_page(url: str, profile: Path) -> AsyncIterator[None]:
    """One browser with this page; killed with all its processes on exit."""
    with (profile.parent / f"{profile.name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "chromium",
            *FLAGS,
            f"--user-data-dir={profile}",
            url,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
