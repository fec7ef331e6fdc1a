"""A third person joins and leaves again: what the others see and hear meanwhile, in Chromium on the built page.

`MEESHY_TEST_WEB_REPEATS` says how often; 3 in CI, 20 by `make verify-web`.
"""

from __future__ import annotations

import asyncio
import os
import statistics

import pytest

from tests.web.people import DARK, Person, Seen, WebCall

REPEATS = int(os.environ.get("MEESHY_TEST_WEB_REPEATS", "3"))
MAX_PAUSE_MS = 300
MAX_CONCEALED_MS = 100


async def quiet(here: WebCall) -> bool:
    """Return whether the media server forwards nothing."""
    before = await here.forwarded()
    await asyncio.sleep(1)
    return await here.forwarded() == before


def concealed_ms(before: Seen, during: Seen) -> float:
    """Return how much sound the decoders of streams that were there before had to invent meanwhile.

    A new stream begins with an empty buffer and is not heard until it flows: what is heard of it is judged by its loudness.
    """
    was = {one["ssrc"]: float(one["concealedMs"]) for one in before.raw["inbound"]}
    return sum(
        float(one["concealedMs"]) - was[one["ssrc"]] for one in during.raw["inbound"] if one["ssrc"] in was
    )


def judge(person: Person, before: Seen, during: Seen, other: Person) -> None:
    """Check that one person saw and heard another without a gap, a black frame or an echo."""
    tile = f"{other.name}/camera"
    assert during.longest_gap_ms(tile) < MAX_PAUSE_MS, f"{person.name} saw {other.name} stand still"
    assert during.darkest(tile) > DARK, f"{person.name} saw {other.name} black"
    assert len(during.elements(tile)) == 1, "the element that shows a person was replaced"
    usual = statistics.median(before.loudness(other.tone))
    assert usual > 0.001, f"{person.name} did not hear {other.name} at all"
    heard = during.loudness(other.tone)
    assert max(heard) < 1.5 * usual, f"{person.name} heard {other.name} twice at once"
    silent = longest_run([loud < 0.3 * usual for loud in heard]) * 50
    assert silent <= 2 * MAX_CONCEALED_MS, f"{person.name} did not hear {other.name} for {silent} ms"
    invented = concealed_ms(before, during)
    assert invented < MAX_CONCEALED_MS, f"{invented:.0f} ms of sound had to be concealed for {person.name}"


def longest_run(flags: list[bool]) -> int:
    """Return the length of the longest run of true values."""
    longest = length = 0
    for flag in flags:
        length = length + 1 if flag else 0
        longest = max(longest, length)
    return longest


async def measured(ada: Person, bob: Person) -> tuple[Seen, Seen]:
    """Return what both have seen since their measurement began."""
    return await ada.seen(), await bob.seen()


@pytest.mark.alone
@pytest.mark.timeout(180)
@pytest.mark.slow(reason="real calls in a browser, several times there and back")
@pytest.mark.parametrize("repeat", range(REPEATS))
async def test_nothing_flickers_when_a_third_joins_and_leaves(here: WebCall, repeat: int) -> None:
    ada, bob = await here.together("Ada", "Bob")
    assert await quiet(here), "media goes through the server in a call of two"
    eve = await here.person("Eve")
    await eve.open(here.link)
    await asyncio.sleep(1)
    for one in (ada, bob):
        await one.begin()
    await asyncio.sleep(2)
    steady = await measured(ada, bob)

    for one in (ada, bob):
        await one.begin()
    await eve.enter()
    await asyncio.gather(*(one.reaches("sfu") for one in (ada, bob, eve)))
    await asyncio.gather(ada.sees("Bob", "Eve"), bob.sees("Ada", "Eve"), eve.sees("Ada", "Bob"))
    await asyncio.sleep(1)
    assert not await quiet(here), "nothing goes through the server in a call of three"
    there = await measured(ada, bob)
    judge(ada, steady[0], there[0], bob)
    judge(bob, steady[1], there[1], ada)

    for one in (ada, bob):
        await one.begin()
    await eve.press("leave")
    await asyncio.gather(ada.reaches("p2p"), bob.reaches("p2p"))
    await asyncio.gather(ada.sees("Bob"), bob.sees("Ada"))
    await asyncio.sleep(1)
    back = await measured(ada, bob)
    judge(ada, there[0], back[0], bob)
    judge(bob, there[1], back[1], ada)
    assert await quiet(here), "media still goes through the server after the third left"
    assert not [one.complaints for one in here.people if one.complaints]
