"""Patterns: each is one module, and nothing else knows one by its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from simulator.client.media_server import Credentials
from simulator.errors import ScenarioError, UsageError
from simulator.runs.base import RunPattern, Target, pattern_of
from simulator.scenario import Scenario, patterns

ROOT = Path(__file__).parents[4]
SOURCES = [*(ROOT / "simulator").rglob("*.py"), *(ROOT / "meeshy_sfu" / "cli").glob("*.py")]


def test_the_ready_patterns_are_found() -> None:
    assert sorted(patterns()) == ["churn", "group", "storm", "switch"]


@pytest.mark.parametrize("name", sorted(patterns()))
def test_a_pattern_is_an_object_in_a_module_of_its_name(name: str) -> None:
    pattern = pattern_of(Scenario.from_values({"name": "x", "pattern": name}))
    assert isinstance(pattern, RunPattern)
    assert type(pattern).__module__ == f"simulator.runs.{name}"
    assert pattern.description.endswith(".")
    assert str(Scenario.load(name).participants.count) in pattern.describe(Scenario.load(name)) or name in {
        "switch",
        "churn",
    }


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


def test_churn_with_too_few_participants_is_refused_before_anything_starts(tmp_path: Path) -> None:
    scenario = Scenario.load("churn").with_values({"participants": {"count": 19}})
    with pytest.raises(ScenarioError, match=r"participants\.count of at least 20, got 19"):
        pattern_of(scenario).make_run(scenario, state=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["churn", "storm", "switch"])
def test_a_pattern_of_the_gateway_takes_no_server(tmp_path: Path, name: str) -> None:
    scenario, target = Scenario.load(name), Target("http://127.0.0.1:1", Credentials(token="t"))
    with pytest.raises(UsageError, match="leave --server out"):
        pattern_of(scenario).make_run(scenario, state=tmp_path, target=target)
