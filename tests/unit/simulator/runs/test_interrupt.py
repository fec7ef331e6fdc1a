"""A run that is ended early: what was measured is kept and judged as an error; cancelled, nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from simulator.report.verdict import judge
from simulator.runs.base import Run, pattern_of
from simulator.samples.recorder import Recorder
from simulator.scenario import Scenario
from simulator.stack.watchdog import Watchdog


class Endless(Run):
    """Measures until it is ended."""

    def __init__(self, directory: Path) -> None:
        scenario = Scenario.load("group")
        super().__init__(pattern_of(scenario), scenario, state=directory, out=directory / "run")
        self.begun = asyncio.Event()
        self.ended_in_order = False

    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        self._context.window_start_ns = time.time_ns() - 1_000_000_000
        recorder.event("measuring")
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self._context.window_end_ns = time.time_ns()
            self.ended_in_order = True


async def test_an_interrupted_run_is_judged_as_an_error(tmp_path: Path) -> None:
    run = Endless(tmp_path)
    going = asyncio.create_task(run.execute())
    await run.begun.wait()
    run.interrupt("SIGINT")
    run.interrupt("SIGTERM")
    directory, summary = await going
    assert run.ended_in_order
    assert summary.verdict == "error"
    assert summary.reasons == ["the run was interrupted by SIGINT"]
    assert summary.duration_s == pytest.approx(1, abs=0.9)
    for name in ("summary.json", "report.html", "report.md", "scenario.toml", "events.jsonl"):
        assert (directory / name).is_file(), name


async def test_a_run_that_is_interrupted_before_it_began_is_judged_too(tmp_path: Path) -> None:
    run = Endless(tmp_path)
    run.interrupt("SIGTERM")
    _, summary = await run.execute()
    assert summary.verdict == "error"
    assert summary.reasons == ["the run was interrupted by SIGTERM"]


async def test_a_cancelled_run_leaves_nothing(tmp_path: Path) -> None:
    run = Endless(tmp_path)
    going = asyncio.create_task(run.execute())
    await run.begun.wait()
    run.interrupt("SIGINT")
    going.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await going
    assert not (tmp_path / "run").exists()
    assert list(tmp_path.glob(".run*")) == []


async def test_an_interrupted_run_is_an_error_even_if_the_generator_was_weak(tmp_path: Path) -> None:
    run = Endless(tmp_path)
    run.interrupt("SIGINT")
    await run.execute()
    verdict, _ = judge(run._context, measured=True, gaps=[], weak=["late"], broken=[])
    assert verdict == "error"
