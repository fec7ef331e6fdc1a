"""What a media server reports of itself: CPU, memory and packets, from /api/stats.

Asks and reads; what becomes of the figures is up to the runs and the report.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from simulator.client.media_server import Json, Rest
from simulator.errors import SignalingError


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What a media server reports of itself; None for what it does not report."""

    unix_ns: int
    cpu_ns: int | None
    rss_bytes: int | None
    packets_in: int | None
    packets_out: int | None
    workers: tuple[tuple[int, str, int], ...]
    """Number, name and CPU time of each of its threads."""


async def server_figures(rest: Rest, token: str) -> ServerFigures | None:
    """Ask a server for its CPU, memory and packets; None when it does not answer, or refuses."""
    try:
        stats = await rest.request("GET", "/api/stats", token)
    except SignalingError:
        return None
    return read_figures(stats, time.time_ns())


def read_figures(stats: Json, unix_ns: int) -> ServerFigures:
    """Read the figures of an answer of /api/stats; None for those that are missing."""
    process: Json = stats.get("process") or {}
    workers: list[Json] = stats.get("workers") or []
    cpu_ns = None if process.get("cpuS") is None else int(float(process["cpuS"]) * 1e9)
    threads = [
        (int(w.get("index", i)), f"worker-{w.get('index', i)}", int(w["cpuNs"]))
        for i, w in enumerate(workers)
        if "cpuNs" in w
    ]
    if cpu_ns is not None:
        threads.append((-1, "control", max(0, cpu_ns - sum(cpu for _, _, cpu in threads))))
    return ServerFigures(
        unix_ns=unix_ns,
        cpu_ns=cpu_ns,
        rss_bytes=process.get("rssBytes"),
        packets_in=_sum(workers, "packetsIn"),
        packets_out=_sum(workers, "packetsOut"),
        workers=tuple(threads),
    )


def _sum(workers: list[Json], name: str) -> int | None:
    values: list[Any] = [worker.get(name) for worker in workers]
    return None if not values or None in values else sum(int(value) for value in values)
