"""Figures for Prometheus and /api/stats: what is there now, what was done, what it cost.

Reads the live objects when asked; nothing is counted per packet here. Units stand in the names.
"""

import asyncio
import os
import resource
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meeshy_sfu.clock import Clock
from meeshy_sfu.edge.metrics import DURATIONS_S, EdgeMetrics
from meeshy_sfu.edge.tasks import tasks_metric
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.rooms.registry import RoomRegistry

_COUNTERS = {
    "packets_in": "Datagrams received.",
    "packets_out": "Datagrams sent.",
    "bytes_in": "Bytes received in datagrams.",
    "bytes_out": "Bytes sent in datagrams.",
    "forwarded": "RTP packets forwarded, without retransmissions.",
    "trains_out": "Buffers handed to the kernel; each holds one or more datagrams.",
    "transport_panics": "Transports closed because handling their input failed.",
    "events_dropped": "Reports of the worker that were lost because its queue was full.",
}
_GAUGES = {
    "load": "Share of one core used in the last second, 0 to 1.",
    "mean_train": "Datagrams per buffer in the last second.",
    "window_us": "How long packets are gathered before they are sent, in microseconds.",
    "rings_bytes": "Memory of the retransmission rings.",
    "tcp_connections": "Clients connected by TCP.",
}


class Metrics(EdgeMetrics):
    """Everything /metrics shows, in a registry of its own."""

    def __init__(self, pool: WorkerPool, rooms: RoomRegistry, clock: Clock) -> None:
        super().__init__()
        self._pool = pool
        self._rooms = rooms
        self._clock = clock
        self._started_s = clock.monotonic_s()
        own = self.registry
        self.transport_connection = Histogram(
            "webrtc_transport_connection_duration_seconds",
            "From the creation of a transport until DTLS is up.",
            buckets=DURATIONS_S,
            registry=own,
        )
        self.producer_creation = Histogram(
            "producer_creation_duration_seconds",
            "Handling of a produce request.",
            buckets=DURATIONS_S,
            registry=own,
        )
        self.consumer_creation = Histogram(
            "consumer_creation_duration_seconds",
            "Handling of a consume request.",
            buckets=DURATIONS_S,
            registry=own,
        )
        own.register(_Live(self))

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
                "rooms": len(self._rooms.rooms),
                "participants": sum(len(room.participants) for room in self._rooms.rooms),
                "connections": self.connections,
                "workersDied": self._pool.deaths,
            },
            "workers": [
                {**_camel(asdict(worker.stats)), "port": worker.port, "addresses": list(worker.addresses)}
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
                for room in self._rooms.rooms
            ],
        }

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

    def live(self) -> Iterator[Metric]:
        """Return what is read from the live objects."""
        for name, number in self._pool_counts().items():
            yield GaugeMetricFamily(
                f"mediasoup_{name}_total", f"{name.capitalize()} there are now.", value=number
            )
        rooms = len(self._rooms.rooms)
        yield GaugeMetricFamily("calls_active_total", "Calls on this server now.", value=rooms)
        yield GaugeMetricFamily("calls_mode_sfu_total", "Calls in SFU mode: all that are here.", value=rooms)
        participants = sum(len(room.participants) for room in self._rooms.rooms)
        yield GaugeMetricFamily("meeshy_participants", "Participants in calls now.", value=participants)
        yield GaugeMetricFamily(
            "meeshy_socketio_connections", "Sockets connected now.", value=self.connections
        )
        yield GaugeMetricFamily("meeshy_workers_wanted", "Workers there should be.", value=self._pool.size)
        yield CounterMetricFamily("meeshy_workers_died", "Workers that died.", value=self._pool.deaths)
        yield tasks_metric()
        yield from self._workers()

    def _workers(self) -> Iterator[Metric]:
        workers = [(str(worker.index), worker.stats) for worker in self._pool.workers]
        cpu = CounterMetricFamily(
            "meeshy_worker_cpu_seconds", "CPU time of the worker's thread.", labels=["worker"]
        )
        for index, stats in workers:
            cpu.add_metric([index], stats.cpu_ns / 1e9)
        yield cpu
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"meeshy_worker_{name}", text, labels=["worker"])
            for index, stats in workers:
                counter.add_metric([index], getattr(stats, name))
            yield counter
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"meeshy_worker_{name}", text, labels=["worker"])
            for index, stats in workers:
                gauge.add_metric([index], getattr(stats, name))
            yield gauge
        drops = CounterMetricFamily(
            "meeshy_worker_drops", "Datagrams and packets not used, by reason.", labels=["worker", "reason"]
        )
        for index, stats in workers:
            for reason, number in stats.drops.items():
                drops.add_metric([index, reason], number)
        yield drops


class _Live(Collector):
    """Read the live objects at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.live()


def resident_bytes() -> int:
    """Return the memory of this process; the peak where the system does not tell the present."""
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

    return {rename(name): value for name, value in values.items()}
