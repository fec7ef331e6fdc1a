"""SLO expressions: reading, refusing and judging."""

import pytest

from simulator.errors import SloError
from simulator.slo import DEFAULTS, Slo, objectives

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
