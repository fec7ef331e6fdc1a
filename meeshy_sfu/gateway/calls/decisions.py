"""Decisions of the mode machine (`mode`), and the reasons they name. They are carried out by `switching`."""

from __future__ import annotations

from dataclasses import dataclass

from meeshy_sfu.gateway.calls.call_mode import CallMode


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
    """The new path carries the media: notify all participants, then close the old one.

    `missing` have not confirmed (newcomers without an old path to fall back on); they may still follow.
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
    """The old path stays: notify all participants, then close what was made of the new one.

    `waiting` are served by no path until the next try, at `retry_at` (None if there is none).
    """

    epoch: int
    source: CallMode
    target: CallMode
    reason: str
    failed: frozenset[str]
    duration_s: float
    retry_at: float | None = None
    waiting: frozenset[str] = frozenset()


Decision = StartSwitch | CompleteSwitch | RollBack

SUPERSEDED = "superseded"
"""Why a transition ends that is not wanted any more."""
JOINED, LEFT, RESTART, RETRY, MANUAL = "participant_joined", "participant_left", "restart", "retry", "manual"
"""Why a transition begins; another reason is how a room was lost."""
NOBODY_CAME = "expected_participants_absent"
NO_SFU = "sfu-unavailable"
"""Why a transition fails that could not be announced in time."""
FAILED, LATE = "participant_failed", "deadline"
"""Why a transition fails that was announced."""
