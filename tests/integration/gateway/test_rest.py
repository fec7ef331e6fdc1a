"""The gateway's REST API: envelopes, codes, limits, documents."""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp
import jsonschema
import pytest
import socketio

from meeshy_sfu.edge.token_signing import sign_media_token
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.gateway.wire.messages import EVENTS
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SDP, SECRET
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.stored import stored_metrics
from tests.integration.gateway.test_switch import pair, trio
from tests.integration.hearing import eventually

BEGIN = {"conversationId": "c1", "type": "video"}


def fits(document: dict[str, Any], model: str, value: object) -> None:
    """Check an answer against the model of the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{model}", "components": document["components"]}
    jsonschema.validate(json.loads(json.dumps(value)), schema)


@pytest.fixture
async def document(gateway: Gateway, http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get(f"{gateway.url}/openapi.json") as answer:
        return await answer.json()


async def test_a_call_over_rest_from_its_beginning_to_its_end(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, document: dict[str, Any]
) -> None:
    ada, bob = await caller(gateway, "ada"), await caller(gateway, "bob")
    begun = await ada.request("POST", "/api/calls", BEGIN | {"settings": {"videoEnabled": False}})
    assert begun.status == 201
    data = begun.body["data"]
    fits(document, "InitiatedData", data)
    call = f"/api/calls/{data['callId']}"
    assert (data["status"], data["participants"][0]["status"]) == ("ringing", "connecting")
    assert (await ada.request("POST", "/api/calls", BEGIN)).code == "CALL_ALREADY_ACTIVE"

    joined = await bob.request("POST", f"{call}/participants", {"audioEnabled": True, "videoEnabled": False})
    assert joined.status == 200
    fits(document, "JoinAnswer", joined.data)
    active = await ada.request("GET", "/api/conversations/c1/active-call")
    fits(document, "ActiveCallData", active.data)
    assert active.data["call"]["status"] == "active"

    # the places are taken by sockets
    taken = await ada.join(data["callId"])
    assert taken["participantId"] == data["participantId"]
    assert ada.heard("call:participant-left") == []
    await bob.join(data["callId"])

    noted = await ada.request(
        "POST", f"{call}/quality-metrics", {"packetsLost": 1, "packetsReceived": 99, "jitter": 4, "rtt": 20.5}
    )
    assert noted.status == 200
    metrics = await stored_metrics(gateway, data["callId"])
    assert (metrics.avg_packet_loss, metrics.avg_jitter, metrics.avg_rtt) == (0.01, 4.0, 20.5)
    assert (metrics.total_data_sent, metrics.total_data_received) == (None, None)
    for peer, figures in ((ada, {"bytesSent": 10, "bytesReceived": 7}), (bob, {"bytesSent": 5})):
        assert (await peer.request("POST", f"{call}/quality-metrics", figures)).status == 200
    metrics = await stored_metrics(gateway, data["callId"])
    assert (metrics.total_data_sent, metrics.total_data_received, metrics.avg_jitter) == (15, 7, 4.0)

    left = await bob.request("POST", f"{call}/leave")
    fits(document, "LeftData", left.data)
    assert (await bob.request("DELETE", call)).code == "PERMISSION_DENIED"
    ended = await ada.request("DELETE", call)
    fits(document, "EndedData", ended.data)
    again = await ada.request("DELETE", call)
    assert (again.status, again.code) == (400, "CALL_ENDED")
    shown = await bob.request("GET", call)
    fits(document, "CallData", shown.data)
    assert (shown.data["status"], shown.data["endReason"]) == ("ended", "normal")
    assert (await ada.request("GET", "/api/conversations/c1/active-call")).data == {"call": None}
    page = await ada.request("GET", "/api/conversations/c1/calls?limit=1&status=ended")
    fits(document, "CallPage", page.data)
    assert (page.data["total"], page.data["limit"], len(page.data["calls"])) == (1, 1, 1)


async def test_a_call_in_sfu_mode_shows_its_room_and_mode(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, document: dict[str, Any]
) -> None:
    ada, _, eve = await trio(gateway, caller)
    call = f"/api/calls/{ada.call_id}"
    shown = await ada.request("GET", call)
    assert shown.data["mediaServerConfig"]["roomId"] == media.rooms.rooms[0].id
    mode = await ada.request("PUT", f"{call}/mode", {"mode": "sfu"})
    fits(document, "ModeData", mode.data)
    assert mode.data["mode"] == "sfu"
    refused = await ada.request("PUT", f"{call}/mode", {"mode": "p2p"})
    assert (refused.status, refused.code) == (400, "INVALID_MODE")
    assert (await eve.request("PUT", f"{call}/mode", {"mode": "sfu"})).code == "PERMISSION_DENIED"
    removed = await ada.request("DELETE", f"{call}/participants/{eve.id}")
    assert removed.data["participantId"] == eve.id
    await eve.wait("call:error", holds=lambda p: p["code"] == "KICKED")
    await eventually(lambda: len(media.rooms.rooms[0].participants) == 2)
    gone = await ada.request("DELETE", f"{call}/participants/{eve.id}")
    assert (gone.status, gone.code) == (404, "PARTICIPANT_NOT_FOUND")


async def test_asking_for_the_mode_tries_a_failed_switch_again(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await pair(gateway, caller)
    eve = await caller(gateway, "eve")
    await eve.join(ada.call_id)
    await ada.wait("call:mode-switch")
    await bob.confirm(1, success=False)
    await ada.wait("call:mode-switched")
    await ada.request("PUT", f"/api/calls/{ada.call_id}/mode", {"mode": "sfu"})
    again = await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2, within_s=0.8)
    assert again["reason"] == "manual"


async def test_conversations_that_cannot_call_are_refused_with_their_code(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada = await caller(gateway, "ada", conversations=[Conversation("b1", "BROADCAST")])
    refused = await ada.request("POST", "/api/calls", BEGIN | {"conversationId": "b1"})
    assert (refused.status, refused.code) == (403, "VIDEO_CALLS_NOT_SUPPORTED")
    unknown = await ada.request("GET", "/api/calls/0123456789abcdef01234567")
    assert (unknown.status, unknown.code) == (404, "CALL_NOT_FOUND")


@pytest.mark.parametrize(
    "make",
    [
        lambda ada: "",
        lambda ada: "nonsense",
        lambda ada: ada.token[:-2],
        lambda ada: ada.new_token(600, secret="another-secret-of-at-least-32-bytes!"),
        lambda ada: ada.new_token(-60),
        # a token for the media server is none for the gateway
        lambda ada: sign_media_token(
            secret=SECRET, now_s=time.time(), lifetime_s=60, call_id="c", participant_id="p"
        ),
        lambda ada: sign_media_token(secret=SECRET, now_s=time.time(), lifetime_s=60, role="service"),
    ],
)
async def test_bad_tokens_are_refused_everywhere(gateway: Gateway, caller: MakeCaller, make: Any) -> None:
    ada = await caller(gateway, "ada")
    token = make(ada) or "x"
    for bound in gateway.routes:
        if bound.route.access != "token":
            continue
        path = bound.route.path.replace("{callId}", "a").replace("{participantId}", "b")
        path = path.replace("{conversationId}", "c1")
        answer = await ada.request(bound.route.method, path, {}, token=token)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), path
        assert token not in str(answer.body) or token == "x"
    socket = socketio.AsyncClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await socket.connect(gateway.url, auth={"token": token}, transports=["websocket"])
    await socket.shutdown()


async def test_the_media_server_takes_no_token_of_a_user(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, http: aiohttp.ClientSession
) -> None:
    ada = await caller(gateway, "ada")
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with http.post(f"{media.url}/api/rooms/x/create", headers=headers) as answer:
        assert answer.status == 401


async def test_the_document_names_every_route_and_event(gateway: Gateway, document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    known = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert known == {(bound.route.method, bound.route.path) for bound in gateway.routes}
    assert set(document["x-socketio"]["clientEvents"]) == set(EVENTS.client)
    assert set(document["x-socketio"]["serverEvents"]) == set(EVENTS.server)


async def test_health_readiness_metrics_and_docs(
    gateway: Gateway, media: MediaServer, http: aiohttp.ClientSession, caller: MakeCaller
) -> None:
    await trio(gateway, caller)
    async with http.get(f"{gateway.url}/health") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ok")
    async with http.head(f"{gateway.url}/health") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    async with http.get(f"{gateway.url}/ready") as answer:
        body = await answer.json()
        assert (answer.status, body["status"]) == (200, "ok")
        assert body["mediaServers"] == [{"url": media.url, "events": True, "requests": "closed"}]
    async with http.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()
    for line in (
        "calls_mode_sfu_total 1.0",
        "calls_mode_p2p_total 0.0",
        "calls_mode_transitions_total 1.0",
        "meeshy_calls_switching 0.0",
        "meeshy_active_participants 3.0",
        'call_mode_transition_duration_seconds_count{source="p2p",target="sfu"} 1.0',
        'meeshy_calls_total{conversation_type="GROUP",type="video"} 1.0',
    ):
        assert line in text
    async with http.get(f"{gateway.url}/metrics", headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
        assert answer.status == 401
    async with http.get(f"{gateway.url}/docs") as answer:
        assert "openapi.json" in await answer.text()
    async with http.get(f"{gateway.url}/asyncapi.json") as answer:
        assert (await answer.json())["asyncapi"] == "3.0.0"
    async with http.get(f"{gateway.url}/docs/events") as answer:
        assert "asyncapi.json" in await answer.text()
    async with http.get(f"{gateway.url}/nowhere") as answer:
        assert (await answer.json())["error"]["code"] == "NOT_FOUND"
    async with http.patch(f"{gateway.url}/api/calls") as answer:
        assert (await answer.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_origins_of_settings_may_call_and_others_not(
    start_gateway: StartGateway, http: aiohttp.ClientSession
) -> None:
    gateway = await start_gateway(cors_origins=["https://app.example.org"])
    for origin, status in (("https://app.example.org", 204), ("https://evil.example", 403)):
        headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        async with http.options(f"{gateway.url}/api/calls", headers=headers) as answer:
            assert answer.status == status


async def test_the_limits_of_users_and_addresses_hold(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(
        rate_calls=8, rate_initiate=2, rate_join=2, rate_leave=2, rate_toggle=2, rate_signals=2
    )
    ada, bob = await pair(gateway, caller)
    call = {"callId": ada.call_id}
    signal = {"type": "offer", "to": bob.id, "sdp": SDP}
    for event, payload in (
        ("call:toggle-audio", call | {"enabled": True}),
        ("call:signal", call | {"signal": signal}),
        ("call:join", {"callId": ada.call_id}),
    ):
        for _ in range(2):
            await ada.emit(event, payload)
        refused = await ada.emit(event, payload)
        assert refused["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert refused["error"]["retryAfter"] >= 1
    assert (await bob.emit("call:toggle-audio", call | {"enabled": True}))["success"]
    for _ in range(8):
        answer = await ada.request("GET", "/api/conversations/c1/active-call")
        assert answer.status == 200
    refused = await ada.request("GET", "/api/conversations/c1/active-call")
    assert (refused.status, refused.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert refused.headers["Retry-After"]
    assert refused.headers["X-RateLimit-Limit"] == "8"


async def test_quality_reports_have_their_own_rate_limit(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(rate_calls=5, rate_quality=8)
    ada, bob = await pair(gateway, caller)
    path = f"/api/calls/{ada.call_id}/quality-metrics"
    for _ in range(8):
        answer = await ada.request("POST", path, {"rtt": 20})
        assert (answer.status, answer.headers["X-RateLimit-Limit"]) == (200, "8")
    refused = await ada.request("POST", path, {"rtt": 20})
    assert (refused.status, refused.code) == (429, "RATE_LIMIT_EXCEEDED")
    # neither the others behind the address nor what else one asks pay for it
    assert (await bob.request("POST", path, {"rtt": 20})).status == 200
    for _ in range(4):
        assert (await ada.request("GET", f"/api/calls/{ada.call_id}")).status == 200
    # tokens are guessed against the limit of the address
    assert (await ada.request("POST", path, {"rtt": 20}, token="x.y.z")).status == 401
    assert (await ada.request("POST", path, {"rtt": 20}, token="x.y.z")).status == 429
    assert (await bob.request("POST", path, {"rtt": 20})).status == 200


async def test_pages_of_calls_go_on_by_cursor_to_the_last(
    gateway: Gateway, caller: MakeCaller, document: dict[str, Any]
) -> None:
    ada = await caller(gateway, "ada")
    begun = []
    for _ in range(5):
        begun.append((await ada.initiate())["callId"])
        await ada.ask("call:end", {"callId": ada.call_id})
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        path = f"/api/conversations/c1/calls?limit=2&status=ended{cursor and f'&cursor={cursor}'}"
        page = (await ada.request("GET", path)).data
        fits(document, "CallPage", page)
        assert page["total"] == 5
        seen += [call["callId"] for call in page["calls"]]
        cursor = page["nextCursor"]
    assert seen == begun[::-1]
    for query, field in (
        ("cursor=x", "cursor"),
        ("cursor=99999999999999999999.a", "cursor"),
        ("cursor=99999999999999999.a", "cursor"),
        ("cursor=1.a&offset=1", "offset"),
        ("offset=1001", "offset"),
    ):
        refused = await ada.request("GET", f"/api/conversations/c1/calls?{query}")
        assert (refused.status, refused.body["error"]["details"]["path"]) == (400, field)


async def test_a_call_that_is_over_still_shows_the_names_of_its_participants(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway()
    ada, bob = await pair(gateway, caller)
    guest = await caller(gateway, "gil", anonymous=True)
    await guest.join(ada.call_id)
    await bob.leave()
    await ada.ask("call:end", {"callId": ada.call_id})
    over = (await ada.request("GET", f"/api/calls/{ada.call_id}")).data
    assert [peer["username"] for peer in over["participants"]] == ["Ada", "Bob", "Gil"]
    (listed,) = (await ada.request("GET", "/api/conversations/c1/calls")).data["calls"]
    assert listed["participants"] == over["participants"]


async def test_names_outlive_the_gateway(start_gateway: StartGateway, caller: MakeCaller) -> None:
    first = await start_gateway()
    ada, bob = await pair(first, caller)
    await first.close()
    second = await start_gateway()
    names = [member.username for member in second.calls.live[ada.call_id].members.values()]
    assert names == ["Ada", "Bob"]
    await bob.reconnect(second.url)
    participants = (await bob.rejoin())["participants"]
    assert [peer["username"] for peer in participants] == ["Ada", "Bob"]
