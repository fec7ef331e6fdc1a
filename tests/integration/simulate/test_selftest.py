"""`meeshy simulate selftest`: the verdict on a broken server or network names what was broken, and how much."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.cli import main
from simulator.selftest.datagrams import DatagramFault
from simulator.selftest.proxy_process import BACK_IP, FRONT_IP, ProxyProcess

AUDIO = bytes([0x80, 100, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7])


def sockets() -> tuple[socket.socket, socket.socket, int]:
    """A client, and a server where the proxy passes datagrams on to."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((BACK_IP, 0))
    for one in (client, server):
        one.settimeout(5.0)
    return client, server, int(server.getsockname()[1])


async def test_the_proxy_delays_drops_and_damages_and_its_log_says_what_it_did(tmp_path: Path) -> None:
    client, server, port = sockets()
    async with ProxyProcess(port) as proxy:
        client.sendto(AUDIO + b"before", (FRONT_IP, port))
        assert server.recv(100) == AUDIO + b"before"
        _, leg = (client.sendto(AUDIO, (FRONT_IP, port)), server.recvfrom(100)[1])
        await proxy.arm(
            [
                DatagramFault(action="delay", direction="up", delay_ms=80),
                DatagramFault(action="damage", direction="down", media=("audio",)),
                DatagramFault(action="drop", direction="down", media=("rtcp",)),
            ],
            seed=1,
        )
        began = time.monotonic()
        client.sendto(AUDIO, (FRONT_IP, port))
        assert server.recv(100) == AUDIO
        assert time.monotonic() - began >= 0.08
        server.sendto(bytes([0x81, 201, 0, 1]) + bytes(8), leg)
        server.sendto(AUDIO + b"\x00", leg)
        assert client.recv(100) == AUDIO + b"\xff", "the report was dropped"
        await proxy.disarm(tmp_path / "log.json")
        log = json.loads((tmp_path / "log.json").read_text())
        server.sendto(AUDIO + b"\x00", leg)
        assert client.recv(100) == AUDIO + b"\x00"
    rows = [dict(zip(log["columns"], row, strict=True)) for row in log["rows"]]
    assert [(r["direction"], r["media"], r["fault"]) for r in rows] == [
        ("up", "audio", 0),
        ("down", "rtcp", 2),
        ("down", "audio", 1),
    ]
    assert rows[0]["sent_ns"] - rows[0]["at_ns"] >= 80_000_000
    assert rows[1]["sent_ns"] == 0
    client.close()
    server.close()


@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.slow(reason="ten calls of five seconds, one after the other")
def test_the_short_form_names_a_few_faults_of_each_kind_and_a_healthy_server_passes(
    state: Path, tmp_path: Path, capfd: Any
) -> None:
    out = tmp_path / "selftest"
    code = main(["simulate", "selftest", "--short", "--out", str(out), "--state-dir", str(state)])
    result = json.loads((out / "selftest.json").read_text())
    outcomes = {r["fault"]: (r["outcome"], r["broken"], r["sizes"]) for r in result["results"]}
    assert {
        "healthy", "withhold", "damaged-payload", "freeze-receiver", "few-producers", "several-at-once",
        "shift-timestamps", "key-frames-lost", "pause-obeyed", "pause-ignored",
    } <= outcomes.keys()  # fmt: skip
    # A machine that was too busy in three tries has judged nothing; a verdict that is wrong is wrong on any.
    assert not [name for name, (outcome, _, _) in outcomes.items() if outcome == "missed"], outcomes
    assert (code, result["verdict"]) in ((0, "pass"), (4, "void"))
    assert any(outcome == "named" for outcome, _, _ in outcomes.values()), outcomes
    if outcomes["pause-ignored"][0] == "named":
        assert any(text.startswith("paused_packets") for text in outcomes["pause-ignored"][1])
        assert outcomes["pause-ignored"][2][0]["found"] > 100
    assert outcomes["pause-obeyed"][1] == []
    assert "| withhold | 1.6 s of every 3.2 s |" in (out / "report.md").read_text()
    assert "selftest: " in capfd.readouterr().out
