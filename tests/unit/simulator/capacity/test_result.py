"""What a search says it found."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.capacity.result import Bounds, CapacitySummary, RunOfNumber, conclude
from simulator.capacity.search import SearchLimits
from simulator.summary import SloResult

LIMITS = SearchLimits(start=2, stop=64, repeats=2)
P95 = "latency_ms.video.p95"


def run(number: int, outcome: Any, **more: Any) -> RunOfNumber:
    return RunOfNumber(number=number, outcome=outcome, folder="", **({"reasons": [], "figures": {}} | more))


def said(ended: Any, *runs: RunOfNumber) -> CapacitySummary:
    return conclude(LIMITS, ended, runs, scenario="group", vary="participants", counted="participants")


def passed(number: int, p95: float) -> RunOfNumber:
    return run(number, "pass", figures={P95: p95}, intervals={P95: Bounds(low=p95 - 1, high=p95 + 1)})


def failed(number: int) -> RunOfNumber:
    broken = SloResult(expression=f"{P95}<5", value=7.5, limit=5, passed=False)
    return run(number, "fail", broken=[broken], limit="server")


def test_the_number_has_its_latency_the_edge_and_what_broke_first() -> None:
    found = said("found", passed(8, 3.0), failed(9), passed(8, 4.0), failed(9))
    assert (found.verdict, found.holds, found.interval.low, found.interval.high) == ("pass", 8, 8, 9)
    assert found.statement[0] == (
        "holds 8 participants at video latency p95 3.5 ms (95 %: 2–5); "
        "first broken: latency_ms.video.p95<5, was 7.5 (with 9)"
    )


def test_when_even_the_first_number_fails_it_says_so() -> None:
    found = said("none_held", failed(2), failed(2))
    assert (found.verdict, found.holds) == ("fail", None)
    assert found.statement[0].startswith("does not even hold 2 participants: 2 of 2 runs failed")


def test_participants_who_cannot_take_part_are_what_broke_first() -> None:
    late = run(16, "fail", not_served="participant 3 did not receive video of 1 within 30 s")
    found = said("found", passed(8, 3.0), late, passed(8, 3.0), late)
    assert (found.verdict, found.holds, found.interval.high) == ("pass", 8, 16)
    assert (
        "first broken: not all could take part: participant 3 did not receive video of 1 within 30 s (with 16)"
        in (found.statement[0])
    )
    assert "with 16 the run broke off, so whose limit it was is not known" in found.statement


def test_when_the_last_number_passes_it_holds_at_least_that() -> None:
    found = said("at_least", passed(64, 3.0), passed(64, 3.0))
    assert found.statement[0].startswith("holds at least 64 participants at")


@pytest.mark.parametrize(
    ("limit", "who"),
    [("load generator", "the load generator was"), ("machine", "the machine, which others use")],
)
def test_void_is_told_from_failure_with_whose_limit_it_was(limit: Any, who: str) -> None:
    voids = [run(9, "void", limit=limit, reasons=["late"]) for _ in range(3)]
    found = said("undecided", passed(8, 3.0), passed(8, 3.0), *voids)
    assert (found.verdict, found.holds, found.undecided) == ("void", 8, 9)
    assert f"not decided from 9 on: {who}" in found.statement[-1]
    assert "first broken" not in found.statement[0]


@pytest.mark.parametrize("ended", ["interrupted", "budget"])
def test_a_search_that_is_cut_says_what_is_known(ended: Any) -> None:
    found = said(ended, passed(4, 3.0), failed(8))
    assert found.holds is None
    assert found.statement[-1].endswith("known so far: 4 passed in 1 runs, not yet in all repeats, 8 failed")
