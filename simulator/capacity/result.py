"""What a search found, as capacity.json: the number that holds, its edge, what broke first, and whose limit it was.

Pure: from the summaries of the runs to sentences. Layout is page.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, Field

from simulator.analysis.raw_run import RunContext
from simulator.capacity.search import Bracket, Ended, Outcome, SearchLimits, bracket
from simulator.figure_types import number_at
from simulator.report.figures import number
from simulator.slo import Slo
from simulator.summary import SloResult, Summary, Verdict, figure_at, figure_paths

LATENCY = ("latency_ms.video.p95", "latency_ms.audio.p95")
"""The figure that is named beside the number: the first of these that was measured."""
FULL = 0.9
"""Share of this machine's CPU time from which server and load generator together have filled it."""

Limit = Literal["server", "load generator", "machine", "shared cores"]
"""Whose limit ended a run: the server's; the load generator's; that of a machine others use; that of cores which server and
generator share and have filled."""


class Bounds(BaseModel):
    """An interval; None is no bound on that side."""

    low: float | None
    high: float | None


class RunOfNumber(BaseModel):
    """One run of the search."""

    number: int
    outcome: Outcome | Literal["interrupted"]
    folder: str
    """Its run directory inside that of the search."""
    reasons: list[str]
    limit: Limit | None = None
    """Whose limit it was that the run did not pass; None for one that passed or broke off."""
    not_served: str | None = None
    """Which participant was late, or refused for want of room, so that the run broke off; it counts as failed."""
    broken: list[SloResult] = []
    figures: dict[str, float]
    """Each number that was measured, by its path in summary.json."""
    intervals: dict[str, Bounds] = {}
    """Of the figures that have one, by the same paths."""


class FigureAtNumber(BaseModel):
    """A figure at the number that holds: the middle one of its runs, and the interval that covers those of all of them."""

    path: str
    value: float
    low: float | None
    high: float | None


class FirstBroken(BaseModel):
    """The objectives that broke at the smallest number that failed."""

    number: int
    objectives: list[SloResult]
    not_served: str | None = None
    """Why not all participants could take part, if that is what broke."""
    limit: Limit | None


class Edge(BaseModel):
    """Where the edge lies: the largest number that always passed, and the smallest that always failed."""

    low: int | None
    high: int | None


class CapacitySummary(BaseModel):
    """The result of a search; written as capacity.json."""

    summary_schema: Literal["meeshy.capacity/1"] = Field(default="meeshy.capacity/1", alias="schema")
    verdict: Verdict
    """pass: a number holds; fail: not even the smallest does; void: not decided; error: a run broke off."""
    ended: Ended | Literal["interrupted"]
    scenario: str
    vary: str
    counted: str
    """What the numbers count, in words."""
    start: int
    stop: int
    repeats: int
    holds: int | None
    """The largest number that passed in all repeats, with no failure at or below it."""
    interval: Edge
    first_failed: int | None
    undecided: int | None
    figure: FigureAtNumber | None
    first_broken: FirstBroken | None
    statement: list[str]
    runs: list[RunOfNumber]

    def to_json(self) -> str:
        """Return the content of capacity.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def is_overload(context: RunContext) -> bool:
    """Return whether a run broke off as it does on a server that has too much to do, and whose services all live."""
    return context.overloaded and not context.server_ended and not context.interrupted


def limit_of(summary: Summary) -> Limit | None:
    """Return whose limit it was that a run did not pass."""
    if summary.verdict == "void":
        return "machine" if summary.generator.valid else "load generator"
    if summary.verdict != "fail":
        return None
    server, generator = summary.server.cpu_core_percent, summary.generator.cpu_core_percent
    here = summary.host is not None and summary.host.server_wait_ms is not None
    if here and server and generator and summary.machine is not None:
        return "shared cores" if server + generator >= FULL * 100 * summary.machine.cores else "server"
    return "server"


def numbers_of(summary: Summary) -> dict[str, float]:
    """Return each number of a summary that was measured, by its path."""
    values = summary.model_dump(mode="json", by_alias=True)
    found: dict[str, float] = {}
    for path in sorted(figure_paths()):
        value = number_at(values, path)
        if value is not None and figure_at(path):
            found[path] = float(value)
    return found


def conclude(
    limits: SearchLimits,
    ended: Ended | Literal["interrupted"],
    runs: Sequence[RunOfNumber],
    *,
    scenario: str,
    vary: str,
    counted: str,
) -> CapacitySummary:
    """Say what a search found."""
    found = bracket(limits, [(run.number, run.outcome) for run in runs if run.outcome != "interrupted"])
    figure = None if found.held is None else _figure_at(found.held, runs)
    broken = _first_broken(found, runs)
    return CapacitySummary(
        verdict=_verdict(ended),
        ended=ended,
        scenario=scenario,
        vary=vary,
        counted=counted,
        start=limits.start,
        stop=limits.stop,
        repeats=limits.repeats,
        holds=found.held,
        interval=Edge(low=found.held, high=found.always_failed),
        first_failed=found.failed,
        undecided=found.undecided,
        figure=figure,
        first_broken=broken,
        statement=_statement(limits, ended, found, figure, broken=broken, counted=counted, runs=runs),
        runs=list(runs),
    )


def _verdict(ended: Ended | Literal["interrupted"]) -> Verdict:
    match ended:
        case "found" | "at_least":
            return "pass"
        case "none_held":
            return "fail"
        case "undecided" | "budget":
            return "void"
        case _:
            return "error"


def _figure_at(held: int, runs: Sequence[RunOfNumber]) -> FigureAtNumber | None:
    mine = [run for run in runs if run.number == held and run.outcome == "pass"]
    for path in LATENCY:
        if values := [run.figures[path] for run in mine if path in run.figures]:
            bounds = [run.intervals.get(path) for run in mine]
            lows = [b.low for b in bounds if b is not None and b.low is not None]
            highs = [b.high for b in bounds if b is not None and b.high is not None]
            whole = len(lows) == len(highs) == len(values)
            return FigureAtNumber(
                path=path,
                value=median(values),
                low=min(lows) if whole else None,
                high=max(highs) if whole else None,
            )
    return None


def _first_broken(found: Bracket, runs: Sequence[RunOfNumber]) -> FirstBroken | None:
    run = next((r for r in runs if r.outcome == "fail" and r.number == found.failed), None)
    if run is None:
        return None
    return FirstBroken(number=run.number, objectives=run.broken, not_served=run.not_served, limit=run.limit)


def _statement(
    limits: SearchLimits,
    ended: Ended | Literal["interrupted"],
    found: Bracket,
    figure: FigureAtNumber | None,
    *,
    broken: FirstBroken | None,
    counted: str,
    runs: Sequence[RunOfNumber],
) -> list[str]:
    lines = [_first_line(limits, ended, found, figure, broken=broken, counted=counted)]
    if ended == "found":
        lines.append(_edge(found, counted))
    if broken is not None and broken.limit is not None:
        lines.append(_whose(broken.limit, runs))
    if broken is not None and broken.not_served is not None:
        lines.append(f"with {broken.number} the run broke off, so whose limit it was is not known")
    if found.undecided is not None:
        lines.append(_void(found.undecided, runs))
    if ended == "error" and runs:
        lines.append(f"the run with {runs[-1].number} broke off: {'; '.join(runs[-1].reasons)}")
    if ended in ("budget", "interrupted"):
        why = "the budget of runs or time is used up" if ended == "budget" else "interrupted"
        lines.append(f"the search is not over: {why}; {_known(found)}")
    return lines


def _first_line(
    limits: SearchLimits,
    ended: Ended | Literal["interrupted"],
    found: Bracket,
    figure: FigureAtNumber | None,
    *,
    broken: FirstBroken | None,
    counted: str,
) -> str:
    first = f"; first broken: {_objectives(broken)}" if broken is not None else ""
    if ended == "none_held":
        passes, fails = found.counts[limits.start]
        return f"does not even hold {limits.start} {counted}: {fails} of {passes + fails} runs failed{first}"
    if found.held is None:
        return f"no number of {counted} passed in all {limits.repeats} repeats{first}"
    least = "at least " if ended == "at_least" else ""
    return f"holds {least}{found.held} {counted}{_at(figure)}{first}"


def _at(figure: FigureAtNumber | None) -> str:
    if figure is None:
        return ""
    declared = figure_at(figure.path)
    label = declared.label if declared else figure.path
    bounds = "" if figure.low is None else f" (95 %: {number(figure.low)}–{number(figure.high)})"
    return f" at {label} p95 {number(figure.value, 'ms')}{bounds}"


def _objectives(broken: FirstBroken) -> str:
    def one(result: SloResult) -> str:
        value = "not measured" if result.value is None else number(result.value)
        return f"{_with_limit(result)}, was {value}"

    if broken.not_served is not None:
        return f"not all could take part: {broken.not_served} (with {broken.number})"
    named = [one(result) for result in broken.objectives] or ["none is named"]
    return f"{'; '.join(named)} (with {broken.number})"


def _with_limit(result: SloResult) -> str:
    """Return an objective; its limit too, where it is another figure."""
    other = isinstance(Slo.parse(result.expression).limit, str) and result.limit is not None
    return f"{result.expression} ({number(result.limit)})" if other else result.expression


def _edge(found: Bracket, counted: str) -> str:
    low = "none" if found.held is None else str(found.held)
    high = "none" if found.always_failed is None else str(found.always_failed)
    text = f"edge: the largest number of {counted} that always passed is {low}, the smallest that always failed {high}"
    mixed = [f"{n} in {f} of {p + f}" for n, (p, f) in found.counts.items() if p and f]
    return f"{text}; failed sometimes: {', '.join(mixed)} runs" if mixed else text


def _whose(limit: Limit, runs: Sequence[RunOfNumber]) -> str:
    run = next(r for r in runs if r.outcome == "fail" and r.limit == limit)
    server, generator = (run.figures.get(f"{who}.cpu_core_percent", 0.0) for who in ("server", "generator"))
    cpu = f"server {server:.0f} %, load generator {generator:.0f} % of a core with {run.number}"
    if limit == "shared cores":
        return f"limit: the cores that server and load generator share were full ({cpu}); alone the server may hold more"
    return f"limit: the server's; the load generator kept up ({cpu})"


def _void(undecided: int, runs: Sequence[RunOfNumber]) -> str:
    run = next(r for r in reversed(runs) if r.number == undecided and r.outcome == "void")
    who = "the load generator was" if run.limit == "load generator" else "the machine, which others use, was"
    return f"not decided from {undecided} on: {who} too weak, which says nothing of the server: {'; '.join(run.reasons[:2])}"


def _known(found: Bracket) -> str:
    low = f"{found.passed} passed" if found.passed is not None else "nothing passed"
    if found.passed is not None and found.held != found.passed:
        low += f" in {found.counts[found.passed][0]} runs, not yet in all repeats"
    high = f"{found.failed} failed" if found.failed is not None else "nothing failed"
    return f"known so far: {low}, {high}"
