"""Writes that the database did not take when they were due, and that must not be lost: done as soon as it does.

Only for what would stay wrong for ever otherwise, as the end of a call and its changes of mode. In order, one at a time.
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
LAST_TRY_S = 2.0
"""How long the end of the service waits for what is still to be written."""


class LateWrites:
    """What still has to be written; tried once more when the service ends, and lost if it is killed before."""

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

    def waits(self, name: str) -> bool:
        """Tell whether something whose name begins so has not been written yet."""
        return any(waiting.startswith(name) for waiting in self._waiting)

    async def close(self) -> None:
        """Try for the last time, for a moment; to be called when nothing else writes any more."""
        try:
            async with asyncio.timeout(LAST_TRY_S):
                while self._waiting:
                    await self._write_next()
        except (SQLAlchemyError, TimeoutError):
            logger.error("not in the database, and given up: %s", ", ".join(self._waiting))

    def __len__(self) -> int:
        """Give how many wait."""
        return len(self._waiting)

    async def _run(self) -> None:
        pause_s = RETRY_MIN_S
        try:
            while self._waiting:
                await asyncio.sleep(pause_s)
                try:
                    await self._write_next()
                except SQLAlchemyError:
                    pause_s = min(RETRY_MAX_S, max(RETRY_MIN_S, pause_s * 2))
                else:
                    pause_s = 0.0
        finally:
            self._busy = False

    async def _write_next(self) -> None:
        name, write = next(iter(self._waiting.items()))
        await write()
        del self._waiting[name]
        logger.info("%s is in the database now", name)
