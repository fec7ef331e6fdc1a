"""The process with participants: callers of the gateway and their native bots, for all users of one locust process.

Does what its users ask, records raw samples, and reports what it measured. One event loop for the signalling, native threads
for the media; `python -m loadtests.children.callers DESCRIPTOR` is started by loadtests/conductor.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import uvloop

from loadtests.causes import Cause, cause_of
from loadtests.children.channel import Channel, Json
from loadtests.children.requests import RequestLog
from loadtests.children.signalling import Signaller
from loadtests.children.windows import Silences, Track, last_seen, windows
from loadtests.messages import PART_FILE, Group, Measured, Part, Setup
from simulator.analysis.transitions import SUPERSEDED
from simulator.bots.clip import ensure_clip
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.client.bot import BotSettings
from simulator.client.call_records import user_name
from simulator.client.caller import Caller
from simulator.client.gateway import user_token
from simulator.client.legs import CallBot
from simulator.client.media_server import Rest
from simulator.client.routes import local_address
from simulator.errors import ServerRefusedError, SimulatorError
from simulator.machine_clock import machine_clock
from simulator.runs.base import TICK_S, spared_collector
from simulator.runs.callers import Callers, GatewayAccess
from simulator.samples.recorder import Recorder
from simulator.stack.watchdog import Watchdog

_STALE = frozenset({"CALL_ALREADY_ACTIVE", "CALL_ENDED", "CALL_NOT_FOUND"})
"""Answers to one who did not know the conversation's call."""


class SuiteCallers(Callers):
    """The callers of one locust process. :meth:`live` runs beside everything else until :meth:`finish`."""

    def __init__(self, setup: Setup, directory: Path, state_dir: Path, channel: Channel) -> None:
        self._setup = setup
        self._directory = directory
        self._state_dir = state_dir
        self._channel = channel
        access = GatewayAccess(setup.gateway_url, setup.secret, setup.switch_deadline_s)
        super().__init__(access, Recorder(directory), kinds=setup.kinds)
        self._clock = machine_clock()
        self._measuring = False
        self._requests = RequestLog(directory)
        self._ready = asyncio.Event()
        self._finish = asyncio.Event()
        self._seated: dict[int, Caller] = {}
        """Who is in a call, by number."""
        self._bots: dict[int, CallBot] = {}
        self._beginning: dict[str, asyncio.Lock] = {}
        self._calls: dict[str, str] = {}
        """The call of each conversation, as far as it is known here."""
        self._silences = Silences()
        self._initiators: set[Caller] = set()
        """Callers who began a call, and so had no media to wait for."""
        self._complained: set[Caller] = set()
        """Callers whose missing media, or ended call, was reported."""
        self._signaller: Signaller | None = None
        self._generator: NativeCallBotGenerator | None = None
        self._rest: Rest | None = None
        self._living: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start bots and clock; returns when participants may join.

        Raises:
            SimulatorError: There is no clip, or no bots.
        """
        self._living = asyncio.create_task(self._run_all())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({self._living, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            ready.cancel()
            await self._living

    def begin_measuring(self) -> None:
        """Begin the measured time."""
        self._measuring = True

    async def finish(self) -> None:
        """Let all leave, and finish the raw samples."""
        self._finish.set()
        if self._living is not None:
            await self._living

    async def _run_all(self) -> None:
        clip = await asyncio.to_thread(ensure_clip, self._state_dir / "cache")
        settings = BotSettings(
            seed=self._setup.seed,
            network=self._setup.network,
            clip=str(clip),
            bind=local_address(self._setup.gateway_url),
            on_event=self._recorder.event,
            clock_shift_ms=self._clock.shift_ms,
        )
        try:
            # a worker that is killed leaves nothing
            with Watchdog() as watchdog:
                watchdog.watch_directory(self._directory)
                await self._call(settings)
        finally:
            self._recorder.close()
            self._requests.close()
            part = Part(dropped_calls=self.dropped_calls, conversations=self.conversations)
            (self._directory / PART_FILE).write_text(part.model_dump_json(), encoding="utf-8")

    async def _call(self, settings: BotSettings) -> None:
        """Let participants come and go until the end."""
        async with (
            Rest(self._setup.gateway_url) as self._rest,
            NativeCallBotGenerator(settings, threads=self._setup.bot_threads) as self._generator,
        ):
            self._signaller = Signaller(self._setup, self._rest, self.measure)
            with spared_collector():
                async with self.opened():
                    watching = asyncio.create_task(self._watch(self._generator))
                    self._ready.set()
                    await self._finish.wait()
                    await asyncio.gather(watching, return_exceptions=True)
                    await self._signaller.close()
                    await asyncio.gather(*(self.dismiss(caller) for caller in self.present))
            await self._collect(self._generator, -1)  # what was measured since the last tick

    async def join(self, seat: int, call: int) -> None:
        """Let a participant join its call, or begin it.

        Raises:
            SimulatorError: The gateway refused, or cannot be reached.
        """
        bot = await self._bot(seat + 1)
        conversation = f"{self._setup.run}-{call}"
        try:
            caller = await self._enter(bot, conversation)
        except ServerRefusedError as error:
            if error.code not in _STALE:
                raise
            self._calls.pop(conversation, None)  # another process began it first, or all had left
            caller = await self._enter(bot, conversation)
        self._seated[bot.number] = caller

    async def toggle(self, seat: int, kind: str, *, enabled: bool) -> None:
        """Let a participant switch its microphone or camera; without an effect for one who is in no call."""
        caller = self._seated.get(seat + 1)
        if caller is None:
            return
        device = "microphone" if kind == "audio" else "camera"
        name, began = f"{device} {'on' if enabled else 'off'}", time.perf_counter()
        try:
            await caller.toggle("audio" if kind == "audio" else "video", enabled=enabled)
        except SimulatorError as error:
            self.measure("CALL", name, began, seat, error)
        else:
            self.measure("CALL", name, began, seat)

    async def leave(self, seat: int) -> None:
        """Let a participant leave. Never fails."""
        caller = self._seated.pop(seat + 1, None)
        if caller is not None:
            began = time.perf_counter()
            await self.dismiss(caller)
            self.measure("CALL", "leave", began, seat)

    async def signal(self, seat: int, step: str) -> None:
        """Take a step of a user who has no media."""
        if self._signaller is not None:
            await self._signaller.step(seat, step)

    def note(self, name: str, unix_ns: int | None = None, **values: object) -> None:
        """Record an event; joins and changes of mode are reported as well."""
        super().note(name, unix_ns, **values)
        number = values.get("bot")
        if not isinstance(number, int):
            return
        if name == "flowing" and isinstance(ms := values["ms"], float):
            self._report("MEDIA", "first media", ms, number - 1)
        elif name == "switched" and (caller := self._seated.get(number)) is not None:
            self._report_switch(caller, values["epoch"])

    def _report_switch(self, caller: Caller, epoch: object) -> None:
        change = next((t for t in reversed(caller.record.transitions) if t.epoch == epoch), None)
        if change is None or change.old == change.new or not change.decided_ns:
            return
        if not change.success and change.error == SUPERSEDED:
            return  # participants joined or left meanwhile, and it was not needed any more
        ms = (change.completed_ns - change.decided_ns) / 1e6
        name = "to the media server" if change.new == "sfu" else "to peer to peer"
        failure = None if change.success else (Cause.SWITCH_FAILED, "")
        self._report("SWITCH", name, ms, caller.bot.number - 1, failure)

    async def _enter(self, bot: CallBot, conversation: str) -> Caller:
        async with self._beginning.setdefault(conversation, asyncio.Lock()):
            if conversation not in self._calls:
                found = await self._active_call(conversation, bot.number)
                if found is None:
                    return await self._admitted(bot, conversation, None)
                self._calls[conversation] = found
        return await self._admitted(bot, conversation, self._calls[conversation])

    async def _admitted(self, bot: CallBot, conversation: str, call_id: str | None) -> Caller:
        """Return a caller that is in the call, or has begun it."""
        caller = self.caller(bot, conversation)
        began, seat = time.perf_counter(), bot.number - 1
        try:
            if call_id is None:
                self._initiators.add(caller)
                self._calls[conversation] = await caller.initiate(conversation)
            else:
                await caller.join(call_id)
        except SimulatorError as error:
            await self.dismiss(caller)
            if not (isinstance(error, ServerRefusedError) and error.code in _STALE):
                self.measure("JOIN", "join", began, seat, error)
            raise
        self.measure("JOIN", "join", began, seat)
        return caller

    async def _active_call(self, conversation: str, number: int) -> str | None:
        if self._rest is None:
            raise RuntimeError("participants join once they have begun")
        token = user_token(self._setup.secret, user_name(number), conversation)
        data = await self._rest.request("GET", f"/api/conversations/{conversation}/active-call", token)
        call = data.get("call")
        return None if call is None else str(call["callId"])

    async def _bot(self, number: int) -> CallBot:
        if self._generator is None:
            raise RuntimeError("participants join once they have begun")
        if number not in self._bots:
            [bot] = await self._generator.spawn_call_bots([number])
            self._bots[number] = bot
            row = (number, user_name(number), "", bot.kind_of_bot, bot.generator, bot.decodes)
            self._recorder.add("participants", [row])
            self._recorder.add("clocks", [(number, self._clock.name)])
        return self._bots[number]

    async def _watch(self, generator: NativeCallBotGenerator) -> None:
        """Collect once a second until the end, and report what locust should show."""
        begun = time.monotonic()
        ticks = itertools.count()
        for second in itertools.count():
            tick = next(ticks) if self._measuring else -1
            self._look(await self._collect(generator, tick), time.time_ns())
            if failures := generator.failures():
                self._channel.send({"broken": "; ".join(failures)})
            # Not ended by cancelling: what a collection has taken from the bots would be lost.
            with contextlib.suppress(TimeoutError):
                pause_s = max(0.0, begun + (second + 1) * TICK_S - time.monotonic())
                await asyncio.wait_for(self._finish.wait(), pause_s)
            if self._finish.is_set():
                return

    async def _collect(self, generator: NativeCallBotGenerator, tick: int) -> Sequence[pa.RecordBatch]:
        """Record what was measured since the last time; returns the latency samples."""
        collected: Mapping[str, Sequence[pa.RecordBatch]] = await generator.collect(tick)
        for table, batches in collected.items():
            for batch in batches:
                # Compression would hold up the event loop, and with it the signalling.
                await asyncio.to_thread(self._recorder.add_batch, table, batch)
        return collected["latency"]

    def _look(self, samples: Sequence[pa.RecordBatch], now_ns: int) -> None:
        for window in windows(samples):
            self._report("MEDIA", f"{window.kind} latency, p95 of 1 s", window.p95_ms, window.receiver - 1)
        expected: set[Track] = set()
        for caller in self._seated.values():
            if not self._complain(caller, now_ns):
                number = caller.bot.number
                expected |= {(number, other, kind) for other in caller.others for kind in self._setup.kinds}
        for receiver in {track[0] for track in self._silences.look(last_seen(samples), expected, now_ns)}:
            self._report("MEDIA", "media", 0.0, receiver - 1, (Cause.MEDIA_STOPPED, ""))

    def _complain(self, caller: Caller, now_ns: int) -> bool:
        """Report, once, a call that ended for a participant, or media that did not come; returns whether it ended."""
        ended = caller.record.ended is not None
        late = [
            a
            for a in caller.record.arrivals
            if not a.flowing_ns
            and caller.others
            and caller not in self._initiators
            and now_ns - a.started_ns > self._setup.media_wait_s * 1e9
        ]
        if (ended or late) and caller not in self._complained:
            self._complained.add(caller)
            seat = caller.bot.number - 1
            if ended:
                self._report("CALL", "call", 0.0, seat, (Cause.CALL_ENDED, ""))
            else:
                waited_ms = (now_ns - late[0].started_ns) / 1e6
                self._report("MEDIA", "first media", waited_ms, seat, (Cause.NO_MEDIA, ""))
        return ended

    def measure(
        self, group: Group, name: str, began: float, seat: int, error: SimulatorError | None = None
    ) -> None:
        """Report a request that began at this time of the performance counter, and its error if it had one."""
        ms = (time.perf_counter() - began) * 1e3
        if error is None:
            self._report(group, name, ms, seat)
            return
        cause, code = cause_of(error)
        self._report(group, name, ms, seat, (cause, code))
        super().note("request-failed", group=group, request=name, seat=seat, error=str(error))

    def _report(
        self, group: Group, name: str, ms: float, seat: int, failure: tuple[Cause, str] | None = None
    ) -> None:
        cause, code = failure or (None, "")
        found = Measured(group=group, name=name, ms=ms, seat=seat, cause=cause, code=code)
        self._requests.add(time.time_ns(), found)
        self._channel.send({"measured": found.model_dump()})


class Service:
    """What the locust process may ask for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._callers: SuiteCallers | None = None

    async def begin(self, request: Json) -> Json:
        """Start a run."""
        setup = Setup.model_validate(request["setup"])
        self._callers = SuiteCallers(
            setup, Path(request["directory"]), Path(request["state_dir"]), self._channel
        )
        await self._callers.begin()
        return {}

    async def join(self, request: Json) -> Json:
        """Let a participant join."""
        await self._running.join(request["seat"], request["call"])
        return {}

    async def toggle(self, request: Json) -> Json:
        """Let a participant switch microphone or camera."""
        await self._running.toggle(request["seat"], request["kind"], enabled=request["enabled"])
        return {}

    async def leave(self, request: Json) -> Json:
        """Let a participant leave."""
        await self._running.leave(request["seat"])
        return {}

    async def signal(self, request: Json) -> Json:
        """Take a step of a user without media."""
        await self._running.signal(request["seat"], request["step"])
        return {}

    async def measure(self, _: Json) -> Json:
        """Begin the measured time."""
        self._running.begin_measuring()
        return {}

    async def finish(self, _: Json) -> Json:
        """End a run."""
        callers, self._callers = self._running, None
        await callers.finish()
        return {}

    @property
    def _running(self) -> SuiteCallers:
        if self._callers is None:
            raise SimulatorError("no run is going on")
        return self._callers


async def main(descriptor: int) -> None:
    """Serve the locust process that is at the other end of this socket."""
    channel = Channel(descriptor)
    service = Service(channel)
    await channel.serve(
        {
            "begin": service.begin,
            "join": service.join,
            "toggle": service.toggle,
            "leave": service.leave,
            "signal": service.signal,
            "measure": service.measure,
            "finish": service.finish,
        }
    )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
