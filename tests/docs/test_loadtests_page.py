"""The commands of loadtests/README.md run as they stand, with fewer participants and for a shorter time."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.causes import Cause

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "loadtests" / "README.md").read_text(encoding="utf-8")
JUDGED = {0, 3, 4}
"""Pass, below an objective, void: how fast a busy machine is does not matter here."""


def commands() -> list[str]:
    """Return the commands of the table of tests, and those of the console blocks."""
    table = re.findall(r"^\|.*\| `(locust [^`]+)` \|$", PAGE, re.M)
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE, re.S | re.M)
    return table + [line.partition("   #")[0] for block in blocks for line in block.splitlines()]


def short(command: str) -> list[str]:
    """Return a command with six participants for a short time; later options win."""
    length = "2s" if "steps" in command else "3s"
    own = [] if "--per-call 4" in command else ["-u", "6", "--per-call", "3", "-r", "6"]
    return [sys.executable, "-m", *shlex.split(command), *own, "-t", length]


def test_there_is_one_command_for_each_suite() -> None:
    suites = {
        path.name
        for path in (ROOT / "loadtests").glob("*.py")
        if "see loadtests/README.md" in path.read_text()
    }
    named = {name for command in commands() for name in re.findall(r"loadtests/(\S+\.py)", command)}
    assert suites <= named
    assert {"t1.py", "t2.py", "t3.py", "steps.py", "signalling.py", "locustfile.py"} <= named


@pytest.mark.slow(reason="runs the commands with real servers, bots and report")
@pytest.mark.timeout(150)
@pytest.mark.parametrize("command", dict.fromkeys(commands()))
def test_a_command_runs_and_is_judged(command: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "JWT_SECRET" not in name}
    done = subprocess.run(
        [*short(command), "--only-summary", "--state-dir", str(tmp_path), "--out", str(tmp_path / "run")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=140,
        check=False,
    )
    assert done.returncode in JUDGED, done.stdout
    assert (tmp_path / "run" / ("requests.csv" if "signalling" in command else "report.html")).exists()


def test_all_causes_of_failures_are_listed() -> None:
    section = PAGE.partition("Failures have one of these causes")[2].partition("\n\n\n")[0]
    listed = re.findall(r"^\| `([a-z ]+)(?:: CODE)?` \|", section, re.M)
    assert listed == [cause.value for cause in Cause]


def test_every_option_of_the_suites_is_listed() -> None:
    source = (ROOT / "loadtests" / "options.py").read_text(encoding="utf-8")
    unlisted = [o for o in re.findall(r'"(--[a-z-]+)"', source) if o not in PAGE]
    assert unlisted == ["--seed"]
