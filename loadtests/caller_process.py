"""The participants of one locust process, as its users see them: what they may do, and what locust is told of it.

The work is done by the child process children/callers.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust.env import Environment

from loadtests.causes import CallFailure, Cause
from loadtests.child_process import ChildError, ChildProcess, Json
from loadtests.messages import Measured, Setup
from loadtests.seats import Seat

_log = logging.getLogger("meeshy")
_BEGIN_TIMEOUT_S = 60.0
"""The clip is made in the first run, which takes seconds."""
_FINISH_TIMEOUT_S = 120.0


class CallerProcess:
    """Participants and their bots, from :meth:`begin` to :meth:`finish`; everything measured becomes an event of locust."""

    def __init__(self, environment: Environment, on_broken: Callable[[str], None]) -> None:
        self._environment = environment
        self._on_broken = on_broken
        self._child = ChildProcess("loadtests.children.callers", self._take)
        self._outside: set[int] = set()

    @property
    def outside(self) -> int:
        """How many participants want to be in a call and are not."""
        return len(self._outside)

    def begin(self, setup: Setup, directory: Path, state_dir: str) -> None:
        """Start bots and clock; raw samples go into this directory.

        Raises:
            ChildError: It could not.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._child.ask(
            "begin",
            timeout_s=_BEGIN_TIMEOUT_S,
            setup=setup.model_dump(mode="json"),
            directory=str(directory),
            state_dir=state_dir,
        )

    def join(self, seat: Seat) -> bool:
        """Let a participant join its call; returns whether it is in."""
        self._outside.add(seat.number)
        if self._does("join", seat=seat.number, call=seat.call):
            self._outside.discard(seat.number)
            return True
        return False

    def leave(self, seat: Seat) -> None:
        """Let a participant leave its call, if it is in one."""
        self._outside.discard(seat.number)
        self._does("leave", seat=seat.number)

    def toggle(self, seat: Seat, kind: str, *, enabled: bool) -> bool:
        """Let a participant switch its microphone (`audio`) or camera (`video`)."""
        return self._does("toggle", seat=seat.number, kind=kind, enabled=enabled)

    def signal(self, seat: Seat, step: str) -> bool:
        """Take a step of a user without media; returns whether it worked."""
        return self._does("signal", seat=seat.number, step=step)

    def measure(self) -> None:
        """Begin the measured time."""
        self._does("measure")

    def finish(self) -> None:
        """Let all leave, and finish the raw samples.

        Raises:
            ChildError: It could not; the samples are incomplete.
        """
        try:
            self._child.ask("finish", timeout_s=_FINISH_TIMEOUT_S)
        finally:
            self._child.close()

    def _does(self, do: str, **values: Any) -> bool:
        try:
            self._child.ask(do, **values)
        except ChildError as error:
            # What failed was measured, and is in locust's table of failures.
            _log.debug("%s: %s", do, error)
            return False
        return True

    def _take(self, message: Json) -> None:
        if "measured" in message:
            self._fire(Measured.model_validate(message["measured"]))
        else:
            self._on_broken(str(message.get("broken") or message.get("ended")))

    def _fire(self, found: Measured) -> None:
        failure = None if found.cause is None else CallFailure(Cause(found.cause), found.code)
        self._environment.events.request.fire(
            request_type=found.group,
            name=found.name,
            # what never came took no time
            response_time=found.ms or None,
            response_length=0,
            exception=failure,
            context={"seat": found.seat},
        )
