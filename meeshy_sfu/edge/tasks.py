"""The tasks of the event loop, counted by their coroutine, so that a leaked task has a name."""

from __future__ import annotations

import asyncio
from collections import Counter


def tasks_by_coroutine() -> Counter[str]:
    """Count the tasks of the running event loop; none without one. There are as many names as kinds in the code."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return Counter()
    return Counter(getattr(task.get_coro(), "__qualname__", "other") for task in tasks)
