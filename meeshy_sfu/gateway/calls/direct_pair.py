"""Which two of a call talk directly, by what the database holds of it.

Pure: follows who came and went and how the mode changed, as `mode` did while it happened. Only for calls that a gateway takes
up after a restart.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meeshy_sfu.gateway.calls.mode import P2P_PARTICIPANTS_MAX, CallMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meeshy_sfu.db.models import Participant

CAME, WENT, CHANGED = "came", "went", "changed"


def direct_pair(
    participants: Iterable[Participant], transitions: Iterable[Mapping[str, Any]]
) -> frozenset[str]:
    """Return the two who have a direct path, or nobody.

    Args:
        participants: Everybody who was in the call, also those who left.
        transitions: As they are kept in the call's metrics.
    """
    changes = [one for one in transitions if one.get("success", True)]
    mode = changes[0]["from"] if changes else CallMode.P2P
    here: set[str] = set()
    pair: frozenset[str] = frozenset()
    for _, what, value in sorted(_history(participants, changes)):
        if what == CAME:
            here.add(value)
        elif what == WENT:
            here.discard(value)
        else:
            mode, pair = value, frozenset()
        if mode == CallMode.SFU or not pair <= here:
            pair = frozenset()
        elif what != WENT and len(here) == P2P_PARTICIPANTS_MAX:
            pair = frozenset(here)
    return pair


def _history(
    participants: Iterable[Participant], changes: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[datetime, str, str]]:
    for person in participants:
        yield person.joined_at, CAME, person.id
        if person.left_at is not None:
            yield person.left_at, WENT, person.id
    for change in changes:
        yield datetime.fromisoformat(change["timestamp"]), CHANGED, change["to"]
