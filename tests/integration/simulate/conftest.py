"""Runs of `meeshy simulate` on a stack of its own, as a person would start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Simulate = Callable[..., "Finished"]


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    code: int
    summary: dict[str, Any]
    directory: Path
    stderr: str


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state directory for all runs, so that the clip is made once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def simulate(state: Path, tmp_path: Path) -> Simulate:
    """Run a scenario to its end; gives exit code, summary and run directory."""

    def run(scenario: str | dict[str, Any], *options: str, timeout_s: float = 80) -> Finished:
        number = len(list(tmp_path.iterdir()))
        name = scenario if isinstance(scenario, str) else str(write(scenario, tmp_path / f"s{number}.toml"))
        out = tmp_path / f"run{number}"
        done = subprocess.run(
            command(state, name, "--out", str(out), "--json", *options),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=os.environ | {"COLUMNS": "200"},
        )
        summary = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return Finished(done.returncode, summary, out, done.stderr)

    return run


def command(state: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "meeshy_sfu", "simulate", *arguments, "--state-dir", str(state)]


def write(values: dict[str, Any], path: Path) -> Path:
    from simulator.scenario import Scenario, to_toml  # noqa: PLC0415 - heavy, and not needed by every test

    path.write_text(to_toml(Scenario.from_values(values).to_values()))
    return path
