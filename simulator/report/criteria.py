"""The criteria of a verdict: each objective with what was measured, its limit, its interval and its margin.

Made from a summary alone. Which form they take is decided by the report, JUnit files and job summaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.analysis.uncertainty import Interval
from simulator.report.figures import interval_text, number
from simulator.report.render import Table
from simulator.slo import Slo, meaning
from simulator.summary import Summary

_OUTCOMES = {True: "holds", False: "BROKEN", None: "not measured"}


@dataclass(frozen=True, slots=True)
class Criterion:
    """One objective and its outcome."""

    expression: str
    label: str
    """The figure in words, with its unit."""
    value: float | None
    limit: float | None
    interval: Interval | None
    passed: bool | None
    """None when a default does not apply because nothing was measured."""

    @property
    def outcome(self) -> str:
        """Return the outcome in a word."""
        return _OUTCOMES[self.passed]

    def margin(self) -> str:
        """Return how far the figure is from its limit, as a share of the limit, and whether its interval reaches that far."""
        if self.value is None or not self.limit:
            return "–"
        percent = abs(self.limit - self.value) / abs(self.limit) * 100
        share = f"{percent:.3g} %" if percent < 1000 else f"{percent:,.0f} %"
        if "==" in self.expression:
            return "–" if self.value == self.limit else share
        reaches = self.interval is not None and self.interval.reaches(self.limit)
        return f"{share}, within the interval" if reaches else share

    def sentence(self) -> str:
        """Return the outcome with value, limit and margin in one line."""
        if self.value is None:
            return f"{self.expression} cannot be judged: not measured"
        words = "holds" if self.passed else "is broken"
        return f"{self.expression} {words}: {number(self.value)} measured, limit {number(self.limit)}, margin {self.margin()}"

    def details(self) -> str:
        """Return value, limit, interval and margin, a line each."""
        rows = {
            "figure": self.label or self.expression,
            "objective": self.expression,
            "measured": number(self.value),
            "limit": number(self.limit),
            "95 % interval": interval_text(self.interval),
            "margin": self.margin(),
        }
        return "\n".join(f"{name}: {text}" for name, text in rows.items())


def criteria(summary: Summary) -> list[Criterion]:
    """Return the criteria of a run, in the order in which they were judged."""
    return [
        Criterion(
            expression=result.expression,
            label=meaning(result.expression),
            value=result.value,
            limit=result.limit,
            interval=interval_of(summary, path),
            passed=result.passed,
        )
        for result in summary.slo
        for path in [Slo.parse(result.expression).path]
    ]


def interval_of(summary: Summary, path: str) -> Interval | None:
    """Return the interval of a number of the summary; None where none is known."""
    bounds = summary.intervals.get(path)
    return None if bounds is None else Interval(bounds.low, bounds.high)


def criteria_table(found: Sequence[Criterion]) -> Table:
    """Lay out criteria as a table."""
    table = Table(["figure", "objective", "measured", "95 % interval", "limit", "margin", "outcome"])
    for one in found:
        interval = interval_text(one.interval)
        measured, limit = number(one.value), number(one.limit)
        table.rows.append([one.label, one.expression, measured, interval, limit, one.margin(), one.outcome])
    return table
