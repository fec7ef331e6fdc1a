"""What happens in the scenario `churn`: several calls whose people come and go at random, while things may die.

Seeded: the same seed makes the same people do the same in the same order, as far as the network lets them. At the end
everybody must see everybody in their call; whether something is left of the calls is looked at as after every play.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from simulator.client.media_server import Rest
from simulator.client.participant import first_error
from simulator.errors import BotError, ScenarioError, SignalingError, SimulatorError

if TYPE_CHECKING:
    from simulator.client.caller import Caller
    from simulator.client.legs import CallBot
    from simulator.runs.environment import CallEnvironment

FEWEST = 2
"""With fewer people a call would end by itself."""
PATIENCE_S = 20.0
GRACE_S = 5.0
"""How long the gateway keeps people who are gone without a word, in this scenario."""
DEATHS = ("client", "worker", "media", "gateway")
SETTINGS = {"MEESHY_RECONNECT_GRACE_S": f"{GRACE_S:g}"}
"""For the stack."""


class FaultInjector:
    """Kills things, one at a time, and keeps people from asking a gateway that is not there."""

    def __init__(self, environment: CallEnvironment, seed: int) -> None:
        self._environment = environment
        self._random = random.Random(seed)
        self._one_at_a_time = asyncio.Lock()
        self.gateway_is_up = asyncio.Event()
        self.gateway_is_up.set()
        self._due = list(DEATHS)

    def next(self) -> str:
        """Choose what dies next: everything once before anything twice."""
        if not self._due:
            self._due = list(DEATHS)
        return self._due.pop(self._random.randrange(len(self._due)))

    async def inject(self, what: str) -> None:
        """Let a worker, the media server or the gateway die; the two services come back."""
        stack = self._environment.stack
        async with self._one_at_a_time:
            self._environment.death(what)
            match what:
                case "worker":
                    async with Rest(stack.media.url) as rest:
                        token = stack.credentials.for_service()
                        workers = (await rest.request("GET", "/api/stats", token)).get("workers") or [{}]
                        index = self._random.randrange(len(workers))
                        await rest.request("POST", f"/api/dev/workers/{index}/panic", token, {})
                case "media":
                    await stack.media.kill()
                    await stack.media.start()
                case "gateway":
                    self.gateway_is_up.clear()
                    await stack.gateway.kill()
                    await stack.gateway.start()
                    self.gateway_is_up.set()
            # What dies while others still recover could not be told apart from it.
            await asyncio.sleep(PATIENCE_S / 2)


class ChurningCall:
    """The people of one call: some in it, some not."""

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
        self._settings = environment.scenario.churn

        self._random = random.Random(seed)
        self._call_id = ""

    async def begin(self) -> None:
        """Let two people start the call."""
        first = self._environment.caller(self._outside.pop(0), self._conversation)
        self.inside.append(first)
        self._call_id = await first.initiate(self._conversation)
        await self._come()

    async def churn(self, until_s: float) -> None:
        """Let people come and go until then (monotonic seconds)."""
        while True:
            pause_s = self._random.expovariate(1 / self._settings.pause_s)
            if time.monotonic() + pause_s >= until_s:
                return
            await asyncio.sleep(pause_s)
            await self._faults.gateway_is_up.wait()
            try:
                await self._one_event()
            except SimulatorError as error:
                # Who asks while things are down is refused; whether the call lives is seen at the end.
                self._environment.note("event-failed", call=self._call_id, error=str(error))

    async def check(self) -> None:
        """Wait until everybody sees everybody.

        Raises:
            BotError: Somebody does not.
        """
        numbers = {caller.bot.number for caller in self.inside}
        for caller in self.inside:
            await caller.sees(numbers - {caller.bot.number}, PATIENCE_S)

    async def _one_event(self) -> None:
        if self._random.random() < self._settings.chaos:
            what = self._faults.next()
            if what != "client":
                await self._faults.inject(what)
            elif len(self.inside) > FEWEST:
                self._environment.death(what)
                await self._go(vanish=True)
            return
        can_come = bool(self._outside)
        can_go = len(self.inside) > FEWEST
        if can_come and (not can_go or self._random.random() < 0.5):
            await self._come()
        elif can_go:
            await self._go()

    async def _come(self) -> None:
        bot = self._outside.pop(self._random.randrange(len(self._outside)))
        caller = self._environment.caller(bot, self._conversation)
        try:
            await caller.join(self._call_id)
        except SignalingError:
            await self._environment.dismiss(caller)
            self._outside.append(bot)
            raise
        self.inside.append(caller)

    async def _go(self, *, vanish: bool = False) -> None:
        caller = self.inside.pop(self._random.randrange(len(self.inside)))
        await self._environment.dismiss(caller, vanish=vanish)
        self._outside.append(caller.bot)


async def churn(environment: CallEnvironment) -> None:
    """Let people come and go in all calls for as long as the scenario asks.

    Raises:
        BotError: A call did not live.
    """
    scenario = environment.scenario
    calls, people = scenario.churn.calls, scenario.churn.people
    if len(environment.bots) < calls * people:
        raise ScenarioError(
            f"{calls} calls of up to {people} people need participants.count of at least {calls * people}"
        )
    faults = FaultInjector(environment, scenario.seed)
    run = f"sim-{scenario.seed}-{time.time_ns():x}"
    churning_calls = [
        ChurningCall(
            environment,
            environment.bots[i * people : (i + 1) * people],
            f"{run}-{i}",
            faults,
            f"{scenario.seed}-{i}",
        )
        for i in range(calls)
    ]
    environment.phase("the calls begin")
    for churning_call in churning_calls:
        await churning_call.begin()
    environment.phase("people come and go", scenario.hold.duration_s)
    until_s = time.monotonic() + scenario.hold.duration_s
    try:
        async with asyncio.TaskGroup() as churning:
            for churning_call in churning_calls:
                churning.create_task(churning_call.churn(until_s))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    environment.phase("looking whether all calls live")
    await asyncio.sleep(GRACE_S if scenario.churn.chaos else 0)
    lost: list[str] = []
    for churning_call in churning_calls:
        try:
            await churning_call.check()
        except BotError as error:
            lost.append(str(error))
            environment.dropped_calls += 1
    if lost:
        raise BotError("; ".join(lost))
