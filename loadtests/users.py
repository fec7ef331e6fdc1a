"""Users of locust: participants in calls, and users who only signal.

They decide what happens when; doing and measuring it is up to the process with participants (children/callers.py).
"""

from __future__ import annotations

import random
import time
from typing import Any

import gevent
from locust import User, between, task
from locust.exception import StopUser

from loadtests.conductor import Seated, conductor_of
from loadtests.seats import Seat

_TRY_AGAIN_S = 2.0
"""Before one who was not admitted tries again, as a participant would."""
_BETWEEN_STEPS_S = 0.5
_AWAY_S = (1.0, 3.0)
"""How long a participant who comes back was away."""


class CallUser(User):
    """A participant in a call: joins through the gateway, sends and receives media, talks, mutes, leaves.

    Media and signalling are real; locust only says what the participant does next. With `--stay-s` they leave and come back.
    """

    wait_time = between(2, 6)
    per_call = 5
    """Unless `--per-call` says otherwise."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._conductor: Seated = conductor_of(environment)
        self._random = random.Random()
        self._leaves_at = 0.0
        self._seat: Seat | None = None

    def on_start(self) -> None:
        """Take a seat, and join its call; one who is refused tries again."""
        self._seat = self._conductor.take_seat()
        self._random.seed(f"{self._conductor.options.seed}-{self._seat.number}")
        self._join()

    def on_stop(self) -> None:
        """Leave the call."""
        if self._seat is not None:
            self._conductor.leave(self._seat)
            self._conductor.free_seat(self._seat)

    @task(4)
    def talk(self) -> None:
        """Say something: the microphone is on while the participant talks, and off afterwards."""
        if self._away():
            return
        self._toggle("audio", enabled=True)
        gevent.sleep(self._random.uniform(1, 4))
        self._toggle("audio", enabled=False)

    @task(4)
    def listen(self) -> None:
        """Only receive for a while."""
        if self._away():
            return
        gevent.sleep(self._random.uniform(1, 4))

    @task(1)
    def hide(self) -> None:
        """Switch the camera off for a moment."""
        self._toggle("video", enabled=False)
        gevent.sleep(self._random.uniform(1, 2))
        self._toggle("video", enabled=True)

    def _away(self) -> bool:
        """Leave the call and join it again if it is time to; returns whether it was."""
        stay_s = self._conductor.options.stay_s
        if self._seat is None or not stay_s or time.monotonic() < self._leaves_at:
            return False
        self._conductor.leave(self._seat)
        gevent.sleep(self._random.uniform(*_AWAY_S))
        self._join()
        return True

    def _join(self) -> None:
        while self._seat is not None and not self._conductor.join(self._seat):
            gevent.sleep(_TRY_AGAIN_S)
        if stay_s := self._conductor.options.stay_s:
            self._leaves_at = time.monotonic() + self._random.expovariate(1 / stay_s)

    def _toggle(self, kind: str, *, enabled: bool) -> None:
        if self._seat is not None:
            self._conductor.toggle(self._seat, kind, enabled=enabled)


class SignallingUser(User):
    """A user without media: opens a socket, begins a call of its own, asks for it over REST, and leaves.

    For the load of signalling alone: sockets, tokens, rows of the database.
    """

    wait_time = between(1, 3)

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._conductor: Seated = conductor_of(environment)
        self._seat: Seat | None = None

    def on_start(self) -> None:
        """Take a number, and connect."""
        self._seat = self._conductor.take_seat()
        while not self._step("connect"):
            gevent.sleep(_TRY_AGAIN_S)

    def on_stop(self) -> None:
        """Disconnect."""
        if self._seat is not None:
            self._conductor.disconnect(self._seat)
            self._conductor.free_seat(self._seat)

    @task
    def call(self) -> None:
        """Begin a call, look at it, toggle, report, and leave."""
        if not self._step("call"):
            return
        for step in ("look", "toggle-off", "toggle-on", "quality"):
            gevent.sleep(_BETWEEN_STEPS_S)
            self._step(step)
        self._step("leave")

    def _step(self, step: str) -> bool:
        if self._seat is None:
            raise StopUser
        return self._conductor.signal(self._seat, step)
