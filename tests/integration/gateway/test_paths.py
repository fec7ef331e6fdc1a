"""Each participant is notified of a path to each other one, or why there is none and when it is tried again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.calls import joining, journal
from meeshy_sfu.gateway.calls.mode import ModePolicy
from meeshy_sfu.gateway.media.media_client import MediaServerClient
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SECRET, Caller
from tests.integration.gateway.conftest import MakeCaller, StartGateway, StartMedia
from tests.integration.gateway.stored import stored_call, stored_metrics
from tests.integration.gateway.test_crashes import follow
from tests.integration.gateway.test_switch import meet, pair, start_switch, trio
from tests.integration.hearing import eventually

TWO = [Conversation("c1", "GROUP", "admin"), Conversation("c2", "GROUP", "admin")]


def direct(payload: dict[str, Any]) -> bool:
    return payload["oldMode"] == payload["newMode"] == "p2p"


async def connect_directly(gateway: Gateway, first: Caller, second: Caller) -> None:
    """Check that two are told to connect to each other, one of them to offer, and connect them."""
    told = [await peer.wait("call:mode-switch", holds=direct) for peer in (first, second)]
    assert [one["peer"] for one in told] == [second.id, first.id]
    assert {one["initiator"] for one in told} == {True, False}
    assert told[0]["epoch"] == told[1]["epoch"]
    assert told[0]["mediaServerConfig"] is told[0]["mediaToken"] is None
    offering, answering = (first, second) if told[0]["initiator"] else (second, first)
    assert (await offering.signal(answering))["success"]
    await answering.wait("call:signal", holds=lambda p: p["signal"]["from"] == offering.id)
    epoch = told[0]["epoch"]
    for peer in (first, second):
        await peer.confirm(epoch, "p2p")
    for peer in (first, second):
        assert (await peer.switched(epoch, "p2p"))["success"]
    assert gateway.calls.live[first.call_id].mode.pair == {first.id, second.id}
    assert journal.check(gateway.journal.recent).problems == []


async def test_two_participants_left_after_a_failed_switch_are_connected(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await ada.confirm(1, success=False, error="udp blocked")
    await eve.wait("call:mode-switched", holds=lambda p: not p["success"])
    await ada.leave()
    await connect_directly(gateway, bob, eve)
    assert [p["reason"] for p in bob.heard("call:mode-switch")][-1] == "participant_left"
    row = await stored_call(gateway, bob.call_id)
    assert (row.mode, row.mode_change_count, row.last_mode_change) == ("p2p", 0, None)
    await eventually(lambda: not media.rooms.rooms)


async def test_two_participants_left_of_a_call_without_a_media_server_are_connected(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(media_server_urls=["http://127.0.0.1:9"])
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    await eve.join(ada.call_id)
    await bob.leave()
    await connect_directly(gateway, ada, eve)


async def test_two_participants_are_connected_once_both_have_a_socket(
    gateway: Gateway, caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a busy machine the next try of the switch could come before a participant has left
    monkeypatch.setattr(joining, "mode_policy", lambda _: ModePolicy(retry_delays_s=(60.0,)))
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await ada.confirm(1, success=False, error="udp blocked")
    await bob.vanish()
    await ada.leave()
    await eve.wait("call:participant-left")
    await bob.reconnect()
    answer = await bob.rejoin()
    assert (answer["mode"], answer["initiator"]) == ("p2p", False)
    await connect_directly(gateway, bob, eve)


async def test_a_rejoin_while_two_are_to_connect_answers_whether_to_offer_and_to_whom(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, eve = await trio(gateway, caller)
    await eve.leave()
    told = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    former = bob.socket
    await bob.reconnect()
    answer = await bob.rejoin()
    await former.disconnect()
    assert (answer["phase"], answer["epoch"], answer["peer"]) == ("switching_to_p2p", told["epoch"], ada.id)
    assert answer["initiator"] is not told["initiator"]


async def test_a_place_taken_over_rest_while_three_were_there_is_connected_when_its_socket_comes(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(media_server_urls=["http://127.0.0.1:9"])
    ada, bob, eve = [await caller(gateway, name) for name in ("ada", "bob", "eve")]
    await ada.initiate()
    path = f"/api/calls/{ada.call_id}/participants"
    assert (await bob.request("POST", path, {})).status == 200
    await eve.join(ada.call_id)
    await eve.leave()
    await bob.join(ada.call_id)
    await connect_directly(gateway, ada, bob)


async def test_the_first_of_two_who_comes_back_after_the_other_came_offers_without_a_transition(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await ada.initiate()
    await ada.vanish()
    await bob.join(ada.call_id)
    assert gateway.calls.live[ada.call_id].mode.pair == frozenset()
    await ada.reconnect()
    answer = await ada.rejoin()
    assert (answer["initiator"], answer["peer"], answer["epoch"]) == (True, bob.id, 0)
    assert gateway.calls.live[ada.call_id].mode.pair == {ada.id, bob.id}
    eve = await caller(gateway, "eve")
    assert (await eve.join(ada.call_id))["epoch"] == 1, "two who needed no switch were switched"
    assert not [p for p in ada.heard("call:mode-switch") if direct(p)]


async def test_participants_without_a_socket_do_not_block_a_switch(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(switch_deadline_s=0.8)
    ada, bob = await pair(gateway, caller)
    await ada.vanish()
    await bob.vanish()
    eve, zoe = await caller(gateway, "eve"), await caller(gateway, "zoe")
    answer = await eve.join(ada.call_id)
    await zoe.join(ada.call_id)
    for peer in (eve, zoe):
        await peer.confirm(answer["epoch"])
    told = await eve.switched(answer["epoch"], "sfu")
    assert (told["success"], told["missing"]) == (True, sorted([ada.id, bob.id]))
    await zoe.switched(answer["epoch"], "sfu")
    await ada.reconnect()
    back = await ada.rejoin()
    assert (back["mode"], back["phase"]) == ("sfu", "sfu")
    assert back["mediaToken"]


async def test_confirmations_before_the_announcement_are_refused(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    call = gateway.calls.live[ada.call_id]
    eve = await caller(gateway, "eve")
    async with call.room_lock:  # as long as a media server takes to make the room
        joining = asyncio.create_task(eve.join(ada.call_id))
        await eventually(lambda: call.phase == "switching_to_sfu")
        payload = {"callId": ada.call_id, "mode": "sfu", "epoch": 1, "success": True}
        for peer in (ada, bob):
            answer = await peer.emit("call:mode-switched", payload)
            assert answer["error"]["code"] == "VALIDATION_ERROR"
            assert answer["error"]["details"]["path"] == "epoch"
        assert (await ada.ask("call:mode-switched", {"success": True}))["phase"] == "switching_to_sfu"
        assert call.phase == "switching_to_sfu"
        assert ada.heard("call:mode-switched") == []
    gateway.switcher.keeper.reconcile(call)
    assert (await joining)["mediaServerConfig"]
    for peer in (ada, bob, eve):
        await peer.confirm(1)
    assert (await ada.switched(1, "sfu"))["success"]


async def waits(peer: Caller, reason: str) -> datetime:
    """Check that a participant is notified that it waits, why, and until when; return the latter."""
    told = await peer.wait(
        "call:error", holds=lambda p: p["code"] == "MODE_SWITCH_FAILED" and p["details"]["reason"] == reason
    )
    assert told["callId"] == peer.call_id
    return datetime.fromisoformat(told["details"]["retryAt"])


@pytest.fixture
def long_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed switches are not tried again by themselves while a test runs."""
    monkeypatch.setattr(joining, "mode_policy", lambda _: ModePolicy(retry_delays_s=(0.2, 300.0)))


async def full_call(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller, Caller]:
    """Three callers of conversation c2 whose third waits because all media servers are full."""
    dan, fay, gil = [await caller(gateway, name, conversations=TWO) for name in ("dan", "fay", "gil")]
    await dan.initiate("c2")
    await fay.join(dan.call_id)
    answer = await gil.join(dan.call_id)
    assert (answer["mode"], answer["reason"]) == ("p2p", "sfu-full")
    await waits(gil, "sfu-full")
    return dan, fay, gil


async def test_a_waiting_participant_is_notified_why_and_until_when_and_the_switch_goes_on_once_capacity_is_freed(
    start_media: StartMedia, start_gateway: StartGateway, caller: MakeCaller, long_retries: None
) -> None:
    small = await start_media(max_rooms=1)
    gateway = await start_gateway(media_server_urls=[small.url])
    ada, *_ = await trio(gateway, caller)
    dan, _, gil = await full_call(gateway, caller)
    live = gateway.calls.live[dan.call_id]
    await eventually(lambda: len(gil.heard("call:error")) == 2)
    until = datetime.fromisoformat(gil.heard("call:error")[-1]["details"]["retryAt"])
    assert 250 < (until - datetime.now(UTC)).total_seconds() < 301
    assert dan.heard("call:error") == [], "the two who talk directly do not wait"
    await ada.ask("call:end", {"callId": ada.call_id})
    told = await dan.wait("call:mode-switch")
    assert (told["newMode"], told["reason"]) == ("sfu", "retry")
    assert (await gil.wait("call:mode-switch"))["mediaToken"]
    assert live.mode.without_path == frozenset()


async def test_a_call_that_ends_while_it_waits_is_waited_for_no_more(
    start_media: StartMedia, start_gateway: StartGateway, caller: MakeCaller, long_retries: None
) -> None:
    small = await start_media(max_rooms=1)
    gateway = await start_gateway(media_server_urls=[small.url])
    await trio(gateway, caller)
    dan, *_ = await full_call(gateway, caller)
    assert len(gateway.switcher.waiting) == 1
    await dan.ask("call:end", {"callId": dan.call_id})
    assert len(gateway.switcher.waiting) == 0
    await eventually(lambda: len(gateway.jobs) <= 2)


async def test_capacity_that_another_gateway_frees_is_used(
    start_media: StartMedia, start_gateway: StartGateway, caller: MakeCaller, long_retries: None
) -> None:
    small = await start_media(max_rooms=1)
    gateway = await start_gateway(media_server_urls=[small.url])
    async with MediaServerClient([small.url], secret=SECRET, clock=SystemClock()) as other:
        await other.create_room("of-another-gateway")
        dan, _, gil = await full_call(gateway, caller)
        await eventually(lambda: len(gil.heard("call:error")) == 2)
        await other.destroy_room("of-another-gateway")
    assert (await dan.wait("call:mode-switch"))["newMode"] == "sfu"


async def test_a_wait_for_an_unreachable_media_server_is_repeated_in_the_answer_to_a_rejoin(
    start_gateway: StartGateway, caller: MakeCaller, long_retries: None
) -> None:
    gateway = await start_gateway(media_server_urls=["http://127.0.0.1:9"])
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    await eve.join(ada.call_id)
    await waits(eve, "sfu-unavailable")
    await eventually(lambda: len(eve.heard("call:error")) == 2)
    await eve.vanish()
    await eve.reconnect()
    await eve.rejoin()
    await eventually(lambda: len(eve.heard("call:error")) == 3)
    assert bob.heard("call:error") == []


async def test_a_call_without_any_path_is_notified_once_why(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway(media_down_s=0.1)
    callers = await trio(gateway, caller)
    await media.close()
    for peer in callers:
        await waits(peer, "sfu-unavailable")
    call = gateway.calls.live[callers[0].call_id]
    epoch = call.mode.epoch
    await eventually(lambda: call.mode.epoch > epoch + 2)
    assert [len(peer.heard("call:error")) for peer in callers] == [1, 1, 1]


async def test_participants_whose_first_room_fails_are_notified_and_sent_there_again(
    gateway: Gateway, caller: MakeCaller
) -> None:
    callers = [await caller(gateway, name) for name in ("ada", "bob", "eve")]
    ada, bob, eve = callers
    access = [
        await ada.initiate(expectedParticipants=3),
        await bob.join(ada.call_id),
        await eve.join(ada.call_id),
    ]
    assert [one["mode"] for one in access] == ["sfu"] * 3
    for peer in callers:
        await peer.confirm(1, success=False, error="ICE failed")
    for peer in callers:
        told = await peer.switched(1, "sfu")
        assert (told["success"], told["reason"]) == (False, "participant_failed")
        assert set(told["failed"]) == {one.id for one in callers}
        await waits(peer, "participant_failed")
    rooms = {one["mediaServerConfig"]["roomId"] for one in access}
    for peer in callers:
        again = await peer.wait("call:mode-switch")
        assert (again["oldMode"], again["newMode"], again["epoch"]) == ("sfu", "sfu", 2)
        assert {again["mediaServerConfig"]["roomId"]} == rooms
        await peer.confirm(2)
    for peer in callers:
        assert (await peer.switched(2, "sfu"))["success"]
    assert gateway.calls.live[ada.call_id].mode.without_path == frozenset()
    assert journal.check(gateway.journal.recent).problems == []


async def test_reasons_of_transitions_are_the_true_ones(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway()
    ada, bob, eve = [await caller(gateway, name, conversations=TWO) for name in ("ada", "bob", "eve")]
    await ada.initiate()
    await bob.join(ada.call_id)
    await eve.join(ada.call_id)
    await bob.wait("call:mode-switch")
    await bob.confirm(1, success=False)
    again = await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2)
    assert again["reason"] == "retry"
    await ada.confirm(2, success=False)
    await ada.wait("call:mode-switched", holds=lambda p: p["epoch"] == 2)
    answer = await ada.request("PUT", f"/api/calls/{ada.call_id}/mode", {"mode": "sfu"})
    assert answer.status == 200, answer
    assert (await bob.wait("call:mode-switch", holds=lambda p: p["epoch"] == 3))["reason"] == "manual"
    await gateway.close()
    second = await start_gateway()
    for peer in (ada, bob, eve):
        await peer.reconnect(second.url)
        await peer.rejoin()
    assert (await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] > 3))["reason"] == "restart"


async def test_after_a_restart_two_who_never_connected_are_told_to_connect_and_two_who_talk_are_not(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    nowhere = {"media_server_urls": ["http://127.0.0.1:9"]}
    first = await start_gateway(**nowhere)
    ada, bob, eve, dan, fay = [
        await caller(first, name, conversations=TWO) for name in ("ada", "bob", "eve", "dan", "fay")
    ]
    await ada.initiate()
    await bob.join(ada.call_id)
    await eve.join(ada.call_id)
    await bob.vanish()
    await eve.wait("call:participant-connection")
    await ada.leave()
    await dan.initiate("c2")
    await fay.join(dan.call_id)
    await first.close()
    second = await start_gateway(**nowhere)
    for peer in (bob, eve, dan, fay):
        await peer.reconnect(second.url)
        await peer.rejoin()
    await connect_directly(second, bob, eve)
    assert bob.heard("call:mode-switch")[-1]["reason"] == "restart"
    assert second.calls.live[dan.call_id].mode.pair == {dan.id, fay.id}
    assert dan.heard("call:mode-switch") == fay.heard("call:mode-switch") == []


async def test_a_re_homing_does_not_count_as_a_change_of_mode(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    callers = list(await trio(gateway, caller))
    before = await stored_call(gateway, callers[0].call_id)
    await media.pool.workers[0].panic()
    await follow(callers, after=1)
    after = await stored_call(gateway, callers[0].call_id)
    assert after.sfu_room_id != before.sfu_room_id
    assert (after.mode_change_count, after.last_mode_change) == (1, before.last_mode_change)
    figures = await callers[0].session.get(f"{gateway.url}/metrics")
    assert "calls_mode_transitions_total 1.0" in await figures.text()


async def test_switches_that_were_rolled_back_are_in_the_metrics_of_the_call(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await bob.confirm(1, success=False, error="udp blocked")
    await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2)
    for peer in (ada, bob, eve):
        await peer.confirm(2)
    await ada.switched(2, "sfu")
    metrics = await stored_metrics(gateway, ada.call_id)
    row = await stored_call(gateway, ada.call_id)
    assert [(t["from"], t["to"], t["reason"], t["success"]) for t in metrics.mode_transitions] == [
        ("p2p", "sfu", "participant_failed", False),
        ("p2p", "sfu", "retry", True),
    ]
    assert row.mode_change_count == 1


async def test_the_ordinary_start_of_two_costs_no_transition(gateway: Gateway, caller: MakeCaller) -> None:
    callers = [await caller(gateway, name) for name in ("ada", "bob")]
    await meet(callers)
    call = gateway.calls.live[callers[0].call_id]
    told = await callers[0].wait("call:participant-joined")
    assert (told["initiator"], told["epoch"]) == (True, 0)
    await eventually(lambda: call.mode.pair == {peer.id for peer in callers})
    await callers[1].vanish()
    await callers[1].reconnect()
    await callers[1].rejoin()
    await eventually(lambda: len(gateway.jobs) <= 2)
    assert (call.mode.epoch, callers[0].heard("call:mode-switch")) == (0, [])
