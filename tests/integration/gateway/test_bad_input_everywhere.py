"""Every place of every event and body, however deep, missing or replaced: refused or ignored, never a failure of ours.

The cases are made from good payloads, and those are compared with the schemas, so that a new field is tested the day it
is added. Which value is refused with which path is in test_bad_input.py.
"""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.messages import EVENTS
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller
from tests.integration.gateway.test_bad_input import BODIES, GOOD_BODY, good
from tests.integration.gateway.test_switch import pair
from tests.integration.hearing import eventually
from tests.integration.server.test_bad_input import WRONG, changed, places

VALUES = {"missing": ..., "null": None, "half a pair": "\ud800", "deep": {"a": {"a": [[]]}}} | WRONG
SMALLER = VALUES | {"huge string": "x" * 40_000}
"""An event beyond max_event_bytes ends its sender's connection, not its case."""
ENDING = {"call:leave", "call:end", "call:force-leave", "call:reject"}
"""What these do when nothing is wrong would leave nothing to test."""


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def paths_of(model: type[BaseModel], parents: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every field of a schema, those of its parts included."""
    found = set()
    for field in model.model_fields.values():
        path = (*parents, str(field.alias))
        found.add(path)
        for inner in models_in(field.annotation):
            found |= paths_of(inner, path)
    return found


def body_of(method: str, path: str) -> dict[str, Any]:
    """A good body of a route."""
    tops = {field.partition(".")[0] for field in BODIES[method, path]}
    return {name: value for name, value in GOOD_BODY.items() if name in tops}


@pytest.mark.parametrize("event", EVENTS.client)
def test_the_good_payload_holds_every_field(event: str) -> None:
    payload = good(event, "call", "own", "other")
    assert paths_of(EVENTS.client[event].request) <= set(places(payload)) | {
        ("signal", "candidate", "usernameFragment")
    }


def test_the_good_bodies_hold_every_field(gateway: Gateway) -> None:
    for bound in gateway.routes:
        route = bound.route
        if route.body is not None:
            assert paths_of(route.body) <= set(places(body_of(route.method, route.path))), route.path


async def check_unharmed(gateway: Gateway, ada: Caller, bob: Caller, call_id: str) -> None:
    """Check that the other caller's call goes on."""
    assert {ada.id, bob.id} <= set(gateway.calls.live[call_id].members)
    assert (await bob.signal(ada))["success"]


@pytest.mark.parametrize("event", EVENTS.client)
async def test_no_event_however_wrong_is_a_failure_of_ours(
    gateway: Gateway, caller: MakeCaller, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    ada, bob = await pair(gateway, caller)
    call_id = ada.call_id
    sender = await caller(gateway, "eve") if event in ENDING else ada
    payload = good(event, call_id, sender.id or "0" * 24, bob.id)
    if event == "call:force-leave":
        payload["participantId"] = "0" * 24
    cases = 0
    for path in places(payload):
        for label, value in SMALLER.items():
            answer = await sender.emit(event, changed(payload, path, value))
            cases += 1
            if not answer["success"]:
                code = answer["error"]["code"]
                assert code != "INTERNAL_SERVER_ERROR", (path, label, answer)
                if code == "VALIDATION_ERROR":
                    assert answer["error"]["details"]["path"].startswith(str(path[0])), (path, label, answer)
    assert cases >= len(VALUES)
    assert not [record for record in caplog.records if record.exc_info], caplog.text
    if event in ("call:initiate", "call:join", "call:accept"):
        await eventually(lambda: call_id in gateway.calls.live)
    await check_unharmed(gateway, ada, bob, call_id)


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_no_body_however_wrong_is_a_failure_of_ours(
    gateway: Gateway, caller: MakeCaller, method: str, path: str
) -> None:
    ada, bob = await pair(gateway, caller)
    route = path.replace("{callId}", ada.call_id)
    eve = await caller(gateway, "eve") if path.endswith("participants") else ada
    body = body_of(method, path)
    if path == "/api/calls":
        # or each good one would begin a call
        body["conversationId"] = "c9"
    for place in places(body):
        for label, value in VALUES.items():
            answer = await eve.request(method, route, changed(body, place, value))
            assert answer.status in (200, 400, 403, 409, 413), (place, label, answer)
            assert answer.body["success"] is (answer.status == 200)
    await check_unharmed(gateway, ada, bob, ada.call_id)
