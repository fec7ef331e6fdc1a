"""To leave is idempotent: the second answers with what happened, and no notification is sent."""

from __future__ import annotations

import pytest

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.test_switch import pair

BOSS = [Conversation("c1", "GROUP", "admin")]


async def leave(peer: Caller, how: str) -> dict[str, object]:
    """Leave over REST or the socket; it has to be a success."""
    if how == "event":
        return await peer.leave()
    method, path = ("POST", "leave") if how == "post" else ("DELETE", f"participants/{peer.id}")
    answer = await peer.request(method, f"/api/calls/{peer.call_id}/{path}")
    assert answer.status == 200, answer
    return answer.data


HOW = ["event", "post", "delete"]


@pytest.mark.parametrize("again", HOW)
@pytest.mark.parametrize("first", HOW)
async def test_the_second_leave_answers_200_with_what_happened(
    gateway: Gateway, caller: MakeCaller, first: str, again: str
) -> None:
    ada, bob = await pair(gateway, caller)
    left = await leave(bob, first)
    assert (left["message"], left["reason"], left["participantId"]) == ("left", "left", bob.id)
    repeated = await leave(bob, again)
    assert repeated == left | {"message": "had left already"}
    await ada.wait("call:participant-left")
    await ada.ask("call:toggle-audio", {"callId": ada.call_id, "enabled": False})
    assert len(ada.heard("call:participant-left")) == 1


@pytest.mark.parametrize("again", HOW)
async def test_the_second_leave_of_the_last_one_out_finds_the_call_over_and_answers_200(
    gateway: Gateway, caller: MakeCaller, again: str
) -> None:
    ada = await caller(gateway, "ada")
    await ada.initiate()
    left = await ada.leave()
    repeated = await leave(ada, again)
    assert (repeated["participantId"], repeated["leftAt"]) == (ada.id, left["leftAt"])


@pytest.mark.parametrize("again", HOW)
async def test_a_leave_after_the_end_of_the_call_answers_that_it_ended(
    start_gateway: StartGateway, caller: MakeCaller, again: str
) -> None:
    gateway = await start_gateway()
    ada, bob = await pair(gateway, caller)
    ended = await ada.ask("call:end", {"callId": ada.call_id})
    told = await leave(bob, again)
    assert (told["reason"], told["leftAt"]) == ("ended", ended["endedAt"])


async def test_a_kicked_participant_is_told_so_over_rest_and_may_rejoin(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    boss = await caller(gateway, "boss", conversations=BOSS)
    path = f"/api/calls/{ada.call_id}/participants/{bob.id}"
    first = await boss.request("DELETE", path)
    assert first.data["reason"] == "forced"
    for how in ("post", "delete"):
        told = await leave(bob, how)
        assert (told["reason"], told["leftAt"]) == ("forced", first.data["leftAt"])
    assert (await boss.request("DELETE", path)).code == "PARTICIPANT_NOT_FOUND"
    assert await bob.code("call:leave", {"callId": ada.call_id}) == "KICKED"
    await bob.join(ada.call_id)
    assert (await leave(bob, "event"))["message"] == "left"


async def test_a_user_who_was_never_in_the_call_has_not_left_it(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    stranger = await caller(gateway, "zoe", conversations=[Conversation("c2", "GROUP")])
    call = {"callId": ada.call_id}
    await bob.leave()
    assert await eve.code("call:leave", call) == "NOT_A_PARTICIPANT"
    assert await stranger.code("call:leave", call) == "PERMISSION_DENIED"
    path = f"/api/calls/{ada.call_id}/participants"
    assert (await eve.request("DELETE", f"{path}/{ada.id}")).code == "PERMISSION_DENIED"
    assert (await eve.request("DELETE", f"{path}/{bob.id}")).code == "PARTICIPANT_NOT_FOUND"
    assert (await ada.request("DELETE", f"{path}/{'0' * 24}")).code == "PARTICIPANT_NOT_FOUND"
    await ada.ask("call:end", call)
    assert await eve.code("call:leave", call) == "CALL_ENDED"
    assert await stranger.code("call:leave", call) == "PERMISSION_DENIED"
    assert (await bob.request("DELETE", f"{path}/{ada.id}")).code == "CALL_ENDED"
