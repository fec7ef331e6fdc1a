"""Plots of streams: what was sent and delivered, who received whom how late, and gaps between frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from simulator.analysis.series import accounts_over_time, frame_gaps, frames_over_time, packets_over_time
from simulator.report.drawing import (
    COLOURS,
    KIND_COLOURS,
    WIDTH_IN,
    PlotData,
    legend,
    log_axis,
    plot,
    sheet,
    time_axis,
)
from simulator.samples.schema import KINDS
from simulator.summary import Topic

_FEWEST_SQUARES: Final = 6
"""Calls that get a square each; fewer are seen well enough in one."""


@plot(
    "delivered",
    "Sent and delivered",
    "By the second of sending, over all streams: frames that were due at receivers by the senders' own record, and those that "
    "arrived whole. Without such a record: packets by their numbers.",
    topic=Topic.DELIVERY,
)
def delivered(data: PlotData) -> Figure | None:
    """Draw frames by the senders' record; without one rates of packets, or of frames that came."""
    table, what = accounts_over_time(data.raw), "frames/s"
    if table.empty:
        table, what = packets_over_time(data.raw), "packets/s"
    if table.empty:
        table, what = frames_over_time(data.raw), "frames/s"
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    if not kinds:
        return None
    figure, rows = sheet(0.5 + 1.45 * len(kinds), len(kinds), sharex=True)
    for axes, kind in zip(rows, kinds, strict=True):
        mine = table[table["kind"] == kind]
        single = "o" if len(mine) == 1 else ""
        if "sent" in mine:
            axes.plot(
                mine["at_s"],
                mine["sent"],
                color=COLOURS["grey"],
                lw=3,
                alpha=0.7,
                marker=single,
                label="sent",
            )
        axes.plot(
            mine["at_s"], mine["delivered"], color=KIND_COLOURS[kind], marker=single, ms=3, label="delivered"
        )
        axes.set_ylim(0, max(1.0, float(mine.iloc[:, 2:].max().max())) * 1.12)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylabel(what)
        axes.set_title(kind)
        time_axis(axes, data)
        legend(axes)
        axes.label_outer()
    return figure


@plot(
    "gaps",
    "Time between frames",
    "How often which time passed between one stamped frame of a stream and the next (in group calls every tenth audio packet "
    "has a stamp).",
    topic=Topic.STREAMS,
    needs=("latency",),
)
def gaps(data: PlotData) -> Figure | None:
    """Draw a histogram with logarithmic axes, so that one long gap among a million is seen."""
    found = {kind: times[times > 0] for kind, times in frame_gaps(data.raw).items()}
    longest = max((float(times.max()) for times in found.values() if len(times)), default=0.0)
    if longest <= 0:
        return None
    figure, (axes,) = sheet(2.4)
    edges = np.geomspace(1, max(longest * 1.05, 100.0), 90).tolist()
    for kind, times in found.items():
        if len(times):
            label = f"{kind}, longest {times.max():,.0f} ms"
            axes.hist(
                np.maximum(times, 1.0), edges, histtype="step", lw=1.4, color=KIND_COLOURS[kind], label=label
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    log_axis(axes.xaxis)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ms since the frame before")
    axes.set_ylabel("times")
    axes.set_title(" ")
    legend(axes)
    return figure


@plot(
    "heat-map",
    "Latency from each sender to each receiver",
    "95th percentile of each stream; red: the stream did not flow. Streams that should not flow are left empty. Of many calls "
    "each is a square of its own.",
    topic=Topic.STREAMS,
)
def heat_map(data: PlotData) -> Figure | None:
    """Draw one square for each kind, a cell for each sender and receiver."""
    pairs = data.pairs
    kinds = [kind for kind in KINDS if (pairs["kind"] == kind).any()]
    if not kinds or data.raw.duration_s is None:
        return None
    grid, norm = Grid.of(pairs), colour_scale(pairs["p95_ms"])
    side = WIDTH_IN / 2 if grid.size > 12 else WIDTH_IN / 3
    figure = Figure(figsize=(WIDTH_IN, side * 0.86 + 0.3))
    columns = figure.subplots(1, max(2, len(kinds)), squeeze=False)[0]
    for axes in columns[len(kinds) :]:
        axes.set_axis_off()
    for axes, kind in zip(columns, kinds, strict=False):
        mine = pairs[pairs["kind"] == kind]
        image = cells(axes, mine, grid, norm)
        axes.set_title(kind)
        grid.label(axes)
    bar = figure.colorbar(image, ax=list(columns[: len(kinds)]), shrink=0.8, pad=0.02)
    bar.outline.set_visible(False)
    log_axis(bar.ax.yaxis)
    bar.set_label("p95, ms")
    return figure


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the cell of a stream is: one square, or one a call, where most cells of one square would be empty."""

    rows: dict[int, int]
    """By receiver."""
    columns: dict[int, int]
    """By sender."""
    size: int
    """Cells along each side."""
    calls: int
    """How many squares there are."""

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> Grid:
        """Lay out the streams of a run."""
        bots = np.unique(pairs[["sender", "receiver"]].to_numpy(dtype=np.int64)).tolist()
        calls = _calls(bots, pairs)
        largest = max(len(call) for call in calls)
        across = math.ceil(math.sqrt(len(calls)))
        if len(calls) < _FEWEST_SQUARES or across * (largest + 1) > len(bots) / 2:
            place = {bot: number for number, bot in enumerate(bots)}
            return cls(place, place, len(bots), 1)
        rows: dict[int, int] = {}
        columns: dict[int, int] = {}
        for number, call in enumerate(calls):
            down, right = divmod(number, across)
            for place_in_call, bot in enumerate(call):
                rows[bot] = down * (largest + 1) + place_in_call
                columns[bot] = right * (largest + 1) + place_in_call
        return cls(rows, columns, across * (largest + 1) - 1, len(calls))

    def label(self, axes: Axes, *, most: int = 10) -> None:
        """Name about `most` of the senders and receivers, or say what the squares are."""
        if self.calls > 1:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(f"{self.calls:,} calls: in each, senders across")
            axes.set_ylabel("receivers down")
            return
        marks = list(self.rows.items())[:: max(1, -(-len(self.rows) // most))]
        axes.set_xticks([place for _, place in marks], [str(bot) for bot, _ in marks])
        axes.set_yticks([place for _, place in marks], [str(bot) for bot, _ in marks])
        axes.set_xlabel("sender")
        axes.set_ylabel("receiver")


def _calls(bots: Sequence[int], pairs: pd.DataFrame) -> list[list[int]]:
    """Return who is in a call with whom: bots between whom streams are, also by way of others."""
    leader = {bot: bot for bot in bots}

    def find(bot: int) -> int:
        while leader[bot] != bot:
            leader[bot] = leader[leader[bot]]
            bot = leader[bot]
        return bot

    for sender, receiver in pairs[["sender", "receiver"]].drop_duplicates().itertuples(index=False):
        leader[find(int(sender))] = find(int(receiver))
    calls: dict[int, list[int]] = {}
    for bot in bots:
        calls.setdefault(find(bot), []).append(bot)
    return list(calls.values())


def colour_scale(p95_ms: pd.Series[float]) -> LogNorm:
    """Return the colours of a heat map, from the fastest stream to the slowest."""
    known = p95_ms.dropna()
    low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    low = max(low, 0.01)
    return LogNorm(low, max(high, low * 1.5))


def cells(axes: Axes, mine: pd.DataFrame, grid: Grid, norm: LogNorm) -> AxesImage:
    """Draw a cell for each stream of one kind."""
    p95 = np.full((grid.size, grid.size), np.nan)
    silent = np.zeros((grid.size, grid.size, 4))
    rows = mine["receiver"].map(grid.rows).to_numpy(dtype=np.int64)
    columns = mine["sender"].map(grid.columns).to_numpy(dtype=np.int64)
    p95[rows, columns] = mine["p95_ms"].to_numpy(dtype=np.float64)
    dead = ~mine["flowing"].astype(bool).to_numpy()
    silent[rows[dead], columns[dead]] = (0.86, 0.15, 0.12, 1.0)
    image = axes.imshow(
        np.ma.masked_invalid(np.maximum(p95, 0.01)), cmap="viridis", norm=norm, interpolation="nearest"
    )
    if dead.any():
        axes.imshow(silent, interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return image
