"""What has to be removed from media servers: rooms no call needs, participants who left. Kept until the server confirms it.

Pure: the time is an argument. `removal` finds out what is due, `media_client` sends the requests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Between tries; the last one for as long as it takes."""
AT_ONCE_MAX = 32
"""Tries that run at the same time against one server."""


@dataclass(frozen=True, slots=True)
class Condemned:
    """A call's room on one media server, or one participant in it."""

    server_url: str
    call_id: str
    participant_id: str | None = None
    """None: the room, with all participants in it."""

    def log_ids(self) -> dict[str, dict[str, object]]:
        """Return its ids, for `extra` of a logging call."""
        return log_ids(server=self.server_url, call=self.call_id, participant=self.participant_id)


@dataclass(slots=True)
class _Entry:
    due_s: float
    counted: bool
    tries: int = 0
    trying: bool = False


class CondemnedList:
    """All of one gateway, oldest first.

    Example:
        ```python
        condemned, room = CondemnedList(), Condemned("http://127.0.0.1:3001", "call-1")
        condemned.add(room, now_s=0.0)
        assert condemned.begin_due(now_s=0.0) == [room]
        condemned.refused(room, now_s=0.1)
        assert condemned.begin_due(now_s=0.2) == []
        assert condemned.begin_due(now_s=0.7) == [room]
        condemned.gone(room)
        assert len(condemned) == 0
        ```
    """

    def __init__(self) -> None:
        self._entries: dict[Condemned, _Entry] = {}

    def add(self, what: Condemned, *, now_s: float, counted: bool = False) -> None:
        """Add a room or participant; what is on the list already stays as it is. A room includes its participants.

        Args:
            what: The room, or the participant.
            now_s: Now; it is due at once.
            counted: Whether a place on its server is free when it is gone.
        """
        entry = self._entries.setdefault(what, _Entry(now_s, counted))
        entry.counted = entry.counted or counted
        if what.participant_id is None:
            for other in [one for one in self._entries if _is_in(one, what)]:
                del self._entries[other]

    def begin_due(self, *, now_s: float) -> list[Condemned]:
        """Return what is to be tried now; each has to be followed by `refused` or `gone`."""
        running = Counter(what.server_url for what, entry in self._entries.items() if entry.trying)
        due = []
        for what, entry in self._entries.items():
            if not entry.trying and entry.due_s <= now_s and running[what.server_url] < AT_ONCE_MAX:
                entry.trying = True
                running[what.server_url] += 1
                due.append(what)
        return due

    def refused(self, what: Condemned, *, now_s: float) -> int:
        """An attempt failed; return how many did."""
        entry = self._entries.get(what)
        if entry is None:
            return 0
        entry.trying = False
        entry.due_s = now_s + PAUSES_S[min(entry.tries, len(PAUSES_S) - 1)]
        entry.tries += 1
        return entry.tries

    def gone(self, what: Condemned) -> bool:
        """Remove what is gone, or needed again, from the list; return whether it counted. Idempotent."""
        entry = self._entries.pop(what, None)
        return entry is not None and entry.counted

    def server_back(self, url: str, *, now_s: float) -> None:
        """A server answers again: what is on it is due now."""
        for what, entry in self._entries.items():
            if what.server_url == url:
                entry.due_s = min(entry.due_s, now_s)

    def __contains__(self, what: object) -> bool:
        """Return whether it has to be removed."""
        return what in self._entries

    def __iter__(self) -> Iterator[Condemned]:
        """Iterate over all, oldest first."""
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        """Count them."""
        return len(self._entries)


def _is_in(one: Condemned, room: Condemned) -> bool:
    return one.participant_id is not None and (one.server_url, one.call_id) == (room.server_url, room.call_id)
