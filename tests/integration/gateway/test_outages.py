"""A database without space, or locked: told as such, by REST and by events, and all is well once it serves again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.auth import Conversation
from meeshy_sfu.gateway.jobs import Jobs
from meeshy_sfu.gateway.late_writes import RETRY_MIN_S, LateWrites
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.people import Caller
from tests.integration.gateway.test_room_grace import writes_blocked
from tests.integration.gateway.test_switch import pair, start_switch
from tests.integration.hearing import eventually

CONVERSATIONS = [Conversation(f"c{number}", "GROUP") for number in range(60)]
UNLIMITED_PAGES = 2**30


def set_on_each_use(gateway: Gateway, pragma: str, value: Callable[[], int]) -> None:
    """Have the gateway's connections set this before every transaction."""

    def checkout(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {pragma} = {value()}")
        cursor.close()

    event.listen(gateway.repository._engine.sync_engine, "checkout", checkout)


@contextmanager
def no_space(gateway: Gateway) -> Iterator[None]:
    """The file may not grow: what SQLite says then is what it says on a full disk."""
    pages = 1
    set_on_each_use(gateway, "max_page_count", lambda: pages)
    try:
        yield
    finally:
        pages = UNLIMITED_PAGES


@contextmanager
def locked(gateway: Gateway) -> Iterator[None]:
    """Another process holds the write lock for longer than the gateway waits."""
    set_on_each_use(gateway, "busy_timeout", lambda: 200)
    with writes_blocked(gateway):
        yield


async def begin_until_refused(person: Caller) -> tuple[str, str]:
    """Begin calls until the database takes no more; gives code and conversation of the first refused."""
    for conversation in CONVERSATIONS[:-1]:
        body = {"conversationId": conversation.id, "type": "video"}
        answer = await person.request("POST", "/api/calls", body)
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
    with trouble(gateway):
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


async def test_a_join_that_cannot_be_stored_leaves_the_call_as_it_was(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    with locked(gateway):
        assert await eve.code("call:join", {"callId": ada.call_id}) == "DATABASE_UNAVAILABLE"
        path = f"/api/calls/{ada.call_id}"
        answer = await eve.request("POST", f"{path}/participants", {})
        assert (answer.status, answer.code) == (503, "DATABASE_UNAVAILABLE")
        assert (await ada.signal(bob))["success"]
        assert len(gateway.calls.live[ada.call_id].members) == 2
    assert (await eve.join(ada.call_id))["phase"] == "switching_to_sfu"


async def test_a_call_whose_end_could_not_be_stored_is_over_in_the_database_later(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    with locked(gateway):
        await ada.ask("call:end", {"callId": ada.call_id})
        assert ada.call_id not in gateway.calls.live
        assert (await bob.wait("call:ended"))["reason"] == "normal"
    async with asyncio.timeout(10):
        while True:
            row = await gateway.repository.get_call(ada.call_id)
            assert row is not None
            if row.ended_at is not None:
                break
            await asyncio.sleep(0.05)
    assert (row.status, row.end_reason, row.ended_by) == ("ended", "normal", "ada")


async def test_a_call_whose_initiator_could_not_be_stored_does_not_keep_its_conversation(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada = await caller(gateway, "ada")
    database = sqlite3.connect(gateway.settings.state_dir / "meeshy.db")
    database.execute("ALTER TABLE call_participants RENAME TO elsewhere")
    code = await ada.code("call:initiate", {"conversationId": "c1", "type": "video"})
    assert code == "DATABASE_UNAVAILABLE"
    assert not gateway.calls.live
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
    people = ((ada, told), (bob, await bob.wait("call:mode-switch")), (eve, answer))
    ids = [await person.go_to_sfu(access) for person, access in people]
    with locked(first):
        for (person, _), known in zip(people, ids, strict=True):
            await person.confirm(told["epoch"], **known)
        assert (await ada.switched(told["epoch"], "sfu"))["success"]
    await eventually(lambda: at_once or "is in the database now" in caplog.text)
    (room,) = media.rooms.rooms
    await first.close()
    second = await start_gateway()
    row = await second.repository.get_call(ada.call_id)
    assert row is not None
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
    with locked(gateway):
        for person in (ada, bob, eve):
            await person.confirm(answer["epoch"])
        await ada.switched(answer["epoch"], "sfu")
        await eve.leave()
        told = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
        await ada.confirm(told["epoch"], "p2p")
    await bob.confirm(told["epoch"], "p2p")
    await ada.switched(told["epoch"], "p2p")
    async with asyncio.timeout(10):
        while True:
            metrics = await gateway.repository.get_metrics(ada.call_id)
            assert metrics is not None
            if len(metrics.mode_transitions) == 2:
                break
            await asyncio.sleep(0.05)
    assert [one["to"] for one in metrics.mode_transitions] == ["sfu", "p2p"]
    row = await gateway.repository.get_call(ada.call_id)
    assert row is not None
    assert row.mode == "p2p"


async def test_late_writes_are_not_hurried_after_one_that_went_through() -> None:
    attempts: list[str] = []

    async def taken() -> None:
        attempts.append("taken")

    async def refused() -> None:
        attempts.append("refused")
        raise OperationalError(None, None, Exception("disk full"))

    jobs = Jobs()
    late = LateWrites(jobs)
    late.add("the first", taken)
    late.add("the second", refused)
    await asyncio.sleep(RETRY_MIN_S * 1.8)
    assert attempts == ["taken", "refused"]
    assert len(late) == 1
    await jobs.close()
