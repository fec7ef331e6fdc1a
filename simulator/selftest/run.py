"""Runs the self-test: one call for each case, through the proxy and a media server in development mode.

Starts, arms and collects; which faults there are is in cases.py, what was done in evidence.py, the judgement in judge.py.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from simulator.analysis.paused import paused_spans
from simulator.analysis.raw_run import RawRun
from simulator.client.media_server import Rest
from simulator.errors import SimulatorError, StackError, UsageError
from simulator.report.live import Progress, Watcher
from simulator.runs.base import Target, pattern_of
from simulator.samples.recorder import RunDirectory
from simulator.samples.schema import KINDS
from simulator.scenario import Scenario
from simulator.selftest.case import DURATION_S, OBJECTIVES, PARTICIPANTS, Case
from simulator.selftest.evidence import read_evidence
from simulator.selftest.judge import CaseResult, SizeFound, judge
from simulator.selftest.proxy_process import BACK_IP, FRONT_IP, ProxyProcess
from simulator.selftest.signalling_proxy import SignallingProxy
from simulator.stack.media_server import Stack
from simulator.stack.watchdog import Watchdog

TRIES = 3
"""Runs of one case at most while the machine is too busy to judge."""
NONE = "none"
"""In place of a fault: the healthy server alone."""
_PORTS_TRIED = 100
_FAULTS = "/api/dev/workers/0/faults"


class SelfTestSummary(BaseModel):
    """The result of the self-test; written as selftest.json."""

    summary_schema: Literal["meeshy.selftest/1"] = Field(default="meeshy.selftest/1", alias="schema")
    verdict: Literal["pass", "fail", "void"]
    """pass: every fault was named and its size shown, and the healthy server passed."""
    results: list[CaseResult]

    def to_json(self) -> str:
        """Return the content of selftest.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    def to_markdown(self) -> str:
        """Return the report as text."""
        lines = ["# Self-test", "", f"Verdict: {self.verdict}", ""]
        lines += [
            "| fault | size | outcome | figure | done | found | objectives broken |",
            "| --- " * 7 + "|",
        ]
        for result in self.results:
            shown: list[SizeFound | None] = [*result.sizes] or [None]
            for size in shown:
                cells = (
                    ["", "", ""]
                    if size is None
                    else [f"`{size.figure}`", f"{size.done:.4g}", f"{size.found}"]
                )
                broken = ", ".join(f"`{text}`" for text in result.broken)
                lines.append(
                    f"| {result.fault} | {result.size} | {result.outcome} | {' | '.join(cells)} | {broken} |"
                )
        return "\n".join(lines) + "\n"


class SelfTest:
    """One self-test. :meth:`execute` runs all of its cases, once."""

    def __init__(
        self,
        chosen: Sequence[Case],
        *,
        state: Path,
        out: Path | None = None,
        seed: int = 1,
        duration_s: float = DURATION_S,
        watcher: Watcher | None = None,
    ) -> None:
        self._cases = chosen
        self._duration_s = duration_s
        self._state = state
        self._out = out
        self._seed = seed
        self._watcher = watcher or Watcher()
        self._healthy: dict[str, Any] = {}

    async def execute(self) -> tuple[Path, SelfTestSummary]:
        """Run each case and compare the verdicts; returns the directory and the result.

        Raises:
            UsageError: The directory cannot be written.
            SimulatorError: The server or the proxy did not start.
        """
        directory = RunDirectory.chosen(self._out, self._state, "selftest")
        with directory, Watchdog() as watchdog:
            watchdog.watch_directory(directory.partial)
            results: list[CaseResult] = []
            for number, case in enumerate(self._cases):
                title = f"{number + 1} of {len(self._cases)}: {case.fault} {case.size}".rstrip()
                results.append(await self._until_judged(case, title, directory.partial))
                self._watcher.begin(results[-1].sentence())
            summary = SelfTestSummary(verdict=_verdict(results), results=results)
            (directory.partial / "selftest.json").write_text(summary.to_json(), encoding="utf-8")
            (directory.partial / "report.md").write_text(summary.to_markdown(), encoding="utf-8")
            return directory.complete(), summary

    async def _until_judged(self, case: Case, title: str, directory: Path) -> CaseResult:
        for tries in range(1, TRIES + 1):
            self._watcher.begin(title if tries == 1 else f"{title} (try {tries})")
            folder = directory / (case.name if tries == 1 else f"{case.name}-{tries}")
            result = await self._run(case, folder)
            result.tries, result.directory = tries, folder.name
            if result.outcome != "void":
                break
        return result

    async def _run(self, case: Case, folder: Path) -> CaseResult:
        """Run one case with a server and proxies of its own."""
        await asyncio.to_thread(folder.mkdir)
        async with AsyncExitStack() as opened:
            port = _free_port()
            proxy = await opened.enter_async_context(ProxyProcess(port))
            stack = await opened.enter_async_context(Stack(folder, more=_settings(port)))
            await stack.start()
            url, hiding = stack.url, None
            if case.hidden:
                hiding = await opened.enter_async_context(SignallingProxy(stack.url, case.hidden))
                url = hiding.url
            faults = _Faults(case, self._seed, proxy, stack, folder)
            scenario = _scenario(self._seed, case.duration_s or self._duration_s, case.pausing)
            run = pattern_of(scenario).make_run(
                scenario,
                state=self._state,
                out=folder / "run",
                target=Target(url, stack.credentials),
                watcher=_Arming(self._watcher, faults),
            )
            _, summary = await run.execute()
            await faults.finish()
            if complaint := stack.complaint():
                raise StackError(complaint)
        values = summary.model_dump(mode="json", by_alias=True)
        if case is self._cases[0]:
            self._healthy = values
        hidden = 0 if hiding is None else len(hiding.withheld)
        return await asyncio.to_thread(self._judge, case, values, folder, faults, hidden)

    def _judge(
        self, case: Case, summary: dict[str, Any], folder: Path, faults: _Faults, hidden: int
    ) -> CaseResult:
        window = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
        evidence = read_evidence(
            (window["window_start_ns"] or 0, window["window_end_ns"] or 0),
            faults.server_log,
            faults.network_log(),
            hidden=hidden,
            paused=_paused(folder / "run") if case.pausing else (),
            healthy=self._healthy,
        )
        return judge(case, summary, evidence)


class _Faults:
    """The faults of one run: armed once, ended once, in tasks that :meth:`finish` waits for.

    Those of the server end with the measured time, so that what its log counts is of that time; what it withheld without a gap
    is never asked for. Those of the network last until all have left: a repair while the run waits for what is under way
    would undo what was done.
    """

    def __init__(self, case: Case, seed: int, proxy: ProxyProcess, stack: Stack, folder: Path) -> None:
        self.server_log: dict[str, Any] = {}
        self._case = case
        self._seed = seed
        self._proxy = proxy
        self._stack = stack
        self._network_log = folder / "network-faults.json"
        self._server_log = folder / "server-faults.json"
        self._arming: asyncio.Task[None] | None = None
        self._server_ending: asyncio.Task[None] | None = None

    def entered(self, phase: str) -> None:
        """Arm and end as the run goes on to this phase."""
        loop = asyncio.get_running_loop()
        if phase == ("ramp" if self._case.from_join else "hold"):
            self._arming = self._arming or loop.create_task(self._arm())
        elif phase not in ("hold", "ramp") and self._arming is not None:
            self._server_ending = self._server_ending or loop.create_task(self._end_server(self._arming))

    async def finish(self) -> None:
        """Wait for the logs.

        Raises:
            SimulatorError: The server or the proxy did not take the faults.
        """
        if self._arming is None:
            raise SimulatorError(f"{self._case.fault}: the run ended before its faults began")
        await (self._server_ending or self._end_server(self._arming))
        await self._proxy.disarm(self._network_log)

    def network_log(self) -> dict[str, Any]:
        """Read what the proxy wrote."""
        log: dict[str, Any] = json.loads(self._network_log.read_text(encoding="utf-8"))
        return log

    async def _arm(self) -> None:
        await self._proxy.arm(self._case.network, self._seed)
        if self._case.server:
            body = {"seed": self._seed, "faults": [dict(fault) for fault in self._case.server]}
            await self._ask("PUT", body)

    async def _end_server(self, arming: asyncio.Task[None]) -> None:
        await arming
        if self._case.server:
            self.server_log = await self._ask("GET")
            await self._ask("PUT", {})
            self._server_log.write_text(json.dumps(self.server_log), encoding="utf-8")

    async def _ask(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        async with Rest(self._stack.url) as rest:
            return await rest.request(method, _FAULTS, self._stack.credentials.for_service(), body)


class _Arming(Watcher):
    """Passes progress on, and arms the faults when the phase they belong to begins."""

    def __init__(self, inner: Watcher, faults: _Faults) -> None:
        self._inner = inner
        self._faults = faults

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Arm, disarm, and pass it on."""
        self._inner.phase(name, duration_s)
        self._faults.entered(name)

    def show(self, progress: Progress) -> None:
        """Pass it on."""
        self._inner.show(progress)


def choose(all_cases: Sequence[Case], *, short: bool, faults: Sequence[str]) -> list[Case]:
    """Choose cases: those of the short form, or those whose fault is named; the healthy server is always the first.

    Raises:
        UsageError: There is no such fault.
    """
    known = list(dict.fromkeys([NONE, *(case.fault for case in all_cases[1:])]))
    for name in faults:
        if name not in known:
            raise UsageError(f"the self-test has no fault {name!r}; it has: {', '.join(known)}")
    chosen = [
        case
        for case in all_cases[1:]
        if (case.in_short or not short) and (case.fault in faults or not faults)
    ]
    return [all_cases[0], *chosen]


def _verdict(results: Sequence[CaseResult]) -> Literal["pass", "fail", "void"]:
    outcomes = {result.outcome for result in results}
    if "missed" in outcomes:
        return "fail"
    return "void" if "void" in outcomes else "pass"


def _scenario(seed: int, duration_s: float, pausing: int) -> Scenario:
    return Scenario.from_values(
        {
            "name": "selftest",
            "pattern": "group",
            "seed": seed,
            "participants": {"count": PARTICIPANTS, "bots": "native"},
            "ramp": {"over_s": 0.3, "timeout_s": 3.0},
            "hold": {"duration_s": duration_s, "settle_s": 0.5},
            "slo": list(OBJECTIVES),
            "group": {"pausing": pausing},
        }
    )


def _paused(directory: Path) -> list[tuple[int, str, int, int]]:
    raw = RawRun.read(directory)
    return [(bot, KINDS[kind], start, end) for bot, kind, start, end in paused_spans(raw)]


def _settings(port: int) -> dict[str, str]:
    """Return how the server is started: behind the proxy, with one worker that takes faults."""
    return {
        "MEESHY_DEVELOPMENT": "true",
        "MEESHY_WORKERS": "1",
        "MEESHY_RTC_MIN_PORT": str(port),
        "MEESHY_RTC_MAX_PORT": str(port),
        "MEESHY_RTC_LISTEN_IPS": BACK_IP,
        "MEESHY_ANNOUNCED_IP": FRONT_IP,
        "MEESHY_TCP": "false",
    }


def _free_port() -> int:
    """Find a port that is free on both sides of the proxy.

    Raises:
        StackError: There is none.
    """
    for _ in range(_PORTS_TRIED):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as front,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back,
        ):
            front.bind((FRONT_IP, 0))
            port = int(front.getsockname()[1])
            try:
                back.bind((BACK_IP, port))
            except OSError:
                continue
            return port
    raise StackError(f"no UDP port is free on both {FRONT_IP} and {BACK_IP}")
