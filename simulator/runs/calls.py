"""The pattern `calls`: many calls at once, steady or in stages, with roles, talk in turns and actions at given times.

Seeded: the same scenario and seed let the same participants do the same at the same times. What one participant of a call does
is in runs/members.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from simulator.errors import BotError, NotServedError, SimulatorError, first_error
from simulator.runs.call_run import GATEWAY_USES, CallPattern, people_per_call
from simulator.runs.environment import CallEnvironment
from simulator.runs.expect import PATIENCE_S, all_media_flows
from simulator.runs.faults import FaultInjector
from simulator.runs.members import Member, SteadyCall
from simulator.scenario import Action, Ratio, Scenario, Stage, Table


class CallsOptions(Table):
    """How many calls, how many participants in each, and what they do."""

    calls: int = Field(default=10, ge=1, le=500)
    """Calls at once."""
    people: int = Field(default=5, ge=2, le=100)
    """Participants in each call."""
    senders: int = Field(default=0, ge=0, le=100)
    """How many of each call send; the others only receive. 0: all send."""
    muted: Ratio = 0.0
    """Share of those who send whose microphone is off."""
    cameras: Ratio = 1.0
    """Share of those who send whose camera is on."""
    talkers: int = Field(default=0, ge=0, le=100)
    """How many of each call talk at a time, in turns; 0: everyone talks all the time."""
    spurt_s: float = Field(default=3.0, gt=0, le=600)
    """How long one talks on average before another does."""

    @model_validator(mode="after")
    def _enough(self) -> CallsOptions:
        for name in ("senders", "talkers"):
            if getattr(self, name) > self.people:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but a call has {self.people} participants (`people`)"
                )
        return self

    @property
    def everyone_sends_all(self) -> bool:
        """Whether all send audio and video all the time."""
        return not (self.senders or self.muted or self.talkers) and self.cameras == 1


class Calls(CallPattern):
    """Many calls at once."""

    name = "calls"
    description = "Many calls at once, steady or in stages; participants may be mere receivers, muted, or act at given times."
    options = CallsOptions
    uses = frozenset({"participants.count", "ramp", "hold", "stages", "at", "media.dtx", *GATEWAY_USES})
    measures_joins = False

    def participants(self, scenario: Scenario) -> int:
        """Return how many participants there are at most."""
        return max(2, *(stage.calls * stage.people for stage in stages_of(scenario)))

    def largest_call(self, scenario: Scenario) -> int:
        """Return how many participants there are in one call at most."""
        return max(stage.people for stage in stages_of(scenario))

    def overridden(self, scenario: Scenario) -> Mapping[str, str]:
        """Return what the stages say instead."""
        keys = ("calls.calls", "calls.people", "hold.duration_s", "participants.count")
        return dict.fromkeys(keys, "the table stages") if scenario.stages else {}

    def spread(self, scenario: Scenario, count: int, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Spread so many participants evenly over the calls.

        Raises:
            ScenarioError: That leaves some over.
        """
        calls = int(changes.get("calls", scenario.options(CallsOptions).calls))
        return {self.name: {"people": people_per_call(calls, count)}}

    def check(self, scenario: Scenario) -> None:
        """Refuse what only native bots can do, stages beside another number of calls, and actions outside the run."""
        options = scenario.options(CallsOptions)
        if scenario.participants.bots != "native" and not (options.everyone_sends_all and not scenario.at):
            raise ValueError(
                "participants.bots: only native bots can be receivers, muted, cut off, or act at given times; set it to native"
            )
        if scenario.stages and scenario.stages[0].calls == 0:
            raise ValueError("stages.0.calls: the first stage has at least one call")
        until_s = sum(stage.duration_s for stage in stages_of(scenario))
        for number, action in enumerate(scenario.at):
            if action.s >= until_s:
                raise ValueError(f"at.{number}.s is {action.s:g}, but the measured time lasts {until_s:g} s")
            _check_place(number, action, stages_of(scenario))

    def left_out(self, scenario: Scenario) -> list[str]:
        """List what a run of this scenario cannot do or check on a gateway that is not its own."""
        actions = [f"{action.do} at {action.s:g} s" for action in scenario.at if action.needs_stack]
        return [*super().left_out(scenario), *actions]

    def describe(self, scenario: Scenario) -> str:
        """Describe in a sentence what a run does."""
        options, stages = scenario.options(CallsOptions), stages_of(scenario)
        parts = [" then ".join(f"{s.calls} calls of {s.people}" for s in stages) + " go on at once"]
        if options.senders:
            parts.append(f"{options.senders} of each call send, the others receive")
        if options.talkers:
            parts.append(f"{options.talkers} of each call talk at a time")
        if scenario.at:
            parts.append(f"{len(scenario.at)} actions happen at given times")
        return "; ".join(parts) + "."

    def standby(self, scenario: Scenario) -> bool:
        """Whether the stack keeps a process in reserve: only if services are killed."""
        return any(action.needs_stack for action in scenario.at)

    async def run(self, environment: CallEnvironment) -> None:
        """Fill all calls within the ramp, measure, and look whether all survived.

        Raises:
            BotError: Media is missing, or a call did not survive.
        """
        run = CallsRun(environment)
        await run.fill()
        await run.measure()
        await run.check()


class CallsRun:
    """One run of the pattern."""

    def __init__(self, environment: CallEnvironment) -> None:
        self._environment = environment
        self._scenario = environment.scenario
        self._options = environment.scenario.options(CallsOptions)
        self._faults = FaultInjector(environment, self._scenario.seed)
        self._run = f"sim-{self._scenario.seed}-{time.time_ns():x}"
        self._stages = stages_of(self._scenario)
        self._calls: list[SteadyCall] = []
        self._free = list(environment.bots)

    async def fill(self) -> None:
        """Let all join who are there at first, within the ramp, and wait until all media flows.

        Raises:
            BotError: It does not in time.
        """
        environment, ramp = self._environment, self._scenario.ramp
        environment.phase("all join", ramp.over_s)
        await self._resize(self._stages[0], ramp.over_s)
        environment.phase("waiting for all media")
        await self._until_flowing(ramp.timeout_s)
        environment.note("ramp-done", joined=environment.progress.joined)
        await asyncio.sleep(self._scenario.hold.settle_s)

    async def measure(self) -> None:
        """Measure while calls grow and shrink by the stages, participants talk, and actions happen.

        Raises:
            SimulatorError: A stage could not be reached, or an action could not be done.
        """
        self._environment.measure()
        try:
            async with asyncio.TaskGroup() as beside:
                tasks = [beside.create_task(self._act(action)) for action in self._scenario.at]
                if self._options.talkers:
                    tasks.append(beside.create_task(self._talk()))
                await self._hold()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def check(self) -> None:
        """Look whether every call is alive, and all its media flows.

        Raises:
            BotError: One is not.
        """
        self._environment.end_measuring()
        self._environment.phase("checking that all calls survived")
        lost: list[str] = []
        for call in self._calls:
            try:
                await call.check(PATIENCE_S)
            except BotError as error:
                lost.append(str(error))
                self._environment.dropped_calls += 1
        if lost:
            raise NotServedError("; ".join(lost))

    async def _hold(self) -> None:
        for number, stage in enumerate(self._stages):
            name = f"stage {number + 1} of {len(self._stages)}" if len(self._stages) > 1 else "hold"
            self._environment.phase(name, stage.duration_s)
            end_s = time.monotonic() + stage.duration_s
            if number:
                await self._resize(stage, min(self._scenario.ramp.over_s, stage.duration_s / 2))
            await asyncio.sleep(max(0.0, end_s - time.monotonic()))

    async def _resize(self, stage: Stage, over_s: float) -> None:
        """Begin and end calls, and let participants join and leave, until there are as many as a stage says."""
        for call in self._calls[stage.calls :]:
            self._free += await call.end()
        del self._calls[stage.calls :]
        for call in self._calls:
            self._free += await call.shrink(stage.people)
        while len(self._calls) < stage.calls:
            number = len(self._calls)
            self._calls.append(
                SteadyCall(self._environment, f"{self._run}-{number}", self._seed(f"call {number}"))
            )
        newcomers: list[tuple[SteadyCall, Member]] = []
        for call in self._calls:
            for _ in range(stage.people - len(call.members)):
                place = len(call.members)
                newcomers.append((call, await call.add(self._free.pop(0), *self._role(call, place))))
        gap_s = over_s / max(1, len(newcomers) - 1)

        async def join(place: int, call: SteadyCall, member: Member) -> None:
            await asyncio.sleep(place * gap_s)
            await call.join(member)

        try:
            async with asyncio.TaskGroup() as joining:
                for place, (call, member) in enumerate(newcomers):
                    joining.create_task(join(place, call, member))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    def _role(self, call: SteadyCall, place: int) -> tuple[bool, bool, bool]:
        """Return whether a participant sends, has its microphone on, and its camera, by its place in the call."""
        options = self._options
        senders = options.senders or self._options.people
        sends = place < senders
        return sends, call.draw() >= options.muted, call.draw() < options.cameras

    async def _until_flowing(self, patience_s: float) -> None:
        for call in self._calls:
            await all_media_flows(call.callers, patience_s=patience_s)

    async def _talk(self) -> None:
        async with asyncio.TaskGroup() as talking:
            for call in self._calls:
                talking.create_task(call.talk(self._options.talkers, self._options.spurt_s))

    async def _act(self, action: Action) -> None:
        """Do something at its time; a request that fails while a service is down is noted, as in a real call."""
        await asyncio.sleep(action.s)
        if action.needs_stack and self._environment.own_stack is None:
            self._environment.note("action-left-out", do=action.do)
            return
        self._environment.note("action", **action.model_dump(exclude_none=True))
        match action.do:
            case "kill-worker" | "kill-media" | "kill-gateway":
                await self._faults.kill(action.do.removeprefix("kill-"))
            case "stop" | "restart" if action.service is not None:
                await (
                    self._faults.restart(action.service)
                    if action.do == "restart"
                    else self._faults.stop(action.service, action.for_s)
                )
            case _:
                try:
                    await self._calls[action.call - 1].act(action)
                except SimulatorError as error:
                    self._environment.note("action-failed", do=action.do, error=str(error))

    def _seed(self, what: str) -> random.Random:
        return random.Random(f"{self._scenario.seed}-{what}")


def stages_of(scenario: Scenario) -> Sequence[Stage]:
    """Return the stages of a scenario; a steady one has one stage."""
    options = scenario.options(CallsOptions)
    steady = Stage.model_construct(
        duration_s=scenario.hold.duration_s, calls=options.calls, people=options.people
    )
    return scenario.stages or (steady,)


def _check_place(number: int, action: Action, stages: Sequence[Stage]) -> None:
    """Refuse an action on a call or participant that is not there in every stage."""
    for name, fewest in (
        ("call", min(s.calls for s in stages)),
        ("participant", min(s.people for s in stages)),
    ):
        if not action.needs_stack and getattr(action, name) > fewest:
            raise ValueError(
                f"at.{number}.{name} is {getattr(action, name)}, but there are {fewest} at some time"
            )


PATTERN = Calls()
