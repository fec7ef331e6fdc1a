"""What patterns of the gateway work with: a running stack, bots, and callers that take the bots into calls.

Who joins and leaves when is decided by the patterns (runs/switch.py and others); what one caller does is in
client/caller.py; starting, recording and ending a run are in runs/calls.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext, user_name
from simulator.client.caller import Caller
from simulator.client.gateway import GatewaySocket, user_token
from simulator.client.legs import CallBot
from simulator.errors import first_error
from simulator.report.live import Progress, Watcher
from simulator.samples.recorder import Recorder
from simulator.scenario import Scenario
from simulator.stack.full import SWITCH_DEADLINE_S, GatewayStack

_DISMISS_TIMEOUT_S = 10.0


class CallEnvironment:
    """What a pattern works with: the stack, the bots, and the callers that take them into calls."""

    def __init__(self, scenario: Scenario, stack: GatewayStack, recorder: Recorder, watcher: Watcher) -> None:
        self.scenario = scenario
        self.stack = stack
        self.bots: list[CallBot] = []
        """All participants of the run, by number."""
        self.progress = Progress(expected=0, participants=scenario.participants.count, steady=False)
        self.dropped_calls = 0
        self.conversations: list[str] = []
        """All in which a caller was made."""
        self._watcher = watcher
        self._recorder = recorder
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
                kinds=self.scenario.media.kinds,
                switch_deadline_s=SWITCH_DEADLINE_S,
            )
            async with asyncio.TaskGroup() as self._group:
                try:
                    yield
                finally:
                    await asyncio.shield(self._clear())

    def note(self, name: str, unix_ns: int | None = None, **values: object) -> None:
        """Record an event."""
        self._recorder.event(name, unix_ns, **values)

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Show what the pattern is doing, and how long that takes if it is known."""
        self._watcher.phase(name, duration_s)

    def caller(self, bot: CallBot, conversation: str) -> Caller:
        """Prepare a caller for a bot in a conversation; it joins when it is asked to."""
        if self._group is None or self._shared is None:
            raise RuntimeError("the environment is not open")
        if conversation not in self.conversations:
            self.conversations.append(conversation)
        token = user_token(self.stack.secret, user_name(bot.number), conversation)
        caller = Caller(bot, GatewaySocket(self.stack.gateway.url, token), self._shared)
        self._callers[caller] = self._group.create_task(self._live(caller))
        self.progress.joined = len(self._callers)
        return caller

    def expected_streams(self) -> int:
        """Count the streams that should flow now, as far as the callers know of each other."""
        return sum(len(caller.others) for caller in self._callers) * len(self.scenario.media.kinds)

    def fault(self, what: str) -> None:
        """Record that a fault is injected now: a client, worker, media server or gateway is killed."""
        self._recorder.add("deaths", [(time.time_ns(), what)])
        self.note("death", what=what)

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
        self.progress.joined = len(self._callers)
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
        for caller in list(self._callers):
            await self.dismiss(caller)

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
