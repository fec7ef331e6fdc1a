"""Plots of latency: over time, as a distribution, and where it comes from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from simulator.analysis.series import latency_over_time, latency_tail
from simulator.report.drawing import COLOURS, KIND_COLOURS, PlotData, legend, log_axis, plot, sheet, time_axis
from simulator.samples.schema import KINDS
from simulator.summary import Topic

_SHARES = (0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


@plot(
    "latency-over-time",
    "Latency over time",
    "One way, in each second: the median as a line, up to the 95th and the 99th percentile as bands, the maximum as dots.",
    topic=Topic.LATENCY,
    needs=("latency",),
)
def over_time(data: PlotData) -> Figure | None:
    """Draw one row for each kind."""
    table = latency_over_time(data.raw)
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    if not kinds:
        return None
    figure, rows = sheet(0.5 + 1.75 * len(kinds), len(kinds), sharex=True)
    for axes, kind in zip(rows, kinds, strict=True):
        mine, colour = table[table["kind"] == kind], KIND_COLOURS[kind]
        at = mine["at_s"]
        axes.fill_between(at, mine["p50"], mine["p99"], color=colour, alpha=0.16, lw=0, label="p99")
        axes.fill_between(at, mine["p50"], mine["p95"], color=colour, alpha=0.3, lw=0, label="p95")
        axes.plot(at, mine["p50"], color=colour, label="p50", marker="o" if len(mine) == 1 else "", ms=3)
        axes.plot(at, mine["max"], color=colour, ls="", marker=".", ms=3.5, label="max")
        axes.set_yscale("log")
        log_axis(axes.yaxis)
        axes.set_ylabel("ms")
        axes.set_title(kind, color=COLOURS["ink"])
        time_axis(axes, data)
        legend(axes)
        axes.label_outer()
    return figure


@plot(
    "latency-distribution",
    "Distribution of latency",
    "Which share of all samples arrived within which time. To the right each step is a tenth of what was left, down to the "
    "single worst sample.",
    topic=Topic.LATENCY,
    needs=("latency",),
)
def distribution(data: PlotData) -> Figure | None:
    """Draw percentiles on an axis that stretches the tail, as histograms of high dynamic range are drawn."""
    table = latency_tail(data.raw)
    if table.empty:
        return None
    figure, (axes,) = sheet(2.7)
    for kind, mine in table.groupby("kind", sort=False):
        colour = KIND_COLOURS[str(kind)]
        label = f"{kind}, {mine['samples'].iloc[0]:,} samples"
        axes.plot(1 / mine["rest"], mine["ms"], color=colour, label=label)
        axes.plot(1 / mine["rest"].iloc[-1:], mine["ms"].iloc[-1:], color=colour, marker="o", ms=3.5)
    tail_axes(axes, int(table["samples"].max()))
    legend(axes)
    return figure


def tail_axes(axes: Axes, most: int) -> None:
    """Make x the share of samples, each step a tenth of what was left, and y the time; `most` samples there are."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    log_axis(axes.yaxis)
    shown = [share for share in _SHARES if 1 / (1 - share) <= max(most, 10)]
    axes.xaxis.set_major_locator(FixedLocator([1 / (1 - share) for share in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{(1 - 1 / value) * 100:.7g} %"))
    axes.set_xlim(1, max(most, 10) * 1.3)
    axes.set_xlabel("share of samples")
    axes.set_ylabel("ms")


@plot(
    "latency-budget",
    "Latency budget",
    "Medians: what the emulated network adds by design, what remains for sending, server and operating system, and what the "
    "receiver's jitter buffer and decoder add.",
    topic=Topic.LATENCY,
    needs=("latency",),
)
def budget(data: PlotData) -> Figure | None:
    """Draw one bar for each kind, from the sender's stamp to the decoded frame."""
    parts = budget_ms(data)
    if parts.empty or (parts.iloc[:, 1:].fillna(0).sum(axis=1) == 0).all():
        return None
    figure, (axes,) = sheet(0.85 + 0.42 * len(parts))
    left = np.zeros(len(parts))
    palette = {"network, up": "grey", "server and operating system": "blue", "network, down": "amber"}
    end_of = parts.iloc[:, 1:].fillna(0).sum(axis=1)
    total = end_of.max()
    for name in parts.columns[1:]:
        width = parts[name].fillna(0).to_numpy(dtype=np.float64)
        if not width.any():
            continue
        axes.barh(
            range(len(parts)),
            width,
            left=left,
            height=0.55,
            color=COLOURS[palette.get(name, "violet")],
            label=name,
        )
        for place, (begin, length) in enumerate(zip(left, width, strict=True)):
            if end_of[place] > length > total * 0.07:
                axes.text(
                    begin + length / 2,
                    place,
                    f"{length:.3g}",
                    ha="center",
                    va="center",
                    color="white",
                    size=8.5,
                )
        left += width
    for place, end in enumerate(left):
        axes.text(end + total * 0.008, place, f"{end:.3g} ms", va="center", size=8.5)
    axes.set_xlim(0, total * 1.09)
    axes.set_yticks(range(len(parts)), parts["kind"])
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.grid(visible=False, axis="y")
    axes.set_title(" ")
    legend(axes, columns=4)
    return figure


def budget_ms(data: PlotData) -> pd.DataFrame:
    """Compute the parts of the median latency, one row a kind that has samples."""
    network = data.raw.scenario.network
    up, down = (link.delay_ms + link.jitter_ms / 2 for link in (network.up, network.down))
    samples, playout = data.raw.samples(), data.raw.tables["playout"]
    decoding = set(playout["receiver"].unique())
    rows = []
    for number, kind in enumerate(KINDS):
        mine = samples[samples["kind"] == number]
        if mine.empty:
            continue
        whole = float(mine["owd_ns"].median()) / 1e6
        decoded = mine[mine["receiver"].isin(decoding)]["owd_ns"].median() / 1e6
        out = playout.loc[playout["kind"] == number, "delay_ns"].median() / 1e6
        rows.append(
            (
                kind,
                up,
                max(0.0, whole - up - down),
                down,
                None if pd.isna(out) else max(0.0, float(out) - float(decoded)),
            )
        )
    names = [
        "kind",
        "network, up",
        "server and operating system",
        "network, down",
        "jitter buffer and decoder",
    ]
    return pd.DataFrame(rows, columns=names)
