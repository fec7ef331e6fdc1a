"""A participant loses its network during a mode change: the media of the others and the call continue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from simulator.analysis.raw_run import RawRun
from simulator.analysis.transitions import shown
from simulator.errors import BotError
from simulator.runs.environment import CallEnvironment
from simulator.scenario import Scenario
from simulator.stack.full import SWITCH_DEADLINE_S
from simulator.summary import Summary
from tests.integration.simulate.steps import Steps

pytestmark = [
    pytest.mark.slow(reason="waits until a participant who is cut off is given up"),
    pytest.mark.timeout(120),
]

CUT_S = 3.0
UNDISTURBED_S = 1.0
"""A quiet machine shows gaps below a tenth of this."""
PATIENCE_S = 20.0


async def cut_off_while_switching(environment: CallEnvironment) -> None:
    """Let a third participant join while one of the pair is cut off for three seconds."""
    bots = environment.bots
    first, second = environment.caller(bots[0], "c"), environment.caller(bots[1], "c")
    call_id = await first.initiate("c")
    await second.join(call_id)
    await first.until_receiving([2], PATIENCE_S)
    await second.until_receiving([1], PATIENCE_S)
    third = environment.caller(bots[2], "c")
    joining = asyncio.create_task(third.join(call_id))
    await first.until("a change of mode", lambda: bool(first.record.transitions), PATIENCE_S)
    await bots[1].impair(lost=True)
    await joining
    # The two that are not cut off receive each other meanwhile.
    await third.until_receiving([1], CUT_S)
    await asyncio.sleep(CUT_S)
    await bots[1].impair(lost=False)
    # The change ends or is rolled back by its deadline, and is tried again: all reach the SFU.
    for caller in (first, second, third):
        await caller.until_in("sfu", PATIENCE_S)
    for caller in (first, second, third):
        await caller.until_receiving({1, 2, 3} - {caller.bot.number}, PATIENCE_S)


def perform(tmp_path: Path, steps: Callable[[CallEnvironment], Awaitable[None]]) -> Summary:
    scenario = Scenario.load("switch").with_values({"switching": {"prewarm": False}})
    run = Steps(steps).make_run(scenario, state=tmp_path, out=tmp_path / "run")
    return asyncio.run(run.execute())[1]


def test_a_participant_cut_off_during_a_mode_change_comes_back(tmp_path: Path) -> None:
    summary = perform(tmp_path, cut_off_while_switching)
    assert summary.verdict != "error", summary.reasons
    assert summary.dropped_calls == 0
    assert summary.foreign_frames == 0
    raw = RawRun.read(tmp_path / "run")
    # The two that are not cut off have no gap, from the moment they receive each other.
    for receiver, sender in ((1, 3), (3, 1)):
        for kind in (0, 1):
            assert longest_gap_s(raw, receiver, sender, kind) < UNDISTURBED_S, (receiver, sender, kind)
    # The third was really cut off, and is back: it is received by the others and receives them until the end.
    for receiver, sender in ((1, 2), (2, 1)):
        assert CUT_S - 0.5 < longest_gap_s(raw, receiver, sender, 0) < CUT_S + SWITCH_DEADLINE_S
    # Each mode change was over by its deadline, and the last one went through.
    notified = raw.tables["transitions"]
    notified = notified[
        notified["told_ns"] <= raw.context.window_end_ns
    ]  # at the end participants leave one by one
    lasted_s = (notified["completed_ns"] - notified["decided_ns"]) / 1e9
    assert lasted_s.max() < SWITCH_DEADLINE_S + 1, lasted_s.tolist()
    last = notified[notified["epoch"] == notified["epoch"].max()]
    assert set(last["new"]) == {"sfu"}
    assert last["success"].all()
    assert summary.leftovers is not None
    assert summary.leftovers.findings == []


def longest_gap_s(raw: RawRun, receiver: int, sender: int, kind: int) -> float:
    """Return the longest time between two shown frames while all three were there."""
    times, _ = shown(raw)[receiver, sender, kind]
    end_ns = raw.context.window_end_ns
    assert end_ns is not None
    inside = times[times <= end_ns]
    return float(np.diff([*inside.tolist(), end_ns]).max()) / 1e9


def test_a_wait_for_media_that_times_out_names_what_is_missing(tmp_path: Path) -> None:
    async def wait_alone(environment: CallEnvironment) -> None:
        caller = environment.caller(environment.bots[0], "c")
        await caller.initiate("c")
        with pytest.raises(
            BotError,
            match=r"participant 1 did not receive audio of 2, video of 2 within 0\.5 s \(mode p2p, epoch 0, no path is up\)",
        ):
            await caller.until_receiving([2], 0.5)

    summary = perform(tmp_path, wait_alone)
    assert summary.verdict != "error", summary.reasons
