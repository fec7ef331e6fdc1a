"""What is remembered of who left."""

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.rooms.departures import Departure, Departures
from meeshy_sfu.rooms.participant import ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId

ALICE, BOB = ParticipantId("alice"), ParticipantId("bob")
CALL = CallId("c1")


def test_the_newest_departures_are_kept_and_no_more() -> None:
    departures = Departures(limit=2)
    for number in range(5):
        departures.note("c1", f"p{number}", Departure(float(number), "left"))
    assert len(departures) == 2
    assert departures.find("c1", "p2") is None
    assert departures.find("c1", "p4") == Departure(4.0, "left")


def test_who_leaves_again_is_the_newest() -> None:
    departures = Departures(limit=2)
    for name in ("alice", "bob", "alice", "eve"):
        departures.note("c1", name, Departure(1.0, "left"))
    assert departures.find("c1", "bob") is None
    assert departures.find("c1", "alice")


async def test_a_call_remembers_who_left_and_why_also_when_its_room_is_gone(
    registry: RoomRegistry, clock: ManualClock
) -> None:
    room = await registry.create(CALL)
    for name in (ALICE, BOB):
        room.join(name)
    left_at_s = clock.unix_s()
    room.leave(ALICE, "removed")
    clock.advance(5.0)
    room.close("closed")
    assert registry.departures.find(CALL, ALICE) == Departure(left_at_s, "removed")
    assert registry.departures.find(CALL, BOB) == Departure(left_at_s + 5.0, "closed")


async def test_who_is_in_the_call_again_has_not_left(registry: RoomRegistry) -> None:
    room = await registry.create(CALL)
    room.join(BOB)
    room.join(ALICE)
    room.leave(ALICE)
    room.join(ALICE)
    assert registry.departures.find(CALL, ALICE) is None
    assert registry.departures.find(CALL, BOB) is None
