"""The command line ``meeshy``: puts the commands together. Each command lives in its own module."""

import importlib
import importlib.util

import typer

from meeshy_sfu import __version__
from meeshy_sfu.cli import console, doctor, ports, serve, settings, token

OPTIONAL_COMMANDS = ("simulate", "capacity", "replay", "report", "diff", "db", "gateway")
"""Commands of their own modules, with an ``app`` or a function of the same name; added when the module is there."""

app = typer.Typer(
    name="meeshy",
    help="An SFU for group calls, and a simulator that measures it honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(serve.app, name="serve")
app.command("token")(token.token)
app.command("ports")(ports.ports)
app.command("doctor")(doctor.doctor)
app.command("settings")(settings.settings)
for _name in OPTIONAL_COMMANDS:
    if importlib.util.find_spec(f"{__name__}.{_name}") is not None:
        _module = importlib.import_module(f"{__name__}.{_name}")
        if hasattr(_module, "app"):
            app.add_typer(_module.app, name=_name)
        else:
            app.command(_name)(getattr(_module, _name))


def _show_version(asked: bool) -> None:
    if asked:
        console.line(f"meeshy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


def main(arguments: list[str] | None = None) -> int:
    """Run a command and give its exit code: 0 pass, 1 error, 2 wrong usage, 3 below the SLO, 4 void."""
    try:
        app(args=arguments, prog_name="meeshy")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else console.EXIT_PASS
    except Exception as error:  # the one place where errors become exit codes
        return console.fail(error)
    return console.EXIT_PASS
