"""Plots of streams: what was sent and delivered, who received whom how late, and gaps between frames."""

from __future__ import annotations

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
    "95th percentile of each stream; red: the stream did not flow. Streams that should not flow are left empty.",
    topic=Topic.STREAMS,
)
def heat_map(data: PlotData) -> Figure | None:
    """Draw one square for each kind, a cell for each sender and receiver."""
    pairs = data.pairs
    kinds = [kind for kind in KINDS if (pairs["kind"] == kind).any()]
    if not kinds:
        return None
    bots = np.unique(pairs[["sender", "receiver"]].to_numpy(dtype=np.int64))
    place, norm = places_of(bots), colour_scale(pairs["p95_ms"])
    side = WIDTH_IN / 2 if len(bots) > 12 else WIDTH_IN / 3
    figure = Figure(figsize=(WIDTH_IN, side * 0.86 + 0.3))
    columns = figure.subplots(1, max(2, len(kinds)), squeeze=False)[0]
    for axes in columns[len(kinds) :]:
        axes.set_axis_off()
    for axes, kind in zip(columns, kinds, strict=False):
        mine = pairs[pairs["kind"] == kind]
        image = cells(axes, mine, place, norm)
        axes.set_title(kind)
        label_bots(axes, bots)
    bar = figure.colorbar(image, ax=list(columns[: len(kinds)]), shrink=0.8, pad=0.02)
    bar.outline.set_visible(False)
    log_axis(bar.ax.yaxis)
    bar.set_label("p95, ms")
    return figure


def places_of(bots: np.ndarray) -> dict[int, int]:
    """Return the row and column of each bot."""
    return {int(bot): number for number, bot in enumerate(bots)}


def colour_scale(p95_ms: pd.Series[float]) -> LogNorm:
    """Return the colours of a heat map, from the fastest stream to the slowest."""
    known = p95_ms.dropna()
    low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    low = max(low, 0.01)
    return LogNorm(low, max(high, low * 1.5))


def cells(axes: Axes, mine: pd.DataFrame, place: dict[int, int], norm: LogNorm) -> AxesImage:
    """Draw a cell for each stream of one kind."""
    p95 = np.full((len(place), len(place)), np.nan)
    silent = np.zeros((len(place), len(place), 4))
    rows = mine["receiver"].map(place).to_numpy(dtype=np.int64)
    columns = mine["sender"].map(place).to_numpy(dtype=np.int64)
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


def label_bots(axes: Axes, bots: np.ndarray, *, most: int = 10) -> None:
    """Name about `most` of the senders and receivers."""
    step = max(1, -(-len(bots) // most))
    marks = list(range(0, len(bots), step))
    axes.set_xticks(marks, [str(bots[mark]) for mark in marks])
    axes.set_yticks(marks, [str(bots[mark]) for mark in marks])
    axes.set_xlabel("sender")
    axes.set_ylabel("receiver")
