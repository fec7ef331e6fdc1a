"""What is under way at the end of the measured time: known by what was sent and what has arrived."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from simulator.analysis.raw_run import DELIVERED_WITHIN_NS
from simulator.runs.drain import UnderWay, drain
from simulator.samples.schema import LATENCY, NEVER_WHOLE, SAMPLE_FOREIGN, SENT, rows_to_batch

MS = 1_000_000
STREAMS = [(2, 1, 0), (3, 1, 0), (2, 1, 1)]


def batch(schema: pa.Schema, *rows: dict[str, int]) -> pa.RecordBatch:
    return rows_to_batch(schema, [tuple(row.get(name, 0) for name in schema.names) for row in rows])


def sent(now_ns: int, numbers: Sequence[int], kind: int = 0) -> dict[str, Any]:
    rows = ({"sender": 1, "kind": kind, "seq": n, "sent_unix_ns": now_ns + n * MS} for n in numbers)
    return {"sent": [batch(SENT, *rows)]}


def arrived(*frames: tuple[int, int], **values: int) -> dict[str, Any]:
    rows = ({"receiver": r, "sender": 1, "seq": n} | values for r, n in frames)
    return {"latency": [batch(LATENCY, *rows)]}


def test_a_frame_is_under_way_until_it_is_whole_at_each_of_its_receivers() -> None:
    now_ns, under_way = time.time_ns(), UnderWay()
    under_way.add([sent(now_ns, range(3)), sent(now_ns, [0], kind=1)])
    assert len(under_way.missing(now_ns + 10 * MS, STREAMS)) == 7
    under_way.add([arrived((2, 0), (2, 1), (2, 2), (3, 0))])
    under_way.add([arrived((3, 1), whole_ns=NEVER_WHOLE), arrived((3, 2), flags=SAMPLE_FOREIGN)])
    assert len(under_way.missing(now_ns + 10 * MS, STREAMS)) == 3
    assert len(under_way.missing(now_ns + 10 * MS, STREAMS[:1])) == 0


def test_what_was_sent_after_the_end_or_long_before_it_is_not_waited_for() -> None:
    now_ns, under_way = time.time_ns(), UnderWay()
    under_way.add([sent(now_ns, [0, 5, 6])])
    assert len(under_way.missing(now_ns + 5 * MS, STREAMS[:1])) == 2
    assert len(under_way.missing(now_ns + DELIVERED_WITHIN_NS + 1, STREAMS[:1])) == 2
    assert len(under_way.missing(now_ns + DELIVERED_WITHIN_NS + 6 * MS, STREAMS[:1])) == 0


async def test_a_drain_ends_with_the_last_arrival() -> None:
    end_ns, under_way = time.time_ns(), UnderWay()
    under_way.add([sent(end_ns - 10 * MS, range(3))])
    parts = [[arrived((2, 0))], [arrived((2, 1))], [arrived((2, 2))]]

    async def collect() -> Sequence[Any]:
        part = parts.pop(0) if parts else []
        under_way.add(part)
        return part

    assert await drain(under_way, end_ns, STREAMS[:1], collect, look_s=0) == 0
    assert parts == []


async def test_a_drain_gives_up_what_does_not_come_in_time() -> None:
    end_ns, under_way = time.time_ns() - DELIVERED_WITHIN_NS - 1, UnderWay()
    under_way.add([sent(end_ns - 10 * MS, range(3))])

    async def collect() -> Sequence[Any]:
        return []

    assert await drain(under_way, end_ns, STREAMS[:2], collect, look_s=0) == 6
