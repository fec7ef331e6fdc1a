"""Calls as users make them, each feature peer to peer and through the SFU."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import CANDIDATE, SDP, Caller, participant_id
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.stored import stored_call, stored_metrics
from tests.integration.gateway.test_switch import pair, trio
from tests.integration.hearing import eventually

ADMIN = [Conversation("c1", "GROUP", "admin")]
MODES = pytest.mark.parametrize("mode", ["p2p", "sfu"])


async def in_call(gateway: Gateway, caller: MakeCaller, mode: str) -> list[Caller]:
    """Two or three callers whose call is in this mode."""
    callers = list(await (pair if mode == "p2p" else trio)(gateway, caller))
    assert gateway.calls.live[callers[0].call_id].phase == mode
    return callers


async def test_a_call_rings_for_all_members_of_the_conversation(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    stranger = await caller(gateway, "sam", conversations=[Conversation("c2", "GROUP")])
    answer = await ada.initiate(settings={"videoEnabled": False})
    for event in ("call:initiated", "call:incoming"):
        told = await bob.wait(event)
        assert (told["callId"], told["conversationId"], told["mode"]) == (ada.call_id, "c1", "p2p")
        assert told["initiator"] == told["caller"] == {"userId": "ada", "username": "Ada"}
        assert told["expiresAt"]
        assert [p["videoEnabled"] for p in told["participants"]] == [False]
    assert (answer["role"], answer["mode"], answer["phase"], answer["epoch"]) == (
        "initiator",
        "p2p",
        "p2p",
        0,
    )
    assert ada.heard("call:initiated") == stranger.heard("call:initiated") == []
    row = await stored_call(gateway, ada.call_id)
    assert row.status == "ringing"
    await bob.join(ada.call_id)
    row = await stored_call(gateway, ada.call_id)
    assert (row.status, row.started_at is not None) == ("active", True)


async def test_a_call_does_not_ring_for_its_initiator_on_other_sockets(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, tablet, bob = (
        await caller(gateway, "ada"),
        await caller(gateway, "ada"),
        await caller(gateway, "bob"),
    )
    guest = await caller(gateway, "ada", anonymous=True)
    await ada.initiate()
    for peer in (bob, guest):
        await peer.wait("call:initiated")
    assert ada.heard("call:initiated") == tablet.heard("call:initiated") == []


async def test_of_two_the_one_already_there_offers(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await pair(gateway, caller)
    assert (bob.answer["initiator"], bob.answer["peer"]) == (False, ada.id)
    joined = await ada.wait("call:participant-joined")
    assert (joined["initiator"], joined["participant"]["participantId"]) == (True, bob.id)
    assert joined["participant"]["userId"] == "bob"


async def test_an_offer_of_the_initiator_reaches_its_peer_at_once(
    gateway: Gateway, caller: MakeCaller
) -> None:
    for number in range(8):
        conversation = [Conversation(f"c{number}", "GROUP")]
        ada = await caller(gateway, f"ada{number}", conversations=conversation)
        bob = await caller(gateway, f"bob{number}", conversations=conversation)
        await ada.initiate(f"c{number}")
        joining = asyncio.create_task(bob.join(ada.call_id))
        joined = await ada.wait("call:participant-joined")
        payload = {
            "callId": ada.call_id,
            "signal": {"type": "offer", "sdp": SDP, "to": participant_id(joined)},
        }
        answer = await ada.emit("call:signal", payload)
        assert answer["success"], (number, answer)
        await joining
        first = next(name for name, _ in bob.events if name in ("call:join", "call:signal"))
        assert first == "call:join", "an offer came before its target knew who it is"


async def test_no_participant_is_told_to_offer_to_one_without_a_socket(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await ada.initiate()
    taken = await bob.request("POST", f"/api/calls/{ada.call_id}/participants", {})
    assert taken.status == 200
    assert not ada.heard("call:participant-joined")
    assert (await bob.join(ada.call_id))["initiator"] is False
    joined = await ada.wait("call:participant-joined")
    assert (participant_id(joined), joined["initiator"]) == (bob.id, True)
    bob_left = asyncio.create_task(ada.wait("call:participant-left"))
    await bob.leave()
    await bob_left
    # a participant without a socket joins and leaves without a notification
    assert (await bob.request("POST", f"/api/calls/{ada.call_id}/participants", {})).status == 200
    assert (await bob.request("POST", f"/api/calls/{ada.call_id}/leave")).status == 200
    assert len(ada.heard("call:participant-joined")) == len(ada.heard("call:participant-left")) == 1


async def test_an_initiator_over_rest_offers_once_both_are_there(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    begun = await ada.request("POST", "/api/calls", {"conversationId": "c1", "type": "video"})
    place = begun.body["data"]
    answer = await bob.join(place["callId"])
    assert (answer["initiator"], answer["peer"]) == (False, place["participantId"])
    answer = await ada.join(place["callId"])
    assert (answer["initiator"], answer["peer"]) == (True, bob.id)
    assert (await ada.signal(bob))["success"]
    assert not [told for told in bob.heard("call:participant-joined") if told["initiator"]]


async def test_a_conversation_has_one_call(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    answers = await asyncio.gather(
        *(p.emit("call:initiate", {"conversationId": "c1", "type": "audio"}) for p in (ada, bob))
    )
    (won,) = [a["data"] for a in answers if a["success"]]
    (lost,) = [a["error"] for a in answers if not a["success"]]
    assert (lost["code"], lost["details"]["callId"]) == ("CALL_ALREADY_ACTIVE", won["callId"])


@MODES
async def test_signals_reach_their_target_alone(gateway: Gateway, caller: MakeCaller, mode: str) -> None:
    callers = await in_call(gateway, caller, mode)
    ada, bob = callers[:2]
    assert (await ada.signal(bob, sdp=SDP))["success"]
    candidate = {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "u"}
    assert (await ada.signal(bob, type="ice-candidate", candidate=candidate))["success"]
    assert (await ada.signal(bob, type="ice-candidate", candidate="", sdpMid="0"))["success"]
    await eventually(lambda: len(bob.heard("call:signal")) == 3)
    first, second, third = (heard["signal"] for heard in bob.heard("call:signal"))
    assert first == {"type": "offer", "from": ada.id, "to": bob.id, "sdp": SDP}
    assert second["candidate"] == candidate
    assert (third["candidate"], third["sdpMid"]) == ("", "0")
    assert all(peer.heard("call:signal") == [] for peer in callers if peer is not bob)


@MODES
async def test_signals_of_others_and_to_others_are_refused(
    gateway: Gateway, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    outsider = await caller(gateway, "olaf")
    outsider.call_id, outsider.id = ada.call_id, "0" * 24
    assert (await outsider.signal(bob))["error"]["code"] == "NOT_A_PARTICIPANT"
    assert (await ada.signal(outsider))["error"]["code"] == "TARGET_NOT_FOUND"
    forged = {"type": "offer", "from": bob.id, "to": bob.id, "sdp": SDP}
    payload = {"callId": ada.call_id, "signal": forged}
    assert await ada.code("call:signal", payload) == "SIGNAL_SENDER_MISMATCH"
    assert (await ada.signal(ada))["error"]["code"] == "TARGET_NOT_FOUND"
    await bob.vanish()
    await ada.wait("call:participant-connection", holds=lambda p: p["state"] == "reconnecting")
    assert (await ada.signal(bob))["error"]["code"] == "TARGET_NOT_FOUND"
    assert bob.heard("call:signal") == []


@MODES
async def test_toggles_are_announced_and_stored(gateway: Gateway, caller: MakeCaller, mode: str) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    answer = await ada.ask("call:toggle-audio", {"callId": ada.call_id, "enabled": False})
    assert (answer["mediaType"], answer["enabled"], answer["participantId"]) == ("audio", False, ada.id)
    await ada.ask("call:toggle-video", {"callId": ada.call_id, "enabled": False})
    state = {"callId": ada.call_id, "audioEnabled": True, "screenShareEnabled": True}
    await ada.ask("call:media-state-change", state)
    await eventually(lambda: len(bob.heard("call:media-toggled")) == 4)
    told = [(p["mediaType"], p["enabled"]) for p in bob.heard("call:media-toggled")]
    assert told == [("audio", False), ("video", False), ("audio", True), ("screen", True)]
    row = await stored_call(gateway, ada.call_id)
    stored = next(p for p in row.participants if p.id == ada.id)
    assert (stored.audio_enabled, stored.video_enabled, stored.screen_share_enabled) == (True, False, True)


@MODES
async def test_a_leave_is_announced_and_the_last_one_ends_the_call(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, mode: str
) -> None:
    callers = await in_call(gateway, caller, mode)
    call_id = callers[0].call_id
    for number, peer in enumerate(callers[:-1], start=1):
        await peer.leave()
        left = await callers[-1].wait(
            "call:participant-left", holds=lambda p, who=peer: p["participantId"] == who.id
        )
        assert (left["reason"], left["totalParticipants"]) == ("left", len(callers) - number)
    await callers[-1].leave()
    ended = await callers[0].wait("call:ended")
    assert (ended["callId"], ended["reason"], ended["endedBy"]) == (call_id, "normal", callers[-1].name)
    assert await callers[0].code("call:join", {"callId": call_id}) == "CALL_ENDED"
    row = await stored_call(gateway, call_id)
    assert (row.status, row.end_reason, row.ended_by) == ("ended", "normal", callers[-1].name)
    assert row.ended_at is not None
    assert row.duration is not None
    assert all(p.left_at for p in row.participants)
    assert gateway.calls.live == {}
    await eventually(lambda: not media.rooms.rooms)


@MODES
async def test_ending_destroys_the_room_and_writes_the_end(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    assert await bob.code("call:end", {"callId": ada.call_id}) == "PERMISSION_DENIED"
    data = await ada.ask("call:end", {"callId": ada.call_id})
    assert data["duration"] >= 0
    ended = await bob.wait("call:ended")
    assert (ended["reason"], ended["endedBy"]) == ("normal", "ada")
    await eventually(lambda: not media.rooms.rooms)
    row = await stored_call(gateway, ada.call_id)
    assert (row.end_reason, row.duration, row.status) == ("normal", data["duration"], "ended")
    assert not any(p.sfu_send_transport_id for p in row.participants)
    await bob.initiate()


@MODES
async def test_an_admin_may_end_and_kick_without_being_in_the_call(
    gateway: Gateway, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    boss = await caller(gateway, "boss", conversations=ADMIN)
    payload = {"conversationId": "c1", "participantId": bob.id}
    assert await bob.code("call:force-leave", payload | {"participantId": ada.id}) == "PERMISSION_DENIED"
    await boss.ask("call:force-leave", payload)
    left = await ada.wait("call:participant-left")
    assert (left["participantId"], left["reason"]) == (bob.id, "forced")
    assert "removed" in (await bob.wait("call:error", holds=lambda p: p["code"] == "KICKED"))["message"]
    await boss.ask("call:end", {"callId": ada.call_id})
    assert (await ada.wait("call:ended"))["reason"] == "forced"


async def test_a_kicked_participant_does_not_stay_on_the_media_server(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    callers = await in_call(gateway, caller, "sfu")
    ada, bob, eve = callers
    access = await bob.wait("call:mode-switch")
    zoe = await caller(gateway, "zoe")
    boss = await caller(gateway, "boss", conversations=ADMIN)
    await zoe.join(ada.call_id)
    await boss.ask("call:force-leave", {"conversationId": "c1", "participantId": bob.id})
    (room,) = media.rooms.rooms
    await eventually(lambda: bob.id not in room.participants)
    # the token for the media server still holds
    for _ in range(3):
        joined = await bob.media(access, "POST", "join", {"participantId": bob.id})
        assert joined.status in (200, 404)  # out again before the answer
        await eventually(lambda: bob.id not in room.participants)
    again = await bob.join(ada.call_id)
    producer = (await bob.go_to_sfu(again))["producerIds"]["audio"]
    await ada.wait("new-producer", holds=lambda p: p["producerId"] == producer)
    assert bob.id in room.participants
    assert eve.id in room.participants


@MODES
async def test_a_user_may_leave_for_a_broken_socket_from_another_one(
    gateway: Gateway, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    elsewhere = await caller(gateway, "bob")
    await elsewhere.ask("call:force-leave", {"conversationId": "c1"})
    assert (await ada.wait("call:participant-left"))["participantId"] == bob.id
    assert await elsewhere.code("call:force-leave", {"conversationId": "c1"}) == "NOT_A_PARTICIPANT"


@MODES
async def test_a_broken_socket_keeps_its_place_and_a_rejoin_does_not_disturb_the_others(
    gateway: Gateway, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    place, epoch = bob.id, gateway.calls.live[ada.call_id].mode.epoch
    await bob.vanish()
    away = await ada.wait("call:participant-connection", holds=lambda p: p["state"] == "reconnecting")
    assert away["participantId"] == place
    await bob.reconnect()
    answer = await bob.rejoin()
    assert (answer["participantId"], answer["mode"], answer["epoch"]) == (place, mode, epoch)
    await ada.wait("call:participant-connection", holds=lambda p: p["state"] == "connected")
    assert ada.heard("call:participant-left") == []
    assert (await ada.signal(bob))["success"]
    metrics = await stored_metrics(gateway, ada.call_id)
    assert metrics.reconnections == 1


async def test_a_connection_that_ends_without_a_close_frame_is_no_leave(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, "p2p")
    await bob.close_without_a_frame()
    away = await ada.wait("call:participant-connection", holds=lambda p: p["state"] == "reconnecting")
    assert away["participantId"] == bob.id
    assert ada.heard("call:participant-left") == []


@MODES
async def test_a_participant_that_does_not_rejoin_has_left_after_the_grace(
    start_gateway: StartGateway, caller: MakeCaller, mode: str
) -> None:
    gateway = await start_gateway(reconnect_grace_s=0.4)
    ada, bob, *_ = await in_call(gateway, caller, mode)
    await bob.vanish()
    left = await ada.wait("call:participant-left")
    assert (left["participantId"], left["reason"]) == (bob.id, "timeout")
    await bob.reconnect()
    payload = {"callId": ada.call_id, "participantId": bob.id}
    assert await bob.code("call:rejoin", payload) == "NOT_A_PARTICIPANT"
    answer = await bob.join(ada.call_id)
    assert answer["participantId"] == left["participantId"]


@MODES
async def test_a_socket_that_disconnects_on_purpose_leaves_at_once(
    gateway: Gateway, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    await bob.close()
    assert (await ada.wait("call:participant-left"))["reason"] == "left"


@MODES
async def test_joining_again_starts_anew_and_replaces_the_other_socket(
    gateway: Gateway, caller: MakeCaller, mode: str
) -> None:
    ada, bob, *_ = await in_call(gateway, caller, mode)
    page = await caller(gateway, "bob")
    answer = await page.join(ada.call_id)
    assert (answer["participantId"], answer["mode"]) == (bob.id, mode)
    assert (await bob.wait("call:error"))["code"] == "KICKED"
    left = await ada.wait("call:participant-left")
    assert (left["participantId"], left["reason"]) == (bob.id, "rejoined")
    joined = ada.heard("call:participant-joined")[-1]
    assert joined["initiator"] is (mode == "p2p")
    before = len(ada.heard("call:participant-left"))
    await bob.close()
    assert (await ada.signal(page))["success"]
    assert len(ada.heard("call:participant-left")) == before


async def test_an_unanswered_call_ends_after_the_ring_time(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(ring_timeout_s=0.4)
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await ada.initiate()
    for peer in (ada, bob):
        assert (await peer.wait("call:ended"))["reason"] == "timeout"
    row = await stored_call(gateway, ada.call_id)
    assert (row.end_reason, row.duration, row.ended_by) == ("timeout", 0, None)


async def test_an_answered_call_does_not_time_out(start_gateway: StartGateway, caller: MakeCaller) -> None:
    gateway = await start_gateway(ring_timeout_s=0.3)
    ada, bob = await pair(gateway, caller)
    await bob.leave()
    await asyncio.sleep(0.5)
    assert ada.heard("call:ended") == []


async def test_what_one_sends_may_stand_beside_the_call_in_an_acceptance(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await ada.initiate()
    answer = await bob.ask(
        "call:accept", {"callId": ada.call_id, "audioEnabled": True, "videoEnabled": False}
    )
    own = next(p for p in answer["participants"] if p["participantId"] == answer["participantId"])
    assert (own["audioEnabled"], own["videoEnabled"]) == (True, False)


async def test_there_is_no_media_token_without_a_room(gateway: Gateway, caller: MakeCaller) -> None:
    ada, _ = await pair(gateway, caller)
    assert await ada.code("call:media-token", {"callId": ada.call_id}) == "MEDIA_SERVER_ERROR"


async def test_a_rejection_ends_an_unanswered_call_of_two_and_only_that(
    gateway: Gateway, caller: MakeCaller
) -> None:
    both = [Conversation("d1", "DIRECT"), Conversation("c1", "GROUP")]
    ada, bob = [await caller(gateway, name, conversations=both) for name in ("ada", "bob")]
    await ada.initiate("d1")
    await bob.ask("call:reject", {"callId": ada.call_id, "reason": "busy"})
    assert (await ada.wait("call:rejected"))["reason"] == "busy"
    assert (await ada.wait("call:ended"))["endedBy"] == "bob"
    await ada.initiate("c1")
    await bob.ask("call:reject", {"callId": ada.call_id})
    await ada.wait("call:rejected", holds=lambda p: p["callId"] == ada.call_id)
    assert ada.call_id in gateway.calls.live


async def test_guests_and_users_of_the_same_id_are_two_participants(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada = await caller(gateway, "ada")
    guest = await caller(gateway, "ada", anonymous=True)
    await ada.initiate()
    await guest.join(ada.call_id)
    assert guest.id != ada.id
    joined = await ada.wait("call:participant-joined")
    assert joined["participant"]["anonymousUserId"] == "ada"
    row = await stored_call(gateway, ada.call_id)
    assert [(p.user_id, p.anonymous_user_id) for p in row.participants] == [("ada", None), (None, "ada")]
    assert await guest.code("call:end", {"callId": ada.call_id}) == "PERMISSION_DENIED"


async def test_a_socket_is_in_one_call(gateway: Gateway, caller: MakeCaller) -> None:
    both = [Conversation("c1", "GROUP"), Conversation("c2", "GROUP")]
    ada = await caller(gateway, "ada", conversations=both)
    await ada.initiate("c1")
    payload = {"conversationId": "c2", "type": "audio"}
    assert await ada.code("call:initiate", payload) == "ALREADY_IN_CALL"
    await ada.leave()
    await ada.initiate("c2")


async def test_turn_servers_are_sent_with_a_credential(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(
        turn_servers=["turn.example:3478", "stun:stun.example"], turn_secret="s" * 32
    )
    ada, bob = await pair(gateway, caller)
    stun, turn = bob.answer["iceServers"]
    assert stun == {"urls": ["stun:stun.example:3478"]}
    assert turn["username"].endswith(":bob")
    assert turn["credential"]
    assert (await ada.wait("call:participant-joined"))["iceServers"][1]["username"].endswith(":ada")


async def test_an_expired_token_may_be_renewed_and_else_cuts_the_socket_off(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(token_grace_s=0, token_leeway_s=0)
    ada = await caller(gateway, "ada", lifetime_s=2)
    bob = await caller(gateway, "bob", lifetime_s=2)
    assert (await ada.wait("authenticated"))["user"] == {"id": "ada", "username": "Ada", "kind": "user"}
    await ada.ask("authenticate", {"token": ada.new_token(600)})
    assert await ada.code("authenticate", {"token": bob.new_token(600)}) == "UNAUTHORIZED"
    assert (await bob.wait("call:error"))["code"] == "NOT_AUTHENTICATED"
    await bob.wait_disconnected()
    await ada.initiate()


async def test_a_user_who_is_no_longer_a_member_is_removed_from_the_call(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    bob.conversations = [Conversation("c2", "GROUP")]
    await bob.ask("authenticate", {"token": bob.new_token(60)})
    left = await ada.wait("call:participant-left")
    assert (left["participantId"], left["reason"]) == (bob.id, "forced")
    assert (await bob.wait("call:error"))["code"] == "KICKED"
    assert (
        await bob.code("call:rejoin", {"callId": bob.call_id, "participantId": bob.id}) == "PERMISSION_DENIED"
    )
    await bob.initiate("c2")


async def test_media_tokens_are_renewed(start_gateway: StartGateway, caller: MakeCaller) -> None:
    gateway = await start_gateway()
    ada, *_ = await trio(gateway, caller)
    fresh = await ada.ask("call:media-token", {"callId": ada.call_id})
    assert (await ada.media(fresh, "GET", "")).status in (200, 404)
    member = gateway.calls.live[ada.call_id].members[ada.id]
    member.token_renewal_s = 0.0
    before = len(ada.heard("call:media-token"))
    await eventually(lambda: len(ada.heard("call:media-token")) == before + 1)


async def test_members_of_another_conversation_learn_and_change_nothing(
    gateway: Gateway, caller: MakeCaller
) -> None:
    callers = await trio(gateway, caller)
    ada, bob, _ = callers
    spy = await caller(gateway, "spy", conversations=[Conversation("c2", "GROUP", "admin")])
    heard_before = [len(peer.events) for peer in callers]
    call = {"callId": ada.call_id}
    signal = {"type": "offer", "from": ada.id, "to": bob.id, "sdp": SDP}
    confirmation = {"mode": "sfu", "epoch": 1, "success": False}
    for event, payload in {
        "call:join": call,
        "call:accept": call,
        "call:rejoin": call | {"participantId": bob.id},
        "call:leave": call,
        "call:reject": call,
        "call:signal": call | {"signal": signal},
        "call:toggle-audio": call | {"enabled": False},
        "call:toggle-video": call | {"enabled": False},
        "call:media-state-change": call | {"audioEnabled": False},
        "call:end": call,
        "call:mode-switched": call | confirmation,
        "call:mode-switch-ack": call | confirmation,
        "call:sfu-ready": call | {"success": False},
        "call:media-token": call,
        "call:initiate": {"conversationId": "c1", "type": "audio"},
        "call:force-leave": {"conversationId": "c1", "participantId": bob.id},
    }.items():
        answer = await spy.emit(event, payload)
        assert answer["error"]["code"] == "PERMISSION_DENIED", event
        assert "participants" not in str(answer)
    path = f"/api/calls/{ada.call_id}"
    for method, route, body in (
        ("GET", path, None),
        ("DELETE", path, None),
        ("PUT", f"{path}/mode", {"mode": "p2p"}),
        ("POST", f"{path}/quality-metrics", {"rtt": 1}),
        ("POST", f"{path}/participants", {}),
        ("DELETE", f"{path}/participants/{bob.id}", None),
        ("POST", f"{path}/leave", None),
        ("GET", "/api/conversations/c1/calls", None),
        ("GET", "/api/conversations/c1/active-call", None),
    ):
        denied = await spy.request(method, route, body)
        assert (denied.status, denied.code) == (403, "PERMISSION_DENIED"), route
    assert {name for name, _ in spy.events} == {"authenticated", "call:error"}
    assert [len(peer.events) for peer in callers] == heard_before
    assert len(gateway.calls.live[ada.call_id].members) == 3


@pytest.mark.parametrize("table", ["call_participants", "call_metrics"])
async def test_calls_go_on_when_the_database_fails(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, tmp_path: Path, table: str
) -> None:
    ada, bob, eve = await trio(gateway, caller)
    await gateway.late.written()
    database = sqlite3.connect(tmp_path / "state" / "meeshy.db")
    database.execute(f"DROP TABLE {table}")
    database.commit()
    database.close()
    await eve.leave()
    assert (await ada.wait("call:participant-left"))["participantId"] == eve.id
    back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
    for peer in (ada, bob):
        await peer.confirm(back["epoch"], "p2p")
    assert (await bob.switched(back["epoch"], "p2p"))["success"]
    await bob.vanish()
    await bob.reconnect()
    await bob.rejoin()
    assert (await ada.signal(bob))["success"]
    await ada.ask("call:toggle-audio", {"callId": ada.call_id, "enabled": False})
    assert (await bob.wait("call:media-toggled"))["enabled"] is False
    await ada.ask("call:end", {"callId": ada.call_id})
    ended = await bob.wait("call:ended")
    assert (ended["callId"], ended["reason"], ended["endedBy"]) == (ada.call_id, "normal", "ada")
    await eventually(lambda: not media.rooms.rooms and not gateway.calls.live)


async def test_a_rejoin_needs_no_database(
    start_gateway: StartGateway, caller: MakeCaller, tmp_path: Path
) -> None:
    gateway = await start_gateway(reconnect_grace_s=0.3)
    ada, bob = await pair(gateway, caller)
    await gateway.late.written()
    database = sqlite3.connect(tmp_path / "state" / "meeshy.db")
    database.execute("DROP TABLE call_participants")
    database.commit()
    database.close()
    again = await caller(gateway, "bob")
    assert (await again.join(ada.call_id))["participantId"] == bob.id
    await bob.wait("call:error", holds=lambda p: p["code"] == "KICKED")
    assert (await ada.signal(again))["success"]
    await again.vanish()
    assert await ada.wait("call:participant-left", holds=lambda p: p["reason"] == "timeout")


async def test_a_join_that_is_overtaken_by_another_socket_is_refused(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, _ = await pair(gateway, caller)
    first, second = await caller(gateway, "eve"), await caller(gateway, "eve")
    answers = await asyncio.gather(
        *(page.emit("call:join", {"callId": ada.call_id}) for page in (first, second))
    )
    assert [answer["success"] for answer in answers].count(True) >= 1
    member = next(m for m in gateway.calls.live[ada.call_id].members.values() if m.user_id == "eve")
    assert member.sid is not None
    assert len(gateway.calls.live[ada.call_id].members) == 3
    kicked = first.heard("call:error") + second.heard("call:error")
    assert {error["code"] for error in kicked} == {"KICKED"}
