"""A late event loop is measured by each tick that was due, not by those that ran."""

from __future__ import annotations

import asyncio
import time

import pytest

from meeshy_sfu.edge.loop_lag import INTERVAL_S, TICKS_MAX, LoopLag, lags


@pytest.mark.parametrize(
    ("late_s", "expected"),
    [
        (0.0, [0.0]),
        (0.004, [0.004]),
        (0.25, [0.25, 0.15, 0.05]),
        (-0.001, [0.0]),
    ],
)
def test_a_stall_counts_for_each_tick_that_was_due_in_it(late_s: float, expected: list[float]) -> None:
    assert lags(late_s) == pytest.approx(expected)


def test_a_machine_that_slept_for_a_night_counts_for_a_minute() -> None:
    assert len(lags(8 * 3600)) == TICKS_MAX


async def test_a_loop_that_is_blocked_is_late_and_one_that_is_closed_is_not_measured() -> None:
    observed: list[float] = []
    measured = asyncio.Event()

    def observe(lag_s: float) -> None:
        observed.append(lag_s)
        measured.set()

    lag = LoopLag(observe)
    lag.start()
    time.sleep(3 * INTERVAL_S)  # noqa: ASYNC251
    await measured.wait()
    assert max(observed) >= 2 * INTERVAL_S - 0.01
    assert len(observed) >= 2
    lag.close()
    lag.close()
    seen = len(observed)
    await asyncio.sleep(2 * INTERVAL_S)
    assert len(observed) == seen
