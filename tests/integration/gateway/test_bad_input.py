"""Bad input for every field of every event and body: refused with the field's path, and nothing else happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire import messages
from tests.integration.gateway.callers import CANDIDATE, SDP
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.test_switch import pair, trio
from tests.integration.hearing import eventually

NOT_TEXT: list[Any] = [None, 1, 1.5, True, [], {}]
BAD_IDS: list[Any] = [*NOT_TEXT, "", " ", "a/b", "../x", "x" * 129, "é", "a\0b"]
NOT_FLAGS: list[Any] = [0, 1, "true", [], {}]
BAD_EPOCHS: list[Any] = [None, -1, 1.5, "1", True, 2**53, []]
BAD_MODES: list[Any] = [None, "", "P2P", "mesh", 1, [], {}]
BAD_TEXTS: list[Any] = [1, True, [], {}]

SETTINGS: dict[str, list[Any]] = {
    "settings": [1, "x", [], True],
    "settings.audioEnabled": NOT_FLAGS,
    "settings.videoEnabled": NOT_FLAGS,
    "settings.screenShareEnabled": NOT_FLAGS,
}
FLAT_SETTINGS = {"audioEnabled": NOT_FLAGS, "videoEnabled": NOT_FLAGS}
BAD_OBJECT_IDS: list[Any] = [*BAD_TEXTS, "", "x" * 65, "a b", "a\0b", "\ud800"]
CONFIRMATION: dict[str, list[Any]] = {
    "callId": BAD_IDS[1:],
    "mode": BAD_MODES[1:],
    "epoch": BAD_EPOCHS[1:],
    "success": [None, *NOT_FLAGS],
    "error": [*BAD_TEXTS, "x" * 501],
    "sfuSendTransportId": BAD_OBJECT_IDS,
    "sfuRecvTransportId": BAD_OBJECT_IDS,
    "producerIds": [1, "x", [], True],
    "producerIds.audio": BAD_OBJECT_IDS,
    "producerIds.video": BAD_OBJECT_IDS,
    "producerIds.screen": BAD_OBJECT_IDS,
}
CALL: dict[str, list[Any]] = {"callId": BAD_IDS}
EVENTS: dict[str, dict[str, list[Any]]] = {
    "authenticate": {"token": [None, "", 1, [], {}, "x" * 32_769]},
    "call:initiate": {
        "conversationId": BAD_IDS,
        "type": [None, "", "VIDEO", "screen", 1, [], {}],
        "expectedParticipants": [-1, 501, 1.5, "3", True, []],
        **SETTINGS,
    },
    "call:join": CALL | SETTINGS | FLAT_SETTINGS,
    "call:accept": CALL | SETTINGS | FLAT_SETTINGS,
    "call:rejoin": CALL | {"participantId": BAD_IDS},
    "call:leave": CALL,
    "call:reject": CALL | {"reason": ["", "no", 1, [], {}]},
    "call:signal": CALL
    | {
        "signal": [None, 1, "x", [], True],
        "signal.type": [None, "", "OFFER", "bye", 1, [], {}],
        "signal.to": BAD_IDS,
        "signal.from": [*BAD_IDS[1:]],
        "signal.sdp": [1, True, [], {}, "v=0\ud800"],
        "signal.candidate": [
            1,
            True,
            [],
            {},
            {"candidate": 1},
            {"sdpMid": "0"},
            "\ud800",
            {"candidate": "\ud800"},
        ],
        "signal.candidate.sdpMLineIndex": [-1, "0", 1.5, 1025],
        "signal.sdpMid": [1, [], {}, "x" * 65, "a b", "0\r\n", "\ud800"],
        "signal.sdpMLineIndex": [-1, "0", 1.5, True, 1025],
        "signal.usernameFragment": [1, [], {}, "x" * 257, "a b", "\n"],
        "signal.epoch": BAD_EPOCHS[1:],
    },
    "call:toggle-audio": CALL | {"enabled": [None, *NOT_FLAGS]},
    "call:toggle-video": CALL | {"enabled": [None, *NOT_FLAGS]},
    "call:media-state-change": CALL
    | {"audioEnabled": NOT_FLAGS, "videoEnabled": NOT_FLAGS, "screenShareEnabled": NOT_FLAGS},
    "call:end": CALL,
    "call:force-leave": {"conversationId": BAD_IDS, "participantId": BAD_IDS[1:]},
    "call:mode-switched": CONFIRMATION,
    "call:mode-switch-ack": CONFIRMATION,
    "call:sfu-ready": CALL | {"success": [None, *NOT_FLAGS], "error": [*BAD_TEXTS, "x" * 501]},
    "call:media-token": CALL,
}


def good(event: str, call_id: str, own: str, other: str) -> dict[str, Any]:
    """A payload of the right form."""
    candidate = {"candidate": CANDIDATE, "sdpMid": "0", "sdpMLineIndex": 0}
    signal = {
        "type": "ice-candidate",
        "from": own,
        "to": other,
        "sdp": SDP,
        "candidate": candidate,
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "usernameFragment": "u",
        "epoch": 0,
    }
    everything: dict[str, Any] = {
        "callId": call_id,
        "conversationId": "c1",
        "participantId": other,
        "token": "x",
        "type": "video",
        "settings": {"audioEnabled": True, "videoEnabled": True, "screenShareEnabled": False},
        "expectedParticipants": 2,
        "reason": "busy",
        "enabled": True,
        "audioEnabled": True,
        "videoEnabled": True,
        "screenShareEnabled": True,
        "mode": "sfu",
        "epoch": 0,
        "success": True,
        "error": "e",
        "sfuSendTransportId": "t",
        "sfuRecvTransportId": "t",
        "producerIds": {"audio": "a", "video": "v", "screen": "s"},
        "signal": signal,
    }
    top = {path.partition(".")[0] for path in EVENTS[event]}
    return {name: value for name, value in everything.items() if name in top}


def with_value(payload: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The same with one field changed."""
    head, _, rest = path.partition(".")
    return payload | {head: with_value(payload[head], rest, value) if rest else value}


@pytest.mark.parametrize("event", EVENTS)
async def test_every_field_of_every_event_is_checked(
    gateway: Gateway, caller: MakeCaller, event: str
) -> None:
    ada, bob = await pair(gateway, caller)
    payload = good(event, ada.call_id, ada.id, bob.id)
    before = len(bob.events)
    for path, values in EVENTS[event].items():
        for value in values:
            answer = await ada.emit(event, with_value(payload, path, value))
            assert not answer["success"], (path, value)
            assert answer["error"]["code"] == "VALIDATION_ERROR", (path, value, answer)
            told = answer["error"]["details"]["path"]
            # of a candidate that may be text or an object, the path ends with the form that was tried
            assert told.startswith(path.partition(".candidate")[0]), (path, value, told)
    for junk in (None, 1, "x", [], True, [payload]):
        answer = await ada.emit(event, junk)
        assert answer["error"]["code"] == "VALIDATION_ERROR"
    assert len(bob.events) == before
    errors = ada.heard("call:error")
    assert errors
    assert {error["event"] for error in errors} == {event}
    assert len(gateway.calls.live[ada.call_id].members) == 2


def test_the_table_covers_every_event_and_field() -> None:
    assert set(EVENTS) == set(messages.EVENTS.client)
    for name, event in messages.EVENTS.client.items():
        names = {field.alias for field in event.request.model_fields.values()}
        assert names == {path.partition(".")[0] for path in EVENTS[name]}, name
    signal = {field.alias for field in messages.Signal.model_fields.values()}
    assert signal == {path.split(".")[1] for path in EVENTS["call:signal"] if path.startswith("signal.")}


def padded(size: int) -> str:
    """A description of this size."""
    lines = (size - len(SDP)) // 1000
    text = SDP + f"a=x:{'y' * 994}\r\n" * lines
    return text + f"a=x:{'y' * (size - len(text) - 6)}\r\n"


async def test_signals_need_what_their_type_says_and_have_caps(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(max_event_bytes=200_000)
    ada, bob = await pair(gateway, caller)
    for fields in (
        {"type": "offer", "sdp": None},
        {"type": "offer", "sdp": ""},
        {"type": "answer", "sdp": None},
        {"type": "answer", "sdp": padded(50_001)},
        {"type": "offer", "sdp": padded(50_000) + "é"},
        {"type": "offer", "sdp": "v=0"},
        {"type": "offer", "sdp": SDP.replace("UDP/TLS/RTP/SAVPF", "RTP/XYZ")},
        {
            "type": "offer",
            "sdp": SDP.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP").replace("a=fingerprint", "a=print"),
        },
        {"type": "offer", "sdp": SDP + "a=mid:1\n\n"},
        {"type": "ice-candidate"},
        {"type": "ice-candidate", "candidate": CANDIDATE + " x y" * 250},
        {"type": "ice-candidate", "candidate": {"candidate": CANDIDATE + " x y" * 250}},
        {"type": "ice-candidate", "candidate": "candidate:1"},
        {"type": "ice-candidate", "candidate": CANDIDATE + "\r\na=setup:active"},
    ):
        assert (await ada.signal(bob, **fields))["error"]["code"] == "INVALID_SIGNAL", fields
    assert (await ada.signal(bob, sdp=padded(50_000)))["success"]
    assert (await ada.signal(bob, type="ice-candidate", candidate=CANDIDATE + " x y" * 240))["success"]
    await eventually(lambda: len(bob.heard("call:signal")) == 2)


async def test_unknown_events_fields_and_extra_arguments(gateway: Gateway, caller: MakeCaller) -> None:
    ada, bob = await pair(gateway, caller)
    answer = await ada.emit("call:explode", {"callId": ada.call_id})
    assert answer["error"]["code"] == "VALIDATION_ERROR"
    assert (await ada.signal(bob, colour="red"))["success"]
    heard = await bob.wait("call:signal")
    assert "colour" not in heard["signal"]
    assert (await ada.emit("call:toggle-audio", {"callId": ada.call_id, "enabled": True, "x": 1}))["success"]


async def test_what_is_too_large_or_too_deep_cuts_its_sender_off_alone(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob = await pair(gateway, caller)
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    await ada.socket.emit("call:leave", {"callId": deep})
    await ada.wait_disconnected()
    await bob.wait("call:participant-connection")
    assert (await bob.emit("call:toggle-audio", {"callId": bob.call_id, "enabled": False}))["success"]


BAD_NAMES: list[Any] = ["", " ", "x" * 129, "a\u202eb", "a\nb", "a\u200b", 1, True, [], {}]
BODIES: dict[tuple[str, str], dict[str, list[Any]]] = {
    ("POST", "/api/calls"): {
        "conversationId": BAD_IDS,
        "type": [None, "", "VIDEO", 1, [], {}],
        "expectedParticipants": [-1, 501, 1.5, "3", True, []],
        **SETTINGS,
    },
    ("POST", "/api/calls/{callId}/participants"): {
        **SETTINGS,
        "audioEnabled": NOT_FLAGS,
        "videoEnabled": NOT_FLAGS,
    },
    ("PUT", "/api/calls/{callId}/mode"): {"mode": BAD_MODES},
    ("POST", "/api/calls/{callId}/quality-metrics"): {
        "packetsLost": [-1, 1.5, "1", True, 10**16],
        "packetsReceived": [-1, 1.5, "1", True],
        "packetLossRate": [-0.1, 1.1, "0", True],
        "jitter": [-1, "1", True, 1e13],
        "rtt": [-1, "1", True],
        "bitrate": [-1, "1", True],
        "bytesSent": [-1, 1.5, "1", True, 10**16],
        "bytesReceived": [-1, 1.5, "1"],
        "framesDecoded": [-1, 1.5, "1"],
        "frameWidth": [-1, 1.5, "1"],
        "frameHeight": [-1, 1.5, "1"],
    },
    ("POST", "/api/guests"): {
        "invite": [None, "", "a.b", "a b.c.d", 1, [], {}, True],
        "name": [None, *BAD_NAMES],
    },
    ("POST", "/api/guests/renew"): {"name": BAD_NAMES},
}
GOOD_BODY: dict[str, Any] = {
    "conversationId": "c1",
    "type": "video",
    "settings": {"audioEnabled": True, "videoEnabled": True, "screenShareEnabled": False},
    "expectedParticipants": 2,
    "audioEnabled": True,
    "videoEnabled": True,
    "mode": "p2p",
    "invite": "a.b.c",
    "name": "Ada",
    **dict.fromkeys(BODIES["POST", "/api/calls/{callId}/quality-metrics"], 1),
}


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_every_field_of_every_body_is_checked(
    gateway: Gateway, caller: MakeCaller, method: str, path: str
) -> None:
    ada, _ = await pair(gateway, caller)
    fields = BODIES[method, path]
    route = path.replace("{callId}", ada.call_id)
    body = {name: value for name, value in GOOD_BODY.items() if name in {p.partition(".")[0] for p in fields}}
    for field, values in fields.items():
        for value in values:
            answer = await ada.request(method, route, with_value(body, field, value))
            assert (answer.status, answer.code) == (400, "INVALID_REQUEST"), (field, value)
            assert answer.body["error"]["details"]["path"] == field
    for junk in (b"", b"{", b"[]", b"1", b'"x"', b"\xff", b'{"a":NaN}', b"null"):
        answer = await ada.request(method, route, junk)
        # 403: a body that is empty is fine, but the token is no guest's
        assert answer.status in (200, 400, 403), junk
        assert junk == b"" or (answer.status, answer.code) == (400, "INVALID_REQUEST")
    deep = b'{"settings":' + b"[" * 100 + b"]" * 100 + b"}"
    assert (await ada.request(method, route, deep)).status == 413
    assert (await ada.request(method, route, b" " * 300_000)).status == 413
    assert len(gateway.calls.live) == 1


def test_the_table_covers_every_body(gateway_routes: list[Any]) -> None:
    with_body = {(route.method, route.path): route.body for route in gateway_routes if route.body}
    assert set(BODIES) == set(with_body)
    for key, model in with_body.items():
        names = {field.alias for field in model.model_fields.values()}
        assert names == {path.partition(".")[0] for path in BODIES[key]}


@pytest.fixture
async def gateway_routes(gateway: Gateway) -> list[Any]:
    return [bound.route for bound in gateway.routes]


@pytest.mark.parametrize("call_id", ["x" * 129, "%00", "a%20b", "..%2f..", "%F0%9F%92%A5"])
async def test_ids_in_paths_are_checked(gateway: Gateway, caller: MakeCaller, call_id: str) -> None:
    ada = await caller(gateway, "ada")
    for method, path in (
        ("GET", f"/api/calls/{call_id}"),
        ("DELETE", f"/api/calls/{call_id}"),
        ("POST", f"/api/calls/{call_id}/leave"),
        ("POST", f"/api/calls/{call_id}/participants"),
        ("DELETE", f"/api/calls/c/participants/{call_id}"),
        ("GET", f"/api/conversations/{call_id}/calls"),
        ("GET", f"/api/conversations/{call_id}/active-call"),
    ):
        answer = await ada.request(method, path)
        assert answer.status in (400, 404), (path, answer)
        assert answer.code in ("INVALID_REQUEST", "NOT_FOUND", "CALL_NOT_FOUND")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=1.5", "limit=", "offset=-1", "offset=x",
     "offset=99999999999", "status=over", "status="],
)  # fmt: skip
async def test_queries_are_checked(gateway: Gateway, caller: MakeCaller, query: str) -> None:
    ada = await caller(gateway, "ada")
    answer = await ada.request("GET", f"/api/conversations/c1/calls?{query}")
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
    assert answer.body["error"]["details"]["path"] == query.partition("=")[0]


async def test_a_flood_of_events_ends_with_its_sender(
    start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(rate_events=50)
    ada, bob, _ = await trio(gateway, caller)

    async def flood() -> None:
        while ada.socket.connected:
            await ada.socket.emit("call:toggle-audio", {"callId": ada.call_id, "enabled": True})
            await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await flood()
    assert (await bob.emit("call:toggle-audio", {"callId": bob.call_id, "enabled": False}))["success"]
