"""The room of one call on a media server: which state it is in, and what has to be done about it next.

Pure: remembers and decides, does no I/O, reads no clock. `room_keeper` carries the steps out and `switching` reports what
participants were notified of; whether the call needs a room follows from its mode, see `LiveCall.room_need`.

```
            created(prewarmed)             activated             announced
   none ─────────────────────► prewarmed ───────────► ready ───────────────► in_use
    ▲ └──────────────────────────────────────────────► ▲ │                     │ released
    │           created                    unusable ┐    │ released            ▼
    │                                               ▼    ▼                  leaving
    └───────────────────────────────────────────── stale ◄─────────────────────┘
             destroyed                                        grace over, or a new switch to the SFU
```

`lost` leads from every state to none, `call_ended` from every state with a room to stale. A room is destroyed when it is
stale or, unless participants use it, no longer needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meeshy_sfu.gateway.media.media_client import MediaRoom
    from meeshy_sfu.gateway.wire.schemas import RemoteProducer


class RoomPhase(StrEnum):
    """The six states of a call's room."""

    NONE = "none"
    PREWARMED = "prewarmed"
    """Created in advance: it does not count as a call on its media server yet."""
    READY = "ready"
    """It counts as a call; no participant was notified of it."""
    IN_USE = "in_use"
    """Participants were sent there."""
    LEAVING = "leaving"
    """Participants were notified that they need not stay; the room remains for a grace."""
    STALE = "stale"
    """It has to be destroyed before another is created."""


class RoomNeed(Enum):
    """What a call needs of a room, by its mode and members."""

    NOTHING = auto()
    PREWARMED = auto()
    """Two participants of a group are connected directly: preparing the SFU leg is worthwhile."""
    EXISTING = auto()
    """Media goes through the room there is. A call that has lost it gets another by a transition of its own."""
    ACTIVE = auto()
    """The call is switching to the SFU: a room is needed now."""


class Step(Enum):
    """What to do next about a call's room."""

    CREATE = auto()
    CREATE_PREWARMED = auto()
    ACTIVATE = auto()
    DESTROY = auto()


_USED = (RoomPhase.IN_USE, RoomPhase.LEAVING)
_NEEDS_ROOM = (RoomNeed.EXISTING, RoomNeed.ACTIVE)


@dataclass(slots=True)
class RoomState:
    """The room of one call. Each method is an event; one that is illegal in the present state raises RuntimeError.

    Events that report the outcome of something awaited name the room they are about: of a room that was replaced
    meanwhile they are ignored.

    Example:
        ```python
        state = RoomState()
        assert state.next_step(RoomNeed.ACTIVE, now_s=0.0) is Step.CREATE
        state.created(room, prewarmed=False)
        state.announced()
        assert state.next_step(RoomNeed.NOTHING, now_s=0.0) is None, "participants are still in it"
        assert state.released()
        state.grace_over(room)
        assert state.next_step(RoomNeed.NOTHING, now_s=0.0) is Step.DESTROY
        ```
    """

    _phase: RoomPhase = RoomPhase.NONE
    _room: MediaRoom | None = None
    _counts: bool = False
    _call_ended: bool = False
    _failure: str | None = None
    _prewarm_at_s: float = 0.0
    """When creating a room in advance may be tried again."""
    _producers: dict[str, RemoteProducer] = field(default_factory=dict)

    # ---- what is

    @property
    def phase(self) -> RoomPhase:
        """One of the six states."""
        return self._phase

    @property
    def room(self) -> MediaRoom | None:
        """The room, in whatever state; None if there is none."""
        return self._room

    @property
    def is_prewarmed(self) -> bool:
        """Whether there is a room that does not count as a call on its media server."""
        return self._room is not None and not self._counts

    @property
    def can_be_announced(self) -> bool:
        """Whether participants may be sent there."""
        return self._phase in (RoomPhase.READY, RoomPhase.IN_USE)

    @property
    def failure(self) -> str | None:
        """Why the last attempt to create a room failed; None once there was one."""
        return self._failure

    @property
    def producers(self) -> Mapping[str, RemoteProducer]:
        """What is sent in the room, by producer id, as reported by the media server."""
        return self._producers

    def next_step(self, need: RoomNeed, *, now_s: float) -> Step | None:
        """Return what has to be done next; None if the room is as the call needs it."""
        match self._phase:
            case RoomPhase.STALE:
                return Step.DESTROY
            case RoomPhase.IN_USE | RoomPhase.LEAVING:
                return None
            case RoomPhase.READY:
                return None if need in _NEEDS_ROOM else Step.DESTROY
            case RoomPhase.PREWARMED:
                if need in _NEEDS_ROOM:
                    return Step.ACTIVATE
                return None if need is RoomNeed.PREWARMED else Step.DESTROY
        if need is RoomNeed.ACTIVE:
            return Step.CREATE
        due = need is RoomNeed.PREWARMED and now_s >= self._prewarm_at_s
        return Step.CREATE_PREWARMED if due else None

    # ---- steps that were taken

    def created(self, room: MediaRoom, *, prewarmed: bool) -> None:
        """The media server has created the room; of a call that ended meanwhile it is stale at once."""
        self._require(RoomPhase.NONE)
        self._begin(room, RoomPhase.PREWARMED if prewarmed else RoomPhase.READY)

    def creation_failed(self, reason: str, *, prewarm_at_s: float) -> None:
        """The media servers did not create a room; one in advance is tried again at `prewarm_at_s`."""
        self._failure, self._prewarm_at_s = reason, prewarm_at_s

    def adopted(self, room: MediaRoom, *, in_use: bool) -> None:
        """A room from before a restart was found; not in use it is of a switch that was not finished, or prewarmed."""
        self._require(RoomPhase.NONE)
        self._begin(room, RoomPhase.IN_USE if in_use else RoomPhase.STALE)

    def activated(self, room: MediaRoom) -> bool:
        """The prewarmed room counts as a call from now on; return whether it can be announced."""
        if self._room is not room:
            return False
        self._counts = True
        if self._phase is RoomPhase.PREWARMED:
            self._phase = RoomPhase.READY
        return self.can_be_announced

    def unusable(self, room: MediaRoom) -> None:
        """The prewarmed room could not be activated: its server is full meanwhile, or has lost it."""
        if self._room is room:
            self._require(RoomPhase.PREWARMED, RoomPhase.STALE)
            self._phase = RoomPhase.STALE

    def destroyed(self) -> bool:
        """The room is on the list of what has to be removed; return whether it occupied a place on its server."""
        if self._phase in (RoomPhase.NONE, *_USED):
            raise RuntimeError(f"invariant: a room in state {self._phase} is not destroyed")
        counted = self._counts
        self._clear()
        return counted

    # ---- what participants were notified of

    def announced(self) -> None:
        """Participants are being sent there."""
        self._require(RoomPhase.READY, RoomPhase.IN_USE)
        self._phase = RoomPhase.IN_USE

    def released(self) -> bool:
        """Participants were notified that they need not stay; return whether a grace begins, for `grace_over` to end.

        A room that was not announced is removed without a grace. A prewarmed one stays for as long as it is worthwhile.
        """
        if self._phase is RoomPhase.READY:
            self._phase = RoomPhase.STALE
        if self._phase is not RoomPhase.IN_USE:
            return False
        self._phase = RoomPhase.LEAVING
        return True

    def grace_over(self, room: MediaRoom) -> None:
        """The grace that began with `released` has run out."""
        if self._room is room:
            self.cut_grace_short()

    def cut_grace_short(self) -> None:
        """A new switch to the SFU begins: participants are on their way out of this room, so it gets another."""
        if self._phase is RoomPhase.LEAVING:
            self._phase = RoomPhase.STALE

    # ---- what happens to the room, its servers and the call

    def lost(self, *, prewarm_at_s: float) -> None:
        """The room is gone, or its server cannot be reached; one in advance is tried again at `prewarm_at_s`."""
        self._clear()
        self._prewarm_at_s = prewarm_at_s

    def server_back(self) -> None:
        """A media server answers again: a room in advance may be tried at once."""
        self._prewarm_at_s = 0.0

    def call_ended(self) -> None:
        """The call is over, and with it the use of any room."""
        self._call_ended = True
        if self._phase is not RoomPhase.NONE:
            self._phase = RoomPhase.STALE

    # ---- what is sent in it

    def producer_opened(self, producer_id: str, producer: RemoteProducer) -> bool:
        """A producer was reported; return whether it was unknown."""
        if producer_id in self._producers:
            return False
        self._producers[producer_id] = producer
        return True

    def producer_closed(self, producer_id: str) -> bool:
        """The end of a producer was reported; return whether it was known."""
        return self._producers.pop(producer_id, None) is not None

    # ---- inside

    def _begin(self, room: MediaRoom, phase: RoomPhase) -> None:
        self._room, self._counts = room, phase is not RoomPhase.PREWARMED
        self._phase = RoomPhase.STALE if self._call_ended else phase
        self._failure, self._prewarm_at_s = None, 0.0
        self._producers = {}

    def _clear(self) -> None:
        self._phase, self._room, self._counts, self._failure = RoomPhase.NONE, None, False, None
        self._producers = {}

    def _require(self, *phases: RoomPhase) -> None:
        if self._phase not in phases:
            raise RuntimeError(f"invariant: a room in state {self._phase} is not one of {', '.join(phases)}")
