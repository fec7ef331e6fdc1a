"""What our own stack holds, before the first participant joins and after the last has left.

Looks from outside: the kernel's list of open files, /metrics, the media server's rooms, the rows of the database. Waits a
while for what closes a moment later; what is a leak is decided in analysis/leaks.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from simulator.analysis.leaks import SFU_FIELDS, is_settled
from simulator.client.media_server import Rest
from simulator.errors import SignalingError, StackError
from simulator.samples.end_state import (
    CallRow,
    ChangeRow,
    EndState,
    MetricsRow,
    ParticipantRow,
    Resources,
    Service,
)
from simulator.stack.full import GatewayStack, SupervisedService

PATIENCE_S = 20.0
"""How long resources may take to be freed: a vanished participant has a grace time, a connection is kept alive."""
_LOOK_S = 0.25
_TASKS = re.compile(r'^meeshy_asyncio_tasks\{coroutine="(?P<name>[^"]*)"\} (?P<number>\S+)$', re.M)
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
_TIMEOUT = aiohttp.ClientTimeout(total=5)


class StackInspector:
    """Look at a stack twice. :meth:`before` when it has started, :meth:`after` when all have left."""

    def __init__(self, stack: GatewayStack) -> None:
        self._stack = stack
        self._begun_s = time.time()
        self._before: dict[str, Resources] = {}

    async def before(self) -> None:
        """Record what the services hold before the first join, once the gateway is connected to the media server."""
        await self._until_connected()
        self._before = {service.name: await _resources(service) for service in self._services()}

    async def after(self, conversations: Sequence[str]) -> EndState:
        """Collect what is left of the calls of these conversations, once nothing more will close or after a while.

        Raises:
            StackError: A service does not answer.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = await self._look(conversations)
            if is_settled(found) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_LOOK_S)

    async def _until_connected(self) -> None:
        """Wait for the gateway's connection to the media server, which would count as a leak afterwards."""
        deadline = time.monotonic() + PATIENCE_S
        url = f"{self._stack.gateway.url}/ready"
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
            while time.monotonic() < deadline:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(url) as answer:
                        if all(server["events"] for server in (await answer.json())["mediaServers"]):
                            return
                await asyncio.sleep(_LOOK_S)
        raise StackError(
            "the gateway does not reach the media server; see gateway.log and media.log of the run"
        )

    def _services(self) -> tuple[SupervisedService, ...]:
        return (self._stack.media, self._stack.gateway)

    async def _look(self, conversations: Sequence[str]) -> EndState:
        resources = [(service.name, await _resources(service)) for service in self._services()]
        async with Rest(self._stack.media.url) as rest:
            try:
                answer = await rest.request("GET", "/api/rooms", self._stack.credentials.for_service())
            except SignalingError as error:
                raise StackError(f"the media server does not say which rooms are left: {error}") from error
        rooms = [str(room.get("callId")) for room in answer.get("rooms") or []]
        calls, participants, changes, metrics = await self._rows(conversations)
        return EndState(
            rooms=rooms,
            services=[
                Service(name=name, before=self._before[name], after=after) for name, after in resources
            ],
            calls=calls,
            participants=participants,
            changes=changes,
            metrics=metrics,
        )

    async def _rows(
        self, conversations: Sequence[str]
    ) -> tuple[list[CallRow], list[ParticipantRow], list[ChangeRow], list[MetricsRow]]:
        url = make_url(database_url(self._stack.gateway, os.environ))
        engine = create_async_engine(url.set(drivername=_DRIVERS[url.drivername.split("+")[0]]))
        try:
            async with engine.connect() as db:
                sessions = await _select(db, "call_sessions")
                ours = {
                    row["id"]: row
                    for row in sessions
                    if row["conversation_id"] in conversations and _unix_s(row["created_at"]) >= self._begun_s
                }
                participants = [
                    row for row in await _select(db, "call_participants") if row["call_session_id"] in ours
                ]
                metrics = [row for row in await _select(db, "call_metrics") if row["call_session_id"] in ours]
        finally:
            await engine.dispose()
        return (
            [_call(row) for row in ours.values()],
            [_participant(row) for row in participants],
            [change for row in metrics for change in _changes(row)],
            [
                MetricsRow(
                    call_id=row["call_session_id"],
                    peak_participants=row["peak_participants"],
                    total_participants=row["total_participants"],
                )
                for row in metrics
            ],
        )


def database_url(gateway: SupervisedService, environment: Mapping[str, str]) -> str:
    """Return where a run's gateway keeps its rows: the configured database, or the embedded one."""
    return environment.get("MEESHY_DATABASE_URL") or f"sqlite:///{gateway.state / 'meeshy.db'}"


async def _resources(service: SupervisedService) -> Resources:
    sockets, files, rss_bytes = await asyncio.to_thread(_of_process, service.pid)
    try:
        # A connection of its own that is closed at once, and so is not counted the next time.
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as http,
            http.get(f"{service.url}/metrics", headers={"Connection": "close"}) as answer,
        ):
            page = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StackError(f"the {service.name} service does not answer at /metrics: {error!r}") from error
    tasks = {m["name"]: int(float(m["number"])) for m in _TASKS.finditer(page)}
    return Resources(sockets=sockets, files=files, rss_bytes=rss_bytes, tasks=tasks)


def _of_process(pid: int) -> tuple[int, int, int]:
    """Return a process's open sockets, other open files and resident bytes."""
    sockets = files = 0
    for entry in Path("/proc", str(pid), "fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if str(entry.readlink()).startswith("socket:"):
                sockets += 1
            else:
                files += 1
    pages = int(Path("/proc", str(pid), "statm").read_text().split()[1])
    return sockets, files, pages * os.sysconf("SC_PAGE_SIZE")


async def _select(db: AsyncConnection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in (await db.execute(text(f"SELECT * FROM {table}"))).mappings()]  # noqa: S608


def _call(row: Mapping[str, Any]) -> CallRow:
    return CallRow(
        call_id=row["id"],
        mode=row["mode"],
        status=row["status"],
        created_at=_unix_s(row["created_at"]),
        ended_at=None if row["ended_at"] is None else _unix_s(row["ended_at"]),
        end_reason=row["end_reason"],
        sfu_room_id=row["sfu_room_id"],
        mode_change_count=int(row["mode_change_count"]),
    )


def _participant(row: Mapping[str, Any]) -> ParticipantRow:
    return ParticipantRow(
        call_id=row["call_session_id"],
        user=row["user_id"] or row["anonymous_user_id"] or "",
        status=row["status"],
        joined_at=_unix_s(row["joined_at"]),
        left_at=None if row["left_at"] is None else _unix_s(row["left_at"]),
        sfu_fields=[name for name in SFU_FIELDS if row[name] is not None],
    )


def _changes(row: Mapping[str, Any]) -> list[ChangeRow]:
    kept = row["mode_transitions"]
    transitions = json.loads(kept) if isinstance(kept, str) else kept
    return [
        ChangeRow(call_id=row["call_session_id"], old=t["from"], new=t["to"], at=_unix_s(str(t["timestamp"])))
        for t in transitions
        if t.get("success", True)
    ]


def _unix_s(value: datetime | str) -> float:
    """Read a time as the database gives it: SQLite gives text without a zone, which is UTC."""
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
