"""Runs of `meeshy simulate` on a stack of its own, as a user would start them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.cli import main
from simulator.scenario import Scenario, to_toml

Simulate = Callable[..., "Finished"]
UNHURRIED = [
    f"--slo={objective}"
    for objective in (
        "latency_ms.audio.p95<60000",
        "latency_ms.video.p95<60000",
        "join_ms.p95<60000",
        "late_ratio.ratio<=1",
        "worst_late_ratio.ratio<=1",
        "worst_latency_ms.audio.p95<60000",
        "worst_latency_ms.video.p95<60000",
        "pauses.audio.share<=1",
        "pauses.video.share<=1",
        "pauses.audio.longest_ms.max<60000",
        "pauses.video.longest_ms.max<60000",
        "server.cpu_core_percent<10000",
    )
]


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
def simulate(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Simulate:
    """Run a scenario to its end, in this process; returns exit code, summary and run directory.

    With `unhurried`, objectives on how fast things were do not count: neighbours on the same cores can starve a call of
    CPU for seconds. What must flow, arrive and be decoded counts all the same.
    """

    def run(scenario: str | dict[str, Any], *options: str, unhurried: bool = False) -> Finished:
        if not unhurried:
            return once(scenario, *options)
        freezes = () if "native" in options else ("--slo=decoded.freezes<10000",)
        return once(scenario, *options, *UNHURRIED, *freezes)

    def once(scenario: str | dict[str, Any], *options: str) -> Finished:
        number = len(list(tmp_path.iterdir()))
        name = scenario if isinstance(scenario, str) else str(write(scenario, tmp_path / f"s{number}.toml"))
        out = tmp_path / f"run{number}"
        code = main(["simulate", name, "--out", str(out), "--json", *options, "--state-dir", str(state)])
        printed = capsys.readouterr()
        summary = json.loads(printed.out) if printed.out.startswith("{") else {}
        return Finished(code, summary, out, printed.err)

    return run


def command(state: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "meeshy_sfu", "simulate", *arguments, "--state-dir", str(state)]


def write(values: dict[str, Any], path: Path) -> Path:
    path.write_text(to_toml(Scenario.from_values(values).to_values()))
    return path
