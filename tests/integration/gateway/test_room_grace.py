"""A room that a call needs no more: its participants are notified first, then it is destroyed, in every case."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator

import pytest

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.calls.switching import ROOM_GRACE_S
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller
from tests.integration.gateway.test_switch import pair, start_switch, trio
from tests.integration.hearing import eventually


@contextlib.asynccontextmanager
async def writes_blocked(gateway: Gateway) -> AsyncIterator[None]:
    """Another process holds the database's write lock: what the gateway writes meanwhile waits."""
    blocker = sqlite3.connect(gateway.settings.state_dir / "meeshy.db", isolation_level=None)
    while len(gateway.late):
        # a write that has begun needs this event loop, which the next statement keeps for itself
        await gateway.late.written()
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


async def notified_before_the_room_goes(media: MediaServer, callers: tuple[Caller, ...], epoch: int) -> None:
    """Check that all are notified of the end of a transition while its room is still there; then it goes."""
    (room,) = media.rooms.rooms
    for peer in callers:
        await peer.wait("call:mode-switched", holds=lambda told: told["epoch"] == epoch)
    assert media.rooms.rooms == (room,), "the room was destroyed before its participants were notified"
    await asyncio.sleep(ROOM_GRACE_S / 3)
    assert media.rooms.rooms == (room,), "no grace"
    await eventually(lambda: room not in media.rooms.rooms)


async def test_back_on_p2p_the_room_goes_after_its_participants_were_notified(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve = await trio(gateway, caller)
    await eve.leave()
    await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    await ada.confirm(2, "p2p")
    async with writes_blocked(gateway):
        confirming = asyncio.create_task(bob.confirm(2, "p2p"))
        await asyncio.sleep(0.3)
        assert media.rooms.rooms
    await notified_before_the_room_goes(media, (ada, bob), 2)
    await confirming


async def test_after_a_rollback_the_room_goes_after_its_participants_were_notified(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    async with writes_blocked(gateway):
        failing = asyncio.create_task(bob.confirm(1, success=False, error="udp blocked"))
        await asyncio.sleep(0.3)
        assert media.rooms.rooms
    await notified_before_the_room_goes(media, (ada, bob, eve), 1)
    await failing


async def test_a_join_during_the_grace_gets_a_new_room(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve = await trio(gateway, caller)
    await eve.leave()
    await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    (old,) = media.rooms.rooms
    for peer in (ada, bob):
        await peer.confirm(2, "p2p")
    answer = await eve.join(ada.call_id)
    assert answer["mediaServerConfig"]["roomId"] != old.id
    for peer in (ada, bob):
        told = await peer.wait("call:mode-switch", holds=lambda p: p["epoch"] == 3)
        assert told["mediaServerConfig"]["roomId"] == answer["mediaServerConfig"]["roomId"]
    await asyncio.sleep(ROOM_GRACE_S * 1.5)
    assert [room.id for room in media.rooms.rooms] == [answer["mediaServerConfig"]["roomId"]]


async def test_a_call_that_ends_during_the_grace_leaves_no_room(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve = await trio(gateway, caller)
    await eve.leave()
    await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    for peer in (ada, bob):
        await peer.confirm(2, "p2p")
    await ada.ask("call:end", {"callId": ada.call_id})
    await eventually(lambda: not media.rooms.rooms)
    await eventually(lambda: len(gateway.jobs) <= 2)


async def test_room_that_its_switch_did_not_wait_for_is_not_announced_to_the_next(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room is there, but its events are not asked for yet, when its switch is given up and another one begins."""
    ada, bob = await pair(gateway, caller)
    eve, zoe = await caller(gateway, "eve"), await caller(gateway, "zoe")
    call = gateway.calls.live[ada.call_id]
    watch, slow = gateway.media_events.watch, asyncio.Event()

    async def watch_late(call_id: str) -> None:
        await slow.wait()
        await watch(call_id)

    monkeypatch.setattr(gateway.media_events, "watch", watch_late)
    joining = asyncio.create_task(eve.emit("call:join", {"callId": ada.call_id}))
    await eventually(lambda: bool(media.rooms.rooms) and call.room is not None)
    (old,) = media.rooms.rooms
    assert (await eve.request("POST", f"/api/calls/{ada.call_id}/leave")).status == 200
    assert not (await joining)["success"]
    await eventually(lambda: call.phase == "p2p")
    coming = asyncio.create_task(zoe.join(ada.call_id))
    await eventually(lambda: call.phase == "switching_to_sfu")
    slow.set()
    answer = await coming
    for peer in (ada, bob):
        told = await peer.wait("call:mode-switch")
        assert told["mediaServerConfig"]["roomId"] == answer["mediaServerConfig"]["roomId"] != old.id
        await peer.confirm(told["epoch"])
    await zoe.confirm(answer["epoch"])
    assert (await ada.switched(answer["epoch"], "sfu"))["success"]
