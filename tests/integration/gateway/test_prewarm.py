"""The SFU leg made in advance: it costs no place, is reported, and makes the switch use the same room."""

from __future__ import annotations

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller, StartGateway, StartMedia
from tests.integration.gateway.stored import stored_call, stored_metrics
from tests.integration.gateway.test_switch import pair
from tests.integration.hearing import eventually


async def warm_pair(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller, str]:
    """Two callers in P2P who were invited to prepare their SFU leg."""
    ada, bob = await pair(gateway, caller)
    rooms = [(await peer.wait("call:prewarm"))["mediaServerConfig"]["roomId"] for peer in (ada, bob)]
    assert rooms[0] == rooms[1]
    return ada, bob, rooms[0]


async def test_the_switch_uses_the_room_made_in_advance(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway(prewarm=True)
    ada, bob, room = await warm_pair(gateway, caller)
    assert bob.answer["prewarm"]
    assert media.rooms.rooms[0].in_advance
    row = await stored_call(gateway, ada.call_id)
    assert (row.mode, row.sfu_room_id, row.sfu_rtp_capabilities) == ("p2p", None, None)
    ids = {}
    for peer in (ada, bob):
        ids[peer.id] = await peer.go_to_sfu(peer.heard("call:prewarm")[0])
        await peer.ask("call:sfu-ready", {"callId": ada.call_id, "success": True})
    eve = await caller(gateway, "eve")
    answer = await eve.join(ada.call_id)
    assert answer["mediaServerConfig"]["roomId"] == room
    assert {p["participantId"] for p in answer["producers"]} == {ada.id, bob.id}
    assert (await ada.wait("call:mode-switch"))["mediaServerConfig"]["roomId"] == room
    assert not media.rooms.rooms[0].in_advance
    for peer in (ada, bob):
        await peer.confirm(1, **ids[peer.id])
    await eve.confirm(1, **await eve.go_to_sfu(answer))
    assert (await ada.switched(1, "sfu"))["success"]
    row = await stored_call(gateway, ada.call_id)
    assert row.sfu_room_id == room


async def test_after_the_way_back_a_fresh_room_is_made_in_advance(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway(prewarm=True)
    ada, bob, room = await warm_pair(gateway, caller)
    eve = await caller(gateway, "eve")
    await eve.join(ada.call_id)
    for peer in (ada, bob, eve):
        await peer.confirm(1)
    await ada.switched(1, "sfu")
    await eve.leave()
    await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    await ada.confirm(2, "p2p")
    await bob.confirm(2, "p2p")
    await ada.switched(2, "p2p")
    again = await ada.wait("call:prewarm", holds=lambda p: p["mediaServerConfig"]["roomId"] != room)
    assert [r.id for r in media.rooms.rooms] == [again["mediaServerConfig"]["roomId"]]


async def test_a_blocked_sfu_path_is_announced_to_both(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(prewarm=True)
    ada, bob, _ = await warm_pair(gateway, caller)
    for _ in range(2):
        await bob.ask("call:sfu-ready", {"callId": ada.call_id, "success": False, "error": "ice failed"})
    for peer in (ada, bob):
        told = await peer.wait("call:sfu-unreachable")
        assert (told["participantId"], told["reason"]) == (bob.id, "ice failed")
    assert len(ada.heard("call:sfu-unreachable")) == 1
    metrics = await stored_metrics(gateway, ada.call_id)
    assert (metrics.transport_errors, metrics.ice_failures) == (1, 1)


async def test_rooms_in_advance_do_not_count_against_the_calls_per_server(
    start_media: StartMedia, start_gateway: StartGateway, caller: MakeCaller
) -> None:
    small = await start_media(max_rooms=1)
    gateway = await start_gateway(prewarm=True, media_server_urls=[small.url])
    both = [Conversation("c1", "GROUP"), Conversation("c2", "GROUP")]
    for conversation in ("c1", "c2"):
        first = await caller(gateway, f"first-{conversation}", conversations=both)
        second = await caller(gateway, f"second-{conversation}", conversations=both)
        await first.initiate(conversation)
        await second.join(first.call_id)
        await first.wait("call:prewarm")
    assert len(small.rooms.rooms) == 2
    first_call, second_call = (call.id for call in gateway.calls.live.values())
    one = await (await caller(gateway, "third", conversations=both)).join(first_call)
    assert one["mode"] == "sfu"
    other = await (await caller(gateway, "fourth", conversations=both)).join(second_call)
    assert (other["mode"], other["reason"]) == ("p2p", "sfu-full")


async def test_direct_calls_and_single_participants_get_no_room(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway(prewarm=True)
    direct = [Conversation("d1", "DIRECT")]
    ada, bob = [await caller(gateway, name, conversations=direct) for name in ("ada", "bob")]
    await ada.initiate("d1")
    await bob.join(ada.call_id)
    assert not media.rooms.rooms
    eve, zoe, _ = await warm_pair(gateway, caller)
    await zoe.leave()
    await eve.wait("call:participant-left")
    await eventually(lambda: not media.rooms.rooms)


async def test_a_lost_room_in_advance_is_made_again(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway(prewarm=True)
    ada, _, room = await warm_pair(gateway, caller)
    media.rooms.rooms[0].close("closed")
    await ada.wait("call:prewarm", holds=lambda p: p["mediaServerConfig"]["roomId"] != room)
