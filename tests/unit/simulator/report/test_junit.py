"""JUnit files: a case for each criterion, and no case of a run that could not be judged counts as passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from simulator.report.judgement import Judgement, broken_off, judgement_of
from simulator.report.junit import JUDGED, to_junit
from simulator.report.write import write_report

ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
}
"""What the schema of Jenkins allows, as far as we use it."""


def suite_of(*runs: Judgement) -> Element:
    root = fromstring(to_junit(runs))
    for element in root.iter():
        assert set(element.attrib) <= ALLOWED[element.tag]
    return root[0]


def cases(suite: Element) -> dict[str, Element]:
    return {case.attrib["name"]: case for case in suite.iter("testcase")}


def test_each_objective_is_a_case_and_those_that_were_not_measured_are_skipped(
    run: Any, tmp_path: Path
) -> None:
    summary = write_report(run.write(tmp_path), plots="none")
    suite = suite_of(judgement_of(summary, report=tmp_path / "report.html"))
    found = cases(suite)
    assert list(found) == [JUDGED, *(result.expression for result in summary.slo)]
    skipped = {name for name, case in found.items() if case.find("skipped") is not None}
    assert skipped == {result.expression for result in summary.slo if result.passed is None}
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", "0")
    assert suite.attrib["tests"] == str(len(found))
    assert suite.attrib["skipped"] == str(len(skipped))
    assert suite.attrib["time"] == "10.000"
    assert suite.attrib["timestamp"] == "2027-01-15T07:59:55"
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")}
    assert properties["verdict"] == "pass"
    assert properties["report"] == str(tmp_path / "report.html")


def test_a_failure_says_value_limit_interval_and_margin(make_run: Any, tmp_path: Path) -> None:
    run = make_run(scenario={"slo": ["latency_ms.video.p50<49"]})
    summary = write_report(run.write(tmp_path), plots="none")
    assert summary.latency_ms.video is not None
    assert summary.latency_ms.video.p50 == 50.5
    suite = suite_of(judgement_of(summary, report=None))
    assert suite.attrib["failures"] == "1"
    failure = cases(suite)["latency_ms.video.p50<49"].find("failure")
    assert failure is not None
    assert failure.attrib["type"] == "objective"
    assert failure.attrib["message"] == (
        "latency_ms.video.p50<49 is broken: 50.5 measured, limit 49, margin 3.06 %, within the interval"
    )
    lines = dict(line.split(": ", 1) for line in str(failure.text).splitlines())
    assert lines["figure"] == "video latency, ms"
    assert (lines["measured"], lines["limit"], lines["margin"]) == (
        "50.5",
        "49",
        "3.06 %, within the interval",
    )
    low, high = (float(one) for one in lines["95 % interval"].split(" to "))
    assert low < 49 < 50.5 < high


@pytest.mark.parametrize("verdict", ["void", "error"])
def test_a_run_that_was_not_judged_has_an_error_and_no_case_that_passes(
    run: Any, tmp_path: Path, verdict: str
) -> None:
    if verdict == "void":
        run.generator = [row | {"lag_max_us": 900_000} for row in run.generator]
    else:
        run.context.aborted = ["the media server ended"]
        run.context.server_ended = True
    summary = write_report(run.write(tmp_path), plots="none")
    assert summary.verdict == verdict
    found = cases(suite := suite_of(judgement_of(summary, report=None)))
    error = found.pop(JUDGED).find("error")
    assert error is not None
    assert error.attrib["type"] == verdict
    assert error.attrib["message"] == f"{verdict}: {summary.reasons[0]}"
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("1", "0")
    assert suite.attrib["skipped"] == str(len(found))
    for case in found.values():
        skipped = case.find("skipped")
        assert skipped is not None
        assert skipped.attrib["message"] == f"not judged, the run is {verdict}: {summary.reasons[0]}"


def test_a_run_that_never_began_is_one_case_with_an_error() -> None:
    suite = suite_of(broken_off("t1", "no server at <http://127.0.0.1:1>"))
    (case,) = suite.iter("testcase")
    error = case.find("error")
    assert error is not None
    assert error.attrib["message"] == "error: no server at <http://127.0.0.1:1>"
    assert (suite.attrib["tests"], suite.attrib["errors"]) == ("1", "1")


def test_several_runs_are_several_suites_and_the_file_counts_them_all() -> None:
    root = fromstring(to_junit([broken_off("a", "x"), broken_off("b", "y")]))
    assert [suite.attrib["name"] for suite in root] == ["a", "b"]
    assert (root.attrib["tests"], root.attrib["errors"], root.attrib["failures"]) == ("2", "2", "0")


def test_text_that_xml_cannot_hold_is_replaced() -> None:
    suite = suite_of(broken_off("t1", 'gone \x1b[31m\x00 & "lost" \ufffe <b>'))
    error = suite.find("testcase/error")
    assert error is not None
    assert error.attrib["message"] == 'error: gone \ufffd[31m\ufffd & "lost" \ufffd <b>'
