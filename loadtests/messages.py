"""What a locust process and its child processes say to each other: values that go over the wire as JSON.

Types alone; used by both sides, so it knows neither gevent nor asyncio.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from simulator.samples.schema import Kind
from simulator.scenario import Network

PART_FILE = "part.json"
"""The file with :class:`Part` in the directory of each process that had participants."""

Group = Literal["JOIN", "MEDIA", "SWITCH", "CALL", "REST", "EVENT"]
"""What locust calls the type of a request."""


class Message(BaseModel):
    """A value on the wire; unknown fields are refused, so that both sides are of one version."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StageOrder(Message):
    """What the stage is told before a run: which gateway, and what the report should know."""

    name: str
    """Of the scenario, such as `t1`."""
    description: str
    """What happens in the run, in a sentence."""
    state_dir: str
    """Directory of the media clip, and of runs without `out`."""
    host: str | None = None
    """The gateway to use; None starts gateway and media server for the run."""
    secret: str | None = None
    """With `host`: the secret its tokens are signed with."""
    out: str | None = None
    """The run directory to make."""
    junit: str | None = None
    openmetrics: str | None = None
    job_summary: bool = False
    """Files for programs; see simulator/report/outputs.py."""
    participants: int
    """The most participants at a time."""
    calls: int
    per_call: int
    hold_s: float
    ramp_s: float
    seed: int = 1
    network: Network = Network()
    kinds: tuple[Kind, ...] = ("audio", "video")
    slo: tuple[str, ...] = ()
    media: bool = True
    """Whether there is media to judge; else requests are."""
    request_p95_ms: float | None = None
    """Without media: what the 95th percentile of each request must be below."""


class Setup(Message):
    """What each process with participants is told before a run."""

    run: str
    """Name of the run; its calls have it in their conversation, so that runs do not meet."""
    gateway_url: str
    secret: str
    switch_deadline_s: float
    seed: int
    network: Network
    kinds: tuple[Kind, ...]
    bot_threads: int
    media_wait_s: float = 15.0
    """How long after a join media may take until it is a failure."""


class Measured(Message):
    """One thing that was measured: one request, in locust's words."""

    group: Group
    name: str
    ms: float
    seat: int
    cause: str | None = None
    """Why it failed: a value of :class:`~loadtests.causes.Cause`."""
    code: str = ""
    """The server's error code, where there is one."""


class Part(Message):
    """What a process with participants says at the end, besides its raw samples."""

    dropped_calls: int
    conversations: list[str]


class JudgeOrder(Message):
    """What the stage is told at the end of a run."""

    parts: list[str]
    """Names of the processes whose samples are there."""
    aborted: list[str]
    """Why the run is an error, if it is."""
    ended_ns: int
    """When the measured time ended."""


class Verdict(Message):
    """What the stage says of a run."""

    verdict: str
    exit_code: int
    directory: str
    text: str
    """For the terminal."""
