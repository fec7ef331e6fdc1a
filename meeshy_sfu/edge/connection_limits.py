"""Which connections are open, by address and credential, and which are closed when a limit is reached.

Pure: members are whatever the caller calls its connections. Those without a valid token are closed before those with one,
and these before live sockets; among equals it is the oldest of the address or owner that has the most. So a new connection
is always admitted, and holding many keeps none out.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)


class Credential(IntEnum):
    """What a connection has presented so far."""

    NONE = 0
    TOKEN = 1
    """A request with a valid token."""
    SOCKET = 2
    """It carries a socket with a valid token, and so a call."""


class Groups(Generic[Member]):
    """Members by their group; finds the largest group and its oldest member at a cost that does not grow with their number."""

    __slots__ = ("_by_size", "_groups", "size")

    def __init__(self) -> None:
        self.size = 0
        self._groups: dict[str, dict[Member, None]] = {}
        self._by_size: list[dict[str, None]] = [{}]
        """Groups by their number of members, the first to reach it in front; the last entry is never empty."""

    def add(self, group: str, member: Member) -> None:
        """Add a member; it must not be here."""
        members = self._groups.setdefault(group, {})
        members[member] = None
        self.size += 1
        self._resized(group, len(members) - 1, len(members))

    def remove(self, group: str, member: Member) -> None:
        """Remove a member; it must be here."""
        members = self._groups[group]
        del members[member]
        self.size -= 1
        self._resized(group, len(members) + 1, len(members))
        if not members:
            del self._groups[group]

    def number(self, group: str) -> int:
        """How many members a group has."""
        return len(self._groups.get(group, ()))

    def oldest_of_largest(self) -> tuple[str, Member] | None:
        """The largest group and its oldest member; None when there is none."""
        if not self.size:
            return None
        group = next(iter(self._by_size[-1]))
        return group, next(iter(self._groups[group]))

    def _resized(self, group: str, before: int, after: int) -> None:
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

    __slots__ = ("_limit", "_reserve", "live", "unauthenticated", "with_token")

    def __init__(self, limit: int, reserve: int) -> None:
        self._limit = limit
        self._reserve = reserve
        self.unauthenticated: Groups[Member] = Groups()
        """By address."""
        self.with_token: Groups[Member] = Groups()
        """By owner, as the next."""
        self.live: Groups[Member] = Groups()

    @property
    def size(self) -> int:
        """All of them."""
        return self.unauthenticated.size + self.authenticated

    @property
    def authenticated(self) -> int:
        """How many have a valid token."""
        return self.with_token.size + self.live.size

    def of(self, credential: Credential) -> Groups[Member]:
        """The members with this credential."""
        return (self.unauthenticated, self.with_token, self.live)[credential]

    @property
    def has_too_many_unauthenticated(self) -> bool:
        """Whether one must be closed; some are admitted however many others there are, as all begin unauthenticated."""
        return self.unauthenticated.size > max(self._limit - self.authenticated, self._reserve)

    @property
    def has_too_many_authenticated(self) -> bool:
        """Whether one of those with a valid token must be closed."""
        return self.authenticated > self._limit

    def victim(self, owner: str) -> Member | None:
        """Find the member that makes room for a live socket of an owner, counted already; None when all have as few as it."""
        found = self.with_token.oldest_of_largest()
        if found is not None:
            return found[1]
        found = self.live.oldest_of_largest()
        if found is None or self.live.number(found[0]) <= 1:
            return None
        fewer = self.live.number(owner) < self.live.number(found[0])
        return found[1] if fewer or found[0] == owner else None


@dataclass(slots=True)
class Entry:
    """What is known of one member."""

    address: str
    counted: bool
    """False where the limit per address does not apply: for trusted proxies and services."""
    credential: Credential = Credential.NONE
    owner: str = ""

    @property
    def group(self) -> str:
        """What it is counted by among members of the same credential."""
        return self.owner if self.credential else self.address


class ConnectionLimits(Generic[Member]):
    """All connections of a service.

    Args:
        limit: How many there may be in all.
        limit_per_address: How many of one address.

    A sixteenth more of each, at least one, is for unauthenticated connections alone, so that a token can be presented.
    """

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self._per_address = limit_per_address
        self._all: Scope[Member] = Scope(limit, reserve_of(limit))
        self._addresses: dict[str, Scope[Member]] = {}
        self._entries: dict[Member, Entry] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)

    def __contains__(self, member: object) -> bool:
        """Whether it is here."""
        return member in self._entries

    def count(self, credential: Credential) -> int:
        """How many have this credential."""
        return self._all.of(credential).size

    def admit(self, member: Member, address: str, *, is_proxy: bool = False) -> list[Member]:
        """Admit a new member; return those that have to be closed for it, which are removed already."""
        entry = self._entries[member] = Entry(address, counted=not is_proxy)
        self._add(member, entry)
        # the clients of a proxy are many, and have their limits elsewhere
        closed = self.authenticate(member, Credential.TOKEN, address) if is_proxy else []
        return [*(closed or []), *self._evict_beyond_limit(entry)]

    def authenticate(
        self, member: Member, credential: Credential, owner: str, *, is_service: bool = False
    ) -> list[Member] | None:
        """Note the credential and owner of a member; return those that have to be closed for it, which are removed already.

        None when there is no room for one more live socket: the member stays what it was.
        """
        entry = self._entries.get(member)
        if entry is None or entry.credential >= credential:
            return []
        before = Entry(entry.address, entry.counted, entry.credential, entry.owner)
        self._remove(member, entry)
        entry.credential, entry.owner = credential, owner
        entry.counted = entry.counted and not is_service
        self._add(member, entry)
        for scope in self._scopes(entry):
            if not scope.has_too_many_authenticated:
                continue
            victim = scope.victim(owner)
            if victim is None or victim == member:
                self._remove(member, entry)
                self._entries[member] = before
                self._add(member, before)
                return [] if credential is Credential.TOKEN else None
            # that makes room in the other scope as well
            self.remove(victim)
            return [victim, *self._evict_beyond_limit(entry)]
        return self._evict_beyond_limit(entry)

    def revoke(self, member: Member) -> None:
        """Revoke the credential of a member: its token is no longer valid, or its socket has none any more."""
        entry = self._entries.get(member)
        if entry is not None and entry.credential and entry.counted:
            self._remove(member, entry)
            entry.credential, entry.owner = Credential.NONE, ""
            self._add(member, entry)

    def remove(self, member: Member) -> None:
        """Remove a member. Idempotent."""
        entry = self._entries.pop(member, None)
        if entry is not None:
            self._remove(member, entry)

    def evict_unauthenticated(self) -> Member | None:
        """Remove the unauthenticated connection that goes first, if there is one: descriptors are short."""
        found = self._all.unauthenticated.oldest_of_largest()
        if found is None:
            return None
        self.remove(found[1])
        return found[1]

    def _evict_beyond_limit(self, entry: Entry) -> list[Member]:
        out: list[Member] = []
        for scope in self._scopes(entry):
            while scope.has_too_many_unauthenticated:
                found = scope.unauthenticated.oldest_of_largest()
                if found is None:
                    break
                self.remove(found[1])
                out.append(found[1])
        return out

    def _scopes(self, entry: Entry) -> tuple[Scope[Member], ...]:
        if not entry.counted:
            return (self._all,)
        scope = self._addresses.get(entry.address)
        if scope is None:
            scope = Scope(self._per_address, reserve_of(self._per_address))
            self._addresses[entry.address] = scope
        return scope, self._all

    def _add(self, member: Member, entry: Entry) -> None:
        for scope in self._scopes(entry):
            scope.of(entry.credential).add(entry.group, member)

    def _remove(self, member: Member, entry: Entry) -> None:
        for scope in self._scopes(entry):
            scope.of(entry.credential).remove(entry.group, member)
        if entry.counted and not self._addresses[entry.address].size:
            del self._addresses[entry.address]


def reserve_of(limit: int) -> int:
    """How many unauthenticated connections are admitted beyond a limit that others have used up."""
    return max(1, limit // 16)
