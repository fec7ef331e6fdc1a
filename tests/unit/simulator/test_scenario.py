"""Scenarios: what is accepted, and how clearly the rest is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.runs.suite import load
from simulator.scenario import Scenario, ready_scenarios, to_toml


@pytest.mark.parametrize("name", ready_scenarios())
def test_every_ready_scenario_loads_under_its_own_name(name: str) -> None:
    assert load(name).name == name


def test_a_scenario_survives_being_written_and_read() -> None:
    scenario = Scenario.load("group").with_values(
        {
            "slo": ["loss.ratio<0.01"],
            "description": 'with "quotes"\nand lines',
            "network": {"up": {"loss": 0.05}},
        }
    )
    assert Scenario.parse(to_toml(scenario.to_values())) == scenario


def test_options_change_only_what_they_name() -> None:
    base = Scenario.load("group")
    changed = base.with_values({"participants": {"count": 50, "bots": None}, "seed": None})
    assert changed.participants.count == 50
    assert changed.participants.bots == base.participants.bots
    assert changed.seed == base.seed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nfoo = 1', "foo: unknown key; known: name, schema"),
        ('name = "x"\n[participants]\ncuont = 3', "participants.cuont: unknown key; did you mean 'count'?"),
        ('name = "x"\n[network.up]\ndelay = 3', "network.up.delay: unknown key; did you mean 'delay_ms'?"),
        (
            'name = "x"\n[participants]\ncount = 1',
            "participants.count: input should be greater than or equal to 2",
        ),
        (
            'name = "x"\n[network.down]\nloss = 5',
            "network.down.loss: input should be less than or equal to 1, got 5",
        ),
        ('name = "x"\nslo = ["latency_ms.video.p59<1"]', "did you mean latency_ms.video.p99"),
        (
            'name = "x"\n[media]\naudio = false\nvideo = false',
            "a call without audio and video measures nothing",
        ),
        ('name = "x"\nschema = 2', "schema: input should be 1"),
        ("name = ", "is not TOML"),
        ("[participants]\ncount = 3", "name: is required"),
        ('name = "Bad Name"', "name: string should match pattern"),
    ],
)
def test_a_wrong_scenario_is_refused_with_the_path_and_the_reason(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario.parse(text, source="mine.toml")
    assert message in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_an_unknown_name_lists_the_ready_ones() -> None:
    with pytest.raises(ScenarioError, match=r"did you mean 'group'\?.*Ready ones: .*group"):
        Scenario.load("gruop")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot read scenario .*none\.toml: No such file"):
        Scenario.load(str(tmp_path / "none.toml"))


def test_a_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('schema = 1\nname = "mine"\n[participants]\ncount = 3\nbots = "native"\n')
    assert Scenario.load(str(path)).participants.count == 3


@pytest.mark.parametrize(
    ("bots", "count", "aiortc"), [("native", 5, 0), ("aiortc", 5, 5), ("mixed", 5, 2), ("mixed", 50, 2)]
)
def test_the_mix_says_how_many_bots_decode(bots: str, count: int, aiortc: int) -> None:
    scenario = Scenario.from_values({"name": "x", "participants": {"bots": bots, "count": count}})
    assert scenario.participants.aiortc_count() == aiortc


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"participants": {"bots": "mixed"}}, "set participants.bots to native"),
        ({"media": {"dtx": True, "audio": False}}, "dtx is of audio"),
        (
            {"pattern": "storm"},
            "media.dtx: the pattern 'storm' does not use it; patterns that do: calls, group",
        ),
        ({"pattern": "switch"}, "media.dtx: the pattern 'switch' does not use it"),
    ],
)
def test_dtx_is_refused_where_nothing_would_come_of_it(values: dict[str, Any], error: str) -> None:
    native = {"name": "x", "participants": {"bots": "native"}, "media": {"dtx": True}}
    assert Scenario.from_values(native).media.dtx
    with pytest.raises(ScenarioError, match=re.escape(error)):
        Scenario.from_values(native | values)
