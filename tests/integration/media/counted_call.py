"""A call between two network namespaces, as the kernel counts it and as the metrics show it.

Run by test_kernel_counters.py in namespaces of its own; prints both as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.worker import WorkerPool, WorkerSettings
from meeshy_sfu.rooms.limits import RoomLimits
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId
from meeshy_sfu.server.metrics import Metrics
from tests.integration.media.bots import Bots, until
from tests.integration.media.veth import CLIENTS, HEADERS, SERVER, Namespaces

if TYPE_CHECKING:
    from meeshy_sfu.media.worker import Worker

PEOPLE = 8
FRAMES = 60
VIDEO = 1
CPU_S = 0.3
"""Enough that what passes between two looks at the clocks is no share of it."""


def shown(metrics: Metrics) -> dict[str, float]:
    """Return the values of all metrics of the worker and of the process, by name and labels."""
    text = metrics.text().decode()
    return {
        name: float(value)
        for name, value in re.findall(r"^((?:meeshy_worker|process)_\S+) (\S+)$", text, re.MULTILINE)
    }


def kernel_cpu_s(thread: Path) -> float:
    """Return the CPU time of a thread, as the scheduler has it."""
    return int((thread / "schedstat").read_text().split()[0]) / 1e9


async def measured_cpu(worker: Worker, metrics: Metrics) -> dict[str, float]:
    """Compare the CPU time of the worker and of the process at one moment."""
    tasks = list(Path("/proc/self/task").iterdir())
    (own,) = [one for one in tasks if (one / "comm").read_text().strip() == f"sfu-worker-{worker.index}"]
    before = kernel_cpu_s(own)
    await worker.fetch_stats()
    after = kernel_cpu_s(own)
    values = shown(metrics)
    return {
        "worker_before": before,
        "worker": values['meeshy_worker_cpu_seconds_total{worker="0"}'],
        "worker_after": after,
        "process": values["process_cpu_seconds_total"],
        "process_kernel": time.process_time(),
    }


async def settled(worker: Worker, namespaces: Namespaces) -> None:
    """Wait until nothing is under way any more."""
    before = None
    while (now := ((await worker.fetch_stats()).packets_in, namespaces.counted())) != before:
        before = now
        await asyncio.sleep(0.3)


async def main(clip: Path) -> None:
    """Run the call."""
    namespaces = Namespaces()
    clock = SystemClock()
    settings = WorkerSettings(
        certificate=Certificate.generate(clock), size=1, base_port=0, listen=(SERVER,), pin=False
    )
    async with await WorkerPool.start(settings) as pool:
        (worker,) = pool.workers
        metrics = Metrics(pool, clock)
        rooms = RoomRegistry(pool, limits=RoomLimits(), clock=clock, listener=RoomListener())
        metrics.show(lambda: rooms.rooms)
        room = await rooms.create(CallId("counted"))
        namespaces.enter_clients()
        bots = Bots(clip, bind=CLIENTS)
        people = await bots.mesh(room, PEOPLE)
        await until(lambda: bots.flowing(kind=VIDEO, frames=FRAMES) == PEOPLE * (PEOPLE - 1), deadline_s=60)
        while (await worker.fetch_stats()).cpu_ns < CPU_S * 1e9:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        cpu = await measured_cpu(worker, metrics)
        for person in people:
            bots.leave(person)
        await settled(worker, namespaces)
        kernel = namespaces.counted()
        print(json.dumps({"shown": shown(metrics), "kernel": asdict(kernel), "headers": HEADERS, "cpu": cpu}))
        bots.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
