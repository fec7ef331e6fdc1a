"""Which path the media of a call takes, and the change from one to the other.

Pure: decides and remembers, does no I/O, reads no clock. Carrying a decision out (rooms, messages, database)
is the business of `calls`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

P2P_PARTICIPANTS_MAX = 2


class CallMode(StrEnum):
    """How media flows: between two people directly, or through the media server."""

    P2P = "p2p"
    SFU = "sfu"


class Phase(StrEnum):
    """The four states of a call's mode."""

    P2P = "p2p"
    SWITCHING_TO_SFU = "switching_to_sfu"
    SFU = "sfu"
    SWITCHING_TO_P2P = "switching_to_p2p"


class ConversationType(StrEnum):
    """Conversations that may call. A direct one never leaves P2P."""

    DIRECT = "DIRECT"
    GROUP = "GROUP"


def determine_mode(conversation: ConversationType, connected: int) -> CallMode:
    """Tell the mode a call of so many connected people belongs in.

    Example:
        ```python
        assert determine_mode(ConversationType.GROUP, 3) is CallMode.SFU
        assert determine_mode(ConversationType.DIRECT, 2) is CallMode.P2P
        ```
    """
    if conversation is ConversationType.DIRECT or connected <= P2P_PARTICIPANTS_MAX:
        return CallMode.P2P
    return CallMode.SFU


def should_switch(current: CallMode, target: CallMode) -> bool:
    """Tell whether the media has to move."""
    return current is not target


@dataclass(frozen=True, slots=True)
class ModePolicy:
    """Times of the machine, in seconds.

    Attributes:
        deadline_s: How long a transition may take before it is decided without those who are missing.
        hysteresis_s: How long two people must have been alone before the call goes back to P2P. 0 at once;
            more spares transitions in calls where people come and go.
        retry_delays_s: Pauses before a failed transition is tried again; after the last one only a join or
            leave starts another.
        rehome_retry_s: Pause before a call without any path is given a room again; never given up.
    """

    deadline_s: float = 10.0
    hysteresis_s: float = 0.0
    retry_delays_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    rehome_retry_s: float = 0.5


@dataclass(frozen=True, slots=True)
class StartSwitch:
    """Begin a transition: make the new path while the old one keeps flowing."""

    epoch: int
    source: CallMode
    target: CallMode
    participants: frozenset[str]
    deadline: float
    reason: str


@dataclass(frozen=True, slots=True)
class CompleteSwitch:
    """The new path carries the media: tell everyone, then close the old one.

    `missing` have not confirmed (newcomers without an old path to fall back on); they may still come.
    """

    epoch: int
    source: CallMode
    target: CallMode
    confirmed: frozenset[str]
    missing: frozenset[str]
    duration_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """The old path stays: tell everyone, then close what was made of the new one."""

    epoch: int
    source: CallMode
    target: CallMode
    reason: str
    failed: frozenset[str]
    duration_s: float


Decision = StartSwitch | CompleteSwitch | RollBack


@dataclass(slots=True)
class _Transition:
    epoch: int
    source: CallMode
    target: CallMode
    started: float
    deadline: float
    reason: str
    waiting: set[str]
    confirmed: set[str] = field(default_factory=set)


class ModeController:
    """The mode of one call: one transition at a time, numbered by epochs that only grow.

    Every method takes `now` (seconds of any monotonic clock) and returns what has to be done, in order. A
    change that comes during a transition is looked at when it ends, so that bursts collapse into one; a
    transition that has lost its reason while the old path still flows is rolled back at once.

    Example:
        ```python
        mode = ModeController(ConversationType.GROUP)
        for person in ("ada", "bob", "eve"):
            decisions = mode.join(person, now=0.0)
        (start,) = decisions
        assert start.target is CallMode.SFU
        assert mode.phase is Phase.SWITCHING_TO_SFU
        ```
    """

    def __init__(
        self,
        conversation: ConversationType,
        *,
        policy: ModePolicy | None = None,
        mode: CallMode = CallMode.P2P,
        epoch: int = 0,
        expected: int = 0,
    ) -> None:
        """Begin a call.

        Args:
            conversation: Its type.
            policy: Times; None for the defaults.
            mode: Where the media flows already; for calls taken up after a restart.
            epoch: The number of the newest transition there may have been.
            expected: How many are known to come. A group that opens with more than two starts on the SFU,
                and stays there until `await_no_more`.
        """
        self._conversation = conversation
        self._expected = expected
        opens_on_sfu = determine_mode(conversation, expected) is CallMode.SFU
        if opens_on_sfu:
            mode = CallMode.SFU
        self._policy = policy or ModePolicy()
        self._mode = mode
        self._epoch = epoch
        self._connected: set[str] = set()
        self._pair: frozenset[str] = frozenset()
        self._transition: _Transition | None = None
        self._alone_since: float | None = None
        self._retry_at: float | None = None
        self._failures = 0
        self._homeless: str | None = "opening" if opens_on_sfu else None
        """Why the SFU path is gone, while no new one was made."""

    @property
    def mode(self) -> CallMode:
        """Where the media flows now; during a transition the old path."""
        return self._mode

    @property
    def phase(self) -> Phase:
        """One of the four states."""
        if self._transition is None:
            return Phase(self._mode.value)
        return Phase.SWITCHING_TO_SFU if self._transition.target is CallMode.SFU else Phase.SWITCHING_TO_P2P

    @property
    def epoch(self) -> int:
        """Number of the newest transition; 0 before the first."""
        return self._epoch

    @property
    def connected(self) -> frozenset[str]:
        """Who is in the call."""
        return frozenset(self._connected)

    @property
    def pair(self) -> frozenset[str]:
        """The two whose direct connection is alive, or nobody."""
        return self._pair

    @property
    def waiting(self) -> frozenset[str]:
        """Who has yet to confirm the transition that is under way."""
        return frozenset(self._transition.waiting) if self._transition else frozenset()

    def next_deadline(self) -> float | None:
        """When `tick` has to be called at the latest; None if nothing is due."""
        due = [
            self._retry_at,
            self._hysteresis_end(),
            self._transition.deadline if self._transition else None,
        ]
        return min((at for at in due if at is not None), default=None)

    def join(self, participant: str, now: float) -> list[Decision]:
        """Somebody joined, or came back. A newcomer during a transition to the SFU takes part in it."""
        if participant in self._connected:
            return []
        self._connected.add(participant)
        self._note_change(now)
        running = self._transition
        if running is not None and running.target is CallMode.SFU:
            running.waiting.add(participant)
        self._form_pair()
        return self._look(now, "participant_joined")

    def rejoin(self, participant: str, now: float) -> list[Decision]:
        """Somebody in the call begins anew: what they had of either path is gone, they have to confirm again."""
        if participant not in self._connected:
            return self.join(participant, now)
        running = self._transition
        if running is not None:
            running.confirmed.discard(participant)
            running.waiting.add(participant)
            if participant in self._pair:
                self._pair = frozenset()
        return self._look(now, "participant_joined")

    def restore(self, participants: frozenset[str], pair: frozenset[str]) -> None:
        """Take up a call as it was before a restart: nothing is decided until `tick` or a change.

        Args:
            participants: Who was in the call.
            pair: The two who talked directly, if the mode is P2P.
        """
        self._connected = set(participants)
        if self._mode is CallMode.P2P and len(pair) == P2P_PARTICIPANTS_MAX:
            self._pair = pair

    def leave(self, participant: str, now: float) -> list[Decision]:
        """Somebody left or is given up; nobody waits for them any more."""
        if participant not in self._connected:
            return []
        self._connected.discard(participant)
        self._note_change(now)
        if participant in self._pair:
            self._pair = frozenset()
        if self._transition is not None:
            self._transition.waiting.discard(participant)
            self._transition.confirmed.discard(participant)
        self._form_pair()
        return self._look(now, "participant_left")

    def confirm(self, participant: str, epoch: int, now: float, *, success: bool = True) -> list[Decision]:
        """A participant says that the new path works for them, or that it does not. Stale epochs are ignored."""
        running = self._transition
        if running is None or epoch != running.epoch or participant not in self._connected:
            return []
        if success:
            if participant in running.waiting:
                running.waiting.discard(participant)
                running.confirmed.add(participant)
            return self._look(now, running.reason)
        if self._can_fall_back(running) and self._needs_old_path(participant, running):
            return self._roll_back(now, "participant_failed", frozenset({participant}))
        # A newcomer who cannot follow must not stop those who can.
        running.waiting.discard(participant)
        return self._look(now, running.reason)

    def fail(self, epoch: int, now: float, reason: str) -> list[Decision]:
        """The transition cannot go on (no room, no media server); back to the old path."""
        running = self._transition
        if running is None or epoch != running.epoch:
            return []
        return self._roll_back(now, reason, frozenset(running.waiting))

    def rehome(self, now: float, reason: str) -> list[Decision]:
        """The media server or worker that carried the call is gone: move everyone to a new room."""
        if self._transition is not None:
            if self._transition.source is CallMode.SFU:
                self._homeless = reason
                return self._abandon_and_rehome(now, reason)
            return self._roll_back(now, reason, frozenset(self._transition.waiting))
        if self._mode is not CallMode.SFU or not self._connected:
            return []
        self._homeless = reason
        return self._look(now, reason)

    def retry(self, now: float) -> list[Decision]:
        """Somebody asks to try a failed transition again without waiting."""
        self._retry_at, self._failures = None, 0
        return self._look(now, "manual")

    def await_no_more(self, now: float) -> list[Decision]:
        """The time for those who were expected is over; from now on who is there counts."""
        if not self._expected:
            return []
        self._expected = 0
        return self._look(now, "participant_left")

    def lose_room(self, reason: str) -> None:
        """Take note that the SFU path is gone without deciding yet; the next `tick` makes another."""
        if self._transition is None and self._mode is CallMode.SFU:
            self._homeless = reason

    def tick(self, now: float) -> list[Decision]:
        """Time passed: deadlines, hysteresis, retries."""
        running = self._transition
        if running is not None and now >= running.deadline:
            late = frozenset(running.waiting)
            if self._can_fall_back(running) and any(self._needs_old_path(who, running) for who in late):
                return self._roll_back(now, "deadline", late)
            return self._complete(now)
        return self._look(now, "participant_left" if self._retry_at is None else "retry")

    # ---- inside

    def _note_change(self, now: float) -> None:
        self._failures = 0
        self._retry_at = None
        few = len(self._connected) <= P2P_PARTICIPANTS_MAX
        self._alone_since = (self._alone_since if self._alone_since is not None else now) if few else None

    def _form_pair(self) -> None:
        if (
            self._mode is CallMode.P2P
            and self._transition is None
            and len(self._connected) == P2P_PARTICIPANTS_MAX
        ):
            self._pair = frozenset(self._connected)

    def _hysteresis_end(self) -> float | None:
        if self._transition is not None or self._mode is not CallMode.SFU or not self._connected:
            return None
        if self._alone_since is None or self._retry_at is not None or self._failures:
            return None
        if self._target() is not CallMode.P2P:
            return None
        return self._alone_since + self._policy.hysteresis_s

    def _target(self) -> CallMode:
        return determine_mode(self._conversation, max(len(self._connected), self._expected))

    def _needs_old_path(self, participant: str, running: _Transition) -> bool:
        return running.source is CallMode.SFU or participant in self._pair

    def _can_fall_back(self, running: _Transition) -> bool:
        if running.source is running.target:
            return False
        return running.source is CallMode.SFU or (bool(self._pair) and self._pair <= self._connected)

    def _look(self, now: float, reason: str) -> list[Decision]:
        running = self._transition
        target = self._target()
        if running is None and self._homeless is not None and self._connected and target is CallMode.SFU:
            if self._retry_at is not None and now < self._retry_at:
                return []
            return [self._start(CallMode.SFU, now, self._homeless)]
        if running is not None:
            if target is not running.target and self._is_pointless(running):
                return self._roll_back(now, "superseded", frozenset())
            return [] if running.waiting else self._complete(now)
        if not self._connected or not should_switch(self._mode, target):
            self._retry_at = None
            return []
        if self._retry_at is not None and now < self._retry_at:
            return []
        if self._failures > len(self._policy.retry_delays_s):
            return []
        if target is CallMode.P2P and not self._failures:
            end = self._hysteresis_end()
            if end is not None and now < end:
                return []
        return [self._start(target, now, reason)]

    def _is_pointless(self, running: _Transition) -> bool:
        """Whether the old path serves exactly those who are left, so that nothing has to change."""
        if running.source is running.target:
            return False
        return running.source is CallMode.SFU or self._pair == frozenset(self._connected)

    def _start(self, target: CallMode, now: float, reason: str) -> StartSwitch:
        self._epoch += 1
        self._retry_at = None
        deadline = now + self._policy.deadline_s
        self._transition = _Transition(
            self._epoch, self._mode, target, now, deadline, reason, waiting=set(self._connected)
        )
        return StartSwitch(self._epoch, self._mode, target, self.connected, deadline, reason)

    def _complete(self, now: float) -> list[Decision]:
        done = self._transition
        assert done is not None  # noqa: S101 - invariant: only called during a transition
        self._transition = None
        self._failures = 0
        self._homeless = None
        self._mode = done.target
        self._pair = frozenset()
        self._form_pair()
        ended: Decision = CompleteSwitch(
            done.epoch,
            done.source,
            done.target,
            frozenset(done.confirmed),
            frozenset(done.waiting),
            now - done.started,
            done.reason,
        )
        return [ended, *self._look(now, "participant_left")]

    def _roll_back(self, now: float, reason: str, failed: frozenset[str]) -> list[Decision]:
        back = self._transition
        assert back is not None  # noqa: S101 - invariant: only called during a transition
        self._transition = None
        self._form_pair()
        ended: Decision = RollBack(back.epoch, back.source, back.target, reason, failed, now - back.started)
        if reason == "superseded":
            return [ended, *self._look(now, "participant_left")]
        if self._homeless is not None:
            self._retry_at = now + self._policy.rehome_retry_s
            return [ended]
        delays = self._policy.retry_delays_s
        self._retry_at = now + delays[self._failures] if self._failures < len(delays) else None
        self._failures += 1
        return [ended]

    def _abandon_and_rehome(self, now: float, reason: str) -> list[Decision]:
        back = self._transition
        assert back is not None  # noqa: S101 - invariant: only called during a transition
        self._transition = None
        ended: Decision = RollBack(
            back.epoch, back.source, back.target, reason, frozenset(back.waiting), now - back.started
        )
        return [ended, self._start(CallMode.SFU, now, reason)]
