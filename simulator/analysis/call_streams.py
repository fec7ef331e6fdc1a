"""Streams of calls of the gateway: which should have flowed, and whether they did all the time.

These calls have no fixed set of announced streams. Which streams should flow follows from who was in a call with whom, and
only frames that were shown count. Computed by pandas from the raw samples of one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.analysis.figures import computes
from simulator.analysis.raw_run import SILENCE_NS, RawRun
from simulator.analysis.sending import Sending
from simulator.analysis.transitions import RECOVERY_NS, shown
from simulator.media_figures import Streams
from simulator.samples.schema import KINDS

TOGETHER_NS = 500_000_000
"""Participants who are in a call together for less than this need not have received each other."""
SETTLED_NS = 500_000_000
"""After a participant receives all others, the others may not receive it for so long."""
LEAVING_NS = 300_000_000
"""What was sent so shortly before one of both left may not have come."""
JOIN_NS = 2_000_000_000
"""When streams to and from a participant are expected, after its join, if it never received all others."""

COLUMNS = ["sender", "receiver", "kind", "flowing", "packets", "expected", "loss", "loss_before_repair"]
COLUMNS += ["duplicates", "out_of_order", "foreign", "p50_ms", "p95_ms", "p99_ms", "max_ms", "samples"]
"""As in metrics.pairs; columns that these calls do not count are empty."""


@computes("streams", needs=["arrivals"])
def streams(raw: RawRun) -> Streams:
    """Count the streams between participants who were in a call together, and those that were never silent for long."""
    outcome = _flowing(raw)
    return Streams(expected=len(outcome), flowing=sum(outcome.values()))


def pairs(raw: RawRun) -> pd.DataFrame:
    """Compute latency and frames of each (sender, receiver, kind); one row a stream."""
    samples = raw.samples()
    grouped = (samples["owd_ns"] / 1e6).groupby([samples[c] for c in ("receiver", "sender", "kind")])
    spread = {
        (int(r), int(s), int(k)): part.to_numpy(dtype="float64") for (r, s, k), part in _groups(grouped)
    }
    rows: list[dict[str, Any]] = []
    for (receiver, sender, kind), flowing in sorted(_flowing(raw).items(), key=lambda item: item[0]):
        delays = spread.get((receiver, sender, kind), np.array([]))
        row: dict[str, Any] = {
            "sender": sender,
            "receiver": receiver,
            "kind": KINDS[kind],
            "flowing": flowing,
        }
        row["samples"] = len(delays)
        if len(delays):
            row |= zip(
                ("p50_ms", "p95_ms", "p99_ms"), np.percentile(delays, [50, 95, 99]).tolist(), strict=True
            )
            row["max_ms"] = float(delays.max())
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def spans(raw: RawRun) -> dict[str, dict[int, list[tuple[int, int]]]]:
    """Return for each call and bot the spans of time in which the others should receive it, in nanoseconds."""
    end = raw.context.window_end_ns
    found: dict[str, dict[int, list[tuple[int, int]]]] = {}
    rows = raw.tables["arrivals"].sort_values("started_ns")
    for row in rows.to_dict("records"):
        bots = found.setdefault(str(row["call_id"]), {})
        started, flowing, left = (int(row[name]) for name in ("started_ns", "flowing_ns", "left_ns"))
        # The first participant of a call has no streams to wait for.
        begin = flowing if flowing > 0 else started + (JOIN_NS if bots else 0)
        bots.setdefault(int(row["bot"]), []).append((begin, left if end is None else min(left, end)))
    return found


def due_spans(raw: RawRun) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
    """Return for each receiver, sender and kind the spans of time in which all that was sent should have arrived.

    Without the time after a fault, which counts as recovery, the moments around a join and a leave, and times in which nothing
    was sent.
    """
    faults = sorted(raw.tables["deaths"]["unix_ns"].astype("int64").tolist())
    kinds = [number for number, kind in enumerate(KINDS) if kind in raw.scenario.media.kinds]
    end = raw.context.window_end_ns
    found: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    sending = Sending(raw)
    for receiver, sender, first, last in _together(raw):
        # Who is still in the call at the end of the measured time goes on receiving.
        until = last if end is not None and last >= end else last - LEAVING_NS
        for span in _between(faults, first + SETTLED_NS, until):
            for kind in kinds:
                if parts := list(sending.spans(sender, kind, *span)):
                    found.setdefault((receiver, sender, kind), []).extend(parts)
    return found


def _between(faults: Sequence[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Return what is left of a span without the times around faults."""
    for fault in faults:
        if fault + RECOVERY_NS <= start or fault - LEAVING_NS >= end:
            continue
        if fault - LEAVING_NS > start:
            yield start, fault - LEAVING_NS
        start = fault + RECOVERY_NS
    if start < end:
        yield start, end


def _flowing(raw: RawRun) -> dict[tuple[int, int, int], bool]:
    """Return for each stream that should flow whether it was never silent for longer than two seconds."""
    frames = shown(raw)
    faults = raw.tables["deaths"]["unix_ns"].to_numpy(dtype=np.int64)
    kinds = [number for number, kind in enumerate(KINDS) if kind in raw.scenario.media.kinds]
    outcome: dict[tuple[int, int, int], bool] = {}
    sending = Sending(raw)
    for receiver, sender, start, end in _together(raw):
        for kind in kinds:
            key = receiver, sender, kind
            times = frames[key][0] if key in frames else np.array([], np.int64)
            for first, last in sending.spans(sender, kind, start, end):
                if last - first >= TOGETHER_NS:
                    outcome[key] = outcome.get(key, True) and not _silent(times, first, last, faults)
    return outcome


def _together(raw: RawRun) -> Iterator[tuple[int, int, int, int]]:
    """Return receiver, sender, begin and end of each time that two participants were in a call together."""
    for bots in spans(raw).values():
        for one, ones in bots.items():
            for other, others in bots.items():
                if one == other:
                    continue
                for a, b in ones:
                    for c, d in others:
                        if min(b, d) - max(a, c) >= TOGETHER_NS:
                            yield one, other, max(a, c), min(b, d)


def _silent(times: NDArray[np.int64], start: int, end: int, faults: NDArray[np.int64]) -> bool:
    """Return whether a stream was silent for too long; gaps after a fault are counted as recovery times."""
    inside = times[np.searchsorted(times, start) : np.searchsorted(times, end, side="right")]
    edges = np.concatenate([[start], inside, [end]])
    if not len(inside):
        return not _near_a_fault(start, end, faults)
    long = np.flatnonzero(np.diff(edges) > SILENCE_NS)
    return any(not _near_a_fault(int(edges[i]), int(edges[i + 1]), faults) for i in long)


def _near_a_fault(start: int, end: int, faults: NDArray[np.int64]) -> bool:
    return bool(((faults <= end) & (faults + RECOVERY_NS >= start)).any())


def _groups(grouped: Any) -> Iterator[tuple[tuple[Any, Any, Any], pd.Series[Any]]]:
    yield from grouped
