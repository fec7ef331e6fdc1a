"""examples/web_page runs as its README says, in Debian's Chromium."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp import web

from simulator.client.gateway import user_token
from simulator.stack.full import GatewayStack
from tests.interop import browser

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "web_page" / "page.html"
LIBRARY = ROOT / "meeshy_sfu" / "web" / "client" / "meeshy-client.js"
DRIVER = """<script type="module">
  addEventListener("load", () => setTimeout(() => document.getElementById("enter").click(), 500));
  setInterval(() => {
    const moving = [...document.querySelectorAll("video")].filter((one) => one.currentTime > 1 && one.videoWidth > 0);
    const names = [...document.querySelectorAll("figcaption")].map((one) => one.textContent);
    const status = document.getElementById("status").textContent;
    fetch("/report", { method: "POST", body: JSON.stringify({ participantId: parent === window ? "?" : window.name,
      errors: [], status, names, moving: moving.length }) });
  }, 300);
</script>"""
FRAMES = """<!doctype html><script>
  for (const [name, link] of Object.entries(JSON.parse(decodeURIComponent(location.hash.slice(1))))) {
    const frame = document.createElement("iframe");
    Object.assign(frame, { name, allow: "camera; microphone; autoplay", width: 400, height: 400, src: link });
    document.body.append(frame);
  }
</script>"""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow(reason="two users of the example in a browser"),
    pytest.mark.timeout(120),
]


class ExamplePages(browser.PageServer):
    """Serves the repository's example as `python -m http.server` would, with a user who clicks."""

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self._frames)
        app.router.add_get("/examples/web_page/page.html", self._example)
        app.router.add_get("/meeshy_sfu/web/client/meeshy-client.js", self._library)

    async def _frames(self, _: web.Request) -> web.Response:
        return web.Response(text=FRAMES.replace("<script>", "<body><script>"), content_type="text/html")

    async def _example(self, _: web.Request) -> web.Response:
        page = EXAMPLE.read_text(encoding="utf-8").replace("</body>", DRIVER + "</body>")
        return web.Response(text=page, content_type="text/html")

    async def _library(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(LIBRARY)


async def test_two_users_of_the_example_see_each_other(tmp_path: Path) -> None:
    reason = browser.missing() or (None if LIBRARY.is_file() else "the web client is not built: make web")
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    pages = ExamplePages()
    async with pages.running(), GatewayStack(tmp_path, more={"MEESHY_CORS_ORIGINS": pages.origin}) as stack:
        await stack.start()
        links = {}
        for name in ("ada", "bob"):
            given = {
                "gateway": stack.gateway.url,
                "conversation": "demo",
                "token": user_token(stack.secret, name, "demo"),
            }
            links[name] = f"/examples/web_page/page.html#{urlencode(given)}"
        async with browser.open_page(f"{pages.origin}/#{browser.quoted(links)}", tmp_path / "chromium"):
            deadline = time.monotonic() + 60
            while True:
                reports = [pages.reports.get(name, {}) for name in ("ada", "bob")]
                if all(
                    report.get("moving") == 2 and len(report["names"]) == 2 and "in-call" in report["status"]
                    for report in reports
                ):
                    break
                assert time.monotonic() < deadline, reports
                await asyncio.sleep(0.2)


def test_its_readme_names_the_page_and_the_library() -> None:
    readme = (EXAMPLE.parent / "README.md").read_text(encoding="utf-8")
    assert "page.html" in readme
    assert "make web" in readme
    assert "/meeshy_sfu/web/client/meeshy-client.js" in EXAMPLE.read_text(encoding="utf-8")
