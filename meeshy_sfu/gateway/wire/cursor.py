"""Cursors of pages of calls: opaque to clients, they encode the last call of a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meeshy_sfu.errors import InvalidRequestError

if TYPE_CHECKING:
    from meeshy_sfu.db.models import Call

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR = re.compile(r"(?P<at>[0-9]{1,16})\.(?P<id>[A-Za-z0-9_.:-]{1,64})", re.ASCII)
"""Microseconds since 1970 and the id of the last call."""


def cursor_after(call: Call) -> str:
    """Return the cursor of the page after this call."""
    return f"{(call.created_at - EPOCH) // timedelta(microseconds=1)}.{call.id}"


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Return creation time and id of the call a cursor encodes.

    Raises:
        InvalidRequestError: It is not a cursor that this API returned.
    """
    found = CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidRequestError("must be the nextCursor of the previous page", path="cursor")
    return EPOCH + timedelta(microseconds=int(found["at"])), found["id"]
