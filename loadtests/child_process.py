"""A child process as greenlets see it: requests wait cooperatively, events arrive in a greenlet.

The only contact between gevent and what runs without it. The socket between both is an ordinary one, which gevent's patched
`socket` waits on without holding up other greenlets; no thread and no future crosses. The other end is children/channel.py.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import orjson
from gevent.event import AsyncResult

from simulator.child import bound_command, how_it_ended

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
_STOP_TIMEOUT_S = 15.0


class ChildError(Exception):
    """A child could not do what it was asked to; the message says why."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """What `meeshy simulate` would end with."""


class ChildProcess:
    """One child, from its start to :meth:`close`. It ends with this process, even if that is killed."""

    def __init__(self, module: str, on_event: Callable[[Json], None]) -> None:
        """Start `python -m MODULE`.

        Args:
            module: What to run; it gets the number of its socket as argument.
            on_event: Takes what the child says without being asked, and `{"ended": …}` when it ends by itself.
        """
        self._name = module.rpartition(".")[2]
        self._on_event = on_event
        self._numbers = itertools.count()
        self._awaited: dict[int, AsyncResult[Json]] = {}
        self._closing = False
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            bound_command([sys.executable, "-m", module, str(theirs.fileno())]),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for locust, which then ends its children in order
        )
        theirs.close()
        self._reading = gevent.spawn(self._read)

    def ask(self, do: str, *, timeout_s: float | None = None, **values: Any) -> Json:
        """Send a request and wait for its answer; other greenlets go on meanwhile.

        Raises:
            ChildError: It could not do that, has ended, or did not answer in time.
        """
        number = next(self._numbers)
        answer: AsyncResult[Json] = AsyncResult()
        self._awaited[number] = answer
        try:
            self._socket.sendall(orjson.dumps({"id": number, "do": do, **values}) + b"\n")
            found: Json = answer.get(timeout=timeout_s)
        except OSError as error:
            raise ChildError(self._ended()) from error
        except gevent.Timeout as error:
            raise ChildError(f"the process {self._name} did not {do} within {timeout_s:g} s") from error
        finally:
            self._awaited.pop(number, None)
        return found

    def close(self) -> None:
        """End it: in order, or by force when that takes too long. Idempotent."""
        self._closing = True
        self._socket.close()
        self._fail_awaited(f"the process {self._name} was ended")
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.kill()

    def _read(self) -> None:
        rest = b""
        try:
            while chunk := self._socket.recv(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(orjson.loads(line))
        except OSError:
            pass
        if not self._closing:
            problem = self._ended()
            self._fail_awaited(problem)
            self._on_event({"ended": problem})

    def _take(self, message: Json) -> None:
        if "id" not in message:
            self._on_event(message)
        elif (answer := self._awaited.get(message["id"])) is not None:
            if "error" in message:
                answer.set_exception(ChildError(message["error"], message["exit_code"]))
            else:
                answer.set(message["answer"])

    def _fail_awaited(self, problem: str) -> None:
        for answer in self._awaited.values():
            answer.set_exception(ChildError(problem))

    def _ended(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            code = None
        return f"the process {self._name} {how_it_ended(code)}"
