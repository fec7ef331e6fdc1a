"""SLO expressions: reading, refusing and judging."""

from dataclasses import FrozenInstanceError, fields

import pytest

from simulator.errors import SloError
from simulator.samples.end_state import FILES, SOCKETS, TASKS
from simulator.slo import DEFAULTS, Slo, meaning, objectives

SUMMARY = {
    "latency_ms": {"video": {"p95": 80.0}, "audio": None},
    "streams": {"expected": 12, "flowing": 11},
    "loss": {"ratio": 0.004},
    "join_ms": None,
}


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("latency_ms.video.p95<100", True),
        ("latency_ms.video.p95 < 80", False),
        ("latency_ms.video.p95<=80", True),
        ("latency_ms.video.p95>=80.5", False),
        ("streams.flowing==streams.expected", False),
        ("streams.flowing != 12", True),
        ("loss.ratio<0.5%", True),
        ("loss.ratio<4e-3", False),
        ("streams.flowing=11", True),
        ("join_ms.p95<2000", False),
        ("latency_ms.audio.p95<100", False),
    ],
)
def test_an_expression_is_judged_by_the_figure_at_its_path(text: str, passed: bool) -> None:
    assert Slo.parse(text).judge(SUMMARY).passed is passed


def test_what_was_not_measured_is_said_to_be_so() -> None:
    assert (
        Slo.parse("join_ms.p95<2000").judge(SUMMARY).sentence()
        == "join_ms.p95<2000 cannot be judged: not measured"
    )


def test_a_default_without_its_figure_does_not_apply() -> None:
    default = next(slo for slo in DEFAULTS if slo.path == "join_ms.p95")
    assert default.judge(SUMMARY).passed is None


@pytest.mark.parametrize(
    "text", ["", "latency", "latency_ms.video.p95", "latency_ms.video.p95 < fast", "p95 ~ 3", "<3"]
)
def test_what_is_no_comparison_is_refused(text: str) -> None:
    with pytest.raises(SloError):
        Slo.parse(text)


def test_an_unknown_figure_is_refused_with_the_likely_one() -> None:
    with pytest.raises(SloError, match=r"no figure 'latency_ms.vido.p95'; did you mean latency_ms.video.p95"):
        Slo.parse("latency_ms.vido.p95<100")


def test_an_expression_replaces_the_default_for_its_figure() -> None:
    applied = objectives(["loss.ratio<0.1", "server.rss_bytes<300000000"])
    assert [str(s) for s in applied if s.path == "loss.ratio"] == ["loss.ratio<0.1"]
    assert len(applied) == len(DEFAULTS) + 1


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("loss.ratio<5%", 0.05),
        ("loss.ratio<0.5 %", 0.005),
        ("loss.ratio<200%", 2),
        ("loss.ratio<-1.5", -1.5),
        ("loss.ratio<2.0", 2),
        ("streams.flowing==streams.expected", "streams.expected"),
    ],
)
def test_the_limit_is_the_number_as_written_or_the_path(text: str, limit: float | str) -> None:
    found = Slo.parse(text).limit
    assert found == limit
    assert type(found) is type(limit)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("streams.flowing = 11", "streams.flowing==11"),
        ("loss.ratio >= 5%", "loss.ratio>=0.05"),
        ("loss.ratio > 0.5", "loss.ratio>0.5"),
        ("loss.ratio != 1", "loss.ratio!=1"),
    ],
)
def test_an_expression_is_written_back_as_it_was_read(text: str, written: str) -> None:
    assert str(Slo.parse(text)) == written


def test_a_sentence_says_what_held_what_is_broken_and_what_does_not_apply() -> None:
    assert Slo.parse("latency_ms.video.p95<100").judge(SUMMARY).sentence() == (
        "latency_ms.video.p95<100 holds: 80"
    )
    assert Slo.parse("loss.ratio<4e-3").judge(SUMMARY).sentence() == "loss.ratio<0.004 is broken: 0.004"
    assert Slo("join_ms.p95", "<", 2000, optional=True).judge(SUMMARY).sentence() == (
        "join_ms.p95<2000 does not apply: not measured"
    )
    unknown = Slo.parse("streams.flowing==join_ms.p95").judge(SUMMARY)
    assert (unknown.value, unknown.limit, unknown.passed) == (11, None, False)
    assert unknown.sentence() == "streams.flowing==join_ms.p95 cannot be judged: not measured"


def test_a_figure_that_is_no_number_was_not_measured() -> None:
    for wrong in (True, "80", [80]):
        outcome = Slo.parse("loss.ratio<100").judge({"loss": {"ratio": wrong}})
        assert (outcome.value, outcome.passed) == (None, False)


def test_objectives_and_outcomes_are_immutable_values() -> None:
    slo = Slo.parse("loss.ratio<1")
    for value in (slo, slo.judge(SUMMARY)):
        assert not hasattr(value, "__dict__")
        with pytest.raises(FrozenInstanceError):
            setattr(value, fields(value)[0].name, "another")


def test_the_defaults_are_the_acceptance_criteria() -> None:
    assert all(slo.optional for slo in DEFAULTS)
    assert [str(slo) for slo in DEFAULTS] == [
        "streams.flowing==streams.expected",
        "delivered_ratio.audio.ratio>=0.98",
        "delivered_ratio.video.ratio>=0.98",
        "decodable_ratio.ratio>=0.98",
        "late_ratio.ratio<=0.02",
        "worst_delivered_ratio.audio.ratio>=0.95",
        "worst_delivered_ratio.video.ratio>=0.95",
        "worst_late_ratio.ratio<=0.05",
        "worst_latency_ms.audio.p95<200",
        "worst_latency_ms.video.p95<200",
        "pauses.audio.longest_ms.max<1000",
        "pauses.audio.share<=0.02",
        "pauses.video.longest_ms.max<1000",
        "pauses.video.share<=0.02",
        "corrupted_frames==0",
        "unexpected_packets.total==0",
        "latency_rise_ms.audio<30",
        "latency_rise_ms.video<30",
        "lip_sync_ms.max<45",
        "latency_ms.audio.p95<100",
        "latency_ms.video.p95<100",
        "loss.ratio<0.02",
        "duplicate_ratio.ratio<=0.001",
        "foreign_frames==0",
        "paused_packets==0",
        "rtcp.sender_report_wait_ms.max<10000",
        "rtcp.receiver_report_wait_ms.max<10000",
        "rtcp.feedback_wait_ms.max<10000",
        "rtcp.unrepaired.low<=0.1",
        "timestamp_jumps==0",
        "dropped_calls==0",
        "decoded.freezes==0",
        "join_ms.p95<2000",
        "transition_ms.to_sfu.p95<2000",
        "transition_ms.to_p2p.p95<2000",
        "transition_ms.failed==0",
        "recovery_ms.p95<3000",
        "gap_ms.audio.p95<100",
        "gap_ms.audio.max<300",
        "gap_ms.video.p95<100",
        "gap_ms.video.max<300",
        "leftovers.rooms==0",
        "leftovers.calls==0",
        "leftovers.people==0",
        "leftovers.contradictions==0",
        f"leftovers.sockets<={SOCKETS}",
        f"leftovers.files<={FILES}",
        f"leftovers.tasks<={TASKS}",
        "server.cpu_core_percent<80",
    ]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("loss.ratio<0.02", "packets lost, ratio"),
        ("latency_ms.audio.p95<100", "audio latency, ms"),
        ("latency_ms.video.max<100", "video latency, ms"),
        ("transition_ms.to_sfu.p95<2000", "change to the SFU, ms"),
        ("transition_ms.failed==0", "failed changes"),
        ("server.cpu_core_percent<80", "media server CPU, % of a core"),
        ("loss.before_repair<1", "packets lost before repair, ratio"),
        ("loss.audio.ratio<1", "audio packets lost, ratio"),
        ("duplicates<1", "duplicate packets"),
        ("server.rss_bytes<1", "media server memory, bytes"),
        ("generator.lag_ms.p95<1", "lag, ms"),
        ("machine.cores<1", ""),
    ],
)
def test_an_objective_is_said_in_the_words_of_its_figure_with_the_unit(expression: str, words: str) -> None:
    assert meaning(expression) == words


def test_three_likely_figures_are_proposed_at_most() -> None:
    with pytest.raises(SloError) as caught:
        Slo.parse("latency_ms.video.p9<100")
    assert str(caught.value).count(" or ") == 2
    with pytest.raises(SloError, match=r"see simulator/summary\.schema\.json"):
        Slo.parse("zzzzzz<100")
