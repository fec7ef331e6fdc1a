"""Suites: several scenarios run one after the other, with one report.

A suite is a TOML file with `[[parts]]`, each of which names a ready scenario and what is different about it. Every
part is a run of its own in a directory of its own, judged by its own objectives; the suite's verdict is the worst.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.errors import RunDirectoryError, ScenarioError
from simulator.report.live import Watcher
from simulator.report.render import Chapter, Section, Table
from simulator.report.verdict import worst
from simulator.report.write import Plots, compose, share_again, verdict_words, write_pages, write_plots
from simulator.runs.base import Run
from simulator.samples.recorder import RunDirectory
from simulator.scenario import Scenario, read_values, to_toml
from simulator.stack.watchdog import Watchdog
from simulator.summary import Summary, Verdict

_FILE = "programme.toml"


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid")

    suite_schema: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    description: str = ""
    parts: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a suite."""

    title: str
    scenario: Scenario
    folder: str
    """Its run directory inside that of the suite."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Scenarios to run one after the other.

    Example:
        ```python
        from simulator.runs.suite import load

        demo = load("demo")
        assert [part.scenario.name for part in demo.parts] == ["switch", "group"]
        ```
    """

    name: str
    description: str
    parts: tuple[Part, ...]

    def with_values(self, change: Callable[[Scenario], Scenario]) -> Suite:
        """Return a copy whose scenarios are all changed."""
        parts = tuple(Part(part.title, change(part.scenario), part.folder) for part in self.parts)
        return Suite(self.name, self.description, parts)

    def to_toml(self) -> str:
        """Write what is needed to write the report again: names, titles, folders."""
        head = to_toml({"name": self.name, "description": self.description})
        tables = (
            "[[parts]]\n" + to_toml({"title": p.title, "scenario": p.scenario.name, "folder": p.folder})
            for p in self.parts
        )
        return head + "\n" + "\n".join(tables)


class PartResult(BaseModel):
    """The result of one part."""

    title: str
    folder: str
    summary: Summary


class SuiteSummary(BaseModel):
    """The result of a suite; written as its summary.json."""

    summary_schema: Literal["meeshy.programme/1"] = Field(default="meeshy.programme/1", alias="schema")
    name: str
    verdict: Verdict
    """The worst of its parts: error before fail before void before pass."""
    reasons: list[str]
    parts: list[PartResult]

    def to_json(self) -> str:
        """Return the content of summary.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def load(name_or_path: str) -> Scenario | Suite:
    """Read a scenario or a suite by the name of a ready one, or from a TOML file.

    Raises:
        ScenarioError: There is none, or its content is wrong.
    """
    values, source = read_values(name_or_path)
    if "parts" not in values:
        return Scenario.from_values(values, source=source)
    try:
        head = _Head.model_validate(values)
    except ValidationError as error:
        found = error.errors()[0]
        path = ".".join(str(part) for part in found["loc"])
        raise ScenarioError(f"{source} cannot be run: {path}: {found['msg'].lower()}") from error
    parts = [_part(number, dict(part), source) for number, part in enumerate(head.parts, 1)]
    return Suite(head.name, head.description, tuple(parts))


def parts_of(name_or_path: str) -> list[Scenario]:
    """Read the scenarios of a suite, or the one scenario of that name.

    Raises:
        ScenarioError: As of :func:`load`.
    """
    found = load(name_or_path)
    return [part.scenario for part in found.parts] if isinstance(found, Suite) else [found]


def recorded(directory: Path) -> Scenario | Suite:
    """Read what a recorded run, or suite of runs, has run.

    Raises:
        RunDirectoryError: The directory holds none.
    """
    if not is_suite(directory):
        return _recorded_scenario(directory)
    name, description, named = _read(directory)
    parts = [Part(title, _recorded_scenario(directory / folder), folder) for title, folder in named]
    return Suite(name, description, tuple(parts))


def is_suite(directory: Path) -> bool:
    """Return whether a directory holds the runs of a suite."""
    return (directory / _FILE).is_file()


async def execute(
    suite: Suite,
    make_run: Callable[[Scenario, Path], Run],
    *,
    state: Path,
    out: Path | None,
    watcher: Watcher,
) -> tuple[Path, SuiteSummary]:
    """Run all parts and judge; returns the directory and the results. After a part that was interrupted none follows.

    Raises:
        UsageError: The directory cannot be written.
        SimulatorError: There was nothing to judge: no server, no clip.
    """
    directory = RunDirectory.chosen(out, state, suite.name)
    with directory, Watchdog() as watchdog:
        watchdog.watch_directory(directory.partial)
        done: list[Part] = []
        for number, part in enumerate(suite.parts, 1):
            watcher.begin(f"part {number} of {len(suite.parts)}: {part.title}")
            run = make_run(part.scenario, directory.partial / part.folder)
            await run.execute()
            done.append(part)
            if run.interrupted is not None:
                break
        done_suite = Suite(suite.name, suite.description, tuple(done))
        (directory.partial / _FILE).write_text(done_suite.to_toml(), encoding="utf-8")
        summary = await asyncio.to_thread(write_suite_report, directory.partial)
        return directory.complete(), summary


def write_suite_report(directory: Path, *, plots: Plots = "page") -> SuiteSummary:
    """Compute the figures of all parts again from raw data, and write one report on all parts.

    Raises:
        RunDirectoryError: The directory holds no suite.
    """
    name, description, named = _read(directory)
    results: list[PartResult] = []
    chapters: list[Chapter] = []
    for title, folder in named:
        composed = compose(directory / folder, draw=plots != "none", prefix=f"{folder}-")
        if plots == "files":
            write_plots(directory / folder, composed.drawings)
        chapter = composed.chapter
        results.append(PartResult(title=title, folder=folder, summary=composed.summary))
        chapter.title = f"{title}: {chapter.title}"
        chapters.append(chapter)
    verdict = worst(r.summary.verdict for r in results)
    reasons = [f"{r.title}: {reason}" for r in results for reason in r.summary.reasons]
    whole = SuiteSummary(name=name, verdict=verdict, reasons=reasons, parts=results)
    first = Chapter(verdict_words(verdict), verdict, sections=[_overview(description, whole)])
    write_pages(directory, f"{name}: {verdict}", [first, *chapters])
    (directory / "summary.json").write_text(whole.to_json(), encoding="utf-8")
    share_again(directory)
    return whole


def _read(directory: Path) -> tuple[str, str, list[tuple[str, str]]]:
    """Return name and description of a recorded suite, and title and folder of each part."""
    try:
        values = tomllib.loads((directory / _FILE).read_text(encoding="utf-8"))
        named = [(str(part["title"]), str(part["folder"])) for part in values["parts"]]
        return str(values["name"]), str(values["description"]), named
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{directory} holds no suite that can be read: {error!r}") from error


def _recorded_scenario(directory: Path) -> Scenario:
    path = directory / "scenario.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirectoryError(f"{directory} is no run directory: {path.name} is missing") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunDirectoryError(f"{path} cannot be read: {error}") from error
    return Scenario.from_record(values, source=str(path))


def _overview(description: str, whole: SuiteSummary) -> Section:
    rows = [
        [
            r.title,
            r.summary.verdict.upper(),
            "; ".join(r.summary.reasons) or "every objective holds",
            r.folder,
        ]
        for r in whole.parts
    ]
    return Section("In short", [description], [Table(["part", "verdict", "because", "raw data in"], rows)])


def _part(number: int, values: dict[str, Any], source: str) -> Part:
    base = values.pop("scenario", None)
    if not isinstance(base, str):
        raise ScenarioError(f"{source} cannot be run: parts.{number}.scenario: name a ready scenario")
    title = str(values.pop("title", base))
    changes: Mapping[str, Any] = values
    scenario = Scenario.load(base).with_values(changes, source=f"{source}, part {number}")
    return Part(title, scenario, f"{number}-{scenario.name}")
