"""What a bot shows when several legs receive it, and what it sends on all of them."""

from __future__ import annotations

import random

from simulator.bots.leg_selector import FrameSequence, LegSelector

P2P, SFU = 3, 4


def shown(selector: LegSelector, leg: int, number: int) -> tuple[bool, bool]:
    return selector.take(leg, 9, "video", number)


def test_a_track_changes_to_the_preferred_leg_without_showing_a_frame_twice() -> None:
    selector = LegSelector()
    selector.prefer(P2P)
    assert shown(selector, P2P, 1) == (True, True)
    selector.prefer(SFU)
    assert shown(selector, P2P, 2) == (True, False)
    assert shown(selector, SFU, 2) == (False, True)
    assert shown(selector, P2P, 3) == (False, False)
    assert shown(selector, SFU, 3) == (True, False)


def test_what_was_under_way_on_the_old_leg_is_shown_too_but_once() -> None:
    selector = LegSelector()
    selector.prefer(P2P)
    shown(selector, P2P, 1)
    selector.prefer(SFU)
    assert shown(selector, SFU, 3) == (True, True)
    assert shown(selector, P2P, 2) == (True, False)
    assert shown(selector, P2P, 2) == (False, False)
    assert shown(selector, SFU, 4) == (True, False)


def test_kinds_change_legs_on_their_own() -> None:
    selector = LegSelector()
    selector.prefer(P2P)
    selector.take(P2P, 9, "audio", 1)
    selector.take(P2P, 9, "video", 1)
    selector.prefer(SFU)
    assert selector.take(SFU, 9, "audio", 2) == (True, True)
    assert selector.take(P2P, 9, "video", 2) == (True, False)
    assert selector.take(P2P, 9, "audio", 3) == (False, False)


def test_a_leg_that_ends_gives_its_tracks_back() -> None:
    selector = LegSelector()
    selector.prefer(P2P)
    shown(selector, P2P, 1)
    selector.prefer(SFU)
    shown(selector, SFU, 2)
    selector.retire(SFU)
    assert shown(selector, P2P, 3) == (True, True)


def test_a_leg_that_stalls_is_left_for_one_that_flows() -> None:
    selector = LegSelector()
    selector.prefer(P2P)
    shown(selector, P2P, 1)
    selector.prefer(SFU)
    shown(selector, SFU, 2)
    assert [shown(selector, P2P, number) for number in range(3, 9)] == [(False, False)] * 6
    assert shown(selector, P2P, 9) == (True, True)
    assert shown(selector, SFU, 10) == (True, True)


def test_a_sender_that_restarts_is_shown() -> None:
    selector = LegSelector()
    shown(selector, P2P, 100_000)
    assert shown(selector, P2P, 1) == (True, False)


def test_no_interleaving_shows_a_frame_twice() -> None:
    for seed in range(200):
        source, selector = random.Random(seed), LegSelector()
        selector.prefer(P2P)
        numbers, seen = [0, 0], set[int]()
        for step in range(400):
            if step == 100:
                selector.prefer(SFU)
            which = int(step >= 80 and source.random() < 0.5)
            numbers[which] = max(numbers[which], numbers[1 - which] - 3) + 1
            if shown(selector, (P2P, SFU)[which], numbers[which])[0]:
                assert numbers[which] not in seen, f"seed {seed}"
                seen.add(numbers[which])


def test_two_legs_send_the_same_frames_whoever_asks_first() -> None:
    sequence = FrameSequence(list("Kabc"), lambda frame: frame == "K")
    early = [sequence.choose(number) for number in range(100, 110)]
    assert [sequence.choose(number) for number in range(105, 112)] == [*early[5:], "b", "c"]


def test_a_key_frame_asked_for_by_one_leg_is_sent_on_all() -> None:
    sequence = FrameSequence(list("Kabc"), lambda frame: frame == "K", 1)
    assert sequence.choose(7) == "a"
    sequence.request_key_frame()
    assert sequence.choose(7) == "a"
    assert sequence.choose(8) == sequence.choose(8) == "K"
    assert sequence.choose(9) == "a"
