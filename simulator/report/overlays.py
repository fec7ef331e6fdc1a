"""Plots of several runs in one drawing each: lines over each other, or a small panel for each run.

Each run is read once and kept as what is drawn of it, so that the raw samples of only one are in memory. What is drawn of a
single run is in report/plots/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from simulator.analysis.comparison import SideBySide
from simulator.analysis.raw_run import RawRun
from simulator.analysis.series import (
    accounts_over_time,
    busy_over_time,
    ended_changes,
    frame_gaps,
    joins,
    latency_over_time,
    latency_tail,
    packets_over_time,
    since_start_s,
)
from simulator.report.drawing import (
    COLOURS,
    SERIES,
    WIDTH_IN,
    Drawing,
    PlotData,
    legend,
    log_axis,
    sheet,
    styled,
)
from simulator.report.plots.latency import tail_axes
from simulator.report.plots.streams import Grid, cells, colour_scale
from simulator.report.plots.timeline import draw_ticks, event_rows
from simulator.samples.schema import KINDS
from simulator.summary import Topic

MOST_RUNS: Final = len(SERIES)
"""Runs that can be told apart by their colour."""
_MOST_MOVED = 16
_DIRECTIONS = {"sfu": "to the media server", "p2p": "back to peer to peer"}


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn of one run. `at_s` counts seconds from the begin of the measured time."""

    name: str
    tables: Mapping[str, pd.DataFrame]
    times: Mapping[str, NDArray[np.float64]]
    """Lengths in milliseconds, sorted: of joins, of changes each way, between frames of each kind."""
    events: Sequence[tuple[str, NDArray[np.float64], str]]
    pairs: pd.DataFrame
    kinds: frozenset[str]

    @classmethod
    def of(cls, name: str, data: PlotData) -> Curves:
        """Take from a run what is drawn of it."""
        raw = data.raw
        start = raw.context.window_start_ns or raw.context.started_ns
        pairs = data.pairs[["sender", "receiver", "kind", "p95_ms", "flowing"]]
        shift = (start - raw.context.started_ns) / 1e9
        return cls(
            name,
            {key: _shifted(table, shift) for key, table in _tables(raw)},
            {key: np.sort(times) for key, times in _times(raw)},
            [(label, at_s - shift, colour) for label, at_s, colour in event_rows(data) if len(at_s)],
            pairs.copy() if raw.duration_s is not None else pairs.iloc[:0],
            frozenset(raw.scenario.media.kinds),
        )


def _tables(raw: RawRun) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "latency", latency_over_time(raw)
    yield "tail", latency_tail(raw)
    sent = accounts_over_time(raw)
    yield "delivered", packets_over_time(raw) if sent.empty else sent
    server = raw.tables["server"]
    server = server[server["tick"] >= 0].sort_values("unix_ns")
    yield "server", busy_over_time(server.assign(process=0), raw, "process")
    yield (
        "memory",
        pd.DataFrame({"at_s": since_start_s(raw, server["unix_ns"]), "mb": server["rss_bytes"] / 1e6}),
    )
    generator = raw.tables["generator"]
    generator = generator[generator["tick"] >= 0]
    whole = generator.groupby("tick", as_index=False).agg(
        unix_ns=("unix_ns", "max"), cpu_ns=("cpu_ns", "sum"), lag=("lag_max_us", "max")
    )
    yield "generator", busy_over_time(whole.assign(process=0), raw, "process")
    lag = whole[whole["tick"] > 0]
    yield "lag", pd.DataFrame({"at_s": since_start_s(raw, lag["unix_ns"]), "ms": lag["lag"] / 1e3})


def _times(raw: RawRun) -> Iterator[tuple[str, NDArray[np.float64]]]:
    yield from frame_gaps(raw).items()
    rows = joins(raw)
    done = rows[rows["flowing_ns"] > 0]
    yield "joins", ((done["flowing_ns"] - done["started_ns"]) / 1e6).to_numpy(dtype=np.float64)
    rows = ended_changes(raw)
    for way in _DIRECTIONS:
        mine = rows[rows["new"] == way]
        yield way, ((mine["completed_ns"] - mine["decided_ns"]) / 1e6).to_numpy(dtype=np.float64)


def _shifted(table: pd.DataFrame, shift: float) -> pd.DataFrame:
    return table.assign(at_s=table["at_s"] - shift) if "at_s" in table else table


def draw_overlays(runs: Sequence[Curves], moved: Sequence[SideBySide]) -> list[Drawing]:
    """Draw every plot for which at least one run has samples."""
    found = []
    for name, title, caption, topic, draw in _PLOTS:
        with styled():
            figure = draw(runs, moved)
        if figure is not None:
            found.append(Drawing(name, title, caption, topic, figure))
    return found


def _relative(runs: Sequence[Curves], moved: Sequence[SideBySide]) -> Figure | None:
    """Draw figures that moved as multiples of the first run's, with their intervals."""
    rows = [one for one in moved if one.values[0] and any(one.intervals) and one.figure.unit != "ratio"][
        :_MOST_MOVED
    ]
    if not rows:
        return None
    step = 0.16 + 0.06 * len(runs)
    figure, (axes,) = sheet(0.9 + step * len(rows))
    for number, run in enumerate(runs):
        colour = SERIES[number]
        label = run.name
        for place, row in enumerate(rows):
            base, value, bounds = row.values[0], row.values[number], row.intervals[number]
            if not base or value is None or value <= 0:
                continue
            at = place + (number - (len(runs) - 1) / 2) * 0.7 / len(runs)
            low, high = (None, None) if bounds is None else (bounds.low, bounds.high)
            if low is not None and high is not None and low > 0:
                axes.hlines(at, low / base, high / base, color=colour, lw=1.4)
            axes.plot([value / base], [at], color=colour, marker="o", ms=4, ls="", label=label)
            label = "_"
    axes.axvline(1, color=COLOURS["soft"], lw=0.8, ls="--")
    axes.set_xscale("log")
    log_axis(axes.xaxis)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"times that of {runs[0].name}")
    axes.set_title(" ")
    legend(axes)
    return figure


def _by_kind(
    runs: Sequence[Curves], table: str, draw: Callable[[Axes, pd.DataFrame, str, str], None]
) -> tuple[Figure, dict[str, Axes]] | None:
    """Draw one row for each kind of media, with a line for each run; no figure if no run has rows."""
    kinds = [k for k in KINDS if any((run.tables[table]["kind"] == k).any() for run in runs)]
    if not kinds:
        return None
    figure, rows = sheet(0.5 + 1.75 * len(kinds), len(kinds), sharex=True)
    for axes, kind in zip(rows, kinds, strict=True):
        for run, colour in zip(runs, SERIES, strict=False):
            mine = run.tables[table]
            mine = mine[mine["kind"] == kind]
            if len(mine):
                draw(axes, mine, colour, run.name)
        axes.set_title(kind)
        legend(axes)
    return figure, dict(zip(kinds, rows, strict=True))


def _latency(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    def draw(axes: Axes, mine: pd.DataFrame, colour: str, name: str) -> None:
        single = "o" if len(mine) == 1 else ""
        axes.plot(mine["at_s"], mine["p95"], color=colour, label=name, marker=single, ms=3)
        axes.plot(mine["at_s"], mine["p50"], color=colour, lw=0.8, ls=(0, (3, 1.5)), marker=single, ms=2)

    found = _by_kind(runs, "latency", draw)
    if found is None:
        return None
    for axes in found[1].values():
        axes.set_yscale("log")
        log_axis(axes.yaxis)
        axes.set_ylabel("ms")
        _time_axis(axes)
    return found[0]


def _tail(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    def draw(axes: Axes, mine: pd.DataFrame, colour: str, name: str) -> None:
        axes.plot(1 / mine["rest"], mine["ms"], color=colour, label=name)
        axes.plot(1 / mine["rest"].iloc[-1:], mine["ms"].iloc[-1:], color=colour, marker="o", ms=3.5)

    found = _by_kind(runs, "tail", draw)
    if found is None:
        return None
    most = max(int(run.tables["tail"]["samples"].max()) for run in runs if len(run.tables["tail"]))
    for axes in found[1].values():
        tail_axes(axes, most)
        axes.label_outer()
    return found[0]


def _delivered(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    def draw(axes: Axes, mine: pd.DataFrame, colour: str, name: str) -> None:
        mine = mine[mine["sent"] > 0]
        single = "o" if len(mine) == 1 else ""
        share = mine["delivered"] / mine["sent"] * 100
        axes.plot(mine["at_s"], share, color=colour, label=name, marker=single, ms=3)

    found = _by_kind(runs, "delivered", draw)
    if found is None:
        return None
    for axes in found[1].values():
        low, high = axes.dataLim.intervaly
        axes.set_ylim(min(low, 99.0) - 0.2, max(high, 100.0) + 0.2)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g} %"))
        _time_axis(axes)
    return found[0]


def _gaps(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    return _exceeding(runs, {kind: kind for kind in KINDS}, "ms since the frame before", least_ms=1.0)


def _joins(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    return _sorted(runs, {"joins": "joins"})


def _changes(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    return _sorted(runs, _DIRECTIONS)


def _sorted(runs: Sequence[Curves], panels: Mapping[str, str]) -> Figure | None:
    """Draw for each length the share of what was done within it."""
    there = [key for key in panels if any(len(run.times[key]) for run in runs)]
    if not there:
        return None
    longest = max(float(run.times[key].max(initial=0.0)) for run in runs for key in there)
    figure, rows = sheet(0.5 + 1.6 * len(there), len(there), sharex=True)
    for axes, key in zip(rows, there, strict=True):
        for run, colour in zip(runs, SERIES, strict=False):
            times = run.times[key]
            if len(times):
                share = np.arange(1, len(times) + 1) / len(times) * 100
                label = f"{run.name} ({len(times):,})"
                axes.step(
                    np.append(times[:1], times), np.append(0, share), where="post", color=colour, label=label
                )
        axes.set_title(panels[key])
        axes.set_ylim(0, 104)
        axes.set_xlim(0, longest * 1.03)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.set_xlabel("within ms")
        axes.label_outer()
        legend(axes)
    return figure


def _exceeding(
    runs: Sequence[Curves], panels: Mapping[str, str], what: str, *, least_ms: float
) -> Figure | None:
    """Draw for each length the share of what took longer."""
    there = [key for key in panels if any((run.times[key] > least_ms).any() for run in runs)]
    if not there:
        return None
    figure, rows = sheet(0.5 + 1.6 * len(there), len(there), sharex=True)
    for axes, key in zip(rows, there, strict=True):
        for run, colour in zip(runs, SERIES, strict=False):
            times = run.times[key]
            if not len(times):
                continue
            at = np.geomspace(least_ms, max(times[-1], least_ms * 2), 240)
            longer = (len(times) - np.searchsorted(times, at, side="left")) / len(times) * 100
            axes.plot(at, np.where(longer > 0, longer, np.nan), color=colour, label=run.name)
        axes.set_title(panels[key])
        axes.set_xscale("log")
        axes.set_yscale("log")
        log_axis(axes.xaxis)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g} %"))
        axes.set_xlabel(what)
        axes.label_outer()
        legend(axes)
    return figure


def _over_time(runs: Sequence[Curves], panels: Sequence[tuple[str, str, str]]) -> Figure | None:
    """Draw a panel for each table: its column over time, a line for each run."""
    there = [panel for panel in panels if any(len(run.tables[panel[0]]) > 1 for run in runs)]
    if not there:
        return None
    figure, rows = sheet(0.5 + 1.45 * len(there), len(there), sharex=True)
    for place, (axes, (table, column, words)) in enumerate(zip(rows, there, strict=True)):
        for run, colour in zip(runs, SERIES, strict=False):
            mine = run.tables[table]
            if len(mine):
                axes.plot(mine["at_s"], mine[column], color=colour, label=run.name)
        axes.set_ylabel(words)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        if place == 0:
            axes.set_title(" ")
            legend(axes)
        _time_axis(axes)
    return figure


def _server(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    return _over_time(runs, [("server", "percent", "% of a core"), ("memory", "mb", "memory, MB")])


def _generator(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    return _over_time(runs, [("generator", "percent", "% of a core"), ("lag", "ms", "worst lag, ms")])


def _time_axis(axes: Axes) -> None:
    axes.set_xlabel("seconds since the measured time began")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.label_outer()


def _events(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    """Draw the time line of each run below that of the one before."""
    shown = [run for run in runs if run.events]
    if not shown:
        return None
    sizes = [len(run.events) for run in shown]
    figure, rows = sheet(
        0.5 + sum(0.42 + 0.22 * size for size in sizes),
        len(shown),
        sharex=True,
        height_ratios=[0.3 + size for size in sizes],
    )
    for axes, run in zip(rows, shown, strict=True):
        draw_ticks(axes, run.events)
        axes.set_title(run.name)
        _time_axis(axes)
    return figure


def _heat_maps(runs: Sequence[Curves], _: Sequence[SideBySide]) -> Figure | None:
    """Draw a square for each kind and run, all with the same colours."""
    kinds = [kind for kind in KINDS if any((run.pairs["kind"] == kind).any() for run in runs)]
    shown = [run for run in runs if len(run.pairs)]
    if not kinds:
        return None
    scale: LogNorm = colour_scale(pd.concat([run.pairs["p95_ms"] for run in shown]))
    columns = min(4, len(shown))
    bands = -(-len(shown) // columns)
    side = min(WIDTH_IN / (columns + 0.4), WIDTH_IN / 3)
    with_bar = Figure(figsize=(WIDTH_IN, (side + 0.25) * bands * len(kinds) + 0.2))
    grid = with_bar.subplots(bands * len(kinds), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    image = None
    for number, run in enumerate(shown):
        layout = Grid.of(run.pairs)
        for row, kind in enumerate(kinds):
            axes = grid[(number // columns) * len(kinds) + row, number % columns]
            mine = run.pairs[run.pairs["kind"] == kind]
            if mine.empty:
                continue
            axes.set_axis_on()
            image = cells(axes, mine, layout, scale)
            axes.set_title(f"{run.name}, {kind}", size=8)
            layout.label(axes, most=5)
    if image is None:
        return None
    bar = with_bar.colorbar(image, ax=list(grid.flat), shrink=0.6, pad=0.02)
    bar.outline.set_visible(False)
    log_axis(bar.ax.yaxis)
    bar.set_label("p95, ms")
    return with_bar


_Draw = Callable[[Sequence[Curves], Sequence[SideBySide]], Figure | None]
_PLOTS: Final[tuple[tuple[str, str, str, Topic | None, _Draw], ...]] = (
    (
        "relative",
        "What moved, relative to the first run",
        f"Figures that moved by more than their intervals and have some, at most {_MOST_MOVED}, as multiples of the first run's "
        "value; without shares. Lines are 95 % intervals.",
        None,
        _relative,
    ),
    (
        "events",
        "Events and faults",
        "One tick an event, a panel a run.",
        None,
        _events,
    ),
    (
        "latency-over-time",
        "Latency over time",
        "One way, in each second: the 95th percentile as a line, the median dashed.",
        Topic.LATENCY,
        _latency,
    ),
    (
        "latency-distribution",
        "Distribution of latency",
        "Which share of all samples arrived within which time; each step to the right is a tenth of what was left, the dot is "
        "the single worst sample.",
        Topic.LATENCY,
        _tail,
    ),
    (
        "joins",
        "Joins",
        "Share of the joins after which all streams to and from the participants already there flowed within which time.",
        Topic.LATENCY,
        _joins,
    ),
    (
        "delivered",
        "Share delivered",
        "Of the frames due at receivers, by the second of sending; without senders' records of the packets, by their numbers.",
        Topic.DELIVERY,
        _delivered,
    ),
    (
        "changes",
        "Mode changes",
        "Share of the changes that were over within which time of the gateway's decision, for each participant.",
        Topic.SWITCHING,
        _changes,
    ),
    (
        "gaps",
        "Time between frames",
        "Share of the times between one stamped frame of a stream and the next that were longer than what.",
        Topic.STREAMS,
        _gaps,
    ),
    (
        "heat-maps",
        "Latency from each sender to each receiver",
        "95th percentile of each stream, the same colours in every run; across: senders, down: receivers; red: the stream did "
        "not flow.",
        Topic.STREAMS,
        _heat_maps,
    ),
    (
        "server",
        "Media server over time",
        "CPU time of the process, and its resident memory.",
        Topic.SERVER,
        _server,
    ),
    (
        "generator",
        "Load generator over time",
        "CPU time of all its threads and processes, and how late one of them woke up at worst.",
        Topic.GENERATOR,
        _generator,
    ),
)
