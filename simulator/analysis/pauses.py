"""Pauses: times in which a stream brought nothing, until the end of the measured time.

Bots note a pause when it is over; one that is not over at the end lasts from the last frame until then. In calls that
switch, pauses are the gaps between shown frames, without those that a fault explains. What a sender left out because it was
silent is no pause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from simulator.analysis.call_streams import due_spans
from simulator.analysis.comfort import comfort_of
from simulator.analysis.figures import computes
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import STREAM, RawRun
from simulator.analysis.sending import Sending
from simulator.analysis.transitions import shown
from simulator.media_figures import Pauses, PausesOf
from simulator.samples.schema import KINDS

PAUSE_NS = 300_000_000
"""A shorter time without a frame is no pause: a buffer or concealment covers most of it."""

Key = tuple[int, int, int]
Span = tuple[int, int]


@computes("pauses", needs=["streams"])
@computes("pauses", needs=["arrivals"])
def pauses(raw: RawRun) -> Pauses:
    """Compute the pauses of all streams, by kind."""
    found, spans = stream_pauses(raw)
    return Pauses(
        **{
            kind: _of_kind(
                {key: times for key, times in found.items() if key[2] == number},
                {key: times for key, times in spans.items() if key[2] == number},
            )
            for number, kind in enumerate(KINDS)
            if kind in raw.scenario.media.kinds
        }
    )


def by_stream(raw: RawRun) -> pd.DataFrame:
    """Return how often each stream paused, and its longest pause; one row a stream."""
    rows = [
        {
            "sender": sender,
            "receiver": receiver,
            "kind": KINDS[kind],
            "pauses": len(times),
            "longest_pause_ms": max((end - start for start, end in times), default=0) / 1e6,
        }
        for (receiver, sender, kind), times in stream_pauses(raw)[0].items()
    ]
    return pd.DataFrame(rows, columns=["sender", "receiver", "kind", "pauses", "longest_pause_ms"])


def stream_pauses(raw: RawRun) -> tuple[dict[Key, list[Span]], dict[Key, list[Span]]]:
    """Return the pauses of each stream, and the spans of time in which it should have flowed."""
    start, end = raw.context.window_start_ns, raw.context.window_end_ns
    if start is None or end is None:
        return {}, {}
    if not raw.announces_streams:
        return _of_calls(raw)
    expected = [tuple(int(v) for v in row) for row in raw.tables["expected"][STREAM].itertuples(index=False)]
    sending = Sending(raw)
    spans: dict[Key, list[Span]] = {(r, s, k): list(sending.spans(s, k, start, end)) for r, s, k in expected}
    found: dict[Key, list[Span]] = {key: [] for key in spans}
    comfort = comfort_of(raw)
    for receiver, sender, kind, began, ended in raw.tables["pauses"].itertuples(index=False):
        key = int(receiver), int(sender), int(kind)
        since = comfort.of(*key).after(int(began))
        if key in found and since < end and ended > start and ended - since > PAUSE_NS:
            found[key].append((max(since, start), min(int(ended), end)))
    for key, last_ns in _last_frames(raw).items():
        since = comfort.of(*key).after(last_ns)
        if key in found and since < end - PAUSE_NS:
            found[key].append((max(since, start), end))
    for key in found.keys() - _last_frames(raw).keys():
        found[key] = [(start, end)]
    if len(raw.tables["paused"]):
        found = {key: list(_within(times, spans[key])) for key, times in found.items()}
    return found, spans


def _within(times: list[Span], spans: list[Span]) -> Iterator[Span]:
    """Return the parts of pauses in which the stream should have flowed, as far as they are pauses still."""
    for began, ended in times:
        for start, end in spans:
            if min(ended, end) - max(began, start) > PAUSE_NS:
                yield max(began, start), min(ended, end)


def _last_frames(raw: RawRun) -> dict[Key, int]:
    """Return when each stream last brought something, as of the last collection; 0 if it never did."""
    rows = raw.tables["streams"]
    rows = rows[rows["tick"] != -1].sort_values("unix_ns").drop_duplicates(STREAM, keep="last")
    last = rows["last_frame_ns"].fillna(rows["last_packet_ns"]).astype("int64")
    return {
        (int(r), int(s), int(k)): int(ns)
        for r, s, k, ns in zip(rows["receiver"], rows["sender"], rows["kind"], last, strict=True)
    }


def _of_calls(raw: RawRun) -> tuple[dict[Key, list[Span]], dict[Key, list[Span]]]:
    spans, tracks = due_spans(raw), shown(raw)
    found: dict[Key, list[Span]] = {}
    for key, times in spans.items():
        frames = tracks[key][0] if key in tracks else np.array([], np.int64)
        found[key] = []
        for start, end in times:
            inside = frames[np.searchsorted(frames, start) : np.searchsorted(frames, end, side="right")]
            edges = np.concatenate([[start], inside, [end]])
            for at in np.flatnonzero(np.diff(edges) > PAUSE_NS):
                found[key].append((int(edges[at]), int(edges[at + 1])))
    return found, spans


def _of_kind(found: Mapping[Key, list[Span]], spans: Mapping[Key, list[Span]]) -> PausesOf:
    lengths = {key: [end - start for start, end in times] for key, times in found.items()}
    long = [ns for times in lengths.values() for ns in times if ns > PAUSE_NS]
    total = sum(end - start for times in spans.values() for start, end in times)
    longest = pd.Series([max(times, default=0) / 1e6 for times in lengths.values()], dtype="float64")
    return PausesOf(
        longest_ms=percentiles(longest),
        over_300_ms=len(long),
        share=round(sum(long) / total, 6) if total else None,
    )
