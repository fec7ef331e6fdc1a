"""The search for the largest number that passes, over servers that are made up."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable

import pytest

from simulator.capacity.search import Ended, Outcome, SearchLimits, bracket, next_number

SEED = int(os.environ.get("MEESHY_TEST_SEED", "11"))
Server = Callable[[int], Outcome]


def search(limits: SearchLimits, server: Server) -> tuple[list[tuple[int, Outcome]], Ended]:
    tries: list[tuple[int, Outcome]] = []
    while isinstance(wanted := next_number(limits, tries, 0.0), int):
        assert limits.start <= wanted <= limits.stop
        tries.append((wanted, server(wanted)))
        assert len(tries) <= limits.max_runs
    return tries, wanted


def up_to(capacity: int) -> Server:
    return lambda n: "pass" if n <= capacity else "fail"


@pytest.mark.parametrize("case", range(300))
def test_the_edge_of_a_server_that_is_the_same_every_time_is_found_to_one(case: int) -> None:
    draw = random.Random(f"{SEED}-{case}")
    start = draw.randint(1, 20)
    stop = start + draw.randint(1, 800)
    capacity = draw.randint(start, stop - 1)
    limits = SearchLimits(start=start, stop=stop, repeats=draw.randint(1, 4), factor=draw.uniform(1.1, 4))
    tries, ended = search(limits, up_to(capacity))
    found = bracket(limits, tries)
    assert ended == "found"
    assert (found.held, found.failed, found.always_failed) == (capacity, capacity + 1, capacity + 1)
    assert found.counts[capacity] == (limits.repeats, 0)
    assert found.counts[capacity + 1] == (0, limits.repeats)


@pytest.mark.parametrize("case", range(100))
def test_a_precision_leaves_an_edge_of_no_more_than_that_share(case: int) -> None:
    draw = random.Random(f"{SEED}-{case}")
    capacity, precision = draw.randint(2, 700), draw.uniform(0.01, 0.3)
    limits = SearchLimits(start=2, stop=1000, precision=precision)
    tries, ended = search(limits, up_to(capacity))
    found = bracket(limits, tries)
    assert ended == "found"
    assert found.held is not None
    assert found.failed is not None
    assert found.held <= capacity < found.failed
    assert found.failed - found.held <= max(1, found.held * precision)


@pytest.mark.parametrize("case", range(300))
def test_what_noise_cannot_change(case: int) -> None:
    draw = random.Random(f"{SEED}-{case}")
    capacity, spread = draw.uniform(1, 200), draw.uniform(0.1, 30)
    void = draw.choice([0.0, 0.0, 0.2, 0.6])

    def server(n: int) -> Outcome:
        if draw.random() < void:
            return "void"
        return "pass" if draw.random() < 1 / (1 + math.exp((n - capacity) / spread)) else "fail"

    limits = SearchLimits(start=2, stop=150, repeats=3, max_runs=80)
    tries, ended = search(limits, server)
    found = bracket(limits, tries)
    failed = [n for n, outcome in tries if outcome == "fail"]
    passed = [n for n, outcome in tries if outcome == "pass"]
    assert ended in ("found", "at_least", "none_held", "undecided", "budget")
    if found.held is not None:
        assert passed.count(found.held) >= 3
        assert not any(n <= found.held for n in failed)
    if found.always_failed is not None:
        assert not any(n >= found.always_failed for n in passed)
        assert found.failed is not None
        assert found.failed <= found.always_failed
    if ended == "found":
        assert found.held is not None
    if ended in ("at_least", "undecided"):
        assert found.failed is None or found.undecided is None or found.failed > found.undecided
    assert next_number(limits, tries, 0.0) == ended


def test_two_searches_of_one_noisy_server_overlap() -> None:
    for case in range(100):
        draw = random.Random(f"{SEED}-{case}")

        def server(n: int, draw: random.Random = draw) -> Outcome:
            return "pass" if n + draw.uniform(-3, 3) <= 60 else "fail"

        limits = SearchLimits(start=2, stop=200)
        edges = []
        for _ in range(2):
            found = bracket(limits, search(limits, server)[0])
            assert found.held is not None
            assert found.always_failed is not None
            edges.append((found.held, found.always_failed))
        (low, high), (other_low, other_high) = edges
        assert low <= other_high, edges
        assert other_low <= high, edges


def test_a_number_that_passes_only_sometimes_is_not_held_and_widens_the_edge() -> None:
    seen: dict[int, int] = {}

    def server(n: int) -> Outcome:
        seen[n] = seen.get(n, 0) + 1
        if n in (25, 26):
            return "fail" if seen[n] == 1 else "pass"
        return "pass" if n < 25 else "fail"

    limits = SearchLimits(start=2, stop=200)
    tries, ended = search(limits, server)
    found = bracket(limits, tries)
    assert ended == "found"
    assert (found.held, found.failed, found.always_failed) == (24, 25, 27)


def test_when_even_the_first_number_fails_nothing_is_held() -> None:
    limits = SearchLimits(start=5, stop=50)
    tries, ended = search(limits, up_to(4))
    assert (tries, ended) == ([(5, "fail")] * 3, "none_held")
    assert bracket(limits, tries).held is None


def test_when_the_last_number_passes_the_server_holds_at_least_that() -> None:
    limits = SearchLimits(start=2, stop=50)
    tries, ended = search(limits, up_to(1000))
    assert ended == "at_least"
    assert (bracket(limits, tries).held, bracket(limits, tries).failed) == (50, None)
    assert [n for n, _ in tries] == [2, 4, 8, 16, 32, 50, 50, 50]


def test_above_what_stays_void_nothing_is_decided() -> None:
    limits = SearchLimits(start=2, stop=500, void_retries=1)
    tries, ended = search(limits, lambda n: "pass" if n <= 40 else "void")
    found = bracket(limits, tries)
    assert ended == "undecided"
    assert (found.held, found.undecided, found.failed) == (40, 41, None)
    assert sum(n == 41 for n, _ in tries) == 2


def test_a_void_run_is_repeated_and_counts_for_nothing() -> None:
    limits = SearchLimits(start=2, stop=100)
    clean, _ = search(limits, up_to(33))
    last: list[int] = []

    def server(n: int) -> Outcome:
        if last[-1:] != [n]:
            last.append(n)
            return "void"
        last.append(0)
        return up_to(33)(n)

    tries, ended = search(limits, server)
    assert ended == "found"
    assert [one for one in tries if one[1] != "void"] == clean


def test_a_run_that_broke_off_ends_the_search_with_what_is_known() -> None:
    limits = SearchLimits(start=2, stop=100, repeats=1)
    tries, ended = search(limits, lambda n: "pass" if n <= 8 else "error")
    assert ended == "error"
    assert (bracket(limits, tries).held, tries[-1]) == (8, (16, "error"))


@pytest.mark.parametrize(("most", "elapsed_s"), [(3, 0.0), (60, 100.0)])
def test_a_budget_of_runs_or_of_time_ends_it(most: int, elapsed_s: float) -> None:
    limits = SearchLimits(start=2, stop=100, max_runs=most, max_s=100.0)
    tries: list[tuple[int, Outcome]] = [(2, "pass"), (4, "pass"), (8, "fail")]
    assert next_number(limits, tries, elapsed_s) == "budget"
    found = bracket(limits, tries)
    assert (found.passed, found.held, found.failed) == (4, None, 8)


def test_a_budget_that_suffices_exactly_is_no_shortage() -> None:
    limits = SearchLimits(start=2, stop=4, repeats=1, max_runs=2)
    assert search(limits, up_to(9))[1] == "at_least"
