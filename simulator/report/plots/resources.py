"""Plots of what media server and load generator used."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from simulator.analysis.series import busy_over_time, since_start_s
from simulator.report.drawing import COLOURS, SERIES, PlotData, legend, plot, sheet, time_axis
from simulator.summary import Topic

_NAMED = 6
"""Threads that have a colour of their own; the others share one."""


@plot(
    "server",
    "Media server over time",
    "CPU time of the process and its threads, packets a second, resident memory. Collected once a second.",
    topic=Topic.SERVER,
    needs=("server",),
)
def server(data: PlotData) -> Figure | None:
    """Draw CPU, packets and memory below each other."""
    raw = data.raw
    rows = raw.tables["server"]
    rows = rows[rows["tick"] >= 0].sort_values("unix_ns")
    if len(rows) < 2:
        return None
    figure, (cpu, packets, memory) = sheet(4.4, 3, sharex=True, height_ratios=[1.3, 1, 1])
    at_s = since_start_s(raw, rows["unix_ns"])
    whole = busy_over_time(rows.assign(process="whole process"), raw, "process")
    cpu.plot(whole["at_s"], whole["percent"], color=COLOURS["ink"], label="whole process")
    threads = raw.tables["server_threads"]
    unique = threads.groupby("name")["thread"].nunique().max() == 1
    names = threads["name"].astype(str)
    named = threads.assign(who=names if unique else names + " " + threads["thread"].astype(str))
    _threads(cpu, busy_over_time(named, raw, "who"), "who")
    cpu.set_ylabel("% of a core")
    cpu.set_title(" ")
    cpu.set_ylim(bottom=0)
    middle = at_s[:-1] + np.diff(at_s) / 2
    for name, label, colour in (("packets_out", "sent", "blue"), ("packets_in", "received", "orange")):
        rate = rows[name].diff().iloc[1:].to_numpy(dtype=np.float64) / np.diff(at_s)
        packets.plot(middle, np.where(rate < 0, np.nan, rate), color=COLOURS[colour], label=label)
    packets.set_ylabel("packets/s")
    packets.set_ylim(bottom=0)
    packets.set_title(" ")
    packets.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    memory.plot(at_s, rows["rss_bytes"].to_numpy(dtype=np.float64) / 1e6, color=COLOURS["green"])
    memory.set_ylabel("memory, MB")
    memory.set_ylim(bottom=0)
    _finish((cpu, packets, memory), data)
    return figure


@plot(
    "generator",
    "Load generator over time",
    "CPU time of its threads and processes, and how late each woke up at worst, in each second.",
    topic=Topic.GENERATOR,
    needs=("generator",),
)
def generator(data: PlotData) -> Figure | None:
    """Draw CPU and lag below each other."""
    raw = data.raw
    rows = raw.tables["generator"]
    rows = rows[rows["tick"] >= 0].sort_values("unix_ns")
    if rows["tick"].nunique() < 2:
        return None
    figure, (cpu, lag) = sheet(3.3, 2, sharex=True)
    _threads(cpu, busy_over_time(rows, raw, "generator"), "generator")
    cpu.set_ylabel("% of a core")
    cpu.set_ylim(bottom=0)
    cpu.set_title(" ")
    worst = rows[rows["tick"] > 0].groupby("tick").agg(unix_ns=("unix_ns", "max"), lag=("lag_max_us", "max"))
    lag.plot(
        since_start_s(raw, worst["unix_ns"]), worst["lag"] / 1e3, color=COLOURS["violet"], label="worst lag"
    )
    limit = raw.scenario.limits.lag_p95_ms
    if worst["lag"].max() / 1e3 > limit / 4:
        lag.axhline(limit, color=COLOURS["red"], lw=0.8, ls="--", label="limit of its 95th percentile")
    lag.set_ylabel("lag, ms")
    lag.set_ylim(bottom=0)
    lag.set_title(" ")
    _finish((cpu, lag), data)
    return figure


def _threads(axes: Axes, busy: pd.DataFrame, by: str) -> None:
    """Draw the busiest ones in colours of their own, the others in grey."""
    order = busy.groupby(by)["percent"].mean().sort_values(ascending=False).index
    for place, who in enumerate(order):
        mine = busy[busy[by] == who]
        named = place < _NAMED
        label = str(who) if named else ("others" if place == _NAMED else "_")
        colour = SERIES[place % len(SERIES)] if named else COLOURS["grey"]
        axes.plot(mine["at_s"], mine["percent"], color=colour, lw=1.1 if named else 0.6, label=label)


def _finish(rows: tuple[Axes, ...], data: PlotData) -> None:
    for axes in rows:
        time_axis(axes, data)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        legend(axes)
        axes.label_outer()
