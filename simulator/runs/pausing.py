"""Participants of a group call who pause their producers on the server, resume them, and go on sending all the time.

A client that mutes itself stops sending; one that only pauses its producer relies on the server. Notes when the server had
confirmed each pause; what arrived of those times is computed in analysis/paused.py.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from simulator.samples.schema import KINDS, Kind
from simulator.scenario import Table


class GroupOptions(Table):
    """Who pauses what they send, and for how long."""

    pausing: int = Field(default=0, ge=0)
    """So many participants, the first ones, pause all of their producers again and again, and go on sending."""
    pause_s: float = Field(default=1.2, ge=0.5, le=1.5)
    """Length of each pause; a stream that is silent for 2 s does not flow."""
    flow_s: float = Field(default=1.2, ge=0.7)
    """Time before the first pause, and from each to the next."""


class Pausable(Protocol):
    """What can be paused; of a session on a media server."""

    async def pause(self) -> None:
        """Pause all producers; returns when the server has confirmed it."""

    async def resume(self) -> None:
        """Resume all producers."""


@dataclass(slots=True)
class Pause:
    """One pause of all producers of a participant; times are Unix nanoseconds, 0 is never."""

    bot: int
    asked_ns: int
    began_ns: int = 0
    ended_ns: int = 0

    def rows(self, kinds: tuple[Kind, ...]) -> list[tuple[int, int, int, int, int]]:
        """Return the rows of the table of paused times."""
        return [(self.bot, KINDS.index(kind), self.asked_ns, self.began_ns, self.ended_ns) for kind in kinds]


async def pause_and_resume(session: Pausable, bot: int, options: GroupOptions, noted: list[Pause]) -> None:
    """Pause and resume a participant's producers until cancelled; each pause is noted as soon as it is requested.

    Raises:
        SimulatorError: The server refused, or cannot be reached.
    """
    while True:
        await asyncio.sleep(options.flow_s)
        pause = Pause(bot, asked_ns=time.time_ns())
        noted.append(pause)
        await session.pause()
        pause.began_ns = time.time_ns()
        await asyncio.sleep(options.pause_s)
        pause.ended_ns = time.time_ns()
        await session.resume()
