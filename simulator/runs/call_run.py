"""Patterns of the call gateway, and their runs: starting stack and bots, recording, and ending.

A pattern says who joins and leaves when; it is handed a :class:`~simulator.runs.environment.CallEnvironment`. The recorded
samples are judged afterwards by report/write.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from simulator.bots.aiortc_legs import AiortcCallBotGenerator
from simulator.bots.native import threads_for
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.client.bot import BotSettings
from simulator.client.call_records import user_name
from simulator.client.legs import CallBotGenerator
from simulator.client.media_server import Rest
from simulator.client.routes import local_address
from simulator.client.server_figures import ServerFigures, server_figures
from simulator.errors import ScenarioError, SimulatorError, StackError, UsageError
from simulator.report.live import Watcher
from simulator.runs.base import TICK_S, Run, RunPattern, Target
from simulator.runs.callers import GatewayAccess
from simulator.runs.drain import PHASE as DRAIN_PHASE
from simulator.runs.drain import Collected, drain
from simulator.runs.environment import CallEnvironment
from simulator.runs.server_watch import Figures, ServerWatch
from simulator.samples.end_state import FILE as END_STATE
from simulator.samples.recorder import Recorder
from simulator.samples.schema import DRAINED, OUTSIDE
from simulator.scenario import Scenario
from simulator.stack.full import EVENT_LOG, SWITCH_DEADLINE_S, GatewayStack
from simulator.stack.inspector import StackInspector
from simulator.stack.watchdog import Watchdog

GATEWAY_USES = frozenset({"participants.relay_only", "switching.prewarm"})
"""What all patterns of the gateway use."""
_TURN_SETTINGS = ("TURN_SERVERS", "TURN_SECRET")


class CallPattern(RunPattern):
    """A pattern of calls of the gateway; each run has a gateway and a media server of its own.

    A pattern of yours is a subclass with a name, a description, :meth:`describe` and :meth:`run` (docs/extending.md).
    """

    uses = frozenset({"participants.count", *GATEWAY_USES})
    measures_joins: ClassVar[bool] = True
    """Whether the measured time begins with the run; if not, it begins when the pattern says so (`environment.measure`)."""
    settings: ClassVar[Mapping[str, str]] = {}
    """Settings of the stack that the pattern needs, as variables of the environment."""

    def standby(self, scenario: Scenario) -> bool:
        """Whether the stack keeps a process in reserve; loading it costs a second of CPU time early in a run."""
        return False

    def largest_call(self, scenario: Scenario) -> int:
        """Return how many participants there are in one call at most: as many as in the run, unless it has several calls."""
        return scenario.participants.count

    @abstractmethod
    async def run(self, environment: CallEnvironment) -> None:
        """Let participants join and leave calls.

        Raises:
            SimulatorError: Something expected did not come; the run is an error then.
        """

    def make_run(
        self,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        target: Target | None = None,
        watcher: Watcher | None = None,
    ) -> CallRun:
        """Prepare a run.

        Raises:
            UsageError: Only relays may be used and the environment names none, or the target cannot be entered.
        """
        return CallRun(self, scenario, state=state, out=out, target=target, watcher=watcher)

    def left_out(self, scenario: Scenario) -> list[str]:
        """List what a run of this scenario cannot do or check on a gateway that is not its own."""
        checks = "leaks, and whether the database agrees with the participants: they need services of the run's own"
        setting = (
            ["the setting switching.prewarm: it is the gateway's own"]
            if not scenario.switching.prewarm
            else []
        )
        return [checks, *setting]


class CallRun(Run):
    """A run of calls of the gateway: starts the stack and the bots, and records while the pattern runs."""

    def __init__(
        self,
        pattern: CallPattern,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        target: Target | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(pattern, scenario, state=state, out=out, target=target, watcher=watcher)
        self._pattern = pattern
        if target is not None:
            self._context.left_out = pattern.left_out(scenario)
            if target.tokens is None and target.credentials.secret is None:
                raise UsageError(
                    "each participant of a gateway needs a token of its own: set MEESHY_SIMULATE_SECRET to the gateway's "
                    "JWT_SECRET, or give --token-command"
                )
        elif scenario.participants.relay_only and not all(_is_set(name) for name in _TURN_SETTINGS):
            raise UsageError(
                "only relays may be used, and there is no TURN server: set MEESHY_TURN_SERVERS and MEESHY_TURN_SECRET, "
                "which the gateway of the run reads"
            )

    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        async with contextlib.AsyncExitStack() as things:
            if self._target is not None:
                await self._on_target(self._target, recorder, directory, clip, things)
            else:
                await self._on_own_stack(recorder, directory, clip, watchdog, things)
        event_log = directory / EVENT_LOG
        if await asyncio.to_thread(event_log.exists) and (complaint := await _interleaving(event_log)):
            self._context.aborted.append(complaint)

    async def _on_target(
        self,
        target: Target,
        recorder: Recorder,
        directory: Path,
        clip: str,
        things: contextlib.AsyncExitStack,
    ) -> None:
        """Run on a gateway that is not ours: what would need its processes or its database is left out."""
        gateway = GatewayAccess(target.url, target.credentials.secret or "", SWITCH_DEADLINE_S, target.tokens)
        environment = CallEnvironment(self._scenario, gateway, recorder, self._watcher)
        settings = self._bot_settings(recorder, clip, local_address(target.url))
        await self._with_bots(
            environment,
            recorder,
            directory,
            settings=settings,
            things=things,
            figures=lambda: _figures_of(environment, target),
        )

    async def _on_own_stack(
        self,
        recorder: Recorder,
        directory: Path,
        clip: str,
        watchdog: Watchdog,
        things: contextlib.AsyncExitStack,
    ) -> None:
        self._watcher.phase("starting media server and gateway")
        stack = GatewayStack(
            directory,
            prewarm=self._scenario.switching.prewarm,
            standby=self._pattern.standby(self._scenario),
            more=self._pattern.settings,
        )
        await things.enter_async_context(stack)
        await stack.start()
        inspector = StackInspector(stack)
        await inspector.before()
        for pid in stack.pids:
            watchdog.watch_process(pid)
        rest = await things.enter_async_context(Rest(stack.media.url))
        gateway = GatewayAccess(stack.gateway.url, stack.secret, SWITCH_DEADLINE_S)
        environment = CallEnvironment(self._scenario, gateway, recorder, self._watcher, stack)
        settings = self._bot_settings(recorder, clip, "127.0.0.1")
        token = stack.credentials.for_service
        await self._with_bots(
            environment,
            recorder,
            directory,
            settings=settings,
            things=things,
            figures=lambda: server_figures(rest, token()),
        )
        if not self._context.aborted:
            self._watcher.phase("looking for leaks")
            found = await inspector.after(environment.conversations)
            recorder.write_text(END_STATE, found.model_dump_json(indent=2) + "\n")

    def _bot_settings(self, recorder: Recorder, clip: str, bind: str) -> BotSettings:
        return BotSettings(
            seed=self._scenario.seed,
            network=self._scenario.network,
            clip=clip,
            bind=bind,
            on_event=recorder.event,
            synthetic=self._scenario.media.aiortc == "synthetic",
            bots_per_process=1,
            relay_only=self._scenario.participants.relay_only,
            audio_stamp_every=1,
            dtx=self._scenario.media.dtx,
        )

    async def _with_bots(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        directory: Path,
        *,
        settings: BotSettings,
        things: contextlib.AsyncExitStack,
        figures: Figures,
    ) -> None:
        """Make the bots, and let the pattern take them into calls."""
        generators = await self._spawn(environment, things, settings, directory)
        recorder.add(
            "participants",
            [
                (b.number, user_name(b.number), "", b.kind_of_bot, b.generator, b.decodes)
                for b in environment.bots
            ],
        )
        await self._run_pattern(environment, recorder, generators, figures)

    async def _spawn(
        self,
        environment: CallEnvironment,
        things: contextlib.AsyncExitStack,
        settings: BotSettings,
        directory: Path,
    ) -> list[CallBotGenerator]:
        """Make the bots of the run, numbered from 1: native ones first, then aiortc ones."""
        participants = self._scenario.participants
        numbers = range(1, participants.count + 1)
        split = participants.count - participants.aiortc_count()
        generators: list[CallBotGenerator] = []
        if numbers[split:]:  # before there are native threads, which a fork would not copy
            aiortc = await things.enter_async_context(AiortcCallBotGenerator(settings, directory))
            generators.append(aiortc)
            environment.bots += await aiortc.spawn_call_bots(numbers[split:])
        if numbers[:split]:
            kinds, others = len(self._scenario.media.kinds), self._pattern.largest_call(self._scenario) - 1
            threads = threads_for(received=split * others * kinds, sent=split * kinds)
            native = await things.enter_async_context(NativeCallBotGenerator(settings, threads=threads))
            generators.append(native)
            environment.bots += await native.spawn_call_bots(numbers[:split])
        environment.bots.sort(key=lambda bot: bot.number)
        return generators

    async def _run_pattern(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        generators: Sequence[CallBotGenerator],
        figures: Figures,
    ) -> None:
        async with ServerWatch(figures, recorder) as server:
            await self._watched(environment, recorder, generators, server)

    async def _watched(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        generators: Sequence[CallBotGenerator],
        server: ServerWatch,
    ) -> None:
        # Not ended by cancelling: what a collection has taken from the bots would be lost.
        over = asyncio.Event()
        watching = asyncio.create_task(self._watch(environment, recorder, generators, server, over))
        if self._pattern.measures_joins:
            environment.measure()
        try:
            async with environment.opened():
                running = asyncio.create_task(self._pattern.run(environment))
                try:
                    done, _ = await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
                    if environment.is_measuring:
                        environment.end_measuring()
                    over.set()
                    await next(iter(done))
                    await asyncio.gather(watching, return_exceptions=True)
                    if (end_ns := environment.measured_until_ns) is not None:
                        await self._drain(environment, recorder, generators, end_ns)
                except SimulatorError as error:
                    self._broke_off(recorder, error)
                finally:
                    self._context.window_start_ns = environment.measured_from_ns
                    self._context.window_end_ns = environment.measured_until_ns or time.time_ns()
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
        finally:
            over.set()
            await asyncio.gather(watching, return_exceptions=True)
            self._context.dropped_calls = environment.dropped_calls
            # What was measured since the last collection.
            await self._collect(recorder, generators, OUTSIDE)

    async def _drain(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        generators: Sequence[CallBotGenerator],
        end_ns: int,
    ) -> None:
        """Wait for what is under way between those who are still in a call."""
        self._watcher.phase(DRAIN_PHASE)
        missing = await drain(
            self._under_way,
            end_ns,
            environment.streams(),
            lambda: self._collect(recorder, generators, OUTSIDE),
        )
        await self._collect(recorder, generators, DRAINED)
        recorder.event("drained", missing=missing, ms=(time.time_ns() - end_ns) / 1e6)

    async def _watch(
        self,
        environment: CallEnvironment,
        recorder: Recorder,
        generators: Sequence[CallBotGenerator],
        server: ServerWatch,
        over: asyncio.Event,
    ) -> None:
        """Collect once a second until it is over; ends with an error when something broke on its own."""
        ticks = itertools.count()
        while True:
            tick = next(ticks) if environment.is_measuring else OUTSIDE
            server.ask(tick)
            collected = await self._collect(recorder, generators, tick)
            pids = [] if environment.own_stack is None else environment.own_stack.pids
            await self._note_machine(recorder, tick, pids)
            environment.progress.update_calls(server.latest, collected, environment.expected_streams())
            self._watcher.show(environment.progress)
            if environment.own_stack is not None and (complaint := environment.own_stack.complaint()):
                raise StackError(complaint)
            if problems := [text for generator in generators for text in generator.failures()]:
                raise SimulatorError("; ".join(problems))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), TICK_S)
            if over.is_set():
                return

    async def _collect(
        self, recorder: Recorder, generators: Iterable[CallBotGenerator], tick: int
    ) -> Collected:
        collected = [await generator.collect(tick) for generator in generators]
        self._under_way.add(collected)
        for part in collected:
            for table, batches in part.items():
                for batch in batches:
                    # Compression would hold up the event loop, and with it the signalling.
                    await asyncio.to_thread(recorder.add_batch, table, batch)
        return collected


async def _figures_of(environment: CallEnvironment, target: Target) -> ServerFigures | None:
    """Ask the media server of a gateway that is not ours, once a call has named it; None without the right to ask."""
    servers = environment.media_servers
    if servers is None or not servers.known or target.credentials.secret is None:
        return None
    return await server_figures(servers.known[0], target.credentials.for_service())


def people_per_call(calls: int, participants: int) -> int:
    """Return how many participants each call has.

    Raises:
        ScenarioError: They cannot be spread evenly.
    """
    each, left = divmod(participants, max(1, calls))
    if left:
        raise ScenarioError(
            f"{participants} participants cannot be spread evenly over {calls} calls; make it {participants - left} or "
            f"{participants - left + calls}, or change the number of calls"
        )
    return each


def _is_set(setting: str) -> bool:
    return any(os.environ.get(name) for name in (setting, f"MEESHY_{setting}"))


async def _interleaving(event_log: Path) -> str | None:
    """Check the gateway's log of events with its own checker; returns what is wrong: changes of one call that overlap."""
    checker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeshy_sfu", "gateway", "check-events", str(event_log)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await checker.communicate()
    return (
        None if checker.returncode == 0 else f"the gateway's log of events: {output.decode().strip()[:2000]}"
    )
