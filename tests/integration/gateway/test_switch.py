"""The switch between peer to peer and SFU, at the level of signalling, with the real media server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.calls import journal
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.stored import stored_call, stored_metrics
from tests.integration.hearing import eventually


async def meet(callers: list[Caller]) -> None:
    """Begin a call of two callers, which stays P2P, or of three, which moves to the SFU."""
    first, second, *third = callers
    await first.initiate()
    await second.join(first.call_id)
    for newcomer in third:
        answer = await newcomer.join(first.call_id)
        for peer, access in (
            (first, await first.wait("call:mode-switch")),
            (second, await second.wait("call:mode-switch")),
            (newcomer, answer),
        ):
            await peer.confirm(answer["epoch"], **await peer.go_to_sfu(access))
        for peer in callers:
            assert (await peer.switched(answer["epoch"], "sfu"))["success"]


async def pair(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller]:
    """Two callers in a P2P call of a group."""
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await meet([ada, bob])
    return ada, bob


async def trio(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller, Caller]:
    """Three callers whose call has moved to the SFU."""
    ada, bob, eve = [await caller(gateway, name) for name in ("ada", "bob", "eve")]
    await meet([ada, bob, eve])
    return ada, bob, eve


async def test_a_join_lasts_from_its_request_to_the_confirmation_of_media(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    def joins() -> tuple[float, float]:
        values = dict(
            line.split(" ")
            for line in gateway.metrics.text().decode().splitlines()
            if line.startswith("meeshy_call_join_duration_seconds_")
        )
        name = "meeshy_call_join_duration_seconds"
        return float(values[f"{name}_count"]), float(values[f"{name}_sum"])

    await trio(gateway, caller)
    number, seconds = joins()
    # the two who talked directly have joined nothing that a media server carries
    assert number == 1
    assert 0 < seconds < 30


async def test_two_to_three_to_two(gateway: Gateway, media: MediaServer, caller: MakeCaller) -> None:
    ada, bob, eve = await trio(gateway, caller)
    row = await stored_call(gateway, ada.call_id)
    assert (row.mode, row.status) == ("sfu", "active")
    assert row.sfu_room_id == media.rooms.rooms[0].id
    assert row.sfu_rtp_capabilities
    assert all(p.sfu_send_transport_id and p.sfu_audio_producer_id for p in row.participants)
    assert len(ada.heard("new-producer")) == 2

    await eve.leave()
    back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    other = await bob.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    assert {back["initiator"], other["initiator"]} == {True, False}
    assert (back["peer"], other["peer"]) == (bob.id, ada.id)
    assert back["epoch"] == 2
    assert media.rooms.rooms
    for peer in (ada, bob):
        await peer.confirm(2, "p2p")
    assert (await ada.switched(2, "p2p"))["success"]
    await bob.switched(2, "p2p")
    await eventually(lambda: not media.rooms.rooms)
    row = await stored_call(gateway, ada.call_id)
    assert (row.mode, row.sfu_room_id, row.mode_change_count) == ("p2p", None, 2)
    assert not any(p.sfu_send_transport_id or p.sfu_audio_producer_id for p in row.participants)
    metrics = await stored_metrics(gateway, ada.call_id)
    assert [(t["from"], t["to"], t["reason"]) for t in metrics.mode_transitions] == [
        ("p2p", "sfu", "participant_joined"),
        ("sfu", "p2p", "participant_left"),
    ]
    verdict = journal.check(gateway.journal.recent)
    assert (verdict.transitions, verdict.completed, verdict.problems) == (2, 2, [])


async def start_switch(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller, Caller, dict[str, Any]]:
    """A pair that a third has just joined; all are notified, none has confirmed."""
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    answer = await eve.join(ada.call_id)
    await ada.wait("call:mode-switch")
    await bob.wait("call:mode-switch")
    return ada, bob, eve, answer


async def test_the_newcomers_answer_is_the_mode_switch_of_the_others(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, _, eve, answer = await start_switch(gateway, caller)
    told = ada.heard("call:mode-switch")[0]
    assert (answer["mode"], answer["phase"], answer["epoch"]) == ("sfu", "switching_to_sfu", 1)
    assert (told["mode"], told["oldMode"], told["newMode"], told["epoch"]) == ("sfu", "p2p", "sfu", 1)
    assert told["mediaServerConfig"] == answer["mediaServerConfig"]
    assert (
        told["rtpCapabilities"] == answer["rtpCapabilities"] == told["mediaServerConfig"]["rtpCapabilities"]
    )
    assert told["switchDeadline"] == answer["switchDeadline"]
    assert len(told["participants"]) == len(answer["participants"]) == 3
    assert eve.heard("call:mode-switch") == []
    assert eve.heard("call:join")[0]["participantId"] == eve.id
    joined = await ada.wait("call:participant-joined", holds=lambda p: p["totalParticipants"] == 3)
    assert (joined["participant"]["participantId"], joined["initiator"]) == (eve.id, False)


async def test_one_of_the_pair_failing_keeps_p2p_with_the_reason_and_is_tried_again(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await eve.confirm(1)
    await bob.confirm(1, success=False, error="udp blocked")
    for peer in (ada, bob, eve):
        told = await peer.wait("call:mode-switched")
        assert (told["success"], told["mode"], told["reason"]) == (False, "p2p", "participant_failed")
        assert (told["failed"], told["errors"]) == ([bob.id], {bob.id: "udp blocked"})
    again = await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2)
    assert again["mediaServerConfig"]["roomId"] == media.rooms.rooms[0].id
    await eve.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2)
    for peer in (ada, bob, eve):
        await peer.confirm(2)
    assert (await ada.switched(2, "sfu"))["success"]


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        ("ICE failed", 1),
        ("iceConnectionState: failed", 1),
        ("the device does not produce video", 0),
        ("no codec", 0),
    ],
)
async def test_a_leg_that_ice_kept_from_being_made_is_counted_once(
    gateway: Gateway, caller: MakeCaller, error: str, failures: int
) -> None:
    ada, _, eve, _ = await start_switch(gateway, caller)
    for _ in range(2):
        await eve.confirm(1, success=False, error=error)
    metrics = await stored_metrics(gateway, ada.call_id)
    assert metrics.ice_failures == failures


async def test_a_newcomer_that_fails_does_not_stop_the_pair(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await eve.confirm(1, success=False, error="no codec")
    await ada.confirm(1)
    await bob.confirm(1)
    assert (await ada.switched(1, "sfu"))["success"]


async def test_the_deadline_decides_without_a_newcomer_and_against_one_of_the_pair(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(switch_deadline_s=0.6)
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await ada.confirm(1)
    told = await eve.wait("call:mode-switched")
    assert (told["success"], told["reason"], told["failed"]) == (False, "deadline", sorted([bob.id, eve.id]))
    await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2)
    await ada.confirm(2)
    await bob.confirm(2)
    told = await ada.switched(2, "sfu")
    assert (told["success"], told["missing"]) == (True, [eve.id])


async def test_a_third_who_leaves_at_once_leaves_the_pair_on_p2p(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await eve.leave()
    told = await ada.wait("call:mode-switched")
    assert (told["success"], told["mode"], told["reason"]) == (False, "p2p", "superseded")
    await bob.wait("call:mode-switched")
    await eventually(lambda: not media.rooms.rooms)
    assert gateway.calls.live[ada.call_id].phase == "p2p"


async def test_a_join_during_the_way_back_keeps_the_call_on_the_sfu(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, _, eve = await trio(gateway, caller)
    room = media.rooms.rooms[0].id
    await eve.leave()
    await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    zoe = await caller(gateway, "zoe")
    answer = await zoe.join(ada.call_id)
    assert (answer["mode"], answer["phase"]) == ("sfu", "sfu")
    assert answer["mediaServerConfig"]["roomId"] == room
    assert len(answer["producers"]) == 2
    told = await ada.wait("call:mode-switched", holds=lambda p: p["epoch"] == 2)
    assert (told["success"], told["mode"]) == (False, "sfu")


async def test_a_confirmation_without_epoch_is_of_the_announced_transition(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await ada.ask("call:mode-switched", {"success": True})
    await bob.ask("call:mode-switch-ack", {"callId": bob.call_id, "participantId": bob.id, "success": True})
    answer = await eve.ask("call:mode-switched", {"success": True, "mode": "sfu"})
    assert (answer["phase"], answer["epoch"]) == ("sfu", 1)
    assert (await ada.switched(1, "sfu"))["success"]
    await eve.leave()
    await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    for peer in (ada, bob):
        await peer.ask("call:mode-switched", {"success": True})
    assert (await bob.switched(2, "p2p"))["success"]
    stranger = await caller(gateway, "sam")
    refused = await stranger.emit("call:mode-switched", {"success": True})
    assert refused["error"]["details"]["path"] == "callId"


async def test_confirmations_of_former_epochs_change_nothing_and_of_later_ones_and_other_modes_are_refused(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    answer = await ada.confirm(0)
    assert (answer["epoch"], answer["phase"]) == (1, "switching_to_sfu")
    for epoch in (2, 99):
        payload = {"callId": ada.call_id, "mode": "sfu", "epoch": epoch, "success": True}
        refused = await ada.emit("call:mode-switched", payload)
        assert refused["error"]["code"] == "VALIDATION_ERROR"
        assert refused["error"]["details"]["path"] == "epoch"
    payload = {"callId": ada.call_id, "mode": "p2p", "epoch": 1, "success": True}
    assert await ada.code("call:mode-switched", payload) == "INVALID_MODE"
    for peer in (ada, bob, eve):
        answer = await peer.emit("call:mode-switch-ack", payload | {"mode": "sfu"})
        assert answer["success"]
    assert (await ada.switched(1, "sfu"))["success"]


async def test_without_a_media_server_the_pair_stays_on_p2p_and_the_newcomer_is_notified(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(media_server_urls=["http://127.0.0.1:9"])
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    answer = await eve.join(ada.call_id)
    assert (answer["mode"], answer["phase"], answer["peer"]) == ("p2p", "p2p", None)
    assert answer["reason"] == "sfu-unavailable"
    assert (await ada.signal(bob))["success"]
    assert ada.heard("call:mode-switch") == []


async def test_direct_conversations_stay_p2p_and_hold_two(gateway: Gateway, caller: MakeCaller) -> None:
    direct = [Conversation("d1", "DIRECT")]
    ada, bob, eve = [await caller(gateway, name, conversations=direct) for name in ("ada", "bob", "eve")]
    await ada.initiate("d1")
    await bob.join(ada.call_id)
    assert await eve.code("call:join", {"callId": ada.call_id}) == "MAX_PARTICIPANTS_REACHED"
    refused = await eve.request("POST", f"/api/calls/{ada.call_id}/participants", {})
    assert (refused.status, refused.code) == (400, "MAX_PARTICIPANTS_REACHED")
    assert gateway.calls.live[ada.call_id].mode.epoch == 0


async def test_fifty_who_join_within_a_second_make_one_transition(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    callers = await asyncio.gather(*(caller(gateway, f"p{number}") for number in range(50)))
    ada = callers[0]
    await ada.initiate()
    answers = await asyncio.gather(*(peer.join(ada.call_id) for peer in callers[1:]))
    in_sfu = [answer for answer in answers if answer["mode"] == "sfu"]
    assert len(in_sfu) == 48
    assert {answer["epoch"] for answer in in_sfu} == {1}
    await asyncio.gather(*(peer.confirm(1) for peer in callers))
    for peer in callers:
        assert (await peer.switched(1, "sfu"))["success"]
    verdict = journal.check(gateway.journal.recent)
    assert (verdict.transitions, verdict.completed, verdict.problems) == (1, 1, [])
    late = await caller(gateway, "late")
    assert await late.code("call:join", {"callId": ada.call_id}) == "MAX_PARTICIPANTS_REACHED"
    assert len(media.rooms.rooms) == 1


async def test_hysteresis_waits_with_the_way_back(start_gateway: StartGateway, caller: MakeCaller) -> None:
    gateway = await start_gateway(p2p_hysteresis_s=0.5)
    ada, _, eve = await trio(gateway, caller)
    await eve.leave()
    await ada.wait("call:participant-left")
    assert gateway.calls.live[ada.call_id].phase == "sfu"
    back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    assert back["reason"] == "participant_left"


async def test_a_group_that_opens_with_three_starts_on_the_sfu(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(ring_timeout_s=1.5)
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    first = await ada.initiate(expectedParticipants=3)
    assert (first["mode"], first["phase"], first["epoch"]) == ("sfu", "switching_to_sfu", 1)
    await ada.confirm(1, **await ada.go_to_sfu(first))
    second = await bob.join(ada.call_id)
    assert (second["mode"], second["phase"], len(second["producers"])) == ("sfu", "sfu", 1)
    row = await stored_call(gateway, ada.call_id)
    assert (row.mode, row.sfu_room_id) == ("sfu", second["mediaServerConfig"]["roomId"])
    back = await ada.wait("call:mode-switch")
    assert (back["newMode"], back["peer"]) == ("p2p", bob.id)
    assert journal.check(gateway.journal.recent).problems == []


async def test_a_participant_lost_in_the_middle_of_a_switch_rejoins_it_without_disturbing_the_others(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await bob.vanish()
    await ada.confirm(1)
    await eve.confirm(1)
    assert gateway.calls.live[ada.call_id].phase == "switching_to_sfu"
    await bob.reconnect()
    answer = await bob.rejoin()
    assert (answer["mode"], answer["phase"], answer["epoch"]) == ("sfu", "switching_to_sfu", 1)
    assert answer["mediaToken"]
    await bob.confirm(1)
    assert (await ada.switched(1, "sfu"))["success"]
    assert ada.heard("call:participant-left") == []
