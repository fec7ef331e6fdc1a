"""The figures of runs as OpenMetrics text: names, units and help follow from what summary.py declares.

Units become those of OpenMetrics: seconds, ratios, bytes, and cores for CPU time. A figure that was not measured has no sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from simulator.figure_types import Percentiles, Share, Unit
from simulator.samples.schema import KINDS
from simulator.summary import Figure, Summary, figures

_UNITS: Final[dict[Unit, tuple[str, float]]] = {
    "": ("", 1),
    "ms": ("seconds", 1e3),
    "ns": ("seconds", 1e9),
    "ratio": ("ratio", 1),
    "bytes": ("bytes", 1),
    "% of a core": ("cores", 100),
}
"""Unit of OpenMetrics for each of ours, and by what a value is divided."""
_UNIT_WORDS = re.compile(r"_(?:core_)?percent$|_ms$|_ns(?=_|$)|_ratio$|_bytes$|^ratio$|^total$")
_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99", "max": "1"}
_VERDICTS = ("pass", "fail", "void", "error")


def to_openmetrics(runs: Sequence[tuple[str, Summary]]) -> str:
    """Write the figures of runs.

    Args:
        runs: Each with the folder of its part; the folder is empty for a run that is no part of a suite.
    """
    registry = CollectorRegistry()
    registry.register(_Runs(runs))
    text: str = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    return text


class _Runs(Collector):
    """What the exposition of prometheus_client reads."""

    def __init__(self, runs: Sequence[tuple[str, Summary]]) -> None:
        self._runs = [(_labels(folder, summary), summary) for folder, summary in runs]

    def collect(self) -> Iterator[Metric]:
        yield from self._verdicts()
        families: dict[str, Metric] = {}
        for figure in figures():
            if figure.is_group:
                continue
            for labels, summary in self._runs:
                _add(families, figure, summary, labels)
        yield from families.values()

    def _verdicts(self) -> Iterator[Metric]:
        verdicts = Metric("meeshy_run_verdict", "1 for the verdict of the run, 0 for the others.", "gauge")
        met = Metric(
            "meeshy_run_objective_met",
            "Whether an objective holds; those not measured are left out.",
            "gauge",
        )
        length = Metric("meeshy_run_measured_seconds", "Length of the measured time.", "gauge", "seconds")
        members = Metric("meeshy_run_participants", "Participants of the run.", "gauge")
        for labels, summary in self._runs:
            for verdict in _VERDICTS:
                verdicts.add_sample(
                    verdicts.name, labels | {"verdict": verdict}, float(verdict == summary.verdict)
                )
            for one in summary.slo:
                if one.passed is not None:
                    met.add_sample(met.name, labels | {"objective": one.expression}, float(one.passed))
            if summary.duration_s is not None:
                length.add_sample(length.name, labels, summary.duration_s)
            members.add_sample(members.name, labels, float(summary.participants))
        yield from (one for one in (verdicts, met, length, members) if one.samples)


def _labels(folder: str, summary: Summary) -> dict[str, str]:
    return {"scenario": summary.scenario} | ({"part": folder} if folder else {})


def name_of(figure: Figure) -> tuple[str, str]:
    """Return the name of a figure in OpenMetrics, and the kind of media it is of or an empty string."""
    parts = figure.path.split(".")
    kind = next((part for part in parts if part in KINDS), "")
    words = [_UNIT_WORDS.sub("", part) for part in parts if part not in KINDS]
    unit = _UNITS[figure.unit][0]
    return "_".join(["meeshy_run", *(word for word in words if word), *([unit] if unit else [])]), kind


def _add(families: dict[str, Metric], figure: Figure, summary: Summary, labels: dict[str, str]) -> None:
    value = figure.value_in(summary)
    name, kind = name_of(figure)
    unit, divisor = _UNITS[figure.unit]
    labels = labels | ({"kind": kind} if kind else {})
    is_spread = isinstance(value, Percentiles)
    number = value.ratio if isinstance(value, Share) else value
    if number is None or (is_spread and not value.samples):
        return
    if name not in families:
        meaning = " ".join(figure.meaning.split())
        families[name] = Metric(name, meaning, "summary" if is_spread else "gauge", unit)
    family = families[name]
    if not is_spread:
        family.add_sample(name, labels, float(number) / divisor)
        return
    for field, quantile in _QUANTILES.items():
        found = getattr(value, field)
        if found is not None:
            family.add_sample(name, labels | {"quantile": quantile}, found / divisor)
    family.add_sample(f"{name}_count", labels, float(value.samples))
