"""Calls that wait for a media server: tried again at once when one may have a place for them.

A place is freed by a room of this gateway that ends, which it knows, and by rooms of others: while servers are full they
are asked how many rooms they have. Pauses between tries are up to `mode`; this only shortens them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.media.media_client import MediaServerClient

FULL, UNAVAILABLE = "sfu-full", "sfu-unavailable"
"""Why a room could not be made."""
COUNT_INTERVAL_S = 1.0
"""How often the number of their rooms is requested of full servers."""


class WaitingCalls:
    """The calls of one gateway that no media server took, longest waiting first."""

    def __init__(
        self, media: MediaServerClient, jobs: Jobs, try_again: Callable[[LiveCall], Coroutine[Any, Any, None]]
    ) -> None:
        self._media = media
        self._jobs = jobs
        self._try_again = try_again
        self._calls: dict[str, LiveCall] = {}
        self._counting = False

    def update(self, call: LiveCall) -> None:
        """Note whether a call waits; to be called after every change of it."""
        if call.ended or call.mode.failure not in (FULL, UNAVAILABLE):
            self._calls.pop(call.id, None)
            return
        self._calls.setdefault(call.id, call)
        if call.mode.failure == FULL and not self._counting:
            self._counting = True
            self._jobs.start(self._count_rooms(), "rooms of full media servers")

    def place_freed(self) -> None:
        """A media server has one room fewer than before: try every waiting call again."""
        for call in tuple(self._calls.values()):
            self._jobs.start(self._try_again(call), f"another try for call {call.id}")

    def __len__(self) -> int:
        """How many wait."""
        return len(self._calls)

    async def _count_rooms(self) -> None:
        before: dict[str, int] = {}
        try:
            while any(call.mode.failure == FULL for call in self._calls.values()):
                counts = await self._media.room_counts()
                if any(count < before.get(url, 0) for url, count in counts.items()):
                    self.place_freed()
                before |= counts
                await asyncio.sleep(COUNT_INTERVAL_S)
        finally:
            self._counting = False
