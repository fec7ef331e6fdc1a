"""Times as the wire has them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def iso(at: datetime) -> str: ...
@overload
def iso(at: None) -> None: ...
@overload
def iso(at: datetime | None) -> str | None: ...
def iso(at: datetime | None) -> str | None:
    """Write a time as it is on the wire: ISO 8601, UTC, milliseconds."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_s(unix_s: float) -> str:
    """Write a time given in seconds since 1970."""
    return iso(datetime.fromtimestamp(unix_s, UTC))
