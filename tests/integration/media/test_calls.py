"""Calls over real workers: media from everyone to everyone, and what happens when something breaks."""

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.errors import InvalidStateError
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.rooms.limits import RoomLimits
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.participant import Participant
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from tests.integration.media.bots import Bots, open_descriptors, until

AUDIO, VIDEO = 0, 1


class Heard(RoomListener):
    def __init__(self) -> None:
        self.closed: list[tuple[CallId, str]] = []
        self.left: list[str] = []
        self.speakers: list[Participant | None] = []
        self.loudest: list[Participant] = []
        self.scores: set[int] = set()

    def room_closed(self, room: Room, reason: str) -> None:
        self.closed.append((room.call_id, reason))

    def participant_left(self, room: Room, participant: Participant, reason: str) -> None:
        self.left.append(reason)

    def active_speaker(self, room: Room, participant: Participant | None, producer: Producer | None) -> None:
        self.speakers.append(participant)

    def volumes(self, room: Room, volumes: Sequence[tuple[Participant, Producer, int]]) -> None:
        self.loudest += [volumes[0][0]] if volumes else []

    def producer_score(self, room: Room, participant: Participant, producer: Producer) -> None:
        self.scores |= {score.score for score in producer.scores}


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def registry(pool: WorkerPool, heard: Heard) -> RoomRegistry:
    return RoomRegistry(pool, limits=RoomLimits(), clock=SystemClock(), listener=heard)


async def test_four_people_see_and_hear_each_other(registry: RoomRegistry, bots: Bots, heard: Heard) -> None:
    room = await registry.create(CallId("four"))
    people = await bots.mesh(room, 4)
    await until(
        lambda: bots.flowing(kind=VIDEO, frames=30) == 12 and bots.flowing(kind=AUDIO, frames=50) == 12
    )
    rows = bots.rows()
    assert int(np.sum(rows["foreign"])) == 0
    assert int(np.sum(rows["lost_after_repair"])) == 0
    assert people[0].send.dtls_state == "connected"
    assert people[0].send.ice_state == "completed"
    assert people[0].send.srtp_profile in ("AEAD_AES_256_GCM", "AEAD_AES_128_GCM")
    assert people[0].send.selected is not None
    await until(lambda: bool(heard.speakers and heard.loudest))
    counters = await next(iter(people[0].participant.producers.values())).stats()
    assert counters


async def test_late_joiners_get_a_picture_at_once(registry: RoomRegistry, bots: Bots) -> None:
    room = await registry.create(CallId("late"))
    people = await bots.mesh(room, 2)
    await until(lambda: bots.flowing(kind=VIDEO, frames=20) == 2)
    late = await bots.join(room, "late")
    await bots.listen(late, people)
    await until(lambda: bots.flowing(late, kind=VIDEO, frames=1) == 2, deadline_s=3)


async def test_a_paused_track_stands_still_and_flows_on(registry: RoomRegistry, bots: Bots) -> None:
    room = await registry.create(CallId("pause"))
    people = await bots.mesh(room, 2)
    await until(lambda: bots.flowing(kind=VIDEO, frames=10) == 2)
    (video,) = [item for item in people[0].participant.producers.values() if item.kind == "video"]
    await video.pause()
    await asyncio.sleep(0.2)
    before = int(bots.rows(people[1])["frames"][bots.rows(people[1])["kind"] == VIDEO][0])
    await asyncio.sleep(0.5)
    after = int(bots.rows(people[1])["frames"][bots.rows(people[1])["kind"] == VIDEO][0])
    assert after - before <= 1
    await video.resume()
    await until(lambda: bots.flowing(people[1], kind=VIDEO, frames=after + 10) == 1)
    assert int(bots.rows(people[1])["lost_after_repair"].sum()) == 0


async def test_ice_can_be_restarted_in_mid_call(registry: RoomRegistry, bots: Bots) -> None:
    room = await registry.create(CallId("restart"))
    people = await bots.mesh(room, 2)
    await until(lambda: bots.flowing(kind=VIDEO, frames=10) == 2)
    former = people[0].send.ice_parameters
    assert await people[0].send.restart_ice() != former
    frames = int(bots.rows(people[1])["frames"].max())
    await until(lambda: bots.flowing(people[1], kind=AUDIO, frames=frames + 50) == 1)


async def test_a_worker_that_dies_takes_its_own_calls_only(
    registry: RoomRegistry, pool: WorkerPool, bots: Bots, heard: Heard
) -> None:
    doomed = await registry.create(CallId("doomed"))
    spared = await registry.create(CallId("spared"))
    assert doomed.router.worker_index != spared.router.worker_index
    await bots.mesh(doomed, 2, "doomed")
    people = await bots.mesh(spared, 2, "spared")
    await until(lambda: bots.flowing(kind=VIDEO, frames=10) == 4)
    port = doomed.router.worker.port
    await pool.panic(doomed.router.worker_index)
    await until(lambda: bool(heard.closed))
    assert heard.closed == [(CallId("doomed"), "worker died")]
    assert pool.deaths == 1
    again = await registry.create(CallId("doomed"))
    await until(lambda: pool.healthy)
    assert port != 0
    assert sorted(worker.index for worker in pool.workers) == [0, 1]
    frames = int(bots.rows(*people)["frames"].max())
    await until(lambda: bots.flowing(*people, kind=VIDEO, frames=frames + 20) == 2)
    newcomers = await bots.mesh(again, 2, "again")
    await until(lambda: bots.flowing(*newcomers, kind=VIDEO, frames=10) == 2)
    assert int(bots.rows(*people)["lost_after_repair"].sum()) == 0


async def test_a_transport_that_panics_takes_itself_only(registry: RoomRegistry, bots: Bots) -> None:
    room = await registry.create(CallId("panic"))
    people = await bots.mesh(room, 3)
    await until(lambda: bots.flowing(kind=VIDEO, frames=10) == 6)
    await people[0].send.panic()
    await until(lambda: people[0].send.is_closed)
    assert people[0].send.failure is not None
    frames = int(bots.rows(people[2])["frames"].max())
    await until(lambda: bots.flowing(people[2], kind=VIDEO, frames=frames + 20) == 1)
    assert room.producer_count == 4


async def test_a_pool_without_permission_cannot_be_broken(pool: WorkerPool) -> None:
    worker = pool.workers[0]
    router = await worker.create_router(())
    router.close()
    assert worker.alive


async def test_somebody_who_vanishes_leaves_the_room_with_a_goodbye(
    registry: RoomRegistry, bots: Bots, heard: Heard
) -> None:
    room = await registry.create(CallId("vanish"))
    people = await bots.mesh(room, 2)
    await until(lambda: bots.flowing(kind=VIDEO, frames=5) == 2)
    bots.pool.close_bot(people[0].bot)
    await until(lambda: len(room.participants) == 1)
    assert heard.left[0].startswith("connection lost")


@pytest.mark.timeout(120)
async def test_a_thousand_joins_and_leaves_leave_nothing_behind(
    registry: RoomRegistry, pool: WorkerPool, clip: Path
) -> None:
    room = await registry.create(CallId("churn"))
    worker = room.router.worker
    staying = Bots(clip)
    passing = Bots(clip)
    people = await staying.mesh(room, 2, "staying")
    await until(lambda: staying.flowing(kind=VIDEO, frames=5) == 2)

    async def measure() -> tuple[int, int, int, int, int, int]:
        stats = await worker.fetch_stats()
        return (
            stats.transports,
            stats.producers,
            stats.consumers,
            stats.rings_bytes,
            len(asyncio.all_tasks()),
            open_descriptors(),
        )

    before = await measure()
    flowed = 1
    for number in range(1000):
        person = await passing.join(room, f"passing-{number}")
        if number % 20 == 0:
            await passing.speak(person)
            for other in people:
                await staying.listen(other, [*people, person])
            await passing.listen(person, people)
        if number % 100 == 0:
            await until(lambda: passing.flowing(person, kind=VIDEO, frames=5) == 2)  # noqa: B023
            await until(lambda: staying.flowing(*people, kind=VIDEO, frames=5) == 2 + 2 * flowed)  # noqa: B023
            flowed += 1
        passing.leave(person)
    passing.stop()
    gc.collect()
    await until(lambda: room.transport_count == 4)
    async with asyncio.timeout(10):
        while (after := await measure())[:5] != before[:5] or after[5] > before[5]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    staying.stop()


async def test_a_closed_pool_has_no_worker_left(pool: WorkerPool) -> None:
    router = await pool.create_router(())
    await pool.close()
    await pool.close()
    assert router.is_closed
    assert not pool.workers
    with pytest.raises(InvalidStateError):
        await router.create_webrtc_transport()
