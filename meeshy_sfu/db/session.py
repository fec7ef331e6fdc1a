"""Connections: one engine per process, transactions by context manager.

Knows what SQLite and PostgreSQL need; knows no tables.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from meeshy_sfu.errors import ConfigError, StartError
from meeshy_sfu.private_files import close_to_others, make_private_directory, make_private_file

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from meeshy_sfu.config import Settings

BUSY_TIMEOUT_S = 4
"""How long SQLite waits for another writer; less than one try of a late write may take in all."""
WRITES = "meeshy_writes"
"""Execution option of engines whose transactions write."""
CONNECT_TIMEOUT_S = 5
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


def default_url(state_dir: Path) -> str:
    """The embedded database below the state directory."""
    return f"sqlite:///{(state_dir / 'meeshy.db').absolute()}"


def settings_url(settings: Settings) -> str:
    """Return the configured database's URL, or the embedded one."""
    url = settings.database_url
    return default_url(settings.state_dir) if url is None else url.get_secret_value()


def create_engine(url: str) -> AsyncEngine:
    """Open (lazily) the database at `url`: `sqlite:///path` or `postgresql://user@host/name`.

    Raises:
        ConfigError: The URL is malformed, or names a database we do not speak.
        StartError: The directory of an embedded database cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(
            "database_url is not a URL; write sqlite:///path/to/file.db or postgresql://user@host/name"
        ) from None
    driver = DRIVERS.get(parsed.drivername.split("+")[0])
    if driver is None:
        raise ConfigError(
            f"database_url names {parsed.drivername}, which is not supported; use sqlite:/// or postgresql://"
        )
    if driver.startswith("sqlite"):
        if parsed.database and parsed.database != ":memory:":
            _make_directory(Path(parsed.database).parent)
        engine = create_async_engine(parsed.set(drivername=driver), connect_args={"timeout": BUSY_TIMEOUT_S})
        if parsed.database and parsed.database != ":memory:" and not parsed.database.startswith("file:"):
            _keep_private(engine, Path(parsed.database))
        _prepare_sqlite(engine)
        return engine
    engine = create_async_engine(
        parsed.set(drivername=driver),
        pool_size=20,
        pool_pre_ping=True,
        connect_args={"timeout": CONNECT_TIMEOUT_S},
    )
    _name_refusals(engine)
    return engine


def writing(engine: AsyncEngine) -> AsyncEngine:
    """Return the same engine with transactions that write from their beginning."""
    return engine.execution_options(**{WRITES: True})


def _make_directory(path: Path) -> None:
    try:
        if not path.exists():
            # an existing one may be shared on purpose; the file in it is not
            make_private_directory(path)
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StartError(
            f"cannot make the directory {path} for the database: {error.strerror}; "
            "give this user the directory above it, or set DATABASE_URL or MEESHY_STATE_DIR"
        ) from None


def _keep_private(engine: AsyncEngine, path: Path) -> None:
    """Make the file for its owner alone before SQLite does; its -wal and -shm get the mode it has."""
    is_private = False

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _args: Any, _options: Any) -> None:
        nonlocal is_private
        if is_private:
            return
        with contextlib.suppress(OSError):
            # what is wrong with the file, SQLite says itself
            make_private_file(path)
            for suffix in ("-wal", "-shm", "-journal"):
                close_to_others(path.with_name(path.name + suffix))
            is_private = True


def _name_refusals(engine: AsyncEngine) -> None:
    """Turn a server that cannot be reached into an error of the database, like its other failures."""

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Any, _record: Any, args: Any, options: Any) -> Any:
        try:
            return dialect.connect(*args, **options)
        except OSError as error:
            raise OperationalError(None, None, error) from error


def _prepare_sqlite(engine: AsyncEngine) -> None:
    """Write-ahead log, foreign keys, and transactions that include DDL.

    The driver would open transactions late and commit before DDL; we begin them ourselves. Those of `writing` take the
    write lock at once, so that two writers wait for each other instead of failing half-way. All others only read: in
    a database with a write-ahead log they neither wait for a writer nor make one wait.
    """

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
