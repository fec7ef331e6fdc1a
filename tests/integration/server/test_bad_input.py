"""Whatever is sent, a client gets the right refusal, the server lives, and other calls go on.

The cases are made from the routes and schemas themselves, so that a new field is tested the day it is added.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from meeshy_sfu.edge.routes import Route
from meeshy_sfu.server import schemas
from meeshy_sfu.server.app import MediaServer
from meeshy_sfu.server.messages import EVENTS
from meeshy_sfu.server.rest import RestApi
from meeshy_sfu.server.rest_consumers import ConsumerApi
from meeshy_sfu.server.rest_services import ServiceApi
from tests.integration.server.conftest import MakePeer, StartServer
from tests.integration.server.peers import CAPABILITIES, DTLS, Peer, rtp_parameters

ROUTES: dict[str, Route] = {
    name: function.__route__
    for api in (RestApi, ConsumerApi, ServiceApi)
    for name, function in vars(api).items()
    if hasattr(function, "__route__")
}
WRONG: dict[str, Any] = {
    "string": "\u0000 no such thing \u202e",
    "empty": "",
    "number": -1,
    "fraction": 0.5,
    "true": True,
    "list": [None],
    "object": {"a": []},
    "huge number": 10**300,
    "huge string": "x" * 100_000,
    "many": list(range(5000)),
}
ALLOWED = {200, 400, 403, 404, 409, 413, 422}


class Call:
    """A call with all kinds of objects in it, and valid bodies for every route."""

    def __init__(self, alice: Peer, bob: Peer) -> None:
        self.alice, self.bob = alice, bob
        self.ids: dict[str, str] = {}

    async def set_up(self) -> None:
        joined = await self.alice.join(create=True)
        self.ids = {
            "transportId": joined["sendTransport"]["id"],
            "participantId": "alice",
            "callId": "call-1",
        }
        self.ids["producerId"] = (await self.alice.produce(self.ids["transportId"], "audio"))["id"]
        bobs = await self.bob.join()
        theirs = await self.bob.produce(bobs["sendTransport"]["id"], "video")
        self.ids["consumerId"] = (await self.alice.consume(theirs["id"]))["id"]
        self.ids |= {"bobsTransport": bobs["sendTransport"]["id"], "bobsProducer": theirs["id"]}
        self.ids["bobsConsumer"] = (await self.bob.consume(self.ids["producerId"]))["id"]

    def path(self, route: Route, **replaced: str) -> str:
        return route.path.format(**self.ids | {"index": "0"} | replaced)

    def body(self, name: str) -> dict[str, Any]:
        bodies: dict[str, dict[str, Any]] = {
            "create_room": {"mediaCodecs": CAPABILITIES["codecs"][:1]},
            "join": {
                "participantId": "alice",
                "rtpCapabilities": CAPABILITIES,
                "appData": {},
                "forceTcp": False,
            },
            "create_transport": {"participantId": "alice", "direction": "send", "forceTcp": False},
            "connect_transport": {"dtlsParameters": DTLS},
            "produce": {
                "participantId": "alice",
                "kind": "video",
                "rtpParameters": rtp_parameters("video"),
                "appData": {"source": "camera"},
                "paused": False,
            },
            "consume": {
                "participantId": "alice",
                "producerId": self.ids["bobsProducer"],
                "rtpCapabilities": CAPABILITIES,
                "paused": True,
            },
            "resume_consumers": {"consumerIds": [self.ids["consumerId"]]},
            "pause_consumers": {"consumerIds": [self.ids["consumerId"]]},
            "set_preferred_layers": {"spatialLayer": 0, "temporalLayer": 0},
            "set_max_incoming_bitrate": {"bitrate": 1},
        }
        return copy.deepcopy(bodies[name])


@pytest.fixture
async def unlimited(start_server: StartServer) -> MediaServer:
    """A server that counts no requests, so that each case meets its own refusal."""
    limits = dict.fromkeys(
        ("rate_create", "rate_transports", "rate_connect", "rate_consume", "rate_other"), 0
    )
    return await start_server(**limits, rate_events=0, max_transports_per_participant=500)


@pytest.fixture
async def call(unlimited: MediaServer, peer: MakePeer) -> Call:
    """Alice and Bob, with a track each."""
    made = Call(peer("alice", url=unlimited.url), peer("bob", url=unlimited.url))
    await made.set_up()
    return made


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, the leaves included."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places(member, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with one place replaced; ``...`` removes it."""
    copied = copy.deepcopy(document)
    *parents, last = path
    at = copied
    for part in parents:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return copied


async def check_unharmed(call: Call) -> None:
    """The other participant's things still work, and so do new calls."""
    assert (await call.bob.post(f"producers/{call.ids['bobsProducer']}/resume")).status == 200
    other = Peer(call.bob.session, call.bob.url, "another-call", "carol")
    assert len((await other.join(create=True))["rtpCapabilities"]["codecs"]) > 1
    assert (await other.post("participants/carol/leave")).status == 200


with_body = [name for name, route in ROUTES.items() if route.body is not None]


@pytest.mark.parametrize("name", with_body)
async def test_every_field_missing_or_wrong_is_refused_or_ignored(call: Call, name: str) -> None:
    route = ROUTES[name]
    good = call.body(name)
    cases = [(path, "missing", changed(good, path, ...)) for path in places(good)]
    cases += [
        (path, label, changed(good, path, value)) for path in places(good) for label, value in WRONG.items()
    ]
    for path, label, body in cases:
        if body == good or (name == "join" and path[0] == "participantId"):
            continue
        answer = await call.alice.request(route.method, call.path(route), body)
        assert answer.status in ALLOWED, (path, label, answer)
        assert answer.body["success"] is (answer.status == 200), (path, label, answer)
        if name == "join" and answer.status == 200:
            await call.set_up()
            good = call.body(name)
    await check_unharmed(call)


@pytest.mark.parametrize("name", with_body)
async def test_a_refusal_names_the_required_field(call: Call, name: str) -> None:
    route = ROUTES[name]
    assert route.body is not None
    good = call.body(name)
    for field in route.body.model_fields.values():
        if not field.is_required():
            continue
        assert field.alias is not None
        for value in (..., None, [], {}, 7.5, True):
            if value == [] and name.endswith("_consumers"):
                continue
            answer = await call.alice.request(
                route.method, call.path(route), changed(good, (field.alias,), value)
            )
            if value == 7.5 and field.alias in ("bitrate", "spatialLayer"):
                assert answer.status == 200, "fractions of numbers are cut off, as in browsers"
                continue
            assert (answer.status, answer.code) == (400, "INVALID_REQUEST"), (field.alias, value, answer)
            assert answer.body["error"]["details"]["path"].startswith(field.alias), answer


async def test_what_others_are_sent_stays_json_whatever_app_data_holds(peer: MakePeer) -> None:
    alice, bob = peer("alice"), peer("bob")
    await alice.create()
    joined = await bob.post(
        "join", b'{"participantId": "bob", "appData": {"a": 1e999, "b": 1%s}}' % (b"0" * 30)
    )
    assert (joined.status, joined.code) == (400, "INVALID_REQUEST")
    assert joined.body["error"]["details"]["path"] == "appData"


@pytest.mark.parametrize("name", with_body)
@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "INVALID_REQUEST"),
        (b"[]", 400, "INVALID_REQUEST"),
        (b"7", 400, "INVALID_REQUEST"),
        (b'"text"', 400, "INVALID_REQUEST"),
        (b"null", 400, "INVALID_REQUEST"),
        (b'{"a": NaN}', 400, "INVALID_REQUEST"),
        (b'{"a": 1' + b"0" * 5000 + b"}", 400, "INVALID_REQUEST"),
        (b"\xff\xfe{}", 400, "INVALID_REQUEST"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 413, "PAYLOAD_TOO_LARGE"),
        (b"[" * 200_000, 413, "PAYLOAD_TOO_LARGE"),
        (b'{"a":"' + b"x" * 300_000 + b'"}', 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=["cut", "list", "number", "text", "null", "nan", "digits", "bytes", "deep", "very deep", "large"],
)
async def test_what_is_no_small_json_object_is_refused(
    call: Call, name: str, raw: bytes, status: int, code: str
) -> None:
    route = ROUTES[name]
    answer = await call.alice.request(route.method, call.path(route), raw)
    assert (answer.status, answer.code) == (status, code), answer


async def test_a_large_body_without_a_length_is_cut_off(call: Call) -> None:
    async def endless():
        for _ in range(100):
            yield b" " * 10_000

    headers = {"Authorization": f"Bearer {call.alice.token}"}
    url = call.alice.url + call.path(ROUTES["create_room"])
    try:
        async with call.alice.session.post(url, data=endless(), headers=headers) as answer:
            assert answer.status == 413
    except aiohttp.ClientOSError:
        # the server may close before it has read everything; that is a refusal as well
        pass
    await check_unharmed(call)


OWNED = {
    "transportId": ("bobsTransport", "TRANSPORT_NOT_FOUND"),
    "producerId": ("bobsProducer", "PRODUCER_NOT_FOUND"),
    "consumerId": ("bobsConsumer", "CONSUMER_NOT_FOUND"),
}
with_object = [(name, key) for name, route in ROUTES.items() for key in OWNED if f"{{{key}}}" in route.path]


@pytest.mark.parametrize(("name", "key"), with_object)
async def test_things_of_others_are_forbidden_and_unknown_ones_not_found(
    call: Call, name: str, key: str
) -> None:
    route = ROUTES[name]
    theirs, missing = OWNED[key]
    body = call.body(name) if route.body is not None else None
    answer = await call.alice.request(route.method, call.path(route, **{key: call.ids[theirs]}), body)
    assert (answer.status, answer.code) == (403, "FORBIDDEN"), answer
    for unknown in ("nothing", "%00", "x" * 500, "00000000-0000-0000-0000-000000000000"):
        answer = await call.alice.request(route.method, call.path(route, **{key: unknown}), body)
        assert (answer.status, answer.code) == (404, missing), answer
    await check_unharmed(call)


in_call = [name for name, route in ROUTES.items() if "{callId}" in route.path]


@pytest.mark.parametrize("name", in_call)
async def test_another_call_is_forbidden(call: Call, name: str) -> None:
    route = ROUTES[name]
    body = call.body(name) if route.body is not None else None
    answer = await call.alice.request(route.method, call.path(route, callId="call-2"), body)
    assert (answer.status, answer.code) == (403, "FORBIDDEN"), answer


@pytest.mark.parametrize(
    "name", [name for name in in_call if name not in ("create_room", "join", "activate")]
)
async def test_a_call_without_a_room_is_not_found(call: Call, peer: MakePeer, name: str) -> None:
    route = ROUTES[name]
    alone = peer("alice", "call-9", url=call.alice.url)
    body = call.body(name) if route.body is not None else None
    answer = await alone.request(route.method, call.path(route, callId="call-9"), body)
    assert (answer.status, answer.code) == (404, "ROOM_NOT_FOUND"), answer


@pytest.mark.parametrize("name", list(ROUTES))
async def test_without_a_good_token_nothing_is_done(call: Call, name: str) -> None:
    route = ROUTES[name]
    if route.development_only:
        return
    expired = call.alice.new_token(-100)
    foreign = call.alice.new_token(60, secret="another secret of sufficient length")
    for token in (expired, foreign, "nonsense"):
        answer = await call.alice.request(route.method, call.path(route), token=token)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), answer
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["join", "create_transport", "produce", "consume"])
async def test_no_participant_acts_in_the_name_of_another(call: Call, name: str) -> None:
    route = ROUTES[name]
    body = call.body(name) | {"participantId": "bob"}
    answer = await call.alice.request(route.method, call.path(route), body)
    assert (answer.status, answer.code) == (403, "FORBIDDEN"), answer


@pytest.mark.parametrize("name", ["list_rooms", "activate"])
async def test_some_things_are_for_services_alone(call: Call, peer: MakePeer, name: str) -> None:
    route = ROUTES[name]
    for role in ("participant", "initiator"):
        requester = peer("alice", url=call.alice.url, role=role)
        answer = await requester.request(route.method, call.path(route))
        assert (answer.status, answer.code) == (403, "FORBIDDEN")
    service = peer("gateway", url=call.alice.url, role="service")
    assert (await service.request(route.method, call.path(route))).status == 200
    if name == "activate":
        answer = await service.request(route.method, call.path(route, callId="call-9"))
        assert (answer.status, answer.code) == (404, "ROOM_NOT_FOUND")


async def test_no_participant_makes_another_leave(call: Call) -> None:
    assert (await call.alice.post("participants/bob/leave")).code == "FORBIDDEN"


@pytest.mark.parametrize("call_id", ["-a", "a b", "a%2Fb", "%00", "x" * 200, "é"])
async def test_an_odd_call_id_is_refused(call: Call, call_id: str) -> None:
    answer = await call.alice.request("POST", f"/api/rooms/{call_id}/create")
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
    assert answer.body["error"]["details"]["path"] == "callId"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "NOT_FOUND"),
        ("PUT", "/api/rooms/call-1", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/rooms/call-1/create", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/dev/workers/0/panic", 404, "NOT_FOUND"),
        ("PUT", "/api/dev/workers/0/faults", 404, "NOT_FOUND"),
        ("GET", "/api/dev/workers/0/faults", 404, "NOT_FOUND"),
    ],
)
async def test_paths_and_methods_that_are_none_get_an_envelope(
    call: Call, method: str, path: str, status: int, code: str
) -> None:
    answer = await call.alice.request(method, path)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize("event", ["connect", "disconnect", "*"])
async def test_events_with_reserved_names_end_the_connection(call: Call, event: str) -> None:
    await call.alice.connect()
    await call.alice.socket.emit(event, {})
    await call.alice.wait_disconnected()
    await check_unharmed(call)


@pytest.mark.parametrize("event", [*EVENTS.client, "no-such-event"])
async def test_events_of_any_shape_are_answered(call: Call, event: str) -> None:
    await call.alice.connect()
    payloads = [None, "text", 7, True, [], {}, {"callId": None}, *({"callId": v} for v in WRONG.values())]
    payloads += [{"callId": "call-1", "participantId": value} for value in WRONG.values()]
    payloads += [{name: value} for name in ("consumerId", "token") for value in WRONG.values()]
    for payload in payloads:
        if len(json.dumps(payload)) > 60_000:
            continue
        answer = await call.alice.call(event, payload)
        assert answer["success"] is False, (payload, answer)
        assert answer["error"]["code"] in {
            "INVALID_REQUEST",
            "FORBIDDEN",
            "UNAUTHORIZED",
            "CONSUMER_NOT_FOUND",
        }
    await check_unharmed(call)


@pytest.mark.parametrize(
    "frames",
    [
        ["", "x", "9", "4", "49", "42", "42[]", "42{}", "42[1]", '42["join-room"', '40{"token":'],
        ["42" + "[" * 5000],
        ['42["a",' + "9" * 5000 + "]"],
        ['451-["x",{"_placeholder":true,"num":0}]', b"\x00"],
        ['459999999999-["x"]'],
        ["40/other,{}", '42/other,["x"]'],
        ["2", "3", "5", "6", "1"],
        [b"\x04binary"],
        ["4" + "x" * 200_000],
        ["43[]", "431[]", "44{}"],
    ],
    ids=[
        "broken",
        "deep",
        "digits",
        "binary",
        "attachments",
        "namespace",
        "engine",
        "bytes",
        "large",
        "acks",
    ],
)
@pytest.mark.parametrize("named", [False, True], ids=["nameless", "named"])
async def test_frames_that_are_no_socketio_harm_no_call(call: Call, frames: list[Any], named: bool) -> None:
    url = call.alice.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    for frame in frames:
        async with call.alice.session.ws_connect(url) as ws:
            await ws.receive()
            if named:
                await ws.send_str("40" + json.dumps({"token": call.alice.token}))
                await ws.receive()
            await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_str(frame))
            await ws.close()
    await check_unharmed(call)


@pytest.mark.parametrize(
    "query",
    ["", "EIO=3&transport=websocket", "EIO=4", "EIO=4&transport=carrier-pigeon", "EIO=4&transport=polling&sid=x",
     "EIO=4&transport=websocket&sid=x", "EIO=4&transport=polling&j=1%3Balert", "EIO=4&transport=polling&sid=%00"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_malformed_handshakes_harm_no_call(call: Call, query: str, method: str) -> None:
    async with call.alice.session.request(
        method, f"{call.alice.url}/socket.io/?{query}", data=b"x"
    ) as answer:
        assert answer.status < 500
    await check_unharmed(call)


def test_every_body_is_covered_here() -> None:
    covered = {route.body for route in ROUTES.values()} - {None}
    requests = {
        model
        for model in vars(schemas).values()
        if isinstance(model, type)
        and model.__name__.endswith("Request")
        and model.__module__ == schemas.__name__
    }
    assert covered == requests
