"""Bytes that a connection has sent and that are not handled yet.

Messages are dealt with one after the other, beside the reading, so that a handler that waits leaves nothing behind it
unread. What a message is, and how much of them may wait, is known to socketio_server.py.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meeshy_sfu.edge.limits import RateLimitedError


@dataclass(frozen=True, slots=True)
class OverRate:
    """A message beyond the limit: it is answered, not done."""

    error: RateLimitedError
    refused: int
    """How many in a row, this one included."""


@dataclass(frozen=True, slots=True)
class Message:
    """One packet of Socket.IO on its way to its handler."""

    text: str
    over: OverRate | None = None


Take = Callable[[Message], Awaitable[None]]
Last = Callable[[], Awaitable[None]]


class ReceiveQueue:
    """Messages of one connection, in order; one is dealt with at a time.

    Holds no more than it was given room for. Has a task of its own only while something is in it.

    Args:
        take: Deals with a message; never raises.
        messages_max: The most that may wait.
        chars_max: The most characters that may wait, over all messages.
    """

    def __init__(self, take: Take, *, messages_max: int, chars_max: int) -> None:
        self._take = take
        self._messages_max = messages_max
        self._chars_max = chars_max
        self._waiting: deque[Message] = deque()
        self._chars = 0
        self._last: Last | None = None
        self._closed = False
        self._finished = False
        self._task: asyncio.Task[None] | None = None
        self._taken = asyncio.Event()

    def __len__(self) -> int:
        """Return the number of messages that wait."""
        return len(self._waiting)

    def fits(self, text: str) -> bool:
        """Return whether there is room for another message; an empty inbox takes any."""
        return not self._waiting or (
            len(self._waiting) < self._messages_max and self._chars + len(text) <= self._chars_max
        )

    async def room_for(self, text: str) -> None:
        """Wait until there is room for another message."""
        while not self._closed and not self.fits(text):
            self._taken.clear()
            await self._taken.wait()

    def put(self, message: Message) -> None:
        """Take a message in; nothing happens once it is closed."""
        if self._closed:
            return
        self._waiting.append(message)
        self._chars += len(message.text)
        self._go_on()

    def finish(self, last: Last) -> None:
        """Take nothing more in, and do a last thing when all that waits is dealt with. Idempotent."""
        if not self._finished:
            self._closed = self._finished = True
            self._last = last
            self._taken.set()
            self._go_on()

    def drop(self) -> None:
        """Take nothing more in, and forget what waits but the last thing; what is being dealt with goes on. Idempotent."""
        self._closed = True
        self._waiting.clear()
        self._chars = 0
        self._taken.set()

    def cancel(self) -> asyncio.Task[None] | None:
        """Forget what waits and break off what is being dealt with; gives what is still to end."""
        self.drop()
        self._last = None
        if self._task is not None:
            self._task.cancel()
        return self._task

    def _go_on(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                message = self._waiting.popleft()
                self._chars -= len(message.text)
                self._taken.set()
                await self._take(message)
                if _is_cancelled():
                    # python-socketio keeps a handler's cancellation to itself
                    return
            last, self._last = self._last, None
            if last is not None:
                await last()
        finally:
            self._task = None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
