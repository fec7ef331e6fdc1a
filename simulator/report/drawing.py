"""How plots are drawn: one figure of matplotlib, as SVG inside the page and as PNG beside it.

Knows no plot by name: the functions are in report/plots/. Colours in the SVG are variables of the page's style sheet, so that
one drawing serves a light screen, a dark one and paper. docs/decisions/0014 says why it is done this way.
"""

from __future__ import annotations

import functools
import importlib
import io
import pkgutil
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from simulator.analysis.raw_run import RawRun
from simulator.summary import Summary, Topic

COLOURS: Final = {
    "ink": "#1f2328",
    "soft": "#57606a",
    "line": "#d0d7de",
    "blue": "#0969da",
    "orange": "#bc4c00",
    "green": "#1a7f37",
    "red": "#b42318",
    "violet": "#8250df",
    "grey": "#8c959f",
    "amber": "#9a6700",
    "teal": "#1b7c83",
}
"""Colours by name, as on paper; report.css has the same for dark screens."""
KIND_COLOURS: Final = {"audio": COLOURS["orange"], "video": COLOURS["blue"]}
SERIES: Final = tuple(
    COLOURS[name] for name in ("blue", "orange", "green", "violet", "teal", "red", "amber", "grey")
)
WIDTH_IN: Final = 8.6
_STYLE: Final = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["soft"],
    "ytick.labelcolor": COLOURS["soft"],
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4,
    "path.simplify": True,
    # names of threads and faults are text
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
}
_HEAD = re.compile(r"^.*?(?=<svg )", re.S)
_SIZE = re.compile(r' width="[\d.]+pt" height="[\d.]+pt"')
_FAMILY = re.compile(r"'DejaVu Sans'[^;\"]*|(?<=font-family: )[^;\"]*")
_NOT_NEEDED = re.compile(r"<metadata>.*?</metadata>\s*|<style type=\"text/css\">.*?</style>\s*", re.S)
_ID = re.compile(r'\s+id="([^"]+)"')
_REFERENCE = re.compile(r'href="#([^"]+)"|url\(#([^)]+)\)')
_COMMENT = re.compile(r"<!--.*?-->\s*", re.S)


@dataclass(frozen=True, slots=True)
class PlotData:
    """What plots are drawn from."""

    raw: RawRun
    summary: Summary
    pairs: pd.DataFrame
    """One row for each sender, receiver and kind."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, as its function declares it."""

    name: str
    """Of its file: plots/NAME.png."""
    title: str
    caption: str
    """What is drawn, in a sentence or two."""
    topic: Topic | None
    needs: tuple[str, ...]
    draw: Callable[[PlotData], Figure | None]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot that was drawn for a run."""

    name: str
    title: str
    caption: str
    topic: Topic | None
    figure: Figure

    def svg(self, prefix: str = "") -> Markup:
        """Return the drawing as an element of a page; `prefix` keeps its ids apart from those of another run's drawing."""
        with mpl.rc_context(_STYLE | {"svg.hashsalt": self.name}):  # type: ignore[arg-type]  # known by name only
            FigureCanvasSVG(self.figure)
            out = io.StringIO()
            self.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        return Markup(_inline(out.getvalue(), f"{prefix}{self.name}", self.title))  # noqa: S704 - matplotlib escapes its texts

    def write_png(self, folder: Path) -> Path:
        """Write the drawing as a picture on white; returns its path."""
        path = folder / f"{self.name}.png"
        with styled():
            FigureCanvasAgg(self.figure)
            self.figure.savefig(path, format="png", dpi=130, facecolor="white")
        return path


def plot(
    name: str, title: str, caption: str, *, topic: Topic | None, needs: tuple[str, ...] = ()
) -> Callable[[Callable[[PlotData], Figure | None]], Plot]:
    """Declare a plot.

    Args:
        name: Of its file.
        title: Above it.
        caption: What is drawn, in a sentence or two.
        topic: The section of the report that shows it; None for the overview.
        needs: Tables of samples that must have rows; without them the report is without this plot.
    """

    def declare(draw: Callable[[PlotData], Figure | None]) -> Plot:
        return Plot(name, title, caption, topic, needs, draw)

    return declare


@functools.cache
def plots() -> tuple[Plot, ...]:
    """Find all plots: every object of that type in a module of report/plots/, in the order of modules and lines."""
    package = importlib.import_module("simulator.report.plots")
    modules = [
        importlib.import_module(f"{package.__name__}.{m.name}")
        for m in pkgutil.iter_modules(package.__path__)
    ]
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Plot))


def draw_all(data: PlotData) -> list[Drawing]:
    """Draw every plot that the samples of a run allow."""
    drawn = []
    for one in plots():
        if any(data.raw.tables[table].empty for table in one.needs):
            continue
        with styled():
            figure = one.draw(data)
        if figure is not None:
            drawn.append(Drawing(one.name, one.title, one.caption, one.topic, figure))
    return drawn


def styled() -> AbstractContextManager[None]:
    """Return the style of all drawings, as a context in which a figure is made."""
    return mpl.rc_context(_STYLE)  # type: ignore[arg-type]


def sheet(height_in: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its axes, one below the other."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    axes = figure.subplots(rows, 1, squeeze=False, **options)
    return figure, list(axes[:, 0])


def legend(axes: Axes, *, columns: int = 6) -> None:
    """Put the legend in one line above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=min(columns, len(labels)),
            borderaxespad=0.2,
            handlelength=1.4,
            columnspacing=1.2,
        )


def time_axis(axes: Axes, data: PlotData) -> None:
    """Make x the time since the run began, and mark injected faults."""
    axes.set_xlabel("seconds since the run began")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    mark_faults(axes, data)


def mark_faults(axes: Axes, data: PlotData) -> None:
    """Draw a line for each injected fault, where there are few enough to tell them apart."""
    at_s = (data.raw.tables["deaths"]["unix_ns"].to_numpy(dtype=np.int64) - data.raw.context.started_ns) / 1e9
    if 0 < len(at_s) <= 60:
        for number, at in enumerate(at_s):
            axes.axvline(
                at, color=COLOURS["red"], lw=0.7, ls=(0, (2, 2)), label="" if number else "injected fault"
            )


def log_axis(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers; at 2 and 5, too, where it spans less than two decades."""
    low, high = axis.get_view_interval()
    wide = low > 0 and high / low >= 100
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(LogLocator(subs=tuple(range(2, 10)), numticks=12))
    axis.set_minor_formatter(NullFormatter())


def _inline(text: str, name: str, title: str) -> str:
    """Make the SVG file of matplotlib an element of a page, with ids of its own and the colours of the style sheet."""
    text = _HEAD.sub("", text)
    text = _COMMENT.sub("", _NOT_NEEDED.sub("", text))
    text = _SIZE.sub("", text, count=1)
    text = _FAMILY.sub("system-ui, sans-serif", text)
    used = {a or b for a, b in _REFERENCE.findall(text)}
    text = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    for key, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{key}, {colour})")
    return text.replace("<svg ", f'<svg class="plot" role="img" aria-label="{title}" ', 1).rstrip()
