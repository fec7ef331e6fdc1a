"""Finished runs as they are on disk: the summary and the scenario of each, and whether two of them can be compared."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.analysis.raw_run import no_run
from simulator.errors import RunDirectoryError, UsageError
from simulator.samples.recorder import is_partial
from simulator.summary import Summary


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has a summary."""

    directory: Path
    summary: Summary
    scenario: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> FinishedRun:
        """Read the summary and the scenario of a run.

        Raises:
            RunDirectoryError: There is no run, or one of its files is damaged.
        """
        refuse_no_run(directory)
        again = f"`meeshy report {directory}` makes it anew"
        path = directory / "summary.json"
        try:
            summary = Summary.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RunDirectoryError(f"{path} cannot be read: {error.strerror}; {again}") from error
        except ValidationError as error:
            raise RunDirectoryError(f"{path} is damaged: {error.errors()[0]['msg']}; {again}") from error
        return cls(directory, summary, scenario_of(directory))


def refuse_repeated(directories: Sequence[Path]) -> None:
    """Refuse a run that is named twice, by whatever path.

    Raises:
        UsageError: One is.
    """
    seen: dict[Path, Path] = {}
    for directory in directories:
        other = seen.setdefault(directory.resolve(), directory)
        if other is not directory:
            same = "" if other == directory else f", as {other} too"
            raise UsageError(f"{directory} is named twice{same}; name each run once")


def refuse_no_run(directory: Path) -> None:
    """Refuse a directory that holds no run, several, or one that goes on.

    Raises:
        RunDirectoryError: It is one.
    """
    if not (directory / "run.json").is_file() or is_partial(directory):
        raise no_run(directory, missing="run.json")


def scenario_of(directory: Path) -> dict[str, Any]:
    """Read the scenario of a run, as it is recorded.

    Raises:
        RunDirectoryError: It is missing or damaged.
    """
    path = directory / "scenario.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunDirectoryError(f"{path} cannot be read: {error}") from error


def differing(first: FinishedRun, second: FinishedRun) -> list[tuple[str, Any, Any]]:
    """List what two runs differ in so that their figures do not mean the same: its name, and what each of them has."""
    a, b = first.summary, second.summary
    pairs: list[tuple[str, Any, Any]] = [
        ("scenario", a.scenario, b.scenario),
        ("pattern", first.scenario.get("pattern"), second.scenario.get("pattern")),
        ("participants", a.participants, b.participants),
        ("bots", a.bots, b.bots),
        ("media", first.scenario.get("media"), second.scenario.get("media")),
    ]
    return [(name, x, y) for name, x, y in pairs if x != y]


def obstacles(first: FinishedRun, second: FinishedRun) -> list[str]:
    """List why the figures of two runs do not mean the same: scenario, participants or media differ."""
    return [f"{name} differs: {x} and {y}" for name, x, y in differing(first, second)]


def warnings(first: FinishedRun, second: FinishedRun) -> list[str]:
    """List what else differs, and which runs could not be judged."""
    found = [
        f"{key} differs: {first.scenario.get(key)} and {second.scenario.get(key)}"
        for key in sorted(first.scenario.keys() | second.scenario.keys())
        if key not in {"name", "description", "pattern", "participants", "media", "slo", "limits"}
        and first.scenario.get(key) != second.scenario.get(key)
    ]
    if first.summary.machine != second.summary.machine:
        found.append("the machine, or what was installed on it, differs")
    for run in (first, second):
        if run.summary.verdict in ("void", "error"):
            found.append(f"{run.directory} is {run.summary.verdict}: its figures say little")
        if not run.summary.intervals:
            found.append(f"{run.directory} has no intervals; `meeshy report {run.directory}` computes them")
    return found
