"""Metrics of the gateway for Prometheus: calls, mode switches, participants, sockets, requests.

Reads the live calls when asked. Units stand in the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING

from meeshy_sfu.edge.metrics import EdgeMetrics

if TYPE_CHECKING:
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
        self.gauge("calls_active_total", "Calls that are not over.", lambda: len(self._live))
        self.gauge(
            "calls_mode_p2p_total", "Calls whose media flows directly.", lambda: self._calls_in_mode("p2p")
        )
        self.gauge(
            "calls_mode_sfu_total",
            "Calls whose media flows through a media server.",
            lambda: self._calls_in_mode("sfu"),
        )
        self.gauge("meeshy_calls_switching", "Calls whose mode is changing now.", self._calls_switching)
        self.gauge(
            "meeshy_rooms_to_remove",
            "Rooms and participants that have to be removed and are still on a media server; for minutes above zero: a "
            "media server is away or refuses.",
            lambda: len(self._condemned),
        )
        self._transitions = self.counter(
            "calls_mode_transitions_total", "Completed changes of mode; re-homings are none."
        )
        self._transition = self.histogram(
            "call_mode_transition_duration_seconds",
            "From the decision to the last confirmation.",
            "source",
            "target",
            buckets=TRANSITIONS_S,
        )
        self._rollbacks = self.counter(
            "meeshy_mode_rollbacks_total", "Transitions that were rolled back.", "reason"
        )
        self.gauge("meeshy_active_participants", "Participants in calls now.", self._participants)
        self._joins = self.counter("meeshy_joins_total", "Participants who joined a call.")
        self._join_duration = self.histogram(
            "meeshy_call_join_duration_seconds",
            "From the request to join a call of several that a media server carries, or is about to, until the participant "
            "confirms that media arrives.",
            buckets=TRANSITIONS_S,
        )
        self._begun = self.counter("meeshy_calls_total", "Calls begun.", "type", "conversation_type")
        self._ended = self.counter("meeshy_calls_ended_total", "Calls that ended.", "reason")
        self._failed = self.counter("meeshy_calls_failed_total", "Calls that ended by an error.")
        self._duration = self.histogram(
            "meeshy_call_duration_seconds", "From the answer to the end.", buckets=CALLS_S
        )
        self._queries = self.histogram(
            "meeshy_db_query_duration_seconds",
            "A transaction with the wait for its connection, by what it is for; also of one that failed.",
            "operation",
        )
        self._query_failures = self.counter(
            "meeshy_db_failures_total", "Transactions that failed or were given up.", "operation"
        )

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

    def join_took(self, duration_s: float) -> None:
        """Take note that media arrives at a participant who joined."""
        self._join_duration.observe(duration_s)

    def queried(self, operation: str, duration_s: float, *, failed: bool) -> None:
        """Count a transaction with the database."""
        self._queries.labels(operation).observe(duration_s)
        if failed:
            self._query_failures.labels(operation).inc()

    def _calls_in_mode(self, mode: str) -> int:
        return sum(call.mode.mode.value == mode for call in self._live.values())

    def _calls_switching(self) -> int:
        return sum(call.phase.value.startswith("switching") for call in self._live.values())

    def _participants(self) -> int:
        return sum(len(call.members) for call in self._live.values())
