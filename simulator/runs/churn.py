"""The pattern `churn`: participants join and leave several calls at random, while faults may be injected.

Seeded: the same seed makes the same participants do the same in the same order, as far as the network allows. At the end all
participants of each call must receive all others.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from simulator.client.caller import Caller
from simulator.client.legs import CallBot
from simulator.errors import BotError, NotServedError, SignalingError, SimulatorError, first_error
from simulator.runs.call_run import GATEWAY_USES, CallPattern, people_per_call
from simulator.runs.environment import CallEnvironment
from simulator.runs.expect import all_media_flows
from simulator.runs.faults import PATIENCE_S, FaultInjector
from simulator.scenario import Ratio, Scenario, Table

FEWEST = 2
"""With fewer participants a call ends by itself."""
GRACE_S = 5.0
"""How long the gateway keeps the place of a participant whose connection broke, in this pattern."""


class ChurnOptions(Table):
    """How participants join and leave."""

    calls: int = Field(default=4, ge=1, le=500)
    """Calls at once."""
    people: int = Field(default=5, ge=3, le=50)
    """The most participants in one call."""
    pause_s: float = Field(default=1.0, gt=0, le=600)
    """Mean time between two events of one call."""
    chaos: Ratio = 0.0
    """Share of events that are injected faults: a vanished client or a killed worker, media server or gateway."""


class ChurningCall:
    """One call, with the participants that are in it and those that are not."""

    def __init__(
        self,
        environment: CallEnvironment,
        bots: list[CallBot],
        conversation: str,
        faults: FaultInjector,
        seed: str,
    ) -> None:
        self.inside: list[Caller] = []
        self._outside = list(bots)
        self._environment = environment
        self._conversation = conversation
        self._faults = faults
        self._options = environment.scenario.options(ChurnOptions)
        self._random = random.Random(seed)
        self._call_id = ""

    async def begin(self) -> None:
        """Start the call with two participants."""
        first = self._environment.caller(self._outside.pop(0), self._conversation)
        self.inside.append(first)
        self._call_id = await first.initiate(self._conversation)
        await self._join_one()

    async def churn(self, until_s: float) -> None:
        """Let participants join and leave until this time (monotonic seconds)."""
        while True:
            wait_s = self._random.expovariate(1 / self._options.pause_s)
            if time.monotonic() + wait_s >= until_s:
                return
            await asyncio.sleep(wait_s)
            await self._faults.gateway_is_up.wait()
            try:
                await self._one_event()
            except SimulatorError as error:
                # Requests fail while a service is down. Whether the call survived is checked at the end.
                self._environment.note("event-failed", call=self._call_id, error=str(error))

    async def check(self) -> None:
        """Wait until all participants receive all others.

        Raises:
            BotError: A stream is missing.
        """
        await all_media_flows(self.inside, patience_s=PATIENCE_S)

    async def _one_event(self) -> None:
        if self._random.random() < self._options.chaos:
            what = self._faults.next()
            if what != "client":
                await self._faults.inject(what)
            elif len(self.inside) > FEWEST:
                self._environment.fault(what)
                await self._leave_one(vanish=True)
            return
        can_join = bool(self._outside)
        can_leave = len(self.inside) > FEWEST
        if can_join and (not can_leave or self._random.random() < 0.5):
            await self._join_one()
        elif can_leave:
            await self._leave_one()

    async def _join_one(self) -> None:
        bot = self._outside.pop(self._random.randrange(len(self._outside)))
        caller = self._environment.caller(bot, self._conversation)
        try:
            await caller.join(self._call_id)
        except SignalingError:
            await self._environment.dismiss(caller)
            self._outside.append(bot)
            raise
        self.inside.append(caller)

    async def _leave_one(self, *, vanish: bool = False) -> None:
        caller = self.inside.pop(self._random.randrange(len(self.inside)))
        await self._environment.dismiss(caller, vanish=vanish)
        self._outside.append(caller.bot)


class Churn(CallPattern):
    """Several calls whose participants join and leave at random."""

    name = "churn"
    description = "Participants join and leave several calls at random; with `chaos` clients, workers and services are killed."
    options = ChurnOptions
    uses = frozenset({"participants.count", "hold.duration_s", *GATEWAY_USES})
    settings: ClassVar[Mapping[str, str]] = {"MEESHY_RECONNECT_GRACE_S": f"{GRACE_S:g}"}

    def largest_call(self, scenario: Scenario) -> int:
        """Return how many participants there are in one call at most."""
        return scenario.options(ChurnOptions).people

    def participants(self, scenario: Scenario) -> int:
        """Return how many participants all calls may need."""
        options = scenario.options(ChurnOptions)
        return options.calls * options.people

    def spread(self, scenario: Scenario, count: int, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Spread so many participants evenly over the calls.

        Raises:
            ScenarioError: That leaves some over.
        """
        calls = int(changes.get("calls", scenario.options(ChurnOptions).calls))
        return {self.name: {"people": people_per_call(calls, count)}}

    def left_out(self, scenario: Scenario) -> list[str]:
        """List what a run of this scenario cannot do or check on a gateway that is not its own."""
        kills = ["kills of workers, media server and gateway; only clients are cut off"]
        return [*super().left_out(scenario), *(kills if scenario.options(ChurnOptions).chaos else [])]

    def describe(self, scenario: Scenario) -> str:
        """Describe in a sentence what a run does."""
        options = scenario.options(ChurnOptions)
        faults = f"; {options.chaos:.0%} of the events are injected faults" if options.chaos else ""
        return (
            f"Participants join and leave at random in {options.calls} calls of 2 to {options.people}, "
            f"each call every {options.pause_s:g} s on average{faults}."
        )

    def standby(self, scenario: Scenario) -> bool:
        """Whether the stack keeps a process in reserve: only if services are killed."""
        return scenario.options(ChurnOptions).chaos > 0

    async def run(self, environment: CallEnvironment) -> None:
        """Let participants join and leave all calls for as long as the scenario asks.

        Raises:
            BotError: A call did not survive.
        """
        scenario, options = environment.scenario, environment.scenario.options(ChurnOptions)
        faults = FaultInjector(environment, scenario.seed)
        run = f"sim-{scenario.seed}-{time.time_ns():x}"
        calls = [
            ChurningCall(
                environment,
                environment.bots[i * options.people : (i + 1) * options.people],
                f"{run}-{i}",
                faults,
                f"{scenario.seed}-{i}",
            )
            for i in range(options.calls)
        ]
        environment.phase("the calls begin")
        for call in calls:
            await call.begin()
        environment.phase("participants join and leave", scenario.hold.duration_s)
        until_s = time.monotonic() + scenario.hold.duration_s
        try:
            async with asyncio.TaskGroup() as churning:
                for call in calls:
                    churning.create_task(call.churn(until_s))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        environment.phase("checking that all calls survived")
        await asyncio.sleep(GRACE_S if options.chaos else 0)
        lost: list[str] = []
        for call in calls:
            try:
                await call.check()
            except BotError as error:
                lost.append(str(error))
                environment.dropped_calls += 1
        if lost:
            raise NotServedError("; ".join(lost))


PATTERN = Churn()
