"""What arrived of producers that were paused, on synthetic rows whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.summary import Summary

MS = 1_000_000


def pause(run: Any, sender: int, began_ms: int, ended_ms: int) -> None:
    """Note a pause of both producers of a participant, confirmed 5 ms after it was requested."""
    for kind in (0, 1):
        times = (began_ms - 5, began_ms, ended_ms)
        names = ("asked_ns", "began_ns", "ended_ns")
        run.paused.append(
            {"bot": sender, "kind": kind}
            | {name: run.start_ns + ms * MS for name, ms in zip(names, times, strict=True)}
        )


def sent_ns(row: Any) -> int:
    return int(row["recv_unix_ns"]) - int(row["owd_ns"])


def withhold(run: Any, sender: int, from_ms: int, to_ms: int) -> None:
    """Let nothing arrive of what was sent in that time; receivers note the pause."""
    start, end = run.start_ns + from_ms * MS, run.start_ns + to_ms * MS
    run.latency = [r for r in run.latency if r["sender"] != sender or not start <= sent_ns(r) <= end]
    for row in run.receivers:
        row["stamps"] = 0
    for receiver in range(3):
        for kind in (0, 1):
            if receiver != sender:
                key = {"receiver": receiver, "sender": sender, "kind": kind}
                run.pauses.append(key | {"began_ns": start, "ended_ns": end})


def broken(summary: Summary) -> set[str]:
    return {reason.split(" ")[0] for reason in summary.reasons}


def test_a_pause_that_the_server_obeys_passes_and_nothing_is_due_meanwhile(run: Any, tmp_path: Path) -> None:
    pause(run, 0, 3000, 4400)
    withhold(run, 0, 3000, 4500)
    summary = run.summary(tmp_path)
    assert (summary.paused_packets, summary.reasons) == (0, [])
    # From 2.945 to 4.95 s nothing is due: of 10 frames a second and kind, at two receivers.
    assert summary.frames.due == pytest.approx(1200 - 2 * 20 * 2, abs=4)
    assert summary.pauses.audio.over_300_ms == 0


def test_the_same_silence_without_a_pause_fails(run: Any, tmp_path: Path) -> None:
    withhold(run, 0, 3000, 4500)
    summary = run.summary(tmp_path)
    assert summary.paused_packets is None
    assert any(text.startswith("pauses.audio.longest_ms") for text in broken(summary))


def test_what_is_forwarded_of_a_paused_producer_is_counted_and_fails_the_run(
    run: Any, tmp_path: Path
) -> None:
    pause(run, 0, 3000, 4400)
    inside = [
        row
        for row in run.latency
        if row["sender"] == 0 and run.start_ns + 3050 * MS <= sent_ns(row) <= run.start_ns + 4350 * MS
    ]
    assert inside
    summary = run.summary(tmp_path)
    assert summary.paused_packets == len(inside)
    assert any(text.startswith("paused_packets==0") for text in broken(summary))


def test_a_pause_shorter_than_its_margins_measures_nothing(run: Any, tmp_path: Path) -> None:
    pause(run, 0, 3000, 3090)
    assert run.summary(tmp_path).paused_packets is None


def test_silence_that_outlasts_the_pause_is_one(run: Any, tmp_path: Path) -> None:
    pause(run, 0, 3000, 4000)
    withhold(run, 0, 3000, 6000)
    summary = run.summary(tmp_path)
    # From 0.5 s and the margin after the producer was to be resumed.
    assert summary.pauses.audio.longest_ms.max == pytest.approx(1450)
    assert summary.delivered_ratio.audio.ratio < 1
