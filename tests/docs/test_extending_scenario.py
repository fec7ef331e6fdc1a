"""The recipe of docs/extending.md for a scenario: its two files, and no other, are a run with a verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]


def blocks() -> dict[str, str]:
    """The code of the section, by language."""
    section = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("\n## A scenario\n")[2]
    section = section.partition("\n## ")[0]
    return dict(re.findall(r"^```(python|toml)\n(.*?)^```$", section, re.M | re.S))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A directory whose copy of the simulator comes before the installed one, with the two files of the recipe."""
    place = tmp_path / "copy"
    shutil.copytree(ROOT / "simulator", place / "simulator", ignore=shutil.ignore_patterns("__pycache__"))
    code = blocks()
    (place / "simulator" / "runs" / "rejoin.py").write_text(code["python"], encoding="utf-8")
    (place / "simulator" / "scenarios" / "rejoin.toml").write_text(code["toml"], encoding="utf-8")
    return place


def simulate(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "meeshy_sfu", "simulate", *arguments, "--state-dir", str(place / "state")],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_one_file_and_one_toml_are_a_run_with_a_verdict(copy: Path) -> None:
    out = copy / "run"
    # how fast joins are, and whether the bots keep up, is the machine's
    run = simulate(copy, "rejoin", "--out", str(out), "--json", "--slo", "join_ms.p95<60000")
    summary = json.loads(run.stdout)
    assert summary["verdict"] in {"pass", "fail", "void"}, (summary["reasons"], run.stderr)
    assert summary["scenario"] == "rejoin"
    assert summary["dropped_calls"] == 0
    assert summary["leftovers"]["contradictions"] == 0
    assert summary["join_ms"]["samples"] >= 3
    assert "leaves and joins again 2 times" in (out / "report.md").read_text(encoding="utf-8")


def test_its_own_options_are_checked(copy: Path) -> None:
    scenario = copy / "wrong.toml"
    scenario.write_text('name = "wrong"\npattern = "rejoin"\n[rejoin]\ntims = 3\n', encoding="utf-8")
    run = simulate(copy, str(scenario))
    assert run.returncode == 2
    assert "rejoin.tims: unknown key; did you mean 'times'?" in run.stderr
