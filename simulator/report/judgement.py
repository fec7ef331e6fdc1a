"""A verdict as programs outside take it: what was run, the verdict, why, and its criteria.

Pure. JUnit files (junit.py) and job summaries (job_summary.py) are made from it, for runs of `meeshy simulate` and of the
load suites alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from simulator.report.criteria import Criterion, criteria
from simulator.summary import Summary, Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """One run that was judged."""

    name: str
    verdict: Verdict
    reasons: list[str]
    criteria: list[Criterion]
    report: Path | None = None
    """The page that says more."""
    started_at: str = ""
    duration_s: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """What else was run, by name."""


def judgement_of(summary: Summary, *, report: Path | None, name: str | None = None) -> Judgement:
    """Return the judgement that a summary holds; `name` stands for the scenario's where several runs are shown."""
    facts = {
        "scenario": summary.scenario,
        "seed": str(summary.seed),
        "participants": str(summary.participants),
    }
    if summary.machine is not None:
        machine = summary.machine
        facts |= {"machine": f"{machine.cores} cores, {machine.cpu}", "version": machine.version}
    return Judgement(
        name=name or summary.scenario,
        verdict=summary.verdict,
        reasons=summary.reasons,
        criteria=criteria(summary),
        report=report,
        started_at=summary.started_at,
        duration_s=summary.duration_s,
        facts=facts,
    )


def broken_off(name: str, reason: str) -> Judgement:
    """Return the judgement of a run that ended before there was anything to judge."""
    return Judgement(name=name, verdict="error", reasons=[reason], criteria=[])
