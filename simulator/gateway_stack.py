"""The whole stack of a run: our own media server and gateway as child processes, which scenarios may also kill.

Starts, restarts, kills and takes down; what that does to calls is up to the scenarios. A service that is started again
takes the port it had.
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
from urllib.parse import urlsplit

from simulator.child import bound_command
from simulator.errors import StackError
from simulator.signaling import Credentials
from simulator.stack import OWN_PLACE, ROOMY, START_TIMEOUT_S, STOP_TIMEOUT_S, passed_on

SWITCH_DEADLINE_S = 10.0
JOURNAL = "events/gateway.jsonl"
"""What the gateway writes down of every call, below its state directory."""
EVENT_LOG = "gateway.jsonl"
"""The same in the run directory."""
_POLL_S = 0.02
_GATEWAY_ROOMY = {
    "MEESHY_RATE_CALLS": "0",
    "MEESHY_RATE_INITIATE": "0",
    "MEESHY_RATE_JOIN": "0",
    "MEESHY_RATE_LEAVE": "0",
    "MEESHY_RATE_TOGGLE": "0",
    "MEESHY_RATE_SIGNALS": "0",
}


class ServiceProcess:
    """One service in a child process."""

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.url = ""
        """Where it answers, once started."""
        self._state = directory.absolute() / f"{name}-state"
        self._log_path = directory / f"{name}.log"
        self._log: IO[bytes] | None = None
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._expected_end = False

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self._state

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return 0 if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start it, again if need be, and wait until it takes calls.

        Raises:
            StackError: It ended, or was not ready in time; the message holds its own last words.
        """
        self._state.mkdir(exist_ok=True)
        port_file = self._state / "url"
        port_file.unlink(missing_ok=True)
        if self._log is None:
            self._log = self._log_path.open("ab")
        environment = {
            **passed_on(os.environ),
            **self._environment,
            "MEESHY_STATE_DIR": str(self._state),
        }
        if self.url:
            port = str(urlsplit(self.url).port)
            environment["MEESHY_PORT" if self.name == "media" else "MEESHY_GATEWAY_PORT"] = port
        command = [sys.executable, "-m", "meeshy_sfu", "serve", self.name, "--port-file", str(port_file)]
        self._process = await asyncio.create_subprocess_exec(
            *bound_command(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._state,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the run, which then ends its children in order
        )
        self._expected_end = False
        deadline = time.monotonic() + START_TIMEOUT_S
        while not port_file.exists():
            if self._process.returncode is not None:
                raise StackError(f"the {self.name} service did not start:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"the {self.name} service was not ready within {START_TIMEOUT_S:g} s:\n{self._last_words()}"
                )
            await asyncio.sleep(_POLL_S)
        self.url = port_file.read_text(encoding="ascii").strip()

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        self._expected_end = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def complaint(self) -> str | None:
        """Say that it ended on its own; None while it runs or was killed on purpose."""
        code = None if self._process is None else self._process.returncode
        if code is None or self._expected_end:
            return None
        return f"the {self.name} service ended with code {code}: {self._last_words(3)}"

    async def stop(self) -> None:
        """End it in order, or by force when that takes too long. Idempotent."""
        process = self._process
        if process is not None and process.returncode is None:
            self._expected_end = True
            try:
                process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except (TimeoutError, asyncio.CancelledError) as reason:
                process.kill()
                await process.wait()
                if isinstance(reason, asyncio.CancelledError):
                    raise
        if self._log is not None:
            self._log.close()
            self._log = None

    def _last_words(self, lines: int = 15) -> str:
        try:
            text = self._log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            return "it said nothing"
        return "\n".join(text[-lines:]) or "it said nothing"


class GatewayStack:
    """A media server and a gateway of our own. Use as an async context manager; leaving it ends both.

    Their logs and the gateway's log of events stay in the directory they were given, their state does not.
    """

    def __init__(
        self, directory: Path, *, prewarm: bool = True, more: Mapping[str, str] | None = None
    ) -> None:
        self.secret = secrets.token_hex(32)
        self.credentials = Credentials(secret=self.secret)
        common = {**ROOMY, "MEESHY_JWT_SECRET": self.secret, **(more or {})}
        # The development routes let a scenario kill a worker.
        media = {**common, **OWN_PLACE, "MEESHY_DEVELOPMENT": "true"}
        self.media = ServiceProcess("media", directory, media)
        self._directory = directory
        self._gateway_environment = {
            **common,
            **_GATEWAY_ROOMY,
            **OWN_PLACE,
            "MEESHY_GATEWAY_PORT": "0",
            "MEESHY_LOG_TO_FILE": "true",
            "MEESHY_PREWARM": "true" if prewarm else "false",
            "MEESHY_SWITCH_DEADLINE_S": f"{SWITCH_DEADLINE_S:g}",
        }
        self.gateway = ServiceProcess("gateway", directory, {})

    async def start(self) -> None:
        """Start both and wait until they take calls."""
        await self.media.start()
        environment = {**self._gateway_environment, "MEESHY_MEDIA_SERVER_URLS": self.media.url}
        self.gateway = ServiceProcess("gateway", self._directory, environment)
        await self.gateway.start()

    def complaint(self) -> str | None:
        """Say what ended on its own; None while both run."""
        return self.media.complaint() or self.gateway.complaint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.gateway.stop()
        await self.media.stop()
        journal = self.gateway.state / JOURNAL
        if journal.exists():
            shutil.copy(journal, self._directory / EVENT_LOG)
        for service in (self.gateway, self.media):
            # Keys and databases were made for this run and are of no use to anybody.
            shutil.rmtree(service.state, ignore_errors=True)
