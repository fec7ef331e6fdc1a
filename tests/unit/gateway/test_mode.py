"""The mode machine: decisions for known stories, then thousands of random ones against a model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meeshy_sfu.gateway.mode import (
    CallMode,
    CompleteSwitch,
    ConversationType,
    Decision,
    ModeController,
    ModePolicy,
    Phase,
    RollBack,
    StartSwitch,
    determine_mode,
    should_switch,
)

GROUP = ConversationType.GROUP


def call(*people: str, now: float = 0.0, policy: ModePolicy | None = None) -> ModeController:
    mode = ModeController(GROUP, policy=policy)
    for person in people:
        mode.join(person, now)
    return mode


def in_sfu(*people: str, policy: ModePolicy | None = None) -> ModeController:
    mode = call(*people, policy=policy)
    for person in people:
        mode.confirm(person, mode.epoch, 0.1)
    assert mode.phase is Phase.SFU
    return mode


def test_mode_follows_the_number_of_people() -> None:
    assert [determine_mode(GROUP, n) for n in (0, 1, 2, 3, 50)] == [CallMode.P2P] * 3 + [CallMode.SFU] * 2
    assert should_switch(CallMode.P2P, CallMode.SFU)
    assert not should_switch(CallMode.SFU, CallMode.SFU)


def test_direct_conversations_never_leave_p2p() -> None:
    mode = ModeController(ConversationType.DIRECT)
    assert all(not mode.join(person, 0.0) for person in ("ada", "bob", "eve"))
    assert mode.phase is Phase.P2P


def test_third_person_starts_the_switch_and_the_last_confirmation_completes_it() -> None:
    mode = call("ada", "bob")
    (start,) = mode.join("eve", 5.0)
    assert start == StartSwitch(
        1, CallMode.P2P, CallMode.SFU, frozenset({"ada", "bob", "eve"}), 15.0, "participant_joined"
    )
    assert mode.confirm("ada", 1, 5.1) == []
    assert mode.confirm("eve", 1, 5.2) == []
    (done,) = mode.confirm("bob", 1, 5.5)
    assert isinstance(done, CompleteSwitch)
    assert (done.confirmed, done.missing, done.duration_s) == (start.participants, frozenset(), 0.5)
    assert mode.mode is CallMode.SFU


def test_failure_of_the_pair_rolls_back_and_is_tried_again() -> None:
    mode = call("ada", "bob", "eve")
    (back,) = mode.confirm("bob", 1, 1.0, success=False)
    assert isinstance(back, RollBack)
    assert (back.failed, mode.phase, mode.pair) == ({"bob"}, Phase.P2P, {"ada", "bob"})
    assert mode.next_deadline() == 2.0
    assert mode.tick(1.9) == []
    (again,) = mode.tick(2.0)
    assert isinstance(again, StartSwitch)
    assert (again.epoch, again.reason) == (2, "retry")


def test_failure_of_a_newcomer_does_not_stop_the_others() -> None:
    mode = call("ada", "bob", "eve")
    assert mode.confirm("eve", 1, 1.0, success=False) == []
    mode.confirm("ada", 1, 1.1)
    (done,) = mode.confirm("bob", 1, 1.2)
    assert isinstance(done, CompleteSwitch)


def test_deadline_without_a_newcomer_completes_without_one_of_the_pair_rolls_back() -> None:
    mode = call("ada", "bob", "eve")
    mode.confirm("ada", 1, 1.0)
    mode.confirm("bob", 1, 1.0)
    (done,) = mode.tick(10.0)
    assert isinstance(done, CompleteSwitch)
    assert done.missing == {"eve"}

    mode = call("ada", "bob", "eve")
    mode.confirm("ada", 1, 1.0)
    mode.confirm("eve", 1, 1.0)
    (back,) = mode.tick(10.0)
    assert isinstance(back, RollBack)
    assert (back.reason, back.failed) == ("deadline", {"bob"})


def test_newcomer_who_leaves_again_supersedes_the_switch_while_the_pair_still_talks() -> None:
    mode = call("ada", "bob", "eve")
    (back,) = mode.leave("eve", 0.5)
    assert isinstance(back, RollBack)
    assert back.reason == "superseded"
    assert (mode.phase, mode.pair, mode.next_deadline()) == (Phase.P2P, {"ada", "bob"}, None)


def test_one_of_the_pair_leaving_lets_the_switch_end_before_the_next_begins() -> None:
    mode = call("ada", "bob", "eve")
    assert mode.leave("ada", 0.5) == []
    mode.confirm("bob", 1, 0.6)
    done, start = mode.confirm("eve", 1, 0.7)
    assert isinstance(done, CompleteSwitch)
    assert isinstance(start, StartSwitch)
    assert (start.target, start.participants) == (CallMode.P2P, {"bob", "eve"})


def test_third_person_during_the_way_back_keeps_the_call_on_the_sfu() -> None:
    mode = in_sfu("ada", "bob", "eve")
    (start,) = mode.leave("eve", 2.0)
    assert isinstance(start, StartSwitch)
    (back,) = mode.join("eve", 2.1)
    assert isinstance(back, RollBack)
    assert mode.phase is Phase.SFU


def test_hysteresis_waits_and_forgets() -> None:
    mode = in_sfu("ada", "bob", "eve", policy=ModePolicy(hysteresis_s=10.0))
    assert mode.leave("eve", 2.0) == []
    assert mode.next_deadline() == 12.0
    assert mode.tick(11.9) == []
    assert mode.join("eve", 11.95) == []
    assert mode.leave("eve", 12.0) == []
    assert mode.next_deadline() == 22.0
    (start,) = mode.tick(22.0)
    assert isinstance(start, StartSwitch)


def test_stale_confirmations_are_ignored() -> None:
    mode = call("ada", "bob", "eve")
    assert mode.confirm("ada", 0, 1.0) == []
    assert mode.confirm("mallory", 1, 1.0) == []
    assert mode.waiting == {"ada", "bob", "eve"}


def test_death_of_the_media_server_starts_a_new_epoch_in_sfu_mode() -> None:
    mode = in_sfu("ada", "bob", "eve")
    (start,) = mode.rehome(5.0, "worker-died")
    assert isinstance(start, StartSwitch)
    assert (start.source, start.target, start.epoch, start.reason) == (
        CallMode.SFU,
        CallMode.SFU,
        2,
        "worker-died",
    )
    for person in ("ada", "bob"):
        assert mode.confirm(person, 2, 5.1) == []
    (done,) = mode.confirm("eve", 2, 5.2)
    assert isinstance(done, CompleteSwitch)


def test_death_of_the_media_server_during_the_switch_keeps_the_pair_on_p2p() -> None:
    mode = call("ada", "bob", "eve")
    (back,) = mode.rehome(1.0, "media-server-died")
    assert isinstance(back, RollBack)
    assert (mode.mode, mode.pair) == (CallMode.P2P, {"ada", "bob"})


def test_retries_end() -> None:
    mode = call("ada", "bob", "eve", policy=ModePolicy(retry_delays_s=(1.0,)))
    mode.confirm("ada", 1, 0.0, success=False)
    mode.tick(1.0)
    mode.confirm("ada", 2, 1.0, success=False)
    assert mode.next_deadline() is None
    assert mode.tick(1000.0) == []
    assert [type(d) for d in mode.join("joe", 1001.0)] == [StartSwitch]


def test_a_call_without_a_path_is_given_rooms_until_one_comes() -> None:
    mode = in_sfu("ada", "bob", "eve")
    (start,) = mode.rehome(1.0, "media-server-died")
    assert (start.source, start.target) == (CallMode.SFU, CallMode.SFU)
    now = 1.0
    for _ in range(20):
        (back,) = mode.fail(mode.epoch, now, "sfu-unavailable")
        assert isinstance(back, RollBack)
        assert mode.next_deadline() == now + ModePolicy().rehome_retry_s
        now += ModePolicy().rehome_retry_s
        (start,) = mode.tick(now)
        assert isinstance(start, StartSwitch)
        assert start.reason == "media-server-died"
    for who in ("ada", "bob", "eve"):
        decisions = mode.confirm(who, mode.epoch, now)
    assert isinstance(decisions[0], CompleteSwitch)
    assert mode.tick(now + 100) == []


def test_who_begins_anew_during_a_switch_has_to_confirm_again() -> None:
    mode = call("ada", "bob", "eve")
    mode.confirm("eve", 1, 0.1)
    assert mode.rejoin("eve", 0.2) == []
    mode.confirm("ada", 1, 0.3)
    assert mode.confirm("bob", 1, 0.3) == []
    assert mode.waiting == {"eve"}


def test_one_of_the_pair_who_begins_anew_during_a_switch_has_no_old_path_to_go_back_to() -> None:
    mode = call("ada", "bob", "eve")
    mode.rejoin("ada", 0.2)
    assert mode.pair == frozenset()
    assert mode.confirm("ada", 1, 0.3, success=False) == []
    assert isinstance(mode.tick(10.0)[0], CompleteSwitch)


def test_a_restored_call_decides_nothing_until_it_is_asked() -> None:
    mode = ModeController(GROUP, mode=CallMode.P2P, epoch=500)
    mode.restore(frozenset({"ada", "bob", "eve"}), frozenset({"ada", "bob"}))
    assert mode.next_deadline() is None
    assert mode.pair == {"ada", "bob"}
    (start,) = mode.tick(1.0)
    assert start.epoch == 501
    (back,) = mode.confirm("ada", 501, 1.1, success=False)
    assert isinstance(back, RollBack)

    mode = ModeController(GROUP, mode=CallMode.SFU, epoch=500)
    mode.restore(frozenset({"ada", "bob", "eve"}), frozenset())
    mode.lose_room("room-lost")
    (start,) = mode.tick(1.0)
    assert (start.target, start.reason) == (CallMode.SFU, "room-lost")


def test_a_group_that_opens_with_three_starts_on_the_sfu_and_stays_while_they_are_expected() -> None:
    mode = ModeController(GROUP, expected=3)
    (start,) = mode.join("ada", 0.0)
    assert (start.source, start.target, start.reason) == (CallMode.SFU, CallMode.SFU, "opening")
    assert isinstance(mode.confirm("ada", 1, 0.1)[0], CompleteSwitch)
    assert mode.join("bob", 0.2) == mode.tick(50.0) == []
    (back,) = mode.await_no_more(60.0)
    assert back.target is CallMode.P2P
    assert mode.await_no_more(61.0) == []
    assert ModeController(ConversationType.DIRECT, expected=3).mode is CallMode.P2P
    assert ModeController(GROUP, expected=2).mode is CallMode.P2P


def test_asking_again_does_not_wait_for_the_next_try() -> None:
    mode = call("ada", "bob", "eve")
    mode.confirm("ada", 1, 0.1, success=False)
    (start,) = mode.retry(0.2)
    assert (start.epoch, start.reason) == (2, "manual")
    assert mode.retry(0.3) == []


PEOPLE = st.sampled_from([f"p{n}" for n in range(6)])


class RandomCalls(RuleBasedStateMachine):
    """Random joins, leaves, confirmations, failures, deaths and time; what was told must fit what is."""

    @initialize(hysteresis=st.sampled_from([0.0, 3.0]))
    def begin(self, hysteresis: float) -> None:
        self.now = 0.0
        self.mode = ModeController(GROUP, policy=ModePolicy(hysteresis_s=hysteresis))
        self.told_mode = CallMode.P2P
        self.told_epoch = 0
        self.open: StartSwitch | None = None
        self.people: set[str] = set()

    def tell(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, StartSwitch):
                assert self.open is None, "a transition began inside another"
                assert decision.epoch == self.told_epoch + 1
                assert decision.source is self.told_mode
                assert decision.participants <= self.people
                self.told_epoch, self.open = decision.epoch, decision
            else:
                assert self.open is not None
                assert decision.epoch == self.open.epoch
                if isinstance(decision, CompleteSwitch):
                    assert not (decision.confirmed & decision.missing)
                    self.told_mode = decision.target
                self.open = None

    @rule(who=PEOPLE)
    def join(self, who: str) -> None:
        self.people.add(who)
        self.tell(self.mode.join(who, self.now))

    @rule(who=PEOPLE)
    def leave(self, who: str) -> None:
        self.people.discard(who)
        self.tell(self.mode.leave(who, self.now))

    @rule(who=PEOPLE)
    def rejoin(self, who: str) -> None:
        self.people.add(who)
        self.tell(self.mode.rejoin(who, self.now))

    @rule()
    def retry(self) -> None:
        self.tell(self.mode.retry(self.now))

    @rule(who=PEOPLE, success=st.booleans(), behind=st.integers(0, 2))
    def confirm(self, who: str, success: bool, behind: int) -> None:
        self.tell(self.mode.confirm(who, self.mode.epoch - behind, self.now, success=success))

    @rule(seconds=st.floats(0.0, 12.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tell(self.mode.tick(self.now))

    @rule()
    def server_dies(self) -> None:
        self.tell(self.mode.rehome(self.now, "media-server-died"))

    @precondition(lambda self: self.open is not None)
    @rule()
    def room_fails(self) -> None:
        self.tell(self.mode.fail(self.mode.epoch, self.now, "no-media-server"))

    @rule()
    def everybody_confirms_and_time_passes(self) -> None:
        for _ in range(40):
            for who in sorted(self.people):
                self.tell(self.mode.confirm(who, self.mode.epoch, self.now))
            due = self.mode.next_deadline()
            if due is None:
                break
            self.now = max(self.now, due)
            self.tell(self.mode.tick(self.now))
        assert self.open is None
        if self.people and not self.exhausted():
            assert self.told_mode is determine_mode(GROUP, len(self.people))

    def exhausted(self) -> bool:
        """Retries are used up: only the next join or leave tries again."""
        return (
            self.mode.mode is not determine_mode(GROUP, len(self.people))
            and self.mode.next_deadline() is None
        )

    @invariant()
    def agrees(self) -> None:
        assert self.mode.mode is self.told_mode
        assert self.mode.epoch == self.told_epoch
        assert self.mode.connected == self.people
        assert (self.open is None) == (self.mode.phase.value in {"p2p", "sfu"})
        assert self.mode.waiting <= self.people
        assert self.mode.pair <= self.people
        if self.open is not None:
            assert self.mode.next_deadline() is not None
        if self.mode.phase is Phase.P2P and len(self.people) == 2:
            assert self.mode.pair == self.people


TestRandomCalls = RandomCalls.TestCase
TestRandomCalls.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
