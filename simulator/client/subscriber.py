"""Consuming in a call on a media server: announced producers are consumed in batches, and handed to the bot.

Who is wanted and how long announcements are gathered its owner says (client/sfu_session.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from simulator.client.bot import Bot, Incoming
from simulator.client.media_server import Announcement, Json, ParticipantSession


class Subscriber:
    """What one bot receives in one session; numbers its streams from 0 on."""

    streams = 0
    """How many were asked for and given."""

    def __init__(
        self, bot: Bot, session: ParticipantSession, *, sender_of: Callable[[Announcement], int | None]
    ) -> None:
        """Listen to the session's announcements.

        Args:
            bot: Who receives.
            session: Its place in the call.
            sender_of: Tells the number of the bot behind a producer; None for one that is not wanted.
        """
        self._bot = bot
        self._session = session
        self._sender_of = sender_of
        self._announced: asyncio.Queue[Announcement] = asyncio.Queue()
        session.on_producer = self._announced.put_nowait

    async def batch(self, gather_s: float) -> list[Announcement]:
        """Wait for an announcement, and for what else comes within this time: a join storm is a few requests."""
        batch = [await self._announced.get()]
        await asyncio.sleep(gather_s)
        while not self._announced.empty():
            batch.append(self._announced.get_nowait())
        return batch

    async def take(self, batch: Sequence[Announcement], capabilities: Json) -> int:
        """Ask for what is wanted of a batch and let it flow; returns how many streams that were.

        Raises:
            SimulatorError: The server refused, or the bot could not.
        """
        senders = {a.producer_id: sender for a in batch if (sender := self._sender_of(a)) is not None}
        if not senders:
            return 0
        early = self._bot.takes_early
        consumed = await self._session.consume(list(senders), capabilities, paused=not early)
        if not consumed:
            return 0
        streams = [
            Incoming(self.streams + i, senders[c.producer_id], c.kind, c.rtp_parameters)
            for i, c in enumerate(consumed)
        ]
        self.streams += len(streams)
        await self._bot.consume(streams)
        if not early:
            await self._session.resume([c.consumer_id for c in consumed])
        return len(streams)
