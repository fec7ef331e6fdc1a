"""How long a connection may take for what it is at. Pure: what it is at, and the time, are handed in."""

from enum import StrEnum
from types import MappingProxyType

from meeshy_sfu.edge.json_body import BODY_TIMEOUT_S


class Stage(StrEnum):
    """What a connection is at."""

    FIRST_HEAD = "no request"
    """It has sent no request yet, perhaps not even its TLS handshake."""
    IDLE = "idle"
    """It waits between two requests; the keep-alive of aiohttp ends that."""
    HEAD = "slow head"
    """A further request has begun."""
    BODY = "slow body"
    STALLED = "does not read"
    """Its answer waits because it does not take it."""
    CLOSING = "does not close"
    """We have closed it, and it does not take the rest."""
    BUSY = "busy"
    """A handler works, or a socket is open."""


LIMITS_S = MappingProxyType(
    {
        Stage.FIRST_HEAD: 10.0,
        Stage.HEAD: 10.0,
        # handlers give up first, and say so
        Stage.BODY: BODY_TIMEOUT_S + 2.0,
        Stage.STALLED: 30.0,
        Stage.CLOSING: 5.0,
    }
)
"""Seconds; what is not here may last."""


class Progress:
    """What a connection is at, and since when."""

    __slots__ = ("_request", "_since_s", "_stage")

    def __init__(self, now_s: float) -> None:
        self._stage = Stage.FIRST_HEAD
        self._request = 0
        self._since_s = now_s

    def is_late(self, stage: Stage, request: int, now_s: float) -> bool:
        """Note what it is at, with its how-manieth request; return whether it has been at it for too long.

        Bytes that drip in make it no younger: only a new stage or a new request does.
        """
        if (stage, request) != (self._stage, self._request):
            self._stage, self._request, self._since_s = stage, request, now_s
        limit_s = LIMITS_S.get(stage)
        return limit_s is not None and now_s - self._since_s >= limit_s
