"""Time, handed in.

What needs the time takes a Clock; only the programs at the outer edge create a real one.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Two kinds of time: one to measure with, one to show."""

    def monotonic_s(self) -> float:
        """Return seconds that only ever grow; for intervals and deadlines."""

    def unix_s(self) -> float:
        """Return seconds since 1970, UTC; for tokens, logs and certificates. May jump."""


class SystemClock:
    """The clock of this machine."""

    __slots__ = ()

    def monotonic_s(self) -> float:
        """Return the system's monotonic clock."""
        return time.monotonic()

    def unix_s(self) -> float:
        """Return the system's wall clock."""
        return time.time()


class ManualClock:
    """A clock that stands still until it is moved; for tests and dry runs."""

    __slots__ = ("_monotonic_s", "_unix_s")

    def __init__(self, *, monotonic_s: float = 0.0, unix_s: float = 1_767_225_600.0) -> None:
        self._monotonic_s = monotonic_s
        self._unix_s = unix_s

    def monotonic_s(self) -> float:
        """Return the time it was moved to."""
        return self._monotonic_s

    def unix_s(self) -> float:
        """Return the wall time it was moved to."""
        return self._unix_s

    def advance(self, seconds: float) -> None:
        """Move both kinds of time forward.

        Raises:
            ValueError: Time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"cannot move a clock by {seconds} s")
        self._monotonic_s += seconds
        self._unix_s += seconds
