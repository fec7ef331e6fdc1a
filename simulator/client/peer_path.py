"""The path of one participant straight to its peer: offers, answers, and the leg they lead to.

One leg at a time. When a call goes this way is decided in client/mode_changes.py.
"""

from __future__ import annotations

from simulator.client.call_requests import CallRequests
from simulator.client.call_state import CallState
from simulator.client.legs import CallBot, PeerLeg
from simulator.client.media_server import Json


class PeerPath:
    """A leg to one peer, or none."""

    leg: PeerLeg | None = None
    peer: str | None = None
    """The participant it leads to."""

    def __init__(self, bot: CallBot, requests: CallRequests, state: CallState) -> None:
        self._bot = bot
        self._requests = requests
        self._state = state

    async def offer(self, peer: str) -> None:
        """Make a leg to a peer in place of any other, and offer it.

        Raises:
            SimulatorError: The gateway refused, or the bot could not.
        """
        await self.drop()
        leg = await self._bot.offer(self._state.number_of(peer))
        await self._adopt(leg, peer)
        await self._requests.signal("offer", peer, leg.description)

    async def take(self, signal: Json) -> None:
        """Take what a peer sends: an offer makes a new leg, anything else belongs to the one there is.

        Raises:
            SimulatorError: The gateway refused, or the bot could not.
        """
        sender = str(signal["from"])
        kind = signal["type"]
        if kind == "offer":
            await self.drop()
            leg = await self._bot.answer(self._state.number_of(sender), str(signal["sdp"]))
            await self._adopt(leg, sender)
            await self._requests.signal("answer", sender, leg.description)
        elif self.leg is None or sender != self.peer:
            self._state.note("stray-signal", kind=kind, sender=sender)
        elif kind == "answer":
            await self.leg.accept(str(signal["sdp"]))
        elif kind == "ice-candidate":
            candidate = signal.get("candidate")
            text = candidate.get("candidate") if isinstance(candidate, dict) else candidate
            await self.leg.add_candidate(str(text or ""))

    async def leg_to(self, peer: str) -> PeerLeg:
        """Wait until there is a leg to a peer."""
        while self.leg is None or self.peer != peer:
            await self._state.change()
        return self.leg

    async def drop(self) -> None:
        """Close the leg. Idempotent."""
        leg, self.leg, self.peer = self.leg, None, None
        if leg is not None:
            await leg.close()

    def look(self) -> None:
        """Let those who wait for media check again."""
        if self.leg is not None:
            self.leg.arrivals.look()

    async def _adopt(self, leg: PeerLeg, peer: str) -> None:
        self.leg, self.peer = leg, peer
        leg.arrivals.watch(self._state.shown.entered)
        await leg.prefer()
        self._state.changed()
