"""One participant of many who fares badly is a figure of its own: the figures of all together hide one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MS = 1_000_000


def to(run: Any, receiver: int) -> list[Any]:
    return [row for row in run.latency if row["receiver"] == receiver]


def test_nobody_fares_badly_where_all_arrives(run: Any, tmp_path: Path) -> None:
    summary = run.summary(tmp_path)
    assert summary.worst_delivered_ratio.audio.ratio == summary.worst_delivered_ratio.video.ratio == 1
    assert (summary.worst_late_ratio.ratio, summary.worst_late_ratio.of) == (0, 400)
    assert summary.verdict == "pass"


@pytest.mark.parametrize("side", ["receiver", "sender"])
def test_one_of_many_who_loses_a_quarter_fails_the_run_although_the_share_of_all_is_fine(
    make_run: Any, tmp_path: Path, side: str
) -> None:
    run = make_run(bots=24)
    audio = [row for row in run.latency if row[side] == 3 and row["kind"] == 0]
    gone = {id(row) for row in audio[::4]}
    run.latency = [row for row in run.latency if id(row) not in gone]
    for row in run.receivers:
        row["stamps"] = 0
    summary = run.summary(tmp_path)
    assert summary.delivered_ratio.audio.ratio > 0.98
    assert summary.worst_delivered_ratio.audio.ratio == pytest.approx(0.75, abs=0.01)
    assert summary.worst_delivered_ratio.video.ratio == 1
    assert [reason.split(" is ")[0] for reason in summary.reasons] == [
        "worst_delivered_ratio.audio.ratio>=0.95"
    ]


def test_one_of_many_who_gets_all_late_fails_the_run(make_run: Any, tmp_path: Path) -> None:
    run = make_run(bots=24)
    for row in to(run, 7):
        row["owd_ns"] += 600 * MS
        row["recv_unix_ns"] += 600 * MS
    summary = run.summary(tmp_path)
    assert summary.latency_ms.video.p95 <= 100
    assert summary.worst_late_ratio.ratio == 1
    assert summary.worst_latency_ms.video.p50 > 600
    assert {reason.split(" is ")[0] for reason in summary.reasons} >= {
        "worst_late_ratio.ratio<=0.05", "worst_latency_ms.audio.p95<200", "worst_latency_ms.video.p95<200",
    }  # fmt: skip


def test_participants_with_few_frames_are_not_judged_alone(make_run: Any, tmp_path: Path) -> None:
    run = make_run(bots=2)
    run.context.window_end_ns = run.start_ns + 4000 * MS
    summary = run.summary(tmp_path)
    assert 0 < summary.frames.due < 200
    assert summary.worst_delivered_ratio.audio.ratio is None
    assert summary.worst_latency_ms.audio.p95 is None


@pytest.mark.parametrize("seen_ms", [350, 900])
def test_a_pause_that_bots_were_in_and_did_not_note_is_a_gap_of_the_record(
    run: Any, tmp_path: Path, seen_ms: int
) -> None:
    row = run.of_stream(2, 0, 1)[4]
    row["last_frame_ns"] = row["unix_ns"] - seen_ms * MS
    assert any("pauses.parquet lacks 1 pauses" in reason for reason in run.summary(tmp_path / "a").reasons)
    began = row["last_frame_ns"]
    times = {"began_ns": began, "ended_ns": began + 950 * MS}
    run.pauses.append({"receiver": 2, "sender": 0, "kind": 1} | times)
    assert not any("pauses.parquet" in reason for reason in run.summary(tmp_path / "b").reasons)


def test_a_participant_whose_join_was_not_recorded_makes_the_run_an_error(run: Any, tmp_path: Path) -> None:
    run.joins = run.joins[1:]
    summary = run.summary(tmp_path)
    assert summary.verdict == "error"
    assert "joins.parquet lacks 1 participants with streams" in summary.reasons
