"""The frame of every run: its directory, what is collected, the watchdog, and the judgement at the end.

What happens inside is up to runs/group.py (one call on the media server) and runs/environment.py (calls of the gateway).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from simulator.analysis.raw_run import RunContext
from simulator.bots.clip import ensure_clip
from simulator.bots.native import build_profile
from simulator.client.participant import first_error
from simulator.report.live import Watcher
from simulator.report.write import write_report
from simulator.samples.recorder import Recorder, RunDirectory, utc_now
from simulator.scenario import Scenario, to_toml
from simulator.stack.media_server import ServerFigures
from simulator.stack.watchdog import Watchdog
from simulator.summary import Machine, Summary

TICK_S = 1.0
"""How often counters are collected while measuring."""


class Run(ABC):
    """One run of a scenario. :meth:`execute` does it all, once."""

    def __init__(
        self, scenario: Scenario, *, state: Path, out: Path | None = None, watcher: Watcher | None = None
    ) -> None:
        self._scenario = scenario
        self._state = state
        self._out = out
        self._watcher = watcher or Watcher()
        self._context = RunContext(started_ns=time.time_ns(), dropped_calls=0, machine=machine())

    async def execute(self) -> tuple[Path, Summary]:
        """Run and judge; gives the run directory and the summary.

        A run that breaks off is judged too, as an error; only one that is interrupted leaves nothing.

        Raises:
            UsageError: The run directory cannot be written.
            SimulatorError: There was nothing to judge: no server, no clip.
        """
        clip = await asyncio.to_thread(ensure_clip, self._state / "cache")
        name = f"{self._scenario.name}-{self._scenario.participants.count}"
        directory = (
            RunDirectory(self._out)
            if self._out
            else RunDirectory.in_folder(self._state / "runs", name, utc_now())
        )
        with directory, Watchdog() as watchdog:
            watchdog.watch_directory(directory.partial)
            recorder = Recorder(directory.partial)
            try:
                with spared_collector():
                    await self._run(recorder, directory.partial, str(clip), watchdog)
            except BaseExceptionGroup as errors:
                raise first_error(errors) from errors
            finally:
                recorder.write_text("scenario.toml", to_toml(self._scenario.to_values()))
                recorder.write_text("run.json", self._context.model_dump_json(indent=2) + "\n")
                recorder.close()
            self._watcher.phase("judging")
            summary = await asyncio.to_thread(write_report, directory.partial)
            return directory.complete(), summary

    @abstractmethod
    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        """Do what the scenario says, and collect what is seen."""


@contextlib.contextmanager
def spared_collector() -> Iterator[None]:
    """Keep the garbage collector off what was there before a run, and rarer on the rest, while it goes on.

    One look at all that is loaded holds up everybody's signalling for 100 ms, and a storm of joins asks for several.
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


def note_server(recorder: Recorder, tick: int, figures: ServerFigures | None) -> None:
    """Write down what the server says of itself, if it does."""
    if figures is None:
        return
    totals = (figures.cpu_ns, figures.rss_bytes, figures.packets_in, figures.packets_out)
    recorder.add("server", [(tick, figures.unix_ns, *totals)])
    recorder.add("server_threads", [(tick, figures.unix_ns, *thread) for thread in figures.workers])


def machine() -> Machine:
    """Say where this runs."""
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
