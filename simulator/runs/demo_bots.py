"""Bots for whoever calls alone: they join the calls that others begin in one conversation, and leave when none of these is left.

Used by `meeshy serve --bots`; measures nothing. They send video and talk in turns, and receive nothing: what a visitor sends
bears no stamps, so there would be nothing to wait for. What one of them does in a call is in client/caller.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.bots.clip import ensure_clip
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.bots.talk_turns import TalkTurns
from simulator.client.bot import BotSettings
from simulator.client.call_records import MediaServers, SharedContext
from simulator.client.caller import Caller
from simulator.client.gateway import RECONNECTED, TOKEN_LIFETIME_S, GatewaySocket, user_token
from simulator.client.legs import CallBot
from simulator.client.media_server import Rest
from simulator.client.visitors import VisitorIndex
from simulator.errors import SignalingError
from simulator.samples.schema import KINDS
from simulator.scenario import Network

logger = logging.getLogger(__name__)

NAMES = ("Ada", "Bruno", "Chloé", "Dmitri", "Emine", "Femi", "Grace", "Hiro", "Inès", "Jamal", "Kofi", "Lena")
LOOKOUT = "bots"
"""The user who listens for calls; never in one."""
JOIN_INTERVAL_S = 0.2
"""Between two joins, so that they are seen to come."""
LOOK_S = 0.2
"""How often it is looked whether a visitor is left, and who talks."""
RETRY_S = 0.5
LEAVE_S = 0.3
"""What saying goodbye may take; then sockets just close."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bots are."""

    gateway_url: str
    secret: str
    """Shared HS256 secret."""
    conversation: str
    bind: str
    """Local address of their media."""
    cache: Path
    """Where the clip that they send is kept."""


def bot_name(index: int) -> str:
    """Return the name that others see of a bot, 0 being the first."""
    again = index // len(NAMES)
    return f"{NAMES[index % len(NAMES)]}{f' {again + 1}' if again else ''} (bot)"


class DemoBots:
    """A number of bots in one conversation's calls, one call after the other."""

    def __init__(self, place: Place, count: int, *, rng: random.Random | None = None) -> None:
        self._place = place
        self._count = count
        self._rng = rng or random.Random()
        self._clip = ""

    async def run(self, *, on_ready: Callable[[], None]) -> None:
        """Join calls until cancelled.

        Args:
            on_ready: Called once calls are listened for.

        Raises:
            ClipError: There is nothing that they could send.
        """
        self._clip = str(await asyncio.to_thread(ensure_clip, self._place.cache))
        while True:
            try:
                async with self._lookout() as (socket, token):
                    on_ready()
                    async with asyncio.timeout(TOKEN_LIFETIME_S / 2):
                        await self._listen(socket, token)
            except (TimeoutError, SignalingError) as error:
                # the gateway is not there yet, or the token is to be renewed
                logger.debug("bots look for calls again: %s", error)
            await asyncio.sleep(RETRY_S)

    @contextlib.asynccontextmanager
    async def _lookout(self) -> AsyncIterator[tuple[GatewaySocket, str]]:
        token = user_token(self._place.secret, LOOKOUT, self._place.conversation)
        socket = GatewaySocket(self._place.gateway_url, token)
        try:
            await socket.open()
            yield socket, token
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(socket.close(), LEAVE_S)

    async def _listen(self, socket: GatewaySocket, token: str) -> None:
        """Attend every call of the conversation, the one that goes on already first."""
        call_id = await self._live_call(token)
        while True:
            if call_id is not None:
                await self._attend_safely(call_id)
            message = await socket.messages.get()
            # a call may have begun while the connection was lost
            news = message.name == "call:initiated"
            call_id = str(message.payload.get("callId")) if news else None
            if message.name == RECONNECTED:
                call_id = await self._live_call(token)

    async def _attend_safely(self, call_id: str) -> None:
        """Attend a call; whatever goes wrong there, the next one is attended."""
        try:
            await self._attend(call_id)
        except* Exception:
            logger.exception("the bots have left call %s", call_id)

    async def _live_call(self, token: str) -> str | None:
        async with Rest(self._place.gateway_url) as rest:
            path = f"/api/conversations/{self._place.conversation}/active-call"
            call = (await rest.request("GET", path, token)).get("call")
        return str(call["callId"]) if isinstance(call, dict) else None

    async def _attend(self, call_id: str) -> None:
        """Be in a call for as long as a visitor is in it."""
        settings = BotSettings(
            seed=self._rng.randrange(2**32),
            network=Network(),
            clip=self._clip,
            bind=self._place.bind,
            on_event=_ignore,
            # or silence could only be made by ending the stream
            dtx=True,
        )
        async with NativeCallBotGenerator(settings) as generator, MediaServers() as servers:
            bots = await generator.spawn_call_bots(range(1, self._count + 1))
            stay = _Stay(self._place, bots, servers, random.Random(self._rng.random()))
            async with asyncio.TaskGroup() as group:
                collecting = group.create_task(_discard(generator))
                try:
                    await stay.last(call_id, group)
                finally:
                    collecting.cancel()
                    await asyncio.shield(stay.leave())


class _Stay:
    """The bots in one call."""

    def __init__(
        self, place: Place, bots: Sequence[CallBot], servers: MediaServers, rng: random.Random
    ) -> None:
        users = {f"bot-{bot.number}": bot.number for bot in bots}
        self._index = VisitorIndex(users)
        self._turns = TalkTurns(rng)
        self._talks: CallBot | None = None
        self._callers: list[Caller] = []
        self._running: dict[Caller, asyncio.Task[None]] = {}
        for user, bot in zip(users, bots, strict=True):
            token = functools.partial(_token, place, user, bot_name(bot.number - 1))
            # each knows of itself what it sends; of others there is nothing to wait for
            shared = SharedContext(self._index, servers, _note, kinds=(), exceptions={bot.number: KINDS})
            self._callers.append(Caller(bot, GatewaySocket(place.gateway_url, token), shared))

    async def last(self, call_id: str, group: asyncio.TaskGroup) -> None:
        """Join, and return when no visitor is left or the call has ended."""
        for caller in self._callers:
            await caller.bot.hush(True)
        joined: list[Caller] = []
        next_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if len(joined) < len(self._callers) and now_s >= next_s:
                caller = self._callers[len(joined)]
                self._running[caller] = group.create_task(_run(caller))
                try:
                    await caller.join(call_id)
                    joined.append(caller)
                except SignalingError as error:
                    logger.info("no more bots join call %s: %s", call_id, error)
                    del self._callers[len(joined) :]
                next_s = now_s + JOIN_INTERVAL_S
            present = [caller for caller in joined if caller.record.ended is None]
            if not any(self._index.visitors(caller.other_participants) for caller in present):
                return
            await self._talk(present, now_s)
            await asyncio.sleep(LOOK_S)

    async def _talk(self, present: list[Caller], now_s: float) -> None:
        speaker = self._turns.speaker(len(present), now_s=now_s)
        talks = None if speaker is None else present[speaker].bot
        if talks is self._talks:
            return
        for bot, quiet in ((self._talks, True), (talks, False)):
            if bot is not None:
                await bot.hush(quiet)
        self._talks = talks

    async def leave(self) -> None:
        """Leave, all at once. Idempotent; never fails."""
        running, self._running = self._running, {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await asyncio.gather(*(caller.leave() for caller in running), return_exceptions=True)
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
        await asyncio.gather(*(caller.bot.close() for caller in running), return_exceptions=True)


async def _run(caller: Caller) -> None:
    try:
        await caller.run()
    except ExceptionGroup:
        logger.exception("bot %d is out of its call", caller.bot.number)


async def _discard(generator: NativeCallBotGenerator) -> None:
    """Take what the pool has measured and forget it: nothing is measured here."""
    tick = 0
    while True:
        await asyncio.sleep(1.0)
        tick += 1
        await generator.collect(tick)


async def _token(place: Place, user: str, name: str) -> str:
    return user_token(place.secret, user, place.conversation, name=name)


def _ignore(*_: object, **__: object) -> None:
    """Ignore what is of interest in measured runs only."""


def _note(name: str, _: int | None = None, **values: object) -> None:
    logger.debug("%s %s", name, values)
