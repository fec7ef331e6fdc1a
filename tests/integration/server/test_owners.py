"""Who sees to a room: said by the service that creates it, shown in the list; and what 404 means to it."""

from __future__ import annotations

import asyncio

import pytest

from meeshy_sfu.rooms.room import CallId
from meeshy_sfu.server.app import MediaServer
from tests.integration.server.conftest import MakePeer


async def test_a_service_names_the_owner_of_a_room_and_finds_it_again(peer: MakePeer) -> None:
    service = peer("gateway", role="service")
    assert (await service.post("create", {"owner": "gateway-1"})).status == 200
    (room,) = (await service.request("GET", "/api/rooms")).data["rooms"]
    assert (room["callId"], room["owner"]) == ("call-1", "gateway-1")


async def test_only_services_name_owners(peer: MakePeer, server: MediaServer) -> None:
    answer = await peer("alice").post("create", {"owner": "alice"})
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert not server.rooms.rooms


@pytest.mark.parametrize("owner", ["", "a b", "x" * 129, 7, ["gateway"]])
async def test_an_owner_is_an_id(peer: MakePeer, server: MediaServer, owner: object) -> None:
    answer = await peer("gateway", role="service").post("create", {"owner": owner})
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
    assert answer.body["error"]["details"]["path"] == "owner"
    assert not server.rooms.rooms


async def test_a_destroy_waits_for_the_room_that_is_being_made(
    peer: MakePeer, server: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, over = peer("gateway", role="service"), asyncio.Event()
    create = server.pool.create_router

    async def late(*args: object, **kwargs: object) -> object:
        await over.wait()
        return await create(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(server.pool, "create_router", late)
    creating = asyncio.create_task(service.post("create"))
    await asyncio.sleep(0.1)
    destroying = asyncio.create_task(service.request("DELETE", "/api/rooms/call-1"))
    await asyncio.sleep(0.1)
    assert not destroying.done()
    over.set()
    assert (await creating).status == 200
    assert (await destroying).status == 200
    assert server.rooms.find(CallId("call-1")) is None
