"""The summary of a job in Markdown, as GitHub and its like show it beside the job: verdict, criteria, where the report is."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.report.criteria import criteria_table
from simulator.report.judgement import Judgement
from simulator.report.render import markdown_table, one_line
from simulator.report.write import verdict_words

_RANK = {False: 0, True: 1}


def to_job_summary(runs: Sequence[Judgement]) -> str:
    """Write verdicts as Markdown: broken criteria first, those that were not measured only counted."""
    return "\n".join(line for run in runs for line in _run(run))


def _run(run: Judgement) -> list[str]:
    lines = [f"## {one_line(run.name)}: {verdict_words(run.verdict)}", ""]
    lines += [f"- {one_line(reason)}" for reason in run.reasons]
    if run.reasons:
        lines.append("")
    facts = [f"{name} {one_line(value)}" for name, value in run.facts.items() if name != "scenario"]
    if run.duration_s is not None:
        facts.insert(0, f"measured for {run.duration_s:g} s")
    if facts:
        lines += [f"{', '.join(facts)}.", ""]
    judged = [one for one in run.criteria if one.passed is not None]
    if judged:
        lines += markdown_table(criteria_table(sorted(judged, key=lambda one: _RANK[bool(one.passed)])))
    if rest := len(run.criteria) - len(judged):
        lines += [f"{rest} more are about figures that this kind of run does not have.", ""]
    if run.report is not None:
        lines += [f"Report: `{one_line(str(run.report))}`", ""]
    return lines
