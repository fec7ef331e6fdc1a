"""What can go wrong before, while and after a load test, each with the exit code it leads to.

A verdict below the SLO or a void run is no error; see report/write.py for those. Errors of the server under test
arrive as ServerRefusedError and keep the server's own code.

    SimulatorError                 1
    ├── UsageError                 2   the command line or a file the user wrote is wrong
    │   ├── ScenarioError
    │   ├── SloError
    │   └── RunDirectoryError
    ├── StackError                 1   our own server did not start, or crashed
    ├── SignalingError             1   the server did not answer as the contract says
    │   ├── ServerRefusedError     1   it answered with an error; names limit and wait for 429
    │   ├── NoAnswerError          1   it did not answer in time
    │   └── SdpError               1   a peer's offer or answer cannot be used
    ├── BotError                   1   a bot could not be made, joined or kept
    │   └── NotServedError         1   what a participant was due did not come in time, or its call ended
    ├── ClipError                  1   the media clip cannot be made or read
    └── OutputError                1   a file for programs, such as a JUnit file, cannot be written after the run
"""

from typing import ClassVar, Final

_FULL: Final = frozenset(
    {
        "MAX_PARTICIPANTS_REACHED",
        "MEDIA_SERVER_ERROR",
        "RATE_LIMIT_EXCEEDED",
        "ROOM_FULL",
        "SERVER_AT_CAPACITY",
        "SERVICE_UNAVAILABLE",
    }
)
"""Codes of a server that takes no more; answers on sockets have no status."""


class SimulatorError(Exception):
    """Base of all errors of the simulator; the message says the cause and, where there is one, the remedy."""

    exit_code: ClassVar[int] = 1
    """What `meeshy simulate` ends with."""

    is_overload: bool = False
    """Whether a server that has too much to do looks like this: late, or full."""


class UsageError(SimulatorError):
    """What the user wrote cannot be run."""

    exit_code = 2


class ScenarioError(UsageError):
    """A scenario is unknown, malformed, or asks for what does not exist."""


class SloError(UsageError):
    """An SLO expression cannot be read, or names no figure of the summary."""


class RunDirectoryError(UsageError):
    """A run directory cannot be written, or is none."""


class StackError(SimulatorError):
    """The stack started for this run did not come up, or ended on its own."""


class SignalingError(SimulatorError):
    """The server did not answer, or not as its contract says."""


class NoAnswerError(SignalingError):
    """The server did not answer in time."""

    is_overload = True


class SdpError(SignalingError):
    """A session description is malformed, or asks for what bots do not do."""


class ServerRefusedError(SignalingError):
    """The server answered with an error."""

    code: str
    """The server's error code, such as ``ROOM_FULL``."""
    http_status: int
    """The status of the answer; 0 for a socket event."""

    def __init__(self, message: str, *, code: str, http_status: int) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status
        self.is_overload = http_status in (429, 503) or code in _FULL


class BotError(SimulatorError):
    """A bot could not be made, did not get into its call, or was lost."""


class NotServedError(BotError):
    """A participant did not get in time what it was due: a connection, media, a mode; or its call ended."""

    is_overload = True


class ClipError(SimulatorError):
    """The media clip cannot be made or read."""


class OutputError(SimulatorError):
    """A file for programs that was asked for cannot be written."""


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first single error of a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
