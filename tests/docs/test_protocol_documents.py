"""The AsyncAPI documents and docs/schemas/: valid by the official schemas, complete, and true of what is sent and read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from meeshy_sfu.edge.asyncapi import asyncapi_document
from meeshy_sfu.edge.openapi import Description, openapi_document
from meeshy_sfu.gateway.wire import messages
from meeshy_sfu.gateway.wire.description import DESCRIPTION as GATEWAY
from meeshy_sfu.server.description import DESCRIPTION as MEDIA_SERVER

ROOT = Path(__file__).resolve().parents[2]
OFFICIAL = (
    ROOT / "tests" / "interop" / "page" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
)
services = pytest.mark.parametrize("service", [GATEWAY, MEDIA_SERVER], ids=lambda one: one.name)


def document(service: Description) -> dict[str, Any]:
    """The AsyncAPI document as it is sent."""
    made: dict[str, Any] = json.loads(json.dumps(asyncapi_document(service)))
    return made


def schema(service: Description) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((ROOT / "docs" / "schemas" / f"{service.name}.json").read_text())
    return made


def found(tree: dict[str, Any], reference: str) -> Any:
    """What a reference within a document leads to."""
    for part in reference.removeprefix("#/").split("/"):
        tree = tree[part]
    return tree


@services
@pytest.mark.skipif(not OFFICIAL.exists(), reason="@asyncapi/specs is not installed; .ci/setup does it")
def test_the_document_is_valid_by_the_official_schema(service: Description) -> None:
    official = json.loads(OFFICIAL.read_text())
    jsonschema.validators.validator_for(official)(official).validate(document(service))


@services
def test_every_event_is_an_operation_and_every_reference_leads_somewhere(service: Description) -> None:
    made = document(service)
    names: dict[str, list[str]] = {"receive": [], "send": []}
    for operation in made["operations"].values():
        (message,) = operation["messages"]
        names[operation["action"]].append(found(made, found(made, message["$ref"])["$ref"])["name"])
        assert ("reply" in operation) is (operation["action"] == "receive")
    assert names == {"receive": list(service.events.client), "send": list(service.events.server)}
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(made)):
        assert found(made, reference), reference


@services
def test_the_openapi_document_leads_from_each_event_to_its_message_in_the_asyncapi_document(
    service: Description,
) -> None:
    made = openapi_document((), service)
    assert made["externalDocs"]["url"] == "docs/events"
    link = made["x-socketio"]
    assert (link["path"], link["document"]) == ("/socket.io/", "asyncapi.json")
    events = document(service)
    assert link["path"] == events["servers"]["socketio"]["pathname"]
    for side, known in (("clientEvents", service.events.client), ("serverEvents", service.events.server)):
        assert list(link[side]) == list(known)
        for name, event in link[side].items():
            file, _, reference = event["message"]["$ref"].partition("#")
            message = found(events, f"#{reference}")
            assert (file, message["name"]) == ("asyncapi.json", name)
            assert message["payload"] == event["payload"]
            assert message_side(events, reference) == ("receive" if side == "clientEvents" else "send")


def message_side(events: dict[str, Any], reference: str) -> str:
    """Whether the service sends a message or receives it."""
    name = reference.rsplit("/", 1)[1]
    return str(events["operations"][name]["action"])


@services
def test_the_schema_is_valid_and_names_every_event(service: Description) -> None:
    made = schema(service)
    jsonschema.Draft202012Validator.check_schema(made)
    sides = made["properties"]
    assert list(sides["clientEvents"]["properties"]) == list(service.events.client)
    assert list(sides["serverEvents"]["properties"]) == list(service.events.server)
    assert sides["requests"]["properties"]
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(made)):
        assert found(made, reference)["description"], reference


@services
def test_what_is_sent_is_closed_and_what_is_read_is_open(service: Description) -> None:
    definitions = schema(service)["$defs"]
    for asked in service.events.client.values():
        assert "additionalProperties" not in definitions[asked.request.__name__]
        assert definitions[asked.answer.__name__]["additionalProperties"] is False
    for event in service.events.server.values():
        assert definitions[event.payload.__name__]["additionalProperties"] is False


def test_the_schema_tells_null_from_absent_as_the_wire_does() -> None:
    made = schema(GATEWAY)
    left = {"callId": "c", "participantId": "p", "userId": "u", "username": "U", "reason": "left"}
    left |= {"leftAt": "2026-01-01T00:00:00.000Z", "mode": "p2p", "totalParticipants": 1}
    validator = jsonschema.Draft202012Validator(made["$defs"]["ParticipantLeft"] | {"$defs": made["$defs"]})
    assert messages.ParticipantLeft.model_validate(left).wire() == left
    assert validator.is_valid(left)
    assert not validator.is_valid(left | {"anonymousId": None})
    assert not validator.is_valid(left | {"more": 1})
    ended = {
        "callId": "c",
        "conversationId": "d",
        "duration": 1,
        "endedBy": None,
        "reason": "normal",
        "endedAt": "…",
    }
    validator = jsonschema.Draft202012Validator(made["$defs"]["CallEnded"])
    assert messages.CallEnded.model_validate(ended).wire() == ended
    assert validator.is_valid(ended)
    assert not validator.is_valid({name: value for name, value in ended.items() if name != "endedBy"})
