"""The page on measuring names every key of a scenario file, and its example is what the program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from simulator.scenario import Scenario, scenario_model

DOCS = Path(__file__).parents[2] / "docs"


def keys(model: type[BaseModel]) -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        found.append(field.alias or name)
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += keys(kind)
    return found


@pytest.mark.parametrize("key", sorted(set(keys(scenario_model()))))
def test_each_key_of_a_scenario_is_in_the_page(key: str) -> None:
    section = (DOCS / "measuring.md").read_text(encoding="utf-8").partition("## The scenario file")[2]
    section = section.partition("\n## ")[0]
    assert f"`{key}`" in section or f"[{key}]" in section or f"[{key}." in section or f".{key}]" in section


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("`lag_p95_ms` {:g}", Scenario(name="x").limits.lag_p95_ms),
        ("`stall_ms` {:g}", Scenario(name="x").limits.stall_ms),
        ("`stalled_ratio` {:g}", Scenario(name="x").limits.stalled_ratio),
        ("`wait_ms` {:g}", Scenario(name="x").limits.wait_ms),
        ("`steal_ratio` {:g}", Scenario(name="x").limits.steal_ratio),
        ("`disturbed_ratio` {:g}", Scenario(name="x").limits.disturbed_ratio),
        ("`core_percent` {:g}", Scenario(name="x").limits.core_percent),
        ("`socket_drops` {:g}", Scenario(name="x").limits.socket_drops),
        ("`late_send_ratio` {:g}", Scenario(name="x").limits.late_send_ratio),
    ],
)
def test_the_limits_of_the_page_are_those_of_the_program(words: str, value: float) -> None:
    assert words.format(value) in (DOCS / "measuring.md").read_text(encoding="utf-8")
