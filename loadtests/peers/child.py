"""Another media server as a child process with a log: started, waited for, and ended with the run."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from simulator.child import bound_command, how_it_ended
from simulator.stack.media_server import end_process, log_tail

START_TIMEOUT_S = 20.0


class PeerProcess(ABC):
    """One server in a child process. Use as an async context manager; leaving it ends the server.

    Args:
        name: What messages call it.
        log: Where its log goes.
    """

    def __init__(self, name: str, log: Path) -> None:
        self._name = name
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None else self._process.pid

    def complaint(self) -> str | None:
        """Say how it ended, if it did by itself."""
        code = None if self._process is None else self._process.returncode
        return None if code is None else f"{self._name} {how_it_ended(code)}: {log_tail(self._log_path, 3)}"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @abstractmethod
    async def _start(self) -> None:
        """Launch it, and wait until it is up."""

    async def _launch(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, speaks: bool = False
    ) -> asyncio.subprocess.Process:
        """Start it; its output is its log, but for what it says on standard output if it `speaks`."""
        self._log = self._log_path.open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *bound_command(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if speaks else self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,
        )
        return self._process

    def _not_ready(self) -> str:
        return f"{self._name} was not ready: {log_tail(self._log_path)}"

    async def _stop(self) -> None:
        if self._process is not None:
            await end_process(self._process)
        if self._log is not None:
            self._log.close()
