"""Which events of a run are errors, for the list and the time line of a report."""

from __future__ import annotations

from typing import Any

from simulator.analysis.raw_run import RawRun

_ROOM_ERRORS = frozenset(
    {
        "closed",
        "disconnected",
        "error",
        "freeze",
        "leave-failed",
        "producer-closed",
        "ramp-timeout",
        "room-closed",
    }
)
_CALL_ERRORS = frozenset(
    {
        "aborted",
        "broken",
        "consume-failed",
        "error",
        "event-failed",
        "gateway-error",
        "leave-failed",
        "prewarm-failed",
        "switch-failed",
        "tell-failed",
        "trouble",
    }
)
"""In calls that switch, legs close whenever the other path is in use: that is no error."""
_RETRIED = "TARGET_NOT_FOUND"
"""The gateway's answer while a peer's socket is connecting or reconnecting; the request is repeated at once."""


def errors_of(raw: RawRun) -> list[dict[str, Any]]:
    """Return the errors that bots met until the end of the measured time, in order."""
    end = raw.context.window_end_ns
    errors = _ROOM_ERRORS if raw.announces_streams else _CALL_ERRORS
    return [
        event
        for event in raw.events
        if event.get("event") in errors
        and (end is None or event.get("unix_ns", 0) <= end)
        and event.get("code") != _RETRIED
    ]
