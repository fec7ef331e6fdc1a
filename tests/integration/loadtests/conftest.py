"""Runs of the locust suites, as a user would start them: each in a process of its own, which locust patches."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Locust = Callable[..., "Finished"]
HURRIED = (
    "latency_ms",
    "join_ms",
    "transition_ms",
    "gap_ms",
    "pauses",
    "server",
    "late_ratio",
    "worst_late_ratio",
    "worst_latency_ms",
)
"""Figures of how fast things were: neighbours on the same cores can starve a call of CPU for seconds."""


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    code: int
    output: str
    directory: Path
    csv: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The run's summary.json."""
        found: dict[str, Any] = json.loads((self.directory / "summary.json").read_text(encoding="utf-8"))
        return found

    def rows(self, name: str) -> list[dict[str, str]]:
        """Rows of one of locust's own CSV files, `stats` or `failures`."""
        with self.csv.with_name(f"{self.csv.name}_{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state directory for all runs, so that the clip is made once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def command(state: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The command line of a suite without its web page."""

    def line(suite: str, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "locust", "-f", f"loadtests/{suite}.py", "--headless", "--only-summary"),
            *("--out", str(tmp_path / "run"), "--state-dir", str(state), "--csv", str(tmp_path / "locust")),
            *options,
        ]

    return line


@pytest.fixture
def locust(command: Callable[..., list[str]], tmp_path: Path) -> Locust:
    """Run a suite to its end."""

    def run(suite: str, *options: str, environment: Mapping[str, str] | None = None) -> Finished:
        done = subprocess.run(
            command(suite, *options),
            cwd=ROOT,
            env={**clean_environment(), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
        )
        return Finished(done.returncode, done.stdout, tmp_path / "run", tmp_path / "locust")

    return run


def clean_environment() -> dict[str, str]:
    """The environment without what is meant for a server of the user's."""
    return {
        name: value for name, value in os.environ.items() if "JWT_SECRET" not in name and "MEESHY" not in name
    }
