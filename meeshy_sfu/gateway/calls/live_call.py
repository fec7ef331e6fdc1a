"""A call that is not over, as this gateway knows it: who is in it, on which path, in which room.

Holds state and finds things in it. Changed by its own methods only, each named after what happened; what happens is decided by
`mode` and carried out by `calls` and `switching`.
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
    PermissionDeniedError,
)
from meeshy_sfu.gateway.calls.call_mode import CallMode, ConversationType, Phase
from meeshy_sfu.gateway.calls.mode import ModeController
from meeshy_sfu.gateway.calls.room_state import RoomNeed, RoomState

if TYPE_CHECKING:
    from meeshy_sfu.db.models import Participant
    from meeshy_sfu.gateway.calls.decisions import CompleteSwitch, RollBack, StartSwitch
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.media.media_client import MediaRoom
    from meeshy_sfu.gateway.wire.auth import User


REPLACED_MAX = 256
"""So many replaced sockets a call remembers; beyond, the oldest is just not in the call."""


def moment(unix_s: float) -> datetime:
    """Return a time as the database holds it."""
    return datetime.fromtimestamp(unix_s, UTC)


@dataclass(slots=True)
class LiveCall:
    """One call. Membership and mode change under `lock` only, so that they happen one after the other."""

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
    participants: dict[str, Participant] = field(default_factory=dict)
    """The rows of all who are or were in the call, by User.key; in the database now or soon."""
    figures: Figures = field(default_factory=Figures)
    room_state: RoomState = field(default_factory=RoomState)
    """Its room on a media server."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    room_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever creates or destroys the room."""
    room_ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear while a switch to the SFU has begun and its room is not there yet."""
    switch_reason: str = ""
    announced_failure: str | None = None
    """Why the last transition failed, as those without a path were sent; None once one was completed."""
    stored_failure: str | None = None
    """Why the last transition failed that was never announced, as it is stored; None once another was stored."""
    deadline_unix_ms: int | None = None
    """When the running transition is decided without those who are missing, for clients."""
    gone: dict[str, str] = field(default_factory=dict)
    """Who has left or was removed, by participant, and why; their tokens for the media server may still hold."""
    replaced: dict[str, str] = field(default_factory=dict)
    """Sockets that spoke for a member and may not any more, and why."""
    errors: dict[str, str] = field(default_factory=dict)
    """What members said about the running transition, by participant."""
    unreachable: dict[str, str] = field(default_factory=dict)
    """Members who said that the media server cannot be reached, and why."""
    ring_deadline_s: float | None = None
    mode_frozen_until_s: float | None = None
    """After a restart: when the mode is decided again, whoever is back by then."""
    ended: bool = False
    busy: bool = False
    """A sweep is doing what was due."""

    def __post_init__(self) -> None:
        """Begin without a switch."""
        self.room_ready.set()

    @property
    def phase(self) -> Phase:
        """One of the four states."""
        return self.mode.phase

    @property
    def build_mode(self) -> CallMode:
        """The path that a participant who joins now has to build."""
        if not self.mode.needs_room or self.room is None:
            return CallMode.P2P
        announced = self.mode.announced_epoch == self.mode.epoch
        return CallMode.P2P if self.phase is Phase.SWITCHING_TO_SFU and not announced else CallMode.SFU

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
        """Return the member who is this user, or None."""
        return next((member for member in self.members.values() if member.is_user(user)), None)

    def require_member(self, user: User) -> Member:
        """Return the member who is this user.

        Raises:
            NotAParticipantError: They are not in the call.
        """
        member = self.member_of(user)
        if member is None:
            raise NotAParticipantError(f"you are not in call {self.id}; join it first")
        return member

    def require_speaker(self, user: User, sid: str | None) -> Member:
        """Return the member who is this user, if the requesting socket is theirs; without one it is a REST request.

        Raises:
            NotAParticipantError: They are not in the call.
            KickedError: The socket spoke for them, until another one did or they were removed.
            NotInCallError: Another socket speaks for them.
        """
        self.require_not_replaced(sid)
        member = self.require_member(user)
        if sid is not None and member.sid != sid:
            raise NotInCallError(
                f"this socket does not speak for you in call {self.id}; call:rejoin or call:join takes your place"
            )
        return member

    def require_not_replaced(self, sid: str | None) -> None:
        """Check that a socket was not replaced in this call.

        Raises:
            KickedError: It was.
        """
        why = self.replaced.get(sid or "")
        if why is not None:
            raise KickedError(f"{why}; call:rejoin or call:join takes it back")

    def member(self, participant_id: str) -> Member:
        """Return a member by id.

        Raises:
            ParticipantNotFoundError: No member has this id.
        """
        member = self.members.get(participant_id)
        if member is None:
            raise ParticipantNotFoundError(f"participant {participant_id} is not in call {self.id}")
        return member

    def sids(self, *, but: Iterable[str] = ()) -> list[str]:
        """List the sockets of the members, without those of some participants."""
        left_out = set(but)
        return [m.sid for m in self.members.values() if m.sid is not None and m.id not in left_out]

    def peer_of(self, participant_id: str) -> str | None:
        """Return the other participant of two, or None."""
        others = [member_id for member_id in self.members if member_id != participant_id]
        return others[0] if len(others) == 1 else None

    def may_offer(self, participant_id: str) -> bool:
        """Return whether the acknowledgement of a join can ask this one of two participants for an offer.

        So if they have a direct path, in case its media is gone, or if the peer has a socket and was not announced yet.
        Any other two are asked by a transition.
        """
        peer = self.members.get(self.peer_of(participant_id) or "")
        if peer is None:
            return False
        return bool(self.mode.pair) or (peer.sid is not None and not peer.announced)

    def offers(self, participant_id: str) -> bool:
        """Return whether this one of two makes the offer: the one who joined first, else the lower id."""
        peer = self.peer_of(participant_id)
        if peer is None:
            return False
        own, other = self.members[participant_id], self.members[peer]
        return (own.joined_at, own.id) < (other.joined_at, other.id)

    def require_moderator(self, user: User) -> None:
        """Check that a user may act on others of the call.

        Raises:
            PermissionDeniedError: They are neither its initiator nor an admin of its conversation.
        """
        initiator = self.settings.get("initiator") or {}
        is_initiator = user.id == self.initiator_id and user.anonymous is bool(initiator.get("anonymous"))
        if not (is_initiator or user.conversation(self.conversation_id).is_admin):
            raise PermissionDeniedError("only the call's initiator and the conversation's admins may do this")

    def due_s(self, *, grace_s: float) -> float | None:
        """Return when something has to be done at the latest."""
        times = [self.mode.next_deadline(), self.ring_deadline_s, self.mode_frozen_until_s]
        for member in self.members.values():
            times.append(None if member.away_since_s is None else member.away_since_s + grace_s)
            times.append(member.token_renewal_s)
        return min((at for at in times if at is not None), default=None)

    # ---- who is in it

    def joined(self, member: Member) -> None:
        """A participant joined."""
        self.members[member.id] = member

    def rejoined(self, former: Member, member: Member) -> None:
        """A member began anew: at the end, as the youngest, whose peer makes the offer."""
        del self.members[former.id]
        self.members[member.id] = member
        self.unreachable.pop(member.id, None)

    def left(self, member: Member, reason: str) -> None:
        """A member left or was removed."""
        del self.members[member.id]
        self.gone[member.id] = reason
        self.unreachable.pop(member.id, None)

    def replace(self, sid: str, why: str) -> None:
        """A socket does not speak for its member any more."""
        self.replaced[sid] = why
        while len(self.replaced) > REPLACED_MAX:
            del self.replaced[next(iter(self.replaced))]

    def reinstate(self, sid: str) -> None:
        """A socket that was replaced speaks for a member again."""
        self.replaced.pop(sid, None)

    def forget_sfu_ids(self) -> None:
        """Nothing of the call is on a media server any more."""
        for member in self.members.values():
            member.forget_sfu_ids()

    # ---- how it goes

    def rings(self) -> None:
        """Others of the conversation were notified."""
        self.status = "ringing"

    def answered(self, now: datetime) -> None:
        """A second participant joined."""
        self.status = "active"
        self.started_at = self.started_at or now

    def ring_timed_out(self) -> None:
        """The time to answer is over."""
        self.ring_deadline_s = None

    def end(self) -> tuple[Member, ...]:
        """The call is over; return who was in it."""
        self.ended = True
        self.room_state.call_ended()
        self.room_ready.set()
        members = tuple(self.members.values())
        self.members.clear()
        return members

    def row_changed(self, key: str, row: Participant) -> None:
        """The row of a participant, by User.key, is this one from now on."""
        self.participants[key] = row

    def figures_changed(self, figures: Figures) -> None:
        """What is counted of the call is this from now on."""
        self.figures = figures

    def begin_due(self) -> None:
        """What is due is being done; not to be started a second time."""
        self.busy = True

    def end_due(self) -> None:
        """What was due is done."""
        self.busy = False

    # ---- how its mode changes

    def decide_mode_at(self, now_s: float | None) -> None:
        """After a restart: the mode is decided again at that time; None once it was."""
        self.mode_frozen_until_s = now_s

    def switch_started(self, start: StartSwitch, *, deadline_unix_ms: int) -> None:
        """A transition begins; what was said about the one before does not count."""
        self.deadline_unix_ms, self.switch_reason = deadline_unix_ms, start.reason
        self.errors.clear()

    def switch_waits_for_room(self) -> None:
        """The transition cannot be announced before its room is there."""
        self.room_ready.clear()

    def switch_announced(self, start: StartSwitch) -> None:
        """Members are being sent the transition."""
        self.mode.announce(start.epoch)
        if start.target is CallMode.SFU:
            self.room_state.announced()
        self.room_ready.set()

    def switch_completed(self, done: CompleteSwitch, now: datetime) -> None:
        """A transition reached its end."""
        if done.source is not done.target:
            self.last_mode_change = now
        self.announced_failure = self.stored_failure = self.deadline_unix_ms = None

    def switch_rolled_back(self) -> None:
        """A transition failed, or has lost its reason."""
        self.deadline_unix_ms = None

    def waits_for_no_room(self) -> None:
        """Whoever waits for the room of a transition need not any longer."""
        self.room_ready.set()

    def failure_to_store(self, back: RollBack) -> bool:
        """Return whether a roll-back is worth a row: one that was never announced, like the one before, is not.

        With every media server away that may go on for hours, twice a second.
        """
        announced = self.mode.announced_epoch == back.epoch
        if not announced and self.stored_failure == back.reason:
            return False
        self.stored_failure = None if announced else back.reason
        return True

    def failure_to_announce(self, back: RollBack, *, is_repeated_soon: bool) -> bool:
        """Return whether those without a path are sent why: not again for the same reason that is repeated soon."""
        if is_repeated_soon and self.announced_failure == back.reason:
            return False
        self.announced_failure = back.reason
        return True

    # ---- what members report

    def switch_failed_for(self, member: Member, error: str | None) -> bool:
        """A member reported that the running transition failed for them; return whether it is their first report."""
        is_first = member.id not in self.errors
        self.errors[member.id] = error or "failed"
        return is_first

    def sfu_reachable_for(self, member: Member) -> None:
        """A member reported that their prepared SFU leg works."""
        self.unreachable.pop(member.id, None)

    def sfu_unreachable_for(self, member: Member, reason: str) -> bool:
        """A member reported that they cannot reach the media server; return whether that is news."""
        if member.id in self.unreachable:
            return False
        self.unreachable[member.id] = reason
        return True

    def prewarmed(self) -> None:
        """There is a room in advance: what was reported of another one does not count."""
        self.unreachable.clear()
