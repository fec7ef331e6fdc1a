from __future__ import annotations

from meeshy_sfu.gateway.media.breaker import Breaker, BreakerState


def test_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(threshold=3, pause_s=2.0)
    for now in (0.0, 0.1):
        breaker.failed(now)
    breaker.succeeded()
    for now in (0.2, 0.3):
        breaker.failed(now)
    assert breaker.state(0.3) is BreakerState.CLOSED
    breaker.failed(0.4)
    assert breaker.state(0.4) is BreakerState.OPEN
    assert not breaker.allows(2.3)


def test_one_trial_at_a_time_decides() -> None:
    breaker = Breaker(threshold=1, pause_s=2.0)
    breaker.failed(0.0)
    assert breaker.allows(2.0)
    assert not breaker.allows(2.1)
    breaker.failed(2.2)
    assert not breaker.allows(4.1)
    assert breaker.allows(4.2)
    breaker.succeeded()
    assert breaker.state(4.3) is BreakerState.CLOSED


def test_a_trial_that_never_ends_does_not_block_for_ever() -> None:
    breaker = Breaker(threshold=1, pause_s=2.0)
    breaker.failed(0.0)
    assert breaker.allows(2.0)
    assert breaker.allows(4.0)
