"""When nothing was due of a participant: it only receives, was muted, had its camera off, or its producer was paused.

Pure; computed from the tables of those times.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulator.analysis.paused import uplink_ns
from simulator.analysis.raw_run import RawRun

SETTLING_NS = 500_000_000
"""So long after a participant sends again its media need not have arrived."""
_EVER = 2**63 - 1


class Sending:
    """What each participant of a run sent when."""

    def __init__(self, raw: RawRun) -> None:
        self._silent: dict[tuple[int, int], list[tuple[int, int]]] = {}
        rows = raw.tables["muted"].sort_values("began_ns")
        for bot, kind, began, ended in rows[["bot", "kind", "began_ns", "ended_ns"]].itertuples(index=False):
            end = _EVER if ended == 0 else int(ended) + SETTLING_NS
            self._silent.setdefault((int(bot), int(kind)), []).append((int(began), end))
        uplink = uplink_ns(raw)
        rows = raw.tables["paused"].sort_values("asked_ns")
        for bot, kind, asked, ended in rows[["bot", "kind", "asked_ns", "ended_ns"]].itertuples(index=False):
            # What was on its way to the server when it paused need not have been forwarded.
            end = _EVER if ended == 0 else int(ended) + SETTLING_NS + uplink
            self._silent.setdefault((int(bot), int(kind)), []).append((int(asked) - uplink, end))

    def spans(self, bot: int, kind: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Return the parts of a time in which a participant sent media of a kind."""
        for began, ended in self._silent.get((bot, kind), ()):
            if ended <= start or began >= end:
                continue
            if began > start:
                yield start, began
            start = max(start, ended)
        if start < end:
            yield start, end

    def all_through(self, bot: int, kind: int, start: int, end: int) -> bool:
        """Return whether a participant sent media of a kind through all of a time."""
        return list(self.spans(bot, kind, start, end)) == [(start, end)]
