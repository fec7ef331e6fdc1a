"""Running a scenario: ramp up, hold and measure, tear down; no process or socket outlives a run.

Puts bots, signalling, server and collecting together. What is written is judged afterwards by report/write.py, and
shown meanwhile by report/live.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from simulator.bots.aiortc import AiortcGenerator
from simulator.bots.native import NativeGenerator, threads_for
from simulator.client.bot import Bot, BotGenerator, BotSettings
from simulator.client.media_server import Credentials, ParticipantSession, Rest
from simulator.client.routes import local_address
from simulator.client.server_figures import server_figures
from simulator.client.sfu_session import SfuSession
from simulator.errors import SimulatorError, StackError, first_error
from simulator.report.live import Progress, Watcher
from simulator.runs.base import TICK_S, Run, RunPattern, Target
from simulator.runs.drain import PHASE as DRAIN_PHASE
from simulator.runs.drain import Collected, drain
from simulator.runs.pausing import GroupOptions, Pause, pause_and_resume
from simulator.runs.server_watch import ServerWatch
from simulator.samples.recorder import Recorder
from simulator.samples.schema import DRAINED, KINDS, OUTSIDE
from simulator.scenario import Scenario
from simulator.stack.media_server import Stack
from simulator.stack.watchdog import Watchdog

GATHER_S = 0.2
"""How long announcements are gathered into one consume request."""
STAMPED_STREAMS = 400
"""Up to so many received streams every audio packet carries a stamp; with more, every tenth keeps the generator cheap."""
_RAMP_LOOK_S = 0.25
_LEAVE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Plan:
    """Who is in the call and who receives whom."""

    scenario: Scenario
    senders: int | None = None
    """How many of them send, the first ones; None: all."""
    native: list[int] = field(default_factory=list)
    aiortc: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.scenario.participants.count
        split = count - self.scenario.participants.aiortc_count()
        self.native, self.aiortc = list(range(split)), list(range(split, count))

    def wants(self, receiver: int, sender: int) -> bool:
        """Return whether one bot receives another: native ones receive all, aiortc ones in a mixed call the next few."""
        if receiver == sender or not self.sends(sender):
            return False
        participants = self.scenario.participants
        if participants.bots != "mixed" or receiver not in self.aiortc:
            return True
        return (sender - receiver) % participants.count <= participants.watched

    def sends(self, number: int) -> bool:
        """Return whether a bot sends, or only receives."""
        return self.senders is None or number < self.senders

    def native_threads(self) -> int:
        """Return the threads native bots need: one carries the streams of about fifty participants in one call."""
        received = sum(1 for receiver, _, _ in self.expected() if receiver < len(self.native))
        return threads_for(received=received, sent=len(self.native) * len(self.scenario.media.kinds))

    def expected(self) -> list[tuple[int, int, int]]:
        """Return the streams that should flow, as rows of the table of expected ones."""
        bots = self.native + self.aiortc
        kinds = [KINDS.index(kind) for kind in self.scenario.media.kinds]
        return [(r, s, k) for r in bots for s in bots if self.wants(r, s) for k in kinds]


class GroupRun(Run):
    """One call on the media server: all participants join, are measured for a while, and leave."""

    def __init__(
        self,
        pattern: RunPattern,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        target: Target | None = None,
        watcher: Watcher | None = None,
        plan: Plan | None = None,
    ) -> None:
        super().__init__(pattern, scenario, state=state, out=out, target=target, watcher=watcher)
        self._plan = plan or Plan(scenario)
        self._cut_off: set[str] = set()
        self._participants: list[Participant] = []
        self._generators: list[BotGenerator] = []
        self._pauses: list[Pause] = []
        self._progress = Progress(
            expected=len(self._plan.expected()), participants=scenario.participants.count
        )

    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        async with contextlib.AsyncExitStack() as open_things:
            stack = None
            if self._target is None:
                self._watcher.phase("starting the media server")
                stack = await open_things.enter_async_context(Stack(directory))
                await stack.start()
                watchdog.watch_process(stack.pid or 0)
                url, credentials = stack.url, stack.credentials
            else:
                url, credentials = self._target.url, self._target.credentials
            rest = await open_things.enter_async_context(Rest(url))
            watch = await open_things.enter_async_context(
                ServerWatch(lambda: server_figures(rest, credentials.for_service()), recorder)
            )
            call_id = f"sim-{secrets.token_hex(6)}"
            await rest.create_room(call_id, credentials.for_service())
            try:
                await self._call(
                    recorder,
                    directory,
                    clip,
                    CallServer(
                        url, call_id, watch, self._sessions(rest, credentials, call_id, recorder), stack
                    ),
                )
            except SimulatorError as error:
                # What ended by itself is the cause of whatever else failed.
                causes = [text for generator in self._generators for text in generator.failures()]
                if stack is not None and (complaint := stack.complaint()):
                    causes.append(complaint)
                self._broke_off(recorder, error, causes)
            finally:
                with contextlib.suppress(SimulatorError, TimeoutError):
                    async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                        await rest.destroy_room(call_id, credentials.for_service())

    async def _call(self, recorder: Recorder, directory: Path, clip: str, server: CallServer) -> None:
        """Let all participants join, measure, and let them leave."""
        settings = BotSettings(
            seed=self._scenario.seed,
            network=self._scenario.network,
            clip=clip,
            bind=local_address(server.url),
            on_event=recorder.event,
            synthetic=self._scenario.media.aiortc == "synthetic",
            bots_per_process=self._scenario.participants.bots_per_process,
            audio_stamp_every=1 if len(self._plan.expected()) <= STAMPED_STREAMS else 10,
            dtx=self._scenario.media.dtx,
        )
        async with contextlib.AsyncExitStack() as generators:
            self._watcher.phase("starting the bots")
            bots: list[Bot] = []
            # Children first: a process with native threads must not be forked.
            if self._plan.aiortc:
                aiortc = await generators.enter_async_context(AiortcGenerator(settings, directory))
                self._generators.append(aiortc)
                bots += await aiortc.spawn(self._plan.aiortc)
            if self._plan.native:
                native = await generators.enter_async_context(
                    NativeGenerator(settings, threads=self._plan.native_threads())
                )
                self._generators.append(native)
                bots += await native.spawn(self._plan.native)
            bots.sort(key=lambda bot: bot.number)
            self._participants = [server.session(bot) for bot in bots]
            self._write_plan(recorder, server.call_id)
            try:
                async with asyncio.TaskGroup() as consuming:
                    tasks = [consuming.create_task(p.consume_forever()) for p in self._participants]
                    await self._ramp(recorder, server)
                    tasks += [consuming.create_task(pausing) for pausing in self._pausing()]
                    await self._hold(recorder, server)
                    for task in tasks:
                        task.cancel()
            except BaseExceptionGroup as errors:
                raise first_error(errors) from errors
            finally:
                self._write_joins(recorder)
                for pause in self._pauses:
                    recorder.add("paused", pause.rows(self._scenario.media.kinds))
                await self._leave()
                await self._collect(recorder, OUTSIDE)  # what bots had kept for frames that were not whole

    async def _ramp(self, recorder: Recorder, server: CallServer) -> None:
        """Let all participants join, spread over the ramp, and wait until all streams flow or the timeout passes."""
        self._watcher.phase("ramp")
        ramp = self._scenario.ramp
        gap_s = ramp.over_s / max(1, len(self._participants) - 1)

        async def join(index: int, participant: Participant) -> None:
            await asyncio.sleep(index * gap_s)
            await participant.open()
            self._progress.joined += 1

        deadline = time.monotonic() + ramp.over_s + ramp.timeout_s
        try:
            async with asyncio.timeout(ramp.over_s + ramp.timeout_s), asyncio.TaskGroup() as joining:
                tasks = [joining.create_task(join(i, p)) for i, p in enumerate(self._participants)]
                while not all(task.done() for task in tasks):
                    await asyncio.sleep(_RAMP_LOOK_S)
                    await self._tick(recorder, server, -1)
        except TimeoutError:
            self._context.overloaded = True
            recorder.event("ramp-timeout", joined=self._progress.joined)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        while self._progress.flowing < self._progress.expected and time.monotonic() < deadline:
            await asyncio.sleep(_RAMP_LOOK_S)
            await self._tick(recorder, server, -1)
        recorder.event("ramp-done", joined=self._progress.joined, flowing=self._progress.flowing)
        await asyncio.sleep(self._scenario.hold.settle_s)

    async def _hold(self, recorder: Recorder, server: CallServer) -> None:
        """Measure: collect once a second from the first to the last moment."""
        duration_s = self._scenario.hold.duration_s
        self._watcher.phase("hold", duration_s)
        await self._tick(recorder, server, -1)  # what was before is not part of the first second
        self._context.window_start_ns = time.time_ns()
        start = time.monotonic()
        tick = 0
        try:
            await self._tick(recorder, server, tick)
            while (elapsed := time.monotonic() - start) < duration_s:
                await asyncio.sleep(min(TICK_S * (tick + 1) - elapsed, duration_s - elapsed))
                tick += 1
                await self._tick(recorder, server, tick)
        except asyncio.CancelledError:
            await self._tick(recorder, server, tick + 1)  # what was measured until now
            raise
        finally:
            end_ns = self._context.window_end_ns = time.time_ns()
        recorder.event("hold-done", ticks=tick)
        self._watcher.phase(DRAIN_PHASE)
        await server.watch.settle()
        missing = await drain(
            self._under_way, end_ns, self._plan.expected(), lambda: self._collect(recorder, OUTSIDE)
        )
        await self._collect(recorder, DRAINED)
        recorder.event("drained", missing=missing, ms=(time.time_ns() - end_ns) / 1e6)

    async def _tick(self, recorder: Recorder, server: CallServer, tick: int) -> None:
        """Collect from all bots; counters outside the measured time go to disk only for their first packets."""
        server.watch.ask(tick)
        collected = await self._collect(recorder, tick)
        if tick >= 0:
            pid = None if server.stack is None else server.stack.pid
            await self._note_machine(recorder, tick, [] if pid is None else [pid])
        streams = [batch for part in collected for batch in part["streams"]]
        self._progress.update(server.watch.latest, collected, streams)
        self._watcher.show(self._progress)
        problems = [text for generator in self._generators for text in generator.failures()]
        if server.stack is not None and (complaint := server.stack.complaint()):
            raise StackError(complaint)
        if problems:
            raise SimulatorError("; ".join(problems))

    async def _collect(self, recorder: Recorder, tick: int) -> Collected:
        """Collect from all bots; what the server does holds nothing up."""
        collected = await asyncio.gather(*(g.collect(tick) for g in self._generators))
        self._under_way.add(collected)
        for part in collected:
            for table, batches in part.items():
                if table == "streams" and tick == OUTSIDE:
                    continue
                for batch in batches:
                    # Compression would hold up the event loop, and with it the signalling.
                    await asyncio.to_thread(recorder.add_batch, table, batch)
        return collected

    async def _leave(self) -> None:
        """Let all participants leave, in order if that works in time."""
        self._watcher.phase("leaving")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await asyncio.gather(*(p.close() for p in self._participants))

    def _sessions(
        self, rest: Rest, credentials: Credentials, call_id: str, recorder: Recorder
    ) -> Callable[[Bot], Participant]:
        return lambda bot: self._participant(bot, rest, credentials, call_id, recorder)

    def _participant(
        self, bot: Bot, rest: Rest, credentials: Credentials, call_id: str, recorder: Recorder
    ) -> Participant:
        name = _participant_id(bot.number)

        def sender_of(participant_id: str) -> int | None:
            sender = _bot_number(participant_id)
            return sender if sender is not None and self._plan.wants(bot.number, sender) else None

        def cut_off(_: str) -> None:
            self._cut_off.add(name)
            if len(self._cut_off) == self._scenario.participants.count:
                # a server that crashed cannot say that the call is over
                self._room_closed(recorder, "every socket broke off")

        return SfuSession(
            bot,
            ParticipantSession(rest, call_id, name, credentials.for_participant(call_id, name)),
            kinds=self._scenario.media.kinds,
            sender_of=sender_of,
            gather_s=lambda _: GATHER_S,
            on_event=recorder.event,
            on_room_closed=lambda reason: self._room_closed(recorder, reason),
            on_disconnect=cut_off,
        )

    def _pausing(self) -> list[Coroutine[Any, Any, None]]:
        options = self._scenario.options(GroupOptions)
        return [
            pause_and_resume(participant, participant.bot.number, options, self._pauses)
            for participant in self._participants[: options.pausing]
            if isinstance(participant, SfuSession)
        ]

    def _room_closed(self, recorder: Recorder, reason: str) -> None:
        if not self._context.dropped_calls:
            self._context.dropped_calls = 1
            recorder.event("room-closed", reason=reason)

    def _write_plan(self, recorder: Recorder, call_id: str) -> None:
        recorder.add(
            "participants",
            [
                (b.number, _participant_id(b.number), call_id, b.kind_of_bot, b.generator, b.decodes)
                for b in (p.bot for p in self._participants)
            ],
        )
        recorder.add("expected", self._plan.expected())

    def _write_joins(self, recorder: Recorder) -> None:
        recorder.add(
            "joins",
            [(p.bot.number, p.started_ns, p.signalled_ns) for p in self._participants if p.started_ns],
        )


class Participant(Protocol):
    """A bot's session on a server: :class:`SfuSession`, or that of another kind of server."""

    bot: Bot
    started_ns: int
    signalled_ns: int

    async def open(self) -> None:
        """Join and send."""

    async def consume_forever(self) -> None:
        """Receive everyone who is announced, until cancelled."""

    async def close(self) -> None:
        """Leave. Never fails, idempotent."""


class ServerProcess(Protocol):
    """A server that was started for a run."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""

    def complaint(self) -> str | None:
        """Say how it ended, if it did by itself."""


@dataclass(frozen=True, slots=True)
class CallServer:
    """The server under test, as a run sees it."""

    url: str
    """What decides the address that bots bind to."""
    call_id: str
    watch: ServerWatch
    session: Callable[[Bot], Participant]
    """Makes a bot's session."""
    stack: ServerProcess | None


def _participant_id(number: int) -> str:
    return f"bot-{number}"


def _bot_number(participant_id: str) -> int | None:
    """Return which of our bots a participant is; None for one that is not of this run."""
    name, _, number = participant_id.partition("-")
    return int(number) if name == "bot" and number.isdecimal() else None


class Group(RunPattern):
    """One call on the media server."""

    name = "group"
    target_is = "media server"
    description = "One call on the media server, without the gateway: every participant sends to all others."
    uses = frozenset(
        {
            "participants.count",
            "participants.watched",
            "participants.bots_per_process",
            "ramp",
            "hold",
            "media.dtx",
        }
    )

    options = GroupOptions

    def describe(self, scenario: Scenario) -> str:
        """Describe in a sentence what a run does."""
        text = (
            f"{scenario.participants.count} participants in one call on the media server, "
            "each of whom sends to the others."
        )
        if pausing := scenario.options(GroupOptions).pausing:
            text += f" {pausing} of them pause their producers now and then, and go on sending."
        return text

    def check(self, scenario: Scenario) -> None:
        """Refuse more who pause than there are."""
        if scenario.options(GroupOptions).pausing > scenario.participants.count:
            raise ValueError("group.pausing: more than there are participants (participants.count)")

    def promises(self, scenario: Scenario) -> frozenset[str]:
        """Add what arrived of paused producers, where there are some."""
        promised = super().promises(scenario)
        return promised | {"paused_packets"} if scenario.options(GroupOptions).pausing else promised

    def make_run(
        self,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        target: Target | None = None,
        watcher: Watcher | None = None,
    ) -> GroupRun:
        """Prepare a run, on the target or on a media server that is started for it."""
        return GroupRun(self, scenario, state=state, out=out, target=target, watcher=watcher)


PATTERN = Group()
