"""The check of all that clients receive notices what no model would write."""

from __future__ import annotations

import pytest

from meeshy_sfu.edge.wire import Message
from tests import wire_check
from tests.integration.server.conftest import MakePeer


async def test_a_field_of_no_model_is_noticed_in_event_answer_and_body(
    peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = peer("alice"), peer("bob")
    await alice.create()
    await alice.connect()
    await alice.join_room()
    assert wire_check.violations == []
    monkeypatch.setattr(Message, "wire", lambda self: self.model_dump(by_alias=True) | {"more": 1})
    await bob.join()
    await alice.wait("participant-joined")
    await alice.call("leave-room", {"callId": "call-1", "participantId": "alice"})
    noticed, wire_check.violations[:] = list(wire_check.violations), []
    for what in ("POST /api/rooms/call-1/join 200", "event participant-joined", "answer of leave-room"):
        assert any(line.startswith(what) and "more" in line for line in noticed), (what, noticed)


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({"callId": "c", "transportId": "t", "iceState": "new", "dtlsState": "new"}, "a missing null"),
        (
            {"callId": "c", "transportId": "t", "iceState": "odd", "dtlsState": "new", "reason": None},
            "a word",
        ),
    ],
)
def test_a_missing_field_and_another_word_are_noticed(payload: dict[str, object], what: str) -> None:
    wire_check.check_event("transport-state", payload)
    assert len(wire_check.violations) == 1, what
    wire_check.violations.clear()


def test_a_null_where_a_field_is_left_out_is_noticed() -> None:
    refused = {"success": False, "error": {"code": "X", "message": "x", "details": None}}
    wire_check.check_answer("join-room", refused)
    wire_check.check_body("GET", "/api/rooms/c", 404, refused)
    assert len(wire_check.violations) == 2
    wire_check.violations.clear()
