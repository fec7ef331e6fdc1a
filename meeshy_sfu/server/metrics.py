"""Figures for Prometheus and /api/stats: what is there now, what was done, what it cost.

Reads the live objects when asked; nothing is counted per packet here. Units stand in the names.
"""

import asyncio
import itertools
import os
import resource
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from meeshy_sfu.clock import Clock
from meeshy_sfu.edge.metrics import Declaration, EdgeMetrics
from meeshy_sfu.media.stats import Series, WorkerMetric, worker_metrics
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.rooms.room import Room

JOINS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Metrics(EdgeMetrics):
    """Everything /metrics shows, in a registry of its own."""

    def __init__(self, pool: WorkerPool, clock: Clock) -> None:
        super().__init__()
        self._pool = pool
        self._rooms: Callable[[], Sequence[Room]] = tuple
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self.gauge("calls_active_total", "Calls on this server now.", lambda: len(self._rooms()))
        self.gauge(
            "calls_mode_sfu_total", "Calls in SFU mode: all that are here.", lambda: len(self._rooms())
        )
        self.gauge("meeshy_participants", "Participants in calls now.", self._participants)
        for name in self._pool_counts():
            self.gauge(
                f"mediasoup_{name}_total",
                f"{name.capitalize()} there are now.",
                partial(self._pool_count, name),
            )
        self.transport_connection = self.histogram(
            "webrtc_transport_connection_duration_seconds",
            "From the creation of a transport until DTLS is up.",
        )
        self.producer_creation = self.histogram(
            "producer_creation_duration_seconds", "Handling of a produce request."
        )
        self.consumer_creation = self.histogram(
            "consumer_creation_duration_seconds", "Handling of a consume request."
        )
        self.first_media = self.histogram(
            "meeshy_participant_first_media_seconds",
            "From a participant's first request until the first packet is forwarded to them; of who is first in a call, "
            "from the first track of another.",
            buckets=JOINS_S,
        )
        self.layer_switches = self.counter(
            "meeshy_layer_switches_total", "Changes from one simulcast layer to another, of all receivers."
        )
        self.gauge_by(
            "meeshy_consumers_by_layer",
            "Consumers of simulcast to which something is forwarded now, by spatial layer.",
            "layer",
            self._by_layer,
        )
        self.gauge(
            "meeshy_workers_wanted",
            "Workers there should be; fewer in `mediasoup_workers_total`: one is being replaced.",
            lambda: pool.size,
        )
        self.families(
            [Declaration("meeshy_workers_died_total", "counter", (), "Workers that died.")], self._deaths
        )
        self._worker_metrics = worker_metrics()
        self.families(map(_declaration, self._worker_metrics), self._workers)

    def show(self, rooms: Callable[[], Sequence[Room]]) -> None:
        """Count these rooms, and who is in them, at each scrape."""
        self._rooms = rooms

    def stats(self) -> dict[str, object]:
        """Return the figures of /api/stats."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        counts = self._pool_counts()
        return {
            "uptimeS": round(self._clock.monotonic_s() - self._started_s, 3),
            "process": {
                "pid": os.getpid(),
                "cpuS": round(usage.ru_utime + usage.ru_stime, 6),
                "rssBytes": resident_bytes(),
                "threads": threading.active_count(),
                "openFiles": _open_files(),
                "tasks": len(asyncio.all_tasks()),
            },
            "counts": {
                **counts,
                "rooms": len(self._rooms()),
                "participants": self._participants(),
                "connections": self.connections,
                "workersDied": self._pool.deaths,
            },
            "workers": [
                {
                    **_camel(asdict(worker.stats)),
                    "port": worker.port,
                    "addresses": list(worker.addresses),
                }
                for worker in self._pool.workers
            ],
            "rooms": [
                {
                    "roomId": room.id,
                    "callId": room.call_id,
                    "routerId": room.router.id,
                    "worker": room.router.worker_index,
                    "participants": len(room.participants),
                    "ageS": round(self._clock.unix_s() - room.created_at_s, 3),
                }
                for room in self._rooms()
            ],
        }

    def _pool_count(self, name: str) -> int:
        return self._pool_counts()[name]

    def _pool_counts(self) -> dict[str, int]:
        counts = {
            "workers": len(self._pool.workers),
            "routers": 0,
            "transports": 0,
            "producers": 0,
            "consumers": 0,
        }
        for worker in self._pool.workers:
            for router in worker.routers:
                counts["routers"] += 1
                for transport in router.transports.values():
                    counts["transports"] += 1
                    counts["producers"] += len(transport.producers)
                    counts["consumers"] += len(transport.consumers)
        return counts

    def _participants(self) -> int:
        return sum(len(room.participants) for room in self._rooms())

    def _by_layer(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for worker in self._pool.workers:
            for router in worker.routers:
                for transport in router.transports.values():
                    layers = (consumer.current_layers for consumer in transport.consumers.values())
                    found.update(str(one.spatial_layer) for one in layers if one is not None)
        return found

    def _deaths(self) -> Iterator[Metric]:
        yield CounterMetricFamily("meeshy_workers_died", "Workers that died.", value=self._pool.deaths)

    def _workers(self) -> Iterator[Metric]:
        found = [
            (str(worker.index), series) for worker in self._pool.workers for series in worker.stats.metrics
        ]
        for metric in self._worker_metrics:
            own = [(worker, series) for worker, series in found if series.metric == metric.name]
            yield _family(metric, own)


def _declaration(metric: WorkerMetric) -> Declaration:
    name = f"meeshy_worker_{metric.name}{'_total' if metric.kind == 'counter' else ''}"
    return Declaration(name, metric.kind, ("worker", *metric.labels), metric.help)


def _family(metric: WorkerMetric, found: list[tuple[str, Series]]) -> Metric:
    """Make a metric of what the workers counted."""
    name, labels = f"meeshy_worker_{metric.name}", ["worker", *metric.labels]
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.help, labels=labels)
        bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
        for worker, series in found:
            buckets = list(zip(bounds, itertools.accumulate(map(float, series.buckets)), strict=True))
            histogram.add_metric([worker, *series.labels], buckets, series.value)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.help, labels=labels)
    for worker, series in found:
        family.add_metric([worker, *series.labels], series.value)
    return family


def resident_bytes() -> int:
    """Return the memory of this process; the peak where the system does not report the present."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _open_files() -> int:
    directory = Path("/proc/self/fd")
    return sum(1 for _ in directory.iterdir()) if directory.is_dir() else -1


def _camel(values: Mapping[str, object]) -> dict[str, object]:
    def rename(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    # the metrics say the same in another form
    return {rename(name): value for name, value in values.items() if name != "metrics"}
