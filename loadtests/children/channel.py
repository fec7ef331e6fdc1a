"""The child's end of the socket to its locust process: requests are answered in any order, events go out at once.

One JSON object a line. A request is `{"id", "do", …}`, its answer `{"id", "answer"}` or `{"id", "error"}`; whatever has no id
is an event. The socket's end is the end of the child. The other end is loadtests/child_process.py.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from simulator.errors import SimulatorError

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[Json]]
LINE_LIMIT = 1 << 24
_log = logging.getLogger(__name__)


class Channel:
    """What a child hears and says. :meth:`serve` runs until the locust process closes its end."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._writer: asyncio.StreamWriter | None = None

    def send(self, message: Json) -> None:
        """Send a message; without an effect once the other side is gone."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(orjson.dumps(message) + b"\n")

    async def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Answer requests, each in a task of its own, until the socket ends."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=LINE_LIMIT)
        try:
            async with asyncio.TaskGroup() as answering:
                tasks: set[asyncio.Task[None]] = set()
                while line := await reader.readline():
                    request = orjson.loads(line)
                    task = answering.create_task(self._answer(request, handlers[request.pop("do")]))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                for task in tasks:
                    task.cancel()
        finally:
            self._writer.close()

    async def _answer(self, request: Json, handler: Handler) -> None:
        number = request.pop("id")
        try:
            self.send({"id": number, "answer": await handler(request)})
        except SimulatorError as error:
            self.send({"id": number, "error": str(error), "exit_code": error.exit_code})
        except Exception as error:
            _log.exception("unexpected error")
            self.send({"id": number, "error": f"{type(error).__name__}: {error}", "exit_code": 1})
