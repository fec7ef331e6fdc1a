"""Who of several bots talks when, so that the active speaker changes as in a conversation.

Pure: time and randomness are handed in. Silence is made by whoever mutes the bots.
"""

from __future__ import annotations

import random

TURN_S = (2.0, 5.0)
"""Shortest and longest time that one talks."""
PAUSE_S = (0.2, 0.8)
"""Shortest and longest silence between two."""


class TalkTurns:
    """One talks at a time, for some seconds; then another one, after a short silence.

    Example:
        ```python
        import random

        from simulator.bots.talk_turns import TalkTurns

        turns = TalkTurns(random.Random(1))
        first = turns.speaker(2, now_s=0.0)
        assert first in (0, 1)
        assert turns.speaker(2, now_s=0.1) == first
        ```
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._talks: int | None = None
        self._last: int | None = None
        self._until_s = float("-inf")

    def speaker(self, count: int, *, now_s: float) -> int | None:
        """Return which of `count` bots talks now; None in a pause, or where there is none."""
        if self._talks is not None and self._talks >= count:
            self._talks, self._until_s = None, now_s
        if now_s >= self._until_s:
            self._next(count, now_s)
        return self._talks

    def _next(self, count: int, now_s: float) -> None:
        if self._talks is not None or not count:
            self._last, self._talks = self._talks, None
            self._until_s = now_s + self._rng.uniform(*PAUSE_S)
            return
        # a bot alone talks again, one of several only after another one
        choices = [index for index in range(count) if index != self._last] or [0]
        self._talks = self._rng.choice(choices)
        self._until_s = now_s + self._rng.uniform(*TURN_S)
