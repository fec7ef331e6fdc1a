"""Every example runs as its README says."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from .conftest import Stack

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SPEED = (
    "latency_ms.audio.p95",
    "latency_ms.video.p95",
    "latency_rise_ms.audio",
    "latency_rise_ms.video",
    "lip_sync_ms.max",
    "join_ms.p95",
    "server.cpu_core_percent",
)
SECRET = secrets.token_hex(32)
USED = {
    "serve/serve.py",
    "join/join.py",
    "scenario/weak_network.toml",
    "report/slowest.py",
    "gateway_client/client.py",
    "gateway_client/paths.py",
    "web_page/page.html",  # by test_web_page_example.py
}


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


def test_each_example_has_a_readme_that_names_its_files_and_a_test_here() -> None:
    folders = {path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for folder in folders:
        files = [path for path in folder.iterdir() if path.suffix in {".py", ".toml", ".html"}]
        assert files
        for file in files:
            assert file.name in (folder / "README.md").read_text()
            assert f"{folder.name}/{file.name}" in USED


def test_the_server_starts_and_ends() -> None:
    done = run("examples/serve/serve.py")
    assert done.returncode == 0, done.stderr
    assert "call made:" in done.stdout
    assert "video/VP8" in done.stdout
    assert "server ended with code 0" in done.stdout


@pytest.mark.slow(reason="runs the example with real servers and media")
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


class GatewayClient:
    """One `client.py` in a process of its own, and what it has said so far."""

    def __init__(self, stack: Stack, name: str, log: Path) -> None:
        self.name, self.log = name, log
        command = [sys.executable, str(EXAMPLES / "gateway_client" / "client.py"), stack.gateway_url]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*command, stack.token(name), "--seconds", "60"], stdout=output, stderr=subprocess.STDOUT
            )

    def until_in(self, *modes: str) -> None:
        """Wait until the client has been led through exactly these modes."""
        self._until(lambda lines: [line[6:] for line in lines if line.startswith("mode: ")] == [*modes])

    def until_decodes(self, name: str, mode: str) -> None:
        wanted = {f"first {kind} frame of {name} by {mode}" for kind in ("audio", "video")}
        self._until(lambda lines: wanted <= set(lines))

    def _until(self, done: Callable[[list[str]], bool]) -> None:
        deadline = time.monotonic() + 30
        while not done(self.lines()):
            assert self.process.poll() is None, self.lines()
            assert time.monotonic() < deadline, (self.name, self.lines())
            time.sleep(0.05)

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()

    def leave(self) -> set[tuple[str, str, str]]:
        """End it as Ctrl-C does; return what it decoded: participant, kind and mode."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=20) == 0, self.lines()
        words = [line.split() for line in self.lines() if line.startswith("decoded ")]
        return {(word[5], word[2], word[7]) for word in words}


@pytest.mark.slow(reason="runs the example with real servers and media")
@pytest.mark.timeout(120)
def test_a_client_of_the_gateway_is_led_from_peer_to_peer_to_the_media_server_and_back(
    stack: Stack, tmp_path: Path
) -> None:
    clients: list[GatewayClient] = []

    def join(name: str) -> GatewayClient:
        clients.append(GatewayClient(stack, name, tmp_path / f"{name}.log"))
        return clients[-1]

    try:
        ada = join("ada")
        ada.until_in("p2p")
        bob = join("bob")
        for client, other in ((ada, "bob"), (bob, "ada")):
            client.until_decodes(other, "p2p")
        eve = join("eve")
        for client, others in ((ada, ("bob", "eve")), (bob, ("ada", "eve")), (eve, ("ada", "bob"))):
            for other in others:
                client.until_decodes(other, "sfu")
        ada.until_in("p2p", "sfu")
        assert {mode for _, _, mode in eve.leave()} == {"sfu"}
        for client in (ada, bob):
            client.until_in("p2p", "sfu", "p2p")
        decoded = {client.name: client.leave() for client in (ada, bob)}
    finally:
        for client in clients:
            client.process.kill()
    for name, other in (("ada", "bob"), ("bob", "ada")):
        direct = {(other, kind, "p2p") for kind in ("audio", "video")}
        relayed = {(sender, kind, "sfu") for sender in (other, "eve") for kind in ("audio", "video")}
        assert decoded[name] == direct | relayed


@pytest.mark.slow(reason="runs the example with real servers and media")
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
