"""Whoever serves a database holds it: one gateway at a time, whatever machine it runs on.

An advisory lock in PostgreSQL, a locked file beside an embedded database; both end with the process that has them.
What the holder does with the database is none of this module's business.
"""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from meeshy_sfu.lock_file import HeldError, Holder, LockFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

logger = logging.getLogger(__name__)

LOCK_CLASS = 0x6D656573
"""First half of the keys of our advisory locks in PostgreSQL."""
GATEWAY_LOCK, SCHEMA_LOCK = 1, 2
WAIT_S = 2.0
"""How long the start of a gateway waits for one that is just ending."""
RETRY_S = 0.1
WATCH_INTERVAL_S = 2.0
WATCH_TIMEOUT_S = 5.0
WHAT = "the database"
REMEDY = (
    "only one gateway may serve a database: end that one first, or give this one its own by DATABASE_URL or "
    "MEESHY_STATE_DIR"
)
NAME = re.compile(r"meeshy gateway (?P<host>\S+) (?P<pid>\d+)")
# so that the server notices within half a minute that the machine of the holder is gone
KEEPALIVE = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
OTHERS = text(
    "SELECT activity.application_name FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND classid = :class AND objid = :lock AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class DatabaseHold:
    """What keeps other gateways away from a database. Release it; the end of the process does so too."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._file: LockFile | None = None
        self._connection: AsyncConnection | None = None

    @classmethod
    async def take(cls, engine: AsyncEngine, *, wait_s: float = 0.0) -> DatabaseHold:
        """Hold a database.

        Args:
            engine: Where it is.
            wait_s: How long to wait for a holder that may be ending.

        Raises:
            HeldError: Another process holds it.
            SQLAlchemyError: It cannot be reached.
        """
        hold = cls(engine)
        deadline_s = asyncio.get_running_loop().time() + wait_s
        while True:
            try:
                await hold._take()
                return hold
            except HeldError:
                if asyncio.get_running_loop().time() >= deadline_s:
                    raise
            await asyncio.sleep(RETRY_S)

    async def watch(self, on_lost: Callable[[HeldError], None]) -> None:
        """See to it that it is still held, and take it again when the connection broke.

        Args:
            on_lost: Called when another gateway holds it by now; the watch ends then.
        """
        while self._engine.dialect.name != "sqlite":
            await asyncio.sleep(WATCH_INTERVAL_S)
            try:
                async with asyncio.timeout(WATCH_TIMEOUT_S):
                    if await self._lives():
                        continue
                    await self._take()
                logger.warning("the connection that holds the database broke; it is held again")
            except HeldError as error:
                on_lost(error)
                return
            except (SQLAlchemyError, OSError) as error:
                logger.warning(
                    "the database cannot be held just now: %s", getattr(error, "orig", None) or error
                )

    async def release(self) -> None:
        """Let others have it. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def _take(self) -> None:
        if self._engine.dialect.name == "sqlite":
            name = self._engine.url.database
            if name and name != ":memory:":
                self._file = LockFile.take(Path(f"{name}.lock"), what=WHAT, remedy=REMEDY)
            return
        connection = await self._engine.connect()
        try:
            # a session of its own, without a transaction: it lasts as long as the process
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            me = Holder.this_process()
            name = f"meeshy gateway {str(me.host)[:36]} {me.pid}"
            await connection.execute(
                text("SELECT set_config('application_name', :name, false)"), {"name": name}
            )
            for setting in KEEPALIVE:
                await connection.execute(text(f"SET {setting}"))
            key = {"class": LOCK_CLASS, "lock": GATEWAY_LOCK}
            got = await connection.execute(text("SELECT pg_try_advisory_lock(:class, :lock)"), key)
            if not got.scalar_one():
                raise HeldError(WHAT, _named((await connection.execute(OTHERS, key)).scalar()), REMEDY)
        except BaseException:
            # with its name and settings it is of no use to others
            await connection.invalidate()
            await connection.close()
            raise
        self._connection = connection

    async def _lives(self) -> bool:
        if self._connection is None:
            return False
        try:
            await self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            connection, self._connection = self._connection, None
            await connection.close()
            return False
        return True


def _named(application: str | None) -> Holder:
    found = NAME.fullmatch(application or "")
    return Holder(found["host"], int(found["pid"])) if found else Holder()
