"""The state machine of a call's room: known stories, then thousands of random ones against a model."""

from __future__ import annotations

import copy
import os
import random
from collections import Counter
from collections.abc import Callable

import pytest

from meeshy_sfu.gateway.calls.room_state import RoomNeed, RoomPhase, RoomState, Step
from meeshy_sfu.gateway.media.media_client import MediaRoom

EVENTS: dict[str, Callable[[RoomState], object]] = {
    "created": lambda state: state.created(room(9), prewarmed=False),
    "adopted": lambda state: state.adopted(room(9), in_use=True),
    "announced": lambda state: state.announced(),
    "destroyed": lambda state: state.destroyed(),
}
LEGAL: dict[RoomPhase, set[str]] = {
    RoomPhase.NONE: {"created", "adopted"},
    RoomPhase.PREWARMED: {"destroyed"},
    RoomPhase.READY: {"announced", "destroyed"},
    RoomPhase.IN_USE: {"announced"},
    RoomPhase.LEAVING: set(),
    RoomPhase.STALE: {"destroyed"},
}
WANTED = {
    RoomNeed.NOTHING: (RoomPhase.NONE, RoomPhase.IN_USE, RoomPhase.LEAVING),
    RoomNeed.PREWARMED: (RoomPhase.PREWARMED, RoomPhase.IN_USE, RoomPhase.LEAVING),
    RoomNeed.EXISTING: (RoomPhase.NONE, RoomPhase.READY, RoomPhase.IN_USE, RoomPhase.LEAVING),
    RoomNeed.ACTIVE: (RoomPhase.READY, RoomPhase.IN_USE, RoomPhase.LEAVING),
}
"""Where the keeper's steps end when each of them succeeds."""
DRAWN = {
    (RoomPhase.NONE, RoomPhase.PREWARMED),
    (RoomPhase.NONE, RoomPhase.READY),
    (RoomPhase.PREWARMED, RoomPhase.READY),
    (RoomPhase.PREWARMED, RoomPhase.STALE),
    (RoomPhase.READY, RoomPhase.IN_USE),
    (RoomPhase.READY, RoomPhase.STALE),
    (RoomPhase.IN_USE, RoomPhase.LEAVING),
    (RoomPhase.LEAVING, RoomPhase.STALE),
    (RoomPhase.STALE, RoomPhase.NONE),
}
LOST = {(phase, RoomPhase.NONE) for phase in RoomPhase}
ENDED = {(phase, RoomPhase.STALE) for phase in RoomPhase}
USED = (RoomPhase.IN_USE, RoomPhase.LEAVING)
NEEDS = tuple(RoomNeed)


def room(number: int = 1) -> MediaRoom:
    return MediaRoom("http://127.0.0.1:3001", f"room-{number}", f"router-{number}", {})


def created(*, prewarmed: bool = False) -> tuple[RoomState, MediaRoom]:
    state, made = RoomState(), room()
    state.created(made, prewarmed=prewarmed)
    return state, made


def in_use() -> tuple[RoomState, MediaRoom]:
    state, made = created()
    state.announced()
    return state, made


def step(state: RoomState, need: RoomNeed) -> Step | None:
    return state.next_step(need, now_s=0.0)


def test_call_that_switches_gets_a_room_and_one_that_lost_its_room_waits_for_its_transition() -> None:
    assert step(RoomState(), RoomNeed.ACTIVE) is Step.CREATE
    assert step(RoomState(), RoomNeed.EXISTING) is None
    assert step(RoomState(), RoomNeed.NOTHING) is None


def test_prewarmed_room_is_activated_when_media_needs_it_and_destroyed_when_nobody_would() -> None:
    state, made = created(prewarmed=True)
    assert [step(state, need) for need in (RoomNeed.PREWARMED, RoomNeed.ACTIVE, RoomNeed.NOTHING)] == [
        None,
        Step.ACTIVATE,
        Step.DESTROY,
    ]
    assert (state.is_prewarmed, state.can_be_announced) == (True, False)
    assert state.activated(made)
    assert (state.is_prewarmed, state.can_be_announced) == (False, True)


def test_prewarmed_room_that_cannot_be_activated_is_replaced_and_frees_no_place() -> None:
    state, made = created(prewarmed=True)
    state.unusable(made)
    assert step(state, RoomNeed.ACTIVE) is Step.DESTROY
    assert state.destroyed() is False
    assert step(state, RoomNeed.ACTIVE) is Step.CREATE


def test_room_in_use_outlives_the_need_for_a_grace_and_is_then_destroyed() -> None:
    state, made = in_use()
    assert step(state, RoomNeed.NOTHING) is None
    assert state.released()
    assert not state.released(), "one grace is enough"
    assert step(state, RoomNeed.NOTHING) is None
    state.grace_over(made)
    assert step(state, RoomNeed.NOTHING) is Step.DESTROY
    assert state.destroyed() is True


def test_room_that_nobody_was_told_of_goes_without_a_grace() -> None:
    state, _ = created()
    assert not state.released()
    assert state.phase is RoomPhase.STALE


def test_room_that_participants_are_leaving_is_not_announced_again() -> None:
    state, _ = in_use()
    state.released()
    state.cut_grace_short()
    assert not state.can_be_announced
    assert step(state, RoomNeed.ACTIVE) is Step.DESTROY


def test_grace_of_a_room_that_was_replaced_does_not_touch_the_next_one() -> None:
    state, old = in_use()
    state.released()
    state.lost(prewarm_at_s=0.0)
    state.created(room(2), prewarmed=False)
    state.announced()
    state.grace_over(old)
    assert state.phase is RoomPhase.IN_USE


def test_answers_about_a_room_that_was_lost_meanwhile_are_ignored() -> None:
    state, old = created(prewarmed=True)
    state.lost(prewarm_at_s=0.0)
    assert not state.activated(old)
    state.unusable(old)
    assert state.phase is RoomPhase.NONE


def test_room_of_a_call_that_ended_is_stale_whenever_it_comes() -> None:
    state = RoomState()
    state.call_ended()
    state.created(room(), prewarmed=False)
    assert step(state, RoomNeed.NOTHING) is Step.DESTROY
    assert state.destroyed()


def test_room_activated_while_its_call_ends_frees_its_place() -> None:
    state, made = created(prewarmed=True)
    state.call_ended()
    assert not state.activated(made), "nobody is to be told of it"
    assert state.destroyed()


def test_room_from_before_a_restart_is_kept_by_a_call_on_the_sfu_only() -> None:
    state = RoomState()
    state.adopted(room(), in_use=True)
    assert step(state, RoomNeed.EXISTING) is None
    state = RoomState()
    state.adopted(room(), in_use=False)
    assert step(state, RoomNeed.PREWARMED) is Step.DESTROY


def test_pauses_hold_up_rooms_in_advance_only() -> None:
    state = RoomState()
    state.creation_failed("sfu-full", prewarm_at_s=5.0)
    assert state.failure == "sfu-full"
    assert state.next_step(RoomNeed.PREWARMED, now_s=4.9) is None
    assert state.next_step(RoomNeed.PREWARMED, now_s=5.0) is Step.CREATE_PREWARMED
    assert state.next_step(RoomNeed.ACTIVE, now_s=0.0) is Step.CREATE
    state.server_back()
    assert state.next_step(RoomNeed.PREWARMED, now_s=0.0) is Step.CREATE_PREWARMED
    state.created(room(), prewarmed=True)
    assert state.failure is None


def test_producers_are_those_of_the_present_room() -> None:
    state, _ = created()
    assert state.producer_opened("p", {"producerId": "p"})
    assert not state.producer_opened("p", {"producerId": "p"})
    assert state.producer_closed("p")
    assert not state.producer_closed("p")
    state.producer_opened("q", {"producerId": "q"})
    state.lost(prewarm_at_s=0.0)
    assert not state.producers


@pytest.mark.parametrize("phase", RoomPhase)
def test_each_state_refuses_what_is_illegal_in_it_and_stays(phase: RoomPhase) -> None:
    state = {
        RoomPhase.NONE: RoomState,
        RoomPhase.PREWARMED: lambda: created(prewarmed=True)[0],
        RoomPhase.READY: lambda: created()[0],
        RoomPhase.IN_USE: lambda: in_use()[0],
        RoomPhase.LEAVING: lambda: _after(in_use()[0], "released"),
        RoomPhase.STALE: lambda: _after(created()[0], "released"),
    }[phase]()
    assert state.phase is phase
    legal = set()
    for name, act in EVENTS.items():
        tried = copy.deepcopy(state)
        try:
            act(tried)
        except RuntimeError:
            assert tried == state, f"{name} was refused, and changed something"
        else:
            legal.add(name)
    assert legal == LEGAL[phase]


def _after(state: RoomState, event: str) -> RoomState:
    getattr(state, event)()
    return state


class Walk:
    """A keeper that takes steps, media servers and calls that do as they like, and a model of what is true outside.

    The model: which rooms exist on servers and whether they occupy a place there, and which room participants were told
    to go to and not yet, a grace ago, that they need not stay.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.state = RoomState()
        self.servers: dict[str, bool] = {}
        """Rooms that exist, and whether they count."""
        self.used: MediaRoom | None = None
        self.known: list[MediaRoom] = []
        """Every room there ever was: answers about old ones may come late."""
        self.ended = False

    def step(self) -> tuple[RoomPhase, RoomPhase]:
        events = {
            self.keep: 12,
            self.announce: 6,
            self.release: 3,
            self.end_some_grace: 3,
            self.switch_anew: 1,
            self.hear_of_an_old_room: 1,
            self.lose: 1,
            self.server_back: 1,
            self.end: 0.1,
        }
        before = self.state.phase
        self.rng.choices(list(events), list(events.values()))[0]()
        self.check()
        return before, self.state.phase

    # ---- the keeper's steps

    def keep(self) -> None:
        need = RoomNeed.NOTHING if self.ended else self.rng.choice(NEEDS)
        now_s, succeeds, state = self.rng.uniform(0.0, 10.0), self.rng.random() < 0.7, self.state
        step = state.next_step(need, now_s=now_s)
        match step:
            case Step.DESTROY:
                self.destroy()
            case Step.ACTIVATE if succeeds:
                assert state.room is not None
                self.servers[state.room.room_id] = True
                state.activated(state.room)
            case Step.ACTIVATE:
                assert state.room is not None
                state.unusable(state.room)
                assert state.phase is RoomPhase.STALE
            case Step.CREATE | Step.CREATE_PREWARMED if succeeds:
                made = room(len(self.known) + 1)
                self.known.append(made)
                self.servers[made.room_id] = step is Step.CREATE
                state.created(made, prewarmed=step is Step.CREATE_PREWARMED)
            case Step.CREATE | Step.CREATE_PREWARMED:
                state.creation_failed("sfu-full", prewarm_at_s=now_s + 5.0)

    def destroy(self) -> None:
        gone = self.state.room
        assert gone is not None
        assert gone is not self.used or self.ended, "a room in use is never destroyed"
        assert self.state.destroyed() is self.servers.pop(gone.room_id), "its place is counted as it was"
        self.used = None

    # ---- what participants are told

    def announce(self) -> None:
        if not self.state.can_be_announced:
            with pytest.raises(RuntimeError):
                self.state.announced()
            return
        self.state.announced()
        self.used = self.state.room
        assert self.used is not None
        assert self.servers[self.used.room_id], "what is announced counts as a call"

    def release(self) -> None:
        if self.state.released():
            assert self.used is self.state.room, "a grace is for those who were told"

    def end_some_grace(self) -> None:
        old = self.rng.choice([*self.known[-2:], room(0)])
        leaving = self.state.phase is RoomPhase.LEAVING and self.state.room is old
        self.state.grace_over(old)
        if leaving:
            self.used = None

    def switch_anew(self) -> None:
        if self.state.phase is RoomPhase.LEAVING:
            self.used = None
        self.state.cut_grace_short()

    # ---- what happens

    def lose(self) -> None:
        if self.state.room is not None:
            del self.servers[self.state.room.room_id]
        self.used = None
        self.state.lost(prewarm_at_s=1.0)

    def server_back(self) -> None:
        self.state.server_back()

    def end(self) -> None:
        self.ended = True
        self.state.call_ended()

    def hear_of_an_old_room(self) -> None:
        old = self.rng.choice([*self.known, room(0)])
        if old is not self.state.room:
            before = copy.deepcopy(self.state)
            assert not self.state.activated(old)
            self.state.unusable(old)
            assert self.state == before, "answers about other rooms change nothing"

    # ---- what always holds

    def check(self) -> None:
        state, present = self.state, self.state.room
        assert (present is None) is (state.phase is RoomPhase.NONE)
        assert list(self.servers) == ([] if present is None else [present.room_id]), "one room at a time"
        assert state.is_prewarmed is (present is not None and not self.servers[present.room_id])
        if self.used is not None and not self.ended:
            assert present is self.used
            assert all(state.next_step(need, now_s=99.0) is None for need in NEEDS), "participants use it"
        else:
            assert state.phase not in USED, "nobody was told of it"
        if state.phase is RoomPhase.STALE:
            assert not state.can_be_announced
            assert all(state.next_step(need, now_s=0.0) is Step.DESTROY for need in NEEDS)
        for need in (RoomNeed.NOTHING,) if self.ended else NEEDS:
            end, steps = _kept(copy.copy(state), need)
            assert end.phase in WANTED[need], (need, steps)
            assert len(steps) <= 3, steps


def _kept(state: RoomState, need: RoomNeed) -> tuple[RoomState, list[Step]]:
    """The state after all steps, each of which succeeds."""
    steps: list[Step] = []
    while len(steps) < 9 and (step := state.next_step(need, now_s=99.0)) is not None:
        steps.append(step)
        match step:
            case Step.DESTROY:
                state.destroyed()
            case Step.ACTIVATE:
                assert state.room is not None
                state.activated(state.room)
            case Step.CREATE | Step.CREATE_PREWARMED:
                state.created(room(1000 + len(steps)), prewarmed=step is Step.CREATE_PREWARMED)
    return state, steps


def test_random_rooms_are_used_replaced_and_removed_as_the_model_says() -> None:
    seed = int(os.environ.get("MEESHY_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"MEESHY_TEST_SEED={seed}")
    rng = random.Random(seed)
    seen: Counter[tuple[RoomPhase, RoomPhase]] = Counter()
    for _ in range(300):
        walk = Walk(rng)
        seen.update(walk.step() for _ in range(80))
    print(seen)
    assert set(seen) >= DRAWN, "the walk goes along every arrow of the drawing"
    assert set(seen) <= DRAWN | LOST | ENDED | {(phase, phase) for phase in RoomPhase}
