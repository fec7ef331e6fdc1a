"""A run in several locust processes: what master and workers say to each other, by locust's own messages.

The master sends the set-up and hands out seats; a worker answers with the raw samples of its participants, in pieces. Which
users run where is up to locust.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.lock import RLock
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from loadtests.caller_process import CallerProcess
from loadtests.child_process import ChildError
from loadtests.messages import Setup
from loadtests.options import SuiteOptions
from loadtests.seats import Seat, Seats

_log = logging.getLogger("meeshy")
SETUP, READY, TAKE, SEAT, FREE = "meeshy-setup", "meeshy-ready", "meeshy-take", "meeshy-seat", "meeshy-free"
MEASURE, FINISH, PIECE, DONE, BROKEN = (
    "meeshy-measure",
    "meeshy-finish",
    "meeshy-piece",
    "meeshy-done",
    "meeshy-broken",
)
PIECE_BYTES = 1 << 18
_READY_TIMEOUT_S = 90.0
_COLLECT_TIMEOUT_S = 180.0
_SEAT_TIMEOUT_S = 30.0
_LOOK_S = 0.1


@dataclass(slots=True)
class _Worker:
    name: str
    ready: bool = False
    done: bool = False
    outside: int = 0
    problem: str | None = None


class MasterSide:
    """The master's end: welcomes workers, hands out seats, collects raw samples."""

    def __init__(self, runner: MasterRunner, on_broken: Callable[[str], None]) -> None:
        self._runner = runner
        self._on_broken = on_broken
        self._setup: Setup | None = None
        self._seats: Seats | None = None
        self._parts = Path()
        self._workers: dict[str, _Worker] = {}
        for name, listener in ((TAKE, self._take), (FREE, self._free), (PIECE, self._piece)):
            runner.register_message(name, listener)
        runner.register_message(READY, self._ready)
        runner.register_message(DONE, self._done)
        runner.register_message(BROKEN, self._broken)

    def begin(self, setup: Setup, seats: Seats, parts: Path) -> None:
        """Send the set-up to all workers and wait until they are ready; one that comes later gets it as well.

        Raises:
            ChildError: One is not ready in time, or was lost.
        """
        self._setup, self._seats, self._parts = setup, seats, parts
        self._workers = {}
        for client in self._runner.clients.all:
            self.welcome(client.id)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while waiting := [c for c, worker in self._workers.items() if not worker.ready]:
            if time.monotonic() > deadline or any(self._is_lost(client_id) for client_id in waiting):
                names = ", ".join(self._workers[client_id].name for client_id in waiting)
                raise ChildError(f"{names}: not ready within {_READY_TIMEOUT_S:g} s, or lost")
            gevent.sleep(_LOOK_S)

    def welcome(self, client_id: str) -> None:
        """Send the set-up to one worker, if a run is going on."""
        if self._setup is None or client_id in self._workers:
            return
        self._workers[client_id] = _Worker(f"worker-{self._runner.get_worker_index(client_id)}")
        self._runner.send_message(SETUP, self._setup.model_dump(mode="json"), client_id)

    def measure(self) -> None:
        """Let all workers begin the measured time."""
        for client_id in self._workers:
            self._runner.send_message(MEASURE, None, client_id)

    def collect(self) -> tuple[list[str], int, list[str]]:
        """Wait for the samples of all workers; returns their names, how many participants were in no call, and problems."""
        self._setup = None
        for client_id in self._workers:
            if client_id in self._runner.clients:
                self._runner.send_message(FINISH, None, client_id)
        deadline = time.monotonic() + _COLLECT_TIMEOUT_S
        while waiting := [c for c, worker in self._workers.items() if not worker.done]:
            late = time.monotonic() > deadline
            for client_id in waiting:
                if late or self._is_lost(client_id):
                    worker = self._workers[client_id]
                    worker.done, worker.problem = True, f"{worker.name} was lost, and its samples with it"
            gevent.sleep(_LOOK_S)
        workers = self._workers.values()
        problems = [worker.problem for worker in workers if worker.problem]
        return [w.name for w in workers if not w.problem], sum(w.outside for w in workers), problems

    def _is_lost(self, client_id: str) -> bool:
        client = self._runner.clients.get(client_id)
        return client is None or client.state == STATE_MISSING

    def _take(self, msg: Any, **_: Any) -> None:
        if self._seats is not None:
            seat = self._seats.take(msg.node_id)
            answer = {"request": msg.data["request"], "number": seat.number, "call": seat.call}
            self._runner.send_message(SEAT, answer, msg.node_id)

    def _free(self, msg: Any, **_: Any) -> None:
        if self._seats is not None:
            self._seats.free(msg.data["number"], msg.node_id)

    def _piece(self, msg: Any, **_: Any) -> None:
        worker = self._workers.get(msg.node_id)
        if worker is not None and not worker.done:
            folder = self._parts / worker.name
            folder.mkdir(exist_ok=True)
            with (folder / Path(msg.data["file"]).name).open("ab") as file:
                file.write(msg.data["bytes"])

    def _ready(self, msg: Any, **_: Any) -> None:
        if (worker := self._workers.get(msg.node_id)) is not None:
            worker.ready = True

    def _done(self, msg: Any, **_: Any) -> None:
        worker = self._workers.get(msg.node_id)
        if worker is not None:
            worker.done, worker.outside = True, msg.data["outside"]
            if problem := msg.data["problem"]:
                worker.problem = f"{worker.name}: {problem}"

    def _broken(self, msg: Any, **_: Any) -> None:
        worker = self._workers.get(msg.node_id)
        self._on_broken(f"{worker.name if worker else 'a worker'}: {msg.data['why']}")


class WorkerSide:
    """A worker's end: begins when the master says so, asks it for seats, hands in raw samples."""

    def __init__(
        self,
        environment: Environment,
        runner: WorkerRunner,
        on_begin: Callable[[CallerProcess], None],
        on_end: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._on_begin = on_begin
        self._on_end = on_end
        self._callers: CallerProcess | None = None
        self._folder: Path | None = None
        self._handing_in = RLock()
        self._requests = itertools.count()
        self._awaited: dict[int, AsyncResult[Seat]] = {}
        # what takes time has a greenlet of its own: the runner's must go on reading
        runner.register_message(SETUP, self._begin, concurrent=True)
        runner.register_message(FINISH, lambda **_: self.hand_in(), concurrent=True)
        runner.register_message(MEASURE, self._measure, concurrent=True)
        runner.register_message(SEAT, self._seat)

    def take_seat(self) -> Seat:
        """Ask the master for a seat.

        Raises:
            StopUser: It does not answer.
        """
        request = next(self._requests)
        answer = self._awaited[request] = AsyncResult()
        self._runner.send_message(TAKE, {"request": request})
        try:
            seat: Seat = answer.get(timeout=_SEAT_TIMEOUT_S)
        except gevent.Timeout:
            raise StopUser from None
        finally:
            del self._awaited[request]
        return seat

    def free_seat(self, seat: Seat) -> None:
        """Return a seat to the master."""
        self._runner.send_message(FREE, {"number": seat.number})

    def hand_in(self) -> None:
        """Let all leave, and send what was measured. Idempotent; returns when it is sent."""
        with self._handing_in:
            callers, self._callers = self._callers, None
            folder, self._folder = self._folder, None
            if callers is None or folder is None:
                return
            self._on_end()
            outside, problem = callers.outside, None
            try:
                callers.finish()
            except ChildError as error:
                problem = str(error)
            for file in sorted(folder.iterdir()):
                self._send(file)
            self._runner.send_message(DONE, {"outside": outside, "problem": problem})
            shutil.rmtree(folder, ignore_errors=True)

    def _begin(self, msg: Any, **_: Any) -> None:
        folder = Path(tempfile.mkdtemp(prefix="meeshy-locust-"))
        callers = CallerProcess(
            self._environment, lambda why: self._runner.send_message(BROKEN, {"why": why})
        )
        try:
            state_dir = SuiteOptions.read(self._environment.parsed_options).state_dir
            callers.begin(Setup.model_validate(msg.data), folder, state_dir)
        except ChildError as error:
            self._runner.send_message(BROKEN, {"why": str(error)})
        self._callers, self._folder = callers, folder
        self._on_begin(callers)
        self._runner.send_message(READY)

    def _measure(self, **_: Any) -> None:
        if self._callers is not None:
            self._callers.measure()

    def _seat(self, msg: Any, **_: Any) -> None:
        if (answer := self._awaited.get(msg.data["request"])) is not None:
            answer.set(Seat(msg.data["number"], msg.data["call"]))

    def _send(self, file: Path) -> None:
        with file.open("rb") as content:
            while piece := content.read(PIECE_BYTES):
                self._runner.send_message(PIECE, {"file": file.name, "bytes": piece})
                gevent.sleep(0)  # heartbeats in between
