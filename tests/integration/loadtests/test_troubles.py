"""What goes wrong while a suite runs: the user learns why, the exit code is never 0, nothing is left running."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.loadtests.conftest import ROOT, Finished, Locust, clean_environment

SECRET = {"MEESHY_SIMULATE_SECRET": "0123456789abcdef0123456789abcdef"}
SPAWNED = "All users spawned"
pytestmark = pytest.mark.timeout(120)


@contextlib.contextmanager
def running(command: list[str], output: Path) -> Iterator[psutil.Process]:
    """A suite that runs, all its users spawned; killed at the end of the block if it still runs."""
    with output.open("wb") as file:
        process = psutil.Popen(
            command,
            cwd=ROOT,
            env=clean_environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: SPAWNED in output.read_text(errors="replace"), 60)
        # something is measured
        eventually(lambda: bool(children(process, "loadtests.children.callers")), 10)
        time.sleep(2)
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait(10)


def eventually(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def children(process: psutil.Process, words: str) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if words in " ".join(child.cmdline())]


def test_a_gateway_that_is_not_there_is_named_and_no_load_begins(locust: Locust) -> None:
    found = locust("t2", "--host", "http://127.0.0.1:9", environment=SECRET)
    assert found.code == 2
    assert "--host http://127.0.0.1:9: no gateway answers there" in found.output
    assert "leave --host out" in found.output
    assert "Traceback" not in found.output
    assert not found.directory.exists()


def test_another_service_is_told_from_a_gateway(locust: Locust) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = locust("t2", "--host", f"http://127.0.0.1:{server.server_port}", environment=SECRET)
        server.shutdown()
    assert found.code == 2
    assert "what answers there is no call gateway" in found.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--host", "127.0.0.1:4000"],
            "--host '127.0.0.1:4000' is no URL; write it like http://127.0.0.1:4000",
        ),
        (
            ["--host", "http://192.0.2.1:4000"],
            "set MEESHY_SIMULATE_SECRET to the JWT_SECRET of http://192.0.2.1:4000",
        ),
        (["--slo", "latencyms.p95<1"], "the summary has no figure 'latencyms.p95'"),
        (["--loss", "200%"], "200% is no share; write 0.02 or 2%"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(
    locust: Locust, options: list[str], message: str
) -> None:
    found = locust("t2", *options)
    assert found.code == 2
    assert message in found.output
    assert "Traceback" not in found.output


@pytest.mark.slow(reason="servers are started")
def test_who_is_refused_is_a_failure_with_a_cause_and_the_run_is_no_pass(locust: Locust) -> None:
    limit = {"MEESHY_MAX_PARTICIPANTS_PER_ROOM": "2"}
    found = locust("t2", "-u", "3", "--per-call", "3", "-r", "3", "-t", "4s", environment=limit)
    failures = {row["Name"]: row["Error"] for row in found.rows("failures")}
    assert failures["join"].startswith("CallFailure('refused: ")
    assert found.code != 0
    assert found.summary["verdict"] in ("error", "void")
    assert any("1 of 3 participants were in no call" in reason for reason in found.summary["reasons"])


@pytest.mark.slow(reason="servers are started")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_keeps_what_was_measured_and_is_no_pass(
    command: Callable[..., list[str]], tmp_path: Path, number: int, code: int
) -> None:
    output = tmp_path / "output"
    with running(command("t2", "-u", "3", "--per-call", "3", "-r", "9", "-t", "60s"), output) as process:
        family = [process, *process.children(recursive=True)]
        process.send_signal(number)
        assert process.wait(60) == code
    found = Finished(code, output.read_text(), tmp_path / "run", tmp_path / "locust")
    assert found.summary["verdict"] in ("error", "void")
    assert "the test was stopped before its end" in found.summary["reasons"]
    assert found.summary["latency_ms"]["audio"]["samples"] > 0
    eventually(lambda: not any(child.is_running() for child in family), 10)


@pytest.mark.slow(reason="servers are started")
def test_a_server_that_dies_ends_the_run_as_an_error(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with running(command("t2", "-u", "3", "--per-call", "3", "-r", "9", "-t", "60s"), output) as process:
        [media] = children(process, "meeshy_sfu serve media")
        os.kill(media.pid, signal.SIGKILL)
        assert process.wait(60) == 1
    found = Finished(1, output.read_text(), tmp_path / "run", tmp_path / "locust")
    assert found.summary["reasons"] == ["the media service ended by itself; its log is media.log of the run"]


@pytest.mark.slow(reason="servers are started")
def test_a_killed_suite_leaves_no_process_and_no_half_written_run(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with running(command("t2", "-u", "3", "--per-call", "3", "-r", "9", "-t", "60s"), output) as process:
        family = process.children(recursive=True)
        process.kill()
        process.wait(10)
        eventually(lambda: not any(child.is_running() for child in family), 20)
    assert [path.name for path in tmp_path.iterdir() if "run" in path.name] == []
