"""Somebody loses their network in the middle of a change of mode: the others go on, and the call does too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from simulator.call_runner import CallRun, Play, Theatre
from simulator.errors import BotError
from simulator.scenario import Scenario
from simulator.summary import Summary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CUT_S = 3.0
PATIENCE_S = 20.0


async def cut_off_while_switching(theatre: Theatre) -> None:
    """Let a third person join while one of the pair is cut off for three seconds."""
    ada, bob, cleo = theatre.people
    first, second = theatre.caller(ada, "c"), theatre.caller(bob, "c")
    call_id = await first.initiate("c")
    await second.join(call_id)
    await first.sees([2], PATIENCE_S)
    await second.sees([1], PATIENCE_S)
    third = theatre.caller(cleo, "c")
    joining = asyncio.create_task(third.join(call_id))
    await first.until("a change of mode", lambda: bool(first.record.transitions), PATIENCE_S)
    await bob.impair(lost=True)
    await joining
    # The two who are not cut off see each other meanwhile.
    await third.sees([1], CUT_S)
    await asyncio.sleep(CUT_S)
    await bob.impair(lost=False)
    # The change ends or is rolled back by its deadline, and is tried again: all get there.
    for caller in (first, second, third):
        await caller.until_in("sfu", PATIENCE_S)
    for caller in (first, second, third):
        await caller.sees({1, 2, 3} - {caller.person.number}, PATIENCE_S)


def perform(tmp_path: Path, play: Play) -> Summary:
    scenario = Scenario.load("switch").with_values({"switching": {"prewarm": False}})
    run = CallRun(scenario, state=tmp_path, out=tmp_path / "run", play=play)
    return asyncio.run(run.execute())[1]


def test_a_person_cut_off_while_the_call_moves_comes_back(tmp_path: Path) -> None:
    summary = perform(tmp_path, cut_off_while_switching)
    assert summary.verdict != "error", summary.reasons
    assert summary.dropped_calls == 0
    assert summary.foreign_frames == 0


def test_waiting_in_vain_says_for_whom(tmp_path: Path) -> None:
    async def lonely(theatre: Theatre) -> None:
        caller = theatre.caller(theatre.people[0], "c")
        await caller.initiate("c")
        with pytest.raises(BotError, match=r"person 1 does not see \[2\]"):
            await caller.sees([2], 0.5)

    summary = perform(tmp_path, lonely)
    assert summary.verdict != "error", summary.reasons
