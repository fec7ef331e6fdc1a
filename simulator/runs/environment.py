"""Running a scenario that goes through the gateway: stack, people, collecting, and the play itself.

What the people do is in runs/switch.py and runs/churn.py; what one person does is in client/caller.py. What is written is judged
afterwards by report/write.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from simulator.bots.aiortc_legs import AiortcCallBotGenerator
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.client.bot import BotSettings
from simulator.client.caller import Caller, MediaServers, ParticipantIndex, SharedContext, user_name
from simulator.client.gateway import GatewaySocket, user_token
from simulator.client.legs import CallBot, CallBotGenerator
from simulator.client.media_server import Rest
from simulator.client.participant import first_error
from simulator.errors import SimulatorError, StackError, UsageError
from simulator.report.live import Progress, Watcher
from simulator.runs.base import TICK_S, Run, note_server
from simulator.runs.churn import SETTINGS as CHURN_SETTINGS
from simulator.runs.churn import churn
from simulator.runs.switch import storm, switch
from simulator.samples.end_state import FILE as END_STATE
from simulator.samples.recorder import Recorder
from simulator.scenario import Scenario
from simulator.stack.full import EVENT_LOG, SWITCH_DEADLINE_S, GatewayStack
from simulator.stack.inspector import StackInspector
from simulator.stack.media_server import server_figures
from simulator.stack.watchdog import Watchdog

_TURN_SETTINGS = ("TURN_SERVERS", "TURN_SECRET")
_DISMISS_TIMEOUT_S = 10.0


class CallEnvironment:
    """What a play has to work with: a stack, people, and callers to put them into calls."""

    def __init__(self, scenario: Scenario, stack: GatewayStack, note: Recorder, watcher: Watcher) -> None:
        self.scenario = scenario
        self.stack = stack
        self.bots: list[CallBot] = []
        self.progress = Progress(expected=0, people=scenario.participants.count, steady=False)
        self.dropped_calls = 0
        self.conversations: list[str] = []
        """In which there were calls."""
        self._watcher = watcher
        self._recorder = note
        self._callers: dict[Caller, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._shared: SharedContext | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep what callers share while the play goes on; whoever is still in a call leaves at the end."""
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
        """Write down that something happened."""
        self._recorder.event(name, unix_ns, **values)

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Show what the play is doing."""
        self._watcher.phase(name, duration_s)

    def caller(self, bot: CallBot, conversation: str) -> Caller:
        """Make somebody ready to call in a conversation."""
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
        """Count the streams that should flow now, as far as people know of each other."""
        return sum(len(caller.others) for caller in self._callers) * len(self.scenario.media.kinds)

    def death(self, what: str) -> None:
        """Write down that something is killed now."""
        self._recorder.add("deaths", [(time.time_ns(), what)])
        self.note("death", what=what)

    async def dismiss(self, caller: Caller, *, vanish: bool = False) -> None:
        """Let somebody leave, or be gone without a word, and write down what they lived through."""
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
            # One person's trouble is the call's, not the run's.
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
                # One that was running when its person left was theirs to break off.
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


Play = Callable[[CallEnvironment], Coroutine[Any, Any, None]]
"""What happens in a run."""


class CallRun(Run):
    """Calls of the gateway: people come, go and see each other as the scenario's play says."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        watcher: Watcher | None = None,
        play: Play | None = None,
    ) -> None:
        """Prepare a run of what the scenario's pattern says, or of a play of one's own.

        Raises:
            UsageError: Only relays may be used and the environment names none.
        """
        super().__init__(scenario, state=state, out=out, watcher=watcher)
        if scenario.participants.relay_only and not all(_is_set(name) for name in _TURN_SETTINGS):
            raise UsageError(
                "only relays may be used, and there is no TURN server: set MEESHY_TURN_SERVERS and MEESHY_TURN_SECRET, "
                "which the gateway of the run reads"
            )
        self._play = play or {"switch": switch, "storm": storm, "churn": churn}[scenario.pattern]

    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        self._watcher.phase("starting media server and gateway")
        more = CHURN_SETTINGS if self._scenario.pattern == "churn" else {}
        stack = GatewayStack(
            directory,
            prewarm=self._scenario.switching.prewarm,
            standby=self._scenario.pattern == "churn" and self._scenario.churn.chaos > 0,
            more=more,
        )
        async with contextlib.AsyncExitStack() as things:
            await things.enter_async_context(stack)
            await stack.start()
            inspector = StackInspector(stack)
            await inspector.before()
            for pid in stack.pids:
                watchdog.watch_process(pid)
            rest = await things.enter_async_context(Rest(stack.media.url))
            settings = BotSettings(
                seed=self._scenario.seed,
                network=self._scenario.network,
                clip=clip,
                bind="127.0.0.1",
                on_event=recorder.event,
                synthetic=self._scenario.media.aiortc == "synthetic",
                bots_per_process=1,
                relay_only=self._scenario.participants.relay_only,
            )
            environment = CallEnvironment(self._scenario, stack, recorder, self._watcher)
            generators: list[CallBotGenerator] = []
            numbers = range(1, self._scenario.participants.count + 1)
            observers = self._scenario.participants.aiortc_count()
            natives, others = numbers[: len(numbers) - observers], numbers[len(numbers) - observers :]
            if others:  # before the native threads are there: a child is born from a process without any
                aiortc = await things.enter_async_context(AiortcCallBotGenerator(settings, directory))
                generators.append(aiortc)
                environment.bots += await aiortc.spawn_call_bots(others)
            if natives:
                native = await things.enter_async_context(NativeCallBotGenerator(settings))
                generators.append(native)
                environment.bots += await native.spawn_call_bots(natives)
            environment.bots.sort(key=lambda bot: bot.number)
            recorder.add(
                "participants",
                [
                    (p.number, user_name(p.number), "", p.kind_of_bot, p.generator, p.decodes)
                    for p in environment.bots
                ],
            )
            await self._run_pattern(environment, recorder, generators, rest)
            if not self._context.aborted:
                self._watcher.phase("looking for what is left behind")
                found = await inspector.after(environment.conversations)
                recorder.write_text(END_STATE, found.model_dump_json(indent=2) + "\n")
        event_log = directory / EVENT_LOG
        if await asyncio.to_thread(event_log.exists) and (complaint := await _interleaving(event_log)):
            self._context.aborted.append(complaint)

    async def _run_pattern(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        generators: Sequence[CallBotGenerator],
        rest: Rest,
    ) -> None:
        watching = asyncio.create_task(self._watch(environment, recorder, generators, rest))
        self._context.window_start_ns = time.time_ns()
        try:
            async with environment.opened():
                playing = asyncio.create_task(self._play(environment))
                done, _ = await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
                self._context.window_end_ns = time.time_ns()
                try:
                    if playing not in done:
                        playing.cancel()
                        await asyncio.gather(playing, return_exceptions=True)
                    await next(iter(done))
                except SimulatorError as error:
                    self._context.aborted.append(str(error))
                    recorder.event("aborted", reason=str(error))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self._context.dropped_calls = environment.dropped_calls
        # What arrived since the last look.
        await self._collect(recorder, generators, -1)

    async def _watch(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        generators: Sequence[CallBotGenerator],
        rest: Rest,
    ) -> None:
        """Collect once a second until cancelled; ends with an error when something broke on its own."""
        for tick in itertools.count():
            collected = await self._collect(recorder, generators, tick)
            figures = await server_figures(rest, environment.stack.credentials.for_service())
            note_server(recorder, tick, figures)
            environment.progress.update_calls(figures, collected, environment.expected_streams())
            self._watcher.show(environment.progress)
            if complaint := environment.stack.complaint():
                raise StackError(complaint)
            if problems := [text for generator in generators for text in generator.failures()]:
                raise SimulatorError("; ".join(problems))
            await asyncio.sleep(TICK_S)

    async def _collect(
        self, recorder: Recorder, generators: Iterable[CallBotGenerator], tick: int
    ) -> list[Mapping[str, Sequence[pa.RecordBatch]]]:
        collected = [await generator.collect(tick) for generator in generators]
        for part in collected:
            for table, batches in part.items():
                for batch in batches:
                    # Compression would hold up the event loop, and with it the signalling.
                    await asyncio.to_thread(recorder.add_batch, table, batch)
        return collected


def _is_set(setting: str) -> bool:
    return any(os.environ.get(name) for name in (setting, f"MEESHY_{setting}"))


async def _interleaving(event_log: Path) -> str | None:
    """Say what the gateway's own checker finds wrong with its log of events: changes of one call that overlap."""
    checker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeshy_sfu", "gateway", "check-events", str(event_log)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await checker.communicate()
    return None if checker.returncode == 0 else f"the gateway's log of events: {said.decode().strip()[:2000]}"
