"""A pattern for one test: what happens is a function of the test's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from simulator.runs.call_run import CallPattern
from simulator.runs.environment import CallEnvironment
from simulator.scenario import Scenario


class Steps(CallPattern):
    """Run a function of the environment."""

    name = "steps"
    description = "What a test does."

    def __init__(self, steps: Callable[[CallEnvironment], Awaitable[None]]) -> None:
        self._steps = steps

    def describe(self, scenario: Scenario) -> str:
        return self.description

    async def run(self, environment: CallEnvironment) -> None:
        await self._steps(environment)
