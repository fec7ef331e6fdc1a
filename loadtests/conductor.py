"""What joins locust's runners to the processes that do the work: one conductor in each locust process.

The master (or the only process) has a :class:`~loadtests.leader.Leader`: run, seats, verdict. Each worker (or the only process)
has a :class:`~loadtests.caller_process.CallerProcess`. Distribution is locust's own: its messages (distribution.py) carry the
set-up to the workers and their raw samples back.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from abc import ABC, abstractmethod
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import RLock
from locust import events
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtests.caller_process import CallerProcess
from loadtests.child_process import ChildError
from loadtests.distribution import MasterSide, WorkerSide
from loadtests.leader import Leader
from loadtests.messages import Setup, Verdict
from loadtests.options import GivenOptions, SuiteOptions, add_options
from loadtests.response_times import show_true_values
from loadtests.seats import Seat
from loadtests.shapes import CallShape
from simulator.errors import UsageError

_log = logging.getLogger("meeshy")
_LOCAL = "local"
_UNTIL_KILLED_S = 1e6


class Conductor(ABC):
    """One locust process."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._environment = environment
        self._runner = runner

    @property
    def options(self) -> SuiteOptions:
        """The options; a worker has those of its master once a run has begun."""
        return SuiteOptions.read(self._environment.parsed_options)

    @abstractmethod
    def end(self) -> None:
        """End the run, if one is going on."""


class Seated(Conductor):
    """A process that has users."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        super().__init__(environment, runner)
        self._callers: CallerProcess | None = None
        self._may_act = Event()
        """Set while participants may join."""

    def take_seat(self) -> Seat:
        """Return a seat of its own for a user, once the run has begun; if it does not, locust ends the user while it waits."""
        self._may_act.wait()
        return self._new_seat()

    @abstractmethod
    def free_seat(self, seat: Seat) -> None:
        """Take a seat back."""

    def join(self, seat: Seat) -> bool:
        """Let a participant join its call; returns whether it is in."""
        return self._acting.join(seat)

    def leave(self, seat: Seat) -> None:
        """Let a participant leave, unless the run ends and all do."""
        if self._callers is not None:
            self._callers.leave(seat)

    def toggle(self, seat: Seat, kind: str, *, enabled: bool) -> bool:
        """Let a participant switch its microphone (`audio`) or camera (`video`)."""
        return self._acting.toggle(seat, kind, enabled=enabled)

    def signal(self, seat: Seat, step: str) -> bool:
        """Take a step of a user without media; returns whether it worked."""
        return self._acting.signal(seat, step)

    def disconnect(self, seat: Seat) -> None:
        """Let a user without media disconnect, unless the run ends and all do."""
        if self._callers is not None:
            self._callers.signal(seat, "disconnect")

    @abstractmethod
    def _new_seat(self) -> Seat: ...

    @property
    def _acting(self) -> CallerProcess:
        callers = self._callers
        while callers is None:
            # The run ends; locust is about to stop this user.
            gevent.sleep(_UNTIL_KILLED_S)
        return callers


class LeaderMixin(Conductor):
    """A process that leads the run."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        super().__init__(environment, runner)
        self._given = GivenOptions.read(environment.parsed_options)
        self._leader: Leader | None = None
        self._ending = RLock()
        self._signal = 0
        """The signal that ended the test; 0 for none."""
        self._verdict: Verdict | None = None
        if isinstance(environment.shape_class, CallShape):
            environment.shape_class.given = self._given
        environment.events.test_start.add_listener(self._start)
        environment.events.quit.add_listener(self._print)
        self._watch_signals()

    def end(self) -> None:
        """End the run with its verdict, if one is going on; returns when it is there, whoever asked first."""
        with self._ending:
            leader, self._leader = self._leader, None
            if leader is not None:
                self._end(leader)

    def _end(self, leader: Leader) -> None:
        ended_ns = time.time_ns()
        try:
            parts, outside = self._collect(leader)
            leader.note_end(outside)
            self._verdict = leader.judge(parts, ended_ns)
        except ChildError as error:
            _log.error("there is no verdict: %s", error)
            self._exit_with(error.exit_code)
            return
        finally:
            leader.close()
        stopped = 128 + self._signal if self._signal else 0
        self._exit_with(stopped or self._verdict.exit_code)
        _log.info("verdict %s, run directory %s", self._verdict.verdict, self._verdict.directory)

    @abstractmethod
    def _begin(self, leader: Leader, setup: Setup) -> None:
        """Let participants begin."""

    @abstractmethod
    def _measure(self) -> None:
        """Let participants' processes begin the measured time."""

    @abstractmethod
    def _collect(self, leader: Leader) -> tuple[list[str], int]:
        """End participants; returns the names of the parts, and how many participants were in no call."""

    def _start(self, **_: Any) -> None:
        self._exit_with(1)  # until there is a verdict
        leader = Leader(self._environment, self._given, on_broken=self._broken, on_measure=self._measure)
        try:
            setup = leader.begin()
            self._leader = leader
            self._begin(leader, setup)
            leader.started()
        except (ChildError, UsageError) as error:
            _log.error("%s", error)
            self._leader = None
            leader.close()
            self._exit_with(error.exit_code)
            self._give_up()
        except BaseException:  # the greenlet is killed when the test is stopped
            _log.error("the test was stopped before participants could join")
            self._leader = None
            leader.close()
            raise

    def _broken(self, why: str) -> None:
        """End a run in which something broke that must not."""
        if self._leader is not None and why not in self._leader.aborted:
            _log.error("%s", why)
            self._leader.aborted.append(why)
            self._give_up()

    def _give_up(self) -> None:
        options = self._environment.parsed_options
        headless = options is not None and options.headless
        # not in this greenlet, which may be one that stopping ends
        gevent.spawn(self._runner.quit if headless else self._runner.stop)

    def _exit_with(self, code: int) -> None:
        self._environment.process_exit_code = code

    def _print(self, **_: Any) -> None:
        if self._verdict is not None:
            sys.stdout.write(self._verdict.text + "\n")

    def _watch_signals(self) -> None:
        previous = signal.getsignal(signal.SIGINT)

        def interrupted(number: int, frame: Any) -> None:
            self._signal = signal.SIGINT
            if callable(previous):
                previous(number, frame)

        def terminated() -> None:
            self._signal = signal.SIGTERM
            # locust has no handler of its own while it runs a shape without its web page
            self._give_up()

        signal.signal(signal.SIGINT, interrupted)
        gevent.signal_handler(signal.SIGTERM, terminated)


class LocalConductor(LeaderMixin, Seated):
    """The only process: leads, and has the participants."""

    def free_seat(self, seat: Seat) -> None:
        """Take a seat back."""
        if self._leader is not None:
            self._leader.seats.free(seat.number, _LOCAL)

    def _new_seat(self) -> Seat:
        if self._leader is None:
            raise StopUser
        return self._leader.seats.take(_LOCAL)

    def _begin(self, leader: Leader, setup: Setup) -> None:
        callers = CallerProcess(self._environment, self._broken)
        callers.begin(setup, leader.parts / _LOCAL, self.options.state_dir)
        self._callers = callers
        self._may_act.set()

    def _measure(self) -> None:
        if self._callers is not None:
            self._callers.measure()

    def _collect(self, leader: Leader) -> tuple[list[str], int]:
        callers, self._callers = self._callers, None
        self._may_act.clear()
        if callers is None:
            return [], 0
        outside = callers.outside
        try:
            callers.finish()
        except ChildError as error:
            leader.aborted.append(str(error))
            return [], outside
        return [_LOCAL], outside


class MasterConductor(LeaderMixin):
    """The master: leads workers that have the participants."""

    def __init__(self, environment: Environment, runner: MasterRunner) -> None:
        super().__init__(environment, runner)
        self._side = MasterSide(runner, self._broken)
        environment.events.worker_connect.add_listener(lambda client_id, **_: self._side.welcome(client_id))

    def _begin(self, leader: Leader, setup: Setup) -> None:
        self._side.begin(setup, leader.seats, leader.parts)

    def _measure(self) -> None:
        self._side.measure()

    def _collect(self, leader: Leader) -> tuple[list[str], int]:
        parts, outside, problems = self._side.collect()
        leader.aborted += problems
        return parts, outside


class WorkerConductor(Seated):
    """A worker: has participants, and hands in their raw samples."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        super().__init__(environment, runner)
        self._side = WorkerSide(environment, runner, self._began, self._ends)
        environment.process_exit_code = 0  # the verdict is the master's

    def free_seat(self, seat: Seat) -> None:
        """Take a seat back."""
        if self._callers is not None:
            self._side.free_seat(seat)

    def end(self) -> None:
        """Hand in the raw samples, if that was not done."""
        self._side.hand_in()

    def _new_seat(self) -> Seat:
        return self._side.take_seat()

    def _began(self, callers: CallerProcess) -> None:
        self._callers = callers
        self._may_act.set()

    def _ends(self) -> None:
        self._callers = None
        self._may_act.clear()


_conductors: dict[int, Conductor] = {}


def conductor_of(environment: Environment) -> Seated:
    """Return the conductor of a locust process that has users."""
    conductor = _conductors[id(environment)]
    if not isinstance(conductor, Seated):
        raise TypeError("a master has no users")
    return conductor


def _conductor_for(environment: Environment, runner: Runner) -> Conductor:
    if isinstance(runner, MasterRunner):
        return MasterConductor(environment, runner)
    if isinstance(runner, WorkerRunner):
        return WorkerConductor(environment, runner)
    return LocalConductor(environment, runner)


def _init(environment: Environment, runner: Runner, **_: Any) -> None:
    show_true_values()
    conductor = _conductors[id(environment)] = _conductor_for(environment, runner)
    environment.events.test_stopping.add_listener(lambda **_: conductor.end())
    environment.events.quitting.add_listener(lambda **_: conductor.end())


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(_init)
