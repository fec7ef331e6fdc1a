"""`meeshy` as a process of its own: started, read, signalled, and gone at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.integration.hearing import eventually
from tests.integration.server.peers import SECRET

START_S = 20.0


class Meeshy:
    """A running command and all it has written."""

    def __init__(self, process: asyncio.subprocess.Process, state_dir: Path) -> None:
        self.process = process
        self.state_dir = state_dir
        self.output = ""
        self._grown = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk.decode(errors="replace")
            self._grown.set()
        self._grown.set()

    async def wait_for(self, text: str, *, within_s: float = START_S, times: int = 1) -> None:
        """Wait until it has written something (so often)."""
        deadline = time.monotonic() + within_s
        while self.output.count(text) < times:
            assert not self._reader.done(), f"it ended without {text!r}:\n{self.output}"
            self._grown.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._grown.wait()
            except TimeoutError:
                raise AssertionError(f"no {text!r} within {within_s} s:\n{self.output}") from None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, within_s: float) -> int:
        """Its exit code."""
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
            await self._reader
        return code

    async def service(self, name: str = "media", *, but: int = 0) -> int:
        """The process id of a service of `meeshy serve`, once it is another than that one."""
        file = self.state_dir / "run" / f"{name}.pid"
        await eventually(lambda: file.is_file() and int(file.read_text()) != but)
        return int(file.read_text())

    @property
    def url(self) -> str:
        return self.output.partition("REST and Socket.IO ")[2].split()[0]


def environment(state_dir: Path, **variables: str) -> dict[str, str]:
    """A clean environment with free ports and a secret; an empty value takes a variable out."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("MEESHY_")}
    ours = {
        "JWT_SECRET": SECRET,
        "PORT": "0",
        "MEESHY_GATEWAY_PORT": "0",
        "RTC_MIN_PORT": "0",
        "MEESHY_WORKERS": "1",
        "MEESHY_STATE_DIR": str(state_dir),
    }
    return {name: value for name, value in (foreign | ours | variables).items() if value}


@asynccontextmanager
async def meeshy(state_dir: Path, *arguments: str, **variables: str) -> AsyncIterator[Meeshy]:
    """Run a command; killed at the end if it still runs."""
    state_dir.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "meeshy_sfu",
        *arguments,
        env=environment(state_dir, **variables),
        cwd=state_dir,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Meeshy(process, state_dir)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await running._reader


async def run(state_dir: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and output."""
    async with meeshy(state_dir, *arguments, **variables) as running:
        return await running.ended(within_s=START_S), running.output


def children(pid: int) -> list[int]:
    """The processes started by one."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Whether a process lives and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
