"""One participant's session on the media server: joins, connects, produces and consumes, from token to media.

Joins a bot's media to the media server's signalling, in the group runs and in calls of the gateway. Who joins when is
decided in runs/group.py, and when a call builds, resumes and drops its session in client/server_path.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from simulator.client.bot import Bot, EventSink
from simulator.client.media_server import Direction, Joined, Json, ParticipantSession, transport_id
from simulator.client.subscriber import Subscriber
from simulator.errors import first_error
from simulator.samples.schema import Kind

BotT = TypeVar("BotT", bound=Bot)


def _ignore(*_: object, **__: object) -> None:
    """Ignore what no one listens to."""


class SfuSession(Generic[BotT]):
    """A bot in a room of the media server. :meth:`open` first, :meth:`consume_forever` beside it, :meth:`close` at the end."""

    started_ns = 0
    """When :meth:`open` began."""
    signalled_ns = 0
    """When the server knew all it will send; 0 before."""

    def __init__(
        self,
        bot: BotT,
        session: ParticipantSession,
        *,
        kinds: Sequence[Kind],
        sender_of: Callable[[str], int | None],
        gather_s: Callable[[int], float],
        room_id: str | None = None,
        on_event: EventSink = _ignore,
        on_room_closed: Callable[[str], None] = _ignore,
        on_disconnect: Callable[[str], None] = _ignore,
    ) -> None:
        """Listen to the session's events; nothing is asked of the server yet.

        Args:
            bot: Whose media it is.
            session: Its signalling.
            kinds: What it sends.
            sender_of: Number of the bot behind a participant; None for one whose streams are not wanted.
            gather_s: How long announcements are gathered into one consume request, by the streams received so far.
            room_id: Which room of the call this leads to; another one after the death of a server.
            on_event: Takes what happens, for events.jsonl.
            on_room_closed: Called with the reason when the server closes the room.
            on_disconnect: Called with the reason when the socket breaks off.
        """
        self.bot = bot
        self.room_id = room_id
        self.transports: dict[Direction, str] = {}
        self.producers: dict[Kind, str] = {}
        self.live = False
        """It was told to send."""
        self.gone: str | None = None
        """Why its room is closed."""
        self._session = session
        self._kinds = tuple(kinds)
        self._gather_s = gather_s
        self._on_event = on_event
        self._on_room_closed = on_room_closed
        self._on_disconnect = on_disconnect
        self._capabilities: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._closed = False
        self._subscriber = Subscriber(bot, session, sender_of=lambda a: sender_of(a.participant_id))
        session.on_producer_closed = lambda producer: self._note("producer-closed", producer=producer)
        session.on_room_closed = self._room_closed
        session.on_disconnect = self._disconnected

    @property
    def is_open(self) -> bool:
        """Whether the server knows all it will send, which may be nothing."""
        return self.signalled_ns > 0

    async def open(self, *, paused: bool = False) -> None:
        """Connect both transports and produce; paused producers send from :meth:`go_live` on.

        Raises:
            SimulatorError: The server refused or cannot be reached, or the bot could not.
        """
        self.started_ns = time.time_ns()
        joined = await self._session.join()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(joined))
                group.create_task(self._produce(joined, paused=paused))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        self.signalled_ns = time.time_ns()
        self._note("joined", ms=(self.signalled_ns - self.started_ns) / 1e6)

    async def go_live(self) -> None:
        """Send, if it does not yet.

        Raises:
            SimulatorError: The server refused, or cannot be reached.
        """
        if not self.live:
            await asyncio.gather(*(self._session.resume_producer(p) for p in self.producers.values()))
            await self._send()

    async def pause(self) -> None:
        """Pause all producers on the server; the bot goes on sending.

        Raises:
            SimulatorError: The server refused, or cannot be reached.
        """
        await asyncio.gather(*(self._session.pause_producer(p) for p in self.producers.values()))

    async def resume(self) -> None:
        """Resume all producers.

        Raises:
            SimulatorError: The server refused, or cannot be reached.
        """
        await asyncio.gather(*(self._session.resume_producer(p) for p in self.producers.values()))

    async def consume_forever(self) -> None:
        """Ask for the streams of everyone who is announced, in batches, until cancelled."""
        capabilities = await self._capabilities
        while True:
            batch = await self._subscriber.batch(self._gather_s(self._subscriber.streams))
            began_ns = time.time_ns()
            if streams := await self._subscriber.take(batch, capabilities):
                self._note("consumed", streams=streams, ms=(time.time_ns() - began_ns) / 1e6)

    async def close(self, *, leave: bool = True) -> None:
        """End it: leave the room unless that goes anyway, and stop all media. Never fails; troubles are noted. Idempotent."""
        if self._closed:
            return
        self._closed = True
        steps: list[Callable[[], Awaitable[None]]] = [self.bot.close, self._session.close]
        if leave and self.gone is None:
            steps.insert(0, self._session.leave)
        for step in steps:
            try:
                await step()
            except Exception as error:  # whatever is broken by now must not keep the others from leaving
                self._note("leave-failed", error=str(error))

    async def _receive(self, joined: Joined) -> None:
        await self._connect("recv", joined.recv_transport)
        if not self._capabilities.done():
            self._capabilities.set_result(self.bot.capabilities(joined.rtp_capabilities))

    async def _produce(self, joined: Joined, *, paused: bool) -> None:
        await self._connect("send", joined.send_transport)
        offered = [(kind, await self.bot.produce(kind)) for kind in self._kinds]
        made = await asyncio.gather(
            *(
                self._session.produce(self.transports["send"], kind, parameters, paused=paused)
                for kind, parameters in offered
            )
        )
        self.producers.update(zip(self._kinds, made, strict=True))
        if not paused:
            await self._send()

    async def _connect(self, which: Direction, transport: Json) -> None:
        self.transports[which] = transport_id(transport)
        await self._session.connect(self.transports[which], await self.bot.connect(which, transport))

    async def _send(self) -> None:
        self.live = True
        for kind in self._kinds:
            await self.bot.start_sending(kind)

    def _room_closed(self, reason: str) -> None:
        self.gone = reason or "closed"
        self._on_room_closed(reason)

    def _disconnected(self, reason: str) -> None:
        self._note("disconnected", reason=reason)
        self._on_disconnect(reason)

    def _note(self, event: str, **values: object) -> None:
        self._on_event(event, time.time_ns(), bot=self.bot.number, **values)
