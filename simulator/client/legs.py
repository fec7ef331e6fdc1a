"""The media of a bot in a call of the gateway: legs, each a path on which media is sent and received.

Declares, so that one caller drives native and aiortc bots alike; the legs themselves are in bots/native_legs.py and
bots/aiortc_legs.py, signalling in client/caller.py and client/sfu_session.py. All legs of a bot send the same
frames, and each track it receives is shown from one leg at a time: the one preferred last, once it brings
something decodable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from simulator.client.bot import Bot
from simulator.client.media_server import Json
from simulator.samples.schema import Kind

Track = tuple[int, Kind]
"""What is received: the number of the sender, and the kind."""


class Arrivals:
    """Which tracks are shown from a leg, and since when."""

    def __init__(self) -> None:
        self.since_ns: dict[Track, int] = {}
        self.broken: str | None = None
        """Why the leg is of no use any more."""
        self._awaited: dict[Track, asyncio.Event] = {}
        self._watch: Callable[[Track, int], None] | None = None

    def watch(self, watch: Callable[[Track, int], None]) -> None:
        """Report each track that is shown from this leg, those that are already so included."""
        self._watch = watch
        for track, unix_ns in self.since_ns.items():
            watch(track, unix_ns)

    def entered(self, track: Track, unix_ns: int) -> None:
        """Take note that a track is shown from this leg now."""
        self.since_ns.setdefault(track, unix_ns)
        if self._watch is not None:
            self._watch(track, unix_ns)
        if (event := self._awaited.pop(track, None)) is not None:
            event.set()

    def fail(self, reason: str) -> None:
        """Take note that the leg broke."""
        if self.broken is None:
            self.broken = reason
        self.look()

    def look(self) -> None:
        """Let those who wait check again: a participant has left."""
        awaited, self._awaited = self._awaited, {}
        for event in awaited.values():
            event.set()

    async def wait_for(self, wanted: Callable[[], Sequence[Track]]) -> int:
        """Wait until all tracks that are wanted were shown from this leg; returns when the last one was.

        Raises:
            ConnectionError: The leg broke before.
        """
        while missing := [track for track in wanted() if track not in self.since_ns]:
            if self.broken is not None:
                raise ConnectionError(f"{self.broken}; still missing {missing}")
            # for one of them: in a crowd a look at all for each that arrives would cost the square of their number
            await self._awaited.setdefault(missing[-1], asyncio.Event()).wait()
        return max((self.since_ns[track] for track in wanted()), default=time.time_ns())


class Leg(Protocol):
    """One path of one bot."""

    arrivals: Arrivals

    async def prefer(self) -> None:
        """Take the bot's tracks from this leg, as soon as they can be decoded."""

    async def close(self) -> None:
        """Stop its media. Idempotent."""


class ServerLeg(Leg, Bot, Protocol):
    """A leg to a media server."""


class PeerLeg(Leg, Protocol):
    """A leg to one peer, without a server; it sends as soon as it is connected."""

    description: str
    """Its own offer or answer, as SDP."""

    async def accept(self, answer: str) -> None:
        """Take the answer to its offer, and connect."""

    async def add_candidate(self, candidate: str) -> None:
        """Take a candidate that came later."""


class CallBot(Protocol):
    """A bot that can be in calls of the gateway; makes its legs."""

    number: int
    """In stamps and tables."""
    kind_of_bot: str
    generator: str
    decodes: bool

    def use_ice_servers(self, servers: Sequence[Json]) -> None:
        """Take note of the STUN and TURN servers for legs that are made from now on."""

    async def server_leg(self) -> ServerLeg:
        """Make a leg to a media server; nothing is connected yet."""

    async def offer(self, peer: int) -> PeerLeg:
        """Make a leg to this peer, with an offer."""

    async def answer(self, peer: int, offer: str) -> PeerLeg:
        """Make a leg to this peer that answers an offer, and connect."""

    async def impair(self, lost: bool) -> None:
        """Lose everything on all of its legs, or nothing any more."""

    async def mute(self, kind: Kind, *, muted: bool) -> None:
        """Send nothing of a kind on any of its legs, or send it again."""

    async def hush(self, hushed: bool) -> None:
        """Send silence on all of its legs, or what it has to say again; only with discontinuous transmission."""

    async def close(self) -> None:
        """End all of its legs. Idempotent."""


class CallBotGenerator(Protocol):
    """The bots of a run of one kind, and what they measured. Use as an async context manager."""

    async def collect(self, tick: int) -> Mapping[str, Sequence[pa.RecordBatch]]:
        """Return what was measured since the last call, by table."""

    def failures(self) -> list[str]:
        """Say what broke on its own since the last call."""
