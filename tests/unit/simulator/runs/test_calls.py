"""The pattern `calls`: what a scenario may ask of it, and how participants are spread."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.runs.base import pattern_of
from simulator.scenario import Scenario, to_toml

STAGES = [{"duration_s": 10, "calls": 2, "people": 3}, {"duration_s": 20, "calls": 5, "people": 4}]


def scenario(**more: Any) -> Scenario:
    native = {"participants": {"bots": "native"}}
    return Scenario.from_values({"name": "x", "pattern": "calls", **native, **more})


def test_t3_has_five_hundred_participants_in_a_hundred_calls() -> None:
    t3 = Scenario.load("t3")
    assert t3.participants.count == 500
    assert "100 calls of 5" in pattern_of(t3).describe(t3)
    assert t3.media.frame_rate == 15


@pytest.mark.parametrize(("name", "calls", "count"), [("t1", 1, 50), ("t2", 10, 50), ("webinar", 1, 50)])
def test_the_ready_load_tests_have_so_many(name: str, calls: int, count: int) -> None:
    ready = Scenario.load(name)
    assert ready.to_values()["calls"]["calls"] == calls
    assert ready.participants.count == count


def test_stages_need_bots_for_the_largest() -> None:
    assert scenario(stages=STAGES).participants.count == 20


def test_stages_and_actions_survive_being_written_and_read() -> None:
    staged = scenario(
        stages=STAGES,
        at=[{"s": 1, "do": "leave"}, {"s": 2.5, "do": "stop", "service": "gateway", "for_s": 2}],
    )
    text = to_toml(staged.to_values())
    assert Scenario.parse(text) == staged
    assert text.count("[[stages]]") == text.count("[[at]]") == 2


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"stages": STAGES, "calls": {"calls": 3}}, r"calls\.calls: the table stages says it"),
        ({"stages": STAGES, "hold": {"duration_s": 3.0}}, r"hold\.duration_s: the table stages says it"),
        ({"stages": [{"duration_s": 5, "calls": 0, "people": 2}]}, r"at least one call"),
        ({"at": [{"s": 31, "do": "leave"}]}, r"at\.0\.s is 31, but the measured time lasts 30 s"),
        ({"at": [{"s": 1, "do": "leave", "participant": 6}]}, r"at\.0\.participant is 6, but there are 5"),
        ({"at": [{"s": 1, "do": "mute", "call": 11}]}, r"at\.0\.call is 11, but there are 10"),
        ({"stages": STAGES, "at": [{"s": 1, "do": "mute", "call": 3}]}, r"at\.0\.call is 3, but there are 2"),
        ({"at": [{"s": 1, "do": "stop"}]}, r"stop needs service"),
        ({"at": [{"s": 1, "do": "leave", "service": "media"}]}, r"leave has no service"),
        ({"at": [{"s": 1, "do": "dance"}]}, r"at\.0\.do"),
        ({"calls": {"senders": 6}}, r"senders is 6, but a call has 5"),
        (
            {"participants": {"bots": "aiortc"}, "calls": {"talkers": 1}},
            r"participants\.bots: only native bots",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_key(values: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ScenarioError, match=refusal):
        scenario(**values)


def test_actions_of_a_pattern_without_them_are_refused() -> None:
    with pytest.raises(
        ScenarioError, match=r"at: the pattern 'storm' does not use it; patterns that do: calls"
    ):
        Scenario.from_values({"name": "x", "pattern": "storm", "at": [{"s": 1, "do": "leave"}]})
