"""A latency that rises slowly, and sound and picture that go apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MS, S = 1_000_000, 1_000_000_000


def delayed(run: Any, by_ms: Any) -> Any:
    """Let each frame take so long: `by_ms(row, second)`."""
    for row in run.latency:
        sent_ns = int(row["recv_unix_ns"]) - int(row["owd_ns"])
        row["owd_ns"] = int(by_ms(row, (sent_ns - run.start_ns) / S) * MS)
        row["recv_unix_ns"] = sent_ns + row["owd_ns"]
    return run


def test_a_latency_that_rises_by_4_ms_a_second_rises_by_40_in_ten(run: Any, tmp_path: Path) -> None:
    summary = delayed(run, lambda row, at_s: 1 + 4 * at_s * row["kind"]).summary(tmp_path)
    assert summary.latency_rise_ms.audio == 0
    assert summary.latency_rise_ms.video == pytest.approx(40, abs=1)
    assert any("latency_rise_ms.video<30 is broken" in reason for reason in summary.reasons)


def test_a_latency_that_falls_or_is_high_in_two_seconds_does_not_rise(run: Any, tmp_path: Path) -> None:
    summary = delayed(run, lambda row, at_s: 50 - at_s if row["kind"] else 1 + 90 * (at_s >= 8)).summary(
        tmp_path
    )
    assert summary.latency_rise_ms.audio < 30
    assert summary.latency_rise_ms.video < 0


@pytest.mark.parametrize("behind", [0, 1])
def test_sound_60_ms_apart_from_the_picture_at_one_receiver_fails_the_run(
    run: Any, tmp_path: Path, behind: int
) -> None:
    def late(row: Any, _at_s: float) -> float:
        one = (row["receiver"], row["sender"], row["kind"]) == (2, 0, behind)
        return 1 + 60 * one

    summary = delayed(run, late).summary(tmp_path)
    assert (summary.lip_sync_ms.max, summary.lip_sync_ms.p50, summary.lip_sync_ms.samples) == (60, 0, 6)
    assert summary.reasons == ["lip_sync_ms.max<45 is broken: 60"]


def test_sound_and_picture_that_stall_in_two_seconds_stay_together(run: Any, tmp_path: Path) -> None:
    summary = delayed(run, lambda row, at_s: 1 + 80 * (row["kind"] and 4 <= at_s < 6)).summary(tmp_path)
    assert summary.lip_sync_ms.max < 1
