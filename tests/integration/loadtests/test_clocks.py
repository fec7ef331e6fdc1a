"""Two locust workers whose clocks differ, as on two machines: the offset is found over the media's own ways."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meeshy_sfu.free_ports import free_ports
from simulator.child import bound_command
from tests.integration.loadtests.conftest import ROOT, clean_environment


@pytest.mark.slow(reason="a call with servers and report, and two workers")
@pytest.mark.timeout(170)
@pytest.mark.parametrize("ahead_ms", [0, 250])
def test_the_offset_of_another_workers_clock_is_found_within_its_error(
    command: Callable[..., list[str]], tmp_path: Path, ahead_ms: int
) -> None:
    """Both read the machine's clock, one puts it forward: the offset is known."""
    [port] = free_ports(1)
    worker = [sys.executable, "-m", "locust", "-f", "loadtests/t2.py", "--worker", "--master-port", str(port)]
    workers = [
        subprocess.Popen(
            bound_command(worker),
            cwd=ROOT,
            env={**clean_environment(), "MEESHY_TEST_CLOCK": clock},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for clock in ("here", f"there:{ahead_ms}")
    ]
    try:
        master = ("--master", "--expect-workers", "2", "--master-bind-host", "127.0.0.1")
        done = subprocess.run(
            command(
                *("t2", *master, "--master-bind-port", str(port)),
                *("-u", "4", "--per-call", "4", "-r", "4", "-t", "6s"),
            ),
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    finally:
        for process in workers:
            process.kill()
            process.wait()
    directory = tmp_path / "run"
    assert (directory / "summary.json").exists(), done.stdout[-2000:] + done.stderr[-2000:]
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    assert summary["verdict"] != "error", summary["reasons"]
    bots = pd.read_parquet(directory / "clocks.parquet")
    assert set(bots["clock"]) == {"here", "there"}
    clocks = summary["clocks"]
    assert clocks["machines"] == 2
    # Which of the two is the first is decided by who has more bots.
    assert abs(abs(clocks["offset_ms"]) - ahead_ms) <= clocks["error_ms"]
    assert clocks["error_ms"] < 50
    # Uncorrected, half of what went between them would be 250 ms late, the other half 250 ms early.
    latency = summary["latency_ms"]["audio"]
    assert 0 < latency["p50"] < 50
    low, high = (summary["intervals"]["latency_ms.audio.p50"][side] for side in ("low", "high"))
    assert low <= max(0.0, latency["p50"] - clocks["error_ms"])
    assert high >= latency["p50"] + clocks["error_ms"]
    assert summary["delivered_ratio"]["audio"]["ratio"] > 0.9
