"""Work of one participant that goes on beside what the gateway says: building legs, consuming, waiting for media.

Starts it, notes what goes wrong, and ends it with the participant's stay. What the work is does not matter here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from meeshy_sfu.errors import MeeshyError
from simulator.client.call_state import CallState
from simulator.errors import BotError, SimulatorError

TROUBLES = (SimulatorError, MeeshyError, ConnectionError, OSError, ValueError, LookupError)
"""What may go wrong with one leg; the native module's own errors come when a leg is closed while it is used."""


class CallTasks:
    """Tasks that end together. Use as an async context manager; only inside can work be started."""

    def __init__(self, state: CallState) -> None:
        self._state = state
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._group is not None:
            await self._group.__aexit__(kind, error, traceback)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin work; a trouble in it is noted and harms no other.

        Raises:
            BotError: The participant is not running.
        """
        if self._group is None:
            work.close()
            raise BotError(f"participant {self._state.number} is not running")
        task = self._group.create_task(self._guarded(work))
        # a task that is cancelled before it began has never touched its work
        task.add_done_callback(lambda _: work.close())
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TROUBLES as error:
            self._state.note("trouble", error=f"{type(error).__name__}: {error}")
