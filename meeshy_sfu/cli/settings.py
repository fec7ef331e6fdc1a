"""``meeshy settings``: shows every setting, its value and its names; also writes the sample files."""

from typing import Annotated

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.config import Settings, table
from meeshy_sfu.config_text import plain, sample_env


@with_settings([])
def settings(
    *,
    settings: Settings,
    env: Annotated[
        bool, typer.Option("--env", help="Print a sample .env with every default instead.")
    ] = False,
) -> None:
    """Show what this configuration amounts to, and where each setting can be changed."""
    if env:
        console.line(sample_env().rstrip("\n"))
        return
    rows = []
    for row in table():
        value = getattr(settings, row.key)
        shown = ("set" if value is not None else "not set") if row.secret else plain(value) or "–"
        changed = "" if value == row.default else " *"
        does = f"{row.does} ({row.unit})" if row.unit else row.does
        rows.append(("\n  ".join((row.key, *row.variables)), shown + changed, does))
    console.table(
        "Settings (* differs from the default)",
        ("key, variables", "value", "does"),
        rows,
        whole=("key, variables",),
    )
