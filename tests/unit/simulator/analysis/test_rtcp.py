"""RTCP: what bots waited for, and what became of their requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

S = 1_000_000_000
WAITS = ("sender_report_wait_ms", "receiver_report_wait_ms", "feedback_wait_ms")


@pytest.mark.parametrize("name", WAITS)
def test_who_waits_for_ten_seconds_while_media_flows_fails_the_run(
    run: Any, tmp_path: Path, name: str
) -> None:
    for row in run.receivers:
        row[name] = 900 if row["receiver"] else 1000 * row["tick"] + 700
    summary = run.summary(tmp_path)
    found = getattr(summary.rtcp, name)
    assert (found.max, found.p50, found.samples) == (10_700, 900, 3)
    assert summary.reasons == [f"rtcp.{name}.max<10000 is broken: 10700"]


def test_a_wait_outside_the_measured_time_does_not_count(run: Any, tmp_path: Path) -> None:
    before = {"tick": -1, "unix_ns": run.start_ns - S, "sender_report_wait_ms": 60_000}
    run.receivers.insert(0, run.receivers[0] | before)
    summary = run.summary(tmp_path)
    assert (summary.rtcp.sender_report_wait_ms.max, summary.verdict) == (0, "pass")


@pytest.mark.parametrize(("fault_s", "verdict"), [(1.0, "pass"), (-12.0, "fail")])
def test_a_wait_that_an_injected_fault_explains_does_not_count(
    run: Any, tmp_path: Path, fault_s: float, verdict: str
) -> None:
    for row in run.receivers:
        row["receiver_report_wait_ms"] = 12_000 if row["tick"] == 9 else 0
    run.deaths = [{"unix_ns": run.start_ns + int(fault_s * S), "what": "worker"}]
    assert run.summary(tmp_path).verdict == verdict


@pytest.mark.parametrize(("late", "asked"), [(1, 1), (3, 3), (9, 12)])
def test_key_frames_that_come_late_are_counted_and_fail_no_run(
    run: Any, tmp_path: Path, late: int, asked: int
) -> None:
    # while fifty join, a server that limits requests for key frames answers some of them later
    run.receivers[-1] |= {"late_key_frames": late, "key_frame_requests": asked}
    summary = run.summary(tmp_path)
    assert (summary.rtcp.late_key_frames.of, summary.verdict) == (asked, "pass")
    assert summary.rtcp.late_key_frames.ratio == pytest.approx(late / asked)


@pytest.mark.parametrize(("gone", "came", "verdict"), [(1, 0, "fail"), (1, 9, "pass"), (40, 60, "fail")])
def test_lost_packets_that_nobody_sent_again_fail_the_run(
    run: Any, tmp_path: Path, gone: int, came: int, verdict: str
) -> None:
    run.receivers[-1] |= {"unrepaired": gone, "repaired": came}
    summary = run.summary(tmp_path)
    assert (summary.rtcp.unrepaired.ratio, summary.verdict) == (gone / (gone + came), verdict)


def test_bots_that_count_no_rtcp_and_runs_without_requests_have_null(run: Any, tmp_path: Path) -> None:
    assert run.summary(tmp_path / "none").rtcp.unrepaired is None
    for row in run.receivers:
        row |= dict.fromkeys((*WAITS, "late_key_frames", "key_frame_requests", "repaired", "unrepaired"))
    summary = run.summary(tmp_path / "aiortc")
    assert (summary.rtcp, summary.verdict) == (None, "pass")
