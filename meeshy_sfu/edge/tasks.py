"""What the event loop has to do: its jobs by the coroutine they run, so that one that is left behind has a name."""

from __future__ import annotations

import asyncio
from collections import Counter

from prometheus_client.core import GaugeMetricFamily


def tasks_by_coroutine() -> Counter[str]:
    """Count the jobs of the running event loop; none where no loop runs."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return Counter()
    return Counter(getattr(task.get_coro(), "__qualname__", "other") for task in tasks)


def tasks_metric() -> GaugeMetricFamily:
    """Return the figure for Prometheus; there are as many labels as kinds of jobs in the code."""
    family = GaugeMetricFamily(
        "meeshy_asyncio_tasks", "Jobs of the event loop now, by what they run.", labels=["coroutine"]
    )
    for name, number in sorted(tasks_by_coroutine().items()):
        family.add_metric([name], number)
    return family
