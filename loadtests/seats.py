"""Seats of a run: which call each user of locust is in, and its number.

Pure; the master alone hands out seats, so no two workers have the same one. Seat n is that of participant
n + 1, whose number is in stamps and tables; calls are filled one after the other.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

MOST = 60_000
"""Numbers of bots have 16 bits in a stamp."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in a call."""

    number: int
    """From 0 on, in all of the run."""
    call: int
    """Which call, from 0 on."""

    @property
    def participant(self) -> int:
        """The number of the participant, from 1 on."""
        return self.number + 1


class Seats:
    """The seats of one run. The lowest free one is taken first, so that calls are full whoever comes and goes."""

    def __init__(self, per_call: int) -> None:
        self.most = 0
        """The most that were taken at a time."""
        self._per_call = per_call
        self._fresh = 0
        self._free: list[int] = []
        self._owners: dict[int, str] = {}

    def take(self, owner: str) -> Seat:
        """Return a seat that nobody has.

        Raises:
            ValueError: There is none.
        """
        if not self._free and self._fresh >= MOST:
            raise ValueError(f"a run has at most {MOST} participants at a time")
        if self._free:
            number = heapq.heappop(self._free)
        else:
            number, self._fresh = self._fresh, self._fresh + 1
        self._owners[number] = owner
        self.most = max(self.most, len(self._owners))
        return Seat(number, number // self._per_call)

    def free(self, number: int, owner: str) -> None:
        """Take a seat back from its owner. Seats of a worker that was lost stay taken: its participants may still be in calls."""
        if self._owners.get(number) == owner:
            del self._owners[number]
            heapq.heappush(self._free, number)

    def taken(self) -> int:
        """Count the seats that are taken."""
        return len(self._owners)
