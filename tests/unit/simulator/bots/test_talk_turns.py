"""Turns of talking bots: one at a time, each for a while, never the same twice in a row."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from simulator.bots.talk_turns import PAUSE_S, TURN_S, TalkTurns


def minute(count: int, seed: int) -> list[int | None]:
    turns = TalkTurns(random.Random(seed))
    return [turns.speaker(count, now_s=tick / 10) for tick in range(600)]


def spells(talking: list[int | None]) -> list[tuple[int | None, int]]:
    found: list[tuple[int | None, int]] = []
    for one in talking:
        if found and found[-1][0] == one:
            found[-1] = (one, found[-1][1] + 1)
        else:
            found.append((one, 1))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_one_after_the_other_talks_for_seconds_with_a_silence_between(seed: int) -> None:
    found = spells(minute(4, seed))[:-1]
    speakers = [who for who, _ in found if who is not None]
    assert set(speakers) == {0, 1, 2, 3}
    assert all(one != next_ for one, next_ in pairwise(speakers))
    for who, ticks in found:
        shortest, longest = PAUSE_S if who is None else TURN_S
        assert shortest * 10 - 1 <= ticks <= longest * 10 + 1


def test_one_alone_talks_again_and_without_any_nobody_does() -> None:
    assert {who for who, _ in spells(minute(1, 1))} == {0, None}
    assert set(minute(0, 1)) == {None}


def test_one_who_has_left_talks_no_more() -> None:
    turns = TalkTurns(random.Random(1))
    while turns.speaker(3, now_s=0.0) != 2:
        turns = TalkTurns(random.Random(random.random()))
    assert turns.speaker(2, now_s=0.1) in (None, 0, 1)
