"""Writes that the database did not take when they were due, and that must not be lost: done as soon as it does.

Only for what would stay wrong for ever otherwise, as the end of a call. In order, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meeshy_sfu.gateway.jobs import Jobs

logger = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.5, 15.0


class LateWrites:
    """What still has to be written; forgotten with the service, whose successor looks at the database itself."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._waiting: dict[str, Callable[[], Awaitable[object]]] = {}
        self._busy = False

    def add(self, name: str, write: Callable[[], Awaitable[object]]) -> None:
        """Try this until the database takes it; `name` is for the log, and only once among what waits."""
        self._waiting[name] = write
        if not self._busy:
            self._busy = True
            self._jobs.start(self._run(), "late writes")

    def __len__(self) -> int:
        """Give how many wait."""
        return len(self._waiting)

    async def _run(self) -> None:
        pause_s = RETRY_MIN_S
        try:
            while self._waiting:
                await asyncio.sleep(pause_s)
                name, write = next(iter(self._waiting.items()))
                try:
                    await write()
                except SQLAlchemyError:
                    pause_s = min(RETRY_MAX_S, max(RETRY_MIN_S, pause_s * 2))
                else:
                    del self._waiting[name]
                    logger.info("%s is in the database now", name)
                    pause_s = 0.0
        finally:
            self._busy = False
