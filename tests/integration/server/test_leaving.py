"""To leave is idempotent on the media server: the second answers 200 with what happened."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.integration.server.conftest import MakePeer


async def test_the_second_leave_answers_200_with_what_happened(peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    await alice.join(create=True)
    await bob.join()
    first = await alice.post("participants/alice/leave")
    assert first.data["reason"] == "left"
    assert abs((datetime.fromisoformat(first.data["leftAt"]) - datetime.now(UTC)).total_seconds()) < 10
    assert (await alice.post("participants/alice/leave")).data == first.data
    await bob.post("participants/bob/leave")
    # the room is gone with the last one
    assert (await bob.request("GET", "")).code == "ROOM_NOT_FOUND"
    for name, who in (("alice", alice), ("bob", bob)):
        answer = await who.post(f"participants/{name}/leave")
        assert (answer.status, answer.data["participantId"], answer.data["reason"]) == (200, name, "left")


async def test_a_kicked_participant_or_one_whose_room_was_destroyed_is_told_so(peer: MakePeer) -> None:
    alice, bob, service = peer("alice"), peer("bob"), peer("gateway", role="service")
    await alice.join(create=True)
    await bob.join()
    assert (await service.post("participants/alice/leave")).data["reason"] == "removed"
    assert (await service.post("participants/alice/leave")).data["reason"] == "removed"
    assert (await alice.post("participants/alice/leave")).data["reason"] == "removed"
    await service.request("DELETE", "")
    assert (await bob.post("participants/bob/leave")).data["reason"] == "closed"


async def test_a_participant_that_rejoined_leaves_again(peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    await alice.join(create=True)
    await bob.join()
    service = peer("gateway", role="service")
    await service.post("participants/alice/leave")
    await alice.join()
    assert (await alice.post("participants/alice/leave")).data["reason"] == "left"


async def test_a_user_who_was_never_there_has_not_left(peer: MakePeer) -> None:
    alice, carol = peer("alice"), peer("carol")
    assert (await alice.post("participants/alice/leave")).code == "ROOM_NOT_FOUND"
    await alice.join(create=True)
    assert (await carol.post("participants/carol/leave")).code == "PARTICIPANT_NOT_FOUND"
    await alice.post("participants/alice/leave")
    assert (await carol.post("participants/carol/leave")).code == "ROOM_NOT_FOUND"
    assert (await carol.post("participants/alice/leave")).code == "FORBIDDEN"
