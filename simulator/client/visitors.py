"""Participants of a call that are no bots of ours: users of a page, say, whose names are no numbers.

Bots know each other by number; visitors get numbers above theirs, as they are met.
"""

from __future__ import annotations

from simulator.client.call_records import ParticipantIndex
from simulator.client.media_server import Json

FIRST_VISITOR = 1_000
LAST_VISITOR = 60_000
"""Numbers of senders are 16 bits wide; beyond this they begin anew."""


class VisitorIndex(ParticipantIndex):
    """Whose number a participant has, bots and visitors.

    Args:
        bots: The users of the bots, and their numbers.
    """

    def __init__(self, bots: dict[str, int]) -> None:
        super().__init__()
        self._bots = bots
        self._visitors: set[str] = set()
        self._next = FIRST_VISITOR

    def learn(self, participant: Json) -> None:
        """Learn who a participant is: a bot by its user, anyone else is a visitor."""
        participant_id = str(participant["participantId"])
        if self.number(participant_id) is not None:
            return
        bot = self._bots.get(str(participant.get("userId")))
        if bot is not None:
            self.add(participant_id, bot)
            return
        self._visitors.add(participant_id)
        self.add(participant_id, self._next)
        self._next = FIRST_VISITOR if self._next == LAST_VISITOR else self._next + 1

    def visitors(self, participants: frozenset[str]) -> frozenset[str]:
        """Return those of the participants that are no bots."""
        return participants & self._visitors
