"""What a run found when everybody had left: rooms, open sockets, jobs, and the rows of the database.

The shape alone, as written to aftermath.json; taken by stack/inspector.py, judged by analysis/leaks.py.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = "aftermath.json"
SOCKETS, FILES, TASKS = 10, 30, 10
"""By how much a service may hold more than at its start: connections kept for the next request, and those to the
database with their files. A leak grows with every person who comes and goes."""


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Stock(_Object):
    """What one service holds at a moment."""

    sockets: int
    files: int
    """Open files that are no sockets."""
    rss_bytes: int
    tasks: dict[str, int]
    """Jobs of its event loop, by the coroutine they run."""


class Service(_Object):
    """One service, before anybody came and after everybody had left."""

    name: str
    before: Stock
    after: Stock


class CallRow(_Object):
    """A call as the database has it."""

    call_id: str
    mode: str
    status: str
    created_at: float
    """Times are Unix seconds."""
    ended_at: float | None
    end_reason: str | None
    sfu_room_id: str | None
    mode_change_count: int


class PersonRow(_Object):
    """Somebody in a call as the database has it."""

    call_id: str
    user: str
    status: str
    joined_at: float
    left_at: float | None
    sfu_fields: list[str]
    """Names of the media server's ids that are not null."""


class ChangeRow(_Object):
    """A change of mode as the database has it."""

    call_id: str
    old: str
    new: str
    at: float


class MetricsRow(_Object):
    """Counters of a call as the database has them."""

    call_id: str
    peak_participants: int | None
    total_participants: int | None


class Aftermath(_Object):
    """Everything that was found."""

    rooms: list[str]
    """Calls that still have a room on the media server."""
    services: list[Service]
    calls: list[CallRow]
    people: list[PersonRow]
    changes: list[ChangeRow]
    metrics: list[MetricsRow]

    @classmethod
    def read(cls, directory: Path) -> Aftermath | None:
        """Read what a run wrote; None if it took no stock."""
        path = directory / FILE
        return cls.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None
