"""Metrics of the gateway for Prometheus: calls, mode switches, participants, sockets, requests.

Reads the live calls when asked. Units stand in the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.tasks import tasks_metric

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from meeshy_sfu.gateway.calls.call_mode import CallMode
    from meeshy_sfu.gateway.calls.live_call import LiveCall

TRANSITIONS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
CALLS_S = (60, 300, 600, 1800, 3600, 7200)


class Metrics(EdgeMetrics):
    """Everything the gateway's /metrics shows, in a registry of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._live: Mapping[str, LiveCall] = {}
        self._condemned: Sized = ()
        own = self.registry
        self._begun = Counter("meeshy_calls", "Calls begun.", ["type", "conversation_type"], registry=own)
        self._failed = Counter("meeshy_calls_failed", "Calls that ended by an error.", registry=own)
        self._ended = Counter("meeshy_calls_ended", "Calls that ended, by reason.", ["reason"], registry=own)
        self._duration = Histogram(
            "meeshy_call_duration_seconds", "From the answer to the end.", buckets=CALLS_S, registry=own
        )
        self._joins = Counter("meeshy_joins", "Participants who joined a call.", registry=own)
        self._transition = Histogram(
            "call_mode_transition_duration_seconds",
            "From the decision to the last confirmation.",
            ["source", "target"],
            buckets=TRANSITIONS_S,
            registry=own,
        )
        self._transitions = Counter("calls_mode_transitions", "Completed changes of mode.", registry=own)
        self._rollbacks = Counter(
            "meeshy_mode_rollbacks", "Transitions that were rolled back, by reason.", ["reason"], registry=own
        )
        own.register(_Live(self))

    def show(self, live: Mapping[str, LiveCall], condemned: Sized) -> None:
        """Count these calls, and what has to go from media servers, at each scrape."""
        self._live, self._condemned = live, condemned

    def began(self, kind: str, conversation_type: str) -> None:
        """Count a call."""
        self._begun.labels(kind, conversation_type).inc()

    def ended(self, duration_s: float, reason: str) -> None:
        """Count the end of a call."""
        self._ended.labels(reason).inc()
        self._duration.observe(duration_s)
        if reason == "error":
            self._failed.inc()

    def joined(self) -> None:
        """Count a participant who joined."""
        self._joins.inc()

    def switched(self, source: CallMode, target: CallMode, duration_s: float) -> None:
        """Count a completed transition; one within a mode is no change of it."""
        if source is not target:
            self._transitions.inc()
        self._transition.labels(source.value, target.value).observe(duration_s)

    def rolled_back(self, reason: str) -> None:
        """Count a transition that was rolled back."""
        self._rollbacks.labels(reason).inc()

    def live(self) -> Iterator[Metric]:
        """Read the live calls."""
        calls = list(self._live.values())
        modes = [call.mode.mode.value for call in calls]
        participants = sum(len(call.members) for call in calls)
        switching = sum(call.phase.value.startswith("switching") for call in calls)
        yield GaugeMetricFamily("calls_active_total", "Calls that are not over.", value=len(calls))
        yield GaugeMetricFamily(
            "calls_mode_p2p_total", "Calls whose media flows directly.", value=modes.count("p2p")
        )
        yield GaugeMetricFamily(
            "calls_mode_sfu_total", "Calls whose media goes through a media server.", value=modes.count("sfu")
        )
        yield GaugeMetricFamily(
            "meeshy_calls_switching", "Calls whose mode is changing now.", value=switching
        )
        yield GaugeMetricFamily(
            "meeshy_active_participants", "Participants in calls now.", value=participants
        )
        yield GaugeMetricFamily(
            "meeshy_rooms_to_remove",
            "Rooms and participants that have to be removed and are still on a media server.",
            value=len(self._condemned),
        )
        yield GaugeMetricFamily(
            "meeshy_socketio_connections", "Sockets connected now.", value=self.connections
        )
        yield tasks_metric()


class _Live(Collector):
    """Read the live calls at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.live()
