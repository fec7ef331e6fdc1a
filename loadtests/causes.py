"""Why something failed: the closed list that locust's table of failures shows.

Pure. locust groups failures by their text, so the text is one of these and at most the server's error code: ids and times in it
would make a line of every failure. Details are in events.jsonl of the run.
"""

from __future__ import annotations

from enum import StrEnum

import socketio

from simulator.errors import BotError, ServerRefusedError, SignalingError


class Cause(StrEnum):
    """Why a request failed."""

    UNREACHABLE = "gateway unreachable"
    """No connection to it could be made."""
    NO_ANSWER = "no answer"
    """The connection ended, or nothing came in time."""
    REFUSED = "refused"
    """The server answered with an error; its code follows."""
    NO_MEDIA = "no media"
    """A joined participant did not receive all media of those already there in time."""
    MEDIA_STOPPED = "media stopped"
    """A stream that flowed was silent for over two seconds."""
    SWITCH_FAILED = "switch failed"
    """A change between peer to peer and media server was rolled back."""
    CALL_ENDED = "call ended"
    """The call ended for a participant who had not left."""
    GENERATOR = "load generator failed"
    """Our own process with the bots broke, or a bot could not be made: says nothing of the server."""


class CallFailure(Exception):
    """A failure as locust shows it."""

    def __init__(self, cause: Cause, code: str = "") -> None:
        super().__init__(f"{cause.value}: {code}" if code else cause.value)
        self.cause = cause


def cause_of(error: BaseException) -> tuple[Cause, str]:
    """Return the cause of an error of the client side, and the server's code if it gave one."""
    if isinstance(error, ServerRefusedError):
        return Cause.REFUSED, error.code or f"HTTP {error.http_status}"
    if isinstance(error, SignalingError):
        unreachable = isinstance(error.__cause__, socketio.exceptions.ConnectionError | OSError)
        return (Cause.UNREACHABLE if unreachable else Cause.NO_ANSWER), ""
    if isinstance(error, BotError):
        return Cause.NO_MEDIA, ""
    return Cause.GENERATOR, type(error).__name__
