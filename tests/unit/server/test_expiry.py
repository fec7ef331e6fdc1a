"""Participants whose tokens ran out leave after the grace, unless a newer token came in time."""

from __future__ import annotations

import pytest

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.rooms.participant import ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from meeshy_sfu.server.auth import Claims
from meeshy_sfu.server.expiry import Expiry
from tests.unit.rooms.conftest import notes, registry  # noqa: F401
from tests.unit.rooms.notes import Notes

CALL = CallId("call-1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(unix_s=1000.0)


@pytest.fixture
def expiry(registry: RoomRegistry, clock: ManualClock) -> Expiry:  # noqa: F811
    return Expiry(registry, clock, grace_s=30.0, empty_room_s=300.0)


@pytest.fixture
async def room(registry: RoomRegistry) -> Room:  # noqa: F811
    made = await registry.create(CALL)
    made.join(ParticipantId("alice"))
    made.join(ParticipantId("bob"))
    return made


def claims(*, until_s: float, participant: str | None = "alice", role: str = "participant") -> Claims:
    return Claims("user", role, CALL if participant else None, participant, 0.0, until_s)


async def test_one_is_out_when_the_grace_is_over(
    expiry: Expiry,
    clock: ManualClock,
    room: Room,
    notes: Notes,  # noqa: F811
) -> None:
    expiry.note(claims(until_s=1010.0), CALL)
    clock.advance(39.9)
    expiry.sweep()
    assert set(room.participants) == {"alice", "bob"}
    clock.advance(0.1)
    expiry.sweep()
    assert set(room.participants) == {"bob"}
    assert len(expiry) == 0


async def test_a_newer_token_keeps_one_in(expiry: Expiry, clock: ManualClock, room: Room) -> None:
    expiry.note(claims(until_s=1010.0), CALL)
    expiry.note(claims(until_s=2000.0), CALL)
    expiry.note(claims(until_s=1005.0), CALL)
    clock.advance(500.0)
    expiry.sweep()
    assert "alice" in room.participants


async def test_services_never_put_anybody_out(expiry: Expiry, clock: ManualClock, room: Room) -> None:
    expiry.note(claims(until_s=1001.0, participant=None, role="service"), CALL)
    expiry.note(claims(until_s=1001.0, role="service"), CALL)
    clock.advance(500.0)
    expiry.sweep()
    assert set(room.participants) == {"alice", "bob"}


async def test_who_left_already_is_forgotten_quietly(expiry: Expiry, clock: ManualClock, room: Room) -> None:
    expiry.note(claims(until_s=1001.0), CALL)
    room.leave(ParticipantId("alice"))
    clock.advance(100.0)
    expiry.sweep()
    assert len(expiry) == 0


def test_a_socket_is_over_after_the_grace(expiry: Expiry, clock: ManualClock) -> None:
    token = claims(until_s=1010.0)
    clock.advance(39.0)
    assert not expiry.is_over(token)
    clock.advance(1.0)
    assert expiry.is_over(token)


def test_a_newer_token_used_elsewhere_keeps_the_socket(expiry: Expiry, clock: ManualClock) -> None:
    expiry.note(claims(until_s=5000.0), CALL)
    clock.advance(1000.0)
    assert not expiry.is_over(claims(until_s=1010.0))
    assert expiry.is_over(claims(until_s=1010.0, participant="bob"))


async def test_a_room_nobody_enters_is_closed(
    expiry: Expiry,
    clock: ManualClock,
    registry: RoomRegistry,  # noqa: F811
) -> None:
    await registry.create(CALL)
    clock.advance(299.0)
    expiry.sweep()
    assert registry.rooms
    clock.advance(1.0)
    expiry.sweep()
    assert not registry.rooms
