"""The summary of a run: every figure, its meaning and its unit, as written to summary.json.

Defines and checks the shape; the figures are computed in analysis/metrics.py from the raw samples. What a run does not
measure is null, never zero.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SUMMARY_SCHEMA: Literal["meeshy.summary/1"] = "meeshy.summary/1"
"""Version of the format; a field may be added to it, but none changed or removed."""

Verdict = Literal["pass", "fail", "void", "error"]


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Percentiles(_Object):
    """A distribution in short."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    samples: int = 0


class PerKind(_Object):
    """One distribution for each kind of media."""

    audio: Percentiles | None = None
    video: Percentiles | None = None


class Streams(_Object):
    """Streams from one participant to one other: audio and video count apart."""

    expected: int
    """What should flow, from who sends to who receives."""
    flowing: int
    """Those that brought packets through the whole of the measured time, never silent for 2 s."""


class LossOf(_Object):
    """Loss of RTP packets between sending and receiving bot."""

    ratio: float | None = None
    """Share of packets that never arrived, retransmissions included."""
    before_repair: float | None = None
    """Share of packets that did not arrive when they were first sent."""


class Loss(LossOf):
    """Loss of all media, and by kind (audio has no retransmission by default)."""

    audio: LossOf | None = None
    video: LossOf | None = None


class Transitions(_Object):
    """Time for a change of mode, per participant."""

    to_sfu: Percentiles | None = None
    """From the gateway's decision until it tells that everybody is on the SFU."""
    to_p2p: Percentiles | None = None
    """From the gateway's decision until it tells that both are on the direct path."""
    told: Percentiles | None = None
    """From the decision until the person hears of it."""
    media: Percentiles | None = None
    """From the decision until all tracks that go on are shown from the new path."""
    confirmed: Percentiles | None = None
    """From the decision until the person confirms."""
    failed: int | None = None
    """Changes that were rolled back or never ended although nothing had been killed, counted per person."""
    interrupted: int | None = None
    """Changes that were rolled back or never ended because a service or client was killed meanwhile, per person."""
    surplus_frames: int | None = None
    """Frames that came by two paths at once; each was shown once."""


class Decoded(_Object):
    """What the bots that decode saw and heard."""

    streams: int
    """Streams that were decoded."""
    frames: int
    """Pictures that came out of the decoder."""
    freezes: int
    """Pauses of over 500 ms between two pictures."""
    audible: int
    """Audio streams with sound in them."""
    audio_streams: int
    """Audio streams that were decoded."""
    playout_ms: PerKind | None = None
    """From stamp to decoded frame: latency, aiortc's jitter buffer and decoding."""


class Server(_Object):
    """The media server, over the measured time."""

    cpu_core_percent: float | None = None
    """CPU time of the whole process, in percent of one core."""
    busiest_thread_percent: float | None = None
    """CPU time of its busiest thread, in percent of one core."""
    cpu_ns_per_packet: float | None = None
    """CPU time of the whole process per packet it sent."""
    rss_bytes: int | None = None
    """The largest resident size seen."""
    packets_out: int | None = None
    """Packets it sent."""
    packets_in: int | None = None
    """Packets it received."""


class Leaks(_Object):
    """What was left on the run's own stack when everybody had left."""

    rooms: int
    """Rooms on the media server."""
    calls: int
    """Calls that are not over in the database."""
    people: int
    """People who are still in a call in the database."""
    sockets: int
    """Sockets a service has open beyond those of its start; the worse of media server and gateway."""
    files: int
    """The same of open files that are no sockets."""
    tasks: int
    """The same of jobs of the event loop."""
    contradictions: int
    """Where the rows of the database are not what people lived through."""
    media_growth_bytes: int | None = None
    """Resident size of the media server at the end, minus that at its start."""
    gateway_growth_bytes: int | None = None
    """The same of the gateway."""
    findings: list[str] = []
    """Each thing that is left behind or contradicts, by its name."""


class Generator(_Object):
    """The load generator's check of itself, over the measured time."""

    valid: bool
    """False makes the run void."""
    lag_ms: Percentiles | None = None
    """How late its threads and processes woke up; the worst case of each second."""
    cpu_core_percent: float | None = None
    """CPU time of all bots, in percent of one core."""
    busiest_core_percent: float | None = None
    """CPU time of the busiest thread (native) or process (aiortc)."""
    socket_drops: int | None = None
    """Datagrams that the bots' sockets had no room for."""
    late_send_ratio: float | None = None
    """Share of packets that left more than 5 ms after they were due."""


class SloResult(_Object):
    """One comparison and its outcome."""

    expression: str
    value: float | None
    limit: float | None
    passed: bool | None
    """None when a default does not apply because nothing was measured."""


class Machine(_Object):
    """Where it was measured, and with what."""

    cores: int
    cpu: str
    kernel: str
    python: str
    version: str
    """Version of meeshy-sfu."""
    build_profile: str | None = None
    """Build profile of the native module; debug builds are refused."""


class Summary(_Object):
    """Everything a run found, in one object."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, title="Summary of a meeshy simulate run")

    summary_schema: Literal["meeshy.summary/1"] = Field(default=SUMMARY_SCHEMA, alias="schema")
    scenario: str
    seed: int
    verdict: Verdict
    """`pass`; `fail`: below an SLO; `void`: the generator was too weak to judge; `error`: it broke off."""
    reasons: list[str]
    """Why it is not `pass`; empty otherwise."""
    started_at: str
    """UTC, ISO 8601."""
    duration_s: float | None
    """Length of the measured part."""
    participants: int
    bots: dict[str, int]
    """Participants by kind of bot."""
    streams: Streams
    latency_ms: PerKind
    """One way, from leaving the sending bot to reaching the receiving bot."""
    loss: Loss
    duplicates: int | None
    """Packets that arrived more than once."""
    out_of_order: int | None
    """Packets that arrived after one sent later, retransmissions aside."""
    foreign_frames: int | None
    """Stamps of somebody else than the announced sender."""
    join_ms: Percentiles | None
    """From the start of a join until all streams to and from those already there flow; per participant."""
    transition_ms: Transitions | None
    gap_ms: PerKind | None
    """Longest pause in each stream around a change of mode."""
    recovery_ms: Percentiles | None = None
    """How long each affected stream stood still after a client, worker or server was killed."""
    decoded: Decoded | None
    dropped_calls: int | None
    """Calls that the server ended."""
    leftovers: Leaks | None = None
    """What was left when everybody had left, and contradictions in the database; for calls of the gateway."""
    server: Server
    generator: Generator
    slo: list[SloResult]
    machine: Machine | None

    def to_json(self) -> str:
        """Give the content of summary.json."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2) + "\n"


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of summary.json; a test compares simulator/summary.schema.json with it."""
    schema = Summary.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


@functools.cache
def figure_paths() -> frozenset[str]:
    """Give the paths of all numbers in the summary, as SLO expressions name them."""
    return frozenset(_paths(Summary, ""))


def _paths(model: type[BaseModel], prefix: str) -> list[str]:
    found: list[str] = []
    hints = typing.get_type_hints(model)
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        for option in _options(hints[name]):
            if isinstance(option, type) and issubclass(option, BaseModel):
                found += _paths(option, f"{path}.")
            elif option in (int, float):
                found.append(path)
    return found


def _options(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)
