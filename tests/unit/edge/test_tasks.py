"""Jobs of the event loop are counted by what they run."""

from __future__ import annotations

import asyncio

from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.tasks import tasks_by_coroutine


async def test_a_job_that_is_left_behind_has_a_name() -> None:
    stop = asyncio.Event()

    async def wait_for_ever() -> None:
        await stop.wait()

    jobs = [asyncio.create_task(wait_for_ever()) for _ in range(3)]
    name = wait_for_ever.__qualname__
    assert tasks_by_coroutine()[name] == 3
    assert f'meeshy_asyncio_tasks{{coroutine="{name}"}} 3.0' in EdgeMetrics().text().decode()
    stop.set()
    await asyncio.gather(*jobs)
    assert tasks_by_coroutine()[name] == 0


def test_where_no_loop_runs_there_is_no_job() -> None:
    assert not tasks_by_coroutine()
