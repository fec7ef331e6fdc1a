"""``meeshy db``: shows and changes the schema revision of the gateway's database.

The revisions are in db/migrations; `meeshy serve` upgrades by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.config import Settings
from meeshy_sfu.errors import StartError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

app = typer.Typer(help="Show and change the schema revision of the gateway's database.", no_args_is_help=True)
SETTINGS = ["state_dir"]
FORCE = Annotated[
    bool,
    typer.Option("--force", help="Even while a gateway uses the database; that gateway fails from then on."),
]
Result = TypeVar("Result")


@app.command()
@with_settings(SETTINGS)
def upgrade(
    *,
    settings: Settings,
    revision: Annotated[str, typer.Argument(help="Revision to upgrade to.")] = "head",
) -> None:
    """Upgrade the database to the newest revision, or to this one."""
    from meeshy_sfu.db import schema  # noqa: PLC0415

    before, after = _run(settings, lambda engine: schema.upgrade(engine, revision))
    console.line(f"{before or 'empty'} -> {after or 'empty'}")


@app.command()
@with_settings(SETTINGS)
def downgrade(
    *,
    settings: Settings,
    revision: Annotated[str, typer.Argument(help="Revision to downgrade to; base for an empty database.")],
    force: FORCE = False,
) -> None:
    """Downgrade the database to a revision; data in tables and columns that remain is kept."""
    from meeshy_sfu.db import schema  # noqa: PLC0415

    before, after = _run(settings, _alone(lambda engine: schema.downgrade(engine, revision), force=force))
    console.line(f"{before or 'empty'} -> {after or 'empty'}")


@app.command()
@with_settings(SETTINGS)
def current(*, settings: Settings) -> None:
    """Print the revision of the database, and the one this program needs."""
    from meeshy_sfu.db import schema  # noqa: PLC0415

    found = _run(settings, schema.current)
    console.line(f"{found or 'empty'} (needs {schema.head()})")


@app.command()
@with_settings(SETTINGS)
def check(*, settings: Settings) -> None:
    """Check that the database has the revision this program needs; exit code 1 if not."""
    from meeshy_sfu.db import schema  # noqa: PLC0415

    problem = _run(settings, schema.check)
    if problem is not None:
        console.notice(f"error: {problem}")
        raise typer.Exit(console.EXIT_ERROR)
    console.line("the database is up to date")


@app.command()
@with_settings(SETTINGS)
def stamp(
    *,
    settings: Settings,
    revision: Annotated[str, typer.Argument(help="Revision to record.")],
    force: FORCE = False,
) -> None:
    """Record a revision as that of the database, without changing its tables."""
    from meeshy_sfu.db import schema  # noqa: PLC0415

    _run(settings, _alone(lambda engine: schema.stamp(engine, revision), force=force))
    console.line(f"marked as {revision}")


def _alone(
    work: "Callable[[AsyncEngine], Awaitable[Result]]", *, force: bool
) -> "Callable[[AsyncEngine], Awaitable[Result]]":
    """Hold the lock of the database during the work; refuse if a gateway holds it."""
    from meeshy_sfu.db.hold import DatabaseHold  # noqa: PLC0415
    from meeshy_sfu.lock_file import HeldError  # noqa: PLC0415

    async def go(engine: "AsyncEngine") -> Result:
        if force:
            return await work(engine)
        try:
            held = await DatabaseHold.take(engine)
        except HeldError as error:
            raise StartError(
                f"the database is in use by the gateway of {error.holder}; end that first, or use --force"
            ) from None
        try:
            return await work(engine)
        finally:
            await held.release()

    return go


def _run(settings: Settings, work: "Callable[[AsyncEngine], Awaitable[Result]]") -> Result:
    # imported only here, because the other commands need not wait for it
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from meeshy_sfu.db.session import create_engine, settings_url  # noqa: PLC0415

    async def go() -> Result:
        engine = create_engine(settings_url(settings))
        try:
            return await work(engine)
        except (SQLAlchemyError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error)
            raise StartError(f"the database cannot be used: {reason}; check database_url") from error
        finally:
            await engine.dispose()

    return asyncio.run(go())
