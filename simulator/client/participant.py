"""One participant of a load test: a bot's media joined to its signalling.

Drives a join from the first request until all wanted streams were asked for, and goes on consuming those who come
later. Ramp and timing of the whole call are in runs/group.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from simulator.client.bot import Bot, EventSink
from simulator.client.media_server import (
    Announcement,
    Direction,
    Joined,
    Json,
    ParticipantSession,
    transport_id,
)
from simulator.client.subscriber import Subscriber
from simulator.errors import first_error
from simulator.samples.schema import Kind

GATHER_S = 0.2
"""How long announcements are gathered into one consume request."""


class Participant:
    """A bot in a call. :meth:`join` first, :meth:`consume_forever` beside it, :meth:`leave` at the end."""

    started_ns = 0
    """When its join began."""
    signalled_ns = 0
    """When the server knew all it will send; 0 before."""

    def __init__(
        self,
        bot: Bot,
        session: ParticipantSession,
        *,
        kinds: Sequence[Kind],
        sender_of: Callable[[str], int | None],
        wants: Callable[[int], bool],
        on_event: EventSink,
    ) -> None:
        self.bot = bot
        self.session = session
        self._kinds = kinds
        self._sender_of = sender_of
        self._wants = wants
        self._on_event = on_event
        self._joined: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._consuming = Subscriber(bot, session, sender_of=self._wanted)
        session.on_producer_closed = lambda producer: self._note("producer-closed", producer=producer)
        session.on_disconnect = lambda reason: self._note("disconnected", reason=reason)

    async def join(self) -> None:
        """Enter the call and send.

        Raises:
            SimulatorError: The server refused, or the bot could not.
        """
        self.started_ns = time.time_ns()
        try:
            joined = await self.session.join()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(joined))
                group.create_task(self._send(joined))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        self.signalled_ns = time.time_ns()
        self._note("joined", ms=(self.signalled_ns - self.started_ns) / 1e6)

    async def consume_forever(self) -> None:
        """Ask for the streams of everyone who is announced, in batches, until cancelled."""
        capabilities = await self._joined
        while True:
            batch = await self._consuming.batch(GATHER_S)
            began_ns = time.time_ns()
            if streams := await self._consuming.take(batch, capabilities):
                self._note("consumed", streams=streams, ms=(time.time_ns() - began_ns) / 1e6)

    async def leave(self) -> None:
        """Leave the call and stop all media, as far as they still can be. Never fails; troubles are noted."""
        for step in (self.session.leave, self.bot.close, self.session.close):
            try:
                await step()
            except Exception as error:  # whatever is broken by now must not keep the others from leaving
                self._note("leave-failed", error=str(error))

    async def _receive(self, joined: Joined) -> None:
        await self._connect("recv", joined.recv_transport)
        if not self._joined.done():
            self._joined.set_result(self.bot.capabilities(joined.rtp_capabilities))

    async def _send(self, joined: Joined) -> None:
        transport = joined.send_transport
        await self._connect("send", transport)
        for kind in self._kinds:
            await self.session.produce(transport_id(transport), kind, await self.bot.produce(kind))
        for kind in self._kinds:
            await self.bot.start_sending(kind)

    async def _connect(self, which: Direction, transport: Json) -> None:
        dtls = await self.bot.connect(which, transport)
        await self.session.connect(transport_id(transport), dtls)

    def _wanted(self, announcement: Announcement) -> int | None:
        sender = self._sender_of(announcement.participant_id)
        return sender if sender is not None and self._wants(sender) else None

    def _note(self, event: str, **values: object) -> None:
        self._on_event(event, time.time_ns(), bot=self.bot.number, **values)
