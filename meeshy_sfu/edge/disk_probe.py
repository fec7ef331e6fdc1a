"""Whether a directory takes what a service writes: tried by writing, which is the only way to know.

Never on the event loop: a disk that hangs keeps one thread, and the answer is that it does not serve.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from typing import TYPE_CHECKING

from meeshy_sfu.private_files import make_private_directory

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

PROBE_BYTES = 65_536
DEADLINE_S = 1.5


class DiskProbe:
    """Try whether a directory can be written to."""

    def __init__(self, directory: Path, name: str) -> None:
        """Prepare.

        Args:
            directory: Where the service writes.
            name: Of the service; two of them may have one directory.
        """
        self._directory = directory
        self._path = directory / f".{name}-{os.getpid()}-{secrets.token_hex(4)}.probe"
        self._running: asyncio.Task[str | None] | None = None
        self._problem: str | None = None

    async def serves(self) -> bool:
        """Return whether it takes 64 kB within 1.5 s; those who ask at the same time share one try."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(asyncio.to_thread(self._write), name="disk probe")
        # the next one may have begun by the time this one is done
        running = self._running
        done, _ = await asyncio.wait({running}, timeout=DEADLINE_S)
        problem = running.result() if done else f"no answer within {DEADLINE_S:g} s"
        if problem != self._problem:
            self._problem = problem
            if problem is None:
                logger.info("%s can be written to again", self._directory)
            else:
                logger.error("%s cannot be written to: %s", self._directory, problem)
        return problem is None

    def _write(self) -> str | None:
        """Write a file and remove it; return what is in the way."""
        try:
            make_private_directory(self._directory)
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                try:
                    rest = memoryview(os.urandom(PROBE_BYTES))
                    while rest:
                        rest = rest[os.write(descriptor, rest) :]
                finally:
                    os.close(descriptor)
            finally:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            return error.strerror or str(error)
        return None
