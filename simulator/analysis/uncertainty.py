"""How far figures may be off: an interval for each that holds its true value in 95 of 100 runs like this one.

Computed from the raw samples of one run, so it covers what varies within a run, and not what differs between runs: another
neighbour on the host, another order of joins. A side without a number is open: there were too few samples to bound it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.analysis.metrics import join_times
from simulator.analysis.raw_run import STREAM, RawRun
from simulator.analysis.series import busy_over_time
from simulator.analysis.transitions import changes, gaps
from simulator.figure_types import Share
from simulator.samples.schema import KINDS
from simulator.summary import Summary, figures

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_LEVEL = 0.95
_MOST_BLOCKS = 200
_FEWEST_BLOCKS = 5
_DRAWS = 400
_BIN = 0.0025
"""Relative width of the bins in which the samples of a block are counted."""
_FLOOR_MS = 1e-4


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true value of a figure lies; None is no bound on that side."""

    low: float | None
    high: float | None

    def widened(self, by: float) -> Interval:
        """Return the interval with an error on both sides, none below zero."""
        low = None if self.low is None else max(0.0, self.low - by) if by else self.low
        return Interval(low, None if self.high is None else self.high + by)

    def overlaps(self, other: Interval) -> bool:
        """Return whether both may hold the same value."""
        below = self.high is not None and other.low is not None and self.high < other.low
        above = self.low is not None and other.high is not None and self.low > other.high
        return not (below or above)

    def reaches(self, value: float) -> bool:
        """Return whether a value lies inside, between bounds that are both known."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


def intervals(raw: RawRun) -> dict[str, Interval]:
    """Compute the intervals of a run's figures, by the path of each number in summary.json."""
    found = dict(_of_latency(raw))
    for path, values in _independent(raw):
        spread = values.dropna().to_numpy(dtype=np.float64)
        found |= {f"{path}.{name}": rank_interval(spread, q) for name, q in QUANTILES.items() if len(spread)}
    found |= _of_loss(raw)
    rows = raw.tables["server"]
    busy = busy_over_time(rows.assign(process=0), raw, "process")["percent"].dropna()
    if mean := mean_interval(busy.to_numpy(dtype=np.float64)):
        found["server.cpu_core_percent"] = mean
    return found


def share_intervals(summary: Summary) -> dict[str, Interval]:
    """Return the intervals that a summary has itself, of its shares, by the path of each."""
    values = ((figure.path, figure.value_in(summary)) for figure in figures())
    return {
        f"{path}.ratio": Interval(value.low, value.high)
        for path, value in values
        if isinstance(value, Share) and value.of
    }


def rank_interval(values: NDArray[np.float64], quantile: float) -> Interval:
    """Compute the interval of a percentile of independent samples, from their ranks alone.

    The number of samples below the true percentile is binomial, whatever their distribution.
    """
    ordered, n = np.sort(values), len(values)
    tail = (1 - _LEVEL) / 2
    cumulated = np.cumsum(_binomial(n, quantile))
    low = int(np.searchsorted(cumulated, tail, side="right"))
    high = int(np.searchsorted(cumulated, 1 - tail)) + 1
    return Interval(
        float(ordered[low - 1]) if low >= 1 else None, float(ordered[high - 1]) if high <= n else None
    )


def block_intervals(values: NDArray[np.float64], blocks: NDArray[np.int64]) -> dict[str, Interval]:
    """Compute the intervals of percentiles of samples that vary together within a block, such as a second of a run.

    Blocks are drawn again and again with replacement; empty with fewer than five of them.
    """
    _, places = np.unique(blocks, return_inverse=True)
    count = int(places.max(initial=-1)) + 1
    if count < _FEWEST_BLOCKS:
        return {}
    merge = -(-count // _MOST_BLOCKS)
    places, count = places // merge, -(-count // merge)
    logs = np.log(np.maximum(values, _FLOOR_MS))
    base = float(logs.min())
    bins = ((logs - base) / _BIN).astype(np.int64)
    width = int(bins.max()) + 1
    counts = np.bincount(places * width + bins, minlength=count * width).reshape(count, width)
    used = np.flatnonzero(counts.any(axis=0))
    weights = np.random.default_rng(count).multinomial(count, [1 / count] * count, size=_DRAWS)
    cumulated = np.cumsum(weights.astype(np.float32) @ counts[:, used].astype(np.float32), axis=1)
    found = {}
    for name, quantile in QUANTILES.items():
        place = (cumulated < quantile * cumulated[:, -1:]).sum(axis=1)
        drawn = np.exp(base + (used[np.minimum(place, len(used) - 1)] + 0.5) * _BIN)
        low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
        value = float(np.percentile(values, quantile * 100))
        found[name] = Interval(min(low, value), max(high, value))
    return found


def ratio_interval(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Interval | None:
    """Compute the interval of a share whose parts come in blocks; None with fewer than five of them."""
    count = len(whole)
    if count < _FEWEST_BLOCKS or whole.sum() <= 0:
        return None
    weights = np.random.default_rng(count).multinomial(count, [1 / count] * count, size=_DRAWS)
    below = weights @ whole
    drawn = np.clip((weights @ part)[below > 0] / below[below > 0], 0, 1)
    value = min(1.0, max(0.0, float(part.sum() / whole.sum())))
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    # Nothing lost in n packets still bounds the share, to 3 in n.
    return Interval(min(low, value), max(high, value, _none_of(float(whole.sum())) if value == 0 else 0.0))


def mean_interval(values: NDArray[np.float64]) -> Interval | None:
    """Compute the interval of a mean over time from the means of its parts; None with fewer than five values."""
    if len(values) < _FEWEST_BLOCKS:
        return None
    parts = [float(part.mean()) for part in np.array_split(values, min(10, len(values)))]
    error = float(np.std(parts, ddof=1)) / math.sqrt(len(parts)) * _student(len(parts) - 1)
    mean = float(values.mean())
    return Interval(mean - error, mean + error)


def _of_latency(raw: RawRun) -> Iterator[tuple[str, Interval]]:
    samples = raw.samples()
    seconds = (samples["recv_unix_ns"].to_numpy(dtype=np.int64) - raw.context.started_ns) // 1_000_000_000
    delays, kinds = samples["owd_ns"].to_numpy(dtype=np.float64) / 1e6, samples["kind"].to_numpy()
    error_ms = np.zeros(len(samples))
    if raw.clocks is not None:
        error_ms[raw.clocks.across(samples)] = raw.clocks.error_ns / 1e6
    for number, kind in enumerate(KINDS):
        mine = kinds == number
        error = float(error_ms[mine].max(initial=0.0))
        for name, interval in block_intervals(delays[mine], seconds[mine]).items():
            yield f"latency_ms.{kind}.{name}", interval.widened(error)


def _independent(raw: RawRun) -> Iterator[tuple[str, pd.Series[Any]]]:
    """Return the samples of figures that are taken once for each join or change."""
    arrivals = raw.tables["arrivals"]
    joins = arrivals if not raw.announces_streams else join_times(raw)
    joins = joins[joins["flowing_ns"] > 0]
    yield "join_ms", ((joins["flowing_ns"] - joins["started_ns"]) / 1e6).clip(lower=0)
    if raw.tables["transitions"].empty:
        return
    rows = changes(raw)
    rows = rows[
        rows["success"].fillna(False).astype(bool) & (rows["completed_ns"] > 0) & (rows["decided_ns"] > 0)
    ]
    for name in ("told", "media", "confirmed"):
        known = rows[rows[f"{name}_ns"] > 0]
        yield f"transition_ms.{name}", (known[f"{name}_ns"] - known["decided_ns"]) / 1e6
    for way in ("sfu", "p2p"):
        there = rows[rows["new"] == way]
        yield f"transition_ms.to_{way}", (there["completed_ns"] - there["decided_ns"]) / 1e6
    table = gaps(raw)
    for kind in KINDS:
        yield f"gap_ms.{kind}", table.loc[table["kind"] == kind, "gap_ms"]


def _of_loss(raw: RawRun) -> dict[str, Interval]:
    """Compute the intervals of loss from what was lost in each second."""
    rows = raw.tables["streams"]
    rows = rows[rows["tick"] >= 0].sort_values("tick")
    names = ["expected", "missing", "missing_first"]
    steps = rows[[*STREAM, "tick", *names]].set_index([*STREAM, "tick"]).groupby(level=STREAM)[names].diff()
    found = {}
    for prefix, kinds in (("loss", (0, 1)), *((f"loss.{kind}", (n,)) for n, kind in enumerate(KINDS))):
        mine = steps[steps.index.get_level_values("kind").isin(kinds)]
        by_tick = mine.groupby(level="tick").sum().iloc[1:]
        whole = by_tick["expected"].to_numpy(dtype=np.float64)
        for figure, name in (("ratio", "missing"), ("before_repair", "missing_first")):
            if interval := ratio_interval(by_tick[name].to_numpy(dtype=np.float64), whole):
                found[f"{prefix}.{figure}"] = interval
    return found


def _binomial(n: int, p: float) -> NDArray[np.float64]:
    """Return the probability of 0, 1, … n of n."""
    of_n = math.lgamma(n + 1)
    logs = [of_n - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    k = np.arange(n + 1)
    found: NDArray[np.float64] = np.exp(np.array(logs) + k * math.log(p) + (n - k) * math.log1p(-p))
    return found


def _none_of(n: float) -> float:
    """Return the largest share of which none in n is still likely."""
    return float(1 - (1 - _LEVEL) ** (1 / max(1.0, n)))


_STUDENT = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def _student(freedom: int) -> float:
    """Return the factor of a 95 % interval of a mean for 4 to 9 degrees of freedom."""
    return _STUDENT[freedom]
