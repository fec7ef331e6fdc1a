"""The verdict of a run: error, void, fail or pass, and why.

Pure: takes the figures and what is known of the run. Figures come from analysis/, objectives from slo.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simulator.analysis.raw_run import RunContext
from simulator.summary import Verdict

_WORST_FIRST: tuple[Verdict, ...] = ("error", "fail", "void", "pass")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of several verdicts: error before fail before void before pass."""
    found = set(verdicts)
    return next(verdict for verdict in _WORST_FIRST if verdict in found)


def judge(
    context: RunContext, *, measured: bool, gaps: Sequence[str], weak: Sequence[str], broken: Sequence[str]
) -> tuple[Verdict, list[str]]:
    """Choose the verdict, the worst that applies, and list the reasons.

    A run whose generator was too weak is void: neither what broke nor what broke off says anything of the server then. Only
    a server that ended on its own, and a run that its user ended, is an error all the same.

    Args:
        context: What happened to the run as a whole.
        measured: Whether it came to its measured time.
        gaps: What it promised to measure and did not.
        weak: Why the generator was too weak to judge.
        broken: The objectives that do not hold.
    """
    aborted = list(context.aborted)
    if not measured and not aborted:
        aborted = ["the run ended before anything was measured"]
    if aborted and (context.server_ended or context.interrupted or not weak):
        return "error", aborted
    if aborted:
        return "void", [*weak, *aborted]
    if weak:
        return "void", [*weak, *gaps, *broken]
    if gaps:
        return "error", [*gaps, *broken]
    return ("fail", list(broken)) if broken else ("pass", [])
