"""Everything the command line prints, and the exit code of every failure.

The only module that prints; results go to standard output, problems to standard error.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from meeshy_sfu.errors import ConfigError, MeeshyError, StartError

EXIT_PASS = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# Without emoji codes: 2001:db8:a::1 has one in it.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def line(text: str = "") -> None:
    """Print a line as it is, tabs included, so that it can be piped."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def data(value: object) -> None:
    """Print a value as JSON, for programs."""
    line(json.dumps(value, indent=2, ensure_ascii=False))


def notice(text: str) -> None:
    """Print a line on standard error, so that standard output holds data alone."""
    err.print(text, markup=False)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[str] = ()
) -> None:
    """Print a table; the columns named in ``whole`` are never broken while the others can give way."""
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    out.print(grid)


def fail(error: BaseException) -> int:
    """Say what went wrong and give the exit code that belongs to it."""
    match error:
        case ConfigError():
            notice(f"error: {error.message}")
            return EXIT_USAGE
        case StartError() | MeeshyError():
            notice(f"error: {error.message}")
            return EXIT_ERROR
        case BrokenPipeError():
            # whoever read our output has gone; keep the interpreter from complaining at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_ERROR
        case _:
            # an unexpected error: the traceback is needed
            notice("".join(traceback.format_exception(error)).rstrip())
            return EXIT_ERROR
