"""What patterns of the gateway work with: a running stack, bots, and callers that take the bots into calls.

Who joins and leaves when is decided by the patterns (runs/switch.py and others); the callers are in runs/callers.py, what one
of them does is in client/caller.py; starting, recording and ending a run are in runs/call_run.py.
"""

from __future__ import annotations

import time

from simulator.client.caller import Caller
from simulator.client.legs import CallBot
from simulator.errors import StackError
from simulator.report.live import Progress, Watcher
from simulator.runs.callers import Callers, GatewayAccess
from simulator.samples.recorder import Recorder
from simulator.samples.schema import KINDS, Kind
from simulator.scenario import Scenario
from simulator.stack.full import GatewayStack


class CallEnvironment(Callers):
    """What a pattern works with: the stack, the bots, and the callers that take them into calls."""

    def __init__(
        self,
        scenario: Scenario,
        gateway: GatewayAccess,
        recorder: Recorder,
        watcher: Watcher,
        own_stack: GatewayStack | None = None,
    ) -> None:
        """Prepare.

        Args:
            scenario: What is run.
            gateway: Whose calls they are.
            recorder: Where samples go.
            watcher: What is notified of the progress.
            own_stack: The services, if they were started for this run.
        """
        super().__init__(gateway, recorder, kinds=scenario.media.kinds)
        self.scenario = scenario
        self.own_stack = own_stack
        self.bots: list[CallBot] = []
        """All participants of the run, by number."""
        self.progress = Progress(expected=0, participants=scenario.participants.count, steady=False)
        self.measured_from_ns: int | None = None
        """When the measured time began; None before."""
        self.measured_until_ns: int | None = None
        """When it ended; None if it lasts until the pattern is over."""
        self._watcher = watcher

    @property
    def stack(self) -> GatewayStack:
        """The run's own services.

        Raises:
            StackError: They were not started by this run.
        """
        if self.own_stack is None:
            raise StackError("this needs services of the run's own; leave --server out")
        return self.own_stack

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Show what the pattern is doing, and how long that takes if it is known."""
        self._watcher.phase(name, duration_s)

    def measure(self) -> None:
        """Begin the measured time now."""
        self.measured_from_ns = time.time_ns()

    def end_measuring(self) -> None:
        """End the measured time now, before the pattern is over."""
        self.measured_until_ns = time.time_ns()

    @property
    def is_measuring(self) -> bool:
        """Whether the measured time has begun and not ended."""
        return self.measured_from_ns is not None and self.measured_until_ns is None

    def muted(self, bot: CallBot, kind: Kind, began_ns: int, ended_ns: int = 0) -> None:
        """Record that a participant sent nothing of a kind, from when to when; without an end, never again."""
        self._recorder.add("muted", [(bot.number, KINDS.index(kind), began_ns, ended_ns)])

    def caller(self, bot: CallBot, conversation: str) -> Caller:
        """Prepare a caller for a bot in a conversation; it joins when it is asked to."""
        caller = super().caller(bot, conversation)
        self.progress.joined = len(self.present)
        return caller

    def fault(self, what: str) -> None:
        """Record that a fault is injected now: a client, worker, media server or gateway is killed."""
        self._recorder.add("deaths", [(time.time_ns(), what)])
        self.note("death", what=what)

    async def dismiss(self, caller: Caller, *, vanish: bool = False) -> None:
        """Let a caller leave, or vanish without leaving, and record its joins and changes of mode."""
        await super().dismiss(caller, vanish=vanish)
        self.progress.joined = len(self.present)
