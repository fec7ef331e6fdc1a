"""The quickstart's commands run as they stand; only ports, the state directory and lengths are those of a test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Stack

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
MEESHY = f"{sys.executable} -m meeshy_sfu"
JUDGED = {0, 3, 4}
"""Pass, below an objective, void: how fast a busy machine is does not matter here."""


def block(heading: str, number: int = 0) -> str:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```console\n(.*?)^```", section, re.S | re.M)[number]


def run(script: str, environment: dict[str, str], timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    script = script.replace(".venv/bin/meeshy", MEESHY)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_a_server_of_ones_own_is_healthy_and_opens_a_room(stack: Stack) -> None:
    script = block("A server of your own", 1)
    assert script.count("http://127.0.0.1:3001") == 2
    done = run("set -e\n" + script.replace("http://127.0.0.1:3001", stack.media_url), stack.environment)
    assert done.returncode == 0, done.stderr
    decoder = json.JSONDecoder()
    health, end = decoder.raw_decode(done.stdout)
    room = json.loads(done.stdout[end:])
    assert health["status"] == "ok"
    assert room["success"]
    assert {codec["mimeType"] for codec in room["data"]["rtpCapabilities"]["codecs"]} >= {
        "audio/opus",
        "video/VP8",
    }


@pytest.mark.slow(reason="runs the commands with real servers, bots and report")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "command", block("Measure it").splitlines(), ids=lambda line: " ".join(line.split()[1:3])
)
def test_what_is_measured_is_judged(command: str, tmp_path: Path) -> None:
    short = re.sub(r"--(duration|transitions) \d+", r"--\1 2", command)
    done = run(f"{short} --state-dir {tmp_path} --out {tmp_path}/run", dict(os.environ), timeout_s=110)
    assert done.returncode in JUDGED, done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").exists()


def test_the_settings_for_real_are_accepted_and_their_ports_are_listed(tmp_path: Path) -> None:
    script = block("For real").replace("meeshy serve", "meeshy ports")
    done = run(script, os.environ | {"MEESHY_STATE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert {"3001", "4000", "10000"} <= set(re.findall(r"\b\d{4,5}\b", done.stdout))
