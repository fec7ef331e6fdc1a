"""Servers that are broken in ways their own counters do not show, and what the verdict says of each.

Each row of the table that made the verdict untrustworthy is a test here, beside one of a server that is not broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from meeshy_sfu.cli import main
from simulator.client.media_server import Rest
from simulator.report.live import Watcher
from simulator.runs.group import PATTERN, GroupRun
from simulator.samples.schema import TABLES
from simulator.scenario import Scenario
from simulator.stack.media_server import Stack

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow(reason="a run of some seconds for each fault")]

NEVER_VOID = {
    "lag_p95_ms": 60_000,
    "stall_ms": 60_000,
    "stalled_ratio": 1.0,
    "wait_ms": 60_000,
    "steal_ratio": 1.0,
    "disturbed_ratio": 1.0,
    "core_percent": 10_000,
    "late_send_ratio": 1.0,
    "socket_drops": 10_000_000,
}
UNHURRIED = [
    "latency_ms.audio.p95<60000",
    "latency_ms.video.p95<60000",
    "worst_late_ratio.ratio<=1",
    "worst_latency_ms.audio.p95<60000",
    "worst_latency_ms.video.p95<60000",
    "join_ms.p95<60000",
    "server.cpu_core_percent<10000",
]
"""Neighbours on the same cores make these runs slow; what they must notice is something else."""
Act = Callable[[Stack], Awaitable[None]]


class AtHold(Watcher):
    """Does something to the server once the measured time has begun."""

    def __init__(self, stack: Callable[[], Stack], act: Act) -> None:
        self._stack, self._act = stack, act
        self.acting: asyncio.Task[None] | None = None

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Begin with the measured time."""
        if name == "hold":
            self.acting = asyncio.get_running_loop().create_task(_do(self._act, self._stack()))


async def _do(act: Act, stack: Stack) -> None:
    await act(stack)


@pytest.fixture
def broken(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Run a group while something happens to its media server; returns the summary and the run directory."""
    stacks: list[Stack] = []
    start = Stack.start

    async def noted(stack: Stack) -> None:
        await start(stack)
        stacks.append(stack)

    monkeypatch.setattr(Stack, "start", noted)
    monkeypatch.setenv("MEESHY_DEVELOPMENT", "true")  # it takes faults
    monkeypatch.setenv("MEESHY_WORKERS", "1")

    def run(act: Act, *, duration_s: float = 6, count: int = 4, **tables: Any) -> tuple[dict[str, Any], Path]:
        scenario = Scenario.from_values(
            {
                "name": "broken",
                "participants": {"count": count, "bots": "native"},
                "hold": {"duration_s": duration_s},
                "limits": NEVER_VOID,
                "slo": UNHURRIED,
            }
            | tables
        )
        watcher = AtHold(lambda: stacks[-1], act)
        made = PATTERN.make_run(scenario, state=state, out=tmp_path / "run", watcher=watcher)
        assert isinstance(made, GroupRun)
        directory, _ = asyncio.run(made.execute())
        return json.loads((directory / "summary.json").read_text()), directory

    return run


def stop_after(seconds: float, *, for_s: float | None = None, stopped_ms: list[float] | None = None) -> Act:
    """Stop the server's process after so long, for good or for a while; `stopped_ms` takes how long that really was."""

    async def act(stack: Stack) -> None:
        await asyncio.sleep(seconds)
        os.kill(stack.pid or 0, signal.SIGSTOP)
        stopped = time.monotonic()
        if for_s is not None:
            await asyncio.sleep(for_s)
            os.kill(stack.pid or 0, signal.SIGCONT)
            if stopped_ms is not None:
                stopped_ms.append((time.monotonic() - stopped) * 1e3)

    return act


def inject(*faults: Mapping[str, Any]) -> Act:
    """Let the server's worker alter what it sends."""

    async def act(stack: Stack) -> None:
        async with Rest(stack.url) as rest:
            await rest.request(
                "PUT",
                "/api/dev/workers/0/faults",
                stack.credentials.for_service(),
                {"seed": 1, "faults": [dict(fault) for fault in faults]},
            )

    return act


async def _nothing(stack: Stack) -> None:
    """Leave the server alone."""


def names(summary: Mapping[str, Any], *paths: str) -> bool:
    """Return whether each of these figures is among the reasons."""
    return all(any(reason.startswith(path) for reason in summary["reasons"]) for path in paths)


def test_a_healthy_server_passes_and_all_that_was_sent_is_delivered(broken: Any) -> None:
    summary, directory = broken(_nothing, duration_s=4)
    assert summary["verdict"] == "pass", summary["reasons"]
    sent = pd.read_parquet(directory / "sent.parquet")
    context = json.loads((directory / "run.json").read_text())
    inside = sent["sent_unix_ns"].between(context["window_start_ns"], context["window_end_ns"])
    assert summary["frames"]["due"] == int(inside.sum()) * 3
    assert summary["frames"]["missing"] == summary["corrupted_frames"] == 0
    assert summary["unexpected_packets"]["total"] == 0
    assert summary["delivered_ratio"]["video"]["of"] == pytest.approx(4 * 3 * 30 * 4, rel=0.2)
    # Each audio packet of a small call carries a stamp.
    assert summary["delivered_ratio"]["audio"]["of"] == pytest.approx(4 * 3 * 50 * 4, rel=0.2)
    lines = (directory / "events.jsonl").read_text().splitlines()
    drained = [event for event in map(json.loads, lines) if event["event"] == "drained"]
    assert drained[0]["missing"] == 0


def test_a_server_frozen_to_the_end_fails_and_names_silence_and_delivery(broken: Any) -> None:
    began = time.monotonic()
    summary, directory = broken(stop_after(2), duration_s=8)
    assert time.monotonic() - began < 60
    assert summary["verdict"] == "fail", summary["reasons"]
    assert names(summary, "streams.flowing", "delivered_ratio.audio", "pauses.video.longest_ms")
    assert summary["streams"]["flowing"] == 0
    assert summary["delivered_ratio"]["video"]["ratio"] == pytest.approx(2 / 8, abs=0.1)
    assert summary["pauses"]["video"]["longest_ms"]["max"] == pytest.approx(6000, abs=500)
    # Bots were looked at once a second all the same; the server's rows are there, without figures.
    ticks = pd.read_parquet(directory / "streams.parquet")["tick"]
    assert ticks.max() >= 8
    server = pd.read_parquet(directory / "server.parquet")
    assert server.loc[server["tick"] >= 4, "cpu_ns"].isna().all()


def test_a_server_frozen_in_the_last_moments_fails(broken: Any) -> None:
    summary, _ = broken(stop_after(3.2, for_s=4), duration_s=5)
    assert summary["verdict"] == "fail", summary["reasons"]
    assert names(summary, "pauses.audio.longest_ms", "pauses.video.longest_ms")
    assert summary["pauses"]["audio"]["longest_ms"]["max"] == pytest.approx(1800, abs=300)


def test_a_server_that_holds_all_media_for_a_while_fails_and_the_pause_has_its_length(broken: Any) -> None:
    stopped_ms: list[float] = []
    summary, _ = broken(stop_after(2, for_s=1.6, stopped_ms=stopped_ms), duration_s=6)
    assert summary["verdict"] == "fail", summary["reasons"]
    assert summary["pauses"]["audio"]["longest_ms"]["max"] == pytest.approx(stopped_ms[0], abs=120)
    assert summary["pauses"]["audio"]["over_300_ms"] == 12


def test_media_withheld_with_numbers_closed_up_is_missing_although_no_number_is(broken: Any) -> None:
    fault = {"kind": "withhold", "periodMs": 3200, "onMs": 1600}
    summary, _ = broken(inject(fault), duration_s=8)
    assert summary["verdict"] == "fail", summary["reasons"]
    assert names(summary, "delivered_ratio.audio", "pauses.audio.longest_ms")
    assert summary["delivered_ratio"]["audio"]["ratio"] == pytest.approx(0.5, abs=0.12)
    assert summary["loss"]["audio"]["ratio"] == 0


def test_a_second_copy_of_every_stream_under_an_unasked_ssrc_fails(broken: Any) -> None:
    summary, _ = broken(inject({"kind": "unasked_ssrc"}), duration_s=4)
    assert summary["verdict"] == "fail", summary["reasons"]
    assert names(summary, "unexpected_packets.total")
    assert summary["unexpected_packets"]["unknown_ssrc"] > 4 * 3 * 80 * 3


@pytest.mark.parametrize(
    ("fault", "figure", "cause"),
    [
        ({"kind": "damage_payload", "share": 0.05}, "corrupted_frames", None),
        ({"kind": "damage_stamp", "share": 0.05}, "unexpected_packets.total", "damaged_stamps"),
        ({"kind": "payload_type", "amount": 99, "share": 0.05}, "unexpected_packets.total", "payload_type"),
        ({"kind": "repeat", "share": 0.05}, "duplicate_ratio", None),
        ({"kind": "swap"}, "foreign_frames", None),
    ],
)
def test_each_other_fault_is_named(
    broken: Any, fault: dict[str, Any], figure: str, cause: str | None
) -> None:
    summary, _ = broken(inject(fault), duration_s=4)
    assert summary["verdict"] == "fail", summary["reasons"]
    assert names(summary, figure)
    if cause is not None:
        assert summary["unexpected_packets"][cause] == summary["unexpected_packets"]["total"] > 0


@pytest.fixture(scope="module")
def recorded(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short run that passes."""
    out = tmp_path_factory.mktemp("recorded") / "run"
    scenario = Scenario.from_values(
        {
            "name": "recorded",
            "participants": {"count": 3, "bots": "native"},
            "hold": {"duration_s": 2},
            "limits": NEVER_VOID,
            "slo": UNHURRIED,
        }
    )
    asyncio.run(PATTERN.make_run(scenario, state=state, out=out).execute())
    assert json.loads((out / "summary.json").read_text())["verdict"] == "pass"
    return out


@pytest.mark.parametrize("table", ["latency", "expected", "sent", "streams", "receivers"])
def test_a_run_whose_samples_were_emptied_does_not_pass(recorded: Path, table: str) -> None:
    path = recorded / f"{table}.parquet"
    whole = path.read_bytes()
    try:
        pq.write_table(TABLES[table].empty_table(), path)
        assert main(["report", str(recorded)]) == 1
        summary = json.loads((recorded / "summary.json").read_text())
        assert summary["verdict"] == "error"
    finally:
        path.write_bytes(whole)


def test_a_run_whose_server_dies_while_it_measures_keeps_what_was_measured(broken: Any) -> None:
    async def kill(stack: Stack) -> None:
        await asyncio.sleep(2.5)
        with contextlib.suppress(ProcessLookupError):
            os.kill(stack.pid or 0, signal.SIGKILL)

    summary, _ = broken(kill, duration_s=20)
    assert summary["verdict"] == "error"
    assert "media server" in summary["reasons"][0]
    assert 2 <= summary["duration_s"] < 6
    assert summary["frames"]["due"] > 0
