"""Rooms to be destroyed whose media server refuses, answers too late, or whose end was not announced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.calls import supervision
from meeshy_sfu.gateway.media.media_client import ClientPolicy, MediaServerClient
from meeshy_sfu.rooms.participant import ParticipantId
from meeshy_sfu.rooms.room import CallId
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SECRET
from tests.integration.gateway.conftest import MakeCaller, StartGateway, StartMedia
from tests.integration.gateway.test_switch import pair, start_switch, trio
from tests.integration.hearing import eventually


@contextmanager
def refusing(gateway: Gateway) -> Iterator[None]:
    """The media servers refuse what the gateway asks of them: it signs with another secret."""
    gateway.media._secret, gateway.media._token_until = "some-other-secret-of-thirty-two-bytes", 0.0
    try:
        yield
    finally:
        gateway.media._secret, gateway.media._token_until = SECRET, 0.0


@asynccontextmanager
async def slow_to_create(media: MediaServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The media server makes rooms only when the block is over."""
    over = asyncio.Event()
    create = media.pool.create_router

    async def late(*args: object, **kwargs: object) -> object:
        await over.wait()
        return await create(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(media.pool, "create_router", late)
    yield
    over.set()


def clean(gateway: Gateway, *servers: MediaServer) -> bool:
    """Whether neither rooms nor anything that has to go is left."""
    return not gateway.media.condemned and not any(server.rooms.rooms for server in servers)


async def test_a_room_whose_destroy_is_refused_goes_once_the_media_server_accepts_it(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, *_ = await trio(gateway, caller)
    with refusing(gateway):
        await ada.ask("call:end", {"callId": ada.call_id})
        (what,) = await eventually_to_be_removed(gateway)
        assert (what.server_url, what.call_id) == (media.url, ada.call_id)
        await asyncio.sleep(0.7)  # two tries that are refused
        assert [room.call_id for room in media.rooms.rooms] == [ada.call_id]
        async with ada.session.get(f"{gateway.url}/metrics") as figures:
            assert "meeshy_rooms_to_remove 1.0" in await figures.text()
    await eventually(lambda: clean(gateway, media))


async def eventually_to_be_removed(gateway: Gateway) -> list[object]:
    await eventually(lambda: len(gateway.media.condemned) > 0)
    return list(gateway.media.condemned)


async def test_a_participant_that_left_is_removed_from_the_room_once_the_media_server_accepts_it(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve, answer = await start_switch(gateway, caller)
    ids = await eve.go_to_sfu(answer)
    for peer in (ada, bob):
        await peer.go_to_sfu(peer.heard("call:mode-switch")[0])
        await peer.confirm(1)
    await eve.confirm(1, **ids)
    await ada.switched(1, "sfu")
    zoe = await caller(gateway, "zoe")
    await zoe.join(ada.call_id)
    room = media.rooms.get(CallId(ada.call_id))
    with refusing(gateway):
        await eve.leave()
        await eventually_to_be_removed(gateway)
        await asyncio.sleep(0.2)
        assert ParticipantId(eve.id) in room.participants
    await eventually(lambda: ParticipantId(eve.id) not in room.participants)
    await eventually(lambda: not gateway.media.condemned)
    assert ParticipantId(ada.id) in room.participants


async def test_a_participant_that_rejoins_before_its_removal_stays(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    callers = await trio(gateway, caller)
    zoe = await caller(gateway, "zoe")
    await zoe.join(callers[0].call_id)
    with refusing(gateway):
        await zoe.leave()
        await eventually_to_be_removed(gateway)
        answer = await zoe.join(callers[0].call_id)
        assert not gateway.media.condemned
    await zoe.go_to_sfu(answer)
    await asyncio.sleep(0.7)
    assert ParticipantId(zoe.id) in media.rooms.get(CallId(zoe.call_id)).participants


async def test_a_room_whose_create_answers_too_late_goes(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.media._policy = ClientPolicy(timeout_s=0.2, attempts=1)
    ada, _ = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    async with slow_to_create(media, monkeypatch):
        answer = await eve.join(ada.call_id)
        assert (answer["mode"], answer["reason"]) == ("p2p", "sfu-unavailable")
        await ada.ask("call:end", {"callId": ada.call_id})
        assert await eventually_to_be_removed(gateway)
        await asyncio.sleep(0.5)
        assert gateway.media.condemned, "taken off the list while the room was being made"
    await eventually(lambda: clean(gateway, media))
    await asyncio.sleep(0.3)
    assert clean(gateway, media)


async def test_a_room_made_too_late_goes_while_its_call_goes_on_elsewhere(
    gateway: Gateway,
    media: MediaServer,
    start_media: StartMedia,
    start_gateway: StartGateway,
    caller: MakeCaller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await gateway.close()
    other = await start_media()
    first, second = sorted((media, other), key=lambda server: server.url)
    gateway = await start_gateway(media_server_urls=[first.url, second.url])
    gateway.media._policy = ClientPolicy(timeout_s=0.5, attempts=1)
    ada, _ = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    async with slow_to_create(first, monkeypatch):
        answer = await eve.join(ada.call_id)
        assert answer["mediaServerUrl"] == second.url
    await eventually(lambda: not gateway.media.condemned)
    assert not first.rooms.rooms
    assert [room.id for room in second.rooms.rooms] == [answer["mediaServerConfig"]["roomId"]]


@pytest.fixture
def compared_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "COMPARE_INTERVAL_S", 0.2)


async def test_rooms_of_this_gateway_that_no_call_needs_go_by_the_timer_and_those_of_others_stay(
    compared_often: None, gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    callers = await trio(gateway, caller)
    async with MediaServerClient([media.url], secret=SECRET, clock=SystemClock()) as client:
        await client.create_room("of-no-call")
        client.owner = "another-gateway"
        await client.create_room("of-another-gateway")
        client.owner = gateway.media.owner
        await client.create_room("of-this-gateway")
    await eventually(lambda: media.rooms.find(CallId("of-this-gateway")) is None)
    await asyncio.sleep(0.5)
    left = {room.call_id for room in media.rooms.rooms}
    assert left == {callers[0].call_id, "of-no-call", "of-another-gateway"}


async def test_a_room_of_a_call_that_does_not_use_it_goes_by_the_timer(
    compared_often: None, gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, _ = await pair(gateway, caller)
    async with MediaServerClient([media.url], secret=SECRET, clock=SystemClock()) as client:
        client.owner = gateway.media.owner
        await client.create_room(ada.call_id)
    await eventually(lambda: not media.rooms.rooms)


async def test_a_room_whose_loss_was_not_announced_is_made_again_by_the_timer(
    compared_often: None, gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, *_ = await trio(gateway, caller)
    gateway.media_events.unwatch(ada.call_id)
    (room,) = media.rooms.rooms
    room.close("closed")
    told = await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] > 1)
    assert (told["oldMode"], told["newMode"], told["reason"]) == ("sfu", "sfu", "room-lost")


async def test_rooms_of_calls_that_ended_while_the_gateway_was_away_go(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    first = await start_gateway()
    owner = first.media.owner
    ada, *_ = await trio(first, caller)
    with refusing(first):
        await ada.ask("call:end", {"callId": ada.call_id})
        await eventually_to_be_removed(first)
        await first.close()
    assert [room.owner for room in media.rooms.rooms] == [owner]
    second = await start_gateway()
    assert second.media.owner == owner
    await eventually(lambda: clean(second, media))
