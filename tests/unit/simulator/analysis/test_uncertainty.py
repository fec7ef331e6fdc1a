"""Intervals of figures: right as often as they say, and open where samples cannot bound a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.analysis.raw_run import RawRun
from simulator.analysis.uncertainty import (
    Interval,
    block_intervals,
    intervals,
    mean_interval,
    rank_interval,
    ratio_interval,
)


def covered(found: Interval, truth: float) -> bool:
    return (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)


def test_the_interval_of_a_percentile_holds_its_true_value_in_95_of_100_runs() -> None:
    random = np.random.default_rng(1)
    truth = -np.log(1 - 0.95)
    hits = sum(covered(rank_interval(random.exponential(size=200), 0.95), truth) for _ in range(1000))
    assert 940 <= hits <= 990


def test_samples_that_vary_together_by_the_second_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    seconds = np.repeat(np.arange(60), 100)
    hits, widths, naive = 0, [], []
    for _ in range(100):
        values = 10 + 3 * random.random(60)[seconds] + random.random(len(seconds))
        found = block_intervals(values, seconds)["p50"]
        hits += covered(found, 12.0)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
        alone = rank_interval(values, 0.5)
        naive.append((alone.high or 0) - (alone.low or 0))
    assert hits >= 88
    assert np.mean(widths) > 3 * np.mean(naive), "ranks alone would take each sample as drawn by itself"


def test_few_samples_bound_a_high_percentile_from_below_only() -> None:
    found = rank_interval(np.arange(1.0, 51.0), 0.95)
    assert found.high is None
    assert found.low == 44
    assert rank_interval(np.array([5.0]), 0.5) == Interval(None, None)


def test_equal_samples_have_an_interval_without_width() -> None:
    found = block_intervals(np.full(100, 7.0), np.arange(100) // 10)["p95"]
    assert found.low == pytest.approx(7, rel=0.003)
    assert found.high == pytest.approx(7, rel=0.003)
    assert covered(found, 7.0)


def test_fewer_than_five_blocks_say_nothing() -> None:
    assert block_intervals(np.arange(100.0), np.arange(100) // 25) == {}
    assert block_intervals(np.array([]), np.array([], np.int64)) == {}
    assert mean_interval(np.arange(4.0)) is None
    assert ratio_interval(np.ones(4), np.ones(4)) is None


def test_the_interval_of_a_mean_holds_its_true_value() -> None:
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(500):
        found = mean_interval(random.normal(40, 5, 30))
        assert found is not None
        hits += covered(found, 40)
    assert 460 <= hits <= 490


def test_loss_in_bursts_has_a_wider_interval_than_loss_that_is_spread() -> None:
    whole = np.full(50, 1000.0)
    spread = ratio_interval(np.full(50, 20.0), whole)
    bursts = ratio_interval(np.where(np.arange(50) % 10 == 0, 200.0, 0.0), whole)
    assert spread is not None
    assert bursts is not None
    assert (spread.low, spread.high) == (0.02, 0.02)
    assert bursts.low is not None
    assert bursts.high is not None
    assert bursts.low < 0.01 < 0.03 < bursts.high


def test_nothing_lost_still_bounds_the_loss() -> None:
    found = ratio_interval(np.zeros(10), np.full(10, 1000.0))
    assert found is not None
    assert found.low == 0
    assert found.high == pytest.approx(3 / 10_000, rel=0.01)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (Interval(1, 2), Interval(2, 3), True),
        (Interval(1, 2), Interval(2.1, 3), False),
        (Interval(2.1, 3), Interval(1, 2), False),
        (Interval(1, None), Interval(5, 6), True),
        (Interval(7, None), Interval(5, 6), False),
        (Interval(None, None), Interval(5, 6), True),
    ],
)
def test_intervals_overlap_unless_one_ends_before_the_other(
    one: Interval, other: Interval, overlap: bool
) -> None:
    assert one.overlaps(other) is overlap
    assert other.overlaps(one) is overlap


def test_a_run_has_intervals_for_what_it_measured(run: Any, tmp_path: Path) -> None:
    found = intervals(RawRun.read(run.write(tmp_path)))
    assert {
        "latency_ms.audio.p95",
        "latency_ms.video.p50",
        "join_ms.p95",
        "loss.ratio",
        "loss.video.ratio",
    } <= set(found)
    cpu = found["server.cpu_core_percent"]
    assert (cpu.low, cpu.high) == (pytest.approx(25), pytest.approx(25))
    assert found["join_ms.p95"].high is None, "two joins"
