"""The progress of a run."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from simulator.report.live import Progress
from simulator.samples.schema import LATENCY, SAMPLE_SHOWN, SAMPLE_SURPLUS, rows_to_batch


def frames(*rows: tuple[int, int, int, int]) -> dict[str, list[pa.RecordBatch]]:
    """Make frames by receiver, sender, kind and flags."""
    fields = [field.name for field in LATENCY]
    values = [dict(zip(("receiver", "sender", "kind", "flags"), row, strict=True)) for row in rows]
    batch = rows_to_batch(LATENCY, [tuple(value.get(name, 0) for name in fields) for value in values])
    return {"latency": [batch], "generator": []}


def test_each_stream_that_is_shown_counts_once() -> None:
    progress = Progress(participants=3, expected=0)
    shown = [(r, s, k, SAMPLE_SHOWN) for r in (1, 2, 500) for s in (1, 2, 500) if r != s for k in (0, 1)]
    progress.update_calls(None, [frames(*shown, *shown)], 12)
    assert (progress.flowing, progress.expected) == (12, 12)
    progress.update_calls(None, [frames(*shown, (3, 1, 0, SAMPLE_SURPLUS))], 12)
    assert progress.flowing == 12
    assert np.isclose(progress.latency_ms or (), 0).all()
