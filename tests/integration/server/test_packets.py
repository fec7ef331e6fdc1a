"""Every packet of a socket counts, none may have attachments, and none waits unread behind a handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from meeshy_sfu.edge import socketio_server
from meeshy_sfu.server.app import MediaServer
from tests.integration.hearing import eventually
from tests.integration.server.conftest import MakePeer, StartServer
from tests.integration.server.peers import Peer
from tests.integration.wire_socket import WireSocket

LIMIT = 20
PACKETS: dict[str, str | bytes] = {
    "ack": '431[{"a":1}]',
    "foreign-connect": "40/other,{}",
    "second-connect": "40{}",
    "foreign-disconnect": "41/other,",
    "foreign-event": '42/other,["x"]',
    "noop": "6",
    "open": "0{}",
    "ping": "2",
    "pong": "3",
    "upgrade": "5",
    "event": '42["no-such-event"]',
    "event-with-ack": '427["no-such-event"]',
}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
WAYS = pytest.mark.parametrize("way", ["websocket", "polling"])
NAMES = pytest.mark.parametrize("named", [False, True], ids=["nameless", "named"])
MakeWire = Callable[..., Any]


@pytest.fixture
async def wire(http: Any) -> AsyncIterator[MakeWire]:
    """Open connections by hand; closed afterwards."""
    made: list[WireSocket] = []

    async def make(server: MediaServer, way: str, token: str | None) -> WireSocket:
        made.append(WireSocket(http, server.url, polling=way == "polling"))
        return await made[-1].open(token)

    yield make
    for known in made:
        await known.close()


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.split(".")[0] != "asyncio"]


@pytest.mark.parametrize(
    "packets",
    [
        ('459-["x",{"_placeholder":true,"num":0}]', *(b"x" * 50_000 for _ in range(8))),
        ('461-1[{"_placeholder":true,"num":0}]', b"x"),
        ('451-/other,["x",{"_placeholder":true,"num":0}]', b"x"),
        (b"\x00binary",),
    ],
    ids=["event", "ack", "foreign", "frame"],
)
@WAYS
@NAMES
async def test_attachments_end_the_connection_with_a_reason(
    server: MediaServer,
    peer: MakePeer,
    wire: MakeWire,
    packets: tuple[str | bytes, ...],
    way: str,
    named: bool,
) -> None:
    socket = await wire(server, way, peer().token if named else None)
    await socket.send(*packets)
    await socket.ended()
    assert socket.told("attachments")
    assert any("attachments" in packet for packet in socket.got), "in a packet that client libraries hand on"
    if way == "websocket":
        assert (socket.close_code, "attachments" in socket.close_reason) == (1008, True)
    else:
        assert socket.posted[-1][0] == 400
    assert not server.signaling._io._binary_packet
    await eventually(lambda: not server.signaling._io._connections)


@pytest.mark.parametrize("kind", PACKETS)
@WAYS
@NAMES
async def test_every_packet_counts_and_a_flood_ends_with_one_log_line(
    start_server: StartServer,
    peer: MakePeer,
    wire: MakeWire,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    way: str,
    named: bool,
) -> None:
    server = await start_server(rate_events=LIMIT)
    socket = await wire(server, way, peer().token if named else None)
    if kind == "second-connect" and not named:
        await socket.send("40{}")  # the first is free
    caplog.set_level(logging.INFO)
    caplog.clear()
    for _ in range(2 * LIMIT // 5):
        await socket.send(*[PACKETS[kind]] * 5)
    # twice the limit is not yet too much; and nothing of it is worth a line
    await socket.send("41/other,")
    await socket.ended()
    assert socket.told("flood")
    assert len(lines_of(caplog)) == 1, lines_of(caplog)
    assert "flood" in lines_of(caplog)[0]


@pytest.mark.parametrize("kind", PACKETS)
@WAYS
async def test_packets_within_the_limit_end_nothing(
    start_server: StartServer,
    peer: MakePeer,
    wire: MakeWire,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    way: str,
) -> None:
    server = await start_server(rate_events=LIMIT)
    socket = await wire(server, way, peer().token)
    caplog.set_level(logging.INFO)
    caplog.clear()
    for _ in range((LIMIT - 5) // 5):
        await socket.send(*[PACKETS[kind]] * 5)
    await socket.send('4299["leave-room",{"callId":"call-1","participantId":"alice"}]')
    await socket.until(lambda: any(packet.startswith("4399[") for packet in socket.got))
    assert '"success":true' in next(packet for packet in socket.got if packet.startswith("4399["))
    assert lines_of(caplog) == []


async def test_a_flood_of_what_needs_no_answer_reaches_no_handler(
    start_server: StartServer, peer: MakePeer, wire: MakeWire
) -> None:
    server = await start_server(rate_events=LIMIT)
    socket = await wire(server, "websocket", peer().token)
    await socket.send(*["431[]"] * 2000)
    await socket.ended()
    assert 'meeshy_rate_limited_total{limit="rate_events"} 21.0' in server.metrics.text().decode()


async def test_a_post_that_is_no_payload_ends_the_connection_with_one_line(
    server: MediaServer, wire: MakeWire, caplog: pytest.LogCaptureFixture
) -> None:
    for packets, status in (
        (["6"] * 17, 400),
        (["x"], 400),
        (["6", "", "6"], 400),
        (['42["' + "x" * 70_000 + '"]'], 413),
    ):
        socket = await wire(server, "polling", None)
        caplog.clear()
        await socket.send(*packets)
        await socket.ended()
        assert socket.posted[-1][0] == status
        assert len(lines_of(caplog)) <= 1, lines_of(caplog)


@WAYS
async def test_answers_to_pings_and_the_first_connect_are_free(
    start_server: StartServer, peer: MakePeer, wire: MakeWire, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(socketio_server, "PING_INTERVAL_S", 0.05)
    server = await start_server(rate_events=1)
    socket = await wire(server, way, peer().token)
    await socket.until(lambda: socket.got.count("2") > 5)
    await socket.send('421["leave-room",{"callId":"call-1","participantId":"alice"}]')
    await socket.until(lambda: any(packet.startswith("431[") for packet in socket.got))
    assert '"success":true' in socket.got[-1] or any('"success":true' in packet for packet in socket.got)


@WAYS
async def test_a_wrong_namespace_gets_a_message(
    server: MediaServer, peer: MakePeer, wire: MakeWire, way: str
) -> None:
    socket = await wire(server, way, peer().token)
    await socket.send("40/other,{}", '42/other,5["join-room",{}]')
    await socket.until(lambda: any(packet.startswith("43/other,5[") for packet in socket.got))
    refused = next(packet for packet in socket.got if packet.startswith("44/other,"))
    assert '"message":"there is no namespace /other; connect to /"' in refused
    answer = next(packet for packet in socket.got if packet.startswith("43/other,5["))
    assert "there is no namespace /other; connect to /" in answer
    await socket.send('426["leave-room",{"callId":"call-1","participantId":"alice"}]')
    await socket.until(lambda: any(packet.startswith("436[") for packet in socket.got))


class Stuck:
    """A handler that waits, as for a database, until it is let go; what it was called with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.go_on = asyncio.Event()

    async def __call__(self, sid: str, payload: Any = None, *_: object) -> dict[str, Any]:
        self.seen.append(payload)
        await self.go_on.wait()
        return {"success": True, "data": {}}


def sticking(server: MediaServer) -> Stuck:
    stuck = Stuck()

    async def handle(sid: str, *more: Any) -> dict[str, Any]:
        return await stuck(sid, *more)

    server.signaling._io.handlers["/"]["refresh-token"] = handle
    return stuck


@WAYS
async def test_pings_are_read_whatever_a_handler_does(
    start_server: StartServer, peer: MakePeer, wire: MakeWire, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(socketio_server, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(socketio_server, "PING_TIMEOUT_S", 0.3)
    server = await start_server()
    stuck = sticking(server)
    socket = await wire(server, way, peer().token)
    await socket.send('421["refresh-token",1]', '422["refresh-token",2]', '423["leave-room",{}]')
    await socket.until(lambda: socket.got.count("2") > 12)
    assert socket.is_open
    assert stuck.seen == [1], "events wait for the one before them"
    stuck.go_on.set()
    await socket.until(lambda: any(packet.startswith("433[") for packet in socket.got))
    answered = [packet[2] for packet in socket.got if packet.startswith("43")]
    assert answered == ["1", "2", "3"]
    assert stuck.seen == [1, 2]


async def test_what_waits_for_a_handler_is_bounded(
    start_server: StartServer, peer: MakePeer, wire: MakeWire
) -> None:
    server = await start_server(max_event_bytes=2000, rate_events=1000)
    stuck = sticking(server)
    socket = await wire(server, "websocket", peer().token)
    await socket.send('42["refresh-token",0]')
    await eventually(lambda: stuck.seen == [0])
    (connection,) = server.signaling._io._connections.values()
    big = '42["refresh-token","' + "x" * 1900 + '"]'
    await socket.send(*[big] * 4)
    await eventually(lambda: len(connection.queue) == 4)
    assert socket.is_open
    await socket.send(big)
    await socket.ended()
    assert socket.told("wait")
    assert len(connection.queue) == 0
    stuck.go_on.set()


async def test_what_was_said_before_a_break_is_still_done(
    start_server: StartServer, peer: MakePeer, wire: MakeWire
) -> None:
    server = await start_server(disconnect_grace_s=30)
    stuck = sticking(server)
    alice, bob = peer("alice", url=server.url), peer("bob", url=server.url)
    for one in (alice, bob):
        await one.join(create=True)
    await bob.connect()
    await bob.join_room()
    socket = await wire(server, "websocket", alice.token)
    await socket.send('42["join-room",{"callId":"call-1","participantId":"alice"}]')
    await socket.send('42["refresh-token",0]', '42["leave-room",{"callId":"call-1","participantId":"alice"}]')
    await eventually(lambda: stuck.seen == [0])
    socket._ws._response.connection.transport.abort()
    await socket.ended()
    stuck.go_on.set()
    assert (await bob.wait("participant-left"))["reason"] == "left"
    await eventually(lambda: len(server.signaling._io._connections) == 1)


async def test_a_service_is_waited_for_and_never_ended(
    start_server: StartServer, peer: MakePeer, wire: MakeWire
) -> None:
    server = await start_server(max_queued_events=10, rate_events=5)
    stuck = sticking(server)
    gateway: Peer = peer("gateway", role="service")
    socket = await wire(server, "websocket", gateway.token)
    await socket.send(*(f'42["refresh-token",{number}]' for number in range(50)))
    await eventually(lambda: stuck.seen == [0])
    (connection,) = server.signaling._io._connections.values()
    await eventually(lambda: len(connection.queue) == 10)
    stuck.go_on.set()
    await eventually(lambda: stuck.seen == list(range(50)))
    assert socket.is_open


async def test_a_long_poll_becomes_a_websocket_once(server: MediaServer, peer: MakePeer, http: Any) -> None:
    alice = peer()
    await alice.create()
    await alice.socket.connect(server.url, auth={"token": alice.token})
    await eventually(lambda: alice.socket.transport() == "websocket")
    assert (await alice.join_room())["success"]
    assert len(server.signaling._io._websockets) == 1


async def test_a_second_websocket_for_a_long_poll_is_refused_and_the_first_ends_with_it(
    server: MediaServer, wire: MakeWire, http: Any
) -> None:
    socket = await wire(server, "polling", None)
    url = f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={socket._sid}"
    async with http.ws_connect(url) as first:
        await eventually(lambda: len(server.signaling._io._websockets) == 1)
        async with http.get(url, headers=UPGRADE) as second:
            assert second.status == 400
        await socket.send("1")
        await socket.ended()
        assert (await first.receive()).type.name in ("CLOSE", "CLOSED", "ERROR")
    await eventually(lambda: not server.signaling._io._websockets)
