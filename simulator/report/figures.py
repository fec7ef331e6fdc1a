"""Figures in words: a value with its unit, and tables of what the summary declares for a section of the report.

Knows no figure by name, so a figure that is added to the summary appears by itself.
"""

from __future__ import annotations

import math

import pandas as pd

from simulator.analysis.uncertainty import Interval
from simulator.figure_types import Share
from simulator.report.render import Table
from simulator.summary import Percentiles, Summary, Topic, Unit, figures_of

PERCENTILES = ["p50", "p95", "p99", "max"]


def number(value: float | None, unit: Unit = "") -> str:
    """Write a number of a unit as reports show it; a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    match unit:
        case "ratio":
            return f"{value * 100:.3f} %"
        case "bytes":
            return f"{value / 1e6:,.0f} MB"
        case _:
            text = f"{value:,}" if isinstance(value, int) else _decimal(value)
            return f"{text} {unit}".strip()


def _decimal(value: float) -> str:
    """Write two decimals, or as many as it takes to see two digits of a small number."""
    digits = 2 if value == 0 or abs(value) >= 0.1 else min(6, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def interval_text(interval: Interval | None, unit: Unit = "") -> str:
    """Write an interval as reports show it; an open side is said in words."""
    if interval is None or (interval.low is None and interval.high is None):
        return "–"
    if interval.high is None:
        return f"over {number(interval.low, unit)}"
    if interval.low is None:
        return f"under {number(interval.high, unit)}"
    return f"{number(interval.low, unit)} to {number(interval.high, unit)}"


def tables(summary: Summary, topic: Topic) -> list[Table]:
    """Lay out the figures of one section that were measured: distributions, shares, then single numbers."""
    spreads = Table(["distribution", "unit", *PERCENTILES, "samples"])
    shares = Table(["share", "value", "95 % interval", "of"])
    numbers = Table(["figure", "value"])
    for figure in figures_of(topic):
        value = figure.value_in(summary)
        if figure.is_group or value is None:
            continue
        if isinstance(value, Percentiles):
            if value.samples:
                cells = [number(getattr(value, name)) for name in PERCENTILES]
                spreads.rows.append([figure.label, figure.unit, *cells, f"{value.samples:,}"])
                spreads.hints.append(figure.meaning)
        elif isinstance(value, Share):
            if value.of:
                interval = f"{number(value.low, 'ratio')} to {number(value.high, 'ratio')}"
                shares.rows.append([figure.label, number(value.ratio, "ratio"), interval, f"{value.of:,}"])
                shares.hints.append(figure.meaning)
        else:
            numbers.rows.append([figure.label, number(value, figure.unit)])
            numbers.hints.append(figure.meaning)
    return [spreads, shares, numbers]
