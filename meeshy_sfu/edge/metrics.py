"""Metrics for Prometheus: how a service declares them, and those that every service has.

A declaration is all there is to a metric: it is shown, and `.ci/generate_docs.py` puts it on the page. Services add
their own to the same registry. Units stand in the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meeshy_sfu.edge.tasks import tasks_by_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAGS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A metric as it is shown and documented."""

    name: str
    """Complete, with the `_total` of a counter."""
    kind: str
    """counter, gauge or histogram."""
    labels: tuple[str, ...]
    meaning: str


class Declared:
    """A registry of metrics that knows what it was asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.declarations: list[Declaration] = []

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Declare a counter; its name ends in `_total`."""
        self._declare(name, "counter", meaning, labels)
        return Counter(name, meaning, labels, registry=self.registry)

    def histogram(
        self, name: str, meaning: str, *labels: str, buckets: Sequence[float] = DURATIONS_S
    ) -> Histogram:
        """Declare a histogram, in seconds."""
        self._declare(name, "histogram", meaning, labels)
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Declare a figure that is read at each scrape."""
        self._declare(name, "gauge", meaning, ())
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def gauge_by(self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Declare a figure for each value of a label, read at each scrape."""

        def family() -> Iterable[Metric]:
            one = GaugeMetricFamily(name, meaning, labels=[label])
            for value, number in sorted(read().items()):
                one.add_metric([value], number)
            yield one

        self.families([Declaration(name, "gauge", (label,), meaning)], family)

    def families(self, declarations: Iterable[Declaration], read: Callable[[], Iterable[Metric]]) -> None:
        """Declare metrics that are made as a whole at each scrape."""
        self.declarations += declarations
        self.registry.register(_Read(read))

    def text(self) -> bytes:
        """Return the Prometheus text."""
        return generate_latest(self.registry)

    def _declare(self, name: str, kind: str, meaning: str, labels: tuple[str, ...]) -> None:
        self.declarations.append(Declaration(name, kind, labels, meaning))


class EdgeMetrics(Declared):
    """What is counted before handlers, and of the process; the base of everything a service's /metrics shows."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0
        """Socket.IO clients connected now."""
        self.requests = self.counter(
            "meeshy_http_requests_total", "Requests, by route and status.", "method", "route", "status"
        )
        self.request_duration = self.histogram(
            "meeshy_http_request_duration_seconds", "Handling of requests.", "method", "route"
        )
        self.gauge("meeshy_socketio_connections", "Sockets connected now.", lambda: self.connections)
        self.events = self.counter("meeshy_socketio_events_total", "Events received from clients.", "event")
        self.closed_early = self.counter(
            "meeshy_connections_closed_early_total",
            "Connections closed against their client's will: `crowded` (no room), or late: `no request`, `slow head`, "
            "`slow body`, `does not read`, `does not close`.",
            "reason",
        )
        self.slow_clients = self.counter(
            "meeshy_slow_clients_total", "Sockets cut off because they did not take their events."
        )
        self.rate_limited = self.counter(
            "meeshy_rate_limited_total", "Requests and events refused by a rate limit.", "limit"
        )
        self.unauthorized = self.counter(
            "meeshy_unauthorized_total", "Requests and sockets without a good token."
        )
        self.loop_lag = self.histogram(
            "meeshy_event_loop_lag_seconds",
            "How late the event loop is with a timer that is due ten times a second.",
            buckets=LAGS_S,
        )
        self.gauge_by(
            "meeshy_asyncio_tasks",
            "Tasks of the event loop now, by what they run.",
            "coroutine",
            tasks_by_coroutine,
        )
        process = ProcessCollector(registry=None)
        known = [Declaration(_shown(one), one.type, (), one.documentation) for one in process.collect()]
        self.families(known, process.collect)


class _Read(Collector):
    """Metrics that are read at each scrape."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def _shown(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name
