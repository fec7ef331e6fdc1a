"""How late the event loop is: a timer that is due ten times a second, and how long after that it runs.

Only measures; the histogram is the caller's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_S = 0.1
TICKS_MAX = 600
"""Of one stall at most: a machine that slept for a night has no lag of a night."""


def lags(late_s: float) -> list[float]:
    """Return the lag of each tick that was due when the loop ran again, `late_s` after the first of them.

    One long stall would otherwise count as one late tick among thousands.
    """
    number = min(int(late_s / INTERVAL_S), TICKS_MAX - 1)
    return [max(late_s - tick * INTERVAL_S, 0.0) for tick in range(number + 1)]


class LoopLag:
    """Measure the running event loop until it is closed."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._arm(asyncio.get_running_loop())

    def close(self) -> None:
        """End. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due_s = loop.time() + INTERVAL_S
        self._timer = loop.call_at(due_s, self._tick, loop, due_s)

    def _tick(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        for lag_s in lags(loop.time() - due_s):
            self._observe(lag_s)
        self._arm(loop)
