"""One participant's session on the media server in a call of the gateway: from token to media, at once or pre-warmed.

Joins a leg to the media server's signalling. When to build, resume and drop it is decided in client/caller.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from simulator.client.legs import ServerLeg
from simulator.client.media_server import Direction, Joined, ParticipantSession, Rest, transport_id
from simulator.client.subscriber import Subscriber
from simulator.errors import SimulatorError
from simulator.samples.schema import Kind

GATHER_S = 0.005
"""How long announcements are gathered into one consume request."""
CROWD = 8
CROWD_GATHER_S = 0.1
"""The same once so many streams are received: in a storm of joins one request for all beats one for each."""


class SfuSession:
    """A leg to one room of the media server. :meth:`open` first, :meth:`consume_forever` beside it."""

    def __init__(
        self,
        leg: ServerLeg,
        rest: Rest,
        *,
        call_id: str,
        participant_id: str,
        token: str,
        room_id: str | None,
        kinds: Sequence[Kind],
        sender_of: Callable[[str], int | None],
    ) -> None:
        self.leg = leg
        self.room_id = room_id
        """Which room of the call this leads to; another one after the death of a server."""
        self.transports: dict[Direction, str] = {}
        self.producers: dict[Kind, str] = {}
        self.live = False
        """It was told to send."""
        self.gone: str | None = None
        """Why its room is closed."""
        self.consuming: asyncio.Task[None] | None = None
        """The task that runs :meth:`consume_forever`; ends with the session."""
        self._session = ParticipantSession(rest, call_id, participant_id, token)
        self._kinds = tuple(kinds)
        self._joined: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        self._closed = False
        self._consuming = Subscriber(leg, self._session, sender_of=lambda a: sender_of(a.participant_id))
        self._session.on_room_closed = self._room_closed

    async def open(self, *, paused: bool) -> None:
        """Connect both transports and produce; paused producers send from :meth:`go_live` on.

        Raises:
            SimulatorError: The server refused, or cannot be reached.
        """
        joined = await self._session.join()
        await asyncio.gather(*(self._connect(which, joined) for which in ("send", "recv")))
        if not self._joined.done():
            self._joined.set_result(joined)
        offered = [(kind, await self.leg.produce(kind)) for kind in self._kinds]
        made = await asyncio.gather(
            *(
                self._session.produce(self.transports["send"], kind, parameters, paused=paused)
                for kind, parameters in offered
            )
        )
        self.producers.update(zip(self._kinds, made, strict=True))
        if not paused:
            await self._send()

    async def go_live(self) -> None:
        """Send, if it does not yet.

        Raises:
            SimulatorError: The server refused, or cannot be reached.
        """
        if not self.live:
            await asyncio.gather(*(self._session.resume_producer(p) for p in self.producers.values()))
            await self._send()

    async def consume_forever(self) -> None:
        """Ask for the streams of everyone who is announced, in batches, until cancelled."""
        joined = await self._joined
        capabilities = self.leg.capabilities(joined.rtp_capabilities)
        while True:
            few = self._consuming.streams < CROWD
            batch = await self._consuming.batch(GATHER_S if few else CROWD_GATHER_S)
            await self._consuming.take(batch, capabilities)

    async def close(self, *, leave: bool = True) -> None:
        """End it, with a goodbye to the server unless the room goes anyway. Never fails. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.consuming is not None:
            self.consuming.cancel()
        steps: list[Any] = [self.leg.close, self._session.close]
        if leave and self.gone is None:
            steps.insert(0, self._session.leave)
        for step in steps:
            with contextlib.suppress(SimulatorError, OSError, ValueError):
                await step()

    async def _connect(self, which: Direction, joined: Joined) -> None:
        transport = joined.send_transport if which == "send" else joined.recv_transport
        self.transports[which] = transport_id(transport)
        await self._session.connect(self.transports[which], await self.leg.connect(which, transport))

    async def _send(self) -> None:
        self.live = True
        for kind in self._kinds:
            await self.leg.start_sending(kind)

    def _room_closed(self, reason: str) -> None:
        self.gone = reason or "closed"
