"""Requests belong to a session: the newest join-room of a participant takes over, and the replaced one can do nothing more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from meeshy_sfu.server.app import MediaServer
from tests.integration.hearing import eventually
from tests.integration.server.conftest import MakePeer, StartServer
from tests.integration.server.peers import Peer

PLACE = {"callId": "call-1", "participantId": "alice"}
REPLACED = "replaced by a new connection"


def send_of(joined: dict[str, Any]) -> str:
    return str(joined["sendTransport"]["id"])


async def enter(one: Peer) -> dict[str, Any]:
    """Both transports, a socket in the room and a microphone."""
    joined = await one.join(create=True)
    await one.connect()
    assert (await one.join_room())["success"]
    producer = await one.produce(send_of(joined), "audio", appData={"source": "microphone"})
    return {**joined, "producerId": producer["producerId"]}


async def resume(one: Peer) -> dict[str, Any]:
    answer = await one.join_room(resume=True)
    assert answer["success"], answer
    return dict(answer["data"])


@dataclass(frozen=True)
class Setup:
    """Alice and Bob in a call, each with a microphone; and a second client of Alice's, not connected yet."""

    server: MediaServer
    alice: Peer
    again: Peer
    bob: Peer
    alices: dict[str, Any]
    bobs: dict[str, Any]

    @property
    def peers(self) -> tuple[Peer, Peer, Peer]:
        return self.alice, self.again, self.bob


Begin = Callable[..., Awaitable[Setup]]


@pytest.fixture
async def begin(start_server: StartServer, peer: MakePeer) -> Begin:
    """Start a server with settings of the test's choice, and the call."""

    async def begin(**settings: Any) -> Setup:
        server = await start_server(**settings)
        alice, again, bob = (peer(name, url=server.url) for name in ("alice", "alice", "bob"))
        bobs = await enter(bob)
        return Setup(server, alice, again, bob, await enter(alice), bobs)

    return begin


async def lose(setup: Setup, lost: str) -> None:
    """Break off Alice's socket, and wait until the server knows; or leave it open, as if nothing had shown yet."""
    if lost == "noticed":
        vanish(setup.alice)
        await eventually(lambda: bool(setup.server.absences.disconnected))


def vanish(one: Peer) -> None:
    one.socket.eio.ws._response.connection.transport.abort()


async def produces_again(one: Peer, transport_id: str, other: Peer) -> None:
    """Check that the same source is produced at once, and that the other is notified of it."""
    producer = await one.produce(transport_id, "audio", appData={"source": "microphone"})
    await other.wait("new-producer", holds=lambda told: told["producerId"] == producer["producerId"])


@pytest.mark.parametrize("lost", ["unnoticed", "noticed"])
async def test_join_room_on_a_new_socket_after_a_hard_loss_loses_no_audio(begin: Begin, lost: str) -> None:
    setup = await begin(disconnect_grace_s=30)
    (_, again, bob), before = setup.peers, setup.alices
    await lose(setup, lost)
    await again.connect()
    joined = (await again.join_room())["data"]
    assert joined["resumed"] is False
    assert joined["owned"] == {"transports": [], "producers": [], "consumers": []}
    assert (await bob.wait("producer-closed"))["producerId"] == before["producerId"]
    assert (await again.request("GET", f"transports/{send_of(before)}/stats")).code == "TRANSPORT_NOT_FOUND"
    await produces_again(again, (await again.transport("send"))["id"], bob)
    assert not bob.heard("participant-left")
    assert not setup.server.absences.disconnected


@pytest.mark.parametrize("lost", ["unnoticed", "noticed"])
async def test_transports_made_before_join_room_belong_to_the_new_session(begin: Begin, lost: str) -> None:
    setup = await begin(disconnect_grace_s=30)
    (_, again, bob), before = setup.peers, setup.alices
    await lose(setup, lost)
    made = {direction: (await again.transport(direction))["id"] for direction in ("send", "recv")}
    await again.connect()
    joined = (await again.join_room())["data"]
    assert {item["transportId"] for item in joined["owned"]["transports"]} == set(made.values())
    assert (await again.request("GET", f"transports/{send_of(before)}/stats")).code == "TRANSPORT_NOT_FOUND"
    await produces_again(again, made["send"], bob)


async def test_a_session_that_resumes_goes_on_and_is_told_what_it_owns(begin: Begin) -> None:
    setup = await begin(disconnect_grace_s=30)
    (alice, again, bob), before, theirs = setup.peers, setup.alices, setup.bobs
    consumer = await alice.consume(theirs["producerId"])
    await lose(setup, "noticed")
    await again.connect()
    answer = await resume(again)
    assert answer["resumed"] is True
    assert answer["owned"] == {
        "transports": [
            {"transportId": send_of(before), "direction": "send"},
            {"transportId": before["recvTransport"]["id"], "direction": "recv"},
        ],
        "producers": [
            {
                "producerId": before["producerId"],
                "kind": "audio",
                "appData": {"source": "microphone"},
                "paused": False,
            }
        ],
        "consumers": [
            {
                "consumerId": consumer["consumerId"],
                "producerId": theirs["producerId"],
                "kind": "audio",
                "paused": True,
            }
        ],
    }
    assert not bob.heard("producer-closed")
    assert not setup.server.absences.disconnected
    await again.close()
    assert (await bob.wait("participant-left"))["participantId"] == "alice"


async def test_a_session_that_resumes_finds_nothing_when_the_place_is_given_up(begin: Begin) -> None:
    alice, again, bob = (await begin()).peers
    await alice.close()
    await bob.wait("participant-left")
    await again.connect()
    answer = await resume(again)
    assert (answer["resumed"], answer["owned"]["transports"]) == (False, [])


async def test_the_replaced_session_is_notified_and_can_do_nothing_more(begin: Begin) -> None:
    setup = await begin()
    (alice, again, bob), theirs = setup.peers, setup.bobs
    consumer = await alice.consume(theirs["producerId"])
    await again.connect()
    await resume(again)
    assert await alice.wait("participant-left") == {**PLACE, "reason": REPLACED}
    for event, payload in (
        ("leave-room", PLACE),
        ("pause-consumer", {"consumerId": consumer["consumerId"]}),
        ("resume-consumer", {"consumerId": consumer["consumerId"]}),
    ):
        assert (await alice.call(event, payload))["error"]["code"] == "KICKED", event
    heard = len(alice.heard("new-producer"))
    await alice.close()
    track = await bob.produce(send_of(theirs), "video", appData={"source": "camera"})
    await again.wait("new-producer", holds=lambda told: told["producerId"] == track["producerId"])
    assert len(alice.heard("new-producer")) == heard
    assert {str(one) for one in setup.server.rooms.rooms[0].participants} == {"alice", "bob"}
    assert not bob.heard("participant-left")
    assert not bob.heard("producer-closed")


@pytest.mark.parametrize("leave", ["disconnect", "leave-room", "break"])
async def test_a_leave_of_a_replaced_session_never_changes_its_successor(begin: Begin, leave: str) -> None:
    """Also when the successor has come in by a request, and its socket is not there yet."""
    setup = await begin(disconnect_grace_s=0.1)
    alice, again, bob = setup.peers
    joined = await again.join()
    await alice.wait("participant-left", holds=lambda told: told["reason"] == REPLACED)
    match leave:
        case "leave-room":
            assert (await alice.call("leave-room", PLACE))["error"]["code"] == "KICKED"
        case "disconnect":
            await alice.close()
        case "break":
            vanish(alice)
    if leave != "leave-room":
        await eventually(lambda: len(setup.server.signaling._sessions) == 1)
    await produces_again(again, send_of(joined), bob)
    await again.connect()
    answer = (await again.join_room())["data"]
    assert len(answer["owned"]["producers"]) == 1, "the first join-room adopts what was made"
    assert len(bob.heard("participant-left")) == 1


@pytest.mark.parametrize("leave", ["disconnect", "leave-room", "break"])
async def test_a_leave_while_a_successor_joins_ends_only_what_was_the_sessions(
    begin: Begin, leave: str
) -> None:
    setup = await begin(disconnect_grace_s=0.1)
    (alice, again, bob), before = setup.peers, setup.alices
    made = (await again.transport("send"))["id"]
    match leave:
        case "leave-room":
            assert (await alice.call("leave-room", PLACE))["success"]
        case "disconnect":
            await alice.close()
        case "break":
            vanish(alice)
    assert (await bob.wait("producer-closed"))["producerId"] == before["producerId"]
    if leave == "leave-room":
        assert (await alice.call("leave-room", PLACE))["success"], "a second time changes nothing"
    await produces_again(again, made, bob)
    assert not bob.heard("participant-left")
    await again.connect()
    answer = (await again.join_room())["data"]
    assert [item["transportId"] for item in answer["owned"]["transports"]] == [made]


async def test_the_replaced_session_takes_its_place_back_by_join_room(begin: Begin) -> None:
    alice, again, bob = (await begin()).peers
    await again.connect()
    await again.join_room()
    await produces_again(again, (await again.transport("send"))["id"], bob)
    assert (await alice.join_room())["success"]
    assert (await again.wait("participant-left"))["reason"] == REPLACED
    assert (await again.call("leave-room", PLACE))["error"]["code"] == "KICKED"
    await produces_again(alice, (await alice.transport("send"))["id"], bob)


async def test_join_room_again_on_the_same_socket_changes_nothing(begin: Begin) -> None:
    setup = await begin()
    (alice, _, bob), before = setup.peers, setup.alices
    answer = (await alice.join_room())["data"]
    assert answer["resumed"] is True
    assert [item["producerId"] for item in answer["owned"]["producers"]] == [before["producerId"]]
    assert not bob.heard("producer-closed")
    assert not alice.heard("participant-left")


async def test_a_second_transport_of_a_session_ends_with_it_unless_claimed(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meeshy_sfu.rooms.ownership.CLAIM_S", 0.0)
    alice, _, bob = (await begin()).peers
    await alice.transport("send")
    await alice.close()
    assert (await bob.wait("participant-left"))["participantId"] == "alice"


async def test_a_socket_replaces_a_session_of_requests_alone(server: MediaServer, peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    await enter(bob)
    await alice.join()
    await alice.connect()
    assert (await alice.call("leave-room", PLACE))["success"]
    assert (await bob.wait("participant-left"))["reason"] == "left"


async def test_a_successor_that_never_begins_and_sends_nothing_does_not_stay_in_the_room(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _, bob = (await begin()).peers
    await alice.transport("send")
    monkeypatch.setattr("meeshy_sfu.rooms.ownership.CLAIM_S", 0.5)
    await alice.close()
    assert (await bob.wait("participant-left"))["participantId"] == "alice"
