"""The mode of a call: which path its media takes, P2P or SFU, and the transitions between them.

Pure: decides and remembers, does no I/O, reads no clock. Its decisions (`StartSwitch`, `CompleteSwitch`, `RollBack`) are
carried out by `switching`: rooms, messages, database.

```
            join: more than two                    all confirmed, or the deadline
   P2P ─────────────────────────► SWITCHING_TO_SFU ─────────────────────────► SFU
    ▲ ◄──────────────────────────────── roll back                              │
    │                                                   leave: two, both with  │
    │     both confirmed                                a socket; hysteresis   ▼
    └─────────────────────────────────────────────────────────── SWITCHING_TO_P2P
                                                      roll back ──────────────► SFU
```

There are two more transitions: from SFU to SFU when the room or its server is lost (`rehome`), and from P2P to P2P for two
participants who have no direct path to each other.

A direct path belongs to two certain participants, the `pair`. Two participants become the pair when the first is asked for an
offer to the second (`introduce`), or when both confirm a switch to P2P.

A participant without a socket (not in `_present`) cannot negotiate: a switch to P2P of two waits until both have one; at a
deadline the old path is not kept for participants without a socket.

A transition fails when a participant who has the old path reports so or is late. The call then stays on the old path and the
transition is tried again, after growing pauses (`ModePolicy`); participants served by no path meanwhile are `without_path`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meeshy_sfu.gateway.calls.call_mode import (
    P2P_PARTICIPANTS_MAX,
    CallMode,
    ConversationType,
    Phase,
    determine_mode,
)
from meeshy_sfu.gateway.calls.decisions import (
    FAILED,
    JOINED,
    LATE,
    LEFT,
    MANUAL,
    NO_SFU,
    NOBODY_CAME,
    RESTART,
    RETRY,
    SUPERSEDED,
    CompleteSwitch,
    Decision,
    RollBack,
    StartSwitch,
)


@dataclass(frozen=True, slots=True)
class ModePolicy:
    """Times of the machine, in seconds.

    Attributes:
        deadline_s: How long a transition may take before it is decided without those who are missing.
        hysteresis_s: How long two participants must have been alone before the call goes back to P2P. 0 is at
            once; more avoids transitions in calls where participants come and go.
        retry_delays_s: Pauses before a failed transition is tried again. The last one repeats for as long as a
            participant has no path; two whom the SFU serves stay there after it, until one joins or leaves.
        rehome_retry_s: Pause before a call without any path is given a room again; never given up. After a room in which no
            path worked, the pauses are those above.
    """

    deadline_s: float = 10.0
    hysteresis_s: float = 0.0
    retry_delays_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    rehome_retry_s: float = 0.5


@dataclass(slots=True)
class _Transition:
    epoch: int
    source: CallMode
    target: CallMode
    started: float
    deadline: float
    reason: str
    participants: frozenset[str]
    waiting: set[str]
    confirmed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    """Who reported that the new path does not work for them, without stopping those for whom it does."""
    announced: bool = False

    @property
    def is_between_peers(self) -> bool:
        """Whether it leads two participants from no path, or a broken one, to a direct one."""
        return self.source is CallMode.P2P and self.target is CallMode.P2P


class ModeController:
    """The mode of one call: one transition at a time, numbered by epochs that only grow.

    Every event takes `now` (seconds of any monotonic clock) and returns the decisions to carry out, in order. A
    change during a transition is evaluated when it ends, so that bursts collapse into one transition; one that has
    lost its reason while the old path still works is rolled back at once. Confirmations count once `announce` was called.

    Example:
        ```python
        mode = ModeController(ConversationType.GROUP)
        for participant in ("ada", "bob", "eve"):
            decisions = mode.join(participant, now=0.0)
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
            expected: How many participants are expected. A group that expects more than two starts on the SFU,
                and stays there until `await_no_more`.
        """
        self._conversation = conversation
        self._expected = expected
        opens_on_sfu = determine_mode(conversation, expected) is CallMode.SFU
        if opens_on_sfu:
            mode = CallMode.SFU
        self._policy = policy or ModePolicy()
        self._mode = mode
        self._epoch = self._announced_epoch = epoch
        self._connected: set[str] = set()
        self._present: set[str] = set()
        self._pair: frozenset[str] = frozenset()
        self._transition: _Transition | None = None
        self._alone_since: float | None = None
        self._retry_at: float | None = None
        self._failures = 0
        self._failure: str | None = None
        self._cause = JOINED
        """The last change: the reason of a transition that begins later because of it."""
        self._homeless: str | None = "opening" if opens_on_sfu else None
        """Why the call on the SFU has no room, until a transition to a new one is complete; None if it has one."""

    # ---- state

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
    def announced_epoch(self) -> int:
        """Number of the newest transition that was announced to participants."""
        return self._announced_epoch

    @property
    def connected(self) -> frozenset[str]:
        """Who is in the call."""
        return frozenset(self._connected)

    @property
    def pair(self) -> frozenset[str]:
        """The two participants with a direct path, or empty."""
        return self._pair

    @property
    def needs_room(self) -> bool:
        """Whether media goes through a media server, or is about to."""
        running = self._transition
        return self._mode is CallMode.SFU or (running is not None and running.target is CallMode.SFU)

    @property
    def waiting(self) -> frozenset[str]:
        """Who has yet to confirm the transition that is under way."""
        return frozenset(self._transition.waiting) if self._transition else frozenset()

    @property
    def retry_at(self) -> float | None:
        """When a failed transition is tried again; None if none is due."""
        return self._retry_at

    @property
    def failure(self) -> str | None:
        """Why the last transition failed, until one is complete."""
        return self._failure

    @property
    def without_path(self) -> frozenset[str]:
        """Who is served by no path until the next try of a transition that failed."""
        if self._retry_at is None or self._transition is not None:
            return frozenset()
        if self._mode is CallMode.SFU:
            return self.connected if self._homeless is not None else frozenset()
        return self.connected - self._pair

    def next_deadline(self) -> float | None:
        """When `tick` has to be called at the latest; None if nothing is due."""
        due = [
            self._retry_at,
            self._hysteresis_end(),
            self._transition.deadline if self._transition else None,
        ]
        return min((at for at in due if at is not None), default=None)

    # ---- participants

    def join(self, participant: str, now: float, *, present: bool = True) -> list[Decision]:
        """A participant joined. A newcomer during a transition to the SFU takes part in it.

        Args:
            participant: Who.
            now: The time.
            present: Whether they have a socket already, and the peer of two was requested to offer. If not,
                `introduce` and `see` follow.
        """
        if participant in self._connected:
            return []
        self._connected.add(participant)
        self._note_change(now, JOINED)
        running = self._transition
        if running is not None and running.target is CallMode.SFU:
            running.waiting.add(participant)
        if present:
            self._connected_at_once(participant)
        return self._evaluate(now)

    def rejoin(self, participant: str, now: float, *, present: bool = True) -> list[Decision]:
        """A participant begins anew: what they had of either path is gone, they have to confirm again."""
        if participant not in self._connected:
            return self.join(participant, now, present=present)
        self._cause = JOINED
        self._retry_at = None
        self._present.discard(participant)
        if participant in self._pair:
            self._pair = frozenset()
        running = self._transition
        if running is not None and running.target is CallMode.P2P:
            # the peer negotiates with a client that is gone
            ended = self._end_transition(now, SUPERSEDED, frozenset())
            if present:
                self._connected_at_once(participant)
            return [ended, *self._evaluate(now)]
        if running is not None:
            running.confirmed.discard(participant)
            running.failed.discard(participant)
            running.waiting.add(participant)
        if present:
            self._connected_at_once(participant)
        return self._evaluate(now)

    def introduce(self) -> None:
        """The first of two was requested to offer to the second: they have a direct path from now on."""
        if self.phase is Phase.P2P and len(self._connected) == P2P_PARTICIPANTS_MAX:
            self._pair = self.connected
            self._retry_at = None

    def see(self, present: frozenset[str], now: float) -> list[Decision]:
        """Sockets connected or disconnected: these participants have one. Two without a path negotiate once both do."""
        self._present = set(present & self._connected)
        if self._transition is None and self._wanted() is CallMode.P2P:
            return self._evaluate(now)
        return []

    def restore(self, participants: frozenset[str], pair: frozenset[str]) -> None:
        """Restore a call as it was before a restart: nothing is decided until `tick` or a change.

        Args:
            participants: Who was in the call; none of them has a socket yet.
            pair: The two with a direct path, if the mode is P2P.
        """
        self._connected = set(participants)
        self._cause = RESTART
        if self._mode is CallMode.P2P and len(pair) == P2P_PARTICIPANTS_MAX:
            self._pair = pair

    def leave(self, participant: str, now: float) -> list[Decision]:
        """A participant left or was removed; their confirmation is not needed any more."""
        if participant not in self._connected:
            return []
        self._connected.discard(participant)
        self._present.discard(participant)
        self._note_change(now, LEFT)
        if participant in self._pair:
            self._pair = frozenset()
        if self._transition is not None:
            self._transition.waiting.discard(participant)
            self._transition.confirmed.discard(participant)
            self._transition.failed.discard(participant)
        return self._evaluate(now)

    def await_no_more(self, now: float) -> list[Decision]:
        """The time for expected participants is over; from now on those who joined count."""
        if not self._expected:
            return []
        self._expected = 0
        self._cause = NOBODY_CAME
        return self._evaluate(now)

    # ---- progress of a transition

    def announce(self, epoch: int) -> None:
        """A transition is being sent to participants; from now on they can confirm it."""
        if self._transition is not None and self._transition.epoch == epoch:
            self._transition.announced = True
            self._announced_epoch = epoch

    def confirm(self, participant: str, epoch: int, now: float, *, success: bool = True) -> list[Decision]:
        """A participant reports that the new path works for them, or that it does not.

        Epochs other than that of the running transition are ignored, and that one until it was announced.
        """
        running = self._transition
        if running is None or epoch != running.epoch or not running.announced:
            return []
        if participant not in self._connected:
            return []
        if success:
            if participant in running.waiting:
                running.waiting.discard(participant)
                running.confirmed.add(participant)
                running.failed.discard(participant)
            return self._evaluate(now)
        if running.is_between_peers or (
            self._can_fall_back(running) and self._needs_old_path(participant, running)
        ):
            return self._roll_back(now, FAILED, frozenset({participant}))
        # A newcomer who cannot follow must not stop those who can.
        running.waiting.discard(participant)
        running.failed.add(participant)
        return self._evaluate(now)

    def fail(self, epoch: int, now: float, reason: str) -> list[Decision]:
        """The transition cannot go on (no room, no media server); back to the old path."""
        running = self._transition
        if running is None or epoch != running.epoch:
            return []
        return self._roll_back(now, reason, frozenset(running.waiting))

    def tick(self, now: float) -> list[Decision]:
        """Time passed: deadlines, hysteresis, retries."""
        running = self._transition
        if running is None or now < running.deadline:
            return self._evaluate(now, RETRY if self._retry_at is not None else None)
        late = frozenset(running.waiting)
        if not running.announced:
            return self._roll_back(now, NO_SFU, late)
        if self._fails_without(late, running):
            return self._roll_back(now, LATE, late)
        return self._complete(now)

    # ---- rooms and servers

    def rehome(self, now: float, reason: str) -> list[Decision]:
        """The media server or worker that carried the call is gone: move all participants to a new room."""
        running = self._transition
        if running is not None:
            if running.source is CallMode.SFU:
                self._homeless = reason
                ended = self._end_transition(now, reason, frozenset(running.waiting))
                return [ended, self._start(CallMode.SFU, now, reason)]
            if running.is_between_peers:
                return []
            return self._roll_back(now, reason, frozenset(running.waiting))
        if self._mode is not CallMode.SFU or not self._connected:
            return []
        self._homeless = reason
        return self._evaluate(now)

    def lose_room(self, reason: str) -> None:
        """The room is gone; nothing is decided yet, the next `tick` starts a transition to another."""
        if self._transition is None and self._mode is CallMode.SFU:
            self._homeless = reason

    def retry(self, now: float) -> list[Decision]:
        """A moderator asks to try a failed transition again without waiting."""
        self._retry_at, self._failures = None, 0
        return self._evaluate(now, MANUAL)

    def wake(self, now: float) -> list[Decision]:
        """What a failed transition lacked may be available now; if not, its pauses go on growing."""
        if self._retry_at is None:
            return []
        self._retry_at = None
        return self._evaluate(now, RETRY)

    # ---- inside

    def _connected_at_once(self, participant: str) -> None:
        """A participant has a socket from the first moment on, so that two are introduced at once."""
        self._present.add(participant)
        if self._connected == self._present:
            self.introduce()

    def _note_change(self, now: float, cause: str) -> None:
        self._cause = cause
        self._failures = 0
        self._retry_at = None
        few = len(self._connected) <= P2P_PARTICIPANTS_MAX
        self._alone_since = (self._alone_since if self._alone_since is not None else now) if few else None

    def _hysteresis_end(self) -> float | None:
        if self._mode is not CallMode.SFU or self._wanted() is not CallMode.P2P or not self._can_negotiate:
            return None
        if self._transition is not None or self._retry_at is not None or self._failures:
            return None
        # without a room there is no path to stay on meanwhile
        if self._alone_since is None or self._homeless is not None:
            return None
        return self._alone_since + self._policy.hysteresis_s

    def _target(self) -> CallMode:
        return determine_mode(self._conversation, max(len(self._connected), self._expected))

    def _wanted(self) -> CallMode | None:
        """Return the mode to move to; None if the present path serves all participants."""
        if not self._connected:
            return None
        if self._target() is CallMode.SFU:
            return CallMode.SFU if self._mode is CallMode.P2P or self._homeless is not None else None
        if self._mode is CallMode.SFU:
            # two who lost their room and failed to connect directly need another room
            two = len(self._connected) == P2P_PARTICIPANTS_MAX
            return CallMode.SFU if two and self._homeless is not None and self._failures else CallMode.P2P
        apart = len(self._connected) == P2P_PARTICIPANTS_MAX and self._pair != self._connected
        return CallMode.P2P if apart else None

    @property
    def _can_negotiate(self) -> bool:
        """Whether both of two have a socket to negotiate; one alone has no peer to negotiate with."""
        return len(self._connected) != P2P_PARTICIPANTS_MAX or self._present >= self._connected

    def _needs_old_path(self, participant: str, running: _Transition) -> bool:
        return running.source is CallMode.SFU or participant in self._pair

    def _can_fall_back(self, running: _Transition) -> bool:
        if running.source is running.target:
            return False
        return running.source is CallMode.SFU or (bool(self._pair) and self._pair <= self._connected)

    def _fails_without(self, late: frozenset[str], running: _Transition) -> bool:
        """Return whether a transition fails at its deadline because these have not confirmed.

        Participants without a socket do not count: they need the old path less than the others need the new one.
        """
        there = late & self._present
        if running.is_between_peers:
            return bool(there)
        if not self._can_fall_back(running):
            # no participant has a path to stay on; nothing is known of those without a socket
            return not running.confirmed and bool(there or running.failed)
        return not running.confirmed or any(self._needs_old_path(who, running) for who in there)

    def _evaluate(self, now: float, reason: str | None = None) -> list[Decision]:
        running = self._transition
        if running is not None:
            if self._is_superseded(running):
                return self._roll_back(now, SUPERSEDED, frozenset())
            if running.waiting or not running.announced:
                return []
            if running.failed and not running.confirmed:
                return self._roll_back(now, FAILED, frozenset(running.failed))
            return self._complete(now)
        wanted = self._wanted()
        if wanted is None:
            self._retry_at = self._failure = None
            return []
        if wanted is CallMode.P2P and not self._can_negotiate:
            self._retry_at = None
            return []
        if self._retry_at is not None and now < self._retry_at:
            return []
        if self._retry_at is None and self._has_given_up:
            return []
        end = self._hysteresis_end()
        if end is not None and now < end:
            return []
        if wanted is CallMode.SFU and self._homeless is not None:
            reason = self._homeless
        return [self._start(wanted, now, reason or self._cause)]

    @property
    def _has_given_up(self) -> bool:
        """Whether two participants on the SFU have failed to connect directly too often."""
        return (
            self._mode is CallMode.SFU
            and self._homeless is None
            and self._failures > len(self._policy.retry_delays_s)
        )

    def _is_superseded(self, running: _Transition) -> bool:
        """Return whether the old path serves exactly those who are left, or the new one cannot serve newcomers."""
        if running.target is CallMode.P2P:
            came = not self._connected <= running.participants
            return (
                came
                or self._target() is CallMode.SFU
                or (running.is_between_peers and self._connected != running.participants)
            )
        if running.source is CallMode.SFU or self._target() is CallMode.SFU:
            return False
        return self._pair == self._connected

    def _start(self, target: CallMode, now: float, reason: str) -> StartSwitch:
        self._epoch += 1
        self._retry_at = None
        deadline = now + self._policy.deadline_s
        self._transition = _Transition(
            self._epoch,
            self._mode,
            target,
            now,
            deadline,
            reason,
            participants=self.connected,
            waiting=set(self._connected),
        )
        return StartSwitch(self._epoch, self._mode, target, self.connected, deadline, reason)

    def _complete(self, now: float) -> list[Decision]:
        done = self._transition
        assert done is not None  # noqa: S101 - invariant: only called during a transition
        self._transition = None
        self._failures = 0
        self._homeless = self._failure = None
        self._mode = done.target
        both = done.target is CallMode.P2P and len(done.confirmed) == P2P_PARTICIPANTS_MAX
        self._pair = frozenset(done.confirmed) if both else frozenset()
        ended: Decision = CompleteSwitch(
            done.epoch,
            done.source,
            done.target,
            frozenset(done.confirmed),
            frozenset(done.waiting),
            now - done.started,
            done.reason,
        )
        return [ended, *self._evaluate(now)]

    def _roll_back(self, now: float, reason: str, failed: frozenset[str]) -> list[Decision]:
        back = self._transition
        assert back is not None  # noqa: S101 - invariant: only called during a transition
        if reason == SUPERSEDED or self._wanted() is not back.target:
            # the remaining participants need another path than the one that failed, or none
            self._failure = None
            return [self._end_transition(now, reason, failed), *self._evaluate(now)]
        self._failure = reason
        self._retry_at = self._next_try(now, reason)
        return [self._end_transition(now, reason, failed)]

    def _next_try(self, now: float, reason: str) -> float | None:
        if self._homeless is not None and reason not in (FAILED, LATE):
            return now + self._policy.rehome_retry_s
        delays = self._policy.retry_delays_s
        failures, self._failures = self._failures, self._failures + 1
        if failures < len(delays):
            return now + delays[failures]
        without_path = self._mode is CallMode.P2P or self._homeless is not None
        return now + delays[-1] if delays and without_path else None

    def _end_transition(self, now: float, reason: str, failed: frozenset[str]) -> RollBack:
        back = self._transition
        assert back is not None  # noqa: S101 - invariant: only called during a transition
        self._transition = None
        return RollBack(
            back.epoch,
            back.source,
            back.target,
            reason,
            failed,
            now - back.started,
            self._retry_at,
            self.without_path,
        )
