"""Load shapes: how many participants there are when, for the tests T1 to T3 and a step load.

Pure but for locust's clock. locust's own options change them: `--users` how many, `--spawn-rate` how fast they join,
`--run-time` how long the load is held.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import ClassVar

from locust import LoadTestShape

from loadtests.options import GivenOptions

Tick = tuple[int, float]
ARRIVAL_TIMEOUT_S = 30.0
"""How long after the last join media of all may need to flow."""


class CallShape(LoadTestShape):
    """Participants join at a rate, stay for a while, and the test ends."""

    abstract: ClassVar[bool] = True
    use_common_options: ClassVar[bool] = True
    name: ClassVar[str]
    description: ClassVar[str]
    """What happens, with the number of participants in its place."""
    participants: ClassVar[int]
    per_call: ClassVar[int]
    rate: ClassVar[float]
    """Joins per second."""
    hold_s: ClassVar[float]
    """How long all stay."""
    waits: ClassVar[bool] = True
    """Whether joins are kept out of the measured time, which begins when media of all flows; else it begins at once."""
    media: ClassVar[bool] = True
    """Whether there is media to judge."""
    given = GivenOptions()
    """What was given on the command line."""
    finished = False
    """Whether the test ran to its end."""
    _begun_s: float | None = None
    _held_s: float | None = None
    _on_hold: Callable[[], None] | None = None

    arrived: Callable[[int], bool] = staticmethod(lambda _: True)
    """Whether so many participants have joined and receive media."""

    def size(self) -> int:
        """Return the most participants there are at a time."""
        return self.given.users or self.participants

    def ramp_s(self) -> float:
        """Return how long the joins take."""
        return self.size() / (self.given.spawn_rate or self.rate)

    def length_s(self) -> float:
        """Return how long the load is held once all have joined."""
        return self.given.run_time_s or self.hold_s

    def begin(self, on_hold: Callable[[], None]) -> None:
        """Start the clock; until then the test is at its first moment, however long the servers take to start.

        Args:
            on_hold: Called once the load is held: the measured time begins. At once if there is nothing to wait for.
        """
        self._begun_s, self._held_s, self._on_hold = time.monotonic(), None, on_hold
        if not self.waits:
            on_hold()

    def end(self) -> None:
        """Forget the clock; the next test starts its own."""
        self._begun_s = self._held_s = None

    def tick(self) -> Tick | None:
        """Return how many participants there should be now."""
        now_s = time.monotonic()
        wanted = self.at(0.0 if self._begun_s is None else now_s - self._begun_s, now_s)
        self.finished = wanted is None
        return wanted

    def at(self, run_time_s: float, now_s: float) -> Tick | None:
        """Return how many participants there should be at this time of the test; None once it is over.

        The load is held from when all have joined and media flows. Where it does not, the test goes on without after a while.
        """
        late = run_time_s >= self.ramp_s() + ARRIVAL_TIMEOUT_S
        if (
            self._held_s is None
            and run_time_s >= self.ramp_s()
            and (late or not self.waits or self.arrived(self.size()))
        ):
            self._held_s = now_s
            if self.waits and self._on_hold is not None:
                self._on_hold()
        if self._held_s is not None and now_s - self._held_s >= self.length_s():
            return None
        return self.size(), self.given.spawn_rate or self.rate


class Free(CallShape):
    """As many participants as the options say, for as long as they say, or until someone stops it."""

    abstract = False
    name = "free"
    description = "{participants} participants in calls of {per_call}."
    participants = per_call = 5
    rate = 5.0
    hold_s = math.inf


class Signalling(Free):
    """Users without media."""

    waits = False
    media = False
    name = "signalling"
    description = "{participants} users without media, each in a call of its own."
    participants = 50
    rate = 10.0


class T1(CallShape):
    """Fifty participants in one call, each of whom receives all others."""

    abstract = False
    name = "t1"
    description = "{participants} participants in one call, each of whom receives all others."
    participants = per_call = 50
    rate = 50.0
    hold_s = 30.0


class T2(CallShape):
    """Ten calls of five."""

    abstract = False
    name = "t2"
    description = "{participants} participants in calls of {per_call}."
    participants = 50
    per_call = 5
    rate = 25.0
    hold_s = 60.0


class T3(CallShape):
    """Five hundred participants in a hundred calls."""

    abstract = False
    name = "t3"
    description = "{participants} participants in calls of {per_call}."
    participants = 500
    per_call = 5
    rate = 25.0
    hold_s = 60.0


class Steps(CallShape):
    """More participants with every step, and none leave: at which step does it break?"""

    waits = False
    abstract = False
    name = "steps"
    description = "Up to {participants} participants in calls of {per_call}, in steps."
    participants = 100
    per_call = 5
    rate = 10.0
    hold_s = 20.0
    steps: ClassVar[int] = 5

    def at(self, run_time_s: float, now_s: float) -> Tick | None:
        """Return how many participants there should be: a step is the time its joins take, and `--run-time`."""
        rate = self.given.spawn_rate or self.rate
        step_s = self.size() / self.steps / rate + self.length_s()
        step = int(run_time_s / step_s)
        if step >= self.steps:
            return None
        return round(self.size() * (step + 1) / self.steps), rate

    def ramp_s(self) -> float:
        """Return how long the joins of all steps take, with the time between them."""
        return super().ramp_s() + (self.steps - 1) * self.length_s()
