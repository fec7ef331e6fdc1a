"""What is under way when the measured time ends: which frames were sent and have not arrived.

Senders go on sending meanwhile. If they stopped, a receiver could not notice that the last packets are missing, would not
ask for them again, and the end of the measured time would be treated unlike the rest of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.analysis.raw_run import DELIVERED_WITHIN_NS
from simulator.samples.schema import SAMPLE_FOREIGN

PHASE = "waiting for what is under way"
"""What watchers of a run are told meanwhile."""
LOOK_S = 0.1
"""How often is looked for what has arrived."""
Collected = Sequence[Mapping[str, Sequence[pa.RecordBatch]]]
Stream = tuple[int, int, int]
"""Receiver, sender and number of the kind."""
_Keys = NDArray[np.uint64]
_SEQ = np.uint64(0x7FFFFFFF)


class UnderWay:
    """The frames of the last seconds, sent and arrived; fed with all that is collected."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, pa.RecordBatch]] = deque()
        self._arrived: deque[tuple[int, _Keys]] = deque()

    def add(self, collected: Collected) -> None:
        """Take what was collected, and forget what is too old to be waited for."""
        now_ns = time.time_ns()
        for part in collected:
            self._sent += ((now_ns, batch) for batch in part.get("sent", ()) if batch.num_rows)
            self._arrived += (
                (now_ns, _arrivals(batch)) for batch in part.get("latency", ()) if batch.num_rows
            )
        for kept in (self._sent, self._arrived):
            while kept and kept[0][0] < now_ns - 2 * DELIVERED_WITHIN_NS:
                kept.popleft()

    def missing(self, end_ns: int, streams: Iterable[Stream]) -> _Keys:
        """Return the frames that were sent up to this moment, and not long before it, and have not arrived."""
        receivers: dict[tuple[int, int], list[int]] = {}
        for receiver, sender, kind in streams:
            receivers.setdefault((sender, kind), []).append(receiver)
        due: list[_Keys] = []
        for _, batch in self._sent:
            sent_ns = _column(batch, "sent_unix_ns")
            recent = (sent_ns <= end_ns) & (sent_ns > end_ns - DELIVERED_WITHIN_NS)
            senders, kinds, seqs = (_column(batch, name)[recent] for name in ("sender", "kind", "seq"))
            for (sender, kind), those in receivers.items():
                mine = (senders == sender) & (kinds == kind)
                for receiver in those if mine.any() else ():
                    due.append(_keys(np.uint64(receiver), senders[mine], kinds[mine], seqs[mine]))
        if not due:
            return np.array([], np.uint64)
        wanted = np.unique(np.concatenate(due))
        return _without(wanted, [keys for _, keys in self._arrived])


async def drain(
    under_way: UnderWay,
    end_ns: int,
    streams: Iterable[Stream],
    collect: Callable[[], Awaitable[Collected]],
    *,
    look_s: float = LOOK_S,
) -> int:
    """Collect until all that was sent up to this moment has arrived, for at most 5 s; returns how many frames are missing."""
    await collect()  # what was sent last is with the bots still
    missing = await asyncio.to_thread(under_way.missing, end_ns, list(streams))
    while len(missing) and time.time_ns() < end_ns + DELIVERED_WITHIN_NS:
        await asyncio.sleep(look_s)
        news = [_arrivals(b) for part in await collect() for b in part.get("latency", ()) if b.num_rows]
        missing = await asyncio.to_thread(_without, missing, news)
    return len(missing)


def _arrivals(batch: pa.RecordBatch) -> _Keys:
    """Return the frames of these samples that are whole."""
    whole = np.asarray(batch.column("whole_ns").to_numpy(zero_copy_only=False), np.int64) >= 0
    own = (_column(batch, "flags") & np.uint64(SAMPLE_FOREIGN)) == 0
    receiver, sender, kind, seq = (
        _column(batch, n)[whole & own] for n in ("receiver", "sender", "kind", "seq")
    )
    return _keys(receiver, sender, kind, seq)


def _keys(receiver: _Keys | np.uint64, sender: _Keys, kind: _Keys, seq: _Keys) -> _Keys:
    """Write a frame at a receiver as one number; 2^31 sequence numbers are years of media."""
    keys: _Keys = receiver << np.uint64(48) | sender << np.uint64(32) | kind << np.uint64(31) | seq & _SEQ
    return keys


def _without(wanted: _Keys, arrived: Sequence[_Keys]) -> _Keys:
    for keys in arrived:
        if not len(wanted):
            break
        wanted = wanted[~np.isin(wanted, keys)]
    return wanted


def _column(batch: pa.RecordBatch, name: str) -> _Keys:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), np.uint64)
