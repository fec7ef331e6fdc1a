"""The search for the largest number that passes: a geometric ramp, bisection, and repeats at the edge.

Pure: takes what runs have said so far and returns what to run next. Running is in run.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["pass", "fail", "void", "error"]
Ended = Literal["found", "at_least", "none_held", "undecided", "error", "budget"]
"""Why a search is over: the edge was found; the largest number passed; the smallest did not; above what passed runs stay void;
a run broke off; no more runs or time."""
Tries = Sequence[tuple[int, Outcome]]
"""The runs so far, in order: with how many, and what came of it."""
_REACH = 1.25
"""Growth of the ramp beyond a number that passes only sometimes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchLimits:
    """Where to search, how surely, and how long."""

    start: int
    stop: int
    repeats: int = 3
    """Runs at each side of the edge: so many passes hold a number, so many failures break it."""
    void_retries: int = 2
    """Void runs in a row with one number, after the first, before it counts as undecidable."""
    precision: float = 0.0
    """How wide the edge may stay, as a share of the number; 0 searches down to one."""
    factor: float = 2.0
    """Growth of the ramp."""
    max_runs: int = 60
    max_s: float = math.inf


@dataclass(slots=True)
class _Count:
    passes: int = 0
    fails: int = 0
    voids_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Bracket:
    """What runs have shown so far."""

    passed: int | None
    """The largest number all of whose runs passed, with no failure at or below it."""
    held: int | None
    """The largest such number that passed in all repeats."""
    failed: int | None
    """The smallest number that failed in any run."""
    always_failed: int | None
    """The smallest number that never passed, and above which none did."""
    undecided: int | None
    """The smallest number whose runs stay void, if nothing failed below it."""
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Passes and failures by number."""


def next_number(limits: SearchLimits, tries: Tries, elapsed_s: float) -> int | Ended:
    """Return the number to run next, or why the search is over.

    Args:
        limits: Where to search.
        tries: The runs so far.
        elapsed_s: Time since the search began.
    """
    if any(outcome == "error" for _, outcome in tries):
        return "error"
    wanted = _wanted(limits, _count(tries))
    if isinstance(wanted, int) and (len(tries) >= limits.max_runs or elapsed_s >= limits.max_s):
        return "budget"
    return wanted


def bracket(limits: SearchLimits, tries: Tries) -> Bracket:
    """Return what runs have shown so far."""
    counts = _count(tries)
    blocked, passed = _lower_edge(limits, counts)
    clean = [n for n, c in counts.items() if c.passes and (blocked is None or n < blocked)]
    reached = max((n for n, c in counts.items() if c.passes), default=0)
    failed = [n for n, c in counts.items() if c.fails]
    return Bracket(
        passed=passed,
        held=max((n for n in clean if counts[n].passes >= limits.repeats), default=None),
        failed=min(failed, default=None),
        always_failed=min((n for n in failed if n > reached), default=None),
        undecided=blocked if blocked is not None and not counts[blocked].fails else None,
        counts={n: (c.passes, c.fails) for n, c in sorted(counts.items())},
    )


def _count(tries: Tries) -> dict[int, _Count]:
    counts: dict[int, _Count] = {}
    for number, outcome in tries:
        count = counts.setdefault(number, _Count())
        count.voids_in_a_row = count.voids_in_a_row + 1 if outcome == "void" else 0
        count.passes += outcome == "pass"
        count.fails += outcome == "fail"
    return counts


def _is_undecidable(limits: SearchLimits, count: _Count) -> bool:
    return count.voids_in_a_row > limits.void_retries


def _lower_edge(limits: SearchLimits, counts: dict[int, _Count]) -> tuple[int | None, int | None]:
    """Return the smallest number that failed or cannot be decided, and the largest below it that passed."""
    blocked = min((n for n, c in counts.items() if c.fails or _is_undecidable(limits, c)), default=None)
    clean = [n for n, c in counts.items() if c.passes and (blocked is None or n < blocked)]
    return blocked, max(clean, default=None)


def _wanted(limits: SearchLimits, counts: dict[int, _Count]) -> int | Ended:
    blocked, clean = _lower_edge(limits, counts)
    if clean is None:
        return limits.start if blocked is None else _at_start(limits, counts[blocked])
    if blocked is None:
        if clean < limits.stop:
            return min(limits.stop, max(clean + 1, math.ceil(clean * limits.factor)))
        return clean if counts[clean].passes < limits.repeats else "at_least"
    if blocked - clean > _width(limits, clean):
        return (clean + blocked) // 2
    if counts[clean].passes < limits.repeats:
        return clean
    return _upper_edge(limits, counts) if counts[blocked].fails else "undecided"


def _at_start(limits: SearchLimits, count: _Count) -> int | Ended:
    """Decide what to do while not even the smallest number holds."""
    if not count.fails:
        return "undecided"
    if count.passes or count.fails >= limits.repeats or _is_undecidable(limits, count):
        return "none_held"
    return limits.start


def _upper_edge(limits: SearchLimits, counts: dict[int, _Count]) -> int | Ended:
    """Look for the smallest number that fails in all repeats; between that and the lower edge runs differ."""
    reached = max(n for n, c in counts.items() if c.passes)
    broken = min((n for n, c in counts.items() if c.fails and n > reached), default=None)
    void = [n for n, c in counts.items() if n > reached and not c.fails and _is_undecidable(limits, c)]
    if broken is None:
        if reached >= limits.stop:
            return "found"
        if not void:
            return min(limits.stop, max(reached + 1, math.ceil(reached * _REACH)))
        between = (reached + min(void)) // 2
        return between if min(void) - reached > _width(limits, reached) else "found"
    floor = max([reached, *(n for n in void if n < broken)])
    if broken - floor > _width(limits, floor):
        return (floor + broken) // 2
    enough = counts[broken].fails >= limits.repeats or _is_undecidable(limits, counts[broken])
    return "found" if enough else broken


def _width(limits: SearchLimits, number: int) -> int:
    """Return how far apart two numbers may be that count as an edge."""
    return max(1, math.floor(number * limits.precision))
