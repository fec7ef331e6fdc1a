"""The whole stack of a run: our own media server and gateway under ``meeshy serve``; scenarios may kill either.

Starts, kills and takes down; what that does to calls is up to the scenarios. The supervisor restarts a killed service, as
it does in production, on the port it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from meeshy_sfu.free_ports import free_ports
from simulator.child import bound_command, how_it_ended
from simulator.client.media_server import Credentials
from simulator.errors import StackError
from simulator.stack.media_server import OWN_PLACE, ROOMY, START_TIMEOUT_S, end_process, log_tail, passed_on

SWITCH_DEADLINE_S = 10.0
JOURNAL = "events/gateway.jsonl"
"""The gateway's log of events, below its state directory."""
EVENT_LOG = "gateway.jsonl"
"""The same in the run directory."""
_POLL_S = 0.02
_LOG_MAX_BYTES = 1_000_000_000
"""Logs of a run are never rotated."""
_GATEWAY_ROOMY = {
    "MEESHY_RATE_CALLS": "0",
    "MEESHY_RATE_INITIATE": "0",
    "MEESHY_RATE_JOIN": "0",
    "MEESHY_RATE_LEAVE": "0",
    "MEESHY_RATE_TOGGLE": "0",
    "MEESHY_RATE_QUALITY": "0",
    "MEESHY_RATE_SIGNALS": "0",
}


class SupervisedService:
    """One of the two services that ``meeshy serve`` keeps running; it may be killed and is restarted."""

    def __init__(self, name: str, port: int, state: Path) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        """Where it answers, whichever process it is."""
        self.pid = 0
        """The process that runs it; 0 while none is known."""
        self.state = state
        """Its state directory, which both services share."""
        self._port = port
        self._pid_file = state / "run" / f"{name}.pid"
        self._killed = 0

    async def start(self) -> None:
        """Wait until it is ready, again if it was killed.

        Raises:
            StackError: It did not in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self._running() not in (0, self._killed) and await self._listens()):
            if time.monotonic() > deadline:
                raise StackError(f"the {self.name} service was not ready within {START_TIMEOUT_S:g} s")
            await asyncio.sleep(_POLL_S)
        self.pid = self._running()

    async def kill(self) -> None:
        """End its process at once, as a crash would."""
        self._killed, self.pid = self.pid, 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._killed, signal.SIGKILL)

    async def stop_for(self, duration_s: float) -> None:
        """Let its process stand still for a while (SIGSTOP), as one that hangs does."""
        pid, self.pid = self.pid, 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(duration_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await self.start()  # its supervisor may have taken it for dead

    async def end(self) -> None:
        """Ask its process to end in order."""
        self._killed, self.pid = self.pid, 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._killed, signal.SIGTERM)

    def complaint(self) -> str | None:
        """Say that its process ended on its own; None while it runs or was killed on purpose."""
        if self.pid == 0 or self._running() == self.pid:
            return None
        return f"the {self.name} service ended by itself; its log is {self.name}.log of the run"

    def _running(self) -> int:
        try:
            return int(self._pid_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True


class GatewayStack:
    """A media server and a gateway of our own, under ``meeshy serve``. Use as an async context manager.

    Leaving it ends everything. Logs and the gateway's log of events stay in the directory it was given, the state
    does not.
    """

    def __init__(
        self,
        directory: Path,
        *,
        prewarm: bool = True,
        standby: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare.

        Args:
            directory: Where logs and state go.
            prewarm: Whether the gateway makes rooms in advance.
            standby: Whether a process is kept in reserve; its loading costs a second of CPU time early in a run.
            more: Further settings.
        """
        self.secret = secrets.token_hex(32)
        self.credentials = Credentials(secret=self.secret)
        self._directory = directory.absolute()
        self._state = self._directory / "state"
        media_port, gateway_port = free_ports(2)
        self.media = SupervisedService("media", media_port, self._state)
        self.gateway = SupervisedService("gateway", gateway_port, self._state)
        self._environment = {
            **ROOMY,
            **_GATEWAY_ROOMY,
            **passed_on(os.environ),
            **(more or {}),
            **OWN_PLACE,
            "MEESHY_PORT": str(media_port),
            "MEESHY_GATEWAY_PORT": str(gateway_port),
            "MEESHY_MEDIA_SERVER_URLS": self.media.url,
            "MEESHY_JWT_SECRET": self.secret,
            # The development routes let a scenario kill a worker.
            "MEESHY_DEVELOPMENT": "true",
            "MEESHY_LOG_TO_FILE": "true",
            "MEESHY_LOG_MAX_BYTES": str(_LOG_MAX_BYTES),
            "MEESHY_STANDBY": "true" if standby else "false",
            "MEESHY_PREWARM": "true" if prewarm else "false",
            "MEESHY_SWITCH_DEADLINE_S": f"{SWITCH_DEADLINE_S:g}",
            "MEESHY_STATE_DIR": str(self._state),
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pids(self) -> list[int]:
        """The processes to end if the run is killed."""
        supervisor = 0 if self._process is None else self._process.pid
        return [pid for pid in (supervisor, self.media.pid, self.gateway.pid) if pid]

    async def start(self) -> None:
        """Start both and wait until they are ready.

        Raises:
            StackError: One ended, or was not ready in time; the message holds the end of its log.
        """
        self._state.mkdir(exist_ok=True)
        with self._console.open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *bound_command([sys.executable, "-m", "meeshy_sfu", "serve"]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._state,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the run, which then ends its children in order
            )
        try:
            async with asyncio.TaskGroup() as starting:
                watching = starting.create_task(self._fail_if_ended(self._process))
                for service in (self.media, self.gateway):
                    await service.start()
                watching.cancel()
        except* StackError as group:
            raise StackError(f"{group.exceptions[0]}:\n{log_tail(self._console)}") from None

    def complaint(self) -> str | None:
        """Say what ended on its own; None while all runs."""
        code = None if self._process is None else self._process.returncode
        if code is not None:
            return f"meeshy serve {how_it_ended(code)}; its log is {self._console.name} of the run"
        return self.media.complaint() or self.gateway.complaint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                await end_process(self._process)  # the services notice that it is gone
        finally:
            logs = self._state / "logs"
            for file in [self._state / JOURNAL, *(logs.iterdir() if logs.is_dir() else ())]:
                if file.exists():
                    shutil.copy(file, self._directory / file.name)
            # Keys and databases were made for this run alone.
            shutil.rmtree(self._state, ignore_errors=True)

    async def _fail_if_ended(self, process: asyncio.subprocess.Process) -> None:
        raise StackError(
            f"meeshy serve did not start media server and gateway; exit code {await process.wait()}"
        )

    @property
    def _console(self) -> Path:
        return self._directory / "serve.log"
