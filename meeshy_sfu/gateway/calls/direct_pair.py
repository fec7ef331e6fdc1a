"""Which two participants of a call have a direct path, by what the database holds of it.

Pure: follows who joined and left and how the mode changed, as `mode` did while it happened. Only for calls that a gateway takes
up after a restart.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meeshy_sfu.gateway.calls.call_mode import P2P_PARTICIPANTS_MAX, CallMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meeshy_sfu.db.models import Participant

JOINED, LEFT, CHANGED = "joined", "left", "changed"


def direct_pair(
    participants: Iterable[Participant], transitions: Iterable[Mapping[str, Any]]
) -> frozenset[str]:
    """Return the two participants with a direct path, or an empty set.

    Args:
        participants: All who were in the call, also those who left.
        transitions: As they are kept in the call's metrics.
    """
    changes = [one for one in transitions if one.get("success", True)]
    mode = changes[0]["from"] if changes else CallMode.P2P
    here: set[str] = set()
    pair: frozenset[str] = frozenset()
    for _, what, value in sorted(_history(participants, changes)):
        if what == JOINED:
            here.add(value)
        elif what == LEFT:
            here.discard(value)
        else:
            mode, pair = value, frozenset()
        if mode == CallMode.SFU or not pair <= here:
            pair = frozenset()
        elif what != LEFT and len(here) == P2P_PARTICIPANTS_MAX:
            pair = frozenset(here)
    return pair


def _history(
    participants: Iterable[Participant], changes: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[datetime, str, str]]:
    for participant in participants:
        yield participant.joined_at, JOINED, participant.id
        if participant.left_at is not None:
            yield participant.left_at, LEFT, participant.id
    for change in changes:
        yield datetime.fromisoformat(change["timestamp"]), CHANGED, change["to"]
