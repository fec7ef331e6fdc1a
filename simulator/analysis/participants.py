"""The participant who fares worst: figures of all streams together hide one of many.

In a call of fifty a receiver who gets nothing right is a fiftieth of what is counted. Each participant is looked at twice, as
the receiver of all others and as the sender to all others, and the worse of all decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from simulator.analysis.delivery import StreamAccount, accounts_of
from simulator.analysis.figures import computes
from simulator.analysis.intervals import share
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import RawRun
from simulator.figure_types import PerKind, Share, SharePerKind
from simulator.samples.schema import KINDS

FEWEST = 100
"""Participants with fewer frames are not judged by themselves: a single one would be more than a percent."""
_SIDES = ("receiver", "sender")


@computes("worst_delivered_ratio", needs=["sent"])
def worst_delivered(raw: RawRun) -> SharePerKind:
    """Compute the lowest share of due frames that arrived at or from one participant, by kind."""
    found = SharePerKind()
    for number, kind in enumerate(KINDS):
        if kind in raw.scenario.media.kinds:
            streams = [s for s in accounts_of(raw).streams if s.kind == number]
            shares = _shares(streams, lambda s: (s.delivered, s.due))
            setattr(found, kind, min(shares, key=_ratio, default=Share()))
    return found


@computes("worst_late_ratio", needs=["sent"])
def worst_late(raw: RawRun) -> Share:
    """Compute the highest share of delivered frames that came too late at or from one participant."""
    shares = _shares(accounts_of(raw).streams, lambda s: (s.late, s.delivered))
    return max(shares, key=_ratio, default=Share())


@computes("worst_latency_ms", needs=["sent"])
def worst_latency(raw: RawRun) -> PerKind:
    """Compute the latency at or from the participant whose 95th percentile is the highest, by kind."""
    samples = raw.samples()
    latency_ms = samples["owd_ns"] / 1e6
    found = PerKind()
    for number, kind in enumerate(KINDS):
        if kind in raw.scenario.media.kinds:
            of_kind = samples["kind"] == number
            setattr(found, kind, percentiles(_slowest(samples[of_kind], latency_ms[of_kind])))
    return found


def _slowest(samples: pd.DataFrame, latency_ms: pd.Series[float]) -> pd.Series[float]:
    worst, slowest = -1.0, latency_ms.iloc[0:0]
    for side in _SIDES:
        grouped = latency_ms.groupby(samples[side])
        high = grouped.quantile(0.95)[grouped.size() >= FEWEST]
        if len(high) and float(high.max()) > worst:
            worst = float(high.max())
            slowest = latency_ms[samples[side] == high.idxmax()]
    return slowest


def _shares(
    streams: Iterable[StreamAccount], counts: Callable[[StreamAccount], tuple[int, int]]
) -> list[Share]:
    """Return the share of each participant, on each side, with frames enough."""
    totals: dict[tuple[str, int], tuple[int, int]] = {}
    for stream in streams:
        part, whole = counts(stream)
        for side in _SIDES:
            key = side, int(getattr(stream, side))
            before = totals.get(key, (0, 0))
            totals[key] = before[0] + part, before[1] + whole
    return [share(part, whole) for part, whole in totals.values() if whole >= FEWEST]


def _ratio(found: Share) -> float:
    return found.ratio or 0.0
