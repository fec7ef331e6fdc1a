"""A registry over the stand-in core, and a listener that writes down what it is told."""

import pytest

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.media.worker import Worker
from meeshy_sfu.rooms.limits import RoomLimits
from meeshy_sfu.rooms.registry import RoomRegistry
from tests.unit.rooms.notes import Notes


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def registry(worker: Worker, clock: ManualClock, notes: Notes) -> RoomRegistry:
    limits = RoomLimits(
        rooms=2,
        participants_per_room=3,
        transports_per_room=6,
        producers_per_room=4,
        consumers_per_participant=5,
    )
    return RoomRegistry(worker, limits=limits, clock=clock, listener=notes)
