"""Which figures differ between runs, by how much, and whether by more than their intervals. Pure.

Intervals cover what varies within a run. Two runs of one server can differ by more than that: another neighbour on the host.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from simulator.figure_types import Bounds, Percentiles, Share, number_at
from simulator.summary import Figure, Summary, Topic, figures

Change = Literal[
    "same",
    "within noise",
    "better",
    "worse",
    "moved",
    "no interval",
    "not measured before",
    "not measured now",
]
_FIELDS: dict[type, tuple[str, ...]] = {Percentiles: ("p50", "p95", "p99", "max"), Share: ("ratio",)}
_OF_THE_MACHINE = (Topic.GENERATOR, Topic.HOST)
"""Say nothing of the server, so they are neither better nor worse."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of the summary in two runs."""

    path: str
    label: str
    unit: str
    first: float | None
    second: float | None
    first_interval: Bounds | None
    second_interval: Bounds | None
    change: Change
    objective_broken: bool
    """Whether an objective on it held in the first run and is broken in the second."""

    @property
    def is_worse(self) -> bool:
        """Return whether it is worse by more than its intervals, breaks its objective, or is no longer there to be judged."""
        return self.change == "worse" or self.objective_broken


MOVED: frozenset[Change] = frozenset({"better", "worse", "moved"})
"""Changes by more than the intervals."""


@dataclass(frozen=True, slots=True)
class Move:
    """A number that changed by more than its intervals from one run to another; runs are counted from 0."""

    earlier: int
    later: int
    change: Change


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One number of the summary in several runs, in their order; None where a run did not measure it."""

    path: str
    figure: Figure
    values: tuple[float | None, ...]
    intervals: tuple[Bounds | None, ...]
    moves: tuple[Move, ...]
    """Between each two of the runs that differ by more than their intervals."""

    @property
    def label(self) -> str:
        """Return what it is called in reports: the figure, and which percentile of it."""
        part = self.path.removeprefix(self.figure.path).lstrip(".")
        return f"{self.figure.label} {part}" if part in _FIELDS[Percentiles] else self.figure.label

    @property
    def is_of_all(self) -> bool:
        """Return whether every run measured it."""
        return None not in self.values

    @property
    def differs(self) -> bool:
        """Return whether not all runs have the same value."""
        return len(set(self.values)) > 1

    def change(self, later: int, *, earlier: int = 0) -> Change | None:
        """Return how it moved from one run to another; None if by no more than the intervals."""
        found = (one.change for one in self.moves if (one.earlier, one.later) == (earlier, later))
        return next(found, None)


def side_by_side(runs: Sequence[Summary]) -> list[SideBySide]:
    """Compare each number that one of several runs measured, in the order of the report, between each two of them.

    What counts as a change is said in :func:`differences`.
    """
    dumped = [one.model_dump(by_alias=True) for one in runs]
    found = []
    for figure, path in _numbers():
        values = tuple(number_at(one, path) for one in dumped)
        if not any(value is not None for value in values):
            continue
        intervals = tuple(one.intervals.get(path) for one in runs)
        moves = [
            Move(a, b, change)
            for a, b in itertools.combinations(range(len(runs)), 2)
            if (change := _change(figure, (values[a], values[b]), (intervals[a], intervals[b]))) in MOVED
        ]
        found.append(SideBySide(path, figure, values, intervals, tuple(moves)))
    return found


def differences(first: Summary, second: Summary) -> list[Difference]:
    """Compare each number that one of two runs measured, in the order of the report.

    A number with an interval in both runs has changed if the intervals do not overlap. A count that must be 0 is exact. Of
    the others nobody knows how much they vary: they are worse only if they break an objective that held.
    """
    a, b = first.model_dump(by_alias=True), second.model_dump(by_alias=True)
    found = []
    for figure, path in _numbers():
        values = number_at(a, path), number_at(b, path)
        if values != (None, None):
            found.append(_compare(figure, path, values, first, second))
    return found


def _numbers() -> Iterator[tuple[Figure, str]]:
    """Return each number that is compared: its figure and its path."""
    for figure in figures():
        if not figure.is_group:
            for name in _FIELDS.get(figure.type, ("",)):
                yield figure, f"{figure.path}.{name}".rstrip(".")


def _compare(
    figure: Figure, path: str, values: tuple[float | None, float | None], first: Summary, second: Summary
) -> Difference:
    bounds = first.intervals.get(path), second.intervals.get(path)
    held = {one.expression for one in first.slo if one.passed}
    broken = {one.expression for one in second.slo if one.passed is not True and _is_on(one.expression, path)}
    return Difference(
        path=path,
        label=figure.label,
        unit=figure.unit,
        first=values[0],
        second=values[1],
        first_interval=bounds[0],
        second_interval=bounds[1],
        change=_change(figure, values, bounds),
        objective_broken=bool(held & broken) and not _overlap(*bounds),
    )


def _change(
    figure: Figure, values: tuple[float | None, float | None], bounds: tuple[Bounds | None, Bounds | None]
) -> Change:
    a, b = values
    if a is None:
        return "not measured before"
    if b is None:
        return "not measured now"
    if a == b:
        return "same"
    known = bounds[0] is not None and bounds[1] is not None
    if known and _overlap(*bounds):
        return "within noise"
    must_be_none = any(text.endswith("== 0") for text in figure.objectives)
    if not known and not must_be_none:
        return "no interval"
    if figure.topic in _OF_THE_MACHINE or not (figure.unit or must_be_none):
        return "moved"
    more_is_better = any(">" in text for text in figure.objectives)
    return "better" if (b > a) == more_is_better else "worse"


def _overlap(a: Bounds | None, b: Bounds | None) -> bool:
    if a is None or b is None:
        return False
    below = a.high is not None and b.low is not None and a.high < b.low
    above = a.low is not None and b.high is not None and a.low > b.high
    return not (below or above)


def _is_on(expression: str, path: str) -> bool:
    return expression.startswith(path) and expression[len(path)] in "<>=!"
