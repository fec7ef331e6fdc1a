"""Which streams should have flowed in calls that switch, on synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.analysis.call_streams import pairs, spans, streams
from simulator.analysis.raw_run import RawRun
from simulator.analysis.sending import SETTLING_NS, Sending
from simulator.samples.schema import SAMPLE_SHOWN

S = 1_000_000_000


@pytest.fixture
def call(make_run: Any) -> Any:
    """Three participants in one call for ten seconds, each shown ten frames a second of each other."""
    run = make_run(scenario={"pattern": "churn"})
    run.expected, run.streams, run.joins = [], [], []
    for row in run.latency:
        row["flags"] = SAMPLE_SHOWN
        row["recv_unix_ns"] -= S // 1000  # on the tenths of a second
    run.context.window_start_ns -= S // 500
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
    """Remove what a participant was shown for a while."""
    run.latency = [
        row
        for row in run.latency
        if row["receiver"] != receiver or not from_s * S <= row["recv_unix_ns"] - run.start_ns < to_s * S
    ]


def test_streams_are_expected_between_all_who_were_in_a_call_together(call: Any, tmp_path: Path) -> None:
    assert flowing(call, tmp_path) == (12, 12)


def test_participants_of_different_calls_are_not_together(call: Any, tmp_path: Path) -> None:
    call.arrivals[2]["call_id"] = "another"
    assert flowing(call, tmp_path) == (4, 4)


def test_no_stream_is_expected_between_two_who_were_together_for_a_moment(call: Any, tmp_path: Path) -> None:
    call.arrivals[2]["left_ns"] = call.start_ns + S // 3
    assert flowing(call, tmp_path) == (4, 4)


def test_a_stream_with_a_gap_of_over_two_seconds_does_not_flow(call: Any, tmp_path: Path) -> None:
    forget(call, 1, 3, 5.2)
    assert flowing(call, tmp_path) == (8, 12)


def test_a_stream_that_never_began_or_ended_early_does_not_flow(call: Any, tmp_path: Path) -> None:
    forget(call, 0, 0, 99)
    forget(call, 1, 7, 99)
    assert flowing(call, tmp_path) == (4, 12)


def test_a_gap_after_a_fault_is_a_recovery_and_no_silence(call: Any, tmp_path: Path) -> None:
    forget(call, 1, 3, 6)
    call.deaths = [{"unix_ns": call.start_ns + 3 * S, "what": "media"}]
    assert flowing(call, tmp_path) == (12, 12)


def test_streams_are_expected_of_one_that_never_received_all_others(call: Any, tmp_path: Path) -> None:
    call.arrivals[2]["flowing_ns"] = 0
    forget(call, 2, 0, 99)
    assert flowing(call, tmp_path) == (8, 12)


def test_pairs_hold_latency_and_frames_of_each_stream(call: Any, tmp_path: Path) -> None:
    forget(call, 1, 0, 99)
    table = pairs(RawRun.read(call.write(tmp_path))).set_index(["receiver", "sender", "kind"])
    assert table.loc[(0, 1, "video"), "samples"] == 100
    assert table.loc[(0, 1, "video"), "p50_ms"] == pytest.approx(50.5)
    assert table.loc[(1, 0, "audio"), "samples"] == 0
    assert not table.loc[(1, 0, "audio"), "flowing"]


def test_streams_are_expected_from_exactly_half_a_second_together(call: Any, tmp_path: Path) -> None:
    second = call.start_ns + 10  # from when on the second is there
    for at, left in (("exactly", second + S // 2), ("short", second + S // 2 - 1)):
        call.arrivals[1]["left_ns"] = left
        call.arrivals[2]["call_id"] = "another"
        assert flowing(call, tmp_path / at)[1] == (4 if at == "exactly" else 0)


def test_a_span_begins_when_all_others_are_received_and_ends_with_the_leave_or_the_run(
    call: Any, tmp_path: Path
) -> None:
    start = call.start_ns
    call.arrivals[0]["flowing_ns"] = 0  # began the call
    call.arrivals[1]["flowing_ns"] = 0  # joined and never received the other
    call.arrivals[2] |= {"flowing_ns": 1, "left_ns": start + 99 * S}
    found = spans(RawRun.read(call.write(tmp_path / "window")))
    assert found == {
        "c": {
            0: [(start, start + 10 * S)],
            1: [(start + 1 + 2 * S, start + 10 * S)],
            2: [(1, start + 10 * S)],
        }
    }
    call.context.window_end_ns = None
    assert spans(RawRun.read(call.write(tmp_path / "open")))["c"][2] == [(1, start + 99 * S)]


@pytest.mark.parametrize(("over_ns", "expected"), [(0, (12, 12)), (1, (8, 12))])
def test_a_gap_of_exactly_two_seconds_is_no_silence(
    call: Any, tmp_path: Path, over_ns: int, expected: tuple[int, int]
) -> None:
    forget(call, 1, 3.05, 5.05)  # frames at 3.0 and 5.1 are left
    for row in call.latency:
        if row["receiver"] == 1 and row["recv_unix_ns"] == call.start_ns + 51 * S // 10:
            row["recv_unix_ns"] = call.start_ns + 5 * S + over_ns
    assert flowing(call, tmp_path) == expected


@pytest.mark.parametrize(
    ("fault_ns", "flow"),
    [
        (-5 * S - 100_000_001, 8),  # eight seconds before the silence began, and a little
        (-5 * S - 100_000_000, 12),
        (6 * S, 12),
        (6 * S + 1, 8),
    ],
)
def test_a_silence_is_a_recovery_up_to_eight_seconds_after_a_fault(
    call: Any, tmp_path: Path, fault_ns: int, flow: int
) -> None:
    forget(call, 1, 3, 6)  # the last frame is at 2.9, the next at 6
    call.deaths = [{"unix_ns": call.start_ns + fault_ns, "what": "media"}]
    assert flowing(call, tmp_path) == (flow, 12)


def test_a_stream_that_never_flowed_does_not_count_if_a_fault_came_while_it_was_expected(
    call: Any, tmp_path: Path
) -> None:
    forget(call, 1, 0, 99)
    call.deaths = [{"unix_ns": call.start_ns + 2 * S, "what": "media"}]
    assert flowing(call, tmp_path) == (12, 12)
    call.deaths = [{"unix_ns": call.start_ns + 11 * S, "what": "media"}]
    assert flowing(call, tmp_path / "later") == (8, 12)


def test_pairs_are_sorted_and_hold_the_exact_percentiles(call: Any, tmp_path: Path) -> None:
    for row in call.latency:
        row["owd_ns"] += 250
    table = pairs(RawRun.read(call.write(tmp_path)))
    assert [(row.receiver, row.sender, row.kind) for row in table.itertuples()] == [
        (receiver, sender, kind)
        for receiver in range(3)
        for sender in range(3)
        if sender != receiver
        for kind in ("audio", "video")
    ]
    # delays of 1 to 100 ms and 250 ns: the percentiles lie between two of them
    assert table["p50_ms"].tolist() == pytest.approx([50.50025] * 12, abs=1e-9)
    assert table["p95_ms"].tolist() == pytest.approx([95.05025] * 12, abs=1e-9)
    assert table["p99_ms"].tolist() == pytest.approx([99.01025] * 12, abs=1e-9)
    assert table["max_ms"].tolist() == pytest.approx([100.00025] * 12, abs=1e-9)
    assert table["samples"].tolist() == [100] * 12


def test_the_summary_counts_the_streams_of_calls_of_the_gateway(call: Any, tmp_path: Path) -> None:
    expected = streams(RawRun.read(call.write(tmp_path / "run")))
    assert expected.expected == 12
    assert call.summary(tmp_path / "again").streams == expected


def test_pairs_are_sorted_by_sender_whatever_flows(call: Any, tmp_path: Path) -> None:
    forget(call, 2, 3, 8)
    table = pairs(RawRun.read(call.write(tmp_path)))
    order = list(zip(table["receiver"], table["sender"], table["kind"], strict=True))
    assert order == sorted(order)
    assert table["flowing"].tolist() == [True] * 8 + [False] * 4


def test_no_stream_is_expected_to_one_that_joined_after_the_sender_left(call: Any, tmp_path: Path) -> None:
    call.arrivals[0]["left_ns"] = call.start_ns + 3 * S
    call.arrivals[1] |= {"started_ns": call.start_ns + 5 * S, "flowing_ns": call.start_ns + 5 * S}
    assert flowing(call, tmp_path) == (8, 8)


def mute(run: Any, sender: int, kind: int, from_s: float, to_s: float | None) -> None:
    """Let a participant send nothing of a kind for a while, or from the beginning on and for good."""
    began = 0 if to_s is None else run.start_ns + int(from_s * S)
    ended = 0 if to_s is None else run.start_ns + int(to_s * S)
    run.muted.append({"bot": sender, "kind": kind, "began_ns": began, "ended_ns": ended})
    run.latency = [
        row
        for row in run.latency
        if (row["sender"], row["kind"]) != (sender, kind)
        or (to_s is not None and not began <= row["recv_unix_ns"] < ended)
    ]


def test_nothing_is_expected_of_a_participant_who_is_muted(call: Any, tmp_path: Path) -> None:
    mute(call, 1, 0, 3, 6)
    assert flowing(call, tmp_path) == (12, 12)


def test_a_silence_that_outlasts_the_mute_is_one(call: Any, tmp_path: Path) -> None:
    mute(call, 1, 0, 3, 6)
    call.muted[0]["ended_ns"] = call.start_ns + int(3.2 * S)
    assert flowing(call, tmp_path) == (10, 12)


def test_no_stream_is_expected_of_a_participant_who_only_receives(call: Any, tmp_path: Path) -> None:
    for kind in (0, 1):
        mute(call, 2, kind, 0, None)
    assert flowing(call, tmp_path) == (8, 8)


def test_the_times_in_which_media_is_sent_are_those_without_a_mute(call: Any, tmp_path: Path) -> None:
    mute(call, 1, 0, 3, 6)
    start = call.start_ns
    sending = Sending(RawRun.read(call.write(tmp_path)))
    found = [((a - start) / S, (b - start) / S) for a, b in sending.spans(1, 0, start + 2 * S, start + 8 * S)]
    assert found == [(2.0, 3.0), (6.0 + SETTLING_NS / S, 8.0)]
    assert sending.all_through(1, 1, start, start + 9 * S)
    assert not sending.all_through(1, 0, start + 5 * S, start + 9 * S)


def test_a_run_of_before_has_no_table_of_mutes(call: Any, tmp_path: Path) -> None:
    call.write(tmp_path)
    (tmp_path / "muted.parquet").unlink()
    assert streams(RawRun.read(tmp_path)).expected == 12
