"""aiortc bots in calls of the gateway: each in a child process of its own, with legs to media servers and straight to each other.

The parent's side: passes orders, and turns the children's events into arrivals; what the children do is in
aiortc_leg_worker.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulator.bots.aiortc import AiortcBot, AiortcGenerator, ChildProcess
from simulator.client.bot import BotSettings
from simulator.client.legs import Arrivals, CallBot, PeerLeg, ServerLeg
from simulator.client.media_server import Json
from simulator.errors import BotError
from simulator.samples.schema import Kind


class CallBotProcess(ChildProcess):
    """The child process of one bot."""

    program = "simulator.bots.aiortc_leg_worker"

    def __init__(self, bot: int, settings: BotSettings, log: Path) -> None:
        super().__init__(f"aiortc-{bot}", settings, log)
        self.arrivals: dict[int, Arrivals] = {}
        self._bot = bot

    def make_leg(self) -> tuple[int, Arrivals]:
        """Return the number of a new leg, and what will be known of it."""
        number = len(self.arrivals) + 1
        self.arrivals[number] = Arrivals()
        return number, self.arrivals[number]

    async def leg_order(self, do: str, leg: int, **values: object) -> Any:
        """Have something done to a leg."""
        return await self.order(do, bot=leg, participant=self._bot, **values)

    def _event(self, message: Json) -> None:
        arrivals = self.arrivals.get(message.get("leg", 0))
        if arrivals is not None:
            if message["event"] == "entered":
                arrivals.entered((message["sender"], message["kind"]), message["unix_ns"])
            elif message["event"] == "closed":
                arrivals.fail(str(message["reason"]))
        super()._event({**message, "bot": self._bot})


class AiortcServerLeg(AiortcBot):
    """An aiortc leg to a media server."""

    def __init__(self, number: int, process: CallBotProcess, arrivals: Arrivals) -> None:
        super().__init__(number, process)
        self.arrivals = arrivals
        self._closed = False
        self._legs = process

    async def prefer(self) -> None:
        """Take the bot's tracks from this leg, as soon as they can be decoded."""
        await self._legs.leg_order("prefer", self.number)

    async def close(self) -> None:
        """Stop its media. Idempotent."""
        if not self._closed:
            self._closed = True
            await super().close()


class AiortcPeerLeg:
    """An aiortc leg to a peer, without a server."""

    def __init__(self, number: int, process: CallBotProcess, arrivals: Arrivals, description: str) -> None:
        self.arrivals = arrivals
        self.description = description
        self._number = number
        self._process = process
        self._closed = False

    async def accept(self, answer: str) -> None:
        """Take the answer to its offer, and connect."""
        await self._process.leg_order("accept", self._number, answer=answer)

    async def add_candidate(self, candidate: str) -> None:
        """Take a candidate that came later."""
        if candidate:
            await self._process.leg_order("candidate", self._number, candidate=candidate)

    async def prefer(self) -> None:
        """Take the bot's tracks from this leg, as soon as they can be decoded."""
        await self._process.leg_order("prefer", self._number)

    async def close(self) -> None:
        """Stop its media. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._process.leg_order("close", self._number)


class AiortcCallBot:
    """A bot whose legs are aiortc's."""

    kind_of_bot = "aiortc"
    decodes = True

    def __init__(self, number: int, process: CallBotProcess) -> None:
        self.number = number
        self.generator = process.name
        self._process = process
        self._ice_servers: list[Json] = []
        self._legs: list[AiortcServerLeg | AiortcPeerLeg] = []

    def use_ice_servers(self, servers: Sequence[Json]) -> None:
        """Take note of the STUN and TURN servers for legs that are made from now on."""
        self._ice_servers = list(servers)

    async def server_leg(self) -> ServerLeg:
        """Make a leg to a media server; nothing is connected yet."""
        number, arrivals = self._process.make_leg()
        await self._process.leg_order("server_leg", number, ice_servers=self._ice_servers)
        leg = AiortcServerLeg(number, self._process, arrivals)
        self._legs.append(leg)
        return leg

    async def offer(self, peer: int) -> PeerLeg:
        """Make a leg to this peer, with an offer."""
        return await self._peer_leg(peer, None)

    async def answer(self, peer: int, offer: str) -> PeerLeg:
        """Make a leg to this peer that answers an offer, and connect."""
        return await self._peer_leg(peer, offer)

    async def impair(self, lost: bool) -> None:
        """Not possible for aiortc bots while they are in a call.

        Raises:
            BotError: Always.
        """
        raise BotError("aiortc bots cannot be cut off from the network; use native ones")

    async def mute(self, kind: Kind, *, muted: bool) -> None:
        """Not possible for aiortc bots.

        Raises:
            BotError: Always.
        """
        raise BotError("aiortc bots cannot be muted; use native ones")

    async def hush(self, hushed: bool) -> None:
        """Not possible for aiortc bots.

        Raises:
            BotError: Always.
        """
        raise BotError("aiortc bots have no discontinuous transmission; use native ones")

    async def close(self) -> None:
        """End all of its legs. Idempotent."""
        for leg in self._legs:
            await leg.close()
        self._legs.clear()

    async def _peer_leg(self, peer: int, offer: str | None) -> PeerLeg:
        number, arrivals = self._process.make_leg()
        description = await self._process.leg_order(
            "peer_leg", number, peer=peer, offer=offer, ice_servers=self._ice_servers
        )
        leg = AiortcPeerLeg(number, self._process, arrivals, str(description))
        self._legs.append(leg)
        return leg


class AiortcCallBotGenerator(AiortcGenerator):
    """All aiortc bots of calls of the gateway."""

    async def spawn_call_bots(self, numbers: Sequence[int]) -> Sequence[CallBot]:
        """Make bots with these numbers, each in its own process."""
        bots: list[CallBot] = []
        for number in numbers:
            child = CallBotProcess(number, self._settings, self._logs / f"aiortc-{number}.log")
            self._children.append(child)
            await child.start()
            bots.append(AiortcCallBot(number, child))
        return bots
