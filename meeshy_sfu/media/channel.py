"""Commands to one native worker and its answers, as awaitables on the event loop.

Carries JSON and wakes up by a file descriptor; what the commands mean is known to the media objects.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from meeshy_sfu.errors import (
    CapacityError,
    ConflictError,
    InvalidRequestError,
    InvalidStateError,
    MediaError,
    MeeshyError,
    NoPortError,
    NotFoundError,
    WorkerDiedError,
)
from meeshy_sfu.media.events import CoreFailure, Died, Event, Reply, read_event

Command = Mapping[str, object]

EVENTS_AT_ONCE = 1024

logger = logging.getLogger(__name__)


class CoreWorker(Protocol):
    """The part of ``_core.Worker`` that is used; only ``close`` blocks."""

    @property
    def event_fd(self) -> int:
        """Readable while there are events."""

    @property
    def port(self) -> int:
        """The one port of this worker."""

    def request(self, request_json: str) -> None:
        """Queue a command."""

    def events(self, max: int = EVENTS_AT_ONCE) -> list[str]:
        """Take events from the queue."""

    def alive(self) -> bool:
        """Return whether its thread runs."""

    def close(self) -> None:
        """Stop its thread and wait for it."""


class Channel:
    """The one reader and writer of a native worker's queues.

    Owns the native worker: closing the channel stops it. Requests that are open then, or when the worker
    dies, fail with WorkerDiedError.
    """

    port: int
    """The one port of the worker."""

    def __init__(self, core: CoreWorker, on_event: Callable[[Event], None]) -> None:
        self.port = core.port
        self._core: CoreWorker | None = core
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._unsent: list[Command] = []
        self._last_id = 0
        self._dead: str | None = None
        self._loop.add_reader(core.event_fd, self._read)

    @property
    def dead(self) -> bool:
        """Return whether the worker has died or was closed."""
        return self._dead is not None

    async def request(
        self,
        command: Command,
        *,
        undo: Command | None = None,
        not_found: type[MeeshyError] = NotFoundError,
    ) -> Mapping[str, Any]:
        """Send a command and return its answer.

        Args:
            command: As the core reads it.
            undo: Sent when the caller is cancelled while it waits, so that nothing leaks.
            not_found: Raised when the core does not know a handle.

        Raises:
            WorkerDiedError: The worker died or was closed before it answered.
            MeeshyError: The core refused.
        """
        if self._dead is not None:
            raise WorkerDiedError(self._dead)
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[self._send(command)] = future
        try:
            reply = await future
        except asyncio.CancelledError:
            if undo is not None:
                self.post(undo)
            raise
        if reply.error is not None:
            raise core_error(reply.error, not_found=not_found)
        return reply.ok

    def post(self, command: Command) -> None:
        """Send a command without waiting for its answer; does nothing if the worker is dead."""
        if self._dead is not None:
            return
        try:
            self._send(command)
        except WorkerDiedError:
            # Its last event is still unread and will close everything.
            return
        except CapacityError:
            # What has to be closed must be closed; it follows once answers have been read.
            self._unsent.append(command)

    def close(self) -> None:
        """Stop the worker and wait for its thread, which takes a few milliseconds. Idempotent."""
        self._end("the worker was closed")
        core, self._core = self._core, None
        if core is not None:
            core.close()

    def _send(self, command: Command) -> int:
        if self._core is None:
            raise WorkerDiedError("the worker was closed")
        self._last_id += 1
        self._core.request(orjson.dumps({"id": self._last_id, "command": command}).decode())
        return self._last_id

    def _read(self) -> None:
        texts = [] if self._core is None else self._core.events(EVENTS_AT_ONCE)
        unsent, self._unsent = self._unsent, []
        for command in unsent:
            self.post(command)
        for text in texts:
            try:
                event = read_event(text)
            except (ValueError, KeyError, TypeError):
                logger.exception("cannot read an event of the native core")
                continue
            if isinstance(event, Reply):
                self._answer(event)
                continue
            if isinstance(event, Died):
                self._end(f"the worker died: {event.message}")
            self._on_event(event)

    def _answer(self, reply: Reply) -> None:
        future = self._waiting.pop(reply.id, None)
        if future is None:
            # Sent by `post`. Handles that are gone already are what a crossing close looks like.
            if reply.error is not None and reply.error.code not in ("not_found", "closed"):
                logger.warning("the native core refused a command: %s", reply.error.message)
        elif not future.done():
            future.set_result(reply)

    def _end(self, reason: str) -> None:
        if self._dead is not None:
            return
        self._dead = reason
        if self._core is not None:
            self._loop.remove_reader(self._core.event_fd)
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(WorkerDiedError(reason))


def core_error(failure: CoreFailure, *, not_found: type[MeeshyError] = NotFoundError) -> MeeshyError:
    """Return the exception for a refusal of the core."""
    by_code: dict[str, type[MeeshyError]] = {
        "not_found": not_found,
        "already_exists": ConflictError,
        "invalid_state": InvalidStateError,
        "invalid_argument": InvalidRequestError,
        "no_port": NoPortError,
        "closed": WorkerDiedError,
    }
    return by_code.get(failure.code, MediaError)(failure.message)
