"""The summary of a job: verdict, why, criteria with the broken ones first, where the report is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator.report.job_summary import to_job_summary
from simulator.report.judgement import broken_off, judgement_of
from simulator.report.write import write_report


def test_it_has_the_verdict_the_broken_objectives_first_and_the_report(make_run: Any, tmp_path: Path) -> None:
    run = make_run(scenario={"slo": ["latency_ms.video.p50<40"]})
    summary = write_report(run.write(tmp_path), plots="none")
    lines = to_job_summary([judgement_of(summary, report=Path("runs/x/report.html"))]).splitlines()
    assert lines[0] == "## synthetic: FAIL: below an objective"
    assert lines[2] == "- latency_ms.video.p50<40 is broken: 50.5"
    assert lines[4] == "measured for 10 s, seed 1, participants 3."
    table = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")
    ]
    assert table[0] == ["figure", "objective", "measured", "95 % interval", "limit", "margin", "outcome"]
    assert table[2][:3] == ["video latency, ms", "latency_ms.video.p50<40", "50.5"]
    assert [row[-1] for row in table[2:4]] == ["BROKEN", "holds"]
    judged = sum(result.passed is not None for result in summary.slo)
    assert len(table) == judged + 2
    assert lines[-1] == "Report: `runs/x/report.html`"
    left = len(summary.slo) - judged
    assert f"{left} more are about figures that this kind of run does not have." in lines


def test_names_and_reasons_cannot_become_markup() -> None:
    text = to_job_summary([broken_off("<b>x", "one\n# two <script>")])
    assert "## &lt;b>x: ERROR: the run broke off" in text
    assert "- one # two &lt;script>" in text
