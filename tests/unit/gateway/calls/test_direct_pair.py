"""The two who talk directly, found again from rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meeshy_sfu.db.models import Participant
from meeshy_sfu.db.repository import SFU_FIELDS
from meeshy_sfu.gateway.calls.direct_pair import direct_pair

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def person(name: str, came: float, went: float | None = None) -> Participant:
    return Participant(
        id=name,
        call_session_id="call",
        user_id=name,
        anonymous_user_id=None,
        role="participant",
        status="connected" if went is None else "disconnected",
        joined_at=at(came),
        left_at=None if went is None else at(went),
        audio_enabled=True,
        video_enabled=True,
        screen_share_enabled=False,
        device_info=None,
        **dict.fromkeys(SFU_FIELDS),
    )


def change(source: str, target: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {"from": source, "to": target, "timestamp": at(seconds).isoformat(), **more}


FAILED = change("p2p", "sfu", 5, success=False)


@pytest.mark.parametrize(
    ("people", "transitions", "pair"),
    [
        pytest.param([], [], "", id="nobody"),
        pytest.param([person("a", 0)], [], "", id="one"),
        pytest.param([person("a", 0), person("b", 1)], [], "ab", id="two"),
        pytest.param([person("b", 1), person("a", 2)], [], "ab", id="one-began-anew"),
        pytest.param([person("a", 0), person("b", 1), person("c", 2)], [FAILED], "ab", id="three"),
        pytest.param([person("a", 0), person("b", 1), person("c", 2, 3)], [FAILED], "ab", id="third-left"),
        pytest.param([person("a", 0, 9), person("b", 1), person("c", 2)], [FAILED], "", id="first-left"),
        pytest.param(
            [person("a", 0, 9), person("b", 1), person("c", 2)],
            [FAILED, change("p2p", "p2p", 10)],
            "bc",
            id="connected-since",
        ),
        pytest.param(
            [person("a", 0, 9), person("b", 1), person("c", 2)],
            [FAILED, change("p2p", "p2p", 10, success=False)],
            "",
            id="tried-in-vain",
        ),
        pytest.param(
            [person("a", 0, 9), person("b", 1), person("c", 2), person("d", 11)],
            [FAILED, change("p2p", "p2p", 10), FAILED],
            "bc",
            id="another-third",
        ),
        pytest.param(
            [person("a", 0, 9), person("b", 1), person("c", 2)],
            [change("p2p", "sfu", 5), change("sfu", "p2p", 10)],
            "bc",
            id="back-from-the-sfu",
        ),
        pytest.param(
            [person("a", 0, 9), person("b", 1, 3), person("c", 20)],
            [change("p2p", "sfu", 5)],
            "",
            id="on-the-sfu",
        ),
        pytest.param(
            [person("a", 0), person("b", 1)], [change("sfu", "sfu", 0.5)], "", id="opened-on-the-sfu"
        ),
    ],
)
def test_the_pair_is_who_was_connected_last(
    people: list[Participant], transitions: list[dict[str, Any]], pair: str
) -> None:
    assert direct_pair(people, transitions) == set(pair)
    assert direct_pair(people[::-1], transitions) == set(pair)
