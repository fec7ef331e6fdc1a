"""Participants whose client is gone, and until when it may come back. Pure: what happens to them then is up to signaling.py."""

from collections.abc import Iterator

Key = tuple[str, str]
"""A call and its participant."""
Deadlines = dict[Key, float]


class Absences:
    """When the time of absent participants is over, by why they are absent."""

    def __init__(self) -> None:
        self.disconnected: Deadlines = {}
        """Their socket broke off."""
        self.awaited: Deadlines = {}
        """Their former session has ended while a newer one was coming in, which has not begun."""
        self.cut_off: Deadlines = {}
        """No ICE check reaches their transports any more."""

    def back(self, call_id: str, participant_id: str) -> None:
        """A participant's client is there again."""
        self.disconnected.pop((call_id, participant_id), None)
        self.awaited.pop((call_id, participant_id), None)


def take_due(deadlines: Deadlines, now_s: float) -> Iterator[Key]:
    """Take out and return those whose time is over."""
    for key in [key for key, due_s in deadlines.items() if now_s >= due_s]:
        del deadlines[key]
        yield key
