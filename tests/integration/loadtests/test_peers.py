"""Native bots through media servers of others: a verdict with delivery and latency from the senders' stamps."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.peers.janus import Janus
from loadtests.peers.janus_process import janus_root
from loadtests.peers.run import PeerRun
from simulator.child import bound_command
from simulator.scenario import Scenario
from tests.integration.loadtests.whip_servers import ROOT, SERVER

UNSHARE = ("unshare", "--user", "--map-root-user", "--net")


@pytest.mark.slow(
    reason="a whole run of 3 s with its ramp, drain and report, through a server that is started for it"
)
def test_three_bots_through_janus_get_a_verdict(tmp_path: Path) -> None:
    """All streams flow, what was sent arrives unchanged, and latency is measured in both kinds."""
    if janus_root() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Janus is missing: .ci/setup test")
        pytest.skip("SKIPPED LOUDLY: Janus is missing; run .ci/setup test")
    scenario = Scenario.load("group").with_values(
        {"participants": {"count": 3, "bots": "native"}, "hold": {"duration_s": 3.0}}
    )
    _, summary = asyncio.run(PeerRun(Janus(), scenario, state=tmp_path, out=tmp_path / "run").execute())
    assert summary.verdict in {"pass", "void"}, summary.reasons
    figures = summary.model_dump()
    assert figures["streams"]["flowing"] == figures["streams"]["expected"] == 12
    for kind in ("audio", "video"):
        assert figures["delivered_ratio"][kind]["ratio"] > 0.98
        assert 0 < figures["latency_ms"][kind]["p95"] < 1000
    assert figures["foreign_frames"] == figures["corrupted_frames"] == 0
    log = (tmp_path / "run" / "janus.log").read_text()
    assert "Bye!" in log


@pytest.mark.slow(
    reason="a whole run of 3 s with its ramp, drain and report, through servers that are started for it"
)
@pytest.mark.parametrize(("participants", "senders"), [(3, 3), (3, 1)])
def test_bots_through_whip_and_whep_have_a_connection_for_each_stream(
    tmp_path: Path, participants: int, senders: int
) -> None:
    """Streams of several connections count for their participant: delivered, unchanged, and each once."""
    if not SERVER.exists():
        if os.environ.get("CI") == "true" and shutil.which("go"):
            pytest.fail("no server with WHIP and WHEP, though Go is there to build it: .ci/setup test")
        pytest.skip("SKIPPED LOUDLY: no server with WHIP and WHEP; run .ci/setup test")
    tried = subprocess.run(
        [*UNSHARE, "ip", "link", "add", "one", "type", "veth"], capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(tried.stderr)
        pytest.skip(f"no network namespace with interfaces can be made: {tried.stderr.strip()}")
    module = "tests.integration.loadtests.whip_servers"
    done = subprocess.run(
        bound_command(
            [*UNSHARE, sys.executable, "-m", module, str(tmp_path), str(participants), str(senders), "3"]
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["verdict"] in {"pass", "void"}, summary["reasons"]
    assert summary["streams"]["flowing"] == summary["streams"]["expected"] == senders * (participants - 1)
    delivered = summary["delivered_ratio"]
    assert delivered["audio"]["ratio"] > 0.98
    # 50 packets a second to each receiver: none is counted twice, though each has a connection for each sender
    assert (
        abs(delivered["audio"]["of"] - 150 * summary["streams"]["expected"]) < 0.1 * delivered["audio"]["of"]
    )
    assert delivered["video"] is None
    assert summary["latency_ms"]["audio"]["samples"] >= 0.98 * delivered["audio"]["of"]
    assert summary["foreign_frames"] == summary["corrupted_frames"] == summary["duplicates"] == 0
    assert summary["unexpected_packets"]["total"] == 0
