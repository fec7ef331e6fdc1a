"""Which session a participant's transports belong to: what ends when a newer session takes over, and what goes on.

Pure. A session is one stay of one client at the participant's place; requests that make transports do not name it, so it
is inferred from the order in which sessions begin and transports are made. What a session is on the wire is known to
server/signaling.py.
"""

from dataclasses import dataclass
from typing import Literal

from meeshy_sfu.media.ids import TransportId

Direction = Literal["send", "recv"]

CLAIM_S = 30.0
"""A client that makes transports before its session begins does so within this time."""


@dataclass(slots=True)
class _Owned:
    direction: Direction
    session: int | None
    """None while it may be of the session that is about to begin."""
    made_s: float
    beside: bool
    """A session was there that has one of this direction already."""


class Ownership:
    """Distinguish a former session's transports from a newer one's.

    What is made while a session is there belongs to it if it has no other of this direction; a second one may be of a
    client that is coming in and makes its transports first, so it belongs to the session that begins next. If none
    does within CLAIM_S, it belongs to the one that is there. What is made while none is there belongs to the next.
    """

    def __init__(self) -> None:
        self._transports: dict[TransportId, _Owned] = {}
        self._session = 0
        self._present = False

    @property
    def has_begun(self) -> bool:
        """Whether there has been a session."""
        return self._session > 0

    def claim(self, direction: Direction) -> int | None:
        """Return whose a transport will be that is about to be made."""
        return self._session if self._present and not self._has(direction) else None

    def add(
        self, transport_id: TransportId, direction: Direction, claim: int | None, *, now_s: float
    ) -> bool:
        """Take note of a transport; return whether the session it was made for is still there."""
        if claim is not None and claim != self._session:
            return False
        session = self.claim(direction) if claim is None else claim
        self._transports[transport_id] = _Owned(direction, session, now_s, beside=self._present)
        return True

    def remove(self, transport_id: TransportId) -> None:
        """Let go of a closed transport."""
        self._transports.pop(transport_id, None)

    def begin(self, *, now_s: float) -> list[TransportId]:
        """Let a new session take over; gives what the former one owned, all else is the new one's."""
        former = self.of_session(now_s=now_s) if self.has_begun else []
        self._session += 1
        self._present = True
        for transport_id, owned in self._transports.items():
            if transport_id not in former:
                owned.session = self._session
        return former

    def resume(self) -> None:
        """Let a new connection go on with the session that was there, and with all that was made since."""
        self._session = max(self._session, 1)
        self._present = True
        for owned in self._transports.values():
            owned.session = self._session

    def away(self) -> None:
        """Take note that the session's connection is gone."""
        self._present = False

    def of_session(self, *, now_s: float) -> list[TransportId]:
        """Return what belongs to the session that is there, or was there last."""
        return [
            transport_id
            for transport_id, owned in self._transports.items()
            if owned.session == self._session
            or (owned.session is None and owned.beside and now_s - owned.made_s >= CLAIM_S)
        ]

    def has_successor(self, *, now_s: float) -> bool:
        """Return whether a new session is coming in: there are transports that are not this session's."""
        return len(self.of_session(now_s=now_s)) < len(self._transports)

    def _has(self, direction: Direction) -> bool:
        return any(
            owned.direction == direction and owned.session == self._session
            for owned in self._transports.values()
        )
