"""Sockets receive the events that concern them, and only with a good token."""

from __future__ import annotations

import asyncio
import time

import jsonschema
import pytest
import socketio

from meeshy_sfu.edge import socketio_server
from meeshy_sfu.media.events import Layers, LayersChanged
from meeshy_sfu.rooms.participant import ParticipantId
from meeshy_sfu.server.app import MediaServer
from meeshy_sfu.server.messages import EVENTS
from tests.integration.hearing import eventually
from tests.integration.server.conftest import MakePeer, StartServer
from tests.integration.server.peers import Peer
from tests.unit.media.recordings import CHROMIUM


async def in_call(peer: MakePeer, *names: str) -> list[Peer]:
    """Peers with transports and a socket in the room."""
    peers = [peer(name) for name in names]
    for one in peers:
        one.joined = await one.join(create=True)  # type: ignore[attr-defined]
        await one.connect()
        assert (await one.join_room())["success"]
    return peers


def send_transport(one: Peer) -> str:
    return one.joined["sendTransport"]["id"]  # type: ignore[attr-defined]


async def test_others_are_notified_of_a_new_producer_and_the_owner_is_not(peer: MakePeer) -> None:
    alice, bob, service = *(await in_call(peer, "alice", "bob")), peer("gateway", role="service")
    await service.connect()
    assert (await service.join_room())["success"]
    producer = await alice.produce(send_transport(alice), "audio", appData={"source": "microphone"})
    expected = {
        "callId": "call-1",
        "participantId": "alice",
        "producerId": producer["id"],
        "kind": "audio",
        "appData": {"source": "microphone"},
        "paused": False,
    }
    assert await bob.wait("new-producer") == expected
    assert await service.wait("new-producer") == expected
    assert not alice.heard("new-producer")


async def test_a_late_join_is_notified_of_what_is_there(peer: MakePeer) -> None:
    (alice,) = await in_call(peer, "alice")
    ids = {(await alice.produce(send_transport(alice), kind))["id"] for kind in ("audio", "video")}
    bob = peer("bob")
    await bob.connect()
    answer = await bob.join_room()
    assert answer["data"]["producers"] == 2
    assert {event["producerId"] for event in bob.heard("new-producer")} == ids
    again = await alice.join_room()
    assert again["data"]["producers"] == 0


@pytest.mark.parametrize("how", ["delete", "leave", "leave-room", "disconnect"])
async def test_others_are_notified_when_a_producer_ends(peer: MakePeer, how: str) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    producer = await alice.produce(send_transport(alice), "video")
    await bob.wait("new-producer")
    match how:
        case "delete":
            await alice.request("DELETE", f"producers/{producer['id']}")
        case "leave":
            await alice.post("participants/alice/leave")
        case "leave-room":
            await alice.call("leave-room", {"callId": "call-1", "participantId": "alice"})
        case "disconnect":
            await alice.close()
    assert await bob.wait("producer-closed") == {
        "callId": "call-1",
        "participantId": "alice",
        "producerId": producer["id"],
        "kind": "video",
    }
    assert not alice.heard("producer-closed")


async def test_receivers_are_notified_when_the_sender_pauses(peer: MakePeer) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    producer = await alice.produce(send_transport(alice), "video")
    consumer = await bob.consume(producer["id"])
    expected = {"callId": "call-1", "consumerId": consumer["id"], "producerId": producer["id"]}
    await alice.post(f"producers/{producer['id']}/pause")
    assert await bob.wait("consumer-paused") == expected
    await alice.post(f"producers/{producer['id']}/resume")
    assert await bob.wait("consumer-resumed") == expected
    assert not alice.heard("consumer-paused")


async def test_consumers_can_be_resumed_by_events_as_well(peer: MakePeer) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    producer = await alice.produce(send_transport(alice), "video")
    consumer = await bob.consume(producer["id"])
    assert (await bob.call("resume-consumer", {"consumerId": consumer["id"]}))["success"]
    assert (await bob.call("pause-consumer", {"consumerId": consumer["id"]}))["success"]
    other = await alice.call("resume-consumer", {"consumerId": consumer["id"]})
    assert other["error"]["code"] == "FORBIDDEN"


async def test_a_receiver_chooses_layers_and_alone_is_notified_of_what_is_forwarded(
    peer: MakePeer, server: MediaServer
) -> None:
    """Media that changes with it is in crates/sfu-worker/tests/layers.rs; here the core's report is written by hand."""
    alice, bob = await in_call(peer, "alice", "bob")
    simulcast = CHROMIUM["produce"]["vp8_simulcast3"]["rtpParameters"]
    producer = await alice.produce(send_transport(alice), "video", rtpParameters=simulcast)
    made = await bob.consume(producer["id"])
    assert (made["type"], made["preferredLayers"], made["currentLayers"]) == (
        "simulcast",
        {"spatialLayer": 2, "temporalLayer": 2},
        None,
    )
    wish = {"consumerId": made["id"], "spatialLayer": 7, "temporalLayer": 0}
    answer = await bob.call("set-preferred-layers", wish)
    clamped = {"spatialLayer": 2, "temporalLayer": 0}
    assert answer["data"] == {"consumerId": made["id"], "preferredLayers": clamped}
    rest = await bob.post(f"consumers/{made['id']}/preferred-layers", {"spatialLayer": 1})
    assert rest.data == {"preferredLayers": {"spatialLayer": 1, "temporalLayer": 2}}
    refused = await alice.call("set-preferred-layers", wish)
    assert refused["error"]["code"] == "FORBIDDEN"
    negative = await bob.call("set-preferred-layers", wish | {"spatialLayer": -1})
    assert negative["error"]["code"] == "INVALID_REQUEST"
    stats = (await bob.request("GET", f"consumers/{made['id']}/stats")).data["stats"]
    assert stats["currentLayers"] is None
    (room,) = server.rooms.rooms
    (consumer,) = room.participants[ParticipantId("bob")].consumers.values()

    def shown() -> set[str]:
        text = server.metrics.text().decode()
        return {
            line
            for line in text.splitlines()
            if line.startswith(("meeshy_layer_switches_total", "meeshy_consumers_by"))
        }

    for layers, told in (
        (Layers(2, None), {"spatialLayer": 2}),
        (Layers(1, None), {"spatialLayer": 1}),
    ):
        room.router.handle_event(LayersChanged(room.router.handle, consumer.handle, layers))
        assert await bob.wait("layers-changed") == {
            "callId": "call-1",
            "consumerId": made["id"],
            "producerId": producer["id"],
            "layers": told,
        }
        bob.events.clear()
    assert shown() == {
        "meeshy_layer_switches_total 1.0",
        'meeshy_consumers_by_layer{layer="1"} 1.0',
    }
    room.router.handle_event(LayersChanged(room.router.handle, consumer.handle, None))
    assert (await bob.wait("layers-changed"))["layers"] is None
    assert shown() == {"meeshy_layer_switches_total 1.0"}
    assert not alice.heard("layers-changed")


async def test_all_are_notified_that_the_call_was_ended(peer: MakePeer, server: MediaServer) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    (room,) = server.rooms.rooms
    await alice.request("DELETE", "")
    for one in (alice, bob):
        assert await one.wait("room-closed") == {"callId": "call-1", "roomId": room.id, "reason": "closed"}
        assert not one.heard("participant-left")


async def test_a_broken_connection_is_waited_for(start_server: StartServer, http, peer: MakePeer) -> None:
    server = await start_server(disconnect_grace_s=1.0)
    alice, bob = await in_call(lambda *a, **o: peer(*a, url=server.url, **o), "alice", "bob")
    producer = await alice.produce(send_transport(alice), "audio")
    began_s = time.monotonic()
    alice.socket.eio.ws._response.connection.transport.abort()
    await eventually(lambda: not alice.socket.connected)
    again = peer("alice", url=server.url)
    await again.connect()
    await again.join_room(resume=True)
    await asyncio.sleep(1.7)
    assert not bob.heard("producer-closed"), "she was back in time"
    again.socket.eio.ws._response.connection.transport.abort()
    closed = await bob.wait("producer-closed")
    assert closed["producerId"] == producer["id"]
    assert (await bob.wait("participant-left"))["reason"] == "disconnected"
    assert time.monotonic() - began_s > 2.0


@pytest.mark.parametrize(
    "token",
    [None, "", "nonsense", "a.b.c", 7, {"token": "x"}],
    ids=["none", "empty", "word", "dots", "int", "dict"],
)
async def test_a_socket_without_a_good_token_is_refused(peer: MakePeer, token: object) -> None:
    alice = peer()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await alice.socket.connect(alice.url, auth={"token": token}, transports=["websocket"])
    assert not alice.socket.connected


@pytest.mark.parametrize("auth", [None, "text", [], {}, {"Token": "x"}])
async def test_a_handshake_of_another_shape_is_refused(peer: MakePeer, auth: object) -> None:
    alice = peer()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await alice.socket.connect(alice.url, auth=auth, transports=["websocket"])


async def test_an_expired_token_opens_no_socket(peer: MakePeer) -> None:
    alice = peer(lifetime_s=-10)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await alice.connect()


async def test_sockets_work_by_polling_too(peer: MakePeer) -> None:
    alice = peer()
    await alice.create()
    await alice.socket.connect(alice.url, auth={"token": alice.token}, transports=["polling"])
    assert (await alice.join_room())["success"]


async def test_one_joins_ones_own_call_as_oneself_alone(peer: MakePeer) -> None:
    alice = peer("alice")
    await alice.create()
    await peer("bob", "call-2").create()
    await alice.connect()
    for payload in (
        {"callId": "call-2", "participantId": "alice"},
        {"callId": "call-1", "participantId": "bob"},
    ):
        assert (await alice.call("join-room", payload))["error"]["code"] == "FORBIDDEN"


async def test_joining_a_call_without_a_room_says_so(peer: MakePeer) -> None:
    alice = peer()
    await alice.connect()
    answer = await alice.join_room()
    assert answer["error"]["code"] == "ROOM_NOT_FOUND"
    assert (await alice.wait("request-error"))["event"] == "join-room"


async def test_a_token_that_expires_in_mid_call_ends_it_after_the_grace(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server(token_grace_s=0.5, token_leeway_s=0)
    alice = peer("alice", url=server.url, lifetime_s=2)
    bob = peer("bob", url=server.url)
    for one in (alice, bob):
        await one.join(create=True)
        await one.connect()
        await one.join_room()
    left = await bob.wait("participant-left")
    assert (left["participantId"], left["reason"]) == ("alice", "token-expired")
    await alice.wait_disconnected()
    assert len(alice.heard("participant-left")) == 1
    assert (await alice.request("GET", "")).status == 401
    assert bob.socket.connected


async def test_expiry_and_grace_go_on_after_a_sweep_that_failed(
    start_server: StartServer, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(token_grace_s=0, token_leeway_s=0, disconnect_grace_s=0.1)
    failed: list[str] = []

    def fail(*_: object, **__: object) -> None:
        failed.append("once")
        monkeypatch.undo()
        raise RuntimeError("on purpose")

    alice, bob = peer("alice", url=server.url, lifetime_s=3), peer("bob", url=server.url)
    for one in (alice, bob):
        await one.join(create=True)
        await one.connect()
        await one.join_room()
    monkeypatch.setattr(server.rooms, "close_idle", fail)
    await eventually(lambda: bool(failed))
    left = await bob.wait("participant-left")
    assert (left["participantId"], left["reason"]) == ("alice", "token-expired")


async def test_a_renewed_token_keeps_one_in_the_call(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(token_grace_s=0.5, token_leeway_s=0)
    alice = peer("alice", url=server.url, lifetime_s=2)
    await alice.join(create=True)
    await alice.connect()
    await alice.join_room()
    other = peer("mallory", url=server.url)
    refused = await alice.call("refresh-token", {"token": other.token})
    assert refused["error"]["code"] == "FORBIDDEN"
    assert (await alice.call("refresh-token", {"token": alice.new_token(60)}))["success"]
    await asyncio.sleep(3.2)
    assert alice.socket.connected
    assert server.rooms.rooms


async def test_a_socket_that_never_presents_a_token_is_cut_off(
    peer: MakePeer, http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketio_server, "HANDSHAKE_TIMEOUT_S", 0.2)
    alice = peer()
    url = alice.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    async with http.ws_connect(url) as ws:
        opened = await ws.receive()
        assert opened.data.startswith("0{")
        async with asyncio.timeout(4):
            while not ws.closed:
                await ws.receive()


async def test_a_client_that_reads_nothing_is_cut_off_and_delays_no_other(
    start_server: StartServer, peer: MakePeer, http
) -> None:
    server = await start_server(max_queued_events=50, rate_other=0)
    alice, bob = await in_call(lambda *a, **o: peer(*a, url=server.url, **o), "alice", "bob")
    slow = peer("slow", url=server.url)
    url = server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    async with http.ws_connect(url, max_msg_size=0) as ws:
        await ws.receive()
        await ws.send_str('40{"token":"' + slow.token + '"}')
        await ws.receive()
        await ws.send_str('42["join-room",{"callId":"call-1","participantId":"slow"}]')
        await eventually(lambda: server.metrics.connections == 3)
        ws._response.connection.transport.pause_reading()
        producer = await alice.produce(send_transport(alice), "audio", appData={"text": "x" * 4000})
        await bob.wait("new-producer")
        for _ in range(3000):
            server.audiences.new_producer(*_told(server, producer["id"]))
            await asyncio.sleep(0)
            if server.metrics.connections == 2:
                break
        await eventually(lambda: server.metrics.connections == 2, within_s=4)
        assert "meeshy_slow_clients_total 1.0" in server.metrics.text().decode()
        ws._response.connection and ws._response.connection.transport.abort()
    assert (await bob.call("join-room", {"callId": "call-1", "participantId": "bob"}))["success"]


def _told(server: MediaServer, producer_id: str):
    (room,) = server.rooms.rooms
    ((owner, producer),) = [item for item in room.producers() if item[1].id == producer_id]
    return room, owner, producer


async def test_all_are_notified_of_the_active_speaker_and_the_owner_of_scores(
    peer: MakePeer, server: MediaServer
) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    made = await alice.produce(send_transport(alice), "audio")
    made_consumer = await bob.consume(made["id"])
    room, owner, producer = _told(server, made["id"])
    receiver, consumer = room.consumer(made_consumer["id"], by=None)
    server.audiences.active_speaker(room, owner, producer)
    server.audiences.volumes(room, [(owner, producer, -20)])
    loud = {"participantId": "alice", "producerId": made["id"], "volume": -20}
    for one in (alice, bob):
        event = await one.wait("active-speaker", holds=lambda e: bool(e["volumes"]))
        assert (event["participantId"], event["producerId"]) == ("alice", made["id"])
        assert event["volumes"] == [loud]
    carol = peer("carol")
    await carol.connect()
    await carol.join_room()
    assert (await carol.wait("active-speaker"))["participantId"] == "alice"
    server.audiences.active_speaker(room, None, None)
    server.audiences.volumes(room, [])
    silent = await bob.wait("active-speaker", holds=lambda e: e["participantId"] is None)
    assert silent["volumes"] == []

    producer.score_changed.emit()
    consumer.score_changed.emit()
    assert (await alice.wait("score"))["producerId"] == made["id"]
    score = await bob.wait("score")
    assert score["consumerId"] == made_consumer["id"]
    assert set(score["score"]) == {"score", "producerScore", "producerScores"}
    assert len(alice.heard("score")) == len(bob.heard("score")) == 1
    assert receiver.id == "bob"


async def test_the_owner_is_notified_of_the_states_of_a_transport(
    peer: MakePeer, server: MediaServer
) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    await alice.request("DELETE", f"transports/{send_transport(alice)}")
    assert await alice.wait("transport-state") == {
        "callId": "call-1",
        "transportId": send_transport(alice),
        "iceState": "closed",
        "dtlsState": "closed",
        "reason": None,
    }
    assert not bob.heard("transport-state")


async def test_others_are_notified_of_joins_and_leaves(peer: MakePeer) -> None:
    (alice,) = await in_call(peer, "alice")
    bob = peer("bob")
    await bob.join()
    assert await alice.wait("participant-joined") == {"callId": "call-1", "participantId": "bob"}
    await bob.post("participants/bob/leave")
    left = await alice.wait("participant-left")
    assert left == {"callId": "call-1", "participantId": "bob", "reason": "left"}


async def test_events_are_as_documented(peer: MakePeer, server: MediaServer) -> None:
    alice, bob = await in_call(peer, "alice", "bob")
    made = await alice.produce(send_transport(alice), "audio")
    await bob.consume(made["id"])
    room, owner, producer = _told(server, made["id"])
    server.audiences.active_speaker(room, owner, producer)
    for consumer in producer.consumers:
        consumer.score_changed.emit()
        consumer.layers_changed.emit(None)
    producer.score_changed.emit()
    await alice.post(f"producers/{made['id']}/pause")
    await alice.post(f"producers/{made['id']}/resume")
    await bob.call("no-such-event")
    await alice.request("DELETE", f"transports/{send_transport(alice)}")
    await alice.post("participants/alice/leave")
    await bob.request("DELETE", "")
    await peer("gw", role="service").request("DELETE", "")
    await bob.wait("room-closed")
    heard = alice.events + bob.events
    assert {event for event, _ in heard} == set(EVENTS.server)
    components = {"components": server.service_routes.document["components"]}
    for event, payload in heard:
        jsonschema.validate(
            payload, {"$ref": f"#/components/schemas/{EVENTS.server[event].payload.__name__}"} | components
        )
