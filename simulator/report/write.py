"""Reports: from the raw data of a run to its verdict, as summary.json, report.md and report.html.

Puts figures, self-check and SLOs together and writes them. The figures are computed by the modules of analysis/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from meeshy_sfu.private_files import DIRECTORY_MODE, close_to_others
from simulator.analysis import (
    call_streams,
    delivery,
    drift,
    generator_check,
    leaks,
    machine_check,
    metrics,
    packets,
    participants,
    pauses,
    rtcp,
    series,
    transitions,
)
from simulator.analysis.completeness import gaps
from simulator.analysis.figures import compute
from simulator.analysis.pauses import by_stream as streams_with_pauses
from simulator.analysis.raw_run import RawRun
from simulator.analysis.uncertainty import intervals, share_intervals
from simulator.figure_types import Bounds
from simulator.report.drawing import Drawing, PlotData, draw_all
from simulator.report.highlights import highlights
from simulator.report.render import Chapter, Chart, to_html, to_markdown
from simulator.report.sections import sections
from simulator.report.verdict import judge
from simulator.samples.recorder import is_shared, share_reports
from simulator.scenario import patterns
from simulator.slo import objectives
from simulator.summary import SloResult, Summary, Topic, Verdict

EXIT_CODES: dict[Verdict, int] = {"pass": 0, "error": 1, "fail": 3, "void": 4}
"""What `meeshy simulate` and `meeshy report` end with."""
_FINDINGS = 10
"""Leaks and contradictions that the verdict names; the report lists all."""
FIGURES = (
    metrics,
    call_streams,
    transitions,
    leaks,
    delivery,
    participants,
    packets,
    pauses,
    drift,
    rtcp,
    machine_check,
)
"""The modules whose functions compute the figures."""
Plots = Literal["none", "page", "files"]
"""Where plots go: nowhere, into report.html, or there and each into a file plots/NAME.png. The page takes about two seconds
of CPU, the files one more."""
_TITLES: dict[Verdict, str] = {
    "pass": "PASS: every objective holds",
    "fail": "FAIL: below an objective",
    "void": "VOID: load generator or machine were too weak to judge",
    "error": "ERROR: the run broke off",
}


def summarize(raw: RawRun) -> Summary:
    """Compute every figure of a run and judge it."""
    scenario, context = raw.scenario, raw.context
    bots = raw.tables["participants"]["bot_kind"]
    summary = Summary(
        scenario=scenario.name,
        seed=scenario.seed,
        verdict="pass",
        reasons=[],
        started_at=datetime.fromtimestamp(context.started_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        duration_s=raw.duration_s,
        participants=len(bots),
        bots={str(kind): int(count) for kind, count in bots.value_counts().items()},
        slo=[],
        left_out=context.left_out,
        machine=context.machine,
        **compute(raw),
    )
    bounds = intervals(raw) | share_intervals(summary)
    summary.intervals = {path: Bounds(low=one.low, high=one.high) for path, one in sorted(bounds.items())}
    values = summary.model_dump(mode="json", by_alias=True)
    outcomes = [slo.judge(values) for slo in objectives(scenario.slo)]
    summary.slo = [
        SloResult(expression=o.expression, value=o.value, limit=o.limit, passed=o.passed) for o in outcomes
    ]
    broken = [outcome.sentence() for outcome in outcomes if outcome.passed is False]
    if summary.leftovers is not None and any(line.startswith("leftovers.") for line in broken):
        broken += summary.leftovers.findings[:_FINDINGS]
    weak = [] if summary.generator.valid else generator_check.complaints(summary.generator, scenario.limits)
    weak += machine_check.complaints(summary.host, scenario.limits)
    if raw.tables["generator"].empty and (context.aborted or raw.duration_s is None):
        weak = []  # it broke off before there was a generator
    summary.verdict, summary.reasons = judge(
        context,
        measured=raw.duration_s is not None,
        gaps=gaps(raw, values, patterns()[scenario.pattern].promises(scenario)),
        weak=weak,
        broken=broken,
    )
    return summary


def write_report(directory: Path, *, plots: Plots = "page") -> Summary:
    """Compute a run's figures from its raw data and write summary.json, tables, report.md and report.html.

    Args:
        directory: Of the run.
        plots: Where plots go.

    Raises:
        RunDirectoryError: The directory holds no run.
    """
    composed = compose(directory, draw=plots != "none")
    for name, table in composed.tables.items():
        table.to_csv(directory / f"{name}.csv", index=False, float_format="%.3f")
        table.to_parquet(directory / f"{name}.parquet", index=False)
    if plots == "files":
        write_plots(directory, composed.drawings)
    summary = composed.summary
    write_pages(directory, f"{summary.scenario}: {summary.verdict}", [composed.chapter])
    (directory / "summary.json").write_text(summary.to_json(), encoding="utf-8")
    share_again(directory)
    return summary


@dataclass(frozen=True, slots=True)
class Composed:
    """A run that was judged, and its report."""

    summary: Summary
    chapter: Chapter
    tables: dict[str, pd.DataFrame]
    """What is written as CSV and Parquet, by the name of the file."""
    drawings: list[Drawing]


def compose(directory: Path, *, draw: bool = True, prefix: str = "") -> Composed:
    """Compute a run's figures from its raw data, and lay out its report.

    Args:
        directory: Of the run.
        draw: Whether the report has plots.
        prefix: Of the ids in its plots; another one for each run that shares the page.

    Raises:
        RunDirectoryError: The directory holds no run.
    """
    raw = RawRun.read(directory)
    summary = summarize(raw)
    data = plot_data(raw, summary)
    pairs = data.pairs
    received = series.receivers(pairs, raw)
    drawings = draw_all(data) if draw else []
    charts: dict[Topic | None, list[Chart]] = {}
    for one in drawings:
        charts.setdefault(one.topic, []).append(Chart(one.title, one.caption, one.svg(prefix)))
    parts = sections(data, received, charts)
    chapter = Chapter(title(summary), summary.verdict, highlights(summary), parts)
    return Composed(summary, chapter, {"pairs": pairs, "by_receiver": received}, drawings)


def plot_data(raw: RawRun, summary: Summary) -> PlotData:
    """Return what the plots of a run are drawn from."""
    pairs = metrics.pairs(raw) if raw.announces_streams else call_streams.pairs(raw)
    for more in (delivery.by_stream(raw), streams_with_pauses(raw)):
        pairs = pairs.merge(more, how="left", on=["sender", "receiver", "kind"])
    return PlotData(raw, summary, pairs)


def write_plots(directory: Path, drawings: Sequence[Drawing]) -> None:
    """Write plots as pictures into the folder `plots` of a run."""
    folder = directory / "plots"
    folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    for drawing in drawings:
        close_to_others(drawing.write_png(folder))


def share_again(directory: Path) -> None:
    """Let what was written anew be read by whom the rest of the directory is open to."""
    if is_shared(directory):
        share_reports(directory)


def write_pages(directory: Path, name: str, chapters: Sequence[Chapter], *, wide: bool = False) -> None:
    """Write a report as report.md and report.html; `wide` is for tables with many columns."""
    (directory / "report.md").write_text(to_markdown(chapters), encoding="utf-8")
    (directory / "report.html").write_text(to_html(name, chapters, wide=wide), encoding="utf-8")


def title(summary: Summary) -> str:
    """Return the verdict in one line."""
    return verdict_words(summary.verdict)


def verdict_words(verdict: Verdict) -> str:
    """Return what a verdict means."""
    return _TITLES[verdict]
