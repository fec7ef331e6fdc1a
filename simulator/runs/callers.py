"""Callers of a run: participants whom a run takes into calls of a gateway, and what they have recorded.

Runs them until they are dismissed. Who joins and leaves when, and which gateway it is, is decided by whoever owns them: a
pattern of `meeshy simulate` (runs/environment.py), or the users of a locust suite (loadtests/).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext, user_name
from simulator.client.caller import Caller
from simulator.client.gateway import GatewaySocket
from simulator.client.legs import CallBot
from simulator.client.tokens import SignedTokens, UserTokens
from simulator.errors import first_error
from simulator.samples.recorder import Recorder
from simulator.samples.schema import KINDS, Kind

_DISMISS_TIMEOUT_S = 10.0
_CALLS_AT_ONCE = 16
"""How many calls end at once when a run does."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """A gateway, and how its users are admitted."""

    url: str
    secret: str
    """Shared HS256 secret; each participant gets a token of its own."""
    switch_deadline_s: float
    """The gateway's setting of that name; a change was decided this long before its deadline."""
    tokens: UserTokens | None = None
    """What makes the tokens instead of the secret."""


class Callers:
    """Participants in calls of one gateway. Open it with :meth:`opened`; at its end all leave."""

    def __init__(self, gateway: GatewayAccess, recorder: Recorder, *, kinds: Sequence[Kind]) -> None:
        self.dropped_calls = 0
        self.media_servers: MediaServers | None = None
        """Those that the gateway has named; None before the callers are open."""
        self.conversations: list[str] = []
        """All in which a caller was made."""
        self._gateway = gateway
        self._recorder = recorder
        self.exceptions: dict[int, tuple[Kind, ...]] = {}
        """What those participants send, by number, who do not send all kinds; set before their callers are made."""
        self.silent: dict[int, set[Kind]] = {}
        """What participants have switched off for now, by number."""
        self._kinds = tuple(kinds)
        self._callers: dict[Caller, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._shared: SharedContext | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Run callers until the block ends; those still in a call leave then."""
        async with MediaServers() as servers:
            self._shared = SharedContext(
                ParticipantIndex(),
                servers,
                self.note,
                kinds=self._kinds,
                switch_deadline_s=self._gateway.switch_deadline_s,
                exceptions=self.exceptions,
                silent=self.silent,
            )
            self.media_servers = servers
            async with asyncio.TaskGroup() as self._group:
                try:
                    yield
                finally:
                    await asyncio.shield(self._clear())

    def note(self, name: str, unix_ns: int | None = None, **values: object) -> None:
        """Record an event."""
        self._recorder.event(name, unix_ns, **values)

    def caller(self, bot: CallBot, conversation: str) -> Caller:
        """Prepare a caller for a bot in a conversation; it joins when it is asked to."""
        if self._group is None or self._shared is None:
            raise RuntimeError("callers are made while they are open")
        if conversation not in self.conversations:
            self.conversations.append(conversation)
        tokens = self._gateway.tokens or SignedTokens(self._gateway.secret)
        token = functools.partial(tokens.token, user_name(bot.number), conversation)
        caller = Caller(bot, GatewaySocket(self._gateway.url, token), self._shared)
        self._callers[caller] = self._group.create_task(self._live(caller))
        return caller

    @property
    def present(self) -> tuple[Caller, ...]:
        """All callers that were made and not dismissed."""
        return tuple(self._callers)

    def expected_streams(self) -> int:
        """Count the streams that should flow now, as far as the callers know of each other."""
        return len(self.streams())

    def streams(self) -> list[tuple[int, int, int]]:
        """List the streams that should flow now: receiver, sender and number of the kind."""
        return [
            (caller.bot.number, sender, KINDS.index(kind))
            for caller in self._callers
            for sender in caller.others
            for kind in self.exceptions.get(sender, self._kinds)
            if kind not in self.silent.get(sender, set())
        ]

    async def dismiss(self, caller: Caller, *, vanish: bool = False) -> None:
        """Let a caller leave, or vanish without leaving, and record its joins and changes of mode."""
        task = self._callers.pop(caller, None)
        if task is None:
            return
        for arrival in caller.record.arrivals:
            arrival.left_ns = time.time_ns()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISMISS_TIMEOUT_S):
                await (caller.vanish() if vanish else caller.leave())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await caller.bot.close()
        self._write(caller)

    async def _live(self, caller: Caller) -> None:
        try:
            await caller.run()
        except BaseExceptionGroup as errors:
            if errors.split(asyncio.CancelledError)[1] is None:
                raise
            # The failure of one participant is a result of the run, not its end.
            error = first_error(errors)
            caller.record.ended = f"{type(error).__name__}: {error}"
            self.note("broken", bot=caller.bot.number, error=caller.record.ended)

    async def _clear(self) -> None:
        """Let all leave: those of one call one after the other, several calls at once."""
        calls: dict[str, list[Caller]] = {}
        for caller in self._callers:
            calls.setdefault(caller.call_id, []).append(caller)
        slots = asyncio.Semaphore(_CALLS_AT_ONCE)

        async def end(callers: list[Caller]) -> None:
            async with slots:
                for caller in callers:
                    await self.dismiss(caller)

        await asyncio.gather(*(end(callers) for callers in calls.values()))

    def _write(self, caller: Caller) -> None:
        record, number = caller.record, caller.bot.number
        if record.ended is not None:
            self.dropped_calls += 1
        self._recorder.add(
            "transitions",
            [
                (
                    number,
                    caller.call_id,
                    t.epoch,
                    t.old,
                    t.new,
                    t.reason,
                    t.prewarmed,
                    " ".join(map(str, t.peers)),
                    t.decided_ns,
                    t.told_ns,
                    t.media_ns,
                    t.confirmed_ns,
                    t.completed_ns,
                    t.success,
                    t.error,
                )
                for t in record.transitions
                # A change that was going on when the participant left was ended by leaving.
                if t.success is not None
            ],
        )
        self._recorder.add(
            "arrivals",
            [
                (number, caller.call_id, a.mode, a.started_ns, a.flowing_ns, a.left_ns or time.time_ns())
                for a in record.arrivals
            ],
        )
