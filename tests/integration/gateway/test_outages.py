"""A database without space, or locked: reported as such by REST and by events, and everything works once it is back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from sqlalchemy import event

from meeshy_sfu.db.repository import Patience
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.stored import stored_call, stored_metrics
from tests.integration.gateway.test_room_grace import writes_blocked
from tests.integration.gateway.test_switch import pair, start_switch
from tests.integration.hearing import eventually

CONVERSATIONS = [Conversation(f"c{number}", "GROUP") for number in range(60)]
BEGIN = {"conversationId": "c7", "type": "video"}
UNLIMITED_PAGES = 2**30


@pytest.fixture
def patience() -> Patience:
    """The usual one, which these tests are about."""
    return Patience()


def set_on_each_use(gateway: Gateway, pragma: str, value: Callable[[], int]) -> None:
    """Have the gateway's connections set this before every transaction."""

    def checkout(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {pragma} = {value()}")
        cursor.close()

    event.listen(gateway.repository._engine.sync_engine, "checkout", checkout)


@asynccontextmanager
async def no_space(gateway: Gateway) -> AsyncIterator[None]:
    """The file may not grow: what SQLite says then is what it says on a full disk."""
    pages = 1
    set_on_each_use(gateway, "max_page_count", lambda: pages)
    try:
        yield
    finally:
        pages = UNLIMITED_PAGES


@asynccontextmanager
async def locked(gateway: Gateway, *, busy_ms: int = 200) -> AsyncIterator[None]:
    """Another process holds the write lock for longer than the gateway waits."""
    set_on_each_use(gateway, "busy_timeout", lambda: busy_ms)
    async with writes_blocked(gateway):
        yield


async def begin_until_refused(peer: Caller) -> tuple[str, str]:
    """Begin calls until the database takes no more; returns code and conversation of the first refused."""
    for conversation in CONVERSATIONS[:-1]:
        body = {"conversationId": conversation.id, "type": "video"}
        answer = await peer.request("POST", "/api/calls", body)
        if answer.status != 201:
            assert answer.status == 503, answer
            return answer.code, conversation.id
    raise AssertionError("the database takes any number of calls")


@pytest.mark.parametrize("trouble", [no_space, locked])
async def test_what_cannot_be_stored_is_refused_as_such_and_works_later(
    gateway: Gateway, caller: MakeCaller, trouble: object
) -> None:
    assert callable(trouble)
    ada = await caller(gateway, "ada", conversations=CONVERSATIONS)
    last = CONVERSATIONS[-1].id
    async with trouble(gateway):
        code, refused = await begin_until_refused(ada)
        assert code == "DATABASE_UNAVAILABLE"
        payload = {"conversationId": last, "type": "video"}
        assert await ada.code("call:initiate", payload) == "DATABASE_UNAVAILABLE"
        told = await ada.wait("call:error")
        assert (told["event"], told["code"]) == ("call:initiate", "DATABASE_UNAVAILABLE")
        assert "SQL" not in told["message"]
        assert "INSERT" not in str(told)
    for conversation in (refused, last):
        answer = await ada.request("POST", "/api/calls", {"conversationId": conversation, "type": "video"})
        assert answer.status == 201, answer
        call = gateway.calls.live[answer.body["data"]["callId"]]
        assert len(call.members) == 1


async def test_what_happens_in_a_call_waits_for_no_write_and_reaches_the_rows_afterwards(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    zoe = await caller(gateway, "zoe")
    async with locked(gateway):
        began_s = time.monotonic()
        assert (await eve.join(ada.call_id))["phase"] == "switching_to_sfu"
        await zoe.join(ada.call_id)
        await bob.ask("call:toggle-video", {"callId": ada.call_id, "enabled": False})
        await bob.vanish()
        await bob.reconnect()
        await bob.rejoin()
        await zoe.leave()
        await ada.leave()
        body = {"rtt": 40.0}
        assert (await eve.request("POST", f"/api/calls/{ada.call_id}/quality-metrics", body)).status == 200
        assert time.monotonic() - began_s < 8
        assert gateway.late.waits(ada.call_id)
    row = await stored_call(gateway, ada.call_id)
    assert row.status == "active"
    participants = {one.identity: one for one in row.participants}
    assert {name for name, one in participants.items() if one.left_at is None} == {"bob", "eve"}
    assert {one.status for one in participants.values() if one.left_at} == {"disconnected"}
    assert (participants["bob"].id, participants["bob"].video_enabled, participants["eve"].id) == (
        bob.id,
        False,
        eve.id,
    )
    metrics = await stored_metrics(gateway, ada.call_id)
    assert (metrics.peak_participants, metrics.total_participants) == (4, 4)
    assert (metrics.reconnections, metrics.avg_rtt) == (1, 40.0)


async def test_a_participant_that_left_during_an_outage_does_not_come_back_with_a_restart(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    first = await start_gateway()
    ada, bob, eve, _ = await start_switch(first, caller)
    async with locked(first):
        await eve.leave()
        await ada.ask("call:toggle-audio", {"callId": ada.call_id, "enabled": False})
    await first.close()
    second = await start_gateway()
    members = second.calls.live[ada.call_id].members
    assert set(members) == {ada.id, bob.id}
    assert members[ada.id].audio_enabled is False
    await ada.reconnect(second.url)
    await ada.rejoin()
    again = await caller(second, "eve")
    assert (await again.join(ada.call_id))["participantId"] == eve.id


async def test_a_call_whose_end_could_not_be_stored_is_over_in_the_database_later(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    async with locked(gateway):
        await ada.ask("call:end", {"callId": ada.call_id})
        assert ada.call_id not in gateway.calls.live
        assert (await bob.wait("call:ended"))["reason"] == "normal"
        path = f"/api/calls/{ada.call_id}"
        shown = (await bob.request("GET", path)).body["data"]
        assert (shown["status"], shown["endReason"]) == ("ended", "normal")
        listed = (await bob.request("GET", "/api/conversations/c1/calls")).body["data"]["calls"]
        assert [one["status"] for one in listed] == ["ended"]
        assert (await bob.emit("call:join", {"callId": ada.call_id}))["error"]["code"] == "CALL_ENDED"
    row = await stored_call(gateway, ada.call_id)
    assert (row.status, row.end_reason, row.ended_by) == ("ended", "normal", "ada")


async def test_a_call_whose_initiator_could_not_be_stored_does_not_keep_its_conversation(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada = await caller(gateway, "ada")
    database = sqlite3.connect(gateway.settings.state_dir / "meeshy.db")
    await gateway.late.written()
    database.execute("ALTER TABLE call_participants RENAME TO elsewhere")
    code = await ada.code("call:initiate", {"conversationId": "c1", "type": "video"})
    assert code == "DATABASE_UNAVAILABLE"
    assert not gateway.calls.live
    await gateway.late.written()
    database.execute("ALTER TABLE elsewhere RENAME TO call_participants")
    database.close()
    await ada.initiate()


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_change_of_mode_that_could_not_be_stored_holds_after_a_restart(
    start_gateway: StartGateway,
    media: MediaServer,
    caller: MakeCaller,
    caplog: pytest.LogCaptureFixture,
    at_once: bool,
) -> None:
    caplog.set_level("INFO")
    first = await start_gateway()
    ada, bob, eve, answer = await start_switch(first, caller)
    told = await ada.wait("call:mode-switch")
    participants = ((ada, told), (bob, await bob.wait("call:mode-switch")), (eve, answer))
    ids = [await peer.go_to_sfu(access) for peer, access in participants]
    async with locked(first):
        for (peer, _), known in zip(participants, ids, strict=True):
            await peer.confirm(told["epoch"], **known)
        assert (await ada.switched(told["epoch"], "sfu"))["success"]
        await eventually(lambda: at_once or first.late.failing)
    await eventually(lambda: at_once or "everything is in the database now" in caplog.text)
    (room,) = media.rooms.rooms
    await first.close()
    second = await start_gateway()
    row = await stored_call(second, ada.call_id)
    assert (row.mode, row.mode_change_count) == ("sfu", 1)
    await ada.reconnect(second.url)
    back = await ada.rejoin()
    assert (back["mode"], back["phase"]) == ("sfu", "sfu")
    assert back["mediaServerConfig"]["roomId"] == room.id
    assert media.rooms.rooms == (room,)


async def test_changes_of_mode_that_could_not_be_stored_are_stored_in_their_order(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, eve, answer = await start_switch(gateway, caller)
    async with locked(gateway):
        for peer in (ada, bob, eve):
            await peer.confirm(answer["epoch"])
        await ada.switched(answer["epoch"], "sfu")
        await eve.leave()
        told = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
        await ada.confirm(told["epoch"], "p2p")
    await bob.confirm(told["epoch"], "p2p")
    await ada.switched(told["epoch"], "p2p")
    metrics = await stored_metrics(gateway, ada.call_id)
    assert [one["to"] for one in metrics.mode_transitions] == ["sfu", "p2p"]
    row = await stored_call(gateway, ada.call_id)
    assert row.mode == "p2p"


async def test_a_locked_database_stalls_no_decision_about_media(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller, http: aiohttp.ClientSession
) -> None:
    gateway = await start_gateway(switch_deadline_s=5)
    ada, bob, eve, answer = await start_switch(gateway, caller)
    async with locked(gateway, busy_ms=60_000):
        began_s = time.monotonic()
        for peer in (ada, bob, eve):
            await peer.confirm(answer["epoch"])
        assert (await ada.switched(answer["epoch"], "sfu"))["success"]
        assert time.monotonic() - began_s < 5
        for path in ("health", "ready"):
            began_s = time.monotonic()
            async with http.get(f"{gateway.url}/{path}") as told:
                body = await told.json()
            assert (told.status, body["status"]) == (503, "failing")
            assert time.monotonic() - began_s < 2
        assert await ada.code("call:initiate", {"conversationId": "c1", "type": "video"}) == "ALREADY_IN_CALL"
        zoe = await caller(gateway, "zoe", conversations=CONVERSATIONS)
        began_s = time.monotonic()
        assert await zoe.code("call:initiate", BEGIN) == "DATABASE_UNAVAILABLE"
        assert time.monotonic() - began_s < 4
        assert all(peer.socket.connected for peer in (ada, bob, eve, zoe))
    row = await stored_call(gateway, ada.call_id)
    assert (row.mode, row.mode_change_count) == ("sfu", 1)
    async with http.get(f"{gateway.url}/health") as told:
        assert told.status == 200
    # what was refused has not come to be
    assert (await zoe.request("GET", f"/api/conversations/{BEGIN['conversationId']}/calls")).data[
        "total"
    ] == 0
    await zoe.initiate(str(BEGIN["conversationId"]))
