"""Background tasks of the gateway, all of which end with it.

A failing job is logged and ends alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

logger = logging.getLogger(__name__)

CANCEL_INTERVAL_S = 0.2


class Jobs:
    """The jobs of one service. Close it; then nothing runs any more and nothing new begins."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Begin a job."""
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(self._run(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # a job that is cancelled before it began has never touched its work
        task.add_done_callback(lambda _: work.close())

    async def close(self) -> None:
        """Cancel what runs and wait for its end. Idempotent."""
        self._closed = True
        while self._running:
            for task in self._running:
                task.cancel()
            # again and again: libraries below us swallow a cancellation now and then
            await asyncio.wait(self._running, timeout=CANCEL_INTERVAL_S)

    def __len__(self) -> int:
        """Return the number of running jobs."""
        return len(self._running)

    async def _run(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except Exception:
            logger.exception("job %s failed", name)
