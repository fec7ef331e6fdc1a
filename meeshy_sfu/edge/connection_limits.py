"""Who is connected, by address and by what they have shown, and who has to go when there is no room.

Pure: members are whatever the caller calls its connections. Whoever has shown nothing goes before whoever has shown
a good token, and that one before a live socket; among equals it is the oldest of whoever has the most. So a newcomer
always gets in, and nobody keeps others out by holding many.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Shown(IntEnum):
    """What a connection has shown so far."""

    NOTHING = 0
    TOKEN = 1
    """A request with a good token."""
    SOCKET = 2
    """It carries a socket with a good token: somebody's call hangs on it."""


class Groups(Generic[Member]):
    """Members by the group they are of; knows the largest group, and in each who came first, at no cost by size."""

    __slots__ = ("_by_size", "_groups", "size")

    def __init__(self) -> None:
        self.size = 0
        self._groups: dict[str, dict[Member, None]] = {}
        self._by_size: list[dict[str, None]] = [{}]
        """Groups with so many members, those that came to it first in front; the last list is never empty."""

    def add(self, group: str, member: Member) -> None:
        """Take a member up; it must not be here."""
        members = self._groups.setdefault(group, {})
        members[member] = None
        self.size += 1
        self._moved(group, len(members) - 1, len(members))

    def remove(self, group: str, member: Member) -> None:
        """Forget a member; it must be here."""
        members = self._groups[group]
        del members[member]
        self.size -= 1
        self._moved(group, len(members) + 1, len(members))
        if not members:
            del self._groups[group]

    def number(self, group: str) -> int:
        """How many members a group has."""
        return len(self._groups.get(group, ()))

    def first_of_largest(self) -> tuple[str, Member] | None:
        """The largest group and its member that came first; None when there is nobody."""
        if not self.size:
            return None
        group = next(iter(self._by_size[-1]))
        return group, next(iter(self._groups[group]))

    def _moved(self, group: str, before: int, after: int) -> None:
        if before:
            del self._by_size[before][group]
        if after:
            if after == len(self._by_size):
                self._by_size.append({})
            self._by_size[after][group] = None
        while len(self._by_size) > 1 and not self._by_size[-1]:
            self._by_size.pop()


class Scope(Generic[Member]):
    """One limit: of an address, or of all together."""

    __slots__ = ("_limit", "_reserve", "live", "strangers", "with_token")

    def __init__(self, limit: int, reserve: int) -> None:
        self._limit = limit
        self._reserve = reserve
        self.strangers: Groups[Member] = Groups()
        """By address."""
        self.with_token: Groups[Member] = Groups()
        """By owner, as the next."""
        self.live: Groups[Member] = Groups()

    @property
    def size(self) -> int:
        """All of them."""
        return self.strangers.size + self.proven

    @property
    def proven(self) -> int:
        """Those who have shown something."""
        return self.with_token.size + self.live.size

    def of(self, shown: Shown) -> Groups[Member]:
        """Those who have shown this much."""
        return (self.strangers, self.with_token, self.live)[shown]

    @property
    def has_too_many_strangers(self) -> bool:
        """Whether one must go; some are let in however many others there are, as all begin as strangers."""
        return self.strangers.size > max(self._limit - self.proven, self._reserve)

    @property
    def has_too_many_proven(self) -> bool:
        """Whether one of those who have shown something must go."""
        return self.proven > self._limit

    def loser(self, owner: str) -> Member | None:
        """Find who makes room for a live socket of an owner, counted already; None when all have as few as it."""
        found = self.with_token.first_of_largest()
        if found is not None:
            return found[1]
        found = self.live.first_of_largest()
        if found is None or self.live.number(found[0]) <= 1:
            return None
        fewer = self.live.number(owner) < self.live.number(found[0])
        return found[1] if fewer or found[0] == owner else None


@dataclass(slots=True)
class Place:
    """What is known of one member."""

    address: str
    counted: bool
    """False for whom no limit per address holds: trusted proxies and services."""
    shown: Shown = Shown.NOTHING
    owner: str = ""

    @property
    def group(self) -> str:
        """What it is counted by among its like."""
        return self.owner if self.shown else self.address


class Crowd(Generic[Member]):
    """All connections of a service.

    Args:
        limit: How many there may be in all.
        limit_per_address: How many of one address.

    A sixteenth more of each, at least one, is for strangers alone, so that whoever wants to show a token can.
    """

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self._per_address = limit_per_address
        self._all: Scope[Member] = Scope(limit, reserve_of(limit))
        self._addresses: dict[str, Scope[Member]] = {}
        self._places: dict[Member, Place] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._places)

    def __contains__(self, member: object) -> bool:
        """Whether it is here."""
        return member in self._places

    def number(self, shown: Shown) -> int:
        """How many have shown this much."""
        return self._all.of(shown).size

    def enter(self, member: Member, address: str, *, is_proxy: bool = False) -> list[Member]:
        """Let a newcomer in; those it takes the place of are out and have to be closed."""
        place = self._places[member] = Place(address, counted=not is_proxy)
        self._add(member, place)
        # the clients of a proxy are many, and have their limits elsewhere
        closed = self.prove(member, Shown.TOKEN, address) if is_proxy else []
        return [*(closed or []), *self._make_room_for_strangers(place)]

    def prove(
        self, member: Member, shown: Shown, owner: str, *, is_service: bool = False
    ) -> list[Member] | None:
        """Note what a member has shown, and whose it is; those who have to be closed for that are out.

        None when there is no room for one more live socket: the member stays what it was.
        """
        place = self._places.get(member)
        if place is None or place.shown >= shown:
            return []
        before = Place(place.address, place.counted, place.shown, place.owner)
        self._remove(member, place)
        place.shown, place.owner = shown, owner
        place.counted = place.counted and not is_service
        self._add(member, place)
        for scope in self._scopes(place):
            if not scope.has_too_many_proven:
                continue
            loser = scope.loser(owner)
            if loser is None or loser == member:
                self._remove(member, place)
                self._places[member] = before
                self._add(member, before)
                return [] if shown is Shown.TOKEN else None
            # that makes room in the other scope as well
            self.leave(loser)
            return [loser, *self._make_room_for_strangers(place)]
        return self._make_room_for_strangers(place)

    def doubt(self, member: Member) -> None:
        """Take back what a member has shown: its token holds no longer, or its socket has none any more."""
        place = self._places.get(member)
        if place is not None and place.shown and place.counted:
            self._remove(member, place)
            place.shown, place.owner = Shown.NOTHING, ""
            self._add(member, place)

    def leave(self, member: Member) -> None:
        """Forget a member. Idempotent."""
        place = self._places.pop(member, None)
        if place is not None:
            self._remove(member, place)

    def drop_stranger(self) -> Member | None:
        """Take out the stranger that goes first, if there is one: descriptors are short."""
        found = self._all.strangers.first_of_largest()
        if found is None:
            return None
        self.leave(found[1])
        return found[1]

    def _make_room_for_strangers(self, place: Place) -> list[Member]:
        out: list[Member] = []
        for scope in self._scopes(place):
            while scope.has_too_many_strangers:
                found = scope.strangers.first_of_largest()
                if found is None:
                    break
                self.leave(found[1])
                out.append(found[1])
        return out

    def _scopes(self, place: Place) -> tuple[Scope[Member], ...]:
        if not place.counted:
            return (self._all,)
        scope = self._addresses.get(place.address)
        if scope is None:
            scope = Scope(self._per_address, reserve_of(self._per_address))
            self._addresses[place.address] = scope
        return scope, self._all

    def _add(self, member: Member, place: Place) -> None:
        for scope in self._scopes(place):
            scope.of(place.shown).add(place.group, member)

    def _remove(self, member: Member, place: Place) -> None:
        for scope in self._scopes(place):
            scope.of(place.shown).remove(place.group, member)
        if place.counted and not self._addresses[place.address].size:
            del self._addresses[place.address]


def reserve_of(limit: int) -> int:
    """How many strangers are let in beyond a limit that others have used up."""
    return max(1, limit // 16)
