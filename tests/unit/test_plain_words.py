"""The check that holds code and pages to plain words."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.unit.ci_scripts import ci_script


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    return ci_script("check_tree")


@pytest.mark.parametrize(
    "line", ['"""Give the room."""', '    """Tell whether it is closed."""', '"""Gives it."""']
)
def test_no_docstring_begins_with_give_or_tell(rules: ModuleType, line: str) -> None:
    (found,) = rules.wordings("meeshy_sfu/rooms/room.py", f"def room():\n{line}\n")
    assert found.startswith("meeshy_sfu/rooms/room.py:2: a docstring begins with ")


@pytest.mark.parametrize(
    "name", ["a.py", "crates/a/src/lib.rs", "docs/a.md", "meeshy_sfu/edge/document_page.html"]
)
@pytest.mark.parametrize("words", ["the Aftermath", "one lane", "it is none of yours", "a programme"])
def test_a_retired_word_is_found_wherever_it_stands(rules: ModuleType, name: str, words: str) -> None:
    (found,) = rules.wordings(name, f"first\n# {words}, here\n")
    assert found.startswith(f"{name}:2: ")
    assert "is retired; write" in found


@pytest.mark.parametrize("words", ["two people", "a Person", "somebody speaks"])
def test_participants_are_called_so_in_code_and_on_the_pages_of_the_protocols(
    rules: ModuleType, words: str
) -> None:
    for name in ("meeshy_sfu/a.py", "crates/a/src/lib.rs", "docs/a.md", "deploy/prometheus/alerts.yml"):
        (found,) = rules.wordings(name, f"# {words}\n")
        assert found.endswith("is retired; write 'participant, user or peer'")
    assert not list(rules.wordings("README.md", words))
    assert not list(rules.wordings("simulator/runs/churn.py", "`churn.people`, options.people, person-1"))


@pytest.mark.parametrize(
    "line",
    [
        "planes and airplane",
        "programmed",
        "strike-through",
        "x = lane_count",
        "tells it",
        '_FILE = "programme.toml"',
    ],
)
def test_longer_words_and_other_places_are_left_alone(rules: ModuleType, line: str) -> None:
    assert not list(rules.wordings("a.py", line))
