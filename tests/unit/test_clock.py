"""Clocks that stand still and clocks that run."""

import pytest

from meeshy_sfu.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_both_times_by_the_same_step() -> None:
    clock = ManualClock(monotonic_s=5.0, unix_s=100.0)
    clock.advance(2.5)
    assert (clock.monotonic_s(), clock.unix_s()) == (7.5, 102.5)


def test_a_manual_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot move"):
        ManualClock().advance(-1)


def test_the_system_clock_does_not_go_back() -> None:
    clock = SystemClock()
    assert clock.monotonic_s() <= clock.monotonic_s()
    assert clock.unix_s() > 1_700_000_000
