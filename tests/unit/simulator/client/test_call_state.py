"""What one participant knows of its call: who is there, and which media is wanted of them."""

from __future__ import annotations

import pytest

from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext
from simulator.client.call_state import CallState
from simulator.errors import BotError
from simulator.samples.schema import Kind


@pytest.fixture
def state() -> CallState:
    """Participant 1, in a call with 2 and 3."""
    shared = SharedContext(ParticipantIndex(), MediaServers(), lambda *_, **__: None)
    state = CallState(1, shared)
    state.enter({"callId": "c", "participantId": "p1", "mode": "p2p", "epoch": 0})
    state.remember([{"participantId": f"p{n}", "userId": f"person-{n}"} for n in (1, 2, 3)])
    return state


def test_others_are_those_who_have_not_left(state: CallState) -> None:
    assert state.others == {2, 3}
    state.remember(
        [
            {"participantId": "p2", "userId": "person-2", "leftAt": "2026-01-01T00:00:00Z"},
            {"participantId": "p3", "userId": "person-3"},
        ]
    )
    assert state.others == {3}


def test_tracks_of_a_participant_who_leaves_are_no_longer_wanted(state: CallState) -> None:
    wanted = state.still(state.tracks([2, 3]))
    assert wanted() == [(2, "audio"), (2, "video"), (3, "audio"), (3, "video")]
    state.remove("p2")
    assert wanted() == [(3, "audio"), (3, "video")]


def test_announced_producers_of_oneself_and_of_strangers_are_not_wanted(state: CallState) -> None:
    producers = [{"participantId": name, "kind": "video"} for name in ("p1", "p2", "stranger")]
    assert state.announced(producers) == [(2, "video")]


def test_a_participant_of_another_run_is_named(state: CallState) -> None:
    with pytest.raises(BotError, match="participant stranger is not a participant of this run"):
        state.number_of("stranger")


def test_what_is_switched_off_is_not_waited_for() -> None:
    silent: dict[int, set[Kind]] = {2: {"audio"}}
    state = CallState(
        1, SharedContext(ParticipantIndex(), MediaServers(), lambda *_, **__: None, silent=silent)
    )
    state.remember([{"participantId": "p", "userId": "person-2"}])
    wanted = state.still(state.tracks([2]))
    assert list(wanted()) == [(2, "video")]
    silent[2].clear()
    assert list(wanted()) == [(2, "audio"), (2, "video")]


def test_nothing_is_expected_of_who_only_receives() -> None:
    shared = SharedContext(ParticipantIndex(), MediaServers(), lambda *_, **__: None, exceptions={2: ()})
    state = CallState(1, shared)
    assert state.tracks([2, 3]) == [(3, "audio"), (3, "video")]
