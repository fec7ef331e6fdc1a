"""What all runs and all patterns have in common: the run directory, the recorder, the watchdog and the verdict.

A pattern says what happens in a run. The pattern `group`, one call on the media server, is runs/group.py; patterns of the
call gateway share runs/call_run.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

from simulator.analysis.raw_run import RunContext
from simulator.bots.clip import CACHE, ensure_clip, picture
from simulator.bots.native import build_profile
from simulator.client.media_server import Credentials
from simulator.client.tokens import UserTokens
from simulator.errors import SimulatorError, StackError, first_error
from simulator.report.live import Watcher
from simulator.report.write import write_report
from simulator.runs.drain import UnderWay
from simulator.samples.recorder import Recorder, RunDirectory
from simulator.scenario import Scenario, Table, patterns, to_toml
from simulator.stack.machine_probe import MachineProbe
from simulator.stack.watchdog import Watchdog
from simulator.summary import Machine, Summary

TICK_S = 1.0
"""How often counters are collected while measuring."""

PROMISED = frozenset(
    {
        "corrupted_frames",
        "foreign_frames",
        "frames.due",
        "streams.expected",
        "streams.flowing",
        "timestamp_jumps",
        "unexpected_packets.total",
    }
)
"""Figures of every run, beside those of each kind of media."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server that runs already, and how to be admitted to it: a media server for `group`, else a gateway."""

    url: str
    credentials: Credentials
    tokens: UserTokens | None = None
    """What makes the tokens of a gateway's users instead of a secret."""


class Run(ABC):
    """One run of a scenario. :meth:`execute` starts, measures, ends and judges it, once."""

    def __init__(
        self,
        pattern: RunPattern,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        target: Target | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.interrupted: str | None = None
        """What ended the run early; None if nothing did."""
        self._target = target
        self._under_way = UnderWay()
        self._work: asyncio.Future[None] | None = None
        self._scenario = scenario
        self._state = state
        self._out = out
        self._watcher = watcher or Watcher()
        self._probe = MachineProbe()
        self._context = RunContext(
            description=pattern.describe(scenario),
            started_ns=time.time_ns(),
            dropped_calls=0,
            machine=machine(),
        )

    async def execute(self) -> tuple[Path, Summary]:
        """Run and judge; returns the run directory and the summary.

        A run that breaks off is judged too, as an error; so is one that :meth:`interrupt` ended. Cancelled, it leaves nothing.

        Raises:
            UsageError: The run directory cannot be written.
            SimulatorError: There is nothing to judge: no server, no clip.
        """
        media = self._scenario.media
        clip = await asyncio.to_thread(
            ensure_clip, self._state / CACHE, picture(media.resolution, media.frame_rate)
        )
        name = f"{self._scenario.name}-{self._scenario.participants.count}"
        directory = RunDirectory.chosen(self._out, self._state, name)
        with directory, Watchdog() as watchdog:
            watchdog.watch_directory(directory.partial)
            recorder = Recorder(directory.partial)
            try:
                with spared_collector():
                    await self._work_through(recorder, directory.partial, str(clip), watchdog)
            except BaseExceptionGroup as errors:
                raise first_error(errors) from errors
            finally:
                recorder.write_text("scenario.toml", to_toml(self._scenario.to_values()))
                recorder.write_text("run.json", self._context.model_dump_json(indent=2) + "\n")
                recorder.close()
            self._watcher.phase("judging")
            summary = await asyncio.to_thread(write_report, directory.partial)
            return directory.complete(), summary

    def interrupt(self, why: str) -> None:
        """End the run early: what was measured until now is judged, as an error. Only the first call counts."""
        if self.interrupted is None:
            self.interrupted = why
            if self._work is not None:
                self._work.cancel()

    async def _work_through(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        """Run to the end, or until interrupted."""
        self._work = asyncio.ensure_future(self._run(recorder, directory, clip, watchdog))
        try:
            if self.interrupted is not None:
                self._work.cancel()
            await self._work
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.interrupted is None or (task is not None and task.cancelling()):
                raise
        if self.interrupted is not None and self._work.cancelled():
            self._context.interrupted = True
            self._context.aborted.append(f"the run was interrupted by {self.interrupted}")
            recorder.event("interrupted", by=self.interrupted)

    def _broke_off(self, recorder: Recorder, error: SimulatorError, causes: Iterable[str] = ()) -> None:
        """Note why the run cannot go on; `causes` are what ended by itself, which may be why anything else failed."""
        reason = str(error)
        others = [cause for cause in causes if cause not in reason]
        self._context.server_ended = isinstance(error, StackError)
        self._context.overloaded = error.is_overload and not others
        self._context.aborted += [*others, reason]
        recorder.event("aborted", reason=reason)

    async def _note_machine(self, recorder: Recorder, tick: int, server: Iterable[int]) -> None:
        """Record what the machine gives; `server` are the processes of the server, as far as they run here."""
        tables = await asyncio.to_thread(self._probe.read, tick, time.time_ns(), list(server))
        for table, rows in tables.items():
            recorder.add(table, rows)

    @abstractmethod
    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        """Do what the scenario says, and record what is measured."""


class RunPattern(ABC):
    """What happens in a run. Each pattern is one module of simulator/runs with its object as `PATTERN`.

    Everything else finds a pattern by its name: scenario files, the command line, the report.
    """

    name: ClassVar[str]
    """As in the key `pattern` of a scenario file."""
    description: ClassVar[str]
    """One sentence, for the documentation."""
    target_is: ClassVar[Literal["gateway", "media server"]] = "gateway"
    """What a server that its runs can use instead of their own is."""
    options: type[Table] | None = None
    """Its own table of the scenario file, which has its name; None if the shared tables are enough."""

    uses: frozenset[str] = frozenset({"participants.count"})
    """Which tables and keys of a scenario file it uses, as `ramp` or `hold.duration_s`, beside those that every pattern does
    (`USED_BY_ALL`). A scenario, or an option of the command line, that sets another one is refused."""

    def participants(self, scenario: Scenario) -> int | None:
        """Return how many participants its own options make; None where `participants.count` says it."""
        return None

    def spread(self, scenario: Scenario, count: int, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what to change in a scenario so that it has so many participants.

        Args:
            scenario: As it is.
            count: How many are wanted.
            changes: What else changes in the pattern's own table.

        Raises:
            ScenarioError: It cannot have so many.
        """
        return {"participants": {"count": count}}

    def overridden(self, scenario: Scenario) -> Mapping[str, str]:
        """Return which keys have no effect beside others of this scenario, and because of which; those are refused."""
        return {}

    def left_out(self, scenario: Scenario) -> list[str]:
        """List what a run of this scenario cannot do or check on a server that is not its own."""
        return []

    def check(self, scenario: Scenario) -> None:  # noqa: B027
        """Refuse a scenario that this pattern can never run, with a ValueError that names the key."""

    def promises(self, scenario: Scenario) -> frozenset[str]:
        """Return the paths of the figures that its runs always measure, whatever the server does.

        A run that lacks one of them is an error: what was not measured must not pass.
        """
        kinds = scenario.media.kinds
        return PROMISED | {
            path for kind in kinds for path in (f"delivered_ratio.{kind}", f"pauses.{kind}.longest_ms")
        }

    @abstractmethod
    def describe(self, scenario: Scenario) -> str:
        """Describe in a sentence, with the numbers of this scenario, what a run does; for the report."""

    @abstractmethod
    def make_run(
        self,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        target: Target | None = None,
        watcher: Watcher | None = None,
    ) -> Run:
        """Prepare a run.

        Args:
            scenario: What to run.
            state: Directory of the media clip, and of runs without `out`.
            out: The run directory to make.
            target: The server to use; None starts what is needed for the run.
            watcher: What is notified of the progress.

        Raises:
            UsageError: The scenario does not fit this machine, its environment or the target.
        """


def pattern_of(scenario: Scenario) -> RunPattern:
    """Return the pattern of a scenario."""
    pattern = patterns()[scenario.pattern]
    if not isinstance(pattern, RunPattern):
        raise TypeError(f"the pattern {scenario.pattern!r} is no RunPattern")
    return pattern


@contextlib.contextmanager
def spared_collector() -> Iterator[None]:
    """Exempt what was loaded before a run from garbage collection, and collect the rest less often, until the run ends.

    One full collection stops the event loop, and with it all signalling, for 100 ms; a storm of joins triggers several.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def machine() -> Machine:
    """Describe the machine, and the versions that run on it."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=_cpu_name(),
        kernel=platform.release(),
        python=platform.python_version(),
        version=version("meeshy-sfu"),
        build_profile=build_profile(),
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
