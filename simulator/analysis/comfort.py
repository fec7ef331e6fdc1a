"""Discontinuous transmission: the times in which a sender that is silent sends nothing, by its own record.

In silence one frame in 400 ms is sent, marked as a comfort frame in the record of what was sent. Whoever received it
knows what the silence sounds like until speech begins again: that time is no gap. One lost comfort frame makes none either,
two in a row do.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.raw_run import RawRun
from simulator.samples.schema import KINDS, SAMPLE_COMFORT

COMFORT_NS = 400_000_000
"""Time between two frames in silence (RFC 7587 §3.1.3)."""
_COVERED_NS = 2 * COMFORT_NS
"""So long a comfort frame speaks for at most."""
_STEP_NS = 20_000_000
"""Of the frames that are left out."""
_AUDIO = KINDS.index("audio")


@dataclass(frozen=True, slots=True)
class Covered:
    """The times that comfort frames speak for at one receiver, of one sender; sorted."""

    arrived_ns: NDArray[np.int64]
    until_ns: NDArray[np.int64]

    def after(self, arrived_ns: int) -> int:
        """Return until when the frame that arrived at this moment speaks for the silence; that moment if it does not."""
        at = int(np.searchsorted(self.arrived_ns, arrived_ns))
        if at < len(self.arrived_ns) and self.arrived_ns[at] == arrived_ns:
            return int(self.until_ns[at])
        return arrived_ns

    def left_out(self) -> NDArray[np.int64]:
        """Return when the frames would have arrived that were left out."""
        steps = np.arange(1, _COVERED_NS // _STEP_NS + 1) * _STEP_NS
        times = self.arrived_ns[:, None] + steps[None, :]
        kept: NDArray[np.int64] = times[times <= self.until_ns[:, None]]
        return kept


_NOTHING = Covered(np.array([], np.int64), np.array([], np.int64))


class Comfort:
    """All silences of a run that were not sent."""

    def __init__(self, raw: RawRun) -> None:
        self._of: dict[tuple[int, int], Covered] = {}
        silences = _silences(raw)
        if not silences:
            return
        rows = raw.tables["latency"]
        rows = rows[(rows["kind"] == _AUDIO) & rows["sender"].isin(silences)]
        for key, part in rows.groupby(["receiver", "sender"]):
            receiver, sender = (int(str(value)) for value in tuple(key))
            lasting = silences[sender]
            times = part["recv_unix_ns"].to_numpy(dtype=np.int64)
            lasts = np.array([lasting.get(int(seq), 0) for seq in part["seq"]], np.int64)
            order = np.argsort(times)
            order = order[lasts[order] > 0]
            self._of[receiver, sender] = Covered(times[order], times[order] + lasts[order])

    def of(self, receiver: int, sender: int, kind: int) -> Covered:
        """Return what comfort frames of a sender speak for at a receiver."""
        return self._of.get((receiver, sender), _NOTHING) if kind == _AUDIO else _NOTHING


@functools.lru_cache(maxsize=4)
def comfort_of(raw: RawRun) -> Comfort:
    """Return the silences of a run, which are computed once."""
    return Comfort(raw)


def _silences(raw: RawRun) -> dict[int, dict[int, int]]:
    """Return for each sender how long each of its comfort frames speaks for the silence, by their sequence."""
    rows = raw.tables["sent"]
    rows = rows[rows["kind"] == _AUDIO]
    found: dict[int, dict[int, int]] = {}
    for sender, part in rows.groupby("sender"):
        if not (part["flags"] & SAMPLE_COMFORT).any():
            continue
        frames = part.sort_values("sent_unix_ns").drop_duplicates("seq")
        sent_ns = frames["sent_unix_ns"].to_numpy(dtype=np.int64)
        comfort = (frames["flags"].to_numpy(dtype=np.int64) & SAMPLE_COMFORT) != 0
        speech = np.append(sent_ns[~comfort], np.iinfo(np.int64).max)
        next_ns = speech[np.searchsorted(speech, sent_ns[comfort])]
        lasts = np.minimum(next_ns - sent_ns[comfort], _COVERED_NS)
        seqs = frames["seq"].to_numpy(dtype=np.int64)[comfort]
        found[int(str(sender))] = dict(zip(seqs.tolist(), lasts.tolist(), strict=True))
    return found
