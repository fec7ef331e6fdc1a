"""The report that compares several runs: their verdicts side by side, every figure with a column a run, what moved.

Each run is judged anew from its raw samples; its own directory is left as it is. Which figures moved is decided in
analysis/comparison.py, drawings are made in report/overlays.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from simulator.analysis.comparison import Change, SideBySide, side_by_side
from simulator.analysis.raw_run import RawRun
from simulator.analysis.uncertainty import Interval
from simulator.errors import UsageError
from simulator.figure_types import Bounds
from simulator.report.criteria import criteria
from simulator.report.drawing import Drawing
from simulator.report.figures import interval_text, number
from simulator.report.finished import FinishedRun, differing, refuse_no_run, refuse_repeated, scenario_of
from simulator.report.overlays import MOST_RUNS, Curves, draw_overlays
from simulator.report.render import Chapter, Chart, Note, Section, Table
from simulator.report.verdict import worst
from simulator.report.write import Plots, plot_data, summarize, verdict_words, write_pages, write_plots
from simulator.samples.recorder import RunDirectory
from simulator.summary import Topic, Unit, Verdict

NAME = "comparison"
_TIMESTAMP = re.compile(r"^\d{8}T\d{6}Z-")
_LONGEST_NAME = 20
_LONGEST_VALUE = 38
"""Of a key of the scenario; comparison.json has all of it."""
_WIDE_FROM = 4
"""So many runs need a wide page."""
_SCENARIO_AS_A_WHOLE = frozenset({"name", "description"})
"""Keys of a scenario that stand in the table of runs, or change nothing."""


class ComparedRun(BaseModel):
    """One run of a comparison."""

    name: str
    """Its number among the runs, and the end of its directory's name."""
    directory: str
    verdict: Verdict
    reasons: list[str]
    scenario: str
    pattern: str
    participants: int
    bots: dict[str, int]
    seed: int
    duration_s: float | None
    started_at: str
    version: str | None


class Moved(BaseModel):
    """A number that moved by more than its intervals between two runs, which are counted from 0."""

    earlier: int
    later: int
    change: Change


class ComparedFigure(BaseModel):
    """One number of the summary in every run; null where a run did not measure it."""

    path: str
    label: str
    unit: Unit
    values: list[float | None]
    intervals: list[Bounds | None]
    moved: list[Moved]


class Comparison(BaseModel):
    """What was compared and what was found; written as comparison.json."""

    comparison_schema: Literal["meeshy.comparison/1"] = Field(default="meeshy.comparison/1", alias="schema")
    verdict: Verdict
    """The worst of the runs: error before fail before void before pass."""
    runs: list[ComparedRun]
    differences: dict[str, list[str | None]]
    """What was run, or on which machine, where it is not the same in all runs: a value for each of them."""
    figures: list[ComparedFigure]

    def to_json(self) -> str:
        """Return the content of comparison.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs of a comparison, judged."""

    names: Sequence[str]
    runs: Sequence[FinishedRun]
    curves: Sequence[Curves]
    figures: Sequence[SideBySide]
    differences: Mapping[str, list[str | None]]


def write_comparison(
    directories: Sequence[Path], *, state: Path, out: Path | None, plots: Plots = "page"
) -> tuple[Path, Comparison, list[FinishedRun]]:
    """Judge runs anew from their raw data and write one report on all of them.

    Args:
        directories: Of the runs, in the order of their columns; others are compared with the first.
        state: The state directory, where the report goes unless `out` is given.
        out: Directory to make for the report.
        plots: Where plots go.

    Raises:
        UsageError: A run is named twice, or there are too many.
        RunDirectoryError: A directory holds no complete run, or the report cannot be written.
    """
    refuse_repeated(directories)
    if len(directories) > MOST_RUNS:
        raise UsageError(
            f"{len(directories)} runs cannot be told apart on one page; name at most {MOST_RUNS}"
        )
    for directory in directories:
        refuse_no_run(directory)
    with RunDirectory.chosen(out, state, NAME) as target:
        compared = _read(directories, draw=plots != "none")
        found = _result(compared)
        drawings = [] if plots == "none" else draw_overlays(compared.curves, _moved(compared.figures))
        chapter = _chapter(compared, found, drawings)
        write_pages(
            target.partial,
            f"comparison: {len(directories)} runs",
            [chapter],
            wide=len(directories) >= _WIDE_FROM,
        )
        (target.partial / "comparison.json").write_text(found.to_json(), encoding="utf-8")
        if plots == "files":
            write_plots(target.partial, drawings)
        return target.complete(), found, list(compared.runs)


def _read(directories: Sequence[Path], *, draw: bool) -> _Runs:
    """Read and judge the runs one after the other, so that the raw samples of only one are in memory."""
    names = _names(directories)
    runs: list[FinishedRun] = []
    curves: list[Curves] = []
    for name, directory in zip(names, directories, strict=True):
        raw = RawRun.read(directory)
        run = FinishedRun(directory, summarize(raw), scenario_of(directory))
        runs.append(run)
        if draw:
            curves.append(Curves.of(name, plot_data(raw, run.summary)))
    figures = side_by_side([run.summary for run in runs])
    return _Runs(names, runs, curves, figures, _differences(runs))


def _names(directories: Sequence[Path]) -> list[str]:
    """Return the number of each run and the end of its directory's name."""
    names = []
    for place, directory in enumerate(directories, 1):
        name = _TIMESTAMP.sub("", directory.resolve().name)
        names.append(f"{place} {_shortened(name, _LONGEST_NAME)}")
    return names


def _differences(runs: Sequence[FinishedRun]) -> dict[str, list[str | None]]:
    """Return what was not the same in all runs: keys of the scenario, and of the machine."""
    columns = [dict(_flat(run.scenario)) | _machine(run) for run in runs]
    found: dict[str, list[str | None]] = {}
    for key in sorted({key for column in columns for key in column}):
        values = [column.get(key) for column in columns]
        if key not in _SCENARIO_AS_A_WHOLE and len(set(values)) > 1:
            found[key] = values
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _machine(run: FinishedRun) -> dict[str, str]:
    machine = run.summary.machine
    values = {} if machine is None else machine.model_dump(exclude_none=True)
    return {f"machine: {key}": str(value) for key, value in values.items()}


def _moved(figures: Sequence[SideBySide]) -> list[SideBySide]:
    return [one for one in figures if one.moves]


def _result(compared: _Runs) -> Comparison:
    return Comparison(
        verdict=worst(run.summary.verdict for run in compared.runs),
        runs=[
            ComparedRun(
                name=name,
                directory=str(run.directory),
                verdict=run.summary.verdict,
                reasons=run.summary.reasons,
                scenario=run.summary.scenario,
                pattern=str(run.scenario.get("pattern", "")),
                participants=run.summary.participants,
                bots=run.summary.bots,
                seed=run.summary.seed,
                duration_s=run.summary.duration_s,
                started_at=run.summary.started_at,
                version=None if run.summary.machine is None else run.summary.machine.version,
            )
            for name, run in zip(compared.names, compared.runs, strict=True)
        ],
        differences=dict(compared.differences),
        figures=[
            ComparedFigure(
                path=one.path,
                label=one.label,
                unit=one.figure.unit,
                values=list(one.values),
                intervals=list(one.intervals),
                moved=[Moved(earlier=m.earlier, later=m.later, change=m.change) for m in one.moves],
            )
            for one in compared.figures
        ],
    )


def _chapter(compared: _Runs, found: Comparison, drawings: Sequence[Drawing]) -> Chapter:
    charts: dict[Topic | None, list[Chart]] = {}
    for one in drawings:
        charts.setdefault(one.topic, []).append(Chart(one.title, one.caption, one.svg()))
    overview = charts.pop(None, [])
    moved = _what_moved(compared)
    moved.charts = overview
    topics = [_topic(compared, topic, charts.get(topic, [])) for topic in Topic]
    verdicts = [
        (run.name, f"{run.verdict.upper()}: {verdict_words(run.verdict).partition(': ')[2]}")
        for run in found.runs
    ]
    return Chapter(
        f"{len(found.runs)} runs: {', '.join(run.verdict.upper() for run in found.runs)}",
        found.verdict,
        verdicts,
        sections=[
            _runs(compared, found),
            moved,
            _what_is_missing(compared),
            _how_they_differ(compared),
            _objectives(compared),
            *topics,
        ],
    )


def _runs(compared: _Runs, found: Comparison) -> Section:
    """List the runs, where their raw data is, and why those that did not pass did not."""
    lines = []
    for name, run in zip(compared.names, compared.runs, strict=True):
        verdict, more = run.summary.verdict, [*run.summary.reasons, f"raw data in {run.directory}"]
        little = f" is {verdict}, so its figures say little" if verdict in ("void", "error") else ""
        lines.append(f"- {name}{little}: {'; '.join(more)}")
    table = Table(["run", "verdict", "scenario", "participants", "measured", "seed", "begun"])
    for one in found.runs:
        table.rows.append(
            [
                one.name,
                one.verdict.upper(),
                one.scenario,
                _participants(one),
                number(one.duration_s and round(one.duration_s, 1)) + " s" * bool(one.duration_s),
                str(one.seed),
                one.started_at[:19].replace("T", " "),
            ]
        )
    return Section("Runs", lines, [table])


def _participants(run: ComparedRun) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(run.bots.items()))
    return f"{run.participants} ({kinds})"


def _what_moved(compared: _Runs) -> Section:
    section = Section("What moved by more than its intervals")
    section.lines += _other_tests(compared)
    moved = _moved(compared.figures)
    unknown = sum(
        one.differs and one.is_of_all and not one.moves and None in one.intervals for one in compared.figures
    )
    section.lines.append(
        "Better, worse and moved are said of each run against the first, where the 95 % intervals do not overlap; a count that "
        "must be 0 is exact. Intervals cover what varies within a run, not between runs."
    )
    if not moved:
        section.lines.append("No figure moved by more than its intervals.")
    if unknown:
        section.lines.append(
            f"{unknown} figures without intervals differ, too: how much they vary is not known. They are below."
        )
    section.tables.append(_table(compared, moved, between=len(compared.runs) > 2))
    return section


def _other_tests(compared: _Runs) -> list[str]:
    """Say which runs did something else than the first."""
    by_what: dict[str, list[str]] = {}
    for name, run in zip(compared.names[1:], compared.runs[1:], strict=True):
        if what := ", ".join(what for what, _, _ in differing(compared.runs[0], run)):
            by_what.setdefault(what, []).append(name)
    others = "; ".join(f"{', '.join(names)} ({what})" for what, names in by_what.items())
    return (
        [f"Not the same test as {compared.names[0]}: {others}. What moved there is not the server's alone."]
        if others
        else []
    )


def _table(compared: _Runs, figures: Sequence[SideBySide], *, between: bool = False) -> Table:
    """Lay out figures with a column for each run, and which others than the first differ if that is asked for."""
    table = Table(["figure", *compared.names, *(["differ, too"] if between else [])])
    for one in figures:
        unit = one.figure.unit
        cells = [number(value, unit) for value in one.values]
        notes: list[Note | None] = [None]
        for place, (value, bounds) in enumerate(zip(one.values, one.intervals, strict=True)):
            change = one.change(place) if place else None
            interval = None if bounds is None or value is None else Interval(bounds.low, bounds.high)
            text = interval_text(interval, "ratio" if unit == "ratio" else "").replace("–", "")
            notes.append(Note(text, change or "") if text or change else None)
        table.rows.append([one.label, *cells, *([_other_pairs(one)] if between else [])])
        table.notes.append([*notes, *([None] if between else [])])
        table.hints.append(f"{one.path}: {one.figure.meaning}")
    return table


def _other_pairs(one: SideBySide) -> str:
    """Return which runs differ from each other, without the first: `2 from 4, 5; 3 from 5`."""
    found: dict[int, list[str]] = {}
    for move in one.moves:
        if move.earlier:
            found.setdefault(move.earlier + 1, []).append(str(move.later + 1))
    return "; ".join(f"{earlier} from {', '.join(later)}" for earlier, later in found.items())


def _what_is_missing(compared: _Runs) -> Section:
    """List by section of the report what some runs measured and others did not."""
    lines: list[str] = []
    for topic in Topic:
        by_runs: dict[tuple[str, ...], list[str]] = {}
        for one in compared.figures:
            lacking = tuple(
                name for name, value in zip(compared.names, one.values, strict=True) if value is None
            )
            if one.figure.topic is topic and lacking:
                by_runs.setdefault(lacking, []).append(one.figure.label)
        lines += [
            f"- {topic.value}, not in {', '.join(names)}: {', '.join(dict.fromkeys(labels))}"
            for names, labels in by_runs.items()
        ]
    if lines:
        lines.insert(
            0, "This kind of run does not have these figures, or had no samples of them; below is a dash."
        )
    return Section("What not every run measured", lines)


def _how_they_differ(compared: _Runs) -> Section:
    rows = [
        [key, *("–" if value is None else _shortened(value, _LONGEST_VALUE) for value in values)]
        for key, values in compared.differences.items()
    ]
    lines = [] if rows else ["The same scenario, options and machine."]
    return Section("What differs in what was run", lines, [Table(["", *compared.names], rows)])


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _objectives(compared: _Runs) -> Section:
    table = Table(["objective", *compared.names])
    judged = [{one.expression: one for one in criteria(run.summary)} for run in compared.runs]
    for expression in dict.fromkeys(key for mine in judged for key in mine):
        mine = [one.get(expression) for one in judged]
        if all(one is None or one.passed is None for one in mine):
            continue
        outcomes = ["–" if one is None or one.passed is None else one for one in mine]
        cells = (one if isinstance(one, str) else f"{one.outcome}: {number(one.value)}" for one in outcomes)
        table.rows.append([expression, *cells])
    return Section("Objectives", [], [table])


def _topic(compared: _Runs, topic: Topic, charts: list[Chart]) -> Section:
    figures = [one for one in compared.figures if one.figure.topic is topic]
    return Section(topic.value, [], [_table(compared, figures)], charts)
