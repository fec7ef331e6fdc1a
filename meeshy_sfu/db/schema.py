"""The version of a database: which it has, which we need, and the way between.

Runs Alembic's revisions of `migrations/versions`; knows no rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect, text

from meeshy_sfu.db.hold import LOCK_CLASS, SCHEMA_LOCK
from meeshy_sfu.db.session import writing
from meeshy_sfu.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

PHASE_1A = "phase_1a"
GATEWAY_IDENTITY = "gateway_identity"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The revision this program needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - invariant: the package holds its revisions
    return revision


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def current(engine: AsyncEngine) -> str | None:
    """The revision the database has; None if it is empty."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


def _queue(connection: Connection) -> None:
    """Wait until no other process changes the schema; SQLite's transactions that write do so by themselves."""
    if connection.dialect.name == "sqlite":
        return
    key = {"class": LOCK_CLASS, "lock": SCHEMA_LOCK}
    connection.execute(text("SELECT pg_advisory_xact_lock(:class, :lock)"), key)


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision not in _known():
        raise ConfigError(
            f"the database has revision {revision!r}, which this version does not know (it needs {head()!r}): it was "
            "upgraded by a newer meeshy-sfu; install that version, or downgrade the database with it first"
        )


async def upgrade(engine: AsyncEngine, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the database to `revision` in one transaction; returns the revisions before and after.

    Raises:
        ConfigError: The database is newer than this program, holds foreign tables under our names, or the
            revision does not exist.
    """

    def run(connection: Connection) -> tuple[str | None, str | None]:
        _queue(connection)
        before = _current(connection)
        _refuse_newer(before)
        if before is None and inspect(connection).has_table("call_sessions"):
            raise ConfigError(
                "the database has a table call_sessions but no revision; if it is a Phase 1A database, mark it with "
                f"`meeshy db stamp {PHASE_1A}` and upgrade again"
            )
        _guard(lambda: command.upgrade(_config(connection), revision))
        return before, _current(connection)

    async with writing(engine).begin() as connection:
        return await connection.run_sync(run)


async def downgrade(engine: AsyncEngine, revision: str) -> tuple[str | None, str | None]:
    """Take the database back to `revision` (`base` for empty); data of what stays is kept.

    Raises:
        ConfigError: The database is newer than this program, or the revision does not exist.
    """

    def run(connection: Connection) -> tuple[str | None, str | None]:
        _queue(connection)
        before = _current(connection)
        _refuse_newer(before)
        _guard(lambda: command.downgrade(_config(connection), revision))
        return before, _current(connection)

    async with writing(engine).begin() as connection:
        return await connection.run_sync(run)


async def stamp(engine: AsyncEngine, revision: str) -> None:
    """Say that the database has `revision` without touching its tables.

    Raises:
        ConfigError: The revision does not exist.
    """

    def run(connection: Connection) -> None:
        _queue(connection)
        _guard(lambda: command.stamp(_config(connection), revision))

    async with writing(engine).begin() as connection:
        await connection.run_sync(run)


async def check(engine: AsyncEngine) -> str | None:
    """Say what is wrong with the database's version, or None if it is the one we need."""
    revision = await current(engine)
    if revision == head():
        return None
    if revision is None:
        return "the database is empty; run `meeshy db upgrade`"
    try:
        _refuse_newer(revision)
    except ConfigError as error:
        return str(error)
    return f"the database has revision {revision!r} and needs {head()!r}; run `meeshy db upgrade`"


def _guard(run: object) -> None:
    try:
        run()  # type: ignore[operator]
    except CommandError as error:
        raise ConfigError(f"{error}; known revisions: {', '.join(sorted(_known()))}") from error
