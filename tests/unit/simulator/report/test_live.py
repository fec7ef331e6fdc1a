"""The progress of a run."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from rich.console import Console

from simulator.report.live import HEARTBEAT_S, PhaseLines, Progress
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


def test_where_there_is_no_terminal_a_line_says_every_ten_seconds_how_it_goes() -> None:
    out, clock = io.StringIO(), [100.0]
    lines = PhaseLines(Console(file=out, width=200), "a run", now=lambda: clock[0])
    lines.phase("hold", 30)
    for second in range(1, 26):
        clock[0] = 100.0 + second
        lines.show(Progress(participants=5, expected=8, joined=4, packets_per_s=1234.0))
    assert HEARTBEAT_S == 10
    beats = [line.strip() for line in out.getvalue().splitlines() if "1,234" in line]
    assert [beat.split(":")[0] for beat in beats] == ["10 s", "20 s"]
    assert "4 of 5 in" in beats[0]
