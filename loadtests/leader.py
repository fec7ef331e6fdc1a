"""The run as the master sees it, or the only process: its stage, its seats, and its end.

Says what is run and why it ended; the stage process (children/stage.py) keeps the run directory and judges.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from locust.env import Environment

from loadtests.child_process import ChildProcess, Json
from loadtests.messages import JudgeOrder, Setup, StageOrder, Verdict
from loadtests.options import GivenOptions, SuiteOptions, secret_for
from loadtests.seats import Seats
from loadtests.shapes import CallShape

_BEGIN_TIMEOUT_S = 90.0
_JUDGE_TIMEOUT_S = 600.0
_PEOPLE_PER_CALL = 5


class Leader:
    """One run, from :meth:`begin` to :meth:`judge` or :meth:`close`."""

    def __init__(
        self,
        environment: Environment,
        given: GivenOptions,
        *,
        on_broken: Callable[[str], None],
        on_measure: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            environment: Of locust.
            given: Options of locust, as they were given.
            on_broken: Takes what ended that must not.
            on_measure: Called when the measured time begins.
        """
        self._shape = environment.shape_class if isinstance(environment.shape_class, CallShape) else None
        self._environment = environment
        self._given = given
        self._on_broken = on_broken
        self._on_measure = on_measure
        self._options = SuiteOptions.read(environment.parsed_options)
        self._stage: ChildProcess | None = None
        self._begun_s = time.monotonic()
        self.parts = Path()
        """Where the raw samples of each process with participants go."""
        self.seats = Seats(self._per_call)
        self.aborted: list[str] = []
        """Why the run is an error."""

    def begin(self) -> Setup:
        """Start the servers, or try those that were named; returns what processes with participants need.

        Raises:
            UsageError: An option cannot be used.
            ChildError: The servers did not start, or what was named is no gateway.
        """
        order = self._order()
        self._stage = ChildProcess("loadtests.children.stage", self._take)
        begun = self._stage.ask("begin", timeout_s=_BEGIN_TIMEOUT_S, order=order.model_dump(mode="json"))
        self.parts = Path(begun.pop("parts"))
        return Setup(
            **begun,
            seed=order.seed,
            network=order.network,
            kinds=order.kinds,
            bot_threads=self._options.bot_threads,
        )

    def started(self) -> None:
        """Start the clock of the test: participants may join."""
        self._begun_s = time.monotonic()
        if self._shape is not None:
            self._shape.arrived = self._arrived
            self._shape.begin(self._measure)
        else:
            self._measure()

    def judge(self, parts: Sequence[str], ended_ns: int) -> Verdict:
        """End the run with its verdict.

        Args:
            parts: Names of the processes whose samples are there.
            ended_ns: When the measured time ended.

        Raises:
            ChildError: There is none.
        """
        if self._stage is None:
            raise RuntimeError("a run is judged once it has begun")
        order = JudgeOrder(parts=list(parts), aborted=self.aborted, ended_ns=ended_ns)
        try:
            return Verdict.model_validate(
                self._stage.ask("judge", timeout_s=_JUDGE_TIMEOUT_S, order=order.model_dump())
            )
        finally:
            self.close()

    def close(self) -> None:
        """End the stage; a run that was not judged leaves nothing. Idempotent."""
        if self._shape is not None:
            self._shape.end()
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.close()

    def note_end(self, outside: int) -> None:
        """Take note that the load ends, and of how many participants want to be in a call and are not."""
        if outside:
            self.aborted.append(
                f"{outside} of {self.seats.most} participants were in no call at the end; see the failures"
            )
        if not self._is_over() and not self.aborted:
            self.aborted.append("the test was stopped before its end")
        elif self._shape is not None and self.seats.most < self._shape.size():
            self.aborted.append(f"locust started only {self.seats.most} of {self._shape.size()} participants")

    def _measure(self) -> None:
        if self._stage is not None:
            self._stage.ask("measure")
            self._on_measure()

    def _arrived(self, participants: int) -> bool:
        """Return whether media flows for so many; the first of each call has nobody to wait for."""
        calls = -(-participants // self._per_call)
        arrivals = self._environment.stats.get("first media", "MEDIA").num_requests
        return arrivals >= participants - calls

    def _is_over(self) -> bool:
        if self._shape is not None:
            # one without an end is as long as whoever stops it wants
            return self._shape.finished or math.isinf(self._shape.length_s())
        limit = self._given.run_time_s
        # without a limit, whoever stops it decides how long the test is
        return limit is None or time.monotonic() - self._begun_s >= limit - 1

    @property
    def _per_call(self) -> int:
        wanted = self._options.per_call
        return wanted or (_PEOPLE_PER_CALL if self._shape is None else self._shape.per_call)

    def _order(self) -> StageOrder:
        options, shape, host = self._options, self._shape, self._environment.host
        participants = self._given.users or 1 if shape is None else shape.size()
        description = (
            "{participants} participants in calls of {per_call}." if shape is None else shape.description
        )
        return StageOrder(
            name="free" if shape is None else shape.name,
            description=description.format(participants=participants, per_call=self._per_call),
            state_dir=options.state_dir,
            host=host.rstrip("/") if host else None,
            secret=secret_for(host, options.state_dir) if host else None,
            out=options.out,
            junit=options.junit,
            openmetrics=options.openmetrics,
            job_summary=options.job_summary,
            participants=participants,
            calls=-(-participants // self._per_call),
            per_call=self._per_call,
            hold_s=0 if shape is None or math.isinf(shape.length_s()) else shape.length_s(),
            ramp_s=participants / (self._given.spawn_rate or 1) if shape is None else shape.ramp_s(),
            seed=options.seed,
            network=options.network,
            kinds=options.kinds,
            slo=options.slo,
            media=shape is None or shape.media,
            request_p95_ms=options.request_p95_ms,
        )

    def _take(self, message: Json) -> None:
        self._on_broken(str(message.get("broken") or message.get("ended")))
