"""The Node host of mediasoup as a child process, on a free port of loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from simulator.child import bound_command, how_it_ended
from simulator.errors import StackError, UsageError
from simulator.stack.media_server import end_process, log_tail

HOST = Path(__file__).resolve().parent / "mediasoup_host"
_START_TIMEOUT_S = 20.0


class MediasoupProcess:
    """The host and its worker. Use as an async context manager; leaving it ends both."""

    def __init__(self, directory: Path, host: Path = HOST) -> None:
        if shutil.which("node") is None:
            raise UsageError("node is missing: Node.js >= 20 runs the host of mediasoup")
        if not (host / "node_modules" / "mediasoup").is_dir():
            raise UsageError(f"mediasoup is missing: run npm install in {host}")
        self.url = ""
        self._host = host
        self._log_path = directory / "mediasoup.log"
        self._log: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._worker: int | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, which carries the media."""
        return self._worker

    def complaint(self) -> str | None:
        """Say how it ended, if it did by itself."""
        code = None if self._process is None else self._process.returncode
        return (
            None
            if code is None
            else f"the host of mediasoup {how_it_ended(code)}: {log_tail(self._log_path, 3)}"
        )

    async def __aenter__(self) -> Self:
        self._log = self._log_path.open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *bound_command(["node", str(self._host / "host.mjs")]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            await self._until_up(self._process)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _until_up(self, process: asyncio.subprocess.Process) -> None:
        said = process.stdout
        try:
            line = b"" if said is None else await asyncio.wait_for(said.readline(), _START_TIMEOUT_S)
        except TimeoutError:
            raise StackError(f"the host of mediasoup was not ready: {log_tail(self._log_path)}") from None
        if not line:
            await process.wait()
            raise StackError(self.complaint() or "the host of mediasoup said nothing")
        ready = json.loads(line)
        self.url, self._worker = str(ready["url"]), int(ready["worker"])

    async def _stop(self) -> None:
        if self._process is not None:
            await end_process(self._process)
        if self._log is not None:
            self._log.close()
