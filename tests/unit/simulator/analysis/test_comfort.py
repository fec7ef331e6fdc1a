"""Silence that is not sent: no pause, no gap, and what is lost in it is missed all the same."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from simulator.analysis.comfort import comfort_of
from simulator.analysis.delivery import accounts_of
from simulator.analysis.pauses import stream_pauses
from simulator.analysis.raw_run import RawRun
from simulator.analysis.transitions import shown
from simulator.samples.schema import SAMPLE_COMFORT, SAMPLE_SHOWN

MS = 1_000_000
STREAM = (1, 0, 0)
SPEECH, COMFORT = 0, SAMPLE_COMFORT
FRAMES = (
    *((ms, SPEECH) for ms in range(0, 2000, 20)),
    *((ms, COMFORT) for ms in range(2000, 6000, 400)),
    *((ms, SPEECH) for ms in range(6000, 10_001, 20)),
)
"""Two seconds of speech, four of silence, four of speech: when sent, and as what."""


def record(run: Any, path: Path, lost: set[int], *, sent: tuple[tuple[int, int], ...] = FRAMES) -> RawRun:
    """The run with such a stream from 0 to 1, of which the frames sent at these times never arrived; each takes 1 ms."""
    run.sent = [row for row in run.sent if (row["sender"], row["kind"]) != (0, 0)]
    run.sent += [
        {"sender": 0, "kind": 0, "flags": flags, "packets": 1, "bytes": 100, "seq": n}
        | {"sent_unix_ns": run.start_ns + ms * MS}
        for n, (ms, flags) in enumerate(sent)
    ]
    run.latency = [r for r in run.latency if (r["receiver"], r["sender"], r["kind"]) != STREAM]
    here = [(n, run.start_ns + (ms + 1) * MS) for n, (ms, _) in enumerate(sent) if ms not in lost]
    run.latency += [
        {"receiver": 1, "sender": 0, "kind": 0, "flags": SAMPLE_SHOWN, "seq": n, "recv_unix_ns": at_ns}
        | {"owd_ns": MS, "whole_ns": 0}
        for n, at_ns in here
    ]
    times = [at_ns for _, at_ns in here]
    run.pauses = [
        {"receiver": 1, "sender": 0, "kind": 0, "began_ns": began, "ended_ns": ended}
        for began, ended in itertools.pairwise(times)
        if ended - began > 300 * MS
    ]
    for row in run.of_stream(*STREAM):
        row["last_frame_ns"] = max([t for t in times if t <= row["unix_ns"]], default=times[0])
    run.write(path)
    return RawRun.read(path)


@pytest.mark.parametrize(
    ("lost", "pauses"),
    [
        (set(), []),
        ({3200}, []),  # the silence before it goes on
        ({3200, 3600}, [(3601, 4001)]),  # what came last speaks for two periods
        (set(range(2400, 6000, 400)), [(2801, 6001)]),  # the server held the silence back
        (set(range(6000, 6500, 20)), [(6001, 6501)]),  # speech began and did not come
        (set(range(1000, 1400, 20)), [(981, 1401)]),  # in speech nothing has changed
        ({*range(5600, 6000, 400), *range(6000, 6400, 20)}, [(6001, 6401)]),
    ],
)
def test_a_pause_is_what_the_sender_did_not_leave_out(
    run: Any, tmp_path: Path, lost: set[int], pauses: list[tuple[int, int]]
) -> None:
    raw = record(run, tmp_path, lost)
    found = stream_pauses(raw)[0][STREAM]
    assert [tuple((ns - run.start_ns) // MS for ns in span) for span in found] == pauses


def test_silence_at_the_end_is_no_pause_and_a_server_that_stops_in_it_is_one(
    run: Any, tmp_path: Path
) -> None:
    sent = (*((ms, SPEECH) for ms in range(0, 8000, 20)), *((ms, COMFORT) for ms in range(8000, 10_001, 400)))
    raw = record(run, tmp_path / "silent", set(), sent=sent)
    assert stream_pauses(raw)[0][STREAM] == []
    raw = record(run, tmp_path / "stopped", set(range(8400, 10_001, 400)), sent=sent)
    [(began, ended)] = stream_pauses(raw)[0][STREAM]
    assert ((began - run.start_ns) // MS, (ended - run.start_ns) // MS) == (8801, 10_000)


def test_frames_that_were_left_out_count_as_shown_when_they_would_have_been(run: Any, tmp_path: Path) -> None:
    times, usual = shown(record(run, tmp_path, set()))[STREAM]
    assert usual == 20 * MS
    assert max(times[1:] - times[:-1]) == 20 * MS
    times, _ = shown(record(run, tmp_path / "lost", {3200, 3600}))[STREAM]
    assert max(times[1:] - times[:-1]) == 400 * MS


def test_comfort_frames_are_due_and_delivered_like_others(run: Any, tmp_path: Path) -> None:
    raw = record(run, tmp_path, {3200})
    [account] = [s for s in accounts_of(raw).streams if (s.receiver, s.sender, s.kind) == STREAM]
    assert account.due == len(FRAMES)
    assert account.delivered == len(FRAMES) - 1


def test_a_run_without_dtx_has_no_such_silence(run: Any, tmp_path: Path) -> None:
    run.write(tmp_path)
    covered = comfort_of(RawRun.read(tmp_path)).of(1, 0, 0)
    assert len(covered.left_out()) == 0
    assert covered.after(7) == 7
