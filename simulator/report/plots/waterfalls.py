"""Joins and mode changes as waterfalls: how long each participant waited for what."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.analysis.series import ended_changes, since_start_s
from simulator.analysis.series import joins as joins_of
from simulator.report.drawing import COLOURS, PlotData, legend, plot, sheet
from simulator.summary import Topic

_DIRECTIONS = {"sfu": "to the media server", "p2p": "back to peer to peer"}
_STEPS = (
    ("told_ns", "until notified", "grey"),
    ("media_ns", "until media flows", "blue"),
    ("confirmed_ns", "until confirmed", "violet"),
    ("completed_ns", "until the gateway ends it", "green"),
)
_MOST = 120
"""Of more changes, this many are drawn: every n-th, sorted by their length."""


@plot(
    "joins",
    "Joins",
    "One line a join, from its begin until all streams to and from the participants already there flow.",
    topic=Topic.LATENCY,
)
def joins(data: PlotData) -> Figure | None:
    """Draw every join as a bar on the axis of time."""
    rows = joins_of(data.raw)
    if rows.empty:
        return None
    rows = rows.sort_values("started_ns", ignore_index=True)
    height = min(5.0, 0.95 + 0.16 * len(rows))
    figure, (axes,) = sheet(height)
    width = max(0.6, min(5.0, (height - 0.9) * 72 * 0.62 / len(rows)))
    start = since_start_s(data.raw, rows["started_ns"])
    ready = since_start_s(data.raw, rows["signalled_ns"].where(rows["signalled_ns"] > 0, rows["started_ns"]))
    flows = since_start_s(data.raw, rows["flowing_ns"].where(rows["flowing_ns"] > 0, rows["started_ns"]))
    place = np.arange(len(rows))
    known = (rows["signalled_ns"] > 0).to_numpy()
    axes.hlines(place[known], start[known], ready[known], color=COLOURS["grey"], lw=width, label="signalling")
    done = (rows["flowing_ns"] > 0).to_numpy() & (flows >= ready)
    axes.hlines(
        place[done], ready[done], flows[done], color=COLOURS["blue"], lw=width, label="until all streams flow"
    )
    never = ~(rows["flowing_ns"] > 0).to_numpy()
    if never.any():
        at = np.where(known[never], ready[never], start[never])
        axes.plot(at, place[never], "x", color=COLOURS["red"], ms=4, label="not all streams came")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    once = rows["bot"].is_unique
    marks = place[:: max(1, -(-len(rows) // 12))] if once else place[:0]
    axes.set_yticks(marks, [str(int(rows["bot"].iloc[mark])) for mark in marks])
    axes.set_ylabel("participant" if once else f"{len(rows):,} joins")
    axes.set_xlabel("seconds since the run began")
    axes.grid(visible=False, axis="y")
    axes.set_title(" ")
    legend(axes)
    return figure


@plot(
    "changes",
    "Mode changes",
    "One line a change and participant, sorted by length, counted from the gateway's decision. In a call that is not at its "
    "end, later steps wait for the other participants.",
    topic=Topic.SWITCHING,
    needs=("transitions",),
)
def waterfall(data: PlotData) -> Figure | None:
    """Draw one row of bars for each direction."""
    rows = ended_changes(data.raw)
    there = [way for way in _DIRECTIONS if (rows["new"] == way).any()]
    if not there:
        return None
    sizes = [min(_MOST, int((rows["new"] == way).sum())) for way in there]
    heights = [min(2.6, 0.55 + 0.1 * size) for size in sizes]
    figure, panels = sheet(0.6 + sum(heights), len(there), sharex=True, height_ratios=heights)
    for axes, way, size, height in zip(panels, there, sizes, heights, strict=True):
        _panel(axes, rows[rows["new"] == way], max(0.6, min(5.0, (height - 0.4) * 72 * 0.7 / size)))
        axes.set_title(f"{_DIRECTIONS[way]} ({(rows['new'] == way).sum():,})")
    legend(panels[0], columns=4)
    panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel("ms since the decision")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, width: float) -> None:
    rows = rows.assign(length=rows["completed_ns"] - rows["decided_ns"]).sort_values(
        "length", ignore_index=True
    )
    if len(rows) > _MOST:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, _MOST).astype(int)]
    place = np.arange(len(rows))
    begin = np.zeros(len(rows))
    for name, label, colour in _STEPS:
        at_ns = rows[name].where(rows[name] > 0)
        end = np.fmax(((at_ns - rows["decided_ns"]) / 1e6).to_numpy(dtype=np.float64), begin)
        axes.hlines(place, begin, end, color=COLOURS[colour], lw=width, label=label)
        begin = end
    axes.set_yticks([])
    axes.set_ylim(len(rows) - 0.3, -0.7)
    axes.grid(visible=False, axis="y")
