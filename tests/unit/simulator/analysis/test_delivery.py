"""What became of frames that were sent, on synthetic rows whose answer is known; nothing of it asks the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.analysis.intervals import share, wilson
from simulator.analysis.raw_run import RunContext
from simulator.report.verdict import judge
from simulator.samples.schema import DRAINED, NEVER_WHOLE, SAMPLE_CORRUPT, SAMPLE_KEY
from simulator.summary import Summary

MS = 1_000_000
S = 1_000_000_000


def rows_of(run: Any, receiver: int, sender: int, kind: int) -> list[Any]:
    return [r for r in run.latency if (r["receiver"], r["sender"], r["kind"]) == (receiver, sender, kind)]


def forget(run: Any, *lost: Any) -> None:
    """Let frames not arrive, so that receivers do not count them either."""
    gone = {id(row) for row in lost}
    run.latency = [row for row in run.latency if id(row) not in gone]
    for row in run.receivers:
        row["stamps"] = 0


def delay(row: Any, by_ns: int) -> None:
    row["recv_unix_ns"] += by_ns
    row["owd_ns"] += by_ns


def test_all_that_was_sent_and_arrived_is_delivered(run: Any, tmp_path: Path) -> None:
    summary = run.summary(tmp_path)
    assert (summary.frames.due, summary.frames.delivered, summary.frames.missing) == (1200, 1200, 0)
    assert summary.delivered_ratio.video.ratio == summary.delivered_ratio.audio.ratio == 1
    assert (summary.uplink_loss.ratio, summary.downlink_loss.ratio) == (0, 0)
    assert (summary.corrupted_frames, summary.unexpected_packets.total) == (0, 0)
    assert (summary.pauses.video.longest_ms.max, summary.pauses.audio.over_300_ms) == (0, 0)


def test_frames_missing_at_one_receiver_are_downlink_loss_and_those_missing_at_all_uplink_loss(
    run: Any, tmp_path: Path
) -> None:
    to_one = rows_of(run, 2, 0, 1)[10:20]
    to_all = rows_of(run, 1, 0, 1)[40:45] + rows_of(run, 2, 0, 1)[40:45]
    forget(run, *to_one, *to_all)
    summary = run.summary(tmp_path)
    assert summary.frames.missing == 20
    assert (summary.uplink_loss.ratio, summary.uplink_loss.of) == (pytest.approx(5 / 600, abs=1e-6), 600)
    assert (summary.downlink_loss.ratio, summary.downlink_loss.of) == (
        pytest.approx(10 / 1190, abs=1e-6),
        1190,
    )
    assert summary.delivered_ratio.video.ratio == pytest.approx(580 / 600, abs=1e-6)
    assert summary.verdict == "fail"
    assert any("delivered_ratio.video.ratio>=0.98 is broken" in reason for reason in summary.reasons)


def test_two_participants_cannot_tell_uplink_from_downlink(make_run: Any, tmp_path: Path) -> None:
    summary = make_run(bots=2).summary(tmp_path)
    assert (summary.uplink_loss, summary.downlink_loss) == (None, None)
    assert summary.frames.due == 400


def test_a_frame_counts_by_when_it_was_sent_and_until_five_seconds_later(run: Any, tmp_path: Path) -> None:
    last = rows_of(run, 2, 0, 0)[-1]
    delay(last, 5 * S - last["owd_ns"])
    late = rows_of(run, 2, 1, 0)[-1]
    delay(late, 5 * S + 1 - late["owd_ns"])
    summary = run.summary(tmp_path)
    assert (summary.frames.delivered, summary.frames.late, summary.frames.missing) == (1199, 1, 1)


def test_a_frame_whose_packets_did_not_all_come_is_incomplete_and_one_repaired_later_late(
    run: Any, tmp_path: Path
) -> None:
    rows_of(run, 2, 0, 1)[3]["whole_ns"] = NEVER_WHOLE
    rows_of(run, 2, 0, 1)[4]["whole_ns"] = 400 * MS
    summary = run.summary(tmp_path)
    assert (summary.frames.incomplete, summary.frames.missing, summary.frames.late) == (1, 1, 1)
    assert (summary.late_ratio.of, summary.late_ratio.ratio) == (1199, pytest.approx(1 / 1199, abs=1e-6))


def test_a_damaged_payload_is_a_corrupted_frame_and_not_delivered(run: Any, tmp_path: Path) -> None:
    rows_of(run, 2, 0, 1)[3]["flags"] = SAMPLE_CORRUPT
    summary = run.summary(tmp_path)
    assert (summary.corrupted_frames, summary.frames.missing) == (1, 1)
    assert summary.reasons == ["corrupted_frames==0 is broken: 1"]


def test_copies_under_numbers_of_their_own_are_duplicates_by_their_stamps(run: Any, tmp_path: Path) -> None:
    copies = [dict(row) for row in rows_of(run, 2, 0, 1)]
    for row in copies[:50]:
        row["whole_ns"] = NEVER_WHOLE  # of a frame of several packets the last came twice
    run.latency += copies
    summary = run.summary(tmp_path)
    assert summary.frames.duplicated == 100
    assert summary.duplicate_ratio.ratio == pytest.approx(100 / 1300, abs=1e-4)
    assert any("duplicate_ratio.ratio<=0.001 is broken" in reason for reason in summary.reasons)


@pytest.mark.parametrize(("lost", "shown"), [((30,), 70), ((35,), 75), ((0, 90), 60), ((), 100)])
def test_frames_after_a_lost_one_cannot_be_decoded_until_the_next_key_frame(
    run: Any, tmp_path: Path, lost: tuple[int, ...], shown: int
) -> None:
    for row in run.sent:
        row["flags"] = SAMPLE_KEY if row["kind"] == 1 and row["seq"] % 30 == 0 else 0
    gone = [row for row in rows_of(run, 2, 0, 1) if row["seq"] in lost]
    forget(run, *gone)
    summary = run.summary(tmp_path)
    of = 6 * 100
    assert summary.decodable_ratio.of == of
    assert summary.decodable_ratio.ratio == pytest.approx((of - 100 + shown) / of, abs=1e-6)
    assert summary.frames.missing_key_frames == sum(n % 30 == 0 for n in lost)


def test_where_no_key_frames_are_known_nothing_is_said_of_decoding(run: Any, tmp_path: Path) -> None:
    summary = run.summary(tmp_path)
    assert (summary.decodable_ratio, summary.verdict) == (None, "pass")


def test_copies_and_repairs_nobody_asked_for_are_duplicates(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(2, 0, 1):
        tick = row["tick"]
        row["duplicates"], row["surplus_repairs"], row["unasked_repairs"] = 30 * tick, 20 * tick, 5 * tick
    summary = run.summary(tmp_path)
    packets = 6 * 500 + 6 * 400
    assert summary.duplicate_ratio.ratio == pytest.approx(150 / (packets + 150), abs=1e-6)
    assert summary.verdict == "fail"


@pytest.mark.parametrize(("announced", "packets"), [(False, 7), (True, 0)])
def test_packets_of_an_unknown_ssrc_fail_the_run_unless_it_is_announced_in_the_end(
    run: Any, tmp_path: Path, announced: bool, packets: int
) -> None:
    run.receivers[-1]["unknown_ssrc_open"] = 7
    after = {"tick": DRAINED, "unix_ns": run.start_ns + 12 * S, "unknown_ssrc_open": 0 if announced else 9}
    run.receivers.append(run.receivers[-1] | after)
    summary = run.summary(tmp_path)
    assert (summary.unexpected_packets.total, summary.unexpected_packets.unknown_ssrc) == (packets, packets)
    assert summary.verdict == ("pass" if announced else "fail")


def test_packets_of_an_ssrc_whose_grace_passes_after_the_end_count_as_far_as_they_came_before_it(
    run: Any, tmp_path: Path
) -> None:
    run.receivers[-1]["unknown_ssrc_open"] = 7
    after = {"unix_ns": run.start_ns + 12 * S, "unknown_ssrc_open": 0, "unknown_ssrc": 30}
    run.receivers.append(run.receivers[-1] | after | {"tick": DRAINED})
    assert run.summary(tmp_path).unexpected_packets.total == 7


def test_jumps_of_rtp_timestamps_within_the_measured_time_fail_the_run(run: Any, tmp_path: Path) -> None:
    for row in run.receivers:
        # Each has 9 from before; the last receiver gets 2 more, in second 4.
        row["timestamp_jumps"] = 9 + (2 if row["receiver"] == 2 and row["tick"] >= 4 else 0)
    summary = run.summary(tmp_path)
    assert (summary.timestamp_jumps, summary.verdict) == (2, "fail")
    assert summary.reasons == ["timestamp_jumps==0 is broken: 2"]


def test_a_run_whose_bots_counted_no_jumps_of_timestamps_is_an_error(run: Any, tmp_path: Path) -> None:
    for row in run.receivers:
        row["timestamp_jumps"] = None
    summary = run.summary(tmp_path)
    assert (summary.timestamp_jumps, summary.verdict) == (None, "error")
    assert "timestamp_jumps was not measured" in " ".join(summary.reasons)


def test_what_a_kind_of_bot_cannot_count_is_null(run: Any, tmp_path: Path) -> None:
    for row in run.receivers:
        row["malformed"] = None
    summary = run.summary(tmp_path)
    assert summary.unexpected_packets.malformed is None
    assert (summary.unexpected_packets.total, summary.verdict) == (0, "pass")


def test_a_pause_is_cut_at_the_edges_of_the_measured_time(run: Any, tmp_path: Path) -> None:
    end = run.start_ns + run.seconds * S
    for receiver, began, ended in ((0, -500, 400), (1, 4000, 5600), (2, 9800, 12_000)):
        times = {"began_ns": run.start_ns + began * MS, "ended_ns": run.start_ns + ended * MS}
        run.pauses.append(
            {"receiver": receiver, "sender": 2 - receiver if receiver != 1 else 0, "kind": 0} | times
        )
    run.pauses[2] |= {"receiver": 2, "sender": 0}
    summary = run.summary(tmp_path)
    found = summary.pauses.audio
    assert (found.longest_ms.max, found.longest_ms.samples, found.over_300_ms) == (1600, 6, 2)
    assert found.share == pytest.approx(2.0 / 60, abs=1e-6)
    assert summary.reasons == [
        "pauses.audio.longest_ms.max<1000 is broken: 1600",
        "pauses.audio.share<=0.02 is broken: 0.033333",
    ]
    assert end  # the last one is 200 ms long within the measured time


def test_silence_until_the_end_is_a_pause_although_no_frame_ended_it(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(2, 0, 1):
        row["last_frame_ns"] = min(row["last_frame_ns"], run.start_ns + 8200 * MS)
    summary = run.summary(tmp_path)
    assert summary.pauses.video.longest_ms.max == 1800
    assert summary.verdict == "fail"


@pytest.mark.parametrize("table", ["latency", "sent", "expected", "streams", "receivers"])
def test_a_run_whose_samples_were_emptied_is_an_error_and_names_them(
    run: Any, tmp_path: Path, table: str
) -> None:
    setattr(run, table, [])
    summary = run.summary(tmp_path)
    assert summary.verdict == "error"
    assert any(
        table in reason or "was not measured" in reason or "lacks" in reason for reason in summary.reasons
    )


@pytest.mark.parametrize("table", ["latency", "sent", "expected"])
def test_a_run_that_lost_some_of_its_samples_is_an_error(run: Any, tmp_path: Path, table: str) -> None:
    setattr(run, table, getattr(run, table)[:-1])
    if table == "latency":
        run.receivers[-1]["stamps"] = 400
    summary = run.summary(tmp_path)
    assert summary.verdict == "error"
    assert summary.reasons[0].startswith(f"{table}.parquet")


def test_a_run_that_never_came_to_its_measured_time_shows_nulls_and_not_zeros(
    run: Any, tmp_path: Path
) -> None:
    run.context.window_start_ns = run.context.window_end_ns = None
    run.context.aborted = ["the server refused"]
    summary: Summary = run.summary(tmp_path)
    assert (summary.verdict, summary.reasons) == ("error", ["the server refused"])
    assert summary.streams.flowing is None
    assert summary.loss.ratio is None
    for name in ("duplicates", "out_of_order", "corrupted_frames", "frames", "pauses", "unexpected_packets"):
        assert getattr(summary, name) is None, name


def context(**values: Any) -> RunContext:
    return RunContext(started_ns=1, **values)


@pytest.mark.parametrize(
    ("values", "measured", "gaps", "weak", "broken", "verdict"),
    [
        ({}, True, [], [], [], "pass"),
        ({}, True, [], [], ["loss"], "fail"),
        ({}, True, [], ["lag"], ["loss"], "void"),
        ({}, True, ["no samples"], [], ["loss"], "error"),
        ({}, True, ["no samples"], ["dropped samples"], [], "void"),
        ({"aborted": ["timeout"]}, True, [], [], [], "error"),
        ({"aborted": ["timeout"]}, False, [], ["lag"], [], "void"),
        ({"aborted": ["killed"], "server_ended": True}, True, [], ["lag"], [], "error"),
        ({}, False, [], [], [], "error"),
    ],
)
def test_the_worst_verdict_wins_but_a_run_that_broke_off_on_a_weak_generator_is_void(
    values: dict[str, Any],
    measured: bool,
    gaps: list[str],
    weak: list[str],
    broken: list[str],
    verdict: str,
) -> None:
    found, reasons = judge(context(**values), measured=measured, gaps=gaps, weak=weak, broken=broken)
    assert found == verdict
    assert bool(reasons) == (verdict != "pass")


def test_the_interval_of_a_share_is_wilsons() -> None:
    # E. B. Wilson's formula for 10 of 100, as tables have it
    assert wilson(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert (share(0, 1000).low, share(0, 1000).high) == (0, pytest.approx(0.003827, abs=1e-6))
    assert share(0, 0).ratio is None
