"""What a socket said to somebody, and waiting for what it will say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 8.0


class Hearing:
    """Somebody who remembers every event of a socket, in order."""

    socket: Any
    """A client of python-socketio."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    async def note(self, event: str, payload: Any = None) -> None:
        """Remember an event; the handler for all of a socket's."""
        self.events.append((event, payload))
        self._news.set()

    def heard(self, event: str) -> list[Any]:
        return [payload for name, payload in self.events if name == event]

    async def wait(
        self, event: str, *, holds: Callable[[Any], bool] = lambda _: True, within_s: float = DEADLINE_S
    ) -> Any:
        """The first event of this name for which ``holds``."""
        deadline = time.monotonic() + within_s
        while True:
            for payload in self.heard(event):
                if holds(payload):
                    return payload
            self._news.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._news.wait()
            except TimeoutError:
                heard = [name for name, _ in self.events]
                raise AssertionError(f"{self.name}: no {event} within {within_s} s; heard {heard}") from None

    async def wait_disconnected(self, *, within_s: float = DEADLINE_S) -> None:
        """Wait until the server has closed the connection; `socket.wait` stays for a ping interval longer."""
        await eventually(lambda: not self.socket.connected, within_s=within_s)


async def eventually(holds: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
    """Wait until a condition in this process holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.01)
