"""What the native core reports, as typed values.

Reads its JSON; carrying replies and events to whom they concern is the work of channel.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from meeshy_sfu.media.stats import WorkerStats

IceState = Literal["new", "connected", "completed", "disconnected", "closed"]
DtlsState = Literal["new", "connecting", "connected", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class CoreFailure:
    """Why the core refused a command."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request; either ``ok`` or ``error``."""

    id: int
    ok: Mapping[str, Any]
    error: CoreFailure | None


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker's sockets are bound and its loop runs."""

    pid: int
    index: int
    port: int
    addresses: tuple[str, ...]
    """What clients will be offered, as ``udp 192.0.2.1:10000``."""


@dataclass(frozen=True, slots=True)
class SelectedTuple:
    """The addresses that a transport uses."""

    local: str
    remote: str
    protocol: Literal["udp", "tcp"]


@dataclass(frozen=True, slots=True)
class TransportIce:
    """The ICE state or the selected addresses of a transport changed."""

    router: int
    transport: int
    state: IceState
    selected: SelectedTuple | None


@dataclass(frozen=True, slots=True)
class TransportDtls:
    """The DTLS state of a transport changed."""

    router: int
    transport: int
    state: DtlsState
    reason: str | None
    srtp_profile: str | None
    dtls_version: str | None


@dataclass(frozen=True, slots=True)
class TransportMedia:
    """The first media packet was sent to the peer of a transport."""

    router: int
    transport: int


@dataclass(frozen=True, slots=True)
class TransportClosed:
    """A transport closed by itself; its producers and consumers are gone."""

    router: int
    transport: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamScore:
    """Reception quality of one stream of a producer, from 0 (dead) to 10."""

    encoding_index: int
    ssrc: int
    rid: str | None
    score: int


@dataclass(frozen=True, slots=True)
class ProducerScore:
    """The reception quality of a producer changed."""

    router: int
    producer: int
    scores: tuple[StreamScore, ...]


@dataclass(frozen=True, slots=True)
class ConsumerScore:
    """The delivery quality of a consumer changed."""

    router: int
    consumer: int
    score: int
    producer_score: int
    producer_scores: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers of a simulcast or SVC stream, counted from zero, the lowest."""

    spatial_layer: int
    temporal_layer: int | None


@dataclass(frozen=True, slots=True)
class LayersChanged:
    """Other layers of a simulcast producer are forwarded to a consumer; none when ``layers`` is None."""

    router: int
    consumer: int
    layers: Layers | None


@dataclass(frozen=True, slots=True)
class Volumes:
    """Audio levels by producer (dBov), loudest first; empty once when all fall silent."""

    router: int
    volumes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ActiveSpeaker:
    """The dominant speaker changed."""

    router: int
    producer: int | None


@dataclass(frozen=True, slots=True)
class StatsTaken:
    """Totals of the worker, at most once a second."""

    stats: WorkerStats


@dataclass(frozen=True, slots=True)
class Died:
    """The worker is dead; nothing follows."""

    index: int
    message: str


RouterEvent = (
    TransportIce
    | TransportDtls
    | TransportMedia
    | TransportClosed
    | ProducerScore
    | ConsumerScore
    | LayersChanged
    | Volumes
    | ActiveSpeaker
)
Event = Reply | Ready | StatsTaken | Died | RouterEvent


def read_event(text: str) -> Event:
    """Read one event of the core.

    Raises:
        ValueError: It is none of the events this version knows; the core and the package do not match.
    """
    raw: dict[str, Any] = orjson.loads(text)
    match raw["type"]:
        case "reply":
            return _read_reply(raw)
        case "ready":
            addresses = tuple(_address(candidate) for candidate in raw["candidates"])
            return Ready(raw["pid"], raw["index"], raw["port"], addresses)
        case "transport_ice":
            selected = raw["selected"]
            tuple_ = SelectedTuple(**selected) if selected else None
            return TransportIce(raw["router"], raw["transport"], raw["state"], tuple_)
        case "transport_dtls":
            return TransportDtls(
                raw["router"],
                raw["transport"],
                raw["state"],
                raw.get("reason"),
                raw.get("srtp_profile"),
                raw.get("dtls_version"),
            )
        case "transport_media":
            return TransportMedia(raw["router"], raw["transport"])
        case "transport_closed":
            return TransportClosed(raw["router"], raw["transport"], raw["reason"])
        case "producer_score":
            return ProducerScore(raw["router"], raw["producer"], tuple(map(_read_score, raw["scores"])))
        case "consumer_score":
            return ConsumerScore(
                raw["router"],
                raw["consumer"],
                raw["score"],
                raw["producer_score"],
                tuple(raw["producer_scores"]),
            )
        case "layers_changed":
            layers = raw["layers"]
            return LayersChanged(raw["router"], raw["consumer"], Layers(**layers) if layers else None)
        case "volumes":
            volumes = tuple((item["producer"], item["volume"]) for item in raw["volumes"])
            return Volumes(raw["router"], volumes)
        case "active_speaker":
            return ActiveSpeaker(raw["router"], raw["producer"])
        case "stats":
            return StatsTaken(WorkerStats.read(raw))
        case "died":
            return Died(raw["index"], raw["message"])
    raise ValueError(f"the native core reported an unknown event: {text[:200]}")


def _read_reply(raw: dict[str, Any]) -> Reply:
    error = raw.get("error")
    failure = CoreFailure(error["code"], error["message"]) if error else None
    return Reply(raw["id"], raw.get("ok") or {}, failure)


def _read_score(raw: dict[str, Any]) -> StreamScore:
    return StreamScore(raw["encoding_idx"], raw["ssrc"], raw.get("rid"), raw["score"])


def _address(candidate: dict[str, Any]) -> str:
    address = candidate["address"]
    host = f"[{address}]" if ":" in address else address
    return f"{candidate['protocol']} {host}:{candidate['port']}"
