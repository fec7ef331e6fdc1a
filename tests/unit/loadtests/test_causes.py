"""Causes: every error has one, and their texts form few lines in a table of failures."""

import pytest
import socketio

from loadtests.causes import CallFailure, Cause, cause_of
from simulator.errors import BotError, ServerRefusedError, SignalingError


def _unreachable() -> SignalingError:
    try:
        raise SignalingError("cannot open the socket") from socketio.exceptions.ConnectionError("refused")
    except SignalingError as error:
        return error


@pytest.mark.parametrize(
    ("error", "cause", "text"),
    [
        (ServerRefusedError("x", code="ROOM_FULL", http_status=409), Cause.REFUSED, "refused: ROOM_FULL"),
        (ServerRefusedError("x", code="", http_status=502), Cause.REFUSED, "refused: HTTP 502"),
        (_unreachable(), Cause.UNREACHABLE, "gateway unreachable"),
        (SignalingError("call:join: no answer from the gateway at 12:03:04"), Cause.NO_ANSWER, "no answer"),
        (BotError("bot 17 could not connect"), Cause.NO_MEDIA, "no media"),
        (KeyError("seat 3"), Cause.GENERATOR, "load generator failed: KeyError"),
    ],
)
def test_each_error_has_a_cause_without_ids_in_its_text(error: Exception, cause: Cause, text: str) -> None:
    found, code = cause_of(error)
    assert found is cause
    assert str(CallFailure(found, code)) == text
