"""Who should have seen whom in calls that switch, on rows made for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.figures import RawRun
from simulator.tables import SAMPLE_SHOWN
from simulator.togetherness import pairs, streams

S = 1_000_000_000


@pytest.fixture
def call(make_run: Any) -> Any:
    """Three people who are together for ten seconds and see each other ten times a second."""
    run = make_run(scenario={"pattern": "churn"})
    run.expected, run.streams, run.joins = [], [], []
    for row in run.latency:
        row["flags"] = SAMPLE_SHOWN
    run.arrivals = [
        {
            "bot": bot,
            "call_id": "c",
            "mode": "p2p",
            "started_ns": run.start_ns + bot,
            "flowing_ns": run.start_ns + 10 * bot if bot else 0,
            "left_ns": run.start_ns + 10 * S,
        }
        for bot in range(3)
    ]
    return run


def flowing(run: Any, directory: Path) -> tuple[int, int]:
    found = streams(RawRun.read(run.write(directory)))
    return found.flowing, found.expected


def forget(run: Any, receiver: int, from_s: float, to_s: float) -> None:
    """Let a person see and hear nobody for a while."""
    run.latency = [
        row
        for row in run.latency
        if row["receiver"] != receiver or not from_s * S <= row["recv_unix_ns"] - run.start_ns < to_s * S
    ]


def test_everybody_should_see_everybody_they_were_together_with(call: Any, tmp_path: Path) -> None:
    assert flowing(call, tmp_path) == (12, 12)


def test_people_of_different_calls_are_not_together(call: Any, tmp_path: Path) -> None:
    call.arrivals[2]["call_id"] = "another"
    assert flowing(call, tmp_path) == (4, 4)


def test_who_met_for_a_moment_only_need_not_have_seen_each_other(call: Any, tmp_path: Path) -> None:
    call.arrivals[2]["left_ns"] = call.start_ns + S // 3
    assert flowing(call, tmp_path) == (4, 4)


def test_a_stream_that_paused_for_over_two_seconds_does_not_flow(call: Any, tmp_path: Path) -> None:
    forget(call, 1, 3, 5.2)
    assert flowing(call, tmp_path) == (8, 12)


def test_a_stream_that_never_was_or_ended_early_does_not_flow(call: Any, tmp_path: Path) -> None:
    forget(call, 0, 0, 99)
    forget(call, 1, 7, 99)
    assert flowing(call, tmp_path) == (4, 12)


def test_a_standstill_after_a_death_is_a_recovery_and_no_silence(call: Any, tmp_path: Path) -> None:
    forget(call, 1, 3, 6)
    call.deaths = [{"unix_ns": call.start_ns + 3 * S, "what": "media"}]
    assert flowing(call, tmp_path) == (12, 12)


def test_who_never_saw_everybody_is_missed_all_the_same(call: Any, tmp_path: Path) -> None:
    call.arrivals[2]["flowing_ns"] = 0
    forget(call, 2, 0, 99)
    assert flowing(call, tmp_path) == (8, 12)


def test_pairs_tell_latency_and_frames_of_each_stream(call: Any, tmp_path: Path) -> None:
    forget(call, 1, 0, 99)
    table = pairs(RawRun.read(call.write(tmp_path))).set_index(["receiver", "sender", "kind"])
    assert table.loc[(0, 1, "video"), "samples"] == 100
    assert table.loc[(0, 1, "video"), "p50_ms"] == pytest.approx(50.5)
    assert table.loc[(1, 0, "audio"), "samples"] == 0
    assert not table.loc[(1, 0, "audio"), "flowing"]
