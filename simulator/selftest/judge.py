"""Judges one case: does the verdict name the fault, and do the figures show its size?

Pure: a summary as it was written and the evidence of what was done, in; what was found, out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from simulator.figure_types import number_at
from simulator.selftest.case import WITHIN, Case, Size
from simulator.selftest.evidence import Evidence

Outcome = Literal["named", "missed", "void"]


class SizeFound(BaseModel):
    """One figure beside what was done."""

    figure: str
    done: float
    found: float | None
    """Null: the run did not measure it."""
    allowed: float
    """How far apart both may be."""
    fits: bool


class CaseResult(BaseModel):
    """What the verdict said about one fault."""

    fault: str
    size: str
    outcome: Outcome
    verdict: str
    missing: list[str]
    """Figures that should have broken an objective, and did not."""
    broken: list[str]
    """Objectives that were broken."""
    sizes: list[SizeFound]
    reasons: list[str]
    tries: int = 1
    directory: str = ""

    def sentence(self) -> str:
        """Say what was found in one line."""
        name = f"{self.fault}, {self.size}" if self.size else self.fault
        if self.outcome == "void":
            return f"{name}: void: {'; '.join(self.reasons)}"
        wrong = [f"{figure} broke no objective" for figure in self.missing]
        wrong += [
            f"{s.figure} is {_number(s.found)} where {_number(s.done)} ± {_number(s.allowed)} was done"
            for s in self.sizes
            if not s.fits
        ]
        if not wrong and self.outcome == "missed":
            wrong = [f"the verdict is {self.verdict}: {'; '.join(self.reasons) or 'no objective is broken'}"]
        shown = "; ".join(f"{s.figure} {_number(s.found)} of {_number(s.done)}" for s in self.sizes)
        return f"{name}: {self.outcome}: {'; '.join(wrong) or shown or self.verdict}"


def judge(case: Case, summary: Mapping[str, Any], evidence: Evidence) -> CaseResult:
    """Compare a run's summary with what was done to it."""
    broken = [item["expression"] for item in summary["slo"] if item["passed"] is False]
    missing = [
        figure for figure in case.named_by if not any(expression.startswith(figure) for expression in broken)
    ]
    sizes = [_size(size, summary, evidence) for size in case.shown_by]
    verdict = str(summary["verdict"])
    right = verdict == ("fail" if case.named_by else "pass") and not missing and all(s.fits for s in sizes)
    return CaseResult(
        fault=case.fault,
        size=case.size,
        outcome="void" if verdict == "void" else "named" if right else "missed",
        verdict=verdict,
        missing=missing,
        broken=broken,
        sizes=sizes,
        reasons=[str(reason) for reason in summary["reasons"]],
    )


def _size(size: Size, summary: Mapping[str, Any], evidence: Evidence) -> SizeFound:
    done = size.done(evidence)
    found = number_at(summary, size.figure)
    if found is not None and size.missing:
        found = 1 - found
    allowed = abs(done) * WITHIN + size.plus
    fits = found is not None and abs(found - done) <= allowed
    return SizeFound(figure=size.figure, done=done, found=found, allowed=allowed, fits=fits)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
