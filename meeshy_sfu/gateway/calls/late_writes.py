"""Writes that no request waits for: those of one call in their order, each tried until the database takes it.

A write is a statement that may be done again: whether the database took it is not always known. Knows no rows.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meeshy_sfu.gateway.jobs import Jobs

logger = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Pause after the first write that failed; it doubles up to the second."""
SETTLE_S = 0.2
"""How long an answer or a reader waits for writes, once in an outage."""
LAST_TRY_S = 2.0
"""How long the end of the service waits for what is still to be written."""


@dataclass(slots=True)
class _Queue:
    """What is to be written of one call, in its order."""

    waiting: dict[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False
    """Whether the last try failed."""
    slow: bool = False
    """Whether a reader waited in vain."""


class LateWrites:
    """What still has to be written; tried once more when the service ends, and lost if it is killed before."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._queues: dict[str, _Queue] = {}

    def add(self, call_id: str, name: str, write: Callable[[], Awaitable[object]]) -> None:
        """Write this after everything else of the call; what waits under the same name is left out for it.

        Args:
            call_id: Whose order it belongs to.
            name: What is written; a newer state of the same thing takes its name.
            write: Does it. May be called again after it failed, and after it succeeded without our knowing.
        """
        queue = self._queues.get(call_id)
        if queue is None:
            queue = self._queues[call_id] = _Queue()
            self._jobs.start(self._run(call_id, queue), f"rows of call {call_id}")
        # at the end, or it would overtake what came between
        queue.waiting.pop(name, None)
        queue.waiting[name] = write

    def waits(self, call_id: str) -> bool:
        """Whether something of a call has not been written yet."""
        return call_id in self._queues

    async def settle(self, *call_ids: str) -> None:
        """Wait a moment for the writes of some calls; not again while they are slow.

        A healthy database has them by then: who reads their rows sees what was done, and what was answered holds even
        if this process is killed.
        """
        queues = [queue for call_id in call_ids if (queue := self._queues.get(call_id)) and not queue.slow]
        try:
            async with asyncio.timeout(SETTLE_S):
                for queue in queues:
                    await queue.empty.wait()
        except TimeoutError:
            for queue in queues:
                queue.slow = True

    @property
    def failing(self) -> bool:
        """Whether the database refused a write, and has not taken it since."""
        return any(queue.failing for queue in self._queues.values())

    async def written(self) -> None:
        """Wait until everything that has been added by now is in the database."""
        for queue in tuple(self._queues.values()):
            await queue.empty.wait()

    async def close(self) -> None:
        """Try for the last time, for a moment; to be called when nothing else writes any more."""
        queues = tuple(self._queues.items())
        tries = [asyncio.create_task(self._drain(call_id, queue)) for call_id, queue in queues]
        if tries:
            _, late = await asyncio.wait(tries, timeout=LAST_TRY_S)
            for one in late:
                one.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
        for call_id, queue in queues:
            if queue.waiting:
                lost = ", ".join(queue.waiting)
                logger.error(
                    "not written to the database, and given up: %s", lost, extra=log_ids(call=call_id)
                )

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    async def _run(self, call_id: str, queue: _Queue) -> None:
        pause_s = RETRY_MIN_S
        while True:
            try:
                await self._drain(call_id, queue)
            except SQLAlchemyError as error:
                if not queue.failing:
                    # the statement is left out: it holds what participants sent
                    reason = getattr(error, "orig", None) or error
                    logger.error(
                        "cannot be written to the database yet: %s", reason, extra=log_ids(call=call_id)
                    )
            except Exception:
                if not queue.failing:
                    logger.exception("cannot be written", extra=log_ids(call=call_id))
            else:
                return
            queue.failing = queue.slow = True
            await asyncio.sleep(pause_s)
            pause_s = min(RETRY_MAX_S, pause_s * 2)

    async def _drain(self, call_id: str, queue: _Queue) -> None:
        """Write everything; raise what keeps the next one from being written."""
        while queue.waiting:
            name, write = next(iter(queue.waiting.items()))
            try:
                await write()
            except (IntegrityError, DataError) as error:
                # never right, however often it is tried; the others of the call are not to wait for it.
                # the statement is left out: it holds what participants sent
                logger.error("refused by the database: %s: %s", name, error.orig, extra=log_ids(call=call_id))
            if queue.waiting.get(name) is write:
                del queue.waiting[name]
        if queue.failing:
            queue.failing = False
            logger.info("everything is in the database now", extra=log_ids(call=call_id))
        if self._queues.get(call_id) is queue:
            del self._queues[call_id]
        queue.empty.set()
