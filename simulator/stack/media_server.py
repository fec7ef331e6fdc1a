"""The server of a run: one of our own, started for it and ended with it.

Starts, watches and asks for figures; what is done with them is up to runs/group.py.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from simulator.child import bound_command, how_it_ended
from simulator.client.media_server import Credentials
from simulator.errors import StackError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 8.0
_POLL_S = 0.02

OWN_PLACE: dict[str, str] = {
    "MEESHY_HOST": "127.0.0.1",
    "MEESHY_PORT": "0",
    "MEESHY_RTC_MIN_PORT": "0",
    "MEESHY_LOG_TO_FILE": "false",
}
"""Settings of our own server that nothing overrides: free ports on loopback, beside whatever else runs."""
ROOMY: dict[str, str] = {
    "MEESHY_LOG_LEVEL": "info",
    "MEESHY_MAX_ROOMS": "1000",
    "MEESHY_MAX_PARTICIPANTS_PER_ROOM": "1000",
    "MEESHY_MAX_TRANSPORTS_PER_ROOM": "4000",
    "MEESHY_MAX_PRODUCERS_PER_ROOM": "4000",
    "MEESHY_MAX_CONSUMERS_PER_PARTICIPANT": "4000",
    "MEESHY_MAX_CONNECTIONS_PER_ADDRESS": "10000",
    "MEESHY_MAX_BODY_BYTES": "4194304",
    "MEESHY_RATE_CREATE": "0",
    "MEESHY_RATE_TRANSPORTS": "0",
    "MEESHY_RATE_CONNECT": "0",
    "MEESHY_RATE_CONSUME": "0",
    "MEESHY_RATE_OTHER": "0",
    "MEESHY_RATE_EVENTS": "0",
}
"""Settings of our own server: no limit that would refuse a load test from one address.

What the environment sets, such as MEESHY_WORKERS or MEESHY_GSO, reaches it and comes before these.
"""
NOT_PASSED_ON = (
    "MEESHY_SIMULATE_",
    "MEESHY_STATE_DIR",
    "MEESHY_CONFIG",
    "MEESHY_SUPERVISOR_FD",
    "MEESHY_TLS_",
    "MEESHY_ANNOUNCED_IP",
    "MEESHY_RTC_",
)
"""Variables of the shell that are for another server than that of a run."""
_BARE = frozenset(
    {"PORT", "JWT_SECRET", "ANNOUNCED_IP", "FRONTEND_URL", "LOG_LEVEL", "RTC_MIN_PORT", "RTC_MAX_PORT"}
)
"""The same under the names without prefix."""


class Stack:
    """Our own media server in a child process. Use as an async context manager; leaving it ends the server.

    Its log stays in the directory it was given, its state does not.
    """

    url: str
    """Where it answers, once started."""
    credentials: Credentials
    """How to be admitted, with a secret made for this run."""

    def __init__(self, directory: Path, *, more: Mapping[str, str] | None = None) -> None:
        """Prepare one; `more` are settings that come before all others."""
        self.url = ""
        self.credentials = Credentials(secret=secrets.token_hex(32))
        self._more = dict(more or {})
        self._state = directory.absolute() / "server-state"
        self._log_path = directory / "server.log"
        self._log: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            StackError: It ended, or was not ready in time; the message holds the end of its log.
        """
        self._state.mkdir()
        port_file = self._state / "url"
        self._log = self._log_path.open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *bound_command(
                [sys.executable, "-m", "meeshy_sfu", "serve", "media", "--port-file", str(port_file)]
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._state,
            env=self._environment(),
            start_new_session=True,  # Ctrl-C is for the run, which then ends its children in order
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not port_file.exists():
            if self._process.returncode is not None:
                raise StackError(f"the media server did not start:\n{log_tail(self._log_path)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"the media server was not ready within {START_TIMEOUT_S:g} s:\n"
                    f"{log_tail(self._log_path)}"
                )
            await asyncio.sleep(_POLL_S)
        self.url = port_file.read_text(encoding="ascii").strip()

    def complaint(self) -> str | None:
        """Say how the server ended, if it did by itself; None while it runs."""
        code = None if self._process is None else self._process.returncode
        if code is None:
            return None
        # A process that was killed logs nothing about it.
        words = "" if code < 0 else f": {log_tail(self._log_path, 3)}"
        return f"the media server {how_it_ended(code)}; its log is {self._log_path.name} of the run{words}"

    async def stop(self) -> None:
        """End it in order, or by force when that takes too long. Idempotent."""
        if self._process is not None:
            await end_process(self._process)
        if self._log is not None:
            self._log.close()
        # Its keys were made for this run alone.
        shutil.rmtree(self._state, ignore_errors=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _environment(self) -> dict[str, str]:
        passed = passed_on(os.environ)
        return {
            **ROOMY,
            **passed,
            **OWN_PLACE,
            **self._more,
            "MEESHY_JWT_SECRET": self.credentials.secret or "",
            "MEESHY_STATE_DIR": str(self._state.absolute()),
        }


async def end_process(process: asyncio.subprocess.Process) -> None:
    """End a child in order, or by force when that takes too long or the waiting is cancelled. Idempotent."""
    if process.returncode is not None:
        return
    try:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError) as reason:
        process.kill()
        await process.wait()
        if isinstance(reason, asyncio.CancelledError):
            raise
    except ProcessLookupError:
        await process.wait()


def log_tail(log: Path, lines: int = 15) -> str:
    """Return the end of a child's log."""
    try:
        text = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "its log is empty"
    return "\n".join(text[-lines:]) or "its log is empty"


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the environment that reach our own services."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(NOT_PASSED_ON) and name not in _BARE
    }
