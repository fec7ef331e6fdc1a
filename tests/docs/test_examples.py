"""Every example runs as its README says."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SPEED = ("latency_ms.audio.p95", "latency_ms.video.p95", "join_ms.p95", "server.cpu_core_percent")
SECRET = secrets.token_hex(32)
USED = {"serve/serve.py", "join/join.py", "scenario/weak_network.toml", "report/slowest.py"}


def run(*command: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def token(participant: str) -> str:
    now = int(time.time())
    claims = {"sub": participant, "callId": "demo", "participantId": participant, "role": "initiator"}
    return jwt.encode({**claims, "iat": now, "exp": now + 120}, SECRET, algorithm="HS256")


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    port_file = tmp_path / "url"
    environment = os.environ | {
        "MEESHY_PORT": "0",
        "MEESHY_RTC_MIN_PORT": "0",
        "MEESHY_JWT_SECRET": SECRET,
        "MEESHY_STATE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "meeshy_sfu", "serve", "media", "--port-file", str(port_file)]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as server:
        deadline = time.monotonic() + 20
        while not port_file.exists():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port_file.read_text().strip()
        server.send_signal(signal.SIGTERM)


def test_each_example_has_a_readme_that_names_its_file_and_a_test_here() -> None:
    folders = {path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for folder in folders:
        (file,) = (path for path in folder.iterdir() if path.suffix in {".py", ".toml"})
        assert file.name in (folder / "README.md").read_text()
        assert f"{folder.name}/{file.name}" in USED


def test_the_server_starts_and_ends() -> None:
    done = run("examples/serve/serve.py")
    assert done.returncode == 0, done.stderr
    assert "call made:" in done.stdout
    assert "video/VP8" in done.stdout
    assert "server ended with code 0" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_two_participants_decode_each_other(server_url: str) -> None:
    command = [sys.executable, "examples/join/join.py", server_url, "demo"]
    both = [
        subprocess.Popen(
            [*command, name, token(name), "--seconds", "8"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ada", "bob")
    ]
    for process, other in zip(both, ("bob", "ada"), strict=True):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        for kind in ("audio", "video"):
            frames = [int(line.split()[1]) for line in out.splitlines() if f"{kind} of {other}" in line]
            assert frames, (out, err)
            assert frames[0] > 20


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_scenario_runs_and_its_report_is_read(tmp_path: Path) -> None:
    scenario = EXAMPLES / "scenario" / "weak_network.toml"
    out = tmp_path / "run"
    # What must arrive counts, not how fast: neighbours on the same cores may starve a call of CPU.
    unhurried = [f"--slo={figure}<60000" for figure in (*SPEED, "decoded.freezes")]
    done = run(
        *("-m", "meeshy_sfu", "simulate", "--state-dir", tmp_path, "--out", out, "--duration", "5"),
        *unhurried,
        scenario,
    )
    assert done.returncode in {0, 4}, done.stdout + done.stderr
    read = run("examples/report/slowest.py", out)
    assert read.returncode == 0, read.stderr
    assert "24 of 24 flowing" in read.stdout
    assert "slowest paths" in read.stdout
