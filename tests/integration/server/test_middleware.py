"""Limits, caps, CORS, proxies, figures and documentation in the middleware of the server."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import jsonschema
import pytest
import socketio

from meeshy_sfu.edge import json_body, socketio_server
from meeshy_sfu.server.app import MediaServer
from meeshy_sfu.server.messages import EVENTS
from tests.integration.hearing import eventually
from tests.integration.raw_http import raw_connection
from tests.integration.server.conftest import MakePeer, StartServer
from tests.integration.server.peers import CAPABILITIES, DTLS, Peer, rtp_parameters


@pytest.mark.parametrize(
    ("name", "limit", "step"),
    [
        ("rate_create", 10, "create"),
        ("rate_transports", 50, "transports"),
        ("rate_connect", 50, "transports/x/connect"),
        ("rate_consume", 100, "consume"),
        ("rate_other", 200, "GET"),
    ],
)
async def test_the_limits_of_the_api_hold(peer: MakePeer, name: str, limit: int, step: str) -> None:
    alice = peer("alice")

    async def once() -> Any:
        return await (
            alice.request("GET", "") if step == "GET" else alice.post(step, {"participantId": "alice"})
        )

    first = await once()
    assert first.headers["X-RateLimit-Limit"] == str(limit)
    assert first.headers["X-RateLimit-Remaining"] == str(limit - 1)
    assert 0 < int(first.headers["X-RateLimit-Reset"]) <= 60
    answers = await asyncio.gather(*(once() for _ in range(limit - 1)))
    assert 429 not in {answer.status for answer in answers}
    refused = await once()
    assert (refused.status, refused.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert refused.body["retryAfter"] == refused.body["error"]["retryAfter"]
    assert refused.headers["Retry-After"] == str(refused.body["retryAfter"])
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.body["error"]["details"]["limit"] == name


async def test_a_limit_ends_with_its_window(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(rate_other=2, rate_window_s=1)
    alice = peer(url=server.url)
    assert [(await alice.request("GET", "")).status for _ in range(3)] == [404, 404, 429]
    await asyncio.sleep(1.1)
    assert (await alice.request("GET", "")).status == 404


async def test_guessing_tokens_is_limited(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(rate_other=3)
    alice = peer(url=server.url)
    statuses = [(await alice.request("GET", "", token="guess")).status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


async def test_services_have_no_limits(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(rate_other=3, rate_create=1, rate_events=3)
    alice, gateway = peer("alice", url=server.url), peer("gateway", url=server.url, role="service")
    for _ in range(5):
        assert (await gateway.post("create")).status == 200
        assert (await gateway.request("DELETE", "")).status == 200
    await gateway.post("create")
    await gateway.connect()
    assert all([(await gateway.join_room())["success"] for _ in range(10)])
    # and their requests do not count against other clients of the same address
    assert [(await alice.request("GET", "")).status for _ in range(4)] == [200, 200, 200, 429]


async def test_one_participant_does_not_use_up_anothers_limit(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server(rate_transports=2)
    alice, bob = peer("alice", url=server.url), peer("bob", url=server.url)
    await alice.join(create=True)
    body = {"participantId": "alice", "direction": "send"}
    assert (await alice.post("transports", body)).status == 429
    await bob.join()


async def test_a_flood_of_events_is_refused_and_then_cut_off(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server(rate_events=5)
    alice = peer(url=server.url)
    await alice.create()
    await alice.connect()
    answers = [await alice.join_room() for _ in range(7)]
    assert [answer["success"] for answer in answers] == [True] * 5 + [False] * 2
    assert answers[5]["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert answers[5]["error"]["retryAfter"] >= 1
    assert len(alice.heard("request-error")) == 1
    for _ in range(5):
        await alice.socket.emit("join-room", {})
    await alice.wait_disconnected()


async def test_a_server_takes_ten_calls_by_default(server: MediaServer, peer: MakePeer) -> None:
    answers = [await peer("alice", f"call-{number}").post("create") for number in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [503]
    assert (answers[-1].code, answers[-1].body["error"]["details"]) == (
        "SERVER_AT_CAPACITY",
        {"limit": "rooms"},
    )


@pytest.mark.parametrize(
    ("flags", "code", "status"),
    [
        ({"max_rooms": 1}, "SERVER_AT_CAPACITY", 503),
        ({"max_participants_per_room": 1}, "ROOM_FULL", 403),
        ({"max_transports_per_room": 3}, "SERVER_AT_CAPACITY", 503),
    ],
)
async def test_caps_hold(
    start_server: StartServer, peer: MakePeer, flags: dict[str, int], code: str, status: int
) -> None:
    server = await start_server(**flags)
    alice, bob = peer("alice", url=server.url), peer("bob", url=server.url)
    carol = peer("carol", "call-2", url=server.url)
    answers = [
        await one.post("join", {"participantId": one.name, "create": True}) for one in (alice, bob, carol)
    ]
    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    assert {(answer.code, answer.status) for answer in refused} == {(code, status)}
    assert "limit" in refused[0].body["error"]["details"]


async def test_one_participant_does_not_take_all_transports(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server(max_transports_per_participant=2)
    alice = peer(url=server.url)
    await alice.join(create=True)
    answer = await alice.post("transports", {"participantId": "alice", "direction": "send"})
    assert (answer.status, answer.code) == (503, "SERVER_AT_CAPACITY")


@pytest.mark.parametrize(("flags", "offered"), [({"udp": False}, {"tcp"}), ({"tcp": False}, {"udp"})])
async def test_protocols_that_are_off_are_not_offered(
    start_server: StartServer, peer: MakePeer, flags: dict[str, bool], offered: set[str]
) -> None:
    server = await start_server(**flags)
    alice = peer(url=server.url)
    joined = await alice.join(create=True)
    assert {c["protocol"] for c in joined["sendTransport"]["iceCandidates"]} == offered
    assert {address.split()[0] for address in server.addresses} == offered
    forced = await alice.post("join", {"participantId": "alice", "forceTcp": True})
    assert forced.status == (200 if "tcp" in offered else 400)


async def test_rooms_without_a_join_are_closed(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(empty_room_s=1)
    await peer(url=server.url).create()
    await eventually(lambda: not server.rooms.rooms)


async def test_caps_on_producers_and_consumers_hold(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(max_producers_per_participant=1, max_consumers_per_participant=1)
    alice, bob = peer("alice", url=server.url), peer("bob", url=server.url)
    joined = await alice.join(create=True)
    send = joined["sendTransport"]["id"]
    producer = await alice.produce(send, "audio")
    body = {"participantId": "alice", "kind": "video", "rtpParameters": rtp_parameters("video")}
    assert (await alice.post(f"transports/{send}/produce", body)).code == "SERVER_AT_CAPACITY"
    await bob.join()
    await bob.consume(producer["id"])
    again = await bob.post("consume", {"participantId": "bob", "producerId": producer["id"]})
    assert again.code == "SERVER_AT_CAPACITY"


async def test_connections_of_one_address_are_capped(start_server: StartServer, peer: MakePeer) -> None:
    server = await start_server(max_connections_per_address=2)
    peers = [peer(name, url=server.url) for name in ("alice", "bob", "carol")]
    await peers[0].connect()
    await peers[1].connect()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await peers[2].connect()
    await peers[0].close()
    await eventually(lambda: server.metrics.connections == 1)
    await peers[2].connect()


async def test_a_body_that_cannot_be_decoded_is_the_senders_fault(
    server: MediaServer, peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    alice = peer()
    async with raw_connection(server.url) as connection:
        headers = (f"Authorization: Bearer {alice.token}", "Transfer-Encoding: chunked")
        connection.ask("POST /api/rooms/call-1/create", *headers, body=b"no chunk\r\n{}\r\n0\r\n\r\n")
        assert (await connection.answer()).status == 400
        assert await connection.is_closed()
    assert "failed" not in [record.message.split()[-1] for record in caplog.records]
    assert not server.rooms.rooms


async def test_a_body_that_does_not_come_is_not_waited_for(
    server: MediaServer, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_body, "BODY_TIMEOUT_S", 0.3)
    alice = peer()
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = ["POST /api/rooms/call-1/create HTTP/1.1", "Host: x", f"Authorization: Bearer {alice.token}"]
    writer.write("\r\n".join([*lines, "Content-Length: 10", "", "{"]).encode())
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_addresses_come_from_trusted_proxies_alone(
    start_server: StartServer, peer: MakePeer, http: aiohttp.ClientSession
) -> None:
    async def statuses(server: MediaServer) -> list[int]:
        alice = peer(url=server.url)
        found = []
        for number in range(3):
            headers = {"Authorization": f"Bearer {alice.token}", "X-Forwarded-For": f"198.51.100.{number}"}
            async with http.get(f"{server.url}/api/rooms/call-1", headers=headers) as answer:
                found.append(answer.status)
        return found

    assert await statuses(await start_server(rate_other=2)) == [404, 404, 429]
    assert await statuses(await start_server(rate_other=2, trusted_proxies=["127.0.0.1"])) == [404, 404, 404]


ORIGIN = "https://app.example.org"


async def test_a_configured_origin_may_call(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = await start_server(cors_origins=[ORIGIN])
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with http.options(f"{server.url}/api/rooms/call-1/create", headers=asked) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    for path in ("/api/rooms/call-1", "/api/nothing", "/health"):
        async with http.get(server.url + path, headers={"Origin": ORIGIN}) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://app.example.org.evil", "null", "http://localhost:3000"]
)
async def test_other_origins_may_not(
    start_server: StartServer, http: aiohttp.ClientSession, origin: str
) -> None:
    server = await start_server(cors_origins=[ORIGIN])
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with http.options(f"{server.url}/api/rooms/call-1/create", headers=headers) as answer:
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with http.get(f"{server.url}/health", headers=headers) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    async with http.get(url, headers=headers) as answer:
        assert answer.status == 400


async def test_a_page_of_the_server_itself_may_open_a_socket(
    server: MediaServer, http: aiohttp.ClientSession
) -> None:
    host = server.url.partition("://")[2]
    for origin in (f"http://{host}", f"https://{host}"):
        url = f"{server.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(url, headers={"Origin": origin}) as answer:
            assert answer.status == 200


async def test_in_development_loopback_origins_may(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = await start_server(development=True)
    for origin in ("http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1234"):
        async with http.get(f"{server.url}/health", headers={"Origin": origin}) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == origin
        async with http.get(
            f"{server.url}/socket.io/?EIO=4&transport=polling", headers={"Origin": origin}
        ) as answer:
            assert answer.status == 200


async def test_health_and_readiness_need_no_token(server: MediaServer, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with http.get(f"{server.url}/ready") as answer:
        body = await answer.json()
        assert (answer.status, body["status"]) == (200, "ok")
        assert body["workers"] == {"wanted": 1, "alive": 1, "dead": [], "died": 0}


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/openapi.json", "/docs", "/asyncapi.json", "/docs/events"]
)
async def test_what_can_be_read_can_be_asked_for_without_its_body(
    server: MediaServer, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(f"{server.url}{path}") as answer:
        expected = (answer.status, answer.content_type)
    async with http.head(f"{server.url}{path}") as answer:
        assert (answer.status, answer.content_type) == expected
        assert await answer.read() == b""


async def test_figures_show_what_is_there(peer: MakePeer, server: MediaServer, http) -> None:
    alice = peer()
    joined = await alice.join(create=True)
    await alice.produce(joined["sendTransport"]["id"], "audio")
    await alice.connect()
    async with http.get(f"{server.url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    for name, value in {
        "mediasoup_workers_total": 1,
        "mediasoup_routers_total": 1,
        "mediasoup_transports_total": 2,
        "mediasoup_producers_total": 1,
        "mediasoup_consumers_total": 0,
        "calls_active_total": 1,
        "calls_mode_sfu_total": 1,
        "meeshy_participants": 1,
        "meeshy_socketio_connections": 1,
        "producer_creation_duration_seconds_count": 1,
    }.items():
        assert re.search(rf"^{name} {value}(\.0)?$", text, re.MULTILINE), name
    for name in (
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "webrtc_transport_connection_duration_seconds_bucket",
        "consumer_creation_duration_seconds_bucket",
        'meeshy_worker_packets_out_total{worker="0"}',
        'meeshy_worker_bytes_in_total{worker="0"}',
        'meeshy_worker_cpu_seconds_total{worker="0"}',
    ):
        assert f"\n{name}" in text, name
    async with http.get(f"{server.url}/api/stats") as answer:
        stats = (await answer.json())["data"]
    assert (
        stats["counts"] | {"rooms": 1, "participants": 1, "transports": 2, "producers": 1} == stats["counts"]
    )
    assert stats["process"]["rssBytes"] > 1_000_000
    assert stats["process"]["cpuS"] > 0
    assert [worker["index"] for worker in stats["workers"]] == [0]
    assert {"packetsOut", "bytesIn", "drops", "cpuNs", "addresses"} <= set(stats["workers"][0])
    assert [room["callId"] for room in stats["rooms"]] == ["call-1"]


@pytest.mark.parametrize("path", ["/metrics", "/api/stats"])
async def test_figures_are_for_this_machine_or_a_token(
    start_server: StartServer, peer: MakePeer, http: aiohttp.ClientSession, path: str
) -> None:
    server = await start_server(metrics_token="let-me-see", trusted_proxies=["127.0.0.1"])
    away = {"X-Forwarded-For": "198.51.100.9"}

    async def status(token: str | None) -> int:
        headers = away | ({"Authorization": f"Bearer {token}"} if token else {})
        async with http.get(server.url + path, headers=headers) as answer:
            return answer.status

    assert await status(None) == 401
    assert await status("wrong") == 401
    assert await status(peer("alice").token) == 401
    assert await status("let-me-see") == 200
    assert await status(peer("gw", role="service").token) == 200


async def test_a_proxy_on_this_machine_does_not_open_the_figures(
    server: MediaServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{server.url}/metrics", headers={"X-Forwarded-For": "198.51.100.9"}) as answer:
        assert answer.status == 401


async def test_the_document_lists_exactly_the_routes_there_are(server: MediaServer, http) -> None:
    async with http.get(f"{server.url}/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"].startswith("3.1")
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    real = {
        (route.method, route.resource.canonical)
        for route in server._app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    real = {entry for entry in real if not entry[1].startswith("/socket.io") and entry[1] != "/"}
    assert documented == real
    assert set(document["x-socketio"]["clientEvents"]) == set(EVENTS.client)
    assert set(document["x-socketio"]["serverEvents"]) == set(EVENTS.server)


async def test_every_reference_in_the_document_leads_somewhere(server: MediaServer) -> None:
    document = server.service_routes.document
    schemas = document["components"]["schemas"]
    found = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert found <= set(schemas)
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description") or name == "Error", f"{name} is not explained"


async def test_answers_are_as_documented(server: MediaServer, peer: MakePeer) -> None:
    document = server.service_routes.document

    def check(method: str, path: str, answer: Any) -> None:
        operation = document["paths"][path][method]
        assert str(answer.status) in operation["responses"], (method, path, answer)
        content = operation["responses"][str(answer.status)]["content"]["application/json"]["schema"]
        schema = content | {"components": document["components"]}
        jsonschema.validate(answer.body, schema)

    room = "/api/rooms/{callId}"
    alice, bob = peer("alice"), peer("bob")
    check("get", room, await alice.request("GET", ""))
    check("post", f"{room}/create", await alice.post("create"))
    check("post", f"{room}/create", await alice.post("create"))
    check("get", room, await alice.request("GET", ""))
    joined = await alice.post("join", {"participantId": "alice", "rtpCapabilities": CAPABILITIES})
    check("post", f"{room}/join", joined)
    body = {"participantId": "bob", "direction": "recv"}
    check("post", f"{room}/transports", await bob.post("transports", body))
    send = joined.data["sendTransport"]["id"]
    connect = f"transports/{send}/connect"
    check(
        "post",
        f"{room}/transports/{{transportId}}/connect",
        await alice.post(connect, {"dtlsParameters": DTLS}),
    )
    check(
        "post",
        f"{room}/transports/{{transportId}}/connect",
        await alice.post(connect, {"dtlsParameters": {}}),
    )
    body = {"participantId": "alice", "kind": "audio", "rtpParameters": rtp_parameters("audio")}
    produced = await alice.post(f"transports/{send}/produce", body)
    check("post", f"{room}/transports/{{transportId}}/produce", produced)
    body = {"participantId": "bob", "rtpCapabilities": CAPABILITIES}
    one = await bob.post("consume", body | {"producerId": produced.data["id"]})
    check("post", f"{room}/consume", one)
    many = await bob.post("consume", body | {"producerIds": [produced.data["id"], "nothing"]})
    check("post", f"{room}/consume", many)
    path = f"transports/{send}/restart-ice"
    check("post", f"{room}/transports/{{transportId}}/restart-ice", await alice.post(path))
    ids = {"consumerIds": [one.data["id"], "nothing"]}
    check("post", f"{room}/consumers/resume", await bob.post("consumers/resume", ids))
    check("post", f"{room}/consumers/pause", await bob.post("consumers/pause", ids))
    stats = await bob.request("GET", f"consumers/{one.data['id']}/stats")
    check("get", f"{room}/consumers/{{consumerId}}/stats", stats)
    check("delete", room, await bob.request("DELETE", ""))
    check("delete", room, await alice.request("DELETE", ""))


@pytest.mark.parametrize(("path", "document"), [("docs", "openapi.json"), ("docs/events", "asyncapi.json")])
async def test_the_page_needs_nothing_from_elsewhere(
    server: MediaServer, http: aiohttp.ClientSession, path: str, document: str
) -> None:
    async with http.get(f"{server.url}/{path}") as answer:
        assert answer.content_type == "text/html"
        page = await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert document in page
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    async with http.get(server.url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/docs")


async def test_a_crashed_worker_is_reported_and_replaced(
    start_server: StartServer, peer: MakePeer, http
) -> None:
    server = await start_server(development=True, workers=2)
    service = peer("gw", role="service", url=server.url)
    peers: list[Peer] = []
    for number in range(2):
        one = peer("alice", f"call-{number}", url=server.url)
        await one.join(create=True)
        await one.connect()
        await one.join_room()
        peers.append(one)
    assert (await peers[0].post("/api/dev/workers/0/panic")).code == "FORBIDDEN"
    assert (await service.post("/api/dev/workers/7/panic")).code == "NOT_FOUND"
    assert (await service.post("/api/dev/workers/0/panic")).status == 200
    closed = await peers[0].wait("room-closed")
    assert closed["reason"] == "worker-died"
    assert (await peers[0].request("GET", "")).code == "ROOM_NOT_FOUND"
    assert (await peers[1].request("GET", "")).status == 200, "the other worker's call goes on"
    assert not peers[1].heard("room-closed")
    await peers[0].join(create=True)
    await eventually(lambda: server.pool.healthy)
    async with http.get(f"{server.url}/ready") as answer:
        body = await answer.json()
    assert (body["status"], body["workers"]["died"]) == ("ok", 1)
    async with http.get(f"{server.url}/metrics") as answer:
        assert "\nmeeshy_workers_died_total 1.0" in await answer.text()


async def test_many_joins_and_leaves_leak_nothing(
    peer: MakePeer, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a ping's timer outlives its socket by one interval
    monkeypatch.setattr(socketio_server, "PING_INTERVAL_S", 1)
    server = await start_server(rate_other=0, rate_create=0, rate_transports=0)
    alice = peer(url=server.url)
    await alice.join(create=True)
    await alice.post("participants/alice/leave")
    before = server.metrics.stats()
    for _ in range(50):
        await alice.join(create=True)
        await alice.connect()
        await alice.join_room()
        await alice.post("participants/alice/leave")
        await alice.close()
    await eventually(lambda: server.metrics.connections == 0)

    def is_as_before() -> bool:
        after = server.metrics.stats()
        close = [
            abs(after["process"][name] - before["process"][name]) <= 3 for name in ("openFiles", "tasks")
        ]
        return all(close) and after["counts"] == before["counts"]

    await eventually(is_as_before)
    assert not server.audiences._audiences
    assert not server.signaling._sessions


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_no_answer_tells_what_the_server_is_made_of(server: MediaServer, request_text: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(request_text)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert answer.startswith(b"HTTP/1.")
    assert b"aiohttp" not in answer
    assert b"ython" not in answer
