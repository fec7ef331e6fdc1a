"""The summary of a run: every figure, its meaning and its unit, as written to summary.json.

Declares the figures; the functions that compute them are in analysis/. A figure is one field made by :func:`figure`: the
schema, the objectives, the report and the tables of docs/measuring.md follow from it. What a run does not measure is null,
never zero.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from simulator.clock_figures import Clocks
from simulator.figure_types import Bounds, FigureModel, Share, SharePerKind, figure
from simulator.figure_types import Percentiles as Percentiles  # noqa: PLC0414
from simulator.figure_types import PerKind as PerKind  # noqa: PLC0414
from simulator.figure_types import Topic as Topic  # noqa: PLC0414
from simulator.figure_types import Unit as Unit  # noqa: PLC0414
from simulator.host_figures import Host
from simulator.media_figures import LatencyRise, Pauses, Rtcp, Streams
from simulator.samples.end_state import FILES, SOCKETS, TASKS
from simulator.samples.schema import KINDS

SUMMARY_SCHEMA: Final = "meeshy.summary/1"
"""Version of the format; a field may be added to it, but none changed or removed."""

Verdict = Literal["pass", "fail", "void", "error"]


class Frames(FigureModel):
    """Frames by the senders' own record, each counted once for every receiver it was due at.

    A frame is a video frame or an opus packet that carries a stamp.
    """

    due: int | None = figure(
        "frames due",
        "Stamped frames sent within the measured time, for each receiver whose stream should have flowed then.",
    )
    delivered: int | None = figure(
        "frames delivered", "Of these, how many arrived whole and undamaged within 5 s of being sent."
    )
    late: int | None = figure(
        "late frames", "Of the delivered ones, how many were whole only more than 400 ms after being sent."
    )
    missing: int | None = figure("missing frames", "Frames due that were not delivered.")
    incomplete: int | None = figure(
        "incomplete frames",
        "Of the missing ones, how many arrived in part: the stamp came, another packet did not.",
    )
    missing_key_frames: int | None = figure(
        "missing key frames",
        "Of the missing ones, how many were key frames, on which all until the next builds.",
    )
    duplicated: int | None = figure(
        "duplicated frames",
        "Stamps that had come before by the same path: a frame that came twice, or its last packet; not in calls that switch.",
    )


class Unexpected(FigureModel):
    """Packets that a bot cannot attribute to a stream it was told of, by cause."""

    total: int | None = figure(
        "unexpected packets", "All of those below.", objectives=("== 0",), headline=True
    )
    unknown_ssrc: int | None = figure(
        "packets of an unknown SSRC",
        "RTP under an SSRC that was not announced within 5 s, or whose stream had ended more than 5 s before.",
    )
    unauthentic: int | None = figure(
        "packets that failed authentication", "RTP and RTCP whose authentication tag is wrong."
    )
    payload_type: int | None = figure(
        "packets of an unknown payload type",
        "RTP of a known SSRC with a payload type that is not that of its codec.",
    )
    damaged_stamps: int | None = figure(
        "damaged stamps", "Packets that must end with a stamp and do not, or whose stamp fails its checksum."
    )
    malformed: int | None = figure(
        "malformed packets", "What is neither STUN, DTLS, RTP nor RTCP, and RTP where none is received."
    )


class LossOf(FigureModel):
    """Loss of RTP packets between sending and receiving bot."""

    ratio: float | None = figure(
        "packets lost", "Share of packets that never arrived, retransmissions included.", unit="ratio"
    )
    before_repair: float | None = figure(
        "packets lost before repair",
        "Share of packets that did not arrive when they were first sent.",
        unit="ratio",
    )
    interval: Share | None = Field(
        default=None, description="`ratio` again, with its interval and the number of packets."
    )


class Loss(LossOf):
    """Loss of all media, and by kind."""

    ratio: float | None = figure(
        "packets lost",
        "Share of packets that never arrived, retransmissions included.",
        unit="ratio",
        objectives=("< 0.02",),
    )
    audio: LossOf | None = figure("loss", "Loss of audio, which has no retransmission by default.")
    video: LossOf | None = figure("loss", "Loss of video.")


class Transitions(FigureModel):
    """Time for a mode change, per participant."""

    to_sfu: Percentiles | None = figure(
        "change to the SFU",
        "From the gateway's decision until it announces that all participants are on the SFU.",
        unit="ms",
        objectives=("p95 < 2000",),
        headline=True,
    )
    to_p2p: Percentiles | None = figure(
        "change to peer to peer",
        "From the gateway's decision until it announces that both participants are on the direct path.",
        unit="ms",
        objectives=("p95 < 2000",),
        headline=True,
    )
    told: Percentiles | None = figure(
        "decision to notification", "From the decision until the participant is notified of it.", unit="ms"
    )
    media: Percentiles | None = figure(
        "decision to media",
        "From the decision until every track that goes on is shown from the new path.",
        unit="ms",
    )
    confirmed: Percentiles | None = figure(
        "decision to confirmation",
        "From the decision until the participant confirms the new path.",
        unit="ms",
    )
    failed: int | None = figure(
        "failed changes",
        "Changes that were rolled back or never ended although no fault was injected meanwhile; counted per participant.",
        objectives=("== 0",),
    )
    interrupted: int | None = figure(
        "interrupted changes",
        "Changes that were rolled back or never ended because a fault was injected during them or up to 1 s before; "
        "counted per participant.",
    )
    surplus_frames: int | None = figure(
        "surplus frames", "Frames that came by both paths at once; each was shown once."
    )


class Decoded(FigureModel):
    """What the bots that decode received."""

    streams: int = figure("streams decoded", "Streams that were decoded.", default=0)
    frames: int = figure("video frames decoded", "Video frames that came out of the decoder.", default=0)
    freezes: int = figure(
        "video freezes",
        "Times in which no video frame came out of a decoder for over 500 ms.",
        objectives=("== 0",),
        default=0,
    )
    audible: int = figure("audible audio streams", "Decoded audio streams that were not silence.", default=0)
    audio_streams: int = figure("audio streams decoded", "Audio streams that were decoded.", default=0)
    playout_ms: PerKind | None = figure(
        "playout delay",
        "From stamp to decoded frame: latency, aiortc's jitter buffer and decoding.",
        unit="ms",
    )


class Server(FigureModel):
    """The media server, over the measured time."""

    cpu_core_percent: float | None = figure(
        "media server CPU",
        "CPU time of the whole process.",
        unit="% of a core",
        objectives=("< 80",),
    )
    busiest_thread_percent: float | None = figure(
        "busiest media server thread", "CPU time of the busiest thread.", unit="% of a core"
    )
    cpu_ns_per_packet: float | None = figure(
        "media server CPU per packet sent", "CPU time of the whole process per packet it sent.", unit="ns"
    )
    rss_bytes: int | None = figure("media server memory", "The largest resident size seen.", unit="bytes")
    packets_out: int | None = figure("packets sent by the media server", "Packets the media server sent.")
    packets_in: int | None = figure(
        "packets received by the media server", "Packets the media server received."
    )


class Leaks(FigureModel):
    """What the run's own services and database still hold after the last participant has left."""

    rooms: int = figure("leaked rooms", "Rooms on the media server.", objectives=("== 0",), default=0)
    calls: int = figure(
        "unended calls", "Calls that are not over in the database.", objectives=("== 0",), default=0
    )
    people: int = figure(
        "participants not gone",
        "Participants who are still in a call in the database.",
        objectives=("== 0",),
        default=0,
    )
    contradictions: int = figure(
        "contradictions in the database",
        "Rows of `call_sessions`, `call_participants` and `call_metrics` that differ from what the bots recorded: the mode, "
        "each mode change, who joined and left and when, ids of a room that is gone.",
        objectives=("== 0",),
        default=0,
    )
    sockets: int = figure(
        "leaked sockets",
        "Open sockets beyond those of the start; the worse of media server and gateway.",
        objectives=(f"<= {SOCKETS}",),
        default=0,
    )
    files: int = figure(
        "leaked files",
        "Other open files beyond those of the start; the worse of media server and gateway.",
        objectives=(f"<= {FILES}",),
        default=0,
    )
    tasks: int = figure(
        "leaked tasks",
        "Tasks of the event loop (`meeshy_asyncio_tasks` in `/metrics`) beyond those of the start; the worse of media server "
        "and gateway.",
        objectives=(f"<= {TASKS}",),
        default=0,
    )
    media_growth_bytes: int | None = figure(
        "memory growth, media server",
        "Resident size of the media server at the end, minus that at its start.",
        unit="bytes",
    )
    gateway_growth_bytes: int | None = figure(
        "memory growth, gateway",
        "Resident size of the gateway at the end, minus that at its start.",
        unit="bytes",
    )
    findings: list[str] = Field(
        default=[], description="Each leak and contradiction, with the id of what it is about."
    )


class Generator(FigureModel):
    """The load generator's check of itself, over the measured time."""

    valid: bool = Field(default=False, description="Whether the generator kept up; if not, the run is void.")
    lag_ms: Percentiles | None = figure(
        "lag",
        "How late frames left after they were due, and datagrams were read after the kernel received them (aiortc: how late "
        "the event loop was); the worst of each second.",
        unit="ms",
    )
    stalled_ratio: float | None = figure(
        "time in stalls",
        "Share of the measured time in which a thread or process stood still, at least 20 ms late; the worst of them.",
        unit="ratio",
    )
    cpu_core_percent: float | None = figure("load generator CPU", "CPU time of all bots.", unit="% of a core")
    busiest_core_percent: float | None = figure(
        "busiest generator thread or process",
        "CPU time of the busiest thread (native) or process (aiortc).",
        unit="% of a core",
    )
    socket_drops: int | None = figure(
        "datagrams dropped by the bots' sockets", "Datagrams that the bots' sockets had no room for."
    )
    late_send_ratio: float | None = figure(
        "packets sent late", "Share of packets that left more than 5 ms after they were due.", unit="ratio"
    )


class SloResult(FigureModel):
    """One comparison and its outcome."""

    expression: str
    value: float | None
    limit: float | None
    passed: bool | None
    """None when a default does not apply because nothing was measured."""


class Machine(FigureModel):
    """Where it was measured, and with what."""

    cores: int
    cpu: str
    kernel: str
    python: str
    version: str
    """Version of meeshy-sfu."""
    build_profile: str | None = None
    """Build profile of the native module; debug builds are refused."""


class Summary(FigureModel):
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
    streams: Streams = figure(
        "streams",
        "Streams from each sender to each receiver, audio and video apart. In calls that switch, streams are expected "
        "between all participants who were in a call together for at least 0.5 s, and a gap within 8 s of a fault counts as "
        "`recovery_ms` instead.",
        topic=Topic.STREAMS,
        headline=True,
        default=Streams(),
    )
    delivered_ratio: SharePerKind = figure(
        "delivered",
        "Share of the frames due that arrived whole and undamaged within 5 s of being sent.",
        topic=Topic.DELIVERY,
        unit="ratio",
        objectives=("ratio >= 0.98",),
        headline=True,
        default=SharePerKind(),
    )
    decodable_ratio: Share | None = figure(
        "video that could be decoded",
        "Share of the video frames due that were delivered, as were all before them since a key frame.",
        topic=Topic.DELIVERY,
        unit="ratio",
        objectives=("ratio >= 0.98",),
    )
    late_ratio: Share | None = figure(
        "delivered late",
        "Share of the delivered frames that were whole only more than 400 ms after being sent.",
        topic=Topic.DELIVERY,
        unit="ratio",
        objectives=("ratio <= 0.02",),
    )
    worst_delivered_ratio: SharePerKind = figure(
        "delivered, worst participant",
        "Delivered share of the participant for whom it is lowest, as the receiver of all others or as the sender to them; "
        "of participants with at least 100 frames.",
        topic=Topic.DELIVERY,
        unit="ratio",
        objectives=("ratio >= 0.95",),
        default=SharePerKind(),
    )
    worst_late_ratio: Share | None = figure(
        "delivered late, worst participant",
        "The same of the share delivered late.",
        topic=Topic.DELIVERY,
        unit="ratio",
        objectives=("ratio <= 0.05",),
    )
    worst_latency_ms: PerKind = figure(
        "latency, worst participant",
        "Latency of all frames to or from the participant whose 95th percentile is the highest; of participants with at "
        "least 100 frames.",
        topic=Topic.LATENCY,
        unit="ms",
        objectives=("p95 < 200",),
        default=PerKind(),
    )
    frames: Frames | None = figure(
        "frames",
        "Frames by the senders' own record, each counted once for every receiver it was due at. A frame is a video frame or "
        "an opus packet that carries a stamp.",
        topic=Topic.DELIVERY,
    )
    uplink_loss: Share | None = figure(
        "frames missing at all receivers",
        "Share of the sent frames that were due at two or more receivers and reached none: lost on the way to the server, "
        "or in it.",
        topic=Topic.DELIVERY,
        unit="ratio",
    )
    downlink_loss: Share | None = figure(
        "frames missing at some receivers",
        "Of the frames that reached another receiver, the share that was missing: lost on the way from the server.",
        topic=Topic.DELIVERY,
        unit="ratio",
    )
    pauses: Pauses | None = figure(
        "pauses",
        "Times of over 300 ms in which a stream brought nothing: audio no packet, video no frame that could be decoded.",
        topic=Topic.DELIVERY,
    )
    corrupted_frames: int | None = figure(
        "corrupted frames",
        "Frames whose payload is not what was sent, by the checksum in their stamp.",
        topic=Topic.LOSS,
        objectives=("== 0",),
    )
    unexpected_packets: Unexpected | None = figure(
        "unexpected packets",
        "Packets that a bot cannot attribute to a stream it was told of.",
        topic=Topic.LOSS,
    )
    jitter_ms: PerKind = figure(
        "delay variation",
        "One-way latency minus the smallest of the same stream (RFC 5481, PDV).",
        topic=Topic.LATENCY,
        unit="ms",
        default=PerKind(),
    )
    latency_rise_ms: LatencyRise | None = figure(
        "rise of the latency",
        "By how much the latency rose from the begin to the end of the measured time, by its trend.",
        topic=Topic.LATENCY,
        unit="ms",
    )
    lip_sync_ms: Percentiles | None = figure(
        "sound and picture apart",
        "Difference between the latency of audio and that of video from one participant to another, in the worst quarter of "
        "the seconds; of each pair.",
        topic=Topic.LATENCY,
        unit="ms",
        objectives=("max < 45",),
    )
    latency_ms: PerKind = figure(
        "latency",
        "One way, from leaving the sending bot to reaching the receiving bot's socket.",
        topic=Topic.LATENCY,
        unit="ms",
        objectives=("p95 < 100",),
        headline=True,
        default=PerKind(),
    )
    loss: Loss = figure(
        "loss",
        "Loss of RTP packets between sending and receiving bot.",
        topic=Topic.LOSS,
        headline=True,
        default=Loss(),
    )
    duplicates: int | None = figure(
        "duplicate packets",
        "Packets that arrived more than once; not in calls that switch.",
        topic=Topic.LOSS,
    )
    duplicate_ratio: Share | None = figure(
        "duplicates",
        "Share of the received packets that had come before, repairs that were asked for aside; not in calls that switch.",
        topic=Topic.LOSS,
        unit="ratio",
        objectives=("ratio <= 0.001",),
    )
    reordered: Share | None = figure(
        "reordered",
        "Share of the received packets that came after one sent later, repairs aside; not in calls that switch.",
        topic=Topic.LOSS,
        unit="ratio",
    )
    out_of_order: int | None = figure(
        "packets out of order",
        "Packets that arrived after one sent later, retransmissions aside; not in calls that switch.",
        topic=Topic.LOSS,
    )
    foreign_frames: int | None = figure(
        "misrouted frames",
        "Frames whose stamp names another sender or kind of media than the announced one.",
        topic=Topic.LOSS,
        objectives=("== 0",),
        headline=True,
    )
    paused_packets: int | None = figure(
        "packets of paused producers",
        "Stamped packets that arrived although their producer was paused when they were sent; where participants pause their "
        "producers and go on sending.",
        topic=Topic.LOSS,
        objectives=("== 0",),
    )
    rtcp: Rtcp | None = figure(
        "RTCP",
        "Reports, feedback and answers to requests, as native bots need them.",
        topic=Topic.LOSS,
    )
    timestamp_jumps: int | None = figure(
        "jumps of RTP timestamps",
        "RTP timestamps that did not go on as the sender's did; one packet apart is two, there and back.",
        topic=Topic.LOSS,
        objectives=("== 0",),
    )
    dropped_calls: int | None = figure(
        "dropped calls",
        "Calls that the server ended, or that lost the sockets of all participants.",
        topic=Topic.STREAMS,
        objectives=("== 0",),
    )
    decoded: Decoded | None = figure(
        "decoded", "What the bots that decode received.", topic=Topic.DECODED, headline=True
    )
    join_ms: Percentiles | None = figure(
        "join time",
        "From the start of a join until all streams to and from the participants already there flow; per participant.",
        topic=Topic.LATENCY,
        unit="ms",
        objectives=("p95 < 2000",),
        headline=True,
    )
    transition_ms: Transitions | None = figure(
        "mode changes", "Mode changes of calls that switch, per participant.", topic=Topic.SWITCHING
    )
    recovery_ms: Percentiles | None = figure(
        "recovery time",
        "Longest gap of each affected stream within 8 s after a client, worker or server was killed, between participants who "
        "were in the call together through that time.",
        topic=Topic.FAULTS,
        unit="ms",
        objectives=("p95 < 3000",),
        headline=True,
    )
    gap_ms: PerKind | None = figure(
        "gap",
        "Longest time between two shown frames of a track around a mode change, minus the usual time between its frames.",
        topic=Topic.SWITCHING,
        unit="ms",
        objectives=("p95 < 100", "max < 300"),
        headline=True,
    )
    leftovers: Leaks | None = figure(
        "leaks",
        "What the run's own services and database still hold after the last participant has left; for calls of the gateway.",
        topic=Topic.LEAKS,
        headline=True,
    )
    server: Server = figure(
        "media server",
        "The media server, over the measured time.",
        topic=Topic.SERVER,
        headline=True,
        default=Server(),
    )
    generator: Generator = figure(
        "load generator",
        "The load generator's check of itself, over the measured time.",
        topic=Topic.GENERATOR,
        default=Generator(),
    )
    host: Host | None = figure(
        "machine",
        "What the machine gave the run: what other programs and guests used, and how long the run's threads waited for it.",
        topic=Topic.HOST,
    )
    clocks: Clocks | None = figure(
        "clocks",
        "How far the clocks of the machines with bots were apart; in runs on several machines.",
        topic=Topic.LATENCY,
    )
    left_out: list[str] = Field(
        default=[], description="What the run could not do or check because the server was not its own."
    )
    slo: list[SloResult]
    intervals: dict[str, Bounds] = Field(
        default={},
        description="95 % interval of each number that has one, by its path in this object. It covers what varies within a run.",
    )
    machine: Machine | None

    def to_json(self) -> str:
        """Return the content of summary.json."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as the summary declares it, with its place there; see :func:`figure` for what its fields mean."""

    path: str
    """Its place in summary.json, as SLO expressions name it."""
    type: type
    """`Percentiles`, `Share`, `int` or `float`, or the model of a group of figures."""
    label: str
    meaning: str
    topic: Topic
    unit: Unit = ""
    objectives: tuple[str, ...] = ()
    """Default objectives as complete SLO expressions."""
    headline: bool = False

    @property
    def is_group(self) -> bool:
        """Return whether its fields are figures themselves."""
        return issubclass(self.type, BaseModel) and self.type not in (Percentiles, Share)

    def value_in(self, summary: Summary) -> Any:
        """Return its value; None where the run did not measure it."""
        value: Any = summary
        for part in self.path.split("."):
            value = None if value is None else getattr(value, part)
        return value


@functools.cache
def figures() -> tuple[Figure, ...]:
    """Return all figures of the summary, each group before its fields."""
    return tuple(_figures(Summary, None))


def figures_of(topic: Topic) -> tuple[Figure, ...]:
    """Return the figures that one section of a report shows."""
    return tuple(one for one in figures() if one.topic is topic)


def figure_at(path: str) -> Figure | None:
    """Return the figure that a path names or leads into: `join_ms.p95` is of `join_ms`."""
    return next((one for one in reversed(figures()) if f"{path}.".startswith(f"{one.path}.")), None)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of summary.json, which is written to simulator/summary.schema.json."""
    schema = Summary.model_json_schema(by_alias=True, mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


@functools.cache
def figure_paths() -> frozenset[str]:
    """Return the paths of all numbers in the summary, as SLO expressions name them."""
    return frozenset(_paths(Summary, ""))


_LEAVES: Final[dict[type, type]] = {PerKind: Percentiles, SharePerKind: Share}
"""Models of a figure that is measured for each kind of media, and what it is for one of them."""


def _figures(model: type[BaseModel], group: Figure | None = None, kind: str = "") -> Iterator[Figure]:
    """Return the figures of a model; `kind` is audio or video where all of them are of one."""
    hints = typing.get_type_hints(model)
    for name, field in model.model_fields.items():
        said = field.json_schema_extra.get("figure") if isinstance(field.json_schema_extra, dict) else None
        if not isinstance(said, dict):
            continue
        type_ = next(option for option in _options(hints[name]) if option is not types.NoneType)
        one = _figure(name, type_, field.description or "", said, group)
        if type_ in _LEAVES:
            yield from (_of_kind(one, each, _LEAVES[type_]) for each in type_.model_fields)
            continue
        one = replace(one, label=f"{kind} {one.label}".strip())
        yield one
        if one.is_group:
            yield from _figures(type_, one, name if name in KINDS else kind)


def _figure(name: str, type_: type, meaning: str, said: Mapping[str, Any], group: Figure | None) -> Figure:
    path = f"{group.path}.{name}" if group else name
    dot = "." if type_ in (Percentiles, Share, *_LEAVES) else " "
    return Figure(
        path=path,
        type=type_,
        label=said["label"],
        meaning=meaning,
        topic=group.topic if group else Topic(said["topic"]),
        unit=said.get("unit", ""),
        objectives=tuple(f"{path}{dot}{text}" for text in said.get("objectives", ())),
        headline=said.get("headline", False),
    )


def _of_kind(one: Figure, kind: str, type_: type) -> Figure:
    path = f"{one.path}.{kind}"
    objectives = tuple(f"{path}{text.removeprefix(one.path)}" for text in one.objectives)
    return replace(one, path=path, type=type_, label=f"{kind} {one.label}", objectives=objectives)


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
