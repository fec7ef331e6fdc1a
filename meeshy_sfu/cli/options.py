"""Flags out of the table of settings, so that flags, variables and file keys cannot differ.

Builds signatures for Typer and reads settings the same way for every command.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from meeshy_sfu.config import SettingNames, Settings, load_settings, table
from meeshy_sfu.config_text import plain

CONFIG_HELP = "TOML file with settings; also MEESHY_CONFIG."


def with_settings(keys: Iterable[str] | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add to a command a flag for each setting but the secrets, and hand it the loaded settings.

    Secrets have no flag, because arguments can be read by every user of the machine.

    Args:
        keys: Only these settings get a flag; None gives all.
    """
    wanted = None if keys is None else set(keys)
    rows = [row for row in table() if not row.secret and (wanted is None or row.key in wanted)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            config: Path | None = arguments.pop("config")
            flags = {row.key: _given(arguments.pop(row.key)) for row in rows}
            context = arguments.get("context")
            if context is not None and context.invoked_subcommand is not None:
                if config or any(value is not None for value in flags.values()):
                    raise typer.BadParameter(f"put the options behind {context.invoked_subcommand!r}")
                return
            command(settings=read_settings(flags, config), **arguments)

        own = [
            parameter
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != "settings"
        ]
        added = [_parameter("config", Annotated[Path | None, typer.Option("--config", help=CONFIG_HELP)])]
        added += [_parameter(row.key, _option(row)) for row in rows]
        parameters = [*own, *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def read_settings(flags: dict[str, object], config: Path | None) -> Settings:
    """Load this process's settings: its environment, the working directory's .env, and what was given."""
    return load_settings(flags=flags, environ=dict(os.environ), config_file=config, directory=Path.cwd())


def as_environment(settings: Settings) -> dict[str, str]:
    """Write settings as variables for a child process, secrets included: arguments would show them."""
    values = {row.variable: plain(getattr(settings, row.key)) for row in table()}
    return {name: value for name, value in values.items() if value}


def _given(value: object) -> object:
    """Turn the empty list Typer gives for an absent flag into None."""
    return None if value in ([], ()) else value


def _option(row: SettingNames) -> object:
    default = f"{plain(row.default) or 'none'} {row.unit}".rstrip()
    text = f"{row.does} (default: {default}; {', '.join(row.variables)})"
    names = [f"{row.flag}/--no-{row.flag[2:]}"] if row.kind is bool else [row.flag]
    option = typer.Option(*names, help=text, rich_help_panel=row.group, show_default=False)
    kind: Any = row.kind
    return Annotated[kind | None if kind != list[str] else list[str] | None, option]


def _parameter(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
