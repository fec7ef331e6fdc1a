"""Patterns: each is one module, and nothing else knows one by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.client.media_server import Credentials
from simulator.errors import ScenarioError, UsageError
from simulator.runs.base import RunPattern, Target, pattern_of
from simulator.runs.suite import parts_of
from simulator.scenario import Scenario, nested, patterns, ready_scenarios, scenario_model

ROOT = Path(__file__).parents[4]
READY = [scenario for name in ready_scenarios() for scenario in parts_of(name)]
SOURCES = [*(ROOT / "simulator").rglob("*.py"), *(ROOT / "meeshy_sfu" / "cli").glob("*.py")]


def test_the_ready_patterns_are_found() -> None:
    assert {"churn", "group", "storm", "switch"} <= patterns().keys()


@pytest.mark.parametrize("name", sorted(patterns()))
def test_a_pattern_is_an_object_in_a_module_of_its_name(name: str) -> None:
    pattern = pattern_of(Scenario.from_values({"name": "x", "pattern": name}))
    assert isinstance(pattern, RunPattern)
    assert type(pattern).__module__ == f"simulator.runs.{name}"
    assert pattern.description.endswith(".")
    for scenario in READY:
        if scenario.pattern == name:
            assert re.search(r"\d", pattern.describe(scenario)), scenario.name


def test_no_other_code_compares_the_name_of_a_pattern() -> None:
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            compared += [node.subject] if isinstance(node, ast.Match) else []
            for one in compared:
                if isinstance(one, ast.Attribute) and one.attr == "pattern":
                    found.append(f"{source.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_an_unknown_pattern_is_refused_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"pattern: there is no pattern 'strom'; known: .*storm"):
        Scenario.from_values({"name": "x", "pattern": "strom"})


def test_the_options_of_a_pattern_are_a_table_of_its_name() -> None:
    with pytest.raises(ScenarioError, match=r"churn\.cals: unknown key; did you mean 'calls'\?"):
        Scenario.from_values({"name": "x", "pattern": "churn", "churn": {"cals": 3}})


@pytest.mark.parametrize(("name", "count", "made"), [("churn", 19, 20), ("churn", 21, 20), ("switch", 4, 3)])
def test_a_count_of_participants_that_the_pattern_does_not_make_is_refused(
    name: str, count: int, made: int
) -> None:
    with pytest.raises(
        ScenarioError, match=rf"participants\.count: .* make {made} participants, got {count}"
    ):
        Scenario.load(name).with_values({"participants": {"count": count}})


def test_the_count_of_participants_follows_from_the_calls() -> None:
    churn = Scenario.load("churn").with_values({"churn": {"calls": 7, "people": 4}})
    assert churn.participants.count == 28
    assert Scenario.from_values({"name": "x", "pattern": "switch"}).participants.count == 3


@pytest.mark.parametrize("pattern", sorted(patterns()))
def test_a_key_that_a_pattern_does_not_use_is_refused_and_one_that_it_uses_is_taken(pattern: str) -> None:
    plain = Scenario.from_values({"name": "x", "pattern": pattern})
    for key, default in defaults():
        values = {"name": "x", "pattern": pattern, **nested({key: default})}
        if key in {"name", "pattern", "participants.count"}:
            continue
        if plain.takes(key):
            assert Scenario.from_values(values) == plain, key
        else:
            refusal = rf"{key}: the pattern '{pattern}' does not use it"
            with pytest.raises(ScenarioError, match=refusal):
                Scenario.from_values(values)


def test_every_key_is_used_by_some_pattern() -> None:
    plain = [Scenario.from_values({"name": "x", "pattern": pattern}) for pattern in patterns()]
    assert [key for key, _ in defaults() if not any(scenario.takes(key) for scenario in plain)] == []


def test_the_patterns_of_each_key_are_those_that_act_on_it() -> None:
    """The declarations by hand: a pattern of this list that acts on another key must declare it."""
    only = {
        "hold.duration_s": {"group", "churn", "storm"},
        "hold.settle_s": {"group"},
        "participants.watched": {"group"},
        "participants.bots_per_process": {"group"},
        "participants.relay_only": {"switch", "churn", "storm"},
        "ramp.over_s": {"group", "storm"},
        "ramp.timeout_s": {"group", "storm"},
        "participants.count": {"group", "churn", "storm"},
        "switching.prewarm": {"switch", "churn", "storm"},
        "switching.stay_s": {"switch"},
        "switching.transitions": {"switch"},
        "churn.calls": {"churn"},
    }
    known = {"churn", "group", "storm", "switch"}
    for key, users in only.items():
        taken = {name for name in known if Scenario.from_values({"name": "x", "pattern": name}).takes(key)}
        assert taken == users, key


def test_a_recorded_scenario_may_hold_what_its_pattern_does_not_use() -> None:
    """Runs of before wrote every key, and counted participants that no call needed."""
    values = {
        "name": "x",
        "pattern": "churn",
        "participants": {"count": 25},
        "switching": {"transitions": 200},
    }
    assert Scenario.from_record(values, source="run").participants.count == 20
    with pytest.raises(ScenarioError, match=r"switching\.transitions"):
        Scenario.from_values(values)


def defaults() -> list[tuple[str, object]]:
    """Every key of a scenario file with its default."""

    def leaves(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    return list(
        leaves(scenario_model().model_validate({"name": "x"}).model_dump(mode="json", by_alias=True), "")
    )


@pytest.mark.parametrize("name", ["churn", "storm", "switch", "t2"])
def test_a_pattern_of_the_gateway_says_what_it_leaves_out_on_another_server(
    tmp_path: Path, name: str
) -> None:
    scenario = Scenario.load(name)
    target = Target("http://127.0.0.1:1", Credentials(secret="s" * 32))
    pattern = pattern_of(scenario)
    assert pattern.target_is == "gateway"
    pattern.make_run(scenario, state=tmp_path, target=target)
    assert any("database" in what for what in pattern.left_out(scenario))


def test_kills_are_left_out_on_another_server() -> None:
    churn = Scenario.load("churn").with_values({"churn": {"chaos": 0.1}})
    assert any("kills" in what for what in pattern_of(churn).left_out(churn))
    calls = Scenario.load("t2").with_values({"at": [{"s": 3, "do": "kill-worker"}, {"s": 4, "do": "leave"}]})
    assert "kill-worker at 3 s" in pattern_of(calls).left_out(calls)
    assert not any("leave" in what for what in pattern_of(calls).left_out(calls))


def test_a_gateway_needs_a_secret_or_what_makes_tokens(tmp_path: Path) -> None:
    scenario, target = Scenario.load("switch"), Target("http://127.0.0.1:1", Credentials(token="t"))
    with pytest.raises(UsageError, match=r"MEESHY_SIMULATE_SECRET .* or give --token-command"):
        pattern_of(scenario).make_run(scenario, state=tmp_path, target=target)
