"""The full figures of load tests: that a verdict is right both ways, and that emulated networks are as they were asked for.

Run by `make verify-load` on an otherwise quiet machine; prints a table, writes bench-results/verify-load.json and exits 1 when
a figure is missed. Uses the product's own commands, as its users do. A part by its name, and shorter:
`python scripts/verify_load.py quiet neighbours --tries 5 --seconds 6`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verified import MEESHY, RESULTS, ROOT, Row, at, conclude

COMPARED = (
    "latency_ms.audio.p50",
    "latency_ms.audio.p95",
    "latency_ms.video.p50",
    "latency_ms.video.p95",
    "join_ms.p95",
    "server.cpu_core_percent",
)
"""Figures that neighbours may not move by more than a tenth unless the run is void."""
EIGHT = ("--participants", "8", "--bots", "native")
_LONGEST_RUN_S = 120.0


@dataclass(slots=True)
class Series:
    """What the parts share: how much to run, and what was found."""

    tries: int
    seconds: float
    rows: list[Row] = field(default_factory=list)
    quiet: list[dict[str, Any]] = field(default_factory=list)
    """Summaries of the quiet runs that count."""

    def note(self, figure: str, wanted: str, seen: object, holds: bool) -> None:
        """Note a figure."""
        self.rows.append(Row(figure, wanted, str(seen), holds))

    def simulate(self, name: str, scenario: str, *options: str) -> dict[str, Any]:
        """One run on its own stack; returns its summary."""
        out = RESULTS / f"load-{name}-{time.time_ns()}"
        command: list[str | Path] = [MEESHY, "simulate", scenario, "--out", out, "--json"]
        command += ["--duration", f"{self.seconds:g}"]
        done = subprocess.run(
            [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
        summary = dict(json.loads(done.stdout))
        print(f"-- {name}: {summary['verdict']} {'; '.join(summary['reasons'][:2])}", flush=True)
        return summary


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep programs of equal priority busy; they end with the block, and by themselves after a while."""
    busy_s = f"{_LONGEST_RUN_S:g}"
    busy = [subprocess.Popen(["timeout", busy_s, "sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.terminate()
            process.wait()


def quiet(series: Series) -> None:
    """A healthy server with no neighbours passes each time."""
    runs = [series.simulate(f"quiet-{n}", "group", *EIGHT) for n in range(series.tries)]
    series.quiet = [run for run in runs if run["verdict"] == "pass"]
    passed = len(series.quiet)
    series.note("quiet: passes", f"{series.tries} of {series.tries}", passed, passed == series.tries)


def beside_neighbours(series: Series) -> None:
    """With a busy neighbour for each core a run is void, or its figures are those of a quiet one."""
    usual = {
        path: statistics.median(known)
        for path in COMPARED
        if (known := [value for run in series.quiet if (value := at(run, path)) is not None])
    }
    void = right = 0
    for number in range(series.tries):
        with neighbours(len(os.sched_getaffinity(0))):
            run = series.simulate(f"neighbours-{number}", "group", *EIGHT)
        void += run["verdict"] == "void"
        right += run["verdict"] == "void" or (bool(usual) and not moved(run, usual))
    series.note(
        "neighbours: void, or figures within 10 %",
        f"{series.tries} of {series.tries}",
        f"{right} ({void} void)",
        right == series.tries,
    )


def moved(run: dict[str, Any], usual: dict[str, float]) -> list[str]:
    """List the figures that are off by more than a tenth."""
    return [
        path
        for path, value in usual.items()
        if (seen := at(run, path)) is None or abs(seen - value) > value / 10
    ]


def jitter(series: Series) -> None:
    """Jitter is delivered as it was asked for, evenly, to native and to aiortc bots, either way."""
    for bots, participants in (("native", 12), ("aiortc", 3)):
        for way in ("up", "down"):
            scenario = RESULTS / f"jitter-{bots}-{way}.toml"
            scenario.write_text(
                f'name = "jitter"\n[participants]\ncount = {participants}\nbots = "{bots}"\n'
                f"[network.{way}]\njitter_ms = 50.0\n",
                encoding="utf-8",
            )
            run = series.simulate(f"jitter-{bots}-{way}", str(scenario))
            for name, wanted in (("p50", 25.0), ("p95", 47.5)):
                seen = at(run, f"latency_ms.video.{name}")
                holds = seen is not None and abs(seen - wanted) <= 2.5
                series.note(f"jitter of 50 ms {way}, {bots}: {name}, ms", f"{wanted:g} ± 2.5", seen, holds)


def selftest(series: Series) -> None:
    """Each fault in each size is named by the verdict, and its size shown."""
    out = RESULTS / f"load-selftest-{time.time_ns()}"
    subprocess.run([MEESHY, "simulate", "selftest", "--out", out], cwd=ROOT, check=False)
    found = json.loads((out / "selftest.json").read_text(encoding="utf-8"))
    for result in found["results"]:
        name, outcome = f"{result['fault']} {result['size']}".strip(), result["outcome"]
        series.note(f"selftest: {name}", "named", outcome, outcome == "named")


PARTS: dict[str, Callable[[Series], None]] = {
    "quiet": quiet,
    "neighbours": beside_neighbours,
    "jitter": jitter,
    "selftest": selftest,
}
"""What is verified, in order; neighbours are compared with the quiet runs before them."""


def main(arguments: Sequence[str]) -> int:
    """Run everything or the named parts, print the table, and return whether it holds as an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without one")
    parser.add_argument("--tries", type=int, default=20, help="runs of each series")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of each run")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; known: {', '.join(PARTS)}")
    RESULTS.mkdir(exist_ok=True)
    series = Series(given.tries, given.seconds)
    for name, part in PARTS.items():
        if not given.parts or name in given.parts:
            part(series)
    return conclude(series.rows, "verify-load.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
