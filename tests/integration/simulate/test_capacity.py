"""`meeshy capacity` on a stack of its own or on a running server, as a user would start it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.cli import main
from simulator.stack.full import GatewayStack

from .conftest import UNHURRIED

PATIENCE_S = 120.0
LENIENT = [objective for objective in UNHURRIED if "worst" not in objective]
"""A slow machine must not decide; runs of three seconds have too few samples for each participant's own latency."""


class Search:
    """A search in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path) -> None:
        self._process = process
        self._out = out

    @classmethod
    async def begin(cls, state: Path, *options: str, **environment: str) -> Search:
        out = state / "capacity"
        more = ["--json", "--retry-void", "9", "--out", str(out), "--state-dir", str(state)]
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "meeshy_sfu", "capacity", *options, *LENIENT, *more],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", **environment},
        )
        return cls(process, out)

    async def until_run(self, which: str) -> None:
        """Wait until a run has begun whose folder is this, with `*` for what does not matter."""
        async with asyncio.timeout(PATIENCE_S):
            while not list(self._out.parent.glob(f".{self._out.name}.partial-*/.{which}.partial-*")):
                assert self._process.returncode is None, await self.end()
                await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> tuple[int, dict[str, Any], str]:
        """Return exit code, what was printed, and what was said on standard error."""
        out, err = await asyncio.wait_for(self._process.communicate(), PATIENCE_S)
        return self._process.returncode or 0, json.loads(out or "{}"), err.decode()


def outcomes(found: dict[str, Any], number: int) -> Sequence[str]:
    """Return what runs with a number came to; void ones, which a busy machine makes, are left out."""
    return [r["outcome"] for r in found["runs"] if r["number"] == number and r["outcome"] != "void"]


@pytest.mark.timeout(180)
def test_a_strict_objective_breaks_early_and_the_search_says_where(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "capacity"
    # 4 participants are 24 streams: the objective breaks from 4 on, on any machine
    options = [
        "--from",
        "3",
        "--to",
        "4",
        "--step-duration",
        "1",
        "--repeats",
        "1",
        "--slo",
        "streams.expected<20",
    ]
    # a slow machine must not decide
    options += [
        "--slo",
        "latency_ms.video.p95<60000",
        "--slo",
        "latency_ms.audio.p95<60000",
        "--retry-void",
        "5",
    ]
    code = main(
        [
            "capacity",
            "--vary",
            "participants",
            *options,
            "--json",
            "--out",
            str(out),
            "--state-dir",
            str(state),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert (code, found["verdict"], found["holds"]) == (0, "pass", 3), found["statement"]
    assert found["interval"] == {"low": 3, "high": 4}
    assert [one["expression"] for one in found["first_broken"]["objectives"]] == ["streams.expected<20"]
    assert found["figure"]["value"] > 0
    assert "holds 3 participants at" in found["statement"][0]
    assert "first broken: streams.expected<20, was 24" in found["statement"][0]
    for run in found["runs"]:
        assert (out / run["folder"] / "scenario.toml").is_file()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 3
    assert json.loads((out / "capacity.json").read_text()) == found


@pytest.mark.slow(reason="two whole runs, the second cut")
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_keeps_what_was_measured(tmp_path: Path, number: signal.Signals, code: int) -> None:
    search = await Search.begin(tmp_path, "--vary", "participants", "--from", "2", "--step-duration", "3")
    await search.until_run("02-*")  # with 4, or again with 2 where a busy machine made the first void
    search.send(number)
    ended, found, said = await search.end()
    assert (ended, found["ended"], found["verdict"]) == (code, "interrupted", "error"), said
    assert f"{number.name}: ending the run; what was measured is judged" in said
    first, second = (run["outcome"] for run in found["runs"])
    assert (first in {"pass", "void"}, second) == (True, "interrupted")
    known = {"pass": "2 passed in 1 runs, not yet in all repeats", "void": "nothing passed"}[first]
    assert found["statement"][-1] == (
        f"the search is not over: interrupted; known so far: {known}, nothing failed"
    )
    out = tmp_path / "capacity"
    assert json.loads((out / "capacity.json").read_text()) == found
    assert f"known so far: {known}" in (out / "report.html").read_text()
    for run in found["runs"]:
        assert (out / run["folder"] / "summary.json").is_file()
    assert not list(tmp_path.glob(".*.partial-*"))


@pytest.mark.slow(reason="whole runs on a stack that is started first")
@pytest.mark.timeout(300)
async def test_a_running_gateway_is_searched_and_left_as_it_was(tmp_path: Path) -> None:
    async with GatewayStack(tmp_path) as stack:
        await stack.start()
        pids = stack.media.pid, stack.gateway.pid
        varied = ["--vary", "calls", "--from", "1", "--to", "2", "--repeats", "1", "--step-duration", "2"]
        search = await Search.begin(
            tmp_path, *varied, "--server", stack.gateway.url, MEESHY_SIMULATE_SECRET=stack.secret
        )
        code, found, said = await search.end()
        assert (stack.media.pid, stack.gateway.pid) == pids
        assert stack.complaint() is None
    assert (code, found["ended"], found["holds"]) == (0, "at_least", 2), (found.get("statement"), said)
    assert found["statement"][0].startswith("holds at least 2 calls at")
    assert all(not (tmp_path / "capacity" / run["folder"] / "server.log").exists() for run in found["runs"])


@pytest.mark.slow(reason="waits until a server that is stopped is given up")
@pytest.mark.timeout(300)
async def test_joins_that_time_out_at_a_number_mean_that_so_many_are_not_held(tmp_path: Path) -> None:
    async with GatewayStack(tmp_path) as stack:
        await stack.start()
        varied = [
            "--vary",
            "participants",
            "--from",
            "2",
            "--to",
            "3",
            "--repeats",
            "1",
            "--step-duration",
            "2",
        ]
        search = await Search.begin(
            tmp_path, *varied, "--server", stack.media.url, MEESHY_SIMULATE_SECRET=stack.secret
        )
        await search.until_run("??-3")
        os.kill(stack.media.pid, signal.SIGSTOP)
        try:
            code, found, said = await search.end()
        finally:
            os.kill(stack.media.pid, signal.SIGCONT)
    assert (code, found["ended"], found["holds"]) == (0, "found", 2), (found.get("statement"), said)
    assert found["interval"] == {"low": 2, "high": 3}
    assert outcomes(found, 3) == ["fail"]
    assert "first broken: not all could take part: " in found["statement"][0]
    assert "no answer from" in found["first_broken"]["not_served"]
