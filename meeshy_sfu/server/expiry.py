"""Expiry: of tokens in mid-call, and of rooms that no participant joins.

Remembers until when each participant's newest token holds, and removes participants when that time and a grace are over.
Sockets are closed by signaling.py and audiences.py, which are notified of it as of every leave.
"""

import logging

from meeshy_sfu.clock import Clock
from meeshy_sfu.log import log_ids
from meeshy_sfu.rooms.participant import ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId
from meeshy_sfu.server.auth import Claims

logger = logging.getLogger(__name__)

REASON = "token-expired"


class Expiry:
    """Take participants out whose tokens have run out."""

    def __init__(self, rooms: RoomRegistry, clock: Clock, *, grace_s: float, empty_room_s: float) -> None:
        self._rooms = rooms
        self._clock = clock
        self._grace_s = grace_s
        self._empty_room_s = empty_room_s
        self._until_s: dict[tuple[str, str], float] = {}

    def note(self, claims: Claims, call_id: str) -> None:
        """Take note of a token that was used; the one that holds longest counts."""
        if claims.is_service or claims.participant_id is None:
            return
        key = (call_id, claims.participant_id)
        self._until_s[key] = max(claims.expires_at_s, self._until_s.get(key, 0.0))

    def is_over(self, claims: Claims) -> bool:
        """Return whether the bearer's time and grace have run out; the newest token they used anywhere counts."""
        newest_s = self._until_s.get((claims.call_id or "", claims.participant_id or ""), 0.0)
        return self._clock.unix_s() >= max(claims.expires_at_s, newest_s) + self._grace_s

    def sweep(self) -> None:
        """Remove all participants whose token has expired, and close rooms that stayed empty."""
        self._rooms.close_idle(older_than_s=self._empty_room_s)
        now_s = self._clock.unix_s()
        over = [key for key, until_s in self._until_s.items() if now_s >= until_s + self._grace_s]
        for key in over:
            del self._until_s[key]
            call_id, participant_id = key
            room = self._rooms.find(CallId(call_id))
            if room is not None and room.leave(ParticipantId(participant_id), REASON):
                logger.info(
                    "removed: the token has expired", extra=log_ids(room=room.id, participant=participant_id)
                )

    def __len__(self) -> int:
        """Return the number of participants remembered."""
        return len(self._until_s)
