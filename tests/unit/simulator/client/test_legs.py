"""Waiting for media: of all wanted senders, with leaves meanwhile, and at constant cost for each arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from simulator.client.legs import Arrivals, Track

ADA: Track = (1, "audio")
BOB: Track = (2, "audio")
CROWD: list[Track] = [(number, "audio") for number in range(100)]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_last_of_the_wanted_streams_ends_the_wait() -> None:
    arrivals = Arrivals()
    arrivals.entered(ADA, 10)
    waiting = asyncio.ensure_future(arrivals.wait_for(lambda: [ADA, BOB]))
    await settle()
    assert not waiting.done()
    arrivals.entered(BOB, 30)
    arrivals.entered(BOB, 40)
    assert await waiting == 30


async def test_a_participant_that_has_left_is_not_waited_for() -> None:
    arrivals, wanted = Arrivals(), [ADA, BOB]
    waiting = asyncio.ensure_future(arrivals.wait_for(lambda: list(wanted)))
    arrivals.entered(ADA, 10)
    await settle()
    wanted.remove(BOB)
    arrivals.look()
    assert await waiting == 10


async def test_a_leg_that_fails_names_what_is_missing() -> None:
    arrivals = Arrivals()
    waiting = asyncio.ensure_future(arrivals.wait_for(lambda: [ADA, BOB]))
    arrivals.entered(ADA, 10)
    await settle()
    arrivals.fail("DTLS failed")
    with pytest.raises(ConnectionError, match=r"DTLS failed; still missing \[\(2, 'audio'\)\]"):
        await waiting


async def test_a_wait_that_is_cancelled_cancels_no_other() -> None:
    arrivals = Arrivals()
    impatient, patient = (asyncio.ensure_future(arrivals.wait_for(lambda: [ADA])) for _ in range(2))
    await settle()
    impatient.cancel()
    await settle()
    arrivals.entered(ADA, 10)
    assert await patient == 10


@pytest.mark.parametrize("crowd", [CROWD, CROWD[::-1]], ids=["in order", "the other way round"])
async def test_an_arrival_costs_the_same_however_many_are_waited_for(crowd: list[Track]) -> None:
    looks = 0

    def wanted() -> Sequence[Track]:
        nonlocal looks
        looks += 1
        return crowd

    arrivals = Arrivals()
    waiting = asyncio.ensure_future(arrivals.wait_for(wanted))
    order = sorted(CROWD, key=lambda track: track[0] * 37 % 100)
    for at, track in enumerate(order):
        await settle()
        arrivals.entered(track, at)
    assert await waiting == 99
    assert looks < 20
