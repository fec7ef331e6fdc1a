"""What a search varies in a scenario."""

from __future__ import annotations

import pytest

from simulator.capacity.subject import READY, Subject, Vary
from simulator.errors import UsageError
from simulator.scenario import Scenario


@pytest.mark.parametrize(
    ("vary", "scenario", "words", "participants"),
    [
        ("participants", "group", "participants", 4),
        ("participants", "t2", "participants in each call", 40),
        ("calls", "t2", "calls", 20),
        ("calls", "churn", "calls", 20),
        ("senders", "webinar", "senders in each call", 50),
    ],
)
def test_the_number_goes_where_the_scenario_has_it(
    vary: Vary, scenario: str, words: str, participants: int
) -> None:
    subject = Subject.of(vary, Scenario.load(scenario))
    assert subject.words == words
    assert subject.at(4).participants.count == participants


@pytest.mark.parametrize(
    ("vary", "scenario"), [("calls", "group"), ("senders", "churn"), ("participants", "switch")]
)
def test_a_scenario_without_that_number_is_refused_with_one_that_has_it(vary: Vary, scenario: str) -> None:
    with pytest.raises(UsageError, match=f"try {READY[vary]}"):
        Subject.of(vary, Scenario.load(scenario))


def test_bounds_that_cannot_be_are_refused_with_the_largest_that_can() -> None:
    subject = Subject.of("senders", Scenario.load("webinar"))
    assert subject.range(None, None) == (1, 50)
    with pytest.raises(UsageError, match=r"--to 51: (.|\n)*largest number of senders in each call is 50"):
        subject.range(1, 51)
    with pytest.raises(UsageError, match="--to 3 is below --from 5"):
        subject.range(5, 3)
    with pytest.raises(UsageError, match="--from 0"):
        subject.range(0, 3)
