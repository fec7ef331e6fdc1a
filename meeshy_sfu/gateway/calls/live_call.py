"""A call that is not over, as this gateway knows it: who is in it, on which path, in which room.

Holds state and finds things in it; what happens to it is decided by `mode` and carried out by `calls` and `switching`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meeshy_sfu.db.models import Figures
from meeshy_sfu.errors import (
    CallEndedError,
    KickedError,
    NotAParticipantError,
    NotInCallError,
    ParticipantNotFoundError,
)
from meeshy_sfu.gateway.calls.mode import CallMode, ConversationType, ModeController, Phase
from meeshy_sfu.gateway.calls.room_state import RoomNeed, RoomState

if TYPE_CHECKING:
    from meeshy_sfu.db.models import Participant
    from meeshy_sfu.gateway.media.media_client import MediaRoom
    from meeshy_sfu.gateway.wire.auth import User


REPLACED_MAX = 256
"""So many sockets that lost their place a call remembers; beyond, the oldest is just not in the call."""


def moment(unix_s: float) -> datetime:
    """Give a time as the database holds it."""
    return datetime.fromtimestamp(unix_s, UTC)


def identity_key(user_id: str, *, anonymous: bool) -> str:
    """As User.key."""
    return f"{'guest' if anonymous else 'user'}:{user_id}"


@dataclass(slots=True)
class Member:
    """Somebody in a call, with or without a socket just now."""

    id: str
    user_id: str
    anonymous: bool
    username: str
    role: str
    joined_at: datetime
    audio_enabled: bool
    video_enabled: bool
    screen_enabled: bool = False
    sid: str | None = None
    """The socket that speaks for them; None while it is away or has not come yet."""
    away_since_s: float | None = None
    met: bool = False
    """Whether a socket has spoken for them; not yet after a join over REST."""
    announced: bool = False
    """Whether the others have been told that they came."""
    token_renewal_s: float | None = None
    """When their token for the media server has to be renewed."""
    sfu_ids: dict[str, str] = field(default_factory=dict)
    """What they have on the media server, by the names of SFU_FIELDS."""

    @classmethod
    def of_row(cls, row: Participant, username: str, now_s: float) -> Member:
        """Make one of a row; without a socket, as of now."""
        return cls(
            id=row.id,
            user_id=row.identity,
            anonymous=row.user_id is None,
            username=username,
            role=row.role,
            joined_at=row.joined_at,
            audio_enabled=row.audio_enabled,
            video_enabled=row.video_enabled,
            screen_enabled=row.screen_share_enabled,
            away_since_s=now_s,
        )

    def is_user(self, user: User) -> bool:
        """Tell whether this is the person of that token."""
        return self.user_id == user.id and self.anonymous is user.anonymous

    @property
    def key(self) -> str:
        """As User.key."""
        return identity_key(self.user_id, anonymous=self.anonymous)


@dataclass(slots=True)
class LiveCall:
    """One call. Membership and mode change under `lane` only, so that they happen one after the other."""

    id: str
    conversation_id: str
    conversation_type: ConversationType
    kind: str
    initiator_id: str
    initiator_name: str
    settings: dict[str, Any]
    created_at: datetime
    mode: ModeController
    status: str = "initiated"
    started_at: datetime | None = None
    last_mode_change: datetime | None = None
    members: dict[str, Member] = field(default_factory=dict)
    people: dict[str, Participant] = field(default_factory=dict)
    """The row of everyone who is or was in the call, by User.key; in the database now or soon."""
    figures: Figures = field(default_factory=Figures)
    room_state: RoomState = field(default_factory=RoomState)
    """Its room on a media server."""
    lane: asyncio.Lock = field(default_factory=asyncio.Lock)
    media_lane: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever makes or destroys the room."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear while a switch to the SFU has begun and its room is not there yet."""
    switch_reason: str = ""
    failure_told: str | None = None
    """Why the last transition failed, as those without a path were told; None once one was completed."""
    failure_stored: str | None = None
    """Why the last transition failed of which nobody was told, as it is stored; None once another was stored."""
    deadline_unix_ms: int | None = None
    gone: dict[str, str] = field(default_factory=dict)
    """Who has left or was put out, by participant, and why; their tokens for the media server may still hold."""
    replaced: dict[str, str] = field(default_factory=dict)
    """Sockets that spoke for somebody and may not any more, and why."""
    errors: dict[str, str] = field(default_factory=dict)
    """What members said about the running transition, by participant."""
    unreachable: dict[str, str] = field(default_factory=dict)
    """Members who said that the media server cannot be reached, and why."""
    ring_deadline_s: float | None = None
    settle_at_s: float | None = None
    """After a restart: when the mode is looked at, whoever is back by then."""
    ended: bool = False
    busy: bool = False
    """A sweep is doing what was due."""

    def __post_init__(self) -> None:
        """Begin settled."""
        self.settled.set()

    @property
    def phase(self) -> Phase:
        """One of the four states."""
        return self.mode.phase

    @property
    def build_mode(self) -> CallMode:
        """The path that somebody who comes in now has to build."""
        if not self.mode.needs_room or self.room is None:
            return CallMode.P2P
        told = self.mode.announced_epoch == self.mode.epoch
        return CallMode.P2P if self.phase is Phase.SWITCHING_TO_SFU and not told else CallMode.SFU

    @property
    def room(self) -> MediaRoom | None:
        """Its room on a media server, in whatever state; None if there is none."""
        return self.room_state.room

    @property
    def wants_prewarmed_room(self) -> bool:
        """Whether preparing the SFU leg is worthwhile: two participants of a group are connected directly."""
        return (
            not self.ended
            and self.conversation_type is ConversationType.GROUP
            and self.phase is Phase.P2P
            and len(self.members) == len(self.mode.pair) != 0
        )

    def room_need(self, *, prewarm: bool) -> RoomNeed:
        """Return what the call needs of a room now.

        Args:
            prewarm: Whether rooms are created in advance at all.
        """
        if self.ended:
            return RoomNeed.NOTHING
        if self.phase is Phase.SWITCHING_TO_SFU:
            return RoomNeed.ACTIVE
        if self.mode.needs_room:
            return RoomNeed.EXISTING
        return RoomNeed.PREWARMED if prewarm and self.wants_prewarmed_room else RoomNeed.NOTHING

    @property
    def present(self) -> frozenset[str]:
        """The members who have a socket."""
        return frozenset(member.id for member in self.members.values() if member.sid is not None)

    def require_live(self) -> None:
        """Check that it has not ended meanwhile.

        Raises:
            CallEndedError: It has.
        """
        if self.ended:
            raise CallEndedError(f"call {self.id} is over")

    def member_of(self, user: User) -> Member | None:
        """Give the place of a person, or None."""
        return next((member for member in self.members.values() if member.is_user(user)), None)

    def require_member(self, user: User) -> Member:
        """Give the place of a person.

        Raises:
            NotAParticipantError: They have none.
        """
        member = self.member_of(user)
        if member is None:
            raise NotAParticipantError(f"you are not in call {self.id}; join it first")
        return member

    def require_speaker(self, user: User, sid: str | None) -> Member:
        """Give the place of a person by the socket that asks: what is done in a call is done by the one that speaks.

        Without a socket it is a request over REST, which speaks for the person.

        Raises:
            NotAParticipantError: They have none.
            KickedError: The socket had it, until another one took it or they were put out.
            NotInCallError: Another socket has it.
        """
        self.require_not_replaced(sid)
        member = self.require_member(user)
        if sid is not None and member.sid != sid:
            raise NotInCallError(
                f"this socket does not speak for you in call {self.id}; call:rejoin or call:join takes your place"
            )
        return member

    def require_not_replaced(self, sid: str | None) -> None:
        """Check that a socket has not lost its place in this call.

        Raises:
            KickedError: It has.
        """
        why = self.replaced.get(sid or "")
        if why is not None:
            raise KickedError(f"{why}; call:rejoin or call:join takes it back")

    def replace(self, sid: str, why: str) -> None:
        """Take note that a socket has lost its place."""
        self.replaced[sid] = why
        while len(self.replaced) > REPLACED_MAX:
            del self.replaced[next(iter(self.replaced))]

    def member(self, participant_id: str) -> Member:
        """Give a member by id.

        Raises:
            ParticipantNotFoundError: Nobody of this id is in the call.
        """
        member = self.members.get(participant_id)
        if member is None:
            raise ParticipantNotFoundError(f"participant {participant_id} is not in call {self.id}")
        return member

    def sids(self, *, but: Iterable[str] = ()) -> list[str]:
        """Give the sockets of the members, without those of some participants."""
        left_out = set(but)
        return [m.sid for m in self.members.values() if m.sid is not None and m.id not in left_out]

    def peer_of(self, participant_id: str) -> str | None:
        """Give the other one of two, or None."""
        others = [member_id for member_id in self.members if member_id != participant_id]
        return others[0] if len(others) == 1 else None

    def may_offer(self, participant_id: str) -> bool:
        """Whether one of two who comes in can be asked for an offer by the answer.

        So if they have a direct path, in case its media is gone, or if the other one is there and not announced yet.
        Any other two are asked by a transition.
        """
        peer = self.members.get(self.peer_of(participant_id) or "")
        if peer is None:
            return False
        return bool(self.mode.pair) or (peer.sid is not None and not peer.announced)

    def offers(self, participant_id: str) -> bool:
        """Tell whether this one of two makes the offer: the one who has been here longer, else the lower id."""
        peer = self.peer_of(participant_id)
        if peer is None:
            return False
        own, other = self.members[participant_id], self.members[peer]
        return (own.joined_at, own.id) < (other.joined_at, other.id)

    def due_s(self, *, grace_s: float) -> float | None:
        """When something has to be done at the latest."""
        times = [self.mode.next_deadline(), self.ring_deadline_s, self.settle_at_s]
        for member in self.members.values():
            times.append(None if member.away_since_s is None else member.away_since_s + grace_s)
            times.append(member.token_renewal_s)
        return min((at for at in times if at is not None), default=None)
