"""What callers of a run share, and what each records: changes of mode, joins, the end of the call.

Values only; what a caller does is in client/caller.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from simulator.client.bot import EventSink
from simulator.client.media_server import Json, Rest
from simulator.samples.schema import Kind

_USER = "person"
"""Users of a run are called `person-1`, `person-2`, …"""


def user_name(number: int) -> str:
    """Return the name of a participant's user."""
    return f"{_USER}-{number}"


class ParticipantIndex:
    """Whose number a participant of a call has; shared by all callers of a run."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, participant_id: str, number: int) -> None:
        """Take note of who a participant is."""
        self._numbers[participant_id] = number

    def learn(self, participant: Json) -> None:
        """Learn the number of a participant from the name of its user: others may be told of it before it knows itself."""
        name, _, number = str(participant.get("userId")).partition("-")
        if name == _USER and number.isdecimal():
            self._numbers[str(participant["participantId"])] = int(number)

    def number(self, participant_id: str) -> int | None:
        """Return the number of a participant; None for one that is not of this run."""
        return self._numbers.get(participant_id)


class MediaServers:
    """Requests to whichever media servers the gateway names. Use as an async context manager."""

    def __init__(self) -> None:
        self._rests: dict[str, Rest] = {}

    async def __aenter__(self) -> MediaServers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(rest.close() for rest in self._rests.values()))

    @property
    def known(self) -> list[Rest]:
        """All that were named until now."""
        return list(self._rests.values())

    def at(self, url: str) -> Rest:
        """Return the requests to one of them."""
        if url not in self._rests:
            self._rests[url] = Rest(url)
        return self._rests[url]


@dataclass(slots=True)
class Transition:
    """A change of mode, as one participant experienced it; times are Unix nanoseconds, 0 for never."""

    epoch: int
    old: str
    new: str
    reason: str
    told_ns: int
    decided_ns: int = 0
    prewarmed: bool = False
    peers: tuple[int, ...] = ()
    media_ns: int = 0
    confirmed_ns: int = 0
    completed_ns: int = 0
    success: bool | None = None
    error: str = ""


@dataclass(slots=True)
class Arrival:
    """A join, as one participant experienced it."""

    mode: str
    started_ns: int
    flowing_ns: int = 0
    left_ns: int = 0


@dataclass(frozen=True, slots=True)
class SharedContext:
    """What all callers of a run share."""

    participants: ParticipantIndex
    servers: MediaServers
    note: EventSink
    kinds: tuple[Kind, ...] = ("audio", "video")
    switch_deadline_s: float = 10.0
    """The gateway's setting; a switch was decided this long before its deadline."""
    exceptions: Mapping[int, tuple[Kind, ...]] = field(default_factory=dict)
    """What those participants send, by number, who do not send all of `kinds`."""

    silent: Mapping[int, Set[Kind]] = field(default_factory=dict)
    """What participants have switched off for now, by number: it is not waited for."""

    def kinds_of(self, number: int) -> tuple[Kind, ...]:
        """Return what a participant sends."""
        return self.exceptions.get(number, self.kinds)


@dataclass(slots=True)
class Record:
    """What a caller has experienced; complete once it has left."""

    transitions: list[Transition] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    ended: str | None = None
    """Why the call ended for it, if it did not leave by itself."""
