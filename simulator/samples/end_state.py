"""The end state of a run: what its services and its database hold before the first join and after the last leave.

Only the shape of end_state.json. stack/inspector.py collects it, analysis/leaks.py judges it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

FILE = "end_state.json"
_FORMER_FILE = "aftermath.json"
"""What runs recorded before this file was renamed have instead; `meeshy report` still reads it."""
SOCKETS, FILES, TASKS = 10, 30, 10
"""By how much a service may hold more than at its start: keep-alive connections, and database connections with
their files. A leak grows with every participant who joins and leaves."""


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Resources(_Object):
    """What one service process holds at one moment."""

    sockets: int
    files: int
    """Open files other than sockets."""
    rss_bytes: int
    tasks: dict[str, int]
    """Tasks of its event loop, by the coroutine they run."""


class Service(_Object):
    """One service, before the first join and after the last leave."""

    name: str
    before: Resources
    after: Resources


class CallRow(_Object):
    """A row of `call_sessions`."""

    call_id: str
    mode: str
    status: str
    created_at: float
    """Times are Unix seconds."""
    ended_at: float | None
    end_reason: str | None
    sfu_room_id: str | None
    mode_change_count: int


class ParticipantRow(_Object):
    """A row of `call_participants`."""

    call_id: str
    user: str
    status: str
    joined_at: float
    left_at: float | None
    sfu_fields: list[str]
    """Names of the columns with media-server ids that are not null."""


class ChangeRow(_Object):
    """A mode change, as `call_metrics` lists it."""

    call_id: str
    old: str
    new: str
    at: float


class MetricsRow(_Object):
    """Counters of a row of `call_metrics`."""

    call_id: str
    peak_participants: int | None
    total_participants: int | None


class EndState(_Object):
    """Everything the inspector found."""

    rooms: list[str]
    """Calls that still have a room on the media server."""
    services: list[Service]
    calls: list[CallRow]
    participants: list[ParticipantRow] = Field(validation_alias=AliasChoices("participants", "people"))
    changes: list[ChangeRow]
    metrics: list[MetricsRow]

    @classmethod
    def read(cls, directory: Path) -> EndState | None:
        """Read the end state of a recorded run; None if it was not inspected."""
        for name in (FILE, _FORMER_FILE):
            path = directory / name
            if path.is_file():
                return cls.model_validate_json(path.read_text(encoding="utf-8"))
        return None
