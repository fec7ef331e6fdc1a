"""The UDP proxy as a child process of the self-test: start, arm, disarm, end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.child import bound_command, how_it_ended
from simulator.errors import StackError
from simulator.selftest.datagrams import DatagramFault, plain

FRONT_IP = "127.0.0.1"
"""Where the bots believe the server is: what it announces."""
BACK_IP = "127.0.0.2"
"""Where it listens."""
_ANSWER_S = 10.0


class ProxyProcess:
    """A proxy on one port of both addresses. Use as an async context manager; leaving it ends the process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-m", "simulator.selftest.proxy", FRONT_IP, BACK_IP, str(self._port)]
        self._process = await asyncio.create_subprocess_exec(
            *bound_command(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        await self._answer("ready")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def arm(self, faults: Sequence[DatagramFault], seed: int) -> None:
        """Begin with these faults, and with a new log.

        Raises:
            StackError: The proxy has ended.
        """
        await self._command({"arm": [plain(fault) for fault in faults], "seed": seed})

    async def disarm(self, log: Path) -> None:
        """End all faults and have the log written.

        Raises:
            StackError: The proxy has ended.
        """
        await self._command({"disarm": str(log)})

    async def _command(self, command: dict[str, object]) -> None:
        process = self._running()
        if process.stdin is None:
            raise RuntimeError("the proxy was started without its pipes")
        with contextlib.suppress(ConnectionError):  # what ended says so by its answer
            process.stdin.write(json.dumps(command).encode() + b"\n")
            await process.stdin.drain()
        await self._answer("done")

    async def _answer(self, expected: str) -> None:
        process = self._running()
        if process.stdout is None:
            raise RuntimeError("the proxy was started without its pipes")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _ANSWER_S)
        except TimeoutError:
            raise StackError(f"the proxy of the self-test did not answer within {_ANSWER_S:g} s") from None
        if line.strip().decode() != expected:
            code = await process.wait()
            raise StackError(f"the proxy of the self-test {how_it_ended(code)}; what it said is above")

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the proxy is not started")
        return self._process
