"""The requests of both services as a Postman Collection v2.1, made from their OpenAPI documents; used by generate_docs.py.

Two folders lead through a call, in the order in which a client asks; each request keeps what the next ones need. The others
have every request of a service. Bodies are written here and checked with the models that check them in the service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from meeshy_sfu.edge.openapi import Description, openapi_document
from meeshy_sfu.edge.routes import Route
from meeshy_sfu.gateway.wire.description import DESCRIPTION as GATEWAY
from meeshy_sfu.server.description import DESCRIPTION as MEDIA_SERVER

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
TEXT: Final = """Every request of the call gateway and of the media server, and a call from its token to its end.

Set the variables of the collection: URLs and tokens, which are empty here. In development mode these commands print tokens:

- `userToken`: `meeshy token --user ada --conversation demo:GROUP:admin`
- `invite`: `meeshy token --invite --conversation demo:GROUP`
- `serviceToken`: `meeshy token --role service`
- `adaToken`: `meeshy token --call demo-room --participant ada --role initiator`
- `bobToken`: `meeshy token --call demo-room --participant bob`

Then run the first two folders from top to bottom. Ringing goes over Socket.IO and media over WebRTC: not in a collection."""
VARIABLES: Final = {
    "gatewayUrl": "http://127.0.0.1:4000",
    "mediaUrl": "http://127.0.0.1:3001",
    "userToken": "",
    "invite": "",
    "serviceToken": "",
    "adaToken": "",
    "bobToken": "",
    "conversationId": "demo",
    "roomId": "demo-room",
    "guestToken": "",
    "callId": "",
    "participantId": "",
    "transportId": "",
    "producerId": "",
    "consumerId": "",
}
"""With their values; tokens are the user's to fill in, and those from `guestToken` on are kept by requests."""
_OPUS: Final = {"mimeType": "audio/opus", "clockRate": 48000, "channels": 2}
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "InitiateRequest": {"conversationId": "{{conversationId}}", "type": "video"},
    "SetModeBody": {"mode": "p2p"},
    "QualityBody": {"packetsReceived": 1000, "packetsLost": 3, "rtt": 20, "jitter": 2},
    "JoinBody": {"audioEnabled": True, "videoEnabled": True},
    "GuestRequest": {"invite": "{{invite}}", "name": "Grace"},
    "RenewRequest": {"name": "Grace"},
    "CreateRoomRequest": {},
    "JoinRequest": {"participantId": "ada"},
    "CreateTransportRequest": {"participantId": "ada", "direction": "send"},
    "ConnectTransportRequest": {
        "dtlsParameters": {
            "role": "client",
            "fingerprints": [{"algorithm": "sha-256", "value": ":".join(["AB"] * 32)}],
        }
    },
    "MaxIncomingBitrateRequest": {"bitrate": 1_500_000},
    "ProduceRequest": {
        "participantId": "ada",
        "kind": "audio",
        "appData": {"source": "microphone"},
        "rtpParameters": {
            "codecs": [{**_OPUS, "payloadType": 111}],
            "encodings": [{"ssrc": 11111111}],
            "rtcp": {"cname": "ada"},
        },
    },
    "ConsumeRequest": {
        "participantId": "bob",
        "producerId": "{{producerId}}",
        "rtpCapabilities": {"codecs": [{**_OPUS, "kind": "audio", "preferredPayloadType": 100}]},
    },
    "ConsumersRequest": {"consumerIds": ["{{consumerId}}"]},
    "PreferredLayersRequest": {"spatialLayer": 1, "temporalLayer": 1},
}
"""By the model of the body."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its routes."""

    description: Description
    routes: Sequence[Route]
    url: str
    """The variable with its URL."""
    token: str
    """The variable with the token of most of its requests."""
    call: str
    """The variable that stands for `callId` in its paths."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request on the way through a call."""

    method: str
    path: str
    name: str
    token: str | None
    keeps: Mapping[str, str] = field(default_factory=dict)
    """Variables, and where their values are in the answer's data."""
    body: Mapping[str, Any] | None = None
    """In place of the usual one."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of parameters in the path, in place of the variables of the same name."""


_AT_THE_GATEWAY: Final = (
    Step("POST", "/api/guests", "A guest gets a token by an invite", None, {"guestToken": "token"}),
    Step("POST", "/api/calls", "A user begins a call", "userToken", {"callId": "callId"}),
    Step("GET", "/api/calls/{callId}", "Look at it", "userToken"),
    Step(
        "GET",
        "/api/conversations/{conversationId}/active-call",
        "The guest finds it in the conversation",
        "guestToken",
    ),
    Step("POST", "/api/calls/{callId}/participants", "The guest joins", "guestToken"),
    Step("POST", "/api/calls/{callId}/quality-metrics", "Report quality", "userToken"),
    Step("GET", "/api/calls", "A service sees all live calls", "serviceToken"),
    Step("POST", "/api/calls/{callId}/leave", "The guest leaves", "guestToken"),
    Step("DELETE", "/api/calls/{callId}", "The user ends the call", "userToken"),
)
_ROOM = "/api/rooms/{callId}"
_AT_THE_MEDIA_SERVER: Final = (
    Step("POST", f"{_ROOM}/create", "A service creates the room", "serviceToken"),
    Step("POST", f"{_ROOM}/join", "Ada joins", "adaToken", {"transportId": "sendTransport.transportId"}),
    Step("POST", f"{_ROOM}/transports/{{transportId}}/connect", "Ada connects", "adaToken"),
    Step(
        "POST",
        f"{_ROOM}/transports/{{transportId}}/produce",
        "Ada sends audio",
        "adaToken",
        {"producerId": "producerId"},
    ),
    Step("POST", f"{_ROOM}/join", "Bob joins", "bobToken", body={"participantId": "bob"}),
    Step("POST", f"{_ROOM}/consume", "Bob receives it", "bobToken", {"consumerId": "consumerId"}),
    Step("POST", f"{_ROOM}/consumers/resume", "Bob lets it flow", "bobToken"),
    Step("GET", f"{_ROOM}/producers/{{producerId}}/stats", "Counters of the track", "adaToken"),
    Step("GET", _ROOM, "Look at the room", "serviceToken"),
    Step(
        "POST",
        f"{_ROOM}/participants/{{participantId}}/leave",
        "Bob leaves",
        "bobToken",
        values={"participantId": "bob"},
    ),
    Step("DELETE", _ROOM, "A service ends the call", "serviceToken"),
)


def api_collection(gateway: Iterable[Route], media: Iterable[Route]) -> str:
    """The collection, from the routes of both services; those of development mode are left out."""
    services = (
        Service(GATEWAY, _public(gateway), "gatewayUrl", "userToken", "callId"),
        Service(MEDIA_SERVER, _public(media), "mediaUrl", "adaToken", "roomId"),
    )
    ways = (_AT_THE_GATEWAY, _AT_THE_MEDIA_SERVER)
    folders = [
        {
            "name": f"{number}. A call at the {_short(one)}",
            "item": [_step(one, step) for step in way],
        }
        for number, (one, way) in enumerate(zip(services, ways, strict=True), 1)
    ]
    folders += [_every_request(one) for one in services]
    document = {
        "info": {"name": "Meeshy", "description": TEXT, "schema": SCHEMA},
        "item": folders,
        "variable": [{"key": key, "value": value, "type": "string"} for key, value in VARIABLES.items()],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _public(routes: Iterable[Route]) -> list[Route]:
    return [route for route in routes if not route.development_only]


def _short(service: Service) -> str:
    return service.description.title.removeprefix("Meeshy ")


def _every_request(service: Service) -> dict[str, Any]:
    """A folder with all requests of a service, by the tags of its OpenAPI document."""
    document = openapi_document(service.routes, service.description)
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            route = _route(service, method.upper(), path)
            token = None if operation.get("security") == [] else _token_of(service, route)
            allowed = sorted({int(status) for status in operation["responses"]} - {500})
            script = [
                f'pm.test("answers as documented", () => pm.expect({json.dumps(allowed)}).to.include(pm.response.code));'
            ]
            if route.raw is None:
                script.append(
                    'pm.test("has the envelope", () => pm.expect(pm.response.json()).to.have.property("success"));'
                )
            item = _request(service, route, f"{route.method} {path}", token=token, script=script)
            by_tag.setdefault(operation["tags"][0], []).append(item)
    return {
        "name": f"{service.description.title}: every request",
        "description": service.description.text,
        "item": [{"name": tag, "item": items} for tag, items in by_tag.items()],
    }


def _token_of(service: Service, route: Route) -> str:
    if route.access in ("overseer", "local") or (service.call == "roomId" and _is_for_services(route)):
        return "serviceToken"
    if route.path.startswith("/api/guests"):
        return "guestToken"
    body = _BODIES.get(route.body.__name__, {}) if route.body else {}
    return "bobToken" if body.get("participantId") == "bob" or "/consumers" in route.path else service.token


def _is_for_services(route: Route) -> bool:
    return "services" in route.summary or route.path.endswith("/create")


def _step(service: Service, step: Step) -> dict[str, Any]:
    route = _route(service, step.method, step.path)
    script = [
        f'pm.test("succeeds", () => pm.response.to.have.status({route.status}));',
        "const answer = pm.response.json();",
        'pm.test("says so", () => pm.expect(answer.success).to.equal(true));',
    ]
    script += [
        f'pm.collectionVariables.set("{variable}", answer.data.{place});'
        for variable, place in step.keeps.items()
    ]
    return _request(
        service, route, step.name, token=step.token, script=script, body=step.body, values=step.values
    )


def _route(service: Service, method: str, path: str) -> Route:
    for route in service.routes:
        if (route.method, route.path) == (method, path):
            return route
    raise SystemExit(f"the {service.description.title} has no {method} {path}; mend .ci/api_collection.py")


def _request(
    service: Service,
    route: Route,
    name: str,
    *,
    token: str | None,
    script: list[str],
    body: Mapping[str, Any] | None = None,
    values: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    path = re.sub(r"{(\w+)}", r":\1", route.path)
    request: dict[str, Any] = {
        "method": route.method,
        "header": [],
        "description": route.summary + ".",
        "auth": {"type": "noauth"} if token is None else _bearer(token),
        "url": {
            "raw": f"{{{{{service.url}}}}}{path}",
            "host": [f"{{{{{service.url}}}}}"],
            "path": path.strip("/").split("/"),
            "variable": [
                {
                    "key": key,
                    "value": (values or {}).get(key) or f"{{{{{service.call if key == 'callId' else key}}}}}",
                    "description": service.description.path_parameters[key],
                }
                for key in re.findall(r"{(\w+)}", route.path)
            ],
        },
    }
    if route.body is not None:
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        raw = json.dumps(_body(route, body), indent=2)
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    event = {"listen": "test", "script": {"type": "text/javascript", "exec": script}}
    return {"name": name, "request": request, "event": [event], "response": []}


def _bearer(variable: str) -> dict[str, Any]:
    return {
        "type": "bearer",
        "bearer": [{"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}],
    }


def _body(route: Route, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A body that the route's model takes."""
    if route.body is None:
        return {}
    name = route.body.__name__
    if body is None and name not in _BODIES:
        raise SystemExit(
            f"write a body of {name} into .ci/api_collection.py, for {route.method} {route.path}"
        )
    found = _BODIES[name] if body is None else body
    # a variable is filled in with its name, an invite with what looks like a token
    filled = json.loads(re.sub(r"{{(\w+)}}", r"\1", json.dumps(found).replace("{{invite}}", "a.b.c")))
    try:
        route.body.model_validate(filled)
    except ValidationError as error:
        raise SystemExit(f"the body of {name} in .ci/api_collection.py is wrong: {error}") from error
    return found
