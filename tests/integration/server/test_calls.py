"""A call over the wire, from creating the room to the last leave."""

from __future__ import annotations

import asyncio
import re

import pytest

from meeshy_sfu.server.app import MediaServer
from tests.integration.hearing import eventually
from tests.integration.server.conftest import MakePeer
from tests.integration.server.peers import CAPABILITIES, DTLS, Peer, rtp_parameters


async def test_the_single_forms_carry_a_whole_call(peer: MakePeer, server: MediaServer) -> None:
    alice, bob = peer("alice"), peer("bob")
    room = await alice.create()
    assert set(room) == {"roomId", "routerId", "rtpCapabilities"}
    send = await alice.transport("send")
    assert send["transportId"] == send["id"]
    assert send["iceParameters"]["iceLite"] is True
    assert send["sctpParameters"] is None
    assert {"ip", "address", "port", "protocol", "foundation", "priority", "type"} <= set(
        send["iceCandidates"][0]
    )
    assert [print_["algorithm"] for print_ in send["dtlsParameters"]["fingerprints"]] == ["sha-256"]
    connected = await alice.post(f"transports/{send['id']}/connect", {"dtlsParameters": DTLS})
    assert connected.body == {"success": True, "message": "Transport connected"}
    producer = await alice.produce(send["id"], "audio", appData={"source": "microphone"})
    assert (producer["kind"], producer["id"]) == ("audio", producer["producerId"])

    await bob.transport("recv")
    consumer = await bob.consume(producer["producerId"])
    assert consumer["producerId"] == producer["producerId"]
    assert (consumer["kind"], consumer["type"], consumer["participantId"]) == ("audio", "simple", "alice")
    assert (consumer["paused"], consumer["producerPaused"]) == (True, False)
    assert consumer["appData"] == {"source": "microphone"}
    path = f"consumers/{consumer['consumerId']}"
    for step in ("resume", "pause", "resume"):
        assert (await bob.post(f"{path}/{step}")).status == 200
    assert (await bob.request("GET", f"{path}/stats")).data["stats"] is not None
    assert (await bob.request("DELETE", path)).body["success"]
    assert (await bob.post(f"{path}/resume")).code == "CONSUMER_NOT_FOUND"

    assert (await alice.request("DELETE", f"producers/{producer['producerId']}")).body[
        "message"
    ] == "Producer closed"
    details = (await alice.request("GET", "")).data
    assert details["participantCount"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", details["createdAt"])
    assert (await alice.post("participants/alice/leave")).status == 200
    assert (await bob.post("participants/bob/leave")).status == 200
    assert (await bob.request("GET", "")).code == "ROOM_NOT_FOUND"
    assert not server.rooms.rooms


async def test_the_batched_forms_carry_a_whole_call(peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    joined = await alice.join(create=True)
    send = joined["sendTransport"]["id"]
    ids = [(await alice.produce(send, kind))["producerId"] for kind in ("audio", "video")]
    joined = await bob.join()
    assert [producer["producerId"] for producer in joined["producers"]] == ids
    body = {"participantId": "bob", "producerIds": [*ids, "nobody"]}
    consumers = (await bob.post("consume", body)).data["consumers"]
    assert [item["producerId"] for item in consumers] == [*ids, "nobody"]
    assert consumers[2]["error"]["code"] == "PRODUCER_NOT_FOUND"
    consumer_ids = [item["consumerId"] for item in consumers[:2]]
    resumed = (await bob.post("consumers/resume", {"consumerIds": [*consumer_ids, "nothing"]})).data
    assert resumed["resumed"] == consumer_ids
    assert [item["consumerId"] for item in resumed["errors"]] == ["nothing"]
    paused = (await bob.post("consumers/pause", {"consumerIds": consumer_ids})).data
    assert paused == {"paused": consumer_ids, "errors": []}


async def test_consumers_flow_at_once_when_asked_to(peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    joined = await alice.join(create=True)
    producer = await alice.produce(joined["sendTransport"]["id"], "video")
    await bob.join()
    assert (await bob.consume(producer["producerId"], paused=False))["paused"] is False


async def test_the_paths_the_plan_forgot(peer: MakePeer) -> None:
    alice = peer("alice")
    joined = await alice.join(create=True)
    send = joined["sendTransport"]
    fresh = (await alice.post(f"transports/{send['id']}/restart-ice")).data["iceParameters"]
    assert fresh["iceLite"] is True
    assert fresh["usernameFragment"] != send["iceParameters"]["usernameFragment"]
    limit = await alice.post(f"transports/{send['id']}/max-incoming-bitrate", {"bitrate": 500_000})
    assert limit.status == 200
    stats = (await alice.request("GET", f"transports/{send['id']}/stats")).data["stats"]
    assert (stats["iceState"], stats["dtlsState"]) == ("new", "new")
    producer = await alice.produce(send["id"], "video")
    path = f"producers/{producer['producerId']}"
    assert (await alice.post(f"{path}/pause")).status == 200
    assert (await alice.post(f"{path}/resume")).status == 200
    assert (await alice.request("GET", f"{path}/stats")).status == 200
    bob = peer("bob")
    await bob.join()
    consumer = await bob.consume(producer["producerId"])
    layers = await bob.post(f"consumers/{consumer['id']}/preferred-layers", {"spatialLayer": 0})
    assert layers.data == {"preferredLayers": None}
    assert (await alice.request("DELETE", f"transports/{send['id']}")).status == 200
    assert (await alice.post(f"{path}/pause")).code == "PRODUCER_NOT_FOUND"


async def test_a_room_can_be_made_for_certain_codecs(peer: MakePeer) -> None:
    alice = peer()
    codecs = [{"kind": "audio", "mimeType": "audio/opus", "clockRate": 48000, "channels": 2}]
    room = await alice.create({"mediaCodecs": codecs})
    assert [codec["mimeType"] for codec in room["rtpCapabilities"]["codecs"]] == ["audio/opus"]
    send = await alice.transport("send")
    body = {"participantId": "alice", "kind": "video", "rtpParameters": rtp_parameters("video")}
    assert (await alice.post(f"transports/{send['id']}/produce", body)).code == "UNSUPPORTED_CODEC"


async def test_creating_a_room_again_is_a_conflict(peer: MakePeer) -> None:
    alice = peer()
    await alice.create()
    again = await alice.post("create")
    assert (again.status, again.code) == (409, "ROOM_ALREADY_EXISTS")


async def test_the_same_kind_from_the_same_source_is_a_conflict(peer: MakePeer) -> None:
    alice = peer()
    joined = await alice.join(create=True)
    send = joined["sendTransport"]["id"]
    await alice.produce(send, "video", appData={"source": "camera"})
    parameters = rtp_parameters("video") | {"mid": "7", "encodings": [{"ssrc": 77, "rtx": {"ssrc": 78}}]}
    body = {"participantId": "alice", "kind": "video", "rtpParameters": parameters}
    again = await alice.post(f"transports/{send}/produce", body | {"appData": {"source": "camera"}})
    assert (again.status, again.code) == (409, "PRODUCER_ALREADY_EXISTS")
    screen = await alice.post(f"transports/{send}/produce", body | {"appData": {"source": "screen"}})
    assert screen.status == 200


async def test_a_transport_is_connected_once(peer: MakePeer) -> None:
    alice = peer()
    await alice.create()
    send = await alice.transport("send")
    body = {"dtlsParameters": DTLS}
    assert (await alice.post(f"transports/{send['id']}/connect", body)).status == 200
    again = await alice.post(f"transports/{send['id']}/connect", body)
    assert (again.status, again.code) == (409, "INVALID_STATE")


async def test_a_client_that_cannot_decode_is_told_so(peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    joined = await alice.join(create=True)
    producer = await alice.produce(joined["sendTransport"]["id"], "video")
    await bob.join()
    audio_only = {"codecs": [c for c in CAPABILITIES["codecs"] if c["mimeType"] == "audio/opus"]}
    body = {"participantId": "bob", "producerId": producer["id"], "rtpCapabilities": audio_only}
    answer = await bob.post("consume", body)
    assert (answer.status, answer.code) == (422, "UNSUPPORTED_CODEC")


async def test_forcing_tcp_offers_nothing_else(peer: MakePeer) -> None:
    alice = peer()
    joined = await alice.join(create=True, forceTcp=True)
    for name in ("sendTransport", "recvTransport"):
        candidates = joined[name]["iceCandidates"]
        assert {(c["protocol"], c["tcpType"]) for c in candidates} == {("tcp", "passive")}


@pytest.mark.parametrize(
    ("who", "role", "status"),
    [
        ("alice", "participant", 200),
        ("bob", "participant", 403),
        ("bob", "initiator", 200),
        ("gw", "service", 200),
    ],
)
async def test_only_some_roles_may_end_a_call(peer: MakePeer, who: str, role: str, status: int) -> None:
    await peer("alice").create()
    assert (await peer(who, role=role).request("DELETE", "")).status == status


async def test_a_service_may_act_for_any_participant_in_any_call(peer: MakePeer) -> None:
    alice = peer("alice")
    joined = await alice.join(create=True)
    producer = await alice.produce(joined["sendTransport"]["id"], "audio")
    service = peer("gateway", role="service")
    assert (await service.post(f"producers/{producer['id']}/pause")).status == 200
    assert (await service.post("participants/alice/leave")).status == 200
    assert (await service.request("GET", "")).code == "ROOM_NOT_FOUND"


async def test_many_may_create_and_join_at_once(peer: MakePeer, server: MediaServer) -> None:
    peers = [peer(f"p{number}") for number in range(8)]
    await asyncio.gather(*(one.join(create=True) for one in peers))
    (room,) = server.rooms.rooms
    assert len(room.participants) == 8


async def test_joining_again_replaces_the_former_session(peer: MakePeer, server: MediaServer) -> None:
    alice = peer("alice")
    first = await alice.join(create=True)
    bob: Peer = peer("bob")
    await bob.join()
    second = await alice.join()
    assert second["sendTransport"]["id"] != first["sendTransport"]["id"]
    (room,) = server.rooms.rooms
    await eventually(lambda: room.transport_count == 4)


async def test_a_join_while_the_room_is_being_created_waits_for_it(peer: MakePeer) -> None:
    for number in range(5):
        alice, bob = peer("alice", f"call-{number}"), peer("bob", f"call-{number}")
        body = {"participantId": "bob", "create": True}
        created, joined = await asyncio.gather(alice.post("create"), bob.post("join", body))
        assert joined.status == 200, joined
        assert created.status in (200, 409)
