"""What arrived although the producer was paused when it was sent.

Pure. The time of sending is that in the stamp, so only stamped packets count: every audio packet, or every tenth in large
calls, and the last packet of every video frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.analysis.figures import computes
from simulator.analysis.raw_run import RawRun

MARGIN_NS = 50_000_000
"""So much of both ends of a pause is left out, for clocks and for what is read in one go with the command."""


def uplink_ns(raw: RawRun) -> int:
    """Return how long what was sent may take to the server: the margin and, asked for again, three times the emulated way."""
    up = raw.scenario.network.up
    return MARGIN_NS + int(3 * (up.delay_ms + up.jitter_ms) * 1e6)


def paused_spans(raw: RawRun) -> Iterator[tuple[int, int, int, int]]:
    """Return sender, kind, begin and end of each part of the measured time in which nothing that was sent may be forwarded."""
    first, last = raw.context.window_start_ns, raw.context.window_end_ns
    if first is None or last is None:
        return
    for bot, kind, _, began, ended in raw.tables["paused"].itertuples(index=False):
        if began == 0:
            continue
        start = max(first, int(began) + MARGIN_NS)
        # What was sent just before it was resumed reaches the server after that.
        end = last if ended == 0 else min(last, int(ended) - uplink_ns(raw))
        if start < end:
            yield int(bot), int(kind), start, end


@computes("paused_packets", needs=["paused"])
def paused_packets(raw: RawRun) -> int | None:
    """Count the stamps that were sent while their producer was paused and arrived; None if no pause was long enough."""
    samples = raw.samples()
    sender, kind = (samples[name].to_numpy(dtype=np.int64) for name in ("sender", "kind"))
    sent_ns = samples["recv_unix_ns"].to_numpy(dtype=np.int64) - samples["owd_ns"].to_numpy(dtype=np.int64)
    found = [
        int(((sender == bot) & (kind == number) & (sent_ns >= start) & (sent_ns <= end)).sum())
        for bot, number, start, end in paused_spans(raw)
    ]
    return sum(found) if found else None
