"""Which frames of its peers a bot shows when several legs receive them, for bots whose frames are in Python.

The same rules as the native bots' (crates/sfu-bot/src/stage.rs): each track is shown from one leg at a time, and changes
to the preferred one with its first decodable frame. A pure function of the frames handed in; also chooses what a
bot sends, so that all legs carry the same frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

LEAD = {"video": 6, "audio": 10}
"""Frames by which another leg must be ahead before a less preferred one takes over: 200 ms."""
BUFFER = 3
"""Frames that a jitter buffer waits for."""
RESTART = 3000
"""Numbers this far back are those of a sender that was restarted."""
MEMORY = 64
"""Choices that are remembered; a leg that is further behind gets frames of its own."""

F = TypeVar("F")


@dataclass(slots=True)
class _Track:
    leg: int | None
    newest: int
    leaving: tuple[int, int, int] | None = None
    """The leg before this one, and the numbers it may still bring: above the first, below the second."""


@dataclass(slots=True)
class LegSelector:
    """What one bot shows; shared by its legs."""

    _ranks: list[int] = field(default_factory=list)
    _tracks: dict[tuple[int, str], _Track] = field(default_factory=dict)

    def prefer(self, leg: int) -> None:
        """Prefer this leg to all others from its next decodable frames on."""
        self._ranks = [known for known in self._ranks if known != leg] + [leg]

    def retire(self, leg: int) -> None:
        """Forget a leg; its tracks are taken from whatever arrives next."""
        self._ranks = [known for known in self._ranks if known != leg]
        for track in self._tracks.values():
            if track.leg == leg:
                track.leg = None

    def take(self, leg: int, sender: int, kind: str, number: int) -> tuple[bool, bool]:
        """Decide about a decodable frame: whether it is shown, and whether the track changes to this leg with it."""
        track = self._tracks.get((sender, kind))
        if track is None:
            self._tracks[sender, kind] = _Track(leg, number)
            return True, True
        ahead = number - track.newest
        entered = track.leg != leg and (
            track.leg is None or self._rank(leg) > self._rank(track.leg) or ahead > LEAD[kind]
        )
        if entered:
            before, track.leg = track.leg, leg
            buffered = before is not None and 2 <= ahead <= BUFFER
            track.leaving = (before, track.newest, number) if buffered and before is not None else None
        elif track.leaving is not None and ahead > -BUFFER:
            old, after, until = track.leaving
            if leg == old and after < number < until:
                track.leaving = (old, number, until)
                return True, False
        shown = track.leg == leg and not -RESTART <= ahead <= 0
        if shown:
            track.newest = number
        return shown, entered

    def _rank(self, leg: int) -> int:
        return self._ranks.index(leg) if leg in self._ranks else -1


class FrameSequence(Generic[F]):
    """What one bot sends of one kind: the frame for each number, the same for every leg that asks."""

    def __init__(self, frames: list[F], is_key: Callable[[F], bool], position: int = 0) -> None:
        self._frames = frames
        self._is_key = is_key
        self._position = position
        self._newest = -1
        self._key_requested = False
        self._chosen: dict[int, F] = {}

    def request_key_frame(self) -> None:
        """Make the next new frame a key frame."""
        self._key_requested = True

    def choose(self, number: int) -> F:
        """Return the frame for a number."""
        if number in self._chosen:
            return self._chosen[number]
        if self._key_requested:
            self._key_requested = False
            while not self._is_key(self._frames[self._position]):
                self._position = (self._position + 1) % len(self._frames)
        frame = self._frames[self._position]
        self._position = (self._position + 1) % len(self._frames)
        if number > self._newest:
            self._newest = number
            self._chosen[number] = frame
            self._chosen.pop(number - MEMORY, None)
        return frame
