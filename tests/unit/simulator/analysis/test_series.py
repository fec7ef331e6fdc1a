"""What plots are drawn from: synthetic runs whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.analysis import metrics
from simulator.analysis.raw_run import RawRun
from simulator.analysis.series import (
    accounts_over_time,
    busy_over_time,
    frame_gaps,
    frames_over_time,
    latency_over_time,
    packets_over_time,
    receivers,
    step_s,
)
from simulator.samples.schema import SAMPLE_SHOWN

NS_PER_S = 1_000_000_000


def read(run: Any, directory: Path) -> RawRun:
    return RawRun.read(run.write(directory))


def test_latency_of_each_second_is_that_of_its_samples(run: Any, tmp_path: Path) -> None:
    table = latency_over_time(read(run, tmp_path))
    audio = table[table["kind"] == "audio"]
    # Sample n of each of six streams comes n tenths of a second after the start, which is second 5, and took 37n mod 100 + 1 ms.
    assert audio["at_s"].tolist() == [5.5 + n for n in range(10)]
    assert audio["samples"].tolist() == [60] * 10
    took = [sorted(n * 37 % 100 + 1.0 for n in range(10 * s, 10 * s + 10)) for s in range(10)]
    assert audio["p50"].tolist() == [(ms[4] + ms[5]) / 2 for ms in took]
    assert audio["max"].tolist() == [ms[9] for ms in took]


def test_a_long_run_is_shown_in_steps_of_whole_seconds() -> None:
    assert [step_s(duration) for duration in (0.5, 10, 240, 241, 1800)] == [1, 1, 1, 2, 8]


def test_frames_count_in_the_second_they_were_sent_in(run: Any, tmp_path: Path) -> None:
    run.latency = [s for s in run.latency if not (s["receiver"] == 2 and 40 <= s["seq"] < 45)]
    table = accounts_over_time(read(run, tmp_path))
    for kind in ("audio", "video"):
        mine = table[table["kind"] == kind]
        due, delivered = mine["sent"].tolist(), mine["delivered"].tolist()
        assert sum(due) == 6 * 100
        missing = [a - b for a, b in zip(due, delivered, strict=True)]
        assert sum(missing) == 2 * 5, "two streams of each kind end at that receiver"
        assert set(mine["at_s"][[bool(m) for m in missing]]) <= {8.5, 9.5}, "sent about 4 s after the start"


def test_packets_of_each_second_are_those_sent_and_those_that_came(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(0, 1, 1):
        row["packets"] = int(row["packets"]) - (10 if row["tick"] >= 4 else 0)
    table = packets_over_time(read(run, tmp_path))
    video = table[table["kind"] == "video"]
    assert video["sent"].tolist() == [240] * 10
    assert video["delivered"].tolist() == [240] * 3 + [230] + [240] * 6
    assert video["at_s"].tolist() == [5.5 + n for n in range(10)]


def test_frames_that_were_not_shown_do_not_count_in_calls_that_switch(make_run: Any, tmp_path: Path) -> None:
    run = make_run(bots=2, scenario={"pattern": "switch"})
    run.expected, run.streams = [], []
    for sample in run.latency:
        sample["flags"] = SAMPLE_SHOWN if sample["seq"] % 2 else 4
    table = frames_over_time(read(run, tmp_path))
    assert set(table["delivered"]) == {10}, "two streams of a kind, five of ten frames a second each"


def test_gaps_are_between_frames_of_one_stream(run: Any, tmp_path: Path) -> None:
    stream = {"receiver": 1, "sender": 0, "kind": 1}
    run.latency = [s for s in run.latency if not (s["seq"] in (50, 51) and stream.items() <= s.items())]
    gaps = frame_gaps(read(run, tmp_path))
    assert len(gaps["audio"]) == 6 * 99
    assert np.unique(gaps["audio"]).tolist() == [100]
    assert sorted(gaps["video"])[-2:] == [100, 300]


def test_the_time_between_leaving_and_joining_again_is_no_gap(make_run: Any, tmp_path: Path) -> None:
    run = make_run(bots=2, scenario={"pattern": "churn"})
    run.expected, run.streams = [], []
    for sample in run.latency:
        sample["flags"] = SAMPLE_SHOWN
    run.latency = [s for s in run.latency if not 30 <= s["seq"] < 70]
    assert max(frame_gaps(read(run, tmp_path / "stayed"))["video"]) == 4100
    times = {"flowing_ns": 0, "left_ns": 0}
    run.arrivals = [
        {"bot": 1, "call_id": "c", "mode": "p2p", "started_ns": run.start_ns + at * NS_PER_S} | times
        for at in (-1, 6)
    ]
    assert max(frame_gaps(read(run, tmp_path / "came back"))["video"]) == 100


def test_busy_threads_are_told_apart_and_a_restart_is_no_negative_load(run: Any, tmp_path: Path) -> None:
    for row in run.server_threads:
        if row["thread"] == 2 and row["tick"] >= 5:
            row["cpu_ns"] = int(row["cpu_ns"]) - 200_000_000
    raw = read(run, tmp_path)
    busy = busy_over_time(raw.tables["server_threads"], raw, "thread")
    first, second = (busy[busy["thread"] == thread]["percent"] for thread in (1, 2))
    assert first.tolist() == pytest.approx([20] * 10)
    assert second.isna().tolist() == [n == 4 for n in range(10)]
    assert second.dropna().tolist() == pytest.approx([5] * 9)


def test_each_receiver_has_its_own_row(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(2, 0, 0):
        row["missing"] = 10 * int(row["tick"])
    run.latency = [s for s in run.latency if s["receiver"] != 1]
    raw = read(run, tmp_path)
    table = receivers(metrics.pairs(raw), raw).set_index("receiver")
    assert table["streams"].tolist() == [4, 4, 4]
    assert table["flowing"].tolist() == [4, 4, 4]
    assert table["video_p50_ms"].isna().tolist() == [False, True, False]
    assert table.loc[0, "video_p50_ms"] == 50.5
    assert table.loc[2, "loss"] == pytest.approx(100 / (2 * 500 + 2 * 400))
    assert table.loc[0, "loss"] == 0


def test_joins_are_listed_with_the_moment_from_which_all_streams_flow(run: Any, tmp_path: Path) -> None:
    for row in run.streams:
        if (row["receiver"], row["sender"]) == (2, 0):
            row["first_packet_ns"] = 0
    table = metrics.join_times(read(run, tmp_path))
    assert table["bot"].tolist() == [1, 2], "the first participant has nobody to wait for"
    assert table["flowing_ns"].tolist() == [run.start_ns - 4 * NS_PER_S + 3 * NS_PER_S // 10, 0]
