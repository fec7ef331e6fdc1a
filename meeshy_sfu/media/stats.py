"""Counters of workers and media objects.

Only carries them; what is shown where is decided in server/.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from meeshy_sfu import _core

Counters = Mapping[str, object]
"""Counters of one object as the core keeps them, names in snake_case."""


@dataclass(frozen=True, slots=True)
class WorkerMetric:
    """A metric that the core declares and counts; here it is only shown."""

    name: str
    """Without prefix and `_total`."""
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...]
    """Upper bounds of a histogram's buckets; a last bucket has none."""


@functools.cache
def worker_metrics() -> tuple[WorkerMetric, ...]:
    """List the metrics of a worker, in the order they are shown."""
    return tuple(
        WorkerMetric(one["name"], one["kind"], tuple(one["labels"]), one["help"], tuple(one["bounds"]))
        for one in json.loads(_core.worker_metrics())
    )


@dataclass(frozen=True, slots=True)
class Series:
    """One value, or one histogram, of a metric."""

    metric: str
    labels: tuple[str, ...]
    value: float
    """Of a histogram the sum."""
    buckets: tuple[int, ...]
    """How many were in each bucket of a histogram, not in those before it."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Series":
        """Read it from what the core reports."""
        return cls(raw["metric"], tuple(raw["labels"]), raw["value"], tuple(raw.get("buckets", ())))


def _nothing_counted() -> tuple[Series, ...]:
    """Return what a worker that has not reported yet has counted."""
    simple = (metric for metric in worker_metrics() if not metric.labels and metric.kind != "histogram")
    return tuple(Series(metric.name, (), 0.0, ()) for metric in simple)


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """Totals of one worker since its start."""

    index: int = 0
    uptime_ms: int = 0
    cpu_ns: int = 0
    """CPU time of the worker's thread."""
    load: float = 0.0
    """Share of one core over the last second, 0 to 1."""
    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    forwarded: int = 0
    """RTP packets forwarded, retransmissions not counted."""
    trains_out: int = 0
    """Buffers handed to the kernel."""
    mean_train: float = 0.0
    """Datagrams in a buffer, over the last second."""
    gso: bool = False
    gro: bool = False
    window_us: int = 0
    """How long packets are collected before they are sent, now."""
    drops: Mapping[str, int] = field(default_factory=dict)
    rings_bytes: int = 0
    routers: int = 0
    transports: int = 0
    producers: int = 0
    consumers: int = 0
    tcp_connections: int = 0
    remotes: int = 0
    transport_panics: int = 0
    events_dropped: int = 0
    metrics: tuple[Series, ...] = field(default_factory=_nothing_counted)
    """What operators see of it; :func:`worker_metrics` says what each is. Those without labels are 0 until the first report:
    without a first 0 the first count is lost to rates."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "WorkerStats":
        """Read it from what the core reports; counters this version does not know are left out."""
        values = {name: raw[name] for name in _NAMES if name in raw}
        return cls(**values | {"metrics": tuple(map(Series.read, raw.get("metrics", ())))})


_NAMES = tuple(item.name for item in fields(WorkerStats))


@dataclass(frozen=True, slots=True)
class RouterStats:
    """Counters of all that hangs on one router, by handle."""

    transports: Mapping[int, Counters]
    producers: Mapping[int, Counters]
    consumers: Mapping[int, Counters]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "RouterStats":
        """Read it from the core's description of a router."""
        return cls(
            {item["transport"]: item["stats"] for item in raw["transports"]},
            {item["producer"]: item["stats"] for item in raw["producers"]},
            {item["consumer"]: item["stats"] for item in raw["consumers"]},
        )
