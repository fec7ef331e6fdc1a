"""Random calls through everything but sockets: after each step state machine, database, rooms and notifications agree.

Time is moved by hand; the media server is real. The seed is printed and comes from MEESHY_TEST_SEED.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.db.repository import SFU_FIELDS
from meeshy_sfu.edge.event_table import ServerEvent
from meeshy_sfu.edge.wire import Message
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.calls import journal
from meeshy_sfu.gateway.calls.live_call import LiveCall
from meeshy_sfu.gateway.wire.auth import Conversation, User
from meeshy_sfu.gateway.wire.messages import ModeSwitchedRequest
from meeshy_sfu.gateway.wire.schemas import MediaSettings
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.conftest import settings_for
from tests.integration.gateway.stored import stored_call, stored_metrics

STEPS = 1500
NAMES = [f"p{number}" for number in range(6)]


def user(name: str) -> User:
    return User(name, name, False, {"c1": Conversation("c1", "GROUP", "admin")}, float("inf"))


class Notifications:
    """What each socket was sent."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)

    def deliver(self, sids: Iterable[str], event: ServerEvent[Any], payload: Message) -> None:
        for sid in sids:
            self.told[sid].append((event.name, payload.wire()))

    def deliver_to_conversation(
        self, conversation_id: str, event: ServerEvent[Any], payload: Message, *, but: str | None = None
    ) -> int:
        return 0

    def last(self, sid: str, event: str) -> dict[str, Any] | None:
        return next((payload for name, payload in reversed(self.told[sid]) if name == event), None)


class MovedClock(ManualClock):
    """Intervals are moved by hand; the wall clock is the machine's, because tokens are checked against it."""

    def unix_s(self) -> float:
        return time.time()


class Walk:
    """One random sequence."""

    def __init__(self, gateway: Gateway, media: MediaServer, clock: ManualClock, rng: random.Random) -> None:
        self.gateway, self.media, self.clock, self.rng = gateway, media, clock, rng
        self.notifications = Notifications()
        gateway.notices.outbox = self.notifications
        self.call: LiveCall | None = None
        self.sids: dict[str, str] = {}
        self.counter = 0
        self.counts: dict[str, int] = defaultdict(int)

    async def settle(self) -> None:
        """Wait until nothing runs but what always does."""
        quiet = 0
        async with asyncio.timeout(20):
            while quiet < 3:
                await asyncio.sleep(0)
                busy = len(self.gateway.jobs) > len(self.gateway.media.urls) + 1  # and the sweep
                quiet = 0 if busy else quiet + 1
                if busy:
                    await asyncio.sleep(0.001)

    async def step(self) -> None:
        actions = [self.join] * 4 + [self.leave] * 2 + [self.confirm] * 8 + [self.wait] * 2
        actions += [self.vanish, self.rejoin, self.fail, self.room_is_lost] + [self.all_confirm] * 5
        action = self.rng.choice(actions)
        self.counts[action.__name__] += 1
        try:
            await action()
        except MeeshyError as error:
            self.counts[error.code] += 1
        await self.settle()
        await self.check()

    def random_user(self) -> str:
        return self.rng.choice(NAMES)

    def new_sid(self, name: str) -> str:
        self.counter += 1
        self.sids[name] = f"{name}/{self.counter}"
        return self.sids[name]

    async def join(self) -> None:
        name = self.random_user()
        if self.call is None or self.call.ended:
            await self.gateway.joining.initiate(
                user(name), "c1", "video", MediaSettings(), sid=self.new_sid(name)
            )
            self.call = self.gateway.calls.active_in("c1")
            return
        if len(self.call.members) < 5 or self.call.member_of(user(name)):
            await self.gateway.joining.join(user(name), self.call.id, MediaSettings(), sid=self.new_sid(name))

    def member(self) -> tuple[LiveCall, str]:
        if self.call is None or not self.call.members:
            raise MeeshyError("no participant is there")
        return self.call, self.rng.choice([m.user_id for m in self.call.members.values()])

    async def leave(self) -> None:
        call, name = self.member()
        await self.gateway.leaving.leave(user(name), call.id)

    async def confirm(self, *, success: bool = True, name: str | None = None) -> None:
        call, who = self.member()
        target = "sfu" if call.phase.value in ("switching_to_sfu", "sfu") else "p2p"
        request = ModeSwitchedRequest(
            call_id=call.id,
            mode=target,
            epoch=max(0, call.mode.epoch - (0 if name or self.rng.random() < 0.9 else 1)),
            success=success,
            sfu_send_transport_id="transport",
        )
        await self.gateway.confirmations.confirm(user(name or who), call.id, request)

    async def all_confirm(self) -> None:
        call, _ = self.member()
        for member in list(call.members.values()):
            await self.confirm(name=member.user_id)

    async def fail(self) -> None:
        await self.confirm(success=False)

    async def vanish(self) -> None:
        call, name = self.member()
        member = call.require_member(user(name))
        self.gateway.timeouts.socket_gone(call.id, member.id, member.sid or "", clean=self.rng.random() < 0.2)

    async def rejoin(self) -> None:
        call, name = self.member()
        member = call.require_member(user(name))
        await self.gateway.joining.rejoin(user(name), call.id, member.id, sid=self.new_sid(name))

    async def wait(self) -> None:
        self.clock.advance(self.rng.choice([0.1, 1.0, 3.0, 11.0, 40.0]))
        self.gateway.timeouts.sweep()

    async def room_is_lost(self) -> None:
        if self.rng.random() < 0.3 and self.call is not None and self.call.room is not None:
            for room in list(self.media.rooms.rooms):
                room.close("worker died: 0")
            lost = self.call.room
            async with asyncio.timeout(5):
                while self.call.room is lost:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    async def check(self) -> None:
        call = self.call
        if call is None:
            return
        row = await stored_call(self.gateway, call.id)
        if call.ended:
            assert row.ended_at is not None
            assert row.end_reason is not None
            assert all(p.left_at for p in row.participants)
            return
        assert row.mode == call.mode.mode.value
        assert {p.id for p in row.participants if p.left_at is None} == set(call.members)
        assert call.mode.connected == set(call.members)
        metrics = await stored_metrics(self.gateway, call.id)
        changes = [t for t in metrics.mode_transitions if t["success"] and t["from"] != t["to"]]
        assert len(changes) == row.mode_change_count
        if row.mode == "p2p" and call.phase.value == "p2p":
            assert row.sfu_room_id is None
            assert not any(getattr(p, name) for p in row.participants for name in SFU_FIELDS)
        # the row names the room that is in use, not one that is not confirmed yet
        if call.phase.value == "sfu" and call.room is not None and not call.mode.without_path:
            assert row.sfu_room_id == call.room.room_id
        rooms = [room for room in self.media.rooms.rooms if room.call_id == call.id]
        known = call.room
        assert [room.id for room in rooms] == ([] if known is None else [known.room_id])
        assert known is None or call.room_state.is_prewarmed is rooms[0].in_advance
        for member in call.members.values():
            if member.sid is None:
                continue
            ended = self.notifications.last(member.sid, "call:mode-switched")
            begun = self.notifications.last(member.sid, "call:mode-switch")
            if ended is not None:
                assert ended["epoch"] <= call.mode.epoch
                if begun is None or begun["epoch"] <= ended["epoch"]:
                    # nothing was sent since; what was sent last holds
                    assert ended["mode"] == call.mode.mode.value
            if begun is not None and call.phase.value.startswith("switching"):
                assert begun["epoch"] <= call.mode.announced_epoch


@pytest.fixture
async def walk(tmp_path: Path, media: MediaServer) -> AsyncIterator[Walk]:
    seed = int(os.environ.get("MEESHY_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"MEESHY_TEST_SEED={seed}")
    clock = MovedClock()
    settings = settings_for(tmp_path, media_server_urls=[media.url], prewarm=True)
    async with await Gateway.start(settings, clock) as gateway:
        yield Walk(gateway, media, clock, random.Random(seed))


@pytest.mark.slow(reason="1,500 steps, after each of which database and rooms are compared")
@pytest.mark.timeout(180)
async def test_machine_database_rooms_and_notifications_agree_after_every_step(walk: Walk) -> None:
    for _ in range(STEPS):
        await walk.step()
    verdict = journal.check(walk.gateway.journal.recent)
    assert verdict.problems == []
    assert verdict.completed > 10
    assert verdict.rolled_back > 5
    print(dict(walk.counts), verdict)
