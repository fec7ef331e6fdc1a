"""Figures for Prometheus that every service has: its requests, its events, and who was refused.

Services add their own to the same registry. Units stand in the names.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class EdgeMetrics:
    """What is counted before handlers; the base of everything a service's /metrics shows."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.connections = 0
        """Socket.IO clients connected now."""
        self.requests = Counter(
            "meeshy_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=own,
        )
        self.request_duration = Histogram(
            "meeshy_http_request_duration_seconds",
            "Handling of requests.",
            ["method", "route"],
            buckets=DURATIONS_S,
            registry=own,
        )
        self.events = Counter(
            "meeshy_socketio_events", "Events received from clients.", ["event"], registry=own
        )
        self.rate_limited = Counter(
            "meeshy_rate_limited", "Requests and events refused by a rate limit.", ["limit"], registry=own
        )
        self.unauthorized = Counter(
            "meeshy_unauthorized", "Requests and sockets without a good token.", registry=own
        )
        self.slow_clients = Counter(
            "meeshy_slow_clients", "Sockets cut off because they did not take their events.", registry=own
        )
        self.closed_early = Counter(
            "meeshy_connections_closed_early",
            "Connections closed against their client's will, by reason.",
            ["reason"],
            registry=own,
        )
        ProcessCollector(registry=own)

    def text(self) -> bytes:
        """Return the Prometheus text."""
        return generate_latest(self.registry)
