"""What locust is told of media while it flows: latency of each second, and streams that fall silent.

Pure: samples and times go in, values come out. Only for the eye; the verdict is computed from all raw samples at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simulator.samples.schema import KINDS, SAMPLE_FOREIGN, Kind

SILENCE_NS = 2_000_000_000
"""As in the figure `streams.flowing`."""
Track = tuple[int, int, Kind]
"""Receiver, sender, kind."""


@dataclass(frozen=True, slots=True)
class Window:
    """Latency of what one participant received of one kind since the last look."""

    receiver: int
    kind: Kind
    p95_ms: float
    samples: int


def windows(batches: Iterable[pa.RecordBatch]) -> list[Window]:
    """Return the 95th percentile of one-way latency for each receiver and kind; misrouted frames are left out."""
    found: list[Window] = []
    for batch in batches:
        mine = batch.column("flags").to_numpy() & SAMPLE_FOREIGN == 0
        receiver = batch.column("receiver").to_numpy()[mine].astype(np.int64)
        kind = batch.column("kind").to_numpy()[mine].astype(np.int64)
        delay = batch.column("owd_ns").to_numpy()[mine]
        key = receiver * len(KINDS) + kind
        order = np.lexsort((delay, key))
        key, delay = key[order], delay[order]
        keys, first, count = np.unique(key, return_index=True, return_counts=True)
        at = first + np.ceil(count * 0.95).astype(np.int64) - 1
        for one, ns, samples in zip(keys.tolist(), delay[at].tolist(), count.tolist(), strict=True):
            number, which = divmod(one, len(KINDS))
            found.append(Window(number, KINDS[which], ns / 1e6, samples))
    return found


def last_seen(batches: Iterable[pa.RecordBatch]) -> dict[Track, int]:
    """Return when each track last brought something, among these samples."""
    seen: dict[Track, int] = {}
    for batch in batches:
        columns = [
            batch.column(name).to_numpy().astype(np.int64)
            for name in ("receiver", "sender", "kind", "recv_unix_ns")
        ]
        receiver, sender, kind, when = columns
        key = (receiver << 17) | (sender << 1) | kind
        order = np.lexsort((when, key))
        key, when = key[order], when[order]
        last = np.flatnonzero(np.append(key[1:] != key[:-1], True)) if len(key) else np.array([], np.int64)
        for one, ns in zip(key[last].tolist(), when[last].tolist(), strict=True):
            seen[one >> 17, (one >> 1) & 0xFFFF, KINDS[one & 1]] = ns
    return seen


class Silences:
    """Which tracks have fallen silent; each silence is reported once."""

    def __init__(self) -> None:
        self._last: dict[Track, int] = {}
        self._silent: set[Track] = set()

    def look(self, seen: dict[Track, int], expected: Iterable[Track], now_ns: int) -> list[Track]:
        """Return the tracks that have been silent for two seconds now and were not reported.

        Args:
            seen: When each track last brought something, since the last look.
            expected: Tracks between participants who are in a call together.
            now_ns: The time.
        """
        self._last |= seen
        self._silent -= seen.keys()
        wanted = set(expected)
        # a participant who comes back starts anew
        for gone in self._last.keys() - wanted:
            del self._last[gone]
        self._silent &= wanted
        found = [
            track
            for track in wanted
            if track in self._last and track not in self._silent and now_ns - self._last[track] > SILENCE_NS
        ]
        self._silent.update(found)
        return found
