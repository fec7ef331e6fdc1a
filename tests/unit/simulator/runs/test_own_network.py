"""Objectives that a scenario's own network breaks: said before the run, and none in the scenarios we hand out."""

from pathlib import Path
from typing import Any

import pytest

from simulator.runs.own_network import out_of_reach
from simulator.runs.suite import Suite, load
from simulator.scenario import Scenario, ready_scenarios

ROOT = Path(__file__).parents[4]
HANDED_OUT = [*ready_scenarios(), *map(str, sorted((ROOT / "examples" / "scenario").glob("*.toml")))]


def named(**network: Any) -> list[str]:
    """The objectives that a call of eight over a network does not reach."""
    scenario = Scenario.load("group").with_values({"network": network})
    return [sentence.partition(":")[0] for sentence in out_of_reach(scenario)]


@pytest.mark.parametrize("name", HANDED_OUT)
def test_a_scenario_we_hand_out_sets_objectives_that_its_own_network_lets_hold(name: str) -> None:
    chosen = load(name)
    for scenario in [part.scenario for part in chosen.parts] if isinstance(chosen, Suite) else [chosen]:
        assert out_of_reach(scenario) == []


def test_scenarios_that_lose_packets_are_among_them() -> None:
    """Else the test above would hold for want of a network."""
    lossy = [load(name) for name in HANDED_OUT]
    assert sum(isinstance(one, Scenario) and one.network.down.loss > 0 for one in lossy) >= 2


def test_a_clean_network_breaks_nothing() -> None:
    assert named() == []


@pytest.mark.parametrize(
    ("network", "broken"),
    [
        ({"down": {"loss": 0.001}}, []),
        ({"down": {"loss": 0.02}}, ["delivered_ratio.audio.ratio>=0.98"]),
        (
            {"down": {"loss": 0.03}, "up": {"loss": 0.03}},
            ["delivered_ratio.audio.ratio>=0.98", "worst_delivered_ratio.audio.ratio>=0.95"],
        ),
        ({"down": {"delay_ms": 60}, "up": {"delay_ms": 30}}, []),
        (
            {"down": {"delay_ms": 60, "jitter_ms": 12}, "up": {"delay_ms": 30}},
            ["latency_ms.audio.p95<100", "latency_ms.video.p95<100"],
        ),
    ],
)
def test_objectives_that_the_network_breaks_are_named(network: dict[str, Any], broken: list[str]) -> None:
    assert named(**network) == broken


def test_the_limit_that_is_proposed_is_within_reach() -> None:
    scenario = Scenario.load("group").with_values({"network": {"down": {"loss": 0.1}}})
    proposed = [sentence.partition('--slo "')[2].rstrip('"') for sentence in out_of_reach(scenario)]
    assert len(proposed) == 2
    assert out_of_reach(scenario.with_values({"slo": proposed})) == []


def test_audio_that_nobody_sends_is_not_missed() -> None:
    scenario = Scenario.load("group").with_values(
        {"network": {"down": {"loss": 0.1}}, "media": {"audio": False}}
    )
    assert out_of_reach(scenario) == []
