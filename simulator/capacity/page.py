"""The report of a search: what it found, every run, and every figure against the number.

Lays out; what is said is in result.py. Drawn as the plots of a run's report are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import FuncFormatter, MaxNLocator

from simulator.capacity.result import CapacitySummary, RunOfNumber
from simulator.figure_types import Percentiles, Share, Topic
from simulator.report.drawing import COLOURS, SERIES, WIDTH_IN, Drawing, styled
from simulator.report.figures import number
from simulator.report.render import Chapter, Chart, Section, Table
from simulator.report.write import write_pages
from simulator.summary import Figure, figures_of

_COLUMNS = 2
_MARKS: Final = {"pass": ("o", "green"), "fail": ("X", "red"), "void": ("D", "grey")}
_SHOWN = (
    ("latency_ms.video.p95", "video p95 ms"),
    ("latency_ms.audio.p95", "audio p95 ms"),
    ("delivered_ratio.video.ratio", "video delivered"),
    ("server.cpu_core_percent", "server % of a core"),
    ("generator.cpu_core_percent", "generator % of a core"),
    ("generator.lag_ms.p95", "generator lag p95 ms"),
)


def write_report(directory: Path, summary: CapacitySummary) -> None:
    """Write capacity.json, report.md and report.html."""
    sections = [Section("What was found", [f"- {line}" for line in summary.statement])]
    sections += [_runs(summary), *_plots(summary)]
    title = f"Capacity, {summary.counted}: {summary.statement[0]}"
    write_pages(directory, f"capacity: {summary.vary}", [Chapter(title, summary.verdict, sections=sections)])
    (directory / "capacity.json").write_text(summary.to_json(), encoding="utf-8")


def _runs(summary: CapacitySummary) -> Section:
    table = Table([summary.vary, "verdict", *(head for _, head in _SHOWN), "raw data in"])
    for run in summary.runs:
        table.rows.append(
            [
                str(run.number),
                run.outcome.upper(),
                *(
                    number(run.figures.get(path), "ratio" if path.endswith("ratio") else "")
                    for path, _ in _SHOWN
                ),
                run.folder,
            ]
        )
    runs = "run" if summary.repeats == 1 else "runs"
    lines = [
        f"Scenario {summary.scenario}, {summary.counted} from {summary.start} to {summary.stop}; "
        f"{summary.repeats} {runs} at each side of the edge. A void run counts for nothing."
    ]
    lines += [
        f"- {run.folder or run.number} {run.outcome}: {'; '.join(run.reasons)}"
        for run in summary.runs
        if run.reasons
    ]
    return Section("Runs, in their order", lines, [table])


def _plots(summary: CapacitySummary) -> list[Section]:
    """Draw each figure against the number, by topic; those that never change are listed."""
    judged = [run for run in summary.runs if run.outcome in _MARKS]
    sections: list[Section] = []
    constant: dict[str, list[str]] = {}
    for topic in Topic:
        panels = []
        for figure in figures_of(topic):
            paths = _paths(figure, judged)
            if any(len({run.figures.get(path) for run in judged} - {None}) > 1 for path in paths.values()):
                panels.append((figure, paths))
            elif paths:
                value = judged[0].figures.get(next(iter(paths.values())))
                constant.setdefault(number(value, figure.unit), []).append(figure.label)
        if panels:
            drawing = Drawing(
                f"capacity-{topic.name.lower()}",
                f"By {summary.counted}",
                "Circle: pass; cross: fail; diamond: void. Lines join the means.",
                topic,
                _draw(panels, judged, summary),
            )
            chart = Chart(drawing.title, drawing.caption, drawing.svg())
            sections.append(Section(topic.value, charts=[chart]))
    if constant:
        lines = [f"- {value}: {', '.join(labels)}" for value, labels in constant.items()]
        sections.append(Section("The same in every run", lines))
    return sections


def _paths(figure: Figure, runs: Sequence[RunOfNumber]) -> dict[str, str]:
    """Return the paths of a figure's numbers that are drawn, by their label."""
    if figure.is_group:
        return {}
    if figure.type is Percentiles:
        names = {name: f"{figure.path}.{name}" for name in ("p50", "p95", "max")}
    elif figure.type is Share:
        names = {"": f"{figure.path}.ratio"}
    else:
        names = {"": figure.path}
    return {name: path for name, path in names.items() if any(path in run.figures for run in runs)}


def _draw(
    panels: Sequence[tuple[Figure, dict[str, str]]], runs: Sequence[RunOfNumber], summary: CapacitySummary
) -> Sheet:
    rows = math.ceil(len(panels) / _COLUMNS)
    with styled():
        sheet = Sheet(figsize=(WIDTH_IN, 2.1 * rows + 0.4))
        axes = [one for row in sheet.subplots(rows, _COLUMNS, squeeze=False) for one in row]
        for place, (figure, paths) in zip(axes, panels, strict=False):
            _panel(place, figure, paths, runs)
            place.set_xlabel(summary.counted)
        for unused in axes[len(panels) :]:
            unused.set_visible(False)
        # one legend for all: beside the title of a panel there is no room
        labelled = (one.get_legend_handles_labels() for one in axes)
        handles, names = next((found for found in labelled if found[1]), ([], []))
        if names:
            sheet.legend(handles, names, loc="outside upper right", ncols=len(names))
    return sheet


def _panel(axes: Axes, figure: Figure, paths: dict[str, str], runs: Sequence[RunOfNumber]) -> None:
    scale = {"ratio": 100.0, "bytes": 1e-6}.get(figure.unit, 1.0)
    unit = {"ratio": "%", "bytes": "MB"}.get(figure.unit, figure.unit)
    for colour, (name, path) in zip(SERIES, paths.items(), strict=False):
        known = [run for run in runs if path in run.figures]
        numbers = sorted({run.number for run in known})
        means = [
            sum(values) / len(values)
            for n in numbers
            if (values := [run.figures[path] * scale for run in known if run.number == n])
        ]
        axes.plot(numbers, means, color=colour, lw=1.0, label=name or "_")
        for outcome, (mark, of_outcome) in _MARKS.items():
            some = [run for run in known if run.outcome == outcome]
            axes.scatter(
                [run.number for run in some],
                [run.figures[path] * scale for run in some],
                marker=mark,
                s=18,
                color=COLOURS[of_outcome],
                zorder=3,
                linewidths=0,
            )
    axes.set_title(f"{figure.label}, {unit}" if unit else figure.label)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
