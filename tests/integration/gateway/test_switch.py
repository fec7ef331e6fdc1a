"""The switch between peer to peer and SFU, at the level of signalling, with the real media server."""

from __future__ import annotations

from meeshy_sfu.gateway import journal
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.conftest import MakeCaller
from tests.integration.gateway.people import Caller, eventually


async def pair(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller]:
    """Two people in a P2P call of a group."""
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    await ada.initiate()
    await bob.join(ada.call_id)
    return ada, bob


async def trio(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller, Caller]:
    """Three people whose call has moved to the SFU."""
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    answer = await eve.join(ada.call_id)
    for person, access in (
        (ada, await ada.wait("call:mode-switch")),
        (bob, await bob.wait("call:mode-switch")),
        (eve, answer),
    ):
        await person.confirm(answer["epoch"], **await person.go_to_sfu(access))
    for person in (ada, bob, eve):
        assert (await person.switched(answer["epoch"], "sfu"))["success"]
    return ada, bob, eve


async def test_two_to_three_to_two(gateway: Gateway, media: MediaServer, caller: MakeCaller) -> None:
    ada, bob, eve = await trio(gateway, caller)
    row = await gateway.repository.get_call(ada.call_id)
    assert row is not None
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
    for person in (ada, bob):
        await person.confirm(2, "p2p")
    assert (await ada.switched(2, "p2p"))["success"]
    await bob.switched(2, "p2p")
    await eventually(lambda: not media.rooms.rooms)
    row = await gateway.repository.get_call(ada.call_id)
    assert row is not None
    assert (row.mode, row.sfu_room_id, row.mode_change_count) == ("p2p", None, 2)
    assert not any(p.sfu_send_transport_id or p.sfu_audio_producer_id for p in row.participants)
    metrics = await gateway.repository.get_metrics(ada.call_id)
    assert metrics is not None
    assert [(t["from"], t["to"], t["reason"]) for t in metrics.mode_transitions] == [
        ("p2p", "sfu", "participant_joined"),
        ("sfu", "p2p", "participant_left"),
    ]
    verdict = journal.check(gateway.journal.recent)
    assert (verdict.transitions, verdict.completed, verdict.problems) == (2, 2, [])
