"""The tasks of the event loop, counted by their coroutine, so that a leaked task has a name."""

from __future__ import annotations

import asyncio
from collections import Counter

from prometheus_client.core import GaugeMetricFamily


def tasks_by_coroutine() -> Counter[str]:
    """Count the tasks of the running event loop; none without a running loop."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return Counter()
    return Counter(getattr(task.get_coro(), "__qualname__", "other") for task in tasks)


def tasks_metric() -> GaugeMetricFamily:
    """Return the metric for Prometheus; there are as many labels as kinds of tasks in the code."""
    family = GaugeMetricFamily(
        "meeshy_asyncio_tasks", "Jobs of the event loop now, by what they run.", labels=["coroutine"]
    )
    for name, number in sorted(tasks_by_coroutine().items()):
        family.add_metric([name], number)
    return family
