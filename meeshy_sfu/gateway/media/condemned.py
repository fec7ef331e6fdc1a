"""What has to go from media servers: rooms nobody needs, people who left. It stays here until its server says it is gone.

Pure: the time is an argument. Requests are made by `media_client`, when they are due, at the word of `removal`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Between tries; the last one for as long as it takes."""
AT_ONCE_MAX = 32
"""Tries that run at the same time against one server."""


@dataclass(frozen=True, slots=True)
class Condemned:
    """A call's room on one media server, or one person in it."""

    server_url: str
    call_id: str
    participant_id: str | None = None
    """None: the room, with everybody in it."""

    def __str__(self) -> str:
        """As logs name it."""
        who = "" if self.participant_id is None else f" participant={self.participant_id}"
        return f"server={self.server_url} call={self.call_id}{who}"


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
        """Condemn; what is condemned already stays as it is. Who is in a room goes with it.

        Args:
            what: The room, or the person.
            now_s: Now; it is due at once.
            counted: Whether a place on its server is free when it is gone.
        """
        entry = self._entries.setdefault(what, _Entry(now_s, counted))
        entry.counted = entry.counted or counted
        if what.participant_id is None:
            for other in [one for one in self._entries if _is_in(one, what)]:
                del self._entries[other]

    def begin_due(self, *, now_s: float) -> list[Condemned]:
        """Give what is to be tried now; each has to be followed by `refused` or `gone`."""
        running = Counter(what.server_url for what, entry in self._entries.items() if entry.trying)
        due = []
        for what, entry in self._entries.items():
            if not entry.trying and entry.due_s <= now_s and running[what.server_url] < AT_ONCE_MAX:
                entry.trying = True
                running[what.server_url] += 1
                due.append(what)
        return due

    def refused(self, what: Condemned, *, now_s: float) -> int:
        """Take note that a try failed; gives how many did."""
        entry = self._entries.get(what)
        if entry is None:
            return 0
        entry.trying = False
        entry.due_s = now_s + PAUSES_S[min(entry.tries, len(PAUSES_S) - 1)]
        entry.tries += 1
        return entry.tries

    def gone(self, what: Condemned) -> bool:
        """Take off the list what is gone, or needed again; tells whether it counted. Idempotent."""
        entry = self._entries.pop(what, None)
        return entry is not None and entry.counted

    def server_back(self, url: str, *, now_s: float) -> None:
        """Wait no longer with what is on a server that answers again."""
        for what, entry in self._entries.items():
            if what.server_url == url:
                entry.due_s = min(entry.due_s, now_s)

    def __contains__(self, what: object) -> bool:
        """Tell whether it has to go."""
        return what in self._entries

    def __iter__(self) -> Iterator[Condemned]:
        """Go through all, oldest first."""
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        """Count them."""
        return len(self._entries)


def _is_in(one: Condemned, room: Condemned) -> bool:
    return one.participant_id is not None and (one.server_url, one.call_id) == (room.server_url, room.call_id)
