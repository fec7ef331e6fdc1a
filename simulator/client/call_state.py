"""What one participant knows of its call: its place, the mode, who else is there, and which media it has received.

Changed by its own methods only. What is done about it is decided in client/caller.py and client/mode_changes.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from simulator.client.call_records import Record, SharedContext
from simulator.client.legs import Arrivals, Track
from simulator.client.media_server import Json
from simulator.errors import BotError


class CallState:
    """One participant's view of one call."""

    call_id = ""
    participant_id = ""
    mode = ""
    """What the call is now, as far as it was told."""
    epoch = -1
    leaving = False
    """It ends its stay itself."""

    def __init__(self, number: int, shared: SharedContext) -> None:
        self.number = number
        self.shared = shared
        self.record = Record()
        self.shown = Arrivals()
        """Of all legs together."""
        self._others: set[str] = set()
        self._changed = asyncio.Event()

    @property
    def others(self) -> set[int]:
        """Who else is in the call, by number."""
        return {n for pid in self._others if (n := self.shared.participants.number(pid)) is not None}

    @property
    def other_participants(self) -> frozenset[str]:
        """Who else is in the call, by participant id."""
        return frozenset(self._others)

    def has(self, participant_id: str) -> bool:
        """Whether another participant is in the call."""
        return participant_id in self._others

    def enter(self, data: Json) -> None:
        """Take the place that the gateway answers with."""
        self.call_id, self.participant_id = str(data["callId"]), str(data["participantId"])
        self.shared.participants.add(self.participant_id, self.number)
        self.move(str(data["mode"]), int(data["epoch"]))

    def move(self, mode: str, epoch: int) -> None:
        """Take note of the mode the call is in now."""
        self.mode, self.epoch = mode, epoch

    def leave(self) -> None:
        """Take note that the stay ends because this participant wants it to."""
        self.leaving = True

    def end(self, reason: str | None) -> None:
        """Take note of why the call ended for this participant; None if it ended by leaving."""
        self.record.ended = reason

    def remember(self, participants: Sequence[Json]) -> None:
        """Learn who is in the call."""
        for participant in participants:
            self.shared.participants.learn(participant)
        self._others = {
            str(p["participantId"])
            for p in participants
            if p.get("leftAt") is None and p["participantId"] != self.participant_id
        }

    def add(self, participant: Json) -> str:
        """Take note that a participant has joined; returns its id."""
        self.shared.participants.learn(participant)
        participant_id = str(participant["participantId"])
        self._others.add(participant_id)
        return participant_id

    def remove(self, participant_id: str) -> None:
        """Take note that a participant has left."""
        self._others.discard(participant_id)

    def number_of(self, participant_id: str) -> int:
        """Return the number of a participant.

        Raises:
            BotError: It is not of this run.
        """
        number = self.shared.participants.number(participant_id)
        if number is None:
            raise BotError(f"participant {participant_id} is not a participant of this run")
        return number

    def wanted_sender(self, participant_id: str) -> int | None:
        """Return the number of a participant whose streams are to be received; None of one that sends nothing."""
        number = self.shared.participants.number(participant_id)
        return number if number is not None and self.shared.kinds_of(number) else None

    def tracks(self, numbers: Iterable[int]) -> list[Track]:
        """List what participants send."""
        return [(number, kind) for number in numbers for kind in self.shared.kinds_of(number)]

    def announced(self, producers: Iterable[Json]) -> list[Track]:
        """List the tracks of others behind announced producers."""
        found: list[Track] = []
        for producer in producers:
            number = self.shared.participants.number(str(producer["participantId"]))
            if number is None or number == self.number:
                continue
            if producer["kind"] in self.shared.kinds_of(number):
                found.append((number, producer["kind"]))
        return found

    def still(self, tracks: Sequence[Track]) -> Callable[[], Sequence[Track]]:
        """Return those of the tracks whose participants are in the call and send them, at any time."""

        def still() -> Sequence[Track]:
            others, silent = self.others, self.shared.silent
            return [(who, kind) for who, kind in tracks if who in others and kind not in silent.get(who, ())]

        return still

    def changed(self) -> None:
        """Wake everyone who waits in :meth:`change`."""
        self._changed.set()

    async def change(self) -> None:
        """Wait until something changes from now on."""
        self._changed.clear()
        await self._changed.wait()

    def note(self, event: str, **values: object) -> None:
        """Record an event of this participant."""
        self.shared.note(event, time.time_ns(), bot=self.number, **values)
