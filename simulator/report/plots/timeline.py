"""The run at a glance: who joined and left, what changed, what was injected and what went wrong, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.analysis.series import since_start_s
from simulator.report.drawing import COLOURS, PlotData, plot, sheet, time_axis
from simulator.report.events import errors_of

_SINGLE = 400
"""More events of one kind than this are drawn as a density of one colour."""


@plot(
    "timeline",
    "Events and faults",
    "One tick an event; the shaded part is what is measured.",
    topic=None,
)
def timeline(data: PlotData) -> Figure | None:
    """Draw one row for each kind of event that the run had."""
    raw = data.raw
    rows = [(label, times, colour) for label, times, colour in event_rows(data) if len(times)]
    if not rows:
        return None
    figure, (axes,) = sheet(0.75 + 0.24 * len(rows))
    draw_ticks(axes, rows)
    start, end = raw.context.window_start_ns, raw.context.window_end_ns
    if start is not None and end is not None:
        axes.axvspan(*since_start_s(raw, [start, end]), color=COLOURS["line"], alpha=0.35, lw=0, zorder=0)
    time_axis(axes, data)
    return figure


def draw_ticks(axes: Axes, rows: Sequence[tuple[str, np.ndarray, str]]) -> None:
    """Draw a row for each kind of event, the first on top, with a tick for each time it happened."""
    for place, (_, times, colour) in enumerate(reversed(rows)):
        alpha = 1.0 if len(times) <= _SINGLE else max(0.15, _SINGLE / len(times))
        axes.vlines(
            times, place - 0.36, place + 0.36, color=colour, lw=1.1, alpha=alpha, rasterized=len(times) > 3000
        )
    axes.set_yticks(range(len(rows)), [f"{label} ({len(times):,})" for label, times, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")


def event_rows(data: PlotData) -> list[tuple[str, np.ndarray, str]]:
    """Return name, times and colour of each kind of event; times count from the begin of the run."""
    raw = data.raw
    arrivals, changes, faults = (raw.tables[name] for name in ("arrivals", "transitions", "deaths"))
    joins = raw.tables["joins"]["started_ns"] if arrivals.empty else arrivals["started_ns"]
    ended = changes[(changes["completed_ns"] > 0) & changes["success"].fillna(False).astype(bool)]
    rows = [
        ("joins", joins, "green"),
        ("leaves", arrivals["left_ns"][arrivals["left_ns"] > 0], "grey"),
        ("moved to the SFU", ended["completed_ns"][ended["new"] == "sfu"], "blue"),
        ("moved to peer to peer", ended["completed_ns"][ended["new"] == "p2p"], "violet"),
        *((f"fault: {what}", mine["unix_ns"], "red") for what, mine in faults.groupby("what")),
        ("errors", [event.get("unix_ns", 0) for event in errors_of(raw)], "amber"),
    ]
    return [(label, since_start_s(raw, times), COLOURS[colour]) for label, times, colour in rows]
