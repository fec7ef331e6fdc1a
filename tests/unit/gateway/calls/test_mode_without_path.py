"""A switch that serves nobody, in a call that has no old path to stay on."""

from __future__ import annotations

import pytest

from meeshy_sfu.gateway.calls.call_mode import CallMode, Phase
from meeshy_sfu.gateway.calls.decisions import CompleteSwitch, Decision, RollBack, StartSwitch
from meeshy_sfu.gateway.calls.mode import ModeController, ModePolicy
from tests.unit.gateway.calls.test_mode import DEADLINE_S, GROUP, call, in_sfu, told


def opened(*people: str) -> ModeController:
    """A group that opens on the SFU, its people told of their first room."""
    mode = ModeController(GROUP, expected=3)
    for person in people:
        mode.join(person, 0.0)
    mode.announce(mode.epoch)
    return mode


@pytest.mark.parametrize("way", ["fail", "are silent"])
def test_a_switch_that_nobody_confirmed_fails_also_without_an_old_path(way: str) -> None:
    mode = opened("ada", "bob", "eve")
    ended: list[Decision] = []
    for person in ("ada", "bob", "eve") if way == "fail" else ():
        ended += mode.confirm(person, 1, 1.0, success=False)
    now = 1.0 if ended else 10.0
    (back,) = ended or mode.tick(now)
    assert isinstance(back, RollBack)
    assert back.reason == ("participant_failed" if way == "fail" else "deadline")
    assert back.failed == back.waiting == mode.without_path == {"ada", "bob", "eve"}
    assert back.retry_at == now + 1.0


def test_people_whom_a_room_does_not_serve_are_led_there_at_the_pauses_of_retries_until_one_gets_through() -> (
    None
):
    mode = opened("ada", "bob", "eve")
    pauses = []
    now = 0.0
    for _ in range(7):
        (back,) = mode.tick(now := now + DEADLINE_S)
        assert isinstance(back, RollBack)
        assert back.retry_at is not None
        pauses.append(back.retry_at - now)
        told(mode, mode.tick(now := back.retry_at))
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]
    mode.confirm("ada", mode.epoch, now)
    mode.confirm("bob", mode.epoch, now, success=False)
    (done,) = mode.tick(now + DEADLINE_S)
    assert isinstance(done, CompleteSwitch)
    assert (done.confirmed, done.missing, mode.without_path) == ({"ada"}, {"eve"}, frozenset())


def test_people_who_are_all_away_at_the_deadline_find_their_room_when_they_come_back() -> None:
    mode = opened("ada", "bob", "eve")
    mode.see(frozenset(), 1.0)
    (done,) = mode.tick(10.0)
    assert isinstance(done, CompleteSwitch)
    assert done.missing == {"ada", "bob", "eve"}


def test_of_a_pair_that_began_anew_nobody_talks_when_everybody_s_leg_fails() -> None:
    mode = call("ada", "bob", "eve")
    mode.rejoin("ada", 1.0)
    ended = [d for who in ("ada", "bob", "eve") for d in mode.confirm(who, 1, 2.0, success=False)]
    assert [type(decision) for decision in ended] == [RollBack]
    assert (mode.phase, mode.without_path) == (Phase.P2P, {"ada", "bob", "eve"})


def on_the_sfu_because_they_cannot_connect(mode: ModeController) -> float:
    """Two whom the SFU serves have tried to connect directly for as long as they do; the time."""
    now = 1.0
    for _ in range(6):
        told(mode, mode.tick(now))
        mode.confirm("ada", mode.epoch, now, success=False)
        now = mode.next_deadline() or now
    assert (mode.phase, mode.next_deadline()) == (Phase.SFU, None)
    return now


def test_two_who_cannot_connect_directly_get_a_room_again_when_theirs_is_lost() -> None:
    mode = in_sfu("ada", "bob", "eve")
    told(mode, mode.leave("eve", 1.0))
    now = on_the_sfu_because_they_cannot_connect(mode)
    (start,) = told(mode, mode.rehome(now, "media-server-died"))
    assert isinstance(start, StartSwitch)
    assert (start.source, start.target, start.reason) == (CallMode.SFU, CallMode.SFU, "media-server-died")
    assert mode.confirm("ada", mode.epoch, now) == []
    done, *_ = mode.confirm("bob", mode.epoch, now)
    assert isinstance(done, CompleteSwitch)


def test_two_without_a_room_are_led_to_one_when_they_do_not_connect_directly() -> None:
    mode = in_sfu("ada", "bob", "eve", policy=ModePolicy(hysteresis_s=60.0))
    assert mode.leave("eve", 1.0) == []
    (start,) = told(mode, mode.rehome(2.0, "media-server-died"))
    assert isinstance(start, StartSwitch)
    assert start.target is CallMode.P2P
    (back,) = mode.confirm("bob", mode.epoch, 3.0, success=False)
    assert isinstance(back, RollBack)
    assert back.waiting == {"ada", "bob"}
    assert back.retry_at is not None
    (start,) = told(mode, mode.tick(back.retry_at))
    assert isinstance(start, StartSwitch)
    assert start.target is CallMode.SFU


def test_nobody_is_without_a_path_who_waits_for_nothing() -> None:
    assert call("ada").without_path == frozenset()
    assert call("ada", "bob").without_path == frozenset()


def test_what_waits_for_its_next_try_is_not_hurried_by_sockets_or_by_those_whom_nobody_expected() -> None:
    mode = call("ada", "bob", "eve")
    mode.confirm("bob", 1, 1.0, success=False)
    assert mode.next_deadline() == 2.0
    assert mode.see(frozenset({"ada", "bob", "eve"}), 3.0) == []
    assert mode.await_no_more(3.0) == []
    (again,) = mode.tick(3.0)
    assert isinstance(again, StartSwitch)


def test_a_switch_of_people_without_a_pair_who_are_all_away_comes_to_its_end() -> None:
    mode = call("ada", "bob", "eve")
    mode.rejoin("ada", 1.0)
    assert mode.pair == frozenset()
    mode.see(frozenset(), 2.0)
    (done,) = mode.tick(DEADLINE_S)
    assert isinstance(done, CompleteSwitch)
    assert (done.confirmed, mode.mode) == (frozenset(), CallMode.SFU)


def test_one_of_two_who_leaves_on_the_way_back_does_not_undo_it() -> None:
    mode = in_sfu("ada", "bob", "eve")
    (start,) = told(mode, mode.leave("eve", 1.0))
    assert isinstance(start, StartSwitch)
    assert mode.leave("bob", 2.0) == []
    (done,) = mode.confirm("ada", start.epoch, 3.0)
    assert isinstance(done, CompleteSwitch)
    assert mode.phase is Phase.P2P
