"""Suites: what is accepted, and how several runs are judged as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.errors import RunDirectoryError, ScenarioError
from simulator.runs.suite import Suite, is_suite, load, recorded, write_suite_report
from simulator.scenario import Scenario, to_toml

FILE = """
name = "two"
description = "Two runs."
[[parts]]
scenario = "group"
title = "First"
[parts.hold]
duration_s = 3.0
[[parts]]
scenario = "switch"
"""


def test_the_demo_switches_first_and_then_fills_a_call() -> None:
    demo = load("demo")
    assert isinstance(demo, Suite)
    assert [part.scenario.pattern for part in demo.parts] == ["switch", "group"]


def test_a_part_is_a_ready_scenario_with_changes(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(FILE)
    suite = load(str(path))
    assert isinstance(suite, Suite)
    first, second = suite.parts
    assert (first.title, first.folder, first.scenario.hold.duration_s) == ("First", "1-group", 3.0)
    assert (second.title, second.scenario) == ("switch", Scenario.load("switch"))


def test_options_change_every_part() -> None:
    demo = load("demo")
    assert isinstance(demo, Suite)
    changed = demo.with_values(lambda scenario: scenario.with_values({"seed": 7}))
    assert [part.scenario.seed for part in changed.parts] == [7, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nparts = []', "parts: list should have at least 1 item"),
        ('name = "x"\n[[parts]]\ntitle = "y"', "parts.1.scenario: name a ready scenario"),
        ('name = "x"\n[[parts]]\nscenario = "gruop"', "did you mean 'group'?"),
        ('name = "x"\n[[parts]]\nscenario = "group"\n[parts.hold]\nlong = 1', "part 1 cannot be run"),
        ('name = "x"\nseed = 1\n[[parts]]\nscenario = "group"', "seed: extra inputs are not permitted"),
    ],
)
def test_a_wrong_suite_is_refused_with_the_reason(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(str(path))
    assert message in str(caught.value)


def test_a_suite_is_no_scenario() -> None:
    with pytest.raises(ScenarioError, match="demo is a suite of scenarios"):
        Scenario.load("demo")


def write(directory: Path, *runs: Any) -> Path:
    names = [f"{number}-part" for number in range(1, len(runs) + 1)]
    for name, run in zip(names, runs, strict=True):
        run.write(directory / name)
    tables = "".join(
        f'[[parts]]\ntitle = "Part {n}"\nscenario = "group"\nfolder = "{name}"\n'
        for n, name in enumerate(names)
    )
    (directory / "programme.toml").write_text(f'name = "both"\ndescription = "Two."\n{tables}')
    return directory


def test_one_report_has_all_parts_and_the_worst_verdict_counts(make_run: Any, tmp_path: Path) -> None:
    good, bad = make_run(), make_run()
    bad.context.dropped_calls = 1
    whole = write_suite_report(write(tmp_path, good, bad), plots="none")
    assert whole.verdict == "fail"
    assert whole.reasons == ["Part 1: dropped_calls==0 is broken: 1"]
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# FAIL")
    assert "## Part 0: PASS" in text
    assert "## Part 1: FAIL" in text
    page = (tmp_path / "report.html").read_text()
    assert page.count("12 of 12 streams flowing") == 2
    assert is_suite(tmp_path)
    assert not is_suite(tmp_path / "1-part")


def test_a_run_that_broke_off_counts_more_than_one_below_an_objective(make_run: Any, tmp_path: Path) -> None:
    below, broken = make_run(), make_run()
    below.context.dropped_calls = 1
    broken.context.aborted = ["the server ended"]
    assert write_suite_report(write(tmp_path, below, broken), plots="none").verdict == "error"


def test_a_missing_part_is_named(make_run: Any, tmp_path: Path) -> None:
    write(tmp_path, make_run())
    (tmp_path / "1-part" / "run.json").unlink()
    with pytest.raises(RunDirectoryError, match="1-part"):
        write_suite_report(tmp_path)


def test_a_recorded_run_is_read_as_it_was_run(tmp_path: Path) -> None:
    ready = Scenario.load("t2").with_values(
        {"seed": 7, "calls": {"calls": 3}, "at": [{"s": 2, "do": "leave", "call": 2}]}
    )
    (tmp_path / "scenario.toml").write_text(to_toml(ready.to_values()))
    again = recorded(tmp_path)
    assert again == ready
    assert isinstance(again, Scenario)
    assert (again.seed, again.participants.count, again.at[0].do) == (7, 15, "leave")


def test_a_recorded_suite_is_read_with_all_its_parts(tmp_path: Path) -> None:
    demo = load("demo")
    assert isinstance(demo, Suite)
    (tmp_path / "programme.toml").write_text(demo.to_toml())
    for part in demo.parts:
        (tmp_path / part.folder).mkdir()
        (tmp_path / part.folder / "scenario.toml").write_text(to_toml(part.scenario.to_values()))
    assert recorded(tmp_path) == demo


def test_what_is_no_run_cannot_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"is no run directory: scenario\.toml is missing"):
        recorded(tmp_path)
