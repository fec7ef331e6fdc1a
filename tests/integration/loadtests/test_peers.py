"""Native bots through Debian's Janus: a verdict with delivery and latency from the senders' stamps."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from loadtests.peers.janus import Janus
from loadtests.peers.janus_process import janus_root
from loadtests.peers.run import PeerRun
from simulator.scenario import Scenario


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
