"""Circuit breaker: stop asking a server that does not answer, and try again after a while.

Pure: the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """Closed lets everything through, open nothing, half-open one trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Opens after `threshold` failures in a row; after `pause_s` one trial decides.

    Example:
        ```python
        breaker = Breaker(threshold=1, pause_s=2.0)
        breaker.failed(now=0.0)
        assert not breaker.allows(now=1.0)
        assert breaker.allows(now=2.0)
        ```
    """

    threshold: int = 3
    pause_s: float = 2.0
    _failures: int = 0
    _opened_at: float | None = None
    _trial_at: float | None = None

    def state(self, now: float) -> BreakerState:
        """The state at `now`."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._opened_at + self.pause_s else BreakerState.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Return whether a request may be sent; in the half-open state one at a time, for `pause_s` at most."""
        state = self.state(now)
        if state is not BreakerState.HALF_OPEN:
            return state is BreakerState.CLOSED
        if self._trial_at is not None and now < self._trial_at + self.pause_s:
            return False
        self._trial_at = now
        return True

    def succeeded(self) -> None:
        """The server answered; everything may pass again."""
        self._failures, self._opened_at, self._trial_at = 0, None, None

    def failed(self, now: float) -> None:
        """The server did not answer, or failed by its own fault."""
        self._failures += 1
        self._trial_at = None
        if self._opened_at is not None or self._failures >= self.threshold:
            self._opened_at = now
