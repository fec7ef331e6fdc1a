"""Only the current socket of a participant acts in a call: a kicked one can do nothing more."""

from __future__ import annotations

from typing import Any

import pytest

from meeshy_sfu.gateway.app import Gateway
from tests.integration.gateway.callers import SDP, Caller
from tests.integration.gateway.conftest import MakeCaller
from tests.integration.hearing import eventually

TAKE = pytest.mark.parametrize("take", ["rejoin", "join"])


async def two(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller]:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await ada.initiate()
    await bob.join(ada.call_id)
    return ada, bob


async def second_tab(gateway: Gateway, caller: MakeCaller, first: Caller, take: str) -> Caller:
    """The same user on another socket, which takes the place."""
    tab = await caller(gateway, first.name)
    tab.call_id, tab.id = first.call_id, first.id
    if take == "rejoin":
        await tab.rejoin()
    else:
        await tab.join(first.call_id)
    assert (await first.wait("call:error"))["code"] == "KICKED"
    return tab


def acts(tab: Caller, peer: Caller) -> dict[str, dict[str, Any]]:
    """Everything a socket does in a call but joining."""
    call: dict[str, Any] = {"callId": tab.call_id}
    signal = {"type": "offer", "from": tab.id, "to": peer.id, "sdp": SDP}
    return {
        "call:signal": call | {"signal": signal},
        "call:toggle-audio": call | {"enabled": False},
        "call:toggle-video": call | {"enabled": False},
        "call:media-state-change": call | {"audioEnabled": False},
        "call:mode-switched": call | {"mode": "p2p", "epoch": 0, "success": False},
        "call:mode-switch-ack": {"success": True},
        "call:sfu-ready": call | {"success": False},
        "call:media-token": call,
        "call:reject": call | {"reason": "busy"},
        "call:force-leave": {"conversationId": "c1"},
        "call:leave": call,
        "call:end": call,
    }


@TAKE
async def test_a_kicked_tab_can_do_nothing_more(gateway: Gateway, caller: MakeCaller, take: str) -> None:
    ada, bob = await two(gateway, caller)
    tab = await second_tab(gateway, caller, ada, take)
    live = gateway.calls.live[ada.call_id]
    before = {m.id: (m.sid, m.audio_enabled, m.video_enabled) for m in live.members.values()}
    heard = len(bob.events)
    for event, payload in acts(ada, bob).items():
        assert await ada.code(event, payload) == "KICKED", event
    assert {m.id: (m.sid, m.audio_enabled, m.video_enabled) for m in live.members.values()} == before
    assert not live.errors
    assert not live.unreachable
    assert [name for name, _ in bob.events[heard:]] == []
    # the one that has the place does all of it
    assert (await tab.signal(bob))["success"]
    assert (await bob.wait("call:signal"))["signal"]["from"] == tab.id
    await tab.ask("call:toggle-audio", {"callId": tab.call_id, "enabled": False})
    await tab.leave()


async def test_the_leave_of_a_kicked_tab_ends_no_session(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await two(gateway, caller)
    tab = await second_tab(gateway, caller, ada, "rejoin")
    await ada.close()
    await eventually(lambda: gateway.metrics.connections == 2)
    assert (await tab.signal(bob))["success"]
    assert not bob.heard("call:participant-left")


async def test_a_kicked_tab_takes_its_place_back(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await two(gateway, caller)
    tab = await second_tab(gateway, caller, ada, "rejoin")
    await ada.rejoin()
    assert (await tab.wait("call:error"))["code"] == "KICKED"
    assert await tab.code("call:leave", {"callId": tab.call_id}) == "KICKED"
    assert (await ada.signal(bob))["success"]


async def test_a_kicked_tab_stays_kicked_when_the_other_breaks_off(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await two(gateway, caller)
    tab = await second_tab(gateway, caller, ada, "rejoin")
    await tab.vanish()
    await bob.wait("call:participant-connection", holds=lambda told: told["state"] == "reconnecting")
    assert await ada.code("call:leave", {"callId": ada.call_id}) == "KICKED"
    assert len(gateway.calls.live[ada.call_id].members) == 2


async def test_another_socket_of_a_user_does_not_act_in_their_call(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await two(gateway, caller)
    tab = await caller(gateway, "ada")
    tab.call_id, tab.id = ada.call_id, ada.id
    for event in ("call:signal", "call:toggle-audio", "call:mode-switched", "call:leave", "call:media-token"):
        assert await tab.code(event, acts(tab, bob)[event]) == "NOT_IN_CALL", event
    assert not ada.heard("call:error")
    assert (await ada.signal(bob))["success"]
    await tab.ask("call:force-leave", {"conversationId": "c1"})
    assert (await bob.wait("call:participant-left"))["participantId"] == ada.id


async def test_a_removed_participant_can_do_nothing_more(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await two(gateway, caller)
    eve = await caller(gateway, "eve")
    await eve.join(ada.call_id)
    await ada.ask("call:force-leave", {"conversationId": "c1", "participantId": eve.id})
    for event, payload in acts(eve, bob).items():
        assert await eve.code(event, payload) == "KICKED", event
    assert len(gateway.calls.live[ada.call_id].members) == 2
