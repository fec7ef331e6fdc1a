"""Every figure of a verdict, from raw rows whose answer is known."""

from pathlib import Path
from typing import Any

import pytest

from simulator.analysis import metrics
from simulator.analysis.raw_run import RawRun, RunContext
from simulator.samples.schema import SAMPLE_KEY

NS_PER_S = 1_000_000_000


def test_a_perfect_call_passes_with_every_figure(run: Any, tmp_path: Path) -> None:
    summary = run.summary(tmp_path)
    assert summary.verdict == "pass", summary.reasons
    assert (summary.streams.expected, summary.streams.flowing) == (12, 12)
    assert summary.duration_s == run.seconds
    assert summary.loss.ratio == 0
    assert summary.foreign_frames == summary.duplicates == summary.out_of_order == 0
    assert summary.decoded is None
    assert summary.transition_ms is None


def test_latency_percentiles_use_every_sample(run: Any, tmp_path: Path) -> None:
    latency = run.summary(tmp_path).latency_ms.video
    assert latency is not None
    assert latency.samples == 600
    assert latency.p50 == pytest.approx(50.5)
    assert latency.p95 == pytest.approx(95, abs=1)
    assert latency.p99 == pytest.approx(99, abs=0.5)
    assert latency.max == 100


def test_slow_samples_are_not_thrown_away(run: Any, tmp_path: Path) -> None:
    for sample in run.latency:
        sample["recv_unix_ns"] += 5 * NS_PER_S - sample["owd_ns"]
        sample["owd_ns"] = 5 * NS_PER_S
    summary = run.summary(tmp_path)
    assert summary.latency_ms.audio is not None
    assert summary.latency_ms.audio.p50 == 5000
    assert summary.verdict == "fail"
    assert "latency_ms.audio.p95<100 is broken: 5000" in summary.reasons


def test_samples_are_selected_by_the_time_their_frame_was_sent(run: Any, tmp_path: Path) -> None:
    end_ns = run.start_ns + run.seconds * NS_PER_S
    for sent_ns, owd_s in ((run.start_ns - 1, 9), (end_ns + 1, 8), (end_ns, 3)):
        times = {"recv_unix_ns": sent_ns + owd_s * NS_PER_S, "owd_ns": owd_s * NS_PER_S}
        run.latency.append(run.latency[0] | times)
    latency = run.summary(tmp_path).latency_ms.audio
    assert latency is not None
    assert (latency.max, latency.samples) == (3000, 601)


def test_a_stream_that_never_came_is_expected_and_not_flowing(run: Any, tmp_path: Path) -> None:
    gone = run.of_stream(2, 0, 1)
    run.streams = [row for row in run.streams if row not in gone]
    summary = run.summary(tmp_path)
    assert (summary.streams.expected, summary.streams.flowing) == (12, 11)
    assert summary.reasons == [
        "streams.flowing==streams.expected is broken: 11",
        "pauses.video.longest_ms.max<1000 is broken: 10000",
        "pauses.video.share<=0.02 is broken: 0.166667",
    ]


def test_a_stream_that_was_silent_for_over_two_seconds_does_not_flow(run: Any, tmp_path: Path) -> None:
    rows = run.of_stream(1, 0, 0)
    for tick in (4, 5, 6):
        rows[tick]["last_packet_ns"] = rows[3]["unix_ns"]
    assert run.summary(tmp_path).streams.flowing == 11


def test_a_stream_that_stopped_before_the_end_does_not_flow(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(1, 0, 0)[6:]:
        row["last_packet_ns"] = run.start_ns + 5 * NS_PER_S
    assert run.summary(tmp_path).streams.flowing == 11


def test_loss_is_counted_before_and_after_repair_and_by_kind(run: Any, tmp_path: Path) -> None:
    for row in run.streams:
        lost = 5 * row["tick"]
        row["missing_first"] = 100 + lost
        row["missing"] = 7 + (lost if row["kind"] == 0 else 0)
    loss = run.summary(tmp_path).loss
    assert loss.audio is not None
    assert loss.video is not None
    assert loss.audio.before_repair == pytest.approx(0.1)
    assert loss.audio.ratio == pytest.approx(0.1)
    assert loss.video.before_repair == pytest.approx(0.125)
    assert loss.video.ratio == 0
    assert loss.ratio == 0.055556


def test_the_loss_of_a_single_packet_counts(run: Any, tmp_path: Path) -> None:
    for row in run.streams:
        row["expected"] = row["missing"] = row["missing_first"] = 100
    for row in run.of_stream(0, 1, 0):
        row["expected"] = row["missing"] = 100 + (row["tick"] > 5)
    loss = run.summary(tmp_path).loss
    assert loss.audio is not None
    assert (loss.audio.ratio, loss.audio.before_repair) == (1, 0)
    assert loss.video is not None
    assert loss.video.ratio is None


def test_a_stream_without_a_packet_in_the_measured_time_does_not_flow(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(0, 1, 0):
        row["packets"] = 500
    assert run.summary(tmp_path).streams.flowing == 11


def test_without_a_measured_time_no_sample_counts(run: Any, tmp_path: Path) -> None:
    run.context.window_start_ns = run.context.window_end_ns = None
    raw = RawRun.read(run.write(tmp_path))
    assert len(raw.tables["latency"]) > 1
    assert raw.samples().empty


def test_misrouted_frames_by_sample_flag_fail_the_run_and_stay_out_of_latency(
    run: Any, tmp_path: Path
) -> None:
    run.latency[0] |= {"flags": 1, "owd_ns": 99 * NS_PER_S}
    summary = run.summary(tmp_path)
    assert summary.foreign_frames == 1
    assert summary.verdict == "fail"
    assert summary.latency_ms.audio is not None
    assert summary.latency_ms.audio.max == 100


def test_misrouted_frames_by_counter_count_even_before_the_measured_time(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(0, 1, 1):
        row["foreign"] = 3
    assert run.summary(tmp_path).foreign_frames == 3


def test_duplicates_and_disorder_are_counted_in_the_measured_time(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(0, 1, 1):
        row["duplicates"], row["out_of_order"] = 40 + row["tick"], 2 * row["tick"]
    summary = run.summary(tmp_path)
    assert (summary.duplicates, summary.out_of_order) == (10, 20)


def test_a_join_lasts_until_the_slowest_stream_to_or_from_those_before(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(0, 2, 1):  # the first receives the last late: counts for the last
        row["first_packet_ns"] = run.joins[2]["started_ns"] + 900_000_000
    joins = run.summary(tmp_path).join_ms
    assert joins is not None
    assert joins.max == 900
    # bots 0 and 1 share the streams between them, which belong to bot 1: the later one
    assert joins.samples == 2


def test_a_participant_whose_stream_never_came_has_no_join_time(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(0, 2, 1):
        row["first_packet_ns"] = 0
    joins = run.summary(tmp_path).join_ms
    assert joins is not None
    assert joins.samples == 1


def test_what_threads_used_before_the_measured_time_does_not_count(run: Any, tmp_path: Path) -> None:
    for row in run.server_threads:
        row["cpu_ns"] += NS_PER_S
    assert run.summary(tmp_path).server.busiest_thread_percent == 20


def test_the_lag_is_counted_below_a_millisecond(run: Any, tmp_path: Path) -> None:
    for row in run.generator:
        row["lag_max_us"] = 2_500
    lag = run.summary(tmp_path).generator.lag_ms
    assert lag is not None
    assert (lag.p50, lag.max) == (2.5, 2.5)


def test_a_run_was_not_interrupted_unless_it_says_so() -> None:
    assert not RunContext(started_ns=1).interrupted


@pytest.mark.parametrize("missing", ["window_start_ns", "window_end_ns"])
def test_a_measured_time_without_begin_or_end_has_no_length(run: Any, tmp_path: Path, missing: str) -> None:
    setattr(run.context, missing, None)
    assert RawRun.read(run.write(tmp_path)).duration_s is None


def test_a_server_that_was_read_once_has_no_differences(run: Any, tmp_path: Path) -> None:
    known = next(row for row in run.server if row["tick"] == 5)
    for row in run.server:
        if row is not known:
            row["packets_out"] = None
    assert run.summary(tmp_path).server.packets_out is None


def test_server_figures_are_differences_over_the_measured_time(run: Any, tmp_path: Path) -> None:
    server = run.summary(tmp_path).server
    assert server.cpu_core_percent == 25
    assert server.busiest_thread_percent == 20
    assert (server.packets_out, server.packets_in) == (5400, 2700)
    assert server.cpu_ns_per_packet == pytest.approx(2.5 * NS_PER_S / 5400, abs=0.01)
    assert server.rss_bytes == 90_000_010


@pytest.mark.parametrize("tick", [1, 5, 10])
def test_a_server_that_was_restarted_counts_from_zero(run: Any, tmp_path: Path, tick: int) -> None:
    for row in run.server:
        row["packets_out"] += 1_000_000
    whole = run.summary(tmp_path / "whole").server
    at_restart = run.server[tick]["packets_out"]
    for row in run.server[tick:]:
        row["packets_out"] -= at_restart - 540
    server = run.summary(tmp_path / "anew").server
    assert server.packets_out == whole.packets_out
    assert server.cpu_ns_per_packet == whole.cpu_ns_per_packet


def test_a_server_that_cannot_be_watched_leaves_nulls_and_no_objective(run: Any, tmp_path: Path) -> None:
    run.server, run.server_threads = [], []
    summary = run.summary(tmp_path)
    assert summary.server.cpu_core_percent is None
    assert summary.verdict == "pass"
    assert {s.passed for s in summary.slo if "server" in s.expression} == {None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lag_max_us": 160_000}, "the generator was late"),
        ({"cpu_ns": 99}, "used 99 % of a core"),
        ({"socket_drops": 1}, "dropped 10 datagrams"),
        ({"late_sends": 100}, "sent over 5 ms late"),
    ],
)
def test_a_generator_that_did_not_keep_up_makes_the_run_void_and_never_a_pass(
    run: Any, tmp_path: Path, change: dict[str, int], reason: str
) -> None:
    for row in run.generator:
        for name, value in change.items():
            unit = NS_PER_S // 100 if name == "cpu_ns" else 1
            row[name] = value if name == "lag_max_us" else value * row["tick"] * unit
    summary = run.summary(tmp_path)
    assert summary.verdict == "void"
    assert not summary.generator.valid
    assert any(reason in line for line in summary.reasons), summary.reasons


def test_one_stall_of_900_ms_does_not_vanish_in_a_percentile(run: Any, tmp_path: Path) -> None:
    run.generator[7]["lag_max_us"] = 900_000
    summary = run.summary(tmp_path)
    assert summary.verdict == "void"
    assert "the generator stood still for 900 ms, limit 250 ms" in summary.reasons


def test_many_short_stalls_count_by_the_time_they_took(run: Any, tmp_path: Path) -> None:
    for row in run.generator:
        row["stalled_us"] = 19_000 * row["tick"]
    assert run.summary(tmp_path / "few").verdict == "pass"
    for row in run.generator:
        row["stalled_us"] = 30_000 * row["tick"]
    summary = run.summary(tmp_path / "many")
    assert summary.generator.stalled_ratio == 0.03
    assert summary.verdict == "void"
    assert any("stood still for 3.0% of the time" in line for line in summary.reasons)


def test_a_generator_that_says_nothing_makes_the_run_void(run: Any, tmp_path: Path) -> None:
    run.generator = []
    assert run.summary(tmp_path).verdict == "void"


def test_a_void_run_also_names_the_broken_objectives(run: Any, tmp_path: Path) -> None:
    for row in run.generator:
        row["lag_max_us"] = 160_000
    for sample in run.latency:
        sample["owd_ns"] = 5 * NS_PER_S
    reasons = run.summary(tmp_path).reasons
    assert any("the generator was late" in r for r in reasons)
    assert any("latency_ms.video.p95<100 is broken" in r for r in reasons)


def test_a_run_that_broke_off_is_an_error_with_its_reason(run: Any, tmp_path: Path) -> None:
    run.context.aborted = ["the media server ended with code 1"]
    summary = run.summary(tmp_path)
    assert summary.verdict == "error"
    assert summary.reasons == ["the media server ended with code 1"]


def test_a_run_without_any_sample_is_an_error_and_not_a_crash(run: Any, tmp_path: Path) -> None:
    run.context.window_start_ns = run.context.window_end_ns = None
    for table in (
        "expected",
        "streams",
        "latency",
        "sent",
        "receivers",
        "joins",
        "participants",
        "generator",
        "server",
        "server_threads",
    ):
        setattr(run, table, [])
    summary = run.summary(tmp_path)
    assert summary.verdict == "error"
    assert summary.streams.expected is None


def test_decoding_bots_report_video_frames_freezes_and_audio(run: Any, tmp_path: Path) -> None:
    for sender in (1, 2):
        for row in run.of_stream(0, sender, 1):
            row["frames_decoded"], row["freezes"] = 30 * row["tick"], int(sender == 2 and row["tick"] > 5)
        for row in run.of_stream(0, sender, 0):
            row["frames_decoded"], row["audio_energy"] = 50 * row["tick"], 0.01 * row["tick"] * (sender == 1)
    run.playout = [
        {"receiver": 0, "sender": 1, "kind": 1, "unix_ns": run.start_ns + at, "delay_ns": 50_000_000}
        for at in (-1, 0, 1, 2, 3, 4, 5, 6, 7, run.seconds * NS_PER_S, run.seconds * NS_PER_S + 1)
    ]
    decoded = run.summary(tmp_path).decoded
    assert decoded is not None
    assert decoded.playout_ms is not None
    assert decoded.playout_ms.video is not None
    assert (decoded.playout_ms.video.p50, decoded.playout_ms.video.samples) == (50, 9)
    assert (decoded.streams, decoded.frames, decoded.freezes) == (4, 600, 1)
    assert (decoded.audible, decoded.audio_streams) == (1, 2)


def test_pairs_hold_latency_and_loss_of_every_stream(run: Any, tmp_path: Path) -> None:
    for row in run.of_stream(2, 0, 1):
        row["missing"] = row["missing_first"] = row["tick"] * 4
    run.latency = [s for s in run.latency if (s["receiver"], s["sender"]) != (1, 0)]
    table = metrics.pairs(RawRun.read(run.write(tmp_path)))
    assert table.index.tolist() == list(range(12))
    lossy = table[(table.sender == 0) & (table.receiver == 2) & (table.kind == "video")].iloc[0]
    assert lossy.loss == pytest.approx(0.1)
    assert lossy.p95_ms == pytest.approx(95.05, abs=1e-6)
    silent = table[(table.sender == 0) & (table.receiver == 1) & (table.kind == "audio")].iloc[0]
    assert silent.samples == 0


def test_without_a_row_of_streams_no_frame_was_misrouted_and_nothing_flows(run: Any, tmp_path: Path) -> None:
    run.streams = []
    summary = run.summary(tmp_path)
    assert (summary.foreign_frames, summary.streams.expected, summary.streams.flowing) == (0, 12, 0)


def test_the_lag_before_the_measured_time_does_not_count(run: Any, tmp_path: Path) -> None:
    run.generator[0]["lag_max_us"] = 900_000  # since the row before the first tick
    lag = run.summary(tmp_path).generator.lag_ms
    assert lag is not None
    assert (lag.max, lag.samples) == (2, run.seconds)


def test_pairs_without_samples_have_no_latency(run: Any, tmp_path: Path) -> None:
    run.latency = []
    table = metrics.pairs(RawRun.read(run.write(tmp_path)))
    assert len(table) == 12
    assert table[["p50_ms", "p95_ms", "p99_ms", "max_ms"]].isna().all(axis=None)
    assert set(table["samples"]) == {0}


def test_of_two_who_join_at_once_each_waits_for_what_it_receives(run: Any, tmp_path: Path) -> None:
    start = run.joins[0]["started_ns"]
    run.joins[1]["started_ns"] = start
    run.joins[2]["started_ns"] = start - NS_PER_S
    waits_ms = {(0, 1): 100, (1, 0): 900.5, (0, 2): 500, (2, 0): 500, (1, 2): 50, (2, 1): 50}
    for row in run.streams:
        row["first_packet_ns"] = start + int(waits_ms[row["receiver"], row["sender"]] * 1e6)
    joins = run.summary(tmp_path).join_ms
    assert joins is not None
    assert (joins.p50, joins.max, joins.samples) == (700.25, 900.5, 2)


@pytest.mark.parametrize(("energy_per_s", "audible"), [(0.9e-5, 0), (1e-5, 0), (1.1e-5, 1)])
def test_a_stream_is_audible_by_its_energy_a_second(
    run: Any, tmp_path: Path, energy_per_s: float, audible: int
) -> None:
    for row in run.of_stream(0, 1, 0):
        row["frames_decoded"], row["audio_energy"] = 50 * row["tick"], energy_per_s * row["tick"]
    decoded = run.summary(tmp_path).decoded
    assert decoded is not None
    assert (decoded.audible, decoded.audio_streams) == (audible, 1)


def test_a_counter_that_stands_still_is_no_restart(run: Any, tmp_path: Path) -> None:
    for row in run.server[4:]:
        row["packets_out"] -= 540
    assert run.summary(tmp_path).server.packets_out == 5400 - 540


def test_the_flag_of_a_key_frame_is_none_of_a_misrouted_frame(run: Any, tmp_path: Path) -> None:
    run.latency[0]["flags"] = SAMPLE_KEY
    summary = run.summary(tmp_path)
    assert summary.foreign_frames == 0
    assert summary.latency_ms.audio is not None
    assert summary.latency_ms.audio.samples == 600


def test_late_packets_are_a_share_of_those_sent_in_the_measured_time(run: Any, tmp_path: Path) -> None:
    for row in run.generator:
        row["sends"], row["late_sends"] = 1_000 + 100 * row["tick"], 500 + 3 * row["tick"]
    assert run.summary(tmp_path).generator.late_send_ratio == 0.03


def test_a_repair_of_what_was_lost_before_the_measured_time_is_no_negative_loss(
    run: Any, tmp_path: Path
) -> None:
    for row in run.streams:
        row["missing"] = row["missing_first"] = 100 - row["tick"]
    loss = run.summary(tmp_path).loss
    table = metrics.pairs(RawRun.read(tmp_path))
    assert set(table["loss"]) == set(table["loss_before_repair"]) == {0}
    assert loss.audio is not None
    assert (loss.ratio, loss.before_repair, loss.audio.ratio, loss.audio.before_repair) == (0, 0, 0, 0)
