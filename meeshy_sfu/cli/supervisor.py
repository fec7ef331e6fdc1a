"""A small supervisor: keeps services running as child processes, and takes them down with itself.

Knows nothing of what a service does. A service tells through an inherited socket that it is ready; the end of
that socket tells it that the supervisor is gone, even after ``kill -9``, so that no orphan stays. One process stands
by with everything loaded and takes the place of whichever service dies next: loading is most of a start.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meeshy_sfu.errors import StartError
from meeshy_sfu.log import log_ids
from meeshy_sfu.private_files import make_private_directory, make_private_file

logger = logging.getLogger(__name__)

SUPERVISOR_VARIABLE = "MEESHY_SUPERVISOR_FD"
RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Waits before the first, second, … restart in a row; the last one repeats."""
STABLE_S = 10.0
"""A service that was ready for so long begins anew at the first delay."""
STOP_HEAD_START_S = 1.0
"""How long a service waits with its end for those named after it, which use it and would report its loss."""
CALM_S = 2.0
"""Pause between the last service's becoming ready and the start of a standby, which would take its CPU time."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program to keep running."""

    name: str
    arguments: Sequence[str]
    """Of ``python -m meeshy_sfu``; no secrets, as every user of the machine can read them."""
    environment: Mapping[str, str] = field(repr=False)
    """Laid over the supervisor's own; the way for secrets."""
    shutdown_timeout_s: float = 5.0
    vital: bool = True
    """Whether the others end when it cannot start, and wait for its end. One that is not never takes the standby process."""


def exit_text(code: int) -> str:
    """Return how a process ended, in words: a negative code is the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def restart_delay_s(failures: int) -> float:
    """Return the wait before the restart after so many failures in a row, the first being 1."""
    return RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S)) - 1]


@dataclass(slots=True)
class _Child:
    """A process, and our end of the socket to it."""

    process: asyncio.subprocess.Process
    socket: socket.socket

    @property
    def lives(self) -> bool:
        return self.process.returncode is None

    def give_up(self) -> None:
        """Kill it, if need be, and close the socket; the event loop reaps it."""
        if self.lives:
            self.process.kill()
        self.socket.close()


class Supervisor:
    """Run services until told to stop; a service that uses another is named after it, and stops before it.

    Owns the processes: when :meth:`run` returns or is cancelled, none is left.
    """

    def __init__(
        self, services: Sequence[Service], *, standby: bool = True, pid_directory: Path | None = None
    ) -> None:
        """Prepare.

        Args:
            services: What to keep running.
            standby: Whether to keep a process that can take the place of any of them.
            pid_directory: Where to write which process runs a service, as `<name>.pid`.
        """
        self._services = services
        self._wants_standby = standby
        self._pid_directory = pid_directory
        self._stopping = asyncio.Event()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ready: set[str] = set()
        self._changed = asyncio.Event()
        self._standby: _Child | None = None

    async def run(self) -> None:
        """Keep all services running until :meth:`stop`.

        Raises:
            StartError: A service ended before it was ever ready; it has said why itself.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for service in self._services:
                    tasks.create_task(self._keep(service), name=f"keep {service.name}")
                if self._wants_standby:
                    tasks.create_task(self._keep_standby(), name="keep a standby")
        except* StartError as group:
            raise group.exceptions[0] from None

    def stop(self) -> None:
        """Ask every service to end in order; a second call kills them."""
        if self._stopping.is_set():
            for process in self._processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        self._stopping.set()
        self._changed.set()

    async def _keep(self, service: Service) -> None:
        failures = 0
        ever_ready = False
        while not self._stopping.is_set():
            was_ready_s, code = await self._run_once(service)
            if self._stopping.is_set():
                return
            ever_ready = ever_ready or was_ready_s is not None
            if not ever_ready and service.vital:
                raise ServiceFailedError(service.name, code)
            failures = 1 if was_ready_s is not None and was_ready_s >= STABLE_S else failures + 1
            delay_s = restart_delay_s(failures)
            logger.error(
                "%s; it starts again in %g s", exit_text(code), delay_s, extra=log_ids(service=service.name)
            )
            if delay_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), timeout=delay_s)

    async def _run_once(self, service: Service) -> tuple[float | None, int]:
        """Run the service to its end; give how long it was ready (None: never) and its exit code."""
        child = self._take_standby(service) or await _spawn(
            ("meeshy_sfu", *service.arguments), service.environment
        )
        process = self._processes[service.name] = child.process
        pid_file = self._note_pid(service.name, process.pid)
        ready: asyncio.Task[float | None] | None = None
        writer: asyncio.StreamWriter | None = None
        stop = asyncio.create_task(self._stop_process(service, process))
        try:
            reader, writer = await asyncio.open_connection(sock=child.socket)
            ready = asyncio.create_task(self._ready_at(service.name, reader))
            code = await process.wait()
        finally:
            stop.cancel()
            if child.lives:
                process.kill()
                await process.wait()
            child.socket.close() if writer is None else writer.close()
            del self._processes[service.name]
            self._ready.discard(service.name)
            if pid_file is not None:
                pid_file.unlink(missing_ok=True)
        # the child's end is closed by now, so this cannot wait
        since = await ready
        return None if since is None else time.monotonic() - since, code

    async def _ready_at(self, name: str, reader: asyncio.StreamReader) -> float | None:
        with contextlib.suppress(ConnectionError):
            if await reader.readline():
                since = time.monotonic()
                self._ready.add(name)
                self._changed.set()
                while await reader.read(1024):
                    pass
                return since
        return None

    async def _stop_process(self, service: Service, process: asyncio.subprocess.Process) -> None:
        await self._stopping.wait()
        later = [user for user in self._services[self._services.index(service) + 1 :] if user.vital]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_HEAD_START_S):
                for user in later:
                    if user.name in self._processes:
                        await self._processes[user.name].wait()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.sleep(service.shutdown_timeout_s)
        logger.error("process %d did not end in %g s; killing it", process.pid, service.shutdown_timeout_s)
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    def _note_pid(self, name: str, pid: int) -> Path | None:
        if self._pid_directory is None:
            return None
        file = self._pid_directory / f"{name}.pid"
        try:
            make_private_directory(self._pid_directory)
            scratch = file.with_name(f".{file.name}.{os.getpid()}")
            make_private_file(scratch)
            scratch.write_text(f"{pid}\n", encoding="ascii")
            scratch.replace(file)
        except OSError as error:
            logger.warning("cannot write its pid %d to %s: %s", pid, file, error, extra=log_ids(service=name))
            return None
        return file

    # ---- the standby

    def _take_standby(self, service: Service) -> _Child | None:
        """Let the standby become this service; None when there is none.

        One that is still loading receives it when it has loaded, which is sooner than a process that begins now.
        """
        if not service.vital:
            return None
        child, self._standby = self._standby, None
        self._changed.set()
        if child is None:
            return None
        part = {"arguments": list(service.arguments), "environment": {**os.environ, **service.environment}}
        try:
            child.socket.sendall(json.dumps(part).encode() + b"\n")
        except OSError as error:
            logger.warning("the standby process cannot take over: %s", error)
            child.give_up()
            return None
        return child

    async def _keep_standby(self) -> None:
        failures = 0
        while await self._calm(restart_delay_s(failures) if failures else 0.0):
            child = self._standby = await _spawn(("meeshy_sfu.cli.standby",), {})
            ended = asyncio.create_task(child.process.wait())
            try:
                while self._standby is child and child.lives and not self._stopping.is_set():
                    changed = asyncio.create_task(self._changed.wait())
                    await asyncio.wait({changed, ended}, return_when=asyncio.FIRST_COMPLETED)
                    changed.cancel()
                    self._changed.clear()
            finally:
                ended.cancel()
                if self._standby is child:
                    self._standby = None
                    child.give_up()
                    await child.process.wait()
                    failures += 1
                    if not self._stopping.is_set():
                        logger.error("the standby process %s", exit_text(child.process.returncode or 0))
                else:
                    failures = 0

    async def _calm(self, pause_s: float) -> bool:
        """Wait until all services have been ready for a while; False when they are to stop."""
        while not self._stopping.is_set():
            self._changed.clear()
            calm = all(service.name in self._ready for service in self._services if service.vital)
            try:
                async with asyncio.timeout(CALM_S + pause_s if calm else None):
                    await self._changed.wait()
            except TimeoutError:
                return True
        return False


async def _spawn(module: Sequence[str], environment: Mapping[str, str]) -> _Child:
    """Start ``python -m`` with a socket to us."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            descriptor = theirs.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *module,
                env={**os.environ, **environment, SUPERVISOR_VARIABLE: str(descriptor)},
                pass_fds=(descriptor,),
                stdin=asyncio.subprocess.DEVNULL,
                # Ctrl-C is for us alone; we pass it on as an orderly SIGTERM
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return _Child(process, ours)


class ServiceFailedError(StartError):
    """A service could not start; its own output says why."""

    exit_code: int

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} could not start (exit code {code}); the lines above say why")
        self.exit_code = code


class SupervisorLink:
    """The service's end: says ready, and notices that the supervisor is gone."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._socket.setblocking(True)

    @classmethod
    def from_environment(cls, environ: "os._Environ[str]") -> "SupervisorLink | None":
        """Return the link, or None without a supervisor; child processes do not inherit it."""
        descriptor = environ.pop(SUPERVISOR_VARIABLE, None)
        if descriptor is None:
            return None
        try:
            return cls(int(descriptor))
        except (ValueError, OSError) as error:
            raise StartError(f"{SUPERVISOR_VARIABLE} is set by `meeshy serve` only: {error}") from None

    def ready(self) -> None:
        """Report to the supervisor that the service takes calls."""
        with contextlib.suppress(OSError):
            self._socket.send(b"ready\n")

    def watch(self, *, exit_after_s: float, kill: Callable[[int, int], None] = os.kill) -> None:
        """End this process in order once the supervisor is gone, and by force when that hangs."""
        threading.Thread(
            target=self._wait_for_end, args=(exit_after_s, kill), name="supervisor-link", daemon=True
        ).start()

    def _wait_for_end(self, exit_after_s: float, kill: Callable[[int, int], None]) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(64):
                pass
        kill(os.getpid(), signal.SIGTERM)
        time.sleep(exit_after_s)
        os._exit(1)
