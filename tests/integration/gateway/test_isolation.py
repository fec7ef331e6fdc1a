"""Calls of others: a participant of one call learns nothing of another but that they are not a member of it."""

from __future__ import annotations

from typing import Any

import pytest

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.gateway.wire.rest import CALL, CONVERSATION
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import MakeCaller
from tests.integration.gateway.test_bad_input import EVENTS, GOOD_BODY, good
from tests.integration.gateway.test_switch import trio

NOWHERE = "f" * 24
SPIES_OWN = [Conversation("c2", "GROUP", "admin")]


def without(answer: object, *ids: str) -> str:
    """An answer as text, with ids removed."""
    text = str(answer)
    for known in ids:
        text = text.replace(known, "<id>")
    return text


async def spy_in_a_call(gateway: Gateway, caller: MakeCaller) -> Caller:
    """A user in a call of another conversation, and admin there."""
    spy = await caller(gateway, "spy", conversations=SPIES_OWN)
    await spy.initiate("c2")
    return spy


@pytest.mark.parametrize("event", [name for name, fields in EVENTS.items() if "callId" in fields])
async def test_events_about_calls_of_others_are_refused_and_reveal_nothing(
    gateway: Gateway, caller: MakeCaller, event: str
) -> None:
    ada, bob, eve = callers = await trio(gateway, caller)
    spy = await spy_in_a_call(gateway, caller)
    heard = [len(peer.events) for peer in callers]
    theirs = await spy.emit(event, good(event, ada.call_id, ada.id, bob.id))
    unknown = await spy.emit(event, good(event, ada.call_id, NOWHERE, NOWHERE))
    assert theirs["error"]["code"] in ("PERMISSION_DENIED", "ALREADY_IN_CALL")
    assert theirs == unknown
    nowhere = await spy.emit(event, good(event, NOWHERE, NOWHERE, NOWHERE))
    assert nowhere["error"]["code"] in ("CALL_NOT_FOUND", "ALREADY_IN_CALL")
    assert [len(peer.events) for peer in callers] == heard
    assert {eve.id, ada.id, bob.id} == set(gateway.calls.live[ada.call_id].members)


async def test_participants_of_other_calls_are_unknown_in_ones_own(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, *_ = callers = await trio(gateway, caller)
    spy = await spy_in_a_call(gateway, caller)
    heard = [len(peer.events) for peer in callers]
    for event in ("call:signal", "call:rejoin", "call:force-leave"):
        asked = [
            good(event, spy.call_id, spy.id, target) | {"conversationId": "c2"}
            for target in (ada.id, NOWHERE)
        ]
        theirs, unknown = [await spy.emit(event, payload) for payload in asked]
        assert not theirs["success"], event
        assert without(theirs, ada.id) == without(unknown, NOWHERE)
    paths = [f"/api/calls/{spy.call_id}/participants/{target}" for target in (ada.id, NOWHERE)]
    theirs, unknown = [await spy.request("DELETE", path) for path in paths]
    assert (theirs.status, theirs.code) == (404, "PARTICIPANT_NOT_FOUND")
    assert without(theirs.body, ada.id) == without(unknown.body, NOWHERE)
    assert [len(peer.events) for peer in callers] == heard


async def test_requests_about_calls_of_others_are_refused_and_reveal_nothing(
    gateway: Gateway, caller: MakeCaller
) -> None:
    ada, bob, _ = callers = await trio(gateway, caller)
    spy = await spy_in_a_call(gateway, caller)
    heard = [len(peer.events) for peer in callers]
    asked = 0
    for bound in gateway.routes:
        route = bound.route
        if not route.path.startswith((CALL, CONVERSATION)):
            continue
        asked += 1
        body: dict[str, Any] | None = None
        if route.body is not None:
            names = {str(field.alias) for field in route.body.model_fields.values()}
            body = {name: value for name, value in GOOD_BODY.items() if name in names}
        answers = []
        for call_id, participant_id, conversation_id in (
            (ada.call_id, bob.id, "c1"),
            (ada.call_id, NOWHERE, "c1"),
        ):
            path = route.path.format(
                callId=call_id, participantId=participant_id, conversationId=conversation_id
            )
            answer = await spy.request(route.method, path, body)
            assert (answer.status, answer.code) == (403, "PERMISSION_DENIED"), (path, answer)
            answers.append(answer.body)
        assert answers[0] == answers[1]
        assert not any(known in str(answers) for known in (ada.id, bob.id))
    assert asked >= 9
    assert [len(peer.events) for peer in callers] == heard


async def test_a_call_that_is_over_is_still_closed_to_others(gateway: Gateway, caller: MakeCaller) -> None:
    ada, *_ = await trio(gateway, caller)
    spy = await spy_in_a_call(gateway, caller)
    await ada.ask("call:end", {"callId": ada.call_id})
    theirs = await spy.request("GET", f"/api/calls/{ada.call_id}")
    assert (theirs.status, theirs.code) == (403, "PERMISSION_DENIED")
    assert "over" not in str(theirs.body)
