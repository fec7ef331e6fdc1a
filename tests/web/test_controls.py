"""What the buttons of a call do, as the others see it."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.web.people import Person, WebCall, until

pytestmark = [pytest.mark.slow(reason="real calls in a browser"), pytest.mark.timeout(180)]


NAMES = ("Ada", "Bob", "Eve")


async def shown(person: Person, selector: str, *, within_s: float = 5, absent: bool = False) -> float:
    """Wait until a page shows something, or no longer; return how many milliseconds it took."""
    began = time.monotonic()

    async def holds() -> bool:
        return (await person.page.locator(selector).count() > 0) != absent

    await until(
        holds, within_s, f"{person.name}'s page {'no longer shows' if absent else 'shows'} {selector}"
    )
    return (time.monotonic() - began) * 1000


def tile_of(other: Person, source: str = "camera") -> str:
    """Return the selector of someone's tile."""
    label = other.name if source == "camera" else f"Screen of {other.name}"
    return f'[data-source={source}]:has(.tile-name:text-is("{label}"))'


@pytest.mark.parametrize("people", [2, 3])
async def test_muting_is_seen_within_half_a_second_and_nothing_is_heard(here: WebCall, people: int) -> None:
    ada, bob, *_ = await here.together(*NAMES[:people])
    await asyncio.sleep(1)
    await bob.begin()
    await asyncio.sleep(1)
    assert max((await bob.seen()).loudness(ada.tone)) > 0.001
    await ada.press("microphone")
    took = await shown(bob, f"{tile_of(ada)} .tile-muted")
    assert took < 500

    async def nothing_heard() -> bool:
        await bob.begin()
        await asyncio.sleep(1)
        return max((await bob.seen()).loudness(ada.tone)) < 0.001

    # what lies in the jitter buffer is still played
    await until(nothing_heard, 4, f"{bob.name} no longer hears {ada.name}, who is muted")
    await ada.press("microphone")
    assert await shown(bob, f"{tile_of(ada)} .tile-muted", absent=True) < 500
    await asyncio.sleep(0.5)
    await bob.begin()
    await asyncio.sleep(1)
    assert max((await bob.seen()).loudness(ada.tone)) > 0.001


@pytest.mark.parametrize("people", [2, 3])
async def test_the_camera_goes_off_and_comes_back(here: WebCall, people: int) -> None:
    names = NAMES[:people]
    ada, bob, *_ = await here.together(*names)
    others = [name for name in names if name != "Bob"]
    await ada.press("camera")
    await bob.sees(*(name for name in others if name != "Ada"))
    await ada.press("camera")
    await bob.sees(*others)


@pytest.mark.parametrize("people", [2, 3])
async def test_a_screen_is_shared_beside_the_camera(here: WebCall, people: int) -> None:
    ada, bob, *_ = await here.together(*NAMES[:people])
    await ada.press("screen")
    await shown(bob, f"{tile_of(ada, 'screen')}[data-playing=true]", within_s=10)
    await shown(bob, f"{tile_of(ada)}[data-playing=true]")
    await ada.press("screen")
    await shown(bob, tile_of(ada, "screen"), absent=True)
    await shown(bob, f"{tile_of(ada)}[data-playing=true]")


async def test_who_leaves_is_gone_and_sees_how_long_it_was(here: WebCall) -> None:
    ada, bob = await here.together("Ada", "Bob")
    await bob.press("leave")
    await bob.page.get_by_role("heading", name="You have left the call").wait_for()
    await shown(ada, tile_of(bob), absent=True)
    assert await bob.page.evaluate("window.__measured.connections().every(([one]) => one === 'closed')")
