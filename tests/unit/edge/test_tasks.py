"""Jobs of the event loop are counted by what they run."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meeshy_sfu.edge.tasks import tasks_by_coroutine, tasks_metric


async def test_a_job_that_is_left_behind_has_a_name() -> None:
    stop = asyncio.Event()

    async def wait_for_ever() -> None:
        await stop.wait()

    class Once(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            return [tasks_metric()]

    jobs = [asyncio.create_task(wait_for_ever()) for _ in range(3)]
    name = wait_for_ever.__qualname__
    assert tasks_by_coroutine()[name] == 3
    registry = CollectorRegistry()
    registry.register(Once())
    assert f'meeshy_asyncio_tasks{{coroutine="{name}"}} 3.0' in generate_latest(registry).decode()
    stop.set()
    await asyncio.gather(*jobs)
    assert tasks_by_coroutine()[name] == 0


def test_where_no_loop_runs_there_is_no_job() -> None:
    assert not tasks_by_coroutine()
