"""People in a browser: each a page of Debian's Chromium on the link that a person would open, driven by Playwright.

They use the page as people do, by what it shows; what they see and hear is measured by measure.js beside the page's code.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from simulator.stack.full import GatewayStack

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "meeshy_sfu" / "web" / "index.html"
MEASURE = (Path(__file__).parent / "measure.js").read_text(encoding="utf-8")
CONVERSATION = "demo"
DARK = 16
"""Mean brightness of a picture that is black; Chromium's fake camera is far brighter."""
TONES = (440, 620, 880, 1240, 1760)
"""One voice each, in Hz; none is a multiple of another."""
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--auto-select-desktop-capture-source=Entire screen",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
)


def missing() -> str | None:
    """Return what tests of the pages lack here and how to get it; None if they can run."""
    if not shutil.which("chromium"):
        return "chromium is missing: sudo apt-get install -y chromium"
    if not BUILT.is_file():
        return "the page is not built: make web"
    return None


def skip_or_fail() -> None:
    """Skip where something is missing; in CI that is a failure."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


async def until(holds: Callable[[], Awaitable[object]], within_s: float, what: str) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: It did not in time; says what.
    """
    deadline = time.monotonic() + within_s
    while not await holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one person saw and heard since the measurement began."""

    raw: Mapping[str, Any]

    @property
    def tiles(self) -> set[str]:
        """Return the tiles that showed a frame, as ``name/source``."""
        return set(self.raw["frames"])

    def longest_gap_ms(self, tile: str) -> float:
        """Return the longest time without a new frame, the ends of the measurement included."""
        times = [
            self.raw["since"],
            *(at for at, _, _ in self.raw["frames"].get(tile, ())),
            self.raw["now"],
        ]
        return max(after - before for before, after in itertools.pairwise(times))

    def darkest(self, tile: str) -> float:
        """Return the mean brightness (0 to 255) of the darkest frame."""
        return min(brightness for _, brightness, _ in self.raw["frames"][tile])

    def darkest_held(self, tile: str) -> float:
        """Return the mean brightness (0 to 255) of the darkest picture a tile held, 0 if it hid its video."""
        return min(brightness for _, brightness in self.raw["held"][tile])

    def elements(self, tile: str) -> set[int]:
        """Return the numbers of the video elements that showed it."""
        return {element for _, _, element in self.raw["frames"][tile]}

    def loudness(self, tone: int) -> list[float]:
        """Return the amplitude of a voice at the loudspeaker, every 50 ms."""
        return [float(loud.get(str(tone), 0.0)) for _, loud in self.raw["heard"]]

    @property
    def longest_task_ms(self) -> float:
        """Return how long the page was busy with one thing at most."""
        return max((duration for _, duration in self.raw["tasks"]), default=0.0)


@dataclass(slots=True)
class Person:
    """One page and who is in front of it."""

    name: str
    tone: int
    page: Page
    complaints: list[str] = field(default_factory=list)

    async def open(self, link: str) -> None:
        """Open the link and wait for the page before the call."""
        await self.page.goto(link)
        await self.page.locator("[data-action=join]").wait_for()

    async def enter(self) -> None:
        """Enter the name and join."""
        await self.page.get_by_label("Your name").fill(self.name)
        await self.page.locator("[data-action=join]").click()
        await self.page.locator("main.call").wait_for(timeout=15_000)

    async def join(self, link: str) -> Person:
        """Open the link and join the call."""
        await self.open(link)
        await self.enter()
        return self

    async def mode(self) -> str:
        """Return which path the page says the call has: p2p, sfu or an empty text."""
        call = self.page.locator("main.call")
        return (await call.get_attribute("data-mode", timeout=2000) or "") if await call.count() else ""

    async def reaches(self, mode: str, within_s: float = 10) -> None:
        """Wait until the call is on this path and no switch runs."""

        async def there() -> bool:
            switching = await self.page.locator("main.call").get_attribute("data-switching")
            return await self.mode() == mode and switching == "false"

        await until(there, within_s, f"{self.name}'s page on {mode}, it says {await self.mode()!r}")

    async def sees(self, *names: str, within_s: float = 10) -> None:
        """Wait until the cameras of these people play, and those of no one else but one's own."""

        async def playing() -> set[str]:
            found = await self.page.locator(
                "[data-source=camera][data-playing=true] .tile-name"
            ).all_inner_texts()
            return {name for name in found if not name.endswith("(you)")}

        async def all_there() -> bool:
            return await playing() == set(names)

        await until(all_there, within_s, f"{self.name} sees {sorted(names)}, but {sorted(await playing())}")

    async def press(self, control: str) -> None:
        """Press a button of the call's bar: microphone, camera, screen, layout, stats, leave."""
        await self.page.locator(f".controls [data-control={control}]").click()

    async def begin(self, *, hold: bool = False) -> None:
        """Measure from now on; with `hold` also what tiles hold while no frame comes."""
        await self.page.evaluate("hold => window.__measured.begin(hold)", hold)

    async def seen(self) -> Seen:
        """Return what was measured since."""
        return Seen(await self.page.evaluate("window.__measured.read()"))


class WebCall:
    """A stack of our own and the people in front of it."""

    def __init__(self, stack: GatewayStack, browser: Browser, directory: Path) -> None:
        self.stack = stack
        self.people: list[Person] = []
        self._browser = browser
        self._directory = directory

    @property
    def link(self) -> str:
        """Return a link that anyone may open."""
        now = int(time.time())
        claims = {
            "aud": "meeshy-invite",
            "conversation": {"id": CONVERSATION, "type": "GROUP"},
            "iat": now,
            "exp": now + 3600,
        }
        return f"{self.stack.gateway.url}/#invite={jwt.encode(claims, self.stack.secret, algorithm='HS256')}"

    async def person(self, name: str, *, tones: Sequence[int] = TONES, **context: Any) -> Person:
        """Add a person with a browser profile and a voice of their own; the page is not open yet."""
        tone = TONES[len(self.people) % len(TONES)]
        profile: BrowserContext = await self._browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **context}
        )
        await profile.add_init_script(
            f"window.__tone = {tone}; window.__tones = {json.dumps(list(tones))};\n{MEASURE}"
        )
        page = await profile.new_page()
        person = Person(name, tone, page)
        page.on("pageerror", lambda error: person.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: person.complaints.append(line.text) if line.type == "error" else None,
        )
        self.people.append(person)
        return person

    async def join(self, name: str, **context: Any) -> Person:
        """Add a person who joins the call."""
        return await (await self.person(name, **context)).join(self.link)

    async def together(self, *names: str) -> list[Person]:
        """Add people who join one call, and wait until they see each other by the path that fits their number."""
        people = [await self.join(name) for name in names]
        mode = "p2p" if len(people) == 2 else "sfu"
        for one in people:
            await one.reaches(mode)
            await one.sees(*(name for name in names if name != one.name))
        return people

    async def forwarded(self) -> float:
        """Return how many RTP packets the media server has forwarded so far."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.stack.media.url}/metrics") as answer,
        ):
            text = await answer.text()
        lines = [line for line in text.splitlines() if line.startswith("meeshy_worker_forwarded_total{")]
        assert lines, f"no count of forwarded packets in /metrics: {text[:300]}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def keep_traces(self) -> None:
        """Keep what each page shows and receives, for the one who reads a failed test."""
        for person in self.people:
            if not person.page.is_closed():
                await person.page.screenshot(path=self._directory / f"{person.name}.png")
                seen = await person.seen()
                (self._directory / f"{person.name}.json").write_text(
                    json.dumps(
                        {
                            "complaints": person.complaints,
                            "inbound": seen.raw["inbound"],
                            "tiles": {t: len(f) for t, f in seen.raw["frames"].items()},
                        },
                        indent=1,
                    )
                )


@asynccontextmanager
async def web_call(directory: Path, more: Mapping[str, str] | None = None) -> AsyncIterator[WebCall]:
    """Start a stack and a browser; end both."""
    async with GatewayStack(directory, more=more) as stack, async_playwright() as playwright:
        await stack.start()
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_FLAGS)
        )
        here = WebCall(stack, browser, directory)
        try:
            yield here
        finally:
            # also of tests that pass: a fixture is not told how its test ended
            await here.keep_traces()
            await browser.close()
