"""Pages that reload, are closed, sleep or lose their network, and servers that die under them."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from tests.web.people import DARK, Person, WebCall, until

pytestmark = [
    pytest.mark.slow(reason="real calls in a browser that have to end, sleep or come back"),
    pytest.mark.timeout(180),
]


async def moving(person: Person, other: Person, within_s: float) -> float:
    """Wait until one sees another move; return after how many seconds."""
    began = time.monotonic()
    await person.begin()
    tile = f"{other.name}/camera"

    async def frames() -> bool:
        return len((await person.seen()).raw["frames"].get(tile, ())) >= 3

    await until(frames, within_s, f"{person.name} sees {other.name} move")
    return time.monotonic() - began


@pytest.mark.parametrize("names", [("Ada", "Bob"), ("Ada", "Bob", "Eve")], ids=["direct", "group"])
async def test_a_reload_in_the_call_comes_back_as_the_same_person(
    here: WebCall, names: tuple[str, ...]
) -> None:
    people = await here.together(*names)
    ada, bob = people[:2]
    await ada.page.reload()
    await ada.page.locator("main.call, [data-action=join]").first.wait_for()
    if await ada.page.locator("[data-action=join]").count():
        await ada.enter()
    await ada.sees(*(name for name in names if name != "Ada"))
    await bob.sees(*(name for name in names if name != "Bob"))
    assert await bob.page.locator("[data-source=camera]").count() == len(names), (
        "the reloaded page left a tile"
    )


async def test_a_closed_tab_leaves_at_once(here: WebCall) -> None:
    ada, bob, eve = await here.together("Ada", "Bob", "Eve")
    await eve.page.close(run_before_unload=False)
    await asyncio.gather(ada.reaches("p2p"), bob.reaches("p2p"))
    await asyncio.gather(ada.sees("Bob"), bob.sees("Ada"))


@pytest.mark.parametrize("names", [("Ada", "Bob"), ("Ada", "Bob", "Eve")], ids=["direct", "group"])
async def test_a_network_cut_of_five_seconds_is_survived(here: WebCall, names: tuple[str, ...]) -> None:
    people = await here.together(*names)
    ada, bob = people[:2]
    await ada.page.context.set_offline(True)
    await asyncio.sleep(5)
    await ada.page.context.set_offline(False)
    await moving(ada, bob, 10)
    await moving(bob, ada, 10)

    async def no_notice() -> bool:
        return await ada.page.locator("[data-notice=reconnecting]").count() == 0

    await until(no_notice, 15, "Ada's page is connected again")
    assert await ada.mode() == ("p2p" if len(names) == 2 else "sfu")


async def test_a_killed_media_server_is_survived_without_a_reload(here: WebCall) -> None:
    ada, bob, eve = await here.together("Ada", "Bob", "Eve")
    await here.stack.media.kill()
    await asyncio.sleep(0.3)
    for one, other in ((ada, bob), (bob, eve), (eve, ada)):
        await moving(one, other, 20)
    await asyncio.gather(*(one.reaches("sfu", 20) for one in (ada, bob, eve)))


async def test_tiles_hold_the_last_picture_from_the_death_of_the_media_server_to_the_next(
    here: WebCall,
) -> None:
    people = await here.together("Ada", "Bob", "Eve")
    await asyncio.gather(*(one.begin(hold=True) for one in people))
    await asyncio.sleep(0.5)
    await here.stack.media.kill()
    await asyncio.sleep(0.3)

    async def new_frames() -> bool:
        """Return whether every tile has shown frames after a gap that only the death makes."""
        raws = [(one, (await one.seen()).raw["frames"]) for one in people]
        tiles = [raws_of.get(f"{o.name}/camera", ()) for one, raws_of in raws for o in people if o is not one]
        return all(
            any(after[0] - before[0] > 300 for before, after in itertools.pairwise(tile[:-3]))
            for tile in tiles
        )

    await until(new_frames, 30, "all see each other move again")
    for one in people:
        seen = await one.seen()
        for other in people:
            if other is not one:
                tile = f"{other.name}/camera"
                assert seen.darkest_held(tile) > DARK, f"{one.name} did not keep {other.name}'s last picture"
                assert len(seen.elements(tile)) == 1, "the element that shows a person was replaced"


@pytest.mark.parametrize("names", [("Ada", "Bob"), ("Ada", "Bob", "Eve")], ids=["direct", "group"])
async def test_media_goes_on_while_the_gateway_is_away(here: WebCall, names: tuple[str, ...]) -> None:
    people = await here.together(*names)
    ada, bob = people[:2]
    await asyncio.gather(ada.begin(), bob.begin())
    await here.stack.gateway.kill()
    await asyncio.sleep(3)
    assert (await ada.seen()).longest_gap_ms("Bob/camera") < 500
    assert (await bob.seen()).longest_gap_ms("Ada/camera") < 500
    await here.stack.gateway.start()

    async def connected() -> bool:
        return await ada.page.locator("[data-notice=reconnecting]").count() == 0

    await until(connected, 20, "Ada's page is connected again")
    await ada.press("microphone")
    await bob.page.locator(".tile-muted").first.wait_for(timeout=5000)


async def test_a_page_that_slept_for_forty_seconds_comes_back(here: WebCall) -> None:
    ada, bob, eve = await here.together("Ada", "Bob", "Eve")
    session = await eve.page.context.new_cdp_session(eve.page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    await asyncio.sleep(40)
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await eve.sees("Ada", "Bob", within_s=20)
    await moving(eve, ada, 10)
    await moving(ada, eve, 10)
    await moving(bob, eve, 10)
