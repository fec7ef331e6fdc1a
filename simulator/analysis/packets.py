"""Packets that should not have come: duplicates, reordered ones, and those that no announced stream accounts for.

Counted by the receivers, who authenticate every packet; computed by pandas from their counters. Delay variation is here
too, for it is what a receiver's buffer has to even out.
"""

from __future__ import annotations

import pandas as pd

from simulator.analysis.delivery import accounts_of
from simulator.analysis.figures import computes
from simulator.analysis.intervals import share
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import STREAM, RawRun
from simulator.figure_types import PerKind, Share
from simulator.samples.schema import DRAINED, KINDS
from simulator.summary import Unexpected

_OPEN = "unknown_ssrc_open"
CAUSES = ("unknown_ssrc", "unauthentic", "payload_type", "damaged_stamps", "malformed")


@computes("duplicate_ratio", needs=["expected"])
def duplicates(raw: RawRun) -> Share:
    """Compute the share of packets that had come before.

    A server that gives a copy a number of its own is caught by the stamps: what came twice with the same stamp counts too.
    """
    deltas = raw.stream_deltas
    packets = int(deltas["packets"].sum())
    again = int((deltas["duplicates"] - deltas["surplus_repairs"] + deltas["unasked_repairs"]).sum())
    frames = accounts_of(raw).streams
    whole = sum(s.delivered + s.duplicated for s in frames)
    by_stamp = sum(s.duplicated for s in frames) / whole if whole else 0.0
    return share(max(again, round(by_stamp * packets)), packets + again)


@computes("reordered", needs=["expected"])
def reordered(raw: RawRun) -> Share:
    """Compute the share of packets that came after one sent later."""
    deltas = raw.stream_deltas
    return share(int(deltas["out_of_order"].sum()), int(deltas["packets"].sum()))


@computes("unexpected_packets", needs=["receivers"])
def unexpected(raw: RawRun) -> Unexpected:
    """Count what bots could not attribute within the measured time.

    An SSRC that may still be announced counts unless it was, by the end of the drain.
    """
    rows = raw.tables["receivers"].sort_values("unix_ns").set_index("receiver")
    names = [*CAUSES, _OPEN]
    inside = rows[rows["tick"] >= 0].groupby(level=0)[names]
    first, last = inside.first(), inside.last()
    drained = rows[rows["tick"] == DRAINED].groupby(level=0)[names].last().reindex(last.index).fillna(last)
    total = last["unknown_ssrc"] + last[_OPEN]
    last["unknown_ssrc"] = total.clip(upper=drained["unknown_ssrc"] + drained[_OPEN])
    grown = last - first
    counts = {cause: _total(grown[cause]) for cause in CAUSES}
    known = [count for count in counts.values() if count is not None]
    return Unexpected(total=sum(known) if known else None, **counts)


@computes("timestamp_jumps", needs=["receivers"])
def timestamp_jumps(raw: RawRun) -> int | None:
    """Count the jumps of RTP timestamps within the measured time."""
    rows = raw.tables["receivers"]
    counts = rows[rows["tick"] >= 0].sort_values("unix_ns").groupby("receiver")["timestamp_jumps"]
    return _total(counts.last() - counts.first())


@computes("jitter_ms", needs=["latency"])
def delay_variation(raw: RawRun) -> PerKind:
    """Compute by how much latency exceeds the smallest of the same stream."""
    samples = raw.samples()
    above_ms = (samples["owd_ns"] - samples.groupby(STREAM)["owd_ns"].transform("min")) / 1e6
    return PerKind(
        **{
            kind: percentiles(above_ms[samples["kind"] == number])
            for number, kind in enumerate(KINDS)
            if kind in raw.scenario.media.kinds
        }
    )


def _total(counts: pd.Series) -> int | None:
    known = counts.dropna()
    return int(known.sum()) if len(known) else None
