"""Which figures differ between two runs, by how much, and whether by more than their intervals. Pure.

Intervals cover what varies within a run. Two runs of one server can differ by more than that: another neighbour on the host.
"""

from __future__ import annotations

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


def differences(first: Summary, second: Summary) -> list[Difference]:
    """Compare each number that one of two runs measured, in the order of the report.

    A number with an interval in both runs has changed if the intervals do not overlap. A count that must be 0 is exact. Of
    the others nobody knows how much they vary: they are worse only if they break an objective that held.
    """
    a, b = first.model_dump(by_alias=True), second.model_dump(by_alias=True)
    found = []
    for figure in figures():
        if figure.is_group:
            continue
        for name in _FIELDS.get(figure.type, ("",)):
            path = f"{figure.path}.{name}".rstrip(".")
            values = number_at(a, path), number_at(b, path)
            if values != (None, None):
                found.append(_compare(figure, path, values, first, second))
    return found


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
