"""Runs a search: each step an ordinary run with a directory of its own, until the edge is known.

Which number is next says search.py; what was found, result.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from simulator.analysis.raw_run import RawRun, read_context
from simulator.analysis.uncertainty import intervals
from simulator.capacity.page import write_report
from simulator.capacity.result import (
    Bounds,
    CapacitySummary,
    RunOfNumber,
    conclude,
    is_overload,
    limit_of,
    numbers_of,
)
from simulator.capacity.search import Ended, Outcome, SearchLimits, bracket, next_number
from simulator.capacity.subject import Subject
from simulator.errors import SimulatorError
from simulator.report.live import Watcher
from simulator.runs.base import Run
from simulator.samples.recorder import RunDirectory
from simulator.scenario import Scenario
from simulator.stack.watchdog import Watchdog
from simulator.summary import Summary


class CapacitySearch:
    """One search. :meth:`execute` runs it, once."""

    def __init__(
        self,
        subject: Subject,
        limits: SearchLimits,
        make_run: Callable[[Scenario, Path], Run],
        *,
        state: Path,
        out: Path | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._subject = subject
        self._limits = limits
        self._make_run = make_run
        self._state = state
        self._out = out
        self._watcher = watcher or Watcher()
        self._tries: list[tuple[int, Outcome]] = []
        self._runs: list[RunOfNumber] = []

    async def execute(self) -> tuple[Path, CapacitySummary]:
        """Search; returns the directory and what was found. After a run that was interrupted none follows.

        Raises:
            UsageError: The directory cannot be written.
            SimulatorError: There was nothing to judge in the first run: no server, no clip.
        """
        directory = RunDirectory.chosen(self._out, self._state, f"capacity-{self._subject.vary}")
        with directory, Watchdog() as watchdog:
            watchdog.watch_directory(directory.partial)
            ended = await self._search(directory.partial)
            summary = conclude(
                self._limits,
                ended,
                self._runs,
                scenario=self._subject.scenario.name,
                vary=self._subject.vary,
                counted=self._subject.words,
            )
            await asyncio.to_thread(write_report, directory.partial, summary)
            return directory.complete(), summary

    async def _search(self, directory: Path) -> Ended | Literal["interrupted"]:
        began_s = time.monotonic()
        while True:
            wanted = next_number(self._limits, self._tries, time.monotonic() - began_s)
            if not isinstance(wanted, int):
                return wanted
            self._watcher.begin(self._title(wanted))
            folder = f"{len(self._runs) + 1:02}-{wanted}"
            run = self._make_run(self._subject.at(wanted), directory / folder)
            try:
                _, summary = await run.execute()
            except SimulatorError as error:
                if not self._runs:
                    raise
                self._note(_without_run(wanted, error))
                continue
            was_cut = run.interrupted is not None and summary.verdict == "error"
            self._note(await asyncio.to_thread(_result, wanted, directory / folder, summary, was_cut))
            if run.interrupted is not None:
                return "interrupted"

    def _note(self, run: RunOfNumber) -> None:
        self._runs.append(run)
        if run.outcome != "interrupted":
            self._tries.append((run.number, run.outcome))
        self._watcher.begin(f"  {run.number}: {run.outcome}" + "".join(f"; {why}" for why in run.reasons[:1]))

    def _title(self, wanted: int) -> str:
        found = bracket(self._limits, self._tries)
        known = [f"{found.passed} passed"] if found.passed is not None else []
        known += [f"{found.failed} failed"] if found.failed is not None else []
        text = f" ({', '.join(known)})" if known else ""
        return f"run {len(self._runs) + 1}: {wanted} {self._subject.words}{text}"


def _without_run(number: int, error: SimulatorError) -> RunOfNumber:
    """Say why there was no run with this number: the server is full, which is an answer, or something else broke."""
    reason, full = str(error), error.is_overload
    return RunOfNumber(
        number=number,
        outcome="fail" if full else "error",
        folder="",
        reasons=[reason],
        not_served=reason if full else None,
        figures={},
    )


def _result(number: int, directory: Path, summary: Summary, was_cut: bool) -> RunOfNumber:
    """Collect what a run says of its number.

    A run that broke off because participants were late, or refused for want of room, says that the server does not hold so
    many; any other that broke off says nothing.
    """
    measured = summary.verdict in ("pass", "fail")
    bounds = intervals(RawRun.read(directory)) if measured else {}
    late = summary.verdict == "error" and not was_cut and is_overload(read_context(directory / "run.json"))
    return RunOfNumber(
        number=number,
        outcome="interrupted" if was_cut else "fail" if late else summary.verdict,
        folder=directory.name,
        reasons=summary.reasons,
        limit=limit_of(summary),
        not_served=summary.reasons[0] if late and summary.reasons else None,
        broken=[] if late else [result for result in summary.slo if result.passed is False],
        figures=numbers_of(summary),
        intervals={path: Bounds(low=one.low, high=one.high) for path, one in bounds.items()},
    )
