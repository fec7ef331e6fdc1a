"""Options of the command line: each is taken by the scenarios whose pattern acts on it, and refused by all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.cli.simulate_options import SimulateOptions
from simulator.errors import ScenarioError, UsageError
from simulator.runs.options import refuse_unused, with_options
from simulator.runs.suite import parts_of
from simulator.scenario import Scenario

VALUES: dict[str, Any] = {
    "participants": 40,
    "bots": "aiortc",
    "duration": 7.0,
    "slo": ["join_ms.p95<1000"],
    "delay_ms": 10.0,
    "jitter_ms": 2.0,
    "loss": 50.0,
    "transitions": 7,
    "prewarm": False,
    "calls": 3,
    "chaos": 25.0,
    "relay_only": False,
    "seed": 9,
}
EVERY = {"participants", "bots", "slo", "delay_ms", "jitter_ms", "loss", "seed"}
TAKEN = {
    "group": EVERY | {"duration"},
    "switch": (EVERY - {"participants"}) | {"transitions", "prewarm", "relay_only"},
    "storm": EVERY | {"duration", "prewarm", "relay_only"},
    "churn": EVERY | {"duration", "prewarm", "relay_only", "calls", "chaos"},
    "t2": EVERY | {"duration", "prewarm", "relay_only", "calls"},
    "webinar": EVERY | {"duration", "prewarm", "relay_only", "calls"},
    "lossy": EVERY | {"duration"},
}
OTHERS = {
    "scenario",
    "server",
    "token_command",
    "out",
    "as_json",
    "state_dir",
    "retry_void",
    "short",
    "fault",
    "junit",
    "job_summary",
    "openmetrics",
}
"""Of the run, whatever its scenario."""


def options(**given: Any) -> SimulateOptions:
    return SimulateOptions(scenario="x", **given)


def test_these_are_all_options() -> None:
    assert VALUES.keys() | OTHERS == set(SimulateOptions.__dataclass_fields__)


@pytest.mark.parametrize("ready", TAKEN)
@pytest.mark.parametrize("name", VALUES)
def test_an_option_changes_the_scenario_or_is_refused(name: str, ready: str) -> None:
    scenario, given = Scenario.load(ready), options(**{name: VALUES[name]})
    if ready == "webinar" and name == "bots":
        with pytest.raises(ScenarioError, match=r"participants\.bots: only native bots"):
            with_options(scenario, given)
    elif name in TAKEN[ready]:
        refuse_unused(given, ready, [scenario])
        assert changed(scenario, with_options(scenario, given)) or VALUES[name] is False
    else:
        flag = "--" + name.replace("_", "-")
        with pytest.raises(
            UsageError, match=rf"{flag}: the scenario '{ready}' does not take this option; .* do: "
        ):
            refuse_unused(given, ready, [scenario])


def test_the_refusal_names_the_scenarios_that_take_the_option() -> None:
    with pytest.raises(UsageError, match=r"--calls: the scenario 'group' .*; scenarios that do: .*churn"):
        refuse_unused(options(calls=5), "group", [Scenario.load("group")])


def test_an_option_of_a_suite_goes_to_the_parts_that_take_it() -> None:
    parts = parts_of("demo")
    refuse_unused(options(participants=5, transitions=3), "demo", parts)
    switch, group = (with_options(part, options(participants=5, transitions=3)) for part in parts)
    assert (switch.switching.transitions, switch.participants.count) == (3, 3)
    assert group.participants.count == 5
    with pytest.raises(UsageError, match="--calls"):
        refuse_unused(options(calls=5), "demo", parts)


@pytest.mark.parametrize(
    ("given", "calls", "people"),
    [
        ({"calls": 8}, 8, 5),
        ({"participants": 40}, 4, 10),
        ({"calls": 8, "participants": 24}, 8, 3),
    ],
)
def test_calls_and_participants_give_the_size_of_a_call(
    given: dict[str, int], calls: int, people: int
) -> None:
    scenario = with_options(Scenario.load("churn"), options(**given))
    assert scenario.to_values()["churn"]["calls"] == calls
    assert scenario.to_values()["churn"]["people"] == people
    assert scenario.participants.count == calls * people


def test_participants_that_leave_some_over_are_refused() -> None:
    with pytest.raises(
        ScenarioError, match="21 participants cannot be spread evenly over 4 calls; make it 20 or 24"
    ):
        with_options(Scenario.load("churn"), options(participants=21))


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            'pattern = "group"\n[switching]\ntransitions = 200',
            r"switching\.transitions: .*'group'.*that do: switch",
        ),
        ('pattern = "group"\n[churn]\ncalls = 4', r"churn\.calls: .*'group'.*patterns that do: churn"),
        ('pattern = "switch"\n[hold]\nduration_s = 30.0', r"hold\.duration_s: .*'switch'"),
        ('pattern = "storm"\n[participants]\nwatched = 4', r"participants\.watched: .*'storm'"),
    ],
)
def test_a_key_in_a_file_is_refused_even_with_its_default(tmp_path: Path, text: str, refusal: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "mine"\n{text}\n')
    with pytest.raises(ScenarioError, match=refusal):
        Scenario.load(str(file))


def changed(before: Scenario, after: Scenario) -> bool:
    return before.to_values() != after.to_values()
