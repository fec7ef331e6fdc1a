"""What figures of the summary are made of: their declaration, distributions, shares with intervals, sections of the report.

Knows no figure; those are declared with these parts in summary.py, and computed in analysis/.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Unit = Literal["", "ms", "ns", "ratio", "bytes", "% of a core"]
"""A `ratio` is a share from 0 to 1 in summary.json and a percentage in reports; `bytes` are shown as MB."""


class Topic(StrEnum):
    """The sections of a report that figures are shown in, in the order of the report."""

    STREAMS = "Streams"
    DELIVERY = "What arrived of what was sent"
    SWITCHING = "Changes between peer to peer and the media server"
    FAULTS = "Injected faults"
    LATENCY = "Latency and joins"
    LOSS = "Loss and misrouted frames"
    DECODED = "Decoded media"
    LEAKS = "Leaks"
    SERVER = "Media server"
    GENERATOR = "Load generator"
    HOST = "CPU time of the machine"


def figure(
    label: str,
    meaning: str,
    *,
    topic: Topic | None = None,
    unit: Unit = "",
    objectives: tuple[str, ...] = (),
    headline: bool = False,
    default: Any = None,
) -> Any:
    """Declare a figure of the summary.

    Args:
        label: Its name in reports, in a few words.
        meaning: One sentence: what is counted, or what is timed from when to when. For the schema and the documentation.
        topic: The section of the report that shows it. Fields of a group are shown where the group is.
        unit: What its numbers are.
        objectives: What must hold unless a run says otherwise, without the path: `"== 0"`, or `"p95 < 100"` for a distribution.
        headline: Whether the verdict's panel and the head of the report show it.
        default: Its value where no function computes it.
    """
    said = {
        "label": label,
        "unit": unit,
        "topic": topic and topic.value,
        "objectives": list(objectives),
        "headline": headline,
    }
    extra: dict[str, Any] = {"figure": {name: value for name, value in said.items() if value}}
    return Field(default=default, description=meaning, json_schema_extra=extra)


class FigureModel(BaseModel):
    """A part of the summary; a field it does not declare is refused."""

    model_config = ConfigDict(extra="forbid")


class Percentiles(FigureModel):
    """A distribution in short."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    samples: int = 0


class PerKind(FigureModel):
    """One distribution for each kind of media."""

    audio: Percentiles | None = None
    video: Percentiles | None = None


class Share(FigureModel):
    """A share of counted things, with the interval that holds its true value in 95 of 100 cases (Wilson).

    The interval takes each thing as drawn by itself. Losses that come in bursts vary more than it says.
    """

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    of: int = 0
    """How many were counted."""


class Bounds(FigureModel):
    """Where the true value of a figure lies in 95 of 100 runs like this one; null is no bound on that side."""

    low: float | None = None
    high: float | None = None


class SharePerKind(FigureModel):
    """One share for each kind of media."""

    audio: Share | None = None
    video: Share | None = None


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """Return what a summary's plain values have at a dotted path; None where there is nothing."""
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def number_at(values: Mapping[str, Any], path: str) -> int | float | None:
    """Return the number at a dotted path; None where there is none."""
    value = value_at(values, path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
