"""The emulated link: seeded, in order, as lossy and slow as asked."""

import itertools

import pytest

from simulator.bots.netem import EmulatedLink, link_seed
from simulator.scenario import Link


def fates(link: Link, seed: int = 1, count: int = 10_000) -> list[float | None]:
    emulated = EmulatedLink(link, seed)
    return [emulated.due_s(1000, n * 0.001) for n in range(count)]


def test_a_clean_link_changes_nothing() -> None:
    assert fates(Link(), count=3) == [0.0, 0.001, 0.002]


def test_the_loss_is_what_was_asked_for() -> None:
    lost = sum(due is None for due in fates(Link(loss=0.05)))
    assert 450 <= lost <= 550


def test_the_same_seed_drops_the_same_datagrams_whatever_the_jitter() -> None:
    plain = [due is None for due in fates(Link(loss=0.05), seed=3)]
    jittery = [due is None for due in fates(Link(loss=0.05, jitter_ms=30, delay_ms=10), seed=3)]
    assert plain == jittery
    assert plain != [due is None for due in fates(Link(loss=0.05), seed=4)]


def test_delay_and_jitter_stay_within_their_bounds_and_in_order() -> None:
    out = [due for due in fates(Link(delay_ms=150, jitter_ms=20)) if due is not None]
    waits = [due - n * 0.001 for n, due in enumerate(out)]
    assert min(waits) >= 0.15
    assert max(waits) <= 0.1701
    assert out == sorted(out)


def waits_ms(jitter_ms: float, per_second: int, seed: int = 1, seconds: int = 60) -> list[float]:
    emulated = EmulatedLink(Link(jitter_ms=jitter_ms), seed)
    times = [1000 + n / per_second for n in range(per_second * seconds)]
    return [((emulated.due_s(1000, at) or 0) - at) * 1000 for at in times]


@pytest.mark.parametrize("jitter_ms", [1, 10, 50, 200])
@pytest.mark.parametrize("per_second", [50, 90, 990])
def test_every_delay_of_the_jitter_is_equally_frequent_at_any_rate(jitter_ms: float, per_second: int) -> None:
    for seed in range(1, 4):
        seen = sorted(waits_ms(jitter_ms, per_second, seed))
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            assert seen[int(len(seen) * share)] / jitter_ms == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("jitter_ms", [10, 50])
def test_packets_a_frame_time_apart_differ_about_as_much_as_independent_draws(jitter_ms: float) -> None:
    seen = waits_ms(jitter_ms, 50)
    mean = sum(abs(a - b) for a, b in itertools.pairwise(seen)) / (len(seen) - 1)
    # Two independent draws from a range differ by a third of it on average.
    assert 0.25 < mean / jitter_ms < 0.42


def test_a_link_that_was_silent_for_a_day_goes_on_at_once() -> None:
    emulated = EmulatedLink(Link(jitter_ms=0.001), 1)
    for now in (0.0, 86_400.0):
        assert (emulated.due_s(100, now) or 0) - now <= 1e-6


def test_a_limited_link_queues_and_then_drops() -> None:
    emulated = EmulatedLink(Link(rate_bps=800_000), 1)  # 100 datagrams of 1000 bytes a second
    out = [emulated.due_s(1000, 0.0) for _ in range(50)]
    assert out[0] == 0.01
    assert 29 <= sum(due is None for due in out) <= 30  # 200 ms of queue hold 20 of them
    assert emulated.dropped == sum(due is None for due in out)
    assert emulated.passed == 50


def test_every_link_of_a_run_has_its_own_seed() -> None:
    seeds = {
        link_seed(run, bot, down=down) for run in (1, 2) for bot in range(1000) for down in (True, False)
    }
    assert len(seeds) == 4000
    assert 0 not in seeds
