"""The process that owns a run: its directory, the servers if they are ours, and in the end the verdict.

The same directory, tables, figures and report as a run of `meeshy simulate` has, by the same modules. Participants and their
bots are in other processes (callers.py); `python -m loadtests.children.stage DESCRIPTOR` is started by loadtests/conductor.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from rich.console import Console

from loadtests.children.channel import Channel, Json
from loadtests.children.merge import merge_events, merge_tables, read_part
from loadtests.children.requests import FILE as REQUESTS
from loadtests.children.requests import judge_requests, merge_requests, request_criteria, requests_text
from loadtests.messages import JudgeOrder, StageOrder, Verdict
from simulator.analysis.raw_run import RunContext
from simulator.client.gateway import user_token
from simulator.client.media_server import Credentials, Rest
from simulator.client.server_figures import ServerFigures, server_figures
from simulator.errors import ServerRefusedError, SimulatorError, UsageError
from simulator.report.judgement import Judgement
from simulator.report.live import verdict_panel
from simulator.report.outputs import Outputs
from simulator.report.write import EXIT_CODES, title, write_report
from simulator.runs.base import TICK_S, machine
from simulator.runs.server_watch import ServerWatch
from simulator.samples.end_state import FILE as END_STATE
from simulator.samples.recorder import Recorder, RunDirectory
from simulator.samples.schema import KINDS
from simulator.scenario import Scenario, to_toml
from simulator.stack.full import SWITCH_DEADLINE_S, GatewayStack
from simulator.stack.inspector import StackInspector
from simulator.stack.machine_probe import MachineProbe
from simulator.stack.watchdog import Watchdog
from simulator.summary import Summary

PARTS = "parts"
_READY_TIMEOUT_S = 5.0
_WIDTH = 100


class Stage:
    """One run: :meth:`begin`, then :meth:`judge`."""

    def __init__(self, order: StageOrder, channel: Channel) -> None:
        self._order = order
        self._channel = channel
        self._things = contextlib.AsyncExitStack()
        self._servers = contextlib.AsyncExitStack()
        """Ours; they end before the run directory is complete, which has their logs."""
        self._scenario = _scenario(order)
        self._context = RunContext(
            description=order.description, started_ns=time.time_ns(), dropped_calls=0, machine=machine()
        )
        self._directory: RunDirectory | None = None
        self._outputs = _outputs(order)
        self._recorder: Recorder | None = None
        self._stack: GatewayStack | None = None
        self._inspector: StackInspector | None = None
        self._observing: asyncio.Task[None] | None = None
        self._broken: str | None = None
        self._tick = -1
        """Number of the second of measured time; -1 before it."""

    async def begin(self) -> Json:
        """Make the run directory, and start the servers or try those that were named.

        Raises:
            UsageError: The run directory cannot be written, or the gateway that was named is none.
            StackError: Our own servers did not start.
        """
        order = self._order
        if order.host is not None:
            await _try_gateway(order.host, order.secret or "")
        name = f"locust-{order.name}-{order.participants}"
        self._directory = self._things.enter_context(
            RunDirectory.chosen(Path(order.out) if order.out else None, Path(order.state_dir), name)
        )
        watchdog = self._things.enter_context(Watchdog())
        watchdog.watch_directory(self._directory.partial)
        self._recorder = Recorder(self._directory.partial)
        (self._directory.partial / PARTS).mkdir()
        url, secret, rest = order.host or "", order.secret or "", None
        if order.host is None:
            self._stack = await self._servers.enter_async_context(GatewayStack(self._directory.partial))
            await self._stack.start()
            self._inspector = StackInspector(self._stack)
            await self._inspector.before()
            for pid in self._stack.pids:
                watchdog.watch_process(pid)
            url, secret = self._stack.gateway.url, self._stack.secret
            rest = await self._servers.enter_async_context(Rest(self._stack.media.url))
        self._observing = asyncio.create_task(self._observe(self._recorder, rest))
        return {
            "gateway_url": url,
            "secret": secret,
            "switch_deadline_s": SWITCH_DEADLINE_S,
            "run": f"locust-{secrets.token_hex(4)}",
            "parts": str(self._directory.partial / PARTS),
        }

    def measure(self) -> None:
        """Begin the measured time."""
        self._context.window_start_ns = time.time_ns()
        self._tick = 0

    async def judge(self, order: JudgeOrder) -> Verdict:
        """Put the samples of all processes together and judge them.

        Raises:
            SimulatorError: There is nothing to judge.
        """
        directory, recorder = self._directory, self._recorder
        if directory is None or recorder is None:
            raise SimulatorError("the run never began")
        context = self._context
        context.window_end_ns = order.ended_ns
        context.aborted = list(dict.fromkeys([*([self._broken] if self._broken else []), *order.aborted]))
        context.server_ended = self._broken is not None
        partial = directory.partial
        folders = [partial / PARTS / name for name in order.parts]
        parts = [read_part(folder) for folder in folders]
        context.dropped_calls = sum(part.dropped_calls for part in parts)
        if self._observing is not None:
            self._observing.cancel()
            await asyncio.gather(self._observing, return_exceptions=True)
        if self._inspector is not None and not context.aborted:
            found = await self._inspector.after([name for part in parts for name in part.conversations])
            recorder.write_text(END_STATE, found.model_dump_json(indent=2) + "\n")
        await asyncio.to_thread(merge_tables, folders, recorder)
        recorder.write_text("scenario.toml", to_toml(self._scenario.to_values()))
        recorder.write_text("run.json", context.model_dump_json(indent=2) + "\n")
        recorder.close()
        await asyncio.to_thread(merge_events, folders, partial)
        requests = await asyncio.to_thread(merge_requests, folders, partial)
        shutil.rmtree(partial / PARTS)
        summary: Summary | None = None
        limit_ms = self._order.request_p95_ms
        if self._order.media:
            summary = await asyncio.to_thread(write_report, partial)
            screen = io.StringIO()
            Console(file=screen, width=_WIDTH).print(verdict_panel(summary, title(summary)))
            verdict, text, file = summary.verdict, screen.getvalue(), "report.html"
        else:
            verdict, reasons = judge_requests(requests, aborted=context.aborted, limit_ms=limit_ms)
            text, file = requests_text(requests, verdict, reasons) + "\n", REQUESTS
        await self._servers.aclose()
        path = directory.complete()
        if summary is not None:
            self._outputs.write([("", None, summary)], path / file)
        else:
            judged = request_criteria(requests, limit_ms=limit_ms)
            self._outputs.write_judgements(
                [Judgement(self._order.name, verdict, reasons, judged, path / file)]
            )
        return Verdict(
            verdict=verdict,
            exit_code=EXIT_CODES[verdict],
            directory=str(path),
            text=f"{text}report: {path / file}",
        )

    async def close(self) -> None:
        """End what is still open; a run that was not judged leaves nothing. Idempotent."""
        if self._observing is not None:
            self._observing.cancel()
        if self._recorder is not None:
            self._recorder.close()
        await self._servers.aclose()
        await self._things.aclose()

    async def _observe(self, recorder: Recorder, rest: Rest | None) -> None:
        """Record what machine and media server do, once a second until cancelled."""
        stack = self._stack
        credentials = None if stack is None else Credentials(secret=stack.secret)

        async def figures() -> ServerFigures | None:
            if rest is None or credentials is None:
                return None
            return await server_figures(rest, credentials.for_service())

        # locust, with this process and those of the participants
        probe = MachineProbe(os.getppid())
        async with ServerWatch(figures, recorder) as server:
            while True:
                tick = self._tick
                if rest is not None:
                    server.ask(tick)
                pids = [] if stack is None else stack.pids
                tables = await asyncio.to_thread(probe.read, tick, time.time_ns(), pids)
                for table, rows in tables.items():
                    recorder.add(table, rows)
                if tick >= 0:
                    self._tick = tick + 1
                if stack is not None and self._broken is None and (complaint := stack.complaint()):
                    self._broken = complaint
                    self._channel.send({"broken": complaint})
                await asyncio.sleep(TICK_S)


def _outputs(order: StageOrder) -> Outputs:
    if order.openmetrics is not None and not order.media:
        raise UsageError("--openmetrics: runs of users without media have no figures; leave it out")
    return Outputs.checked(
        junit=None if order.junit is None else Path(order.junit),
        openmetrics=None if order.openmetrics is None else Path(order.openmetrics),
        job_summary=order.job_summary,
    )


async def _try_gateway(url: str, secret: str) -> None:
    """Check that a gateway is there and takes our tokens.

    Raises:
        UsageError: It does not; the message says what to change.
    """
    timeout = aiohttp.ClientTimeout(total=_READY_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{url}/ready") as answer:
            body = await answer.json(content_type=None)
            servers = body.get("mediaServers") if isinstance(body, dict) else None
    except ValueError:
        servers = None
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise UsageError(
            f"--host {url}: no gateway answers there ({why}); check host and port, or leave --host out to start one"
        ) from error
    if servers is None:
        raise UsageError(f"--host {url}: what answers there is no call gateway; its port is 4000 by default")
    token = user_token(secret, "person-0", "locust-check")
    async with Rest(url) as rest:
        try:
            await rest.request("GET", "/api/conversations/locust-check/active-call", token)
        except ServerRefusedError as error:
            raise UsageError(
                f"--host {url} refuses our tokens ({error.code}): set MEESHY_SIMULATE_SECRET to its JWT_SECRET"
            ) from error


def _scenario(order: StageOrder) -> Scenario:
    """Return the scenario of `meeshy simulate` that is nearest to a run."""
    values: dict[str, Any] = {
        "name": order.name,
        "description": order.description,
        "pattern": "calls",
        "seed": order.seed,
        "participants": {"bots": "native"},
        "calls": {"calls": order.calls, "people": max(2, order.per_call)},
        "ramp": {"over_s": order.ramp_s},
        "hold": {"duration_s": max(1.0, order.hold_s)},
        "media": {kind: kind in order.kinds for kind in KINDS},
        "network": order.network.model_dump(mode="json"),
        "slo": list(order.slo),
    }
    return Scenario.from_values(values, source="these options")


class Service:
    """What the locust process may ask for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stage: Stage | None = None

    async def begin(self, request: Json) -> Json:
        """Start a run."""
        self._stage = Stage(StageOrder.model_validate(request["order"]), self._channel)
        try:
            return await self._stage.begin()
        except BaseException:
            await self.close()
            raise

    async def measure(self, _: Json) -> Json:
        """Begin the measured time."""
        if self._stage is None:
            raise SimulatorError("no run is going on")
        self._stage.measure()
        return {}

    async def judge(self, request: Json) -> Json:
        """End a run with its verdict."""
        if self._stage is None:
            raise SimulatorError("no run is going on")
        try:
            verdict = await self._stage.judge(JudgeOrder.model_validate(request["order"]))
        finally:
            await self.close()
        return verdict.model_dump()

    async def close(self) -> None:
        """End what is open."""
        stage, self._stage = self._stage, None
        if stage is not None:
            await stage.close()


async def main(descriptor: int) -> None:
    """Serve the locust process that is at the other end of this socket."""
    channel = Channel(descriptor)
    service = Service(channel)
    try:
        await channel.serve({"begin": service.begin, "measure": service.measure, "judge": service.judge})
    finally:
        await service.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
