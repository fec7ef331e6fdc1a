"""Figures of calls that switch, on synthetic rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.analysis.raw_run import RawRun
from simulator.analysis.transitions import arrivals as joins
from simulator.analysis.transitions import gap_figures, gaps, recoveries, transitions
from simulator.report.charts import changes_chart
from simulator.samples.schema import SAMPLE_SHOWN, SAMPLE_SURPLUS
from simulator.summary import Percentiles
from tests.unit.simulator.conftest import SyntheticRun

START = SyntheticRun.start_ns
MS = 1_000_000
S = 1000 * MS
USUAL_MS = {0: 20, 1: 33}


@pytest.fixture
def switched() -> SyntheticRun:
    """Two participants whose call moves to the SFU five seconds in, without a frame missing."""
    run = SyntheticRun(bots=2, scenario={"pattern": "switch"})
    run.expected, run.streams, run.joins = [], [], []
    run.latency = [
        {
            "receiver": receiver,
            "sender": 1 - receiver,
            "kind": kind,
            "flags": SAMPLE_SHOWN,
            "seq": number,
            "recv_unix_ns": START + number * period * MS,
            "owd_ns": MS,
        }
        for receiver in (0, 1)
        for kind, period in USUAL_MS.items()
        for number in range(10_000 // period)
    ]
    run.send_what_arrived()
    run.transitions = [transition(bot) for bot in (0, 1)]
    return run


def arrivals(stays: dict[int, list[tuple[int, int]]]) -> list[dict[str, object]]:
    """From when to when each bot was in the call, in milliseconds from the start; all joins began before."""
    return [
        {
            "bot": bot,
            "call_id": "c",
            "mode": "sfu",
            "started_ns": START - S,
            "flowing_ns": START + flowing_ms * MS,
            "left_ns": START + left_ms * MS,
        }
        for bot, spans in stays.items()
        for flowing_ms, left_ms in spans
    ]


def transition(bot: int, **changes: object) -> dict[str, object]:
    at = START + 5 * S
    return {
        "bot": bot,
        "call_id": "c",
        "epoch": 1,
        "old": "p2p",
        "new": "sfu",
        "reason": "participant_joined",
        "prewarmed": True,
        "peers": str(1 - bot),
        "decided_ns": at,
        "told_ns": at + 5 * MS,
        "media_ns": at + 80 * MS + MS // 4,
        "confirmed_ns": at + 85 * MS,
        "completed_ns": at + 100 * MS,
        "success": True,
        "error": "",
        **changes,
    }


def read(run: SyntheticRun, directory: Path) -> RawRun:
    return RawRun.read(run.write(directory))


def drop(run: SyntheticRun, receiver: int, kind: int, from_ms: int, to_ms: int) -> None:
    """Let frames of one track not be shown for a while."""
    for row in run.latency:
        at_ms = (int(str(row["recv_unix_ns"])) - START) / MS
        if (row["receiver"], row["kind"]) == (receiver, kind) and from_ms <= at_ms < to_ms:
            row["flags"] = SAMPLE_SURPLUS


def test_a_change_without_a_missing_frame_has_no_gap(switched: SyntheticRun, tmp_path: Path) -> None:
    table = gaps(read(switched, tmp_path / "run"))
    assert len(table) == 4  # two participants, one peer each, two kinds
    assert table["gap_ms"].max() == 0


def test_a_gap_is_the_time_between_frames_beyond_the_usual(switched: SyntheticRun, tmp_path: Path) -> None:
    drop(switched, 0, 1, 5_000, 5_200)
    table = gaps(read(switched, tmp_path / "run")).set_index(["bot", "kind"])["gap_ms"]
    assert table[0, "video"] == pytest.approx(198, abs=33)
    assert table[0, "audio"] == table[1, "video"] == table[1, "audio"] == 0


def test_gaps_are_counted_by_kind_and_below_a_millisecond(switched: SyntheticRun, tmp_path: Path) -> None:
    drop(switched, 0, 0, 5_000, 5_050)
    around = [row for row in switched.latency if (row["receiver"], row["kind"]) == (1, 1)]
    late = min(row for row in (int(str(r["recv_unix_ns"])) for r in around) if row >= START + 5_020 * MS)
    next(r for r in around if r["recv_unix_ns"] == late)["recv_unix_ns"] = late + MS // 2
    found = gap_figures(read(switched, tmp_path / "run"))
    assert found is not None
    assert found.audio is not None
    assert found.video is not None
    assert (found.audio.samples, found.audio.max) == (2, 60)
    assert (found.video.samples, found.video.max) == (2, 0.5)


def test_frames_that_come_faster_than_usual_leave_a_gap_of_zero(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    track = [row for row in switched.latency if (row["receiver"], row["kind"]) == (0, 0)]
    between = [row | {"recv_unix_ns": int(str(row["recv_unix_ns"])) + 10 * MS} for row in track[200:350]]
    switched.latency += between
    table = gaps(read(switched, tmp_path / "run"))
    assert table[(table["bot"] == 0) & (table["kind"] == "audio")]["gap_ms"].tolist() == [0]


def test_a_call_of_video_alone_has_gaps_of_video(tmp_path: Path, switched: SyntheticRun) -> None:
    switched.scenario = switched.scenario.with_values({"media": {"audio": False}})
    assert set(gaps(read(switched, tmp_path / "run"))["kind"]) == {"video"}


def test_a_fault_around_one_change_takes_no_gap_from_another(switched: SyntheticRun, tmp_path: Path) -> None:
    early = {"decided_ns": START - 20 * S, "told_ns": START - 20 * S, "completed_ns": START - 19 * S}
    switched.transitions.insert(0, transition(0, epoch=7, **early))
    switched.deaths = [{"unix_ns": START - 18 * S, "what": "worker"}]
    assert set(gaps(read(switched, tmp_path / "run"))["epoch"]) == {1}


@pytest.mark.parametrize("from_ms", [2_000, 3_700])
def test_a_gap_far_from_a_change_does_not_count(switched: SyntheticRun, tmp_path: Path, from_ms: int) -> None:
    drop(switched, 0, 1, from_ms, from_ms + 500)
    drop(switched, 0, 1, 7_500, 8_000)
    assert gaps(read(switched, tmp_path / "run"))["gap_ms"].max() == 0


@pytest.mark.parametrize(("from_ms", "to_ms", "expected"), [(5_000, 99_000, 1_100), (0, 99_000, 1_595)])
def test_a_track_that_ends_or_is_missing_counts_as_a_gap(
    switched: SyntheticRun, tmp_path: Path, from_ms: int, to_ms: int, expected: float
) -> None:
    drop(switched, 0, 0, from_ms, to_ms)
    assert gaps(read(switched, tmp_path / "run"))["gap_ms"].max() == pytest.approx(expected, abs=45)


def test_a_track_that_began_with_the_change_has_no_gap(switched: SyntheticRun, tmp_path: Path) -> None:
    drop(switched, 0, 0, 0, 4_900)
    drop(switched, 1, 1, 0, 5_050)
    table = gaps(read(switched, tmp_path / "run")).set_index(["bot", "kind"])["gap_ms"]
    assert table[0, "audio"] == 0
    assert (1, "video") not in table.index


def test_what_is_missed_after_a_participant_left_is_no_gap(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 5_500)]})
    for receiver, kind in ((0, 0), (0, 1), (1, 0), (1, 1)):
        drop(switched, receiver, kind, 5_500, 9_000)  # back again at nine seconds
    assert gaps(read(switched, tmp_path / "run"))["gap_ms"].max() < 40


def test_what_was_missed_before_a_participant_rejoined_is_no_gap(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 3_000), (4_800, 10_000)]})
    for receiver, kind in ((0, 0), (0, 1), (1, 0), (1, 1)):
        drop(switched, receiver, kind, 3_000, 4_900)
    # silent from the rejoin on, a tenth of a second; not since the leave
    assert 40 < gaps(read(switched, tmp_path / "run"))["gap_ms"].max() < 120


def test_a_participant_who_comes_with_the_notification_is_there(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(5_005, 10_000)]})
    assert len(gaps(read(switched, tmp_path / "run"))) == 4


def test_a_track_of_a_single_frame_has_a_gap(switched: SyntheticRun, tmp_path: Path) -> None:
    drop(switched, 0, 1, 33, 10_000)
    table = gaps(read(switched, tmp_path / "run")).set_index(["bot", "kind"])["gap_ms"]
    assert table[0, "video"] > 1_500


def test_times_are_counted_from_the_decision(switched: SyntheticRun, tmp_path: Path) -> None:
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.to_sfu is not None
    assert figures.to_sfu.p95 == 100
    assert figures.to_sfu.samples == 2
    assert figures.told is not None
    assert figures.told.max == 5
    assert figures.media is not None
    assert figures.media.max == 80.25
    assert figures.to_p2p is not None
    assert figures.to_p2p.samples == 0
    assert figures.failed == 0


@pytest.mark.parametrize("changes", [{"success": False}, {"success": None, "completed_ns": 0}])
def test_a_change_that_was_rolled_back_or_never_ended_has_failed(
    switched: SyntheticRun, tmp_path: Path, changes: dict[str, object]
) -> None:
    switched.transitions[1] = transition(1, **changes)
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.failed == 1


def test_a_change_superseded_for_one_is_superseded_for_all(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.transitions = [
        transition(0, success=False, error="superseded"),
        transition(1, success=False, error="ConnectionError: the server closed DTLS"),
        transition(1, success=False, error="ConnectionError: the server closed DTLS", epoch=2),
    ]
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.failed == 1


@pytest.mark.parametrize(
    ("killed_ms", "failed"), [(3_999, 1), (4_000, 0), (5_050, 0), (5_100, 0), (5_101, 1)]
)
def test_a_change_during_a_fault_is_interrupted_and_has_not_failed(
    switched: SyntheticRun, tmp_path: Path, killed_ms: int, failed: int
) -> None:
    switched.transitions[1] = transition(1, success=False)
    switched.deaths = [{"unix_ns": START + killed_ms * MS, "what": "worker"}]
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert (figures.failed, figures.interrupted) == (failed, 1 - failed)


def test_changes_that_failed_are_counted_without_those_that_were_interrupted(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    switched.transitions = [
        transition(0, success=False),
        transition(1, success=False, decided_ns=START, told_ns=START + MS, completed_ns=START + 2 * MS),
    ]
    switched.deaths = [{"unix_ns": START + 5_050 * MS, "what": "worker"}]
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert (figures.failed, figures.interrupted) == (1, 1)


@pytest.mark.parametrize(("killed_ms", "failed"), [(3_999, 1), (4_000, 0), (15_000, 0), (15_001, 1)])
def test_a_change_that_never_ended_is_interrupted_by_a_fault_up_to_its_deadline(
    switched: SyntheticRun, tmp_path: Path, killed_ms: int, failed: int
) -> None:
    switched.transitions[1] = transition(1, success=None, completed_ns=0)
    switched.deaths = [{"unix_ns": START + killed_ms * MS, "what": "worker"}]
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert (figures.failed, figures.interrupted) == (failed, 1 - failed)


def test_a_change_without_a_decision_has_no_times_and_begins_with_its_notification(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    switched.transitions = [transition(0, decided_ns=0), transition(1, decided_ns=0, success=False)]
    switched.deaths = [{"unix_ns": START + 4_004 * MS, "what": "worker"}]
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert (figures.to_sfu, figures.told) == (Percentiles(), Percentiles())
    assert (figures.failed, figures.interrupted) == (1, 0), "1,001 ms before the notification"


def test_frames_that_came_by_both_paths_are_counted(switched: SyntheticRun, tmp_path: Path) -> None:
    for row in switched.latency[:7]:
        row["flags"] = SAMPLE_SURPLUS
    figures = transitions(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.surplus_frames == 7


def test_a_join_lasts_until_all_streams_flow_and_counts_only_then(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(250, 10_000)]})
    switched.arrivals[1]["flowing_ns"] = START + 250 * MS + MS // 4
    never = arrivals({1: [(0, 10_000)]})[0] | {"flowing_ns": 0}
    early = arrivals({1: [(0, 10_000)]})[0] | {"flowing_ns": START - 2 * S}
    switched.arrivals += [never, early]
    figures = joins(read(switched, tmp_path / "run"))
    assert figures is not None
    assert (figures.p50, figures.max, figures.samples) == (1000, 1250.25, 3)


@pytest.mark.parametrize(("gap_ns", "samples"), [(200 * MS, 0), (200 * MS + 1, 1)])
def test_a_track_is_affected_by_a_fault_if_its_gap_is_longer_than_200_ms(
    switched: SyntheticRun, tmp_path: Path, gap_ns: int, samples: int
) -> None:
    switched.transitions = []
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 10_000)]})
    switched.deaths = [{"unix_ns": START + 1_000 * MS, "what": "worker"}]
    # Audio of one track alone: frames at 980 ms and then, beyond the usual 20 ms, after the gap.
    drop(switched, 0, 0, 981, 1_200)
    late = next(
        row
        for row in switched.latency
        if (row["receiver"], row["kind"], row["recv_unix_ns"]) == (0, 0, START + 1_200 * MS)
    )
    late["recv_unix_ns"] = START + 1_000 * MS + gap_ns
    figures = recoveries(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.samples == samples


@pytest.mark.parametrize(("first_ms", "samples"), [(999, 1), (1_000, 0)])
def test_a_track_that_began_with_the_fault_was_not_affected(
    switched: SyntheticRun, tmp_path: Path, first_ms: int, samples: int
) -> None:
    switched.transitions = []
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 10_000)]})
    switched.deaths = [{"unix_ns": START + 1_000 * MS, "what": "worker"}]
    track = [row for row in switched.latency if (row["receiver"], row["kind"]) == (0, 0)]
    switched.latency = [row for row in switched.latency if row not in track]
    frames = [first_ms, *range(2_000, 10_000, 20)]
    switched.latency += [
        row | {"recv_unix_ns": START + at_ms * MS} for row, at_ms in zip(track, frames, strict=False)
    ]
    figures = recoveries(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.samples == samples


def test_moving_to_another_server_is_no_change_of_mode(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.transitions = [transition(bot, old="sfu") for bot in (0, 1)]
    assert transitions(read(switched, tmp_path / "run")) is None


def test_a_summary_judges_changes_and_gaps(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 10_000)]})
    assert switched.summary(tmp_path / "good").verdict == "pass"
    drop(switched, 0, 1, 5_000, 5_400)
    summary = switched.summary(tmp_path / "bad")
    assert summary.verdict == "fail"
    assert any("gap_ms.video.max" in reason for reason in summary.reasons)


def test_a_recovery_is_the_gap_of_participants_who_stayed(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.transitions = []
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 10_000)]})
    switched.deaths = [{"unix_ns": START + S, "what": "worker"}]
    drop(switched, 0, 1, 1_000, 2_500)
    drop(switched, 1, 0, 1_000, 2_000)
    figures = recoveries(read(switched, tmp_path / "stayed"))
    assert figures is not None
    assert figures.samples == 2
    assert figures.max == pytest.approx(1_500, abs=40)
    switched.arrivals[1]["left_ns"] = START + 3 * S
    figures = recoveries(read(switched, tmp_path / "left"))
    assert figures is not None
    assert figures.samples == 0


def test_a_gap_caused_by_a_fault_just_after_a_change_is_none_of_the_change(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    # completed at 5,100; the last second that counts ends at 6,100 ms, between two frames
    switched.deaths = [{"unix_ns": START + 6_110 * MS, "what": "worker"}]
    drop(switched, 0, 1, 6_100, 6_700)
    assert gaps(read(switched, tmp_path / "died")).empty
    switched.deaths = []
    assert gaps(read(switched, tmp_path / "lived"))["gap_ms"].max() > 500


def test_the_time_before_a_participant_rejoined_is_no_recovery_time(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    switched.transitions = []
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 500), (900, 10_000)]})
    switched.deaths = [{"unix_ns": START + S, "what": "gateway"}]
    drop(switched, 0, 1, 500, 1_100)
    drop(switched, 1, 0, 500, 1_400)
    figures = recoveries(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.samples == 1
    assert figures.max == pytest.approx(400, abs=40)


@pytest.mark.parametrize(
    ("silent_from_ms", "recovery_ms"),
    [
        pytest.param(None, None, id="flowing-to-the-last"),
        pytest.param(7_000, 2_010, id="silent-to-the-last"),
    ],
)
def test_the_time_after_a_participant_left_is_no_recovery_time(
    switched: SyntheticRun, tmp_path: Path, silent_from_ms: int | None, recovery_ms: int | None
) -> None:
    switched.transitions = []
    # the time of a recovery ends between a participant's last frame and its leave; it rejoins later
    switched.arrivals = arrivals({0: [(0, 40_000)], 1: [(0, 9_010), (30_000, 40_000)]})
    away = {"receiver": 0, "sender": 1, "kind": 1, "flags": SAMPLE_SHOWN, "seq": 0, "owd_ns": MS}
    switched.latency = [
        row
        for row in switched.latency
        if row["receiver"] == 0 and row["kind"] == 1 and int(str(row["recv_unix_ns"])) < START + 9_000 * MS
    ] + [{**away, "recv_unix_ns": START + 30_000 * MS}]
    switched.deaths = [{"unix_ns": START + S, "what": "gateway"}]
    if silent_from_ms is not None:
        drop(switched, 0, 1, silent_from_ms, 9_000)
    figures = recoveries(read(switched, tmp_path / "run"))
    assert figures is not None
    assert figures.max == (None if recovery_ms is None else pytest.approx(recovery_ms, abs=40))


def test_the_worst_change_is_drawn_with_its_frames_and_who_left(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    drop(switched, 0, 1, 5_000, 5_200)
    switched.arrivals = [
        {
            "bot": bot,
            "call_id": "c",
            "mode": "p2p",
            "started_ns": START - S,
            "flowing_ns": START,
            "left_ns": START + (5_400 if bot else 10_000) * MS,
        }
        for bot in (0, 1)
    ]
    (chart,) = changes_chart(read(switched, tmp_path / "run"))
    drawing = chart.svg
    assert drawing.startswith("<svg")
    assert "To the media server: the change with the longest gap" in drawing
    assert "as participant 0 received participant 1" in drawing
    assert "old path ends 100 ms" in drawing
    assert "participant 1 leaves 400 ms" in drawing
    assert "Back to peer to peer" not in drawing  # it did not go back


def test_without_a_change_there_is_nothing_to_draw(run: SyntheticRun, tmp_path: Path) -> None:
    assert changes_chart(read(run, tmp_path / "run")) == []


def test_the_summary_has_the_figures_of_calls_that_switch(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.arrivals = arrivals({0: [(0, 10_000)], 1: [(0, 10_000)]})
    switched.deaths = [{"unix_ns": START + S, "what": "worker"}]
    drop(switched, 0, 1, 1_000, 2_500)
    raw = read(switched, tmp_path / "run")
    summary = switched.summary(tmp_path / "again")
    assert summary.transition_ms == transitions(raw) is not None
    assert summary.recovery_ms == recoveries(raw) is not None
    assert summary.join_ms == joins(raw) is not None
    switched.deaths = []
    found = gap_figures(read(switched, tmp_path / "quiet"))
    assert switched.summary(tmp_path / "last").gap_ms == found is not None


def test_a_track_that_was_never_shown_has_a_gap_of_the_whole_time_around_the_change(
    switched: SyntheticRun, tmp_path: Path
) -> None:
    drop(switched, 0, 1, 0, 10_000)
    table = gaps(read(switched, tmp_path / "run"))
    video = table[(table["bot"] == 0) & (table["kind"] == "video")]
    # from 500 ms before the notification (5 ms) to 1 s after the end (100 ms)
    assert video["gap_ms"].tolist() == [1_595]


@pytest.mark.parametrize("outcome", [{"success": None}, {"success": False}, {"completed_ns": 0}])
def test_a_change_that_did_not_complete_has_no_gap(
    switched: SyntheticRun, tmp_path: Path, outcome: dict[str, object]
) -> None:
    switched.transitions = [transition(0, **outcome), transition(1)]
    assert set(gaps(read(switched, tmp_path / "run"))["bot"]) == {1}


def test_a_join_whose_streams_flowed_before_takes_no_time(switched: SyntheticRun, tmp_path: Path) -> None:
    switched.arrivals = [arrivals({1: [(0, 10_000)]})[0] | {"flowing_ns": START - 2 * S}]
    figures = joins(read(switched, tmp_path / "run"))
    assert figures is not None
    assert (figures.max, figures.samples) == (0, 1)
