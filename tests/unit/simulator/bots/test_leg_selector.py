"""What a person sees when several legs bring it, and what it sends on all of them."""

from __future__ import annotations

import random

from simulator.bots.leg_selector import Script, Stage

P2P, SFU = 3, 4


def shown(stage: Stage, leg: int, number: int) -> tuple[bool, bool]:
    return stage.take(leg, 9, "video", number)


def test_a_track_changes_to_the_preferred_leg_without_showing_a_frame_twice() -> None:
    stage = Stage()
    stage.prefer(P2P)
    assert shown(stage, P2P, 1) == (True, True)
    stage.prefer(SFU)
    assert shown(stage, P2P, 2) == (True, False)
    assert shown(stage, SFU, 2) == (False, True)
    assert shown(stage, P2P, 3) == (False, False)
    assert shown(stage, SFU, 3) == (True, False)


def test_what_was_under_way_on_the_old_leg_is_shown_too_but_once() -> None:
    stage = Stage()
    stage.prefer(P2P)
    shown(stage, P2P, 1)
    stage.prefer(SFU)
    assert shown(stage, SFU, 3) == (True, True)
    assert shown(stage, P2P, 2) == (True, False)
    assert shown(stage, P2P, 2) == (False, False)
    assert shown(stage, SFU, 4) == (True, False)


def test_kinds_change_legs_on_their_own() -> None:
    stage = Stage()
    stage.prefer(P2P)
    stage.take(P2P, 9, "audio", 1)
    stage.take(P2P, 9, "video", 1)
    stage.prefer(SFU)
    assert stage.take(SFU, 9, "audio", 2) == (True, True)
    assert stage.take(P2P, 9, "video", 2) == (True, False)
    assert stage.take(P2P, 9, "audio", 3) == (False, False)


def test_a_leg_that_ends_gives_its_tracks_back() -> None:
    stage = Stage()
    stage.prefer(P2P)
    shown(stage, P2P, 1)
    stage.prefer(SFU)
    shown(stage, SFU, 2)
    stage.retire(SFU)
    assert shown(stage, P2P, 3) == (True, True)


def test_a_leg_that_stalls_is_left_for_one_that_flows() -> None:
    stage = Stage()
    stage.prefer(P2P)
    shown(stage, P2P, 1)
    stage.prefer(SFU)
    shown(stage, SFU, 2)
    assert [shown(stage, P2P, number) for number in range(3, 9)] == [(False, False)] * 6
    assert shown(stage, P2P, 9) == (True, True)
    assert shown(stage, SFU, 10) == (True, True)


def test_a_sender_that_begins_anew_is_shown() -> None:
    stage = Stage()
    shown(stage, P2P, 100_000)
    assert shown(stage, P2P, 1) == (True, False)


def test_no_interleaving_shows_a_frame_twice() -> None:
    for seed in range(200):
        source, stage = random.Random(seed), Stage()
        stage.prefer(P2P)
        numbers, seen = [0, 0], set[int]()
        for step in range(400):
            if step == 100:
                stage.prefer(SFU)
            which = int(step >= 80 and source.random() < 0.5)
            numbers[which] = max(numbers[which], numbers[1 - which] - 3) + 1
            if shown(stage, (P2P, SFU)[which], numbers[which])[0]:
                assert numbers[which] not in seen, f"seed {seed}"
                seen.add(numbers[which])


def test_two_legs_send_the_same_frames_whoever_asks_first() -> None:
    script = Script(list("Kabc"), lambda frame: frame == "K")
    early = [script.choose(number) for number in range(100, 110)]
    assert [script.choose(number) for number in range(105, 112)] == [*early[5:], "b", "c"]


def test_a_key_frame_asked_for_by_one_leg_is_sent_on_all() -> None:
    script = Script(list("Kabc"), lambda frame: frame == "K", 1)
    assert script.choose(7) == "a"
    script.request_key_frame()
    assert script.choose(7) == "a"
    assert script.choose(8) == script.choose(8) == "K"
    assert script.choose(9) == "a"
