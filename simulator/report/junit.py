"""JUnit XML of verdicts, for CI services: a test suite for each run, a test case for each criterion.

The first case of a suite is whether the run could be judged. A run that is void or an error has an error there, and its criteria
are skipped: a reader that counts passed cases finds none, and one that counts failures is red. Written with ElementTree;
a library would save a dozen lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from simulator.report.criteria import Criterion
from simulator.report.judgement import Judgement
from simulator.summary import Verdict

JUDGED = "the run can be judged"
"""Name of the first case of each suite."""
_REFUSED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""
_WORDS: dict[Verdict, str] = {
    "void": "load generator or machine were too weak to judge",
    "error": "the run broke off, or lacks what it must measure",
}


def to_junit(runs: Sequence[Judgement]) -> str:
    """Write verdicts as one JUnit file."""
    root = Element("testsuites", name="meeshy")
    for run in runs:
        root.append(_suite(run))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(run.duration_s or 0.0 for run in runs):.3f}")
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(run: Judgement) -> Element:
    suite = Element("testsuite", name=_text(run.name))
    properties = SubElement(suite, "properties")
    facts = {"verdict": run.verdict, **run.facts, "report": "" if run.report is None else str(run.report)}
    for name, value in facts.items():
        if value:
            SubElement(properties, "property", name=name, value=_text(value))
    cases = [_judged(run), *(_case(run, one) for one in run.criteria)]
    suite.extend(cases)
    for attribute, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(child) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    suite.set("time", f"{run.duration_s or 0.0:.3f}")
    if run.started_at:
        suite.set("timestamp", datetime.fromisoformat(run.started_at).strftime("%Y-%m-%dT%H:%M:%S"))
    return suite


def _judged(run: Judgement) -> Element:
    case = Element("testcase", classname=_text(run.name), name=JUDGED, time=f"{run.duration_s or 0.0:.3f}")
    if words := _WORDS.get(run.verdict):
        reason = f"{run.verdict}: {run.reasons[0] if run.reasons else words}"
        error = SubElement(case, "error", type=run.verdict, message=_text(reason))
        error.text = _text("\n".join([words, *run.reasons]))
    return case


def _case(run: Judgement, one: Criterion) -> Element:
    case = Element("testcase", classname=_text(run.name), name=_text(one.expression), time="0.000")
    if run.verdict in _WORDS:
        first = run.reasons[0] if run.reasons else _WORDS[run.verdict]
        skipped = SubElement(case, "skipped", message=_text(f"not judged, the run is {run.verdict}: {first}"))
        skipped.text = _text(one.details())
    elif one.passed is None:
        SubElement(case, "skipped", message="not measured by runs of this kind")
    elif not one.passed:
        failure = SubElement(case, "failure", type="objective", message=_text(one.sentence()))
        failure.text = _text(one.details())
    return case


def _text(text: str) -> str:
    return _REFUSED.sub("\ufffd", text)
