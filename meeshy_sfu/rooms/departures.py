"""Who has left calls lately, so that leaving once more is answered with what happened.

Pure: the time is handed in with each departure.
"""

from collections import OrderedDict
from dataclasses import dataclass

MAX_DEPARTURES = 10_000


@dataclass(frozen=True, slots=True)
class Departure:
    """When and why a participant left."""

    left_at_s: float
    """Seconds since 1970."""
    reason: str


class Departures:
    """The newest departures of one server; beyond the limit the oldest is forgotten."""

    def __init__(self, limit: int = MAX_DEPARTURES) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[str, str], Departure] = OrderedDict()

    def note(self, call_id: str, participant_id: str, departure: Departure) -> None:
        """Note that a participant left; the newest departure counts."""
        self.forget(call_id, participant_id)
        self._known[call_id, participant_id] = departure
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def forget(self, call_id: str, participant_id: str) -> None:
        """They are in the call again."""
        self._known.pop((call_id, participant_id), None)

    def find(self, call_id: str, participant_id: str) -> Departure | None:
        """Return what is known of a participant's leaving."""
        return self._known.get((call_id, participant_id))

    def __len__(self) -> int:
        """Count those that are known."""
        return len(self._known)
