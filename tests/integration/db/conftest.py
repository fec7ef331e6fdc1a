from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from meeshy_sfu.db import schema
from meeshy_sfu.db.repository import Repository
from meeshy_sfu.db.session import create_engine

from .databases import PostgresServer, postgres, postgres_programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    if postgres_programs() is None:
        reason = "PostgreSQL is missing: sudo apt-get install -y postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'calls.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def calls(engine: AsyncEngine) -> Repository:
    await schema.upgrade(engine)
    return Repository(engine)
