"""What grows too slowly for a percentile to show: a latency that rises, and sound and picture that go apart.

Both come from the one-way latency of stamped frames, second by second.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.analysis.figures import computes
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import STREAM, RawRun
from simulator.figure_types import Percentiles
from simulator.media_figures import LatencyRise
from simulator.samples.schema import KINDS

FEWEST_S = 5
"""Fewer seconds have no trend."""
WORST_SHARE = 0.75
"""The quantile of the seconds that stands for a pair: a single stall does not part sound and picture."""
_MOST_POINTS = 300
"""Medians that a trend is taken from; their number goes into its cost squared."""


@computes("latency_rise_ms", needs=["latency"])
def latency_rise(raw: RawRun) -> LatencyRise:
    """Compute the trend of each kind's latency, times the length of the measured time."""
    samples, seconds = raw.samples(), raw.duration_s or 0.0
    found = LatencyRise()
    if raw.scenario.stages:
        return found
    at_s = _second(raw, samples)
    for number, kind in enumerate(KINDS):
        chosen = samples["kind"] == number
        medians = samples["owd_ns"][chosen].groupby(at_s[chosen]).median() / 1e6
        # The last one may be the part of a second.
        medians = medians[medians.index < int(seconds)]
        if kind in raw.scenario.media.kinds and len(medians) >= FEWEST_S:
            slope = _slope(medians.index.to_numpy(np.float64), medians.to_numpy(np.float64))
            setattr(found, kind, round(slope * seconds, 3))
    return found


@computes("lip_sync_ms", needs=["latency"])
def lip_sync(raw: RawRun) -> Percentiles | None:
    """Compute how far apart audio and video of one participant reach another."""
    samples = raw.samples()
    keys = [samples[name] for name in STREAM]
    medians = samples["owd_ns"].groupby([*keys, _second(raw, samples)]).median() / 1e6
    by_kind = medians.unstack("kind")
    if len(by_kind.columns) < len(KINDS):
        return None
    apart = (by_kind[0] - by_kind[1]).abs().dropna()
    return percentiles(apart.groupby(level=["receiver", "sender"]).quantile(WORST_SHARE))


def _second(raw: RawRun, samples: pd.DataFrame) -> pd.Series:
    """Return the second of the measured time in which each sample was sent."""
    sent_ns = samples["recv_unix_ns"].astype("int64") - samples["owd_ns"]
    return ((sent_ns - (raw.context.window_start_ns or 0)) // 1_000_000_000).rename("second")


def _slope(times: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return the median of the slopes between all pairs of points (Theil 1950, Sen 1968)."""
    step = -(-len(times) // _MOST_POINTS)
    times, values = times[::step], values[::step]
    first, second = np.triu_indices(len(times), 1)
    return float(np.median((values[second] - values[first]) / (times[second] - times[first])))
