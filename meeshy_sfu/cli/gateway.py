"""``meeshy gateway``: looks at what a gateway left behind. Starting one is `meeshy serve gateway`."""

from pathlib import Path
from typing import Annotated

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.errors import ConfigError
from meeshy_sfu.gateway import journal

app = typer.Typer(help="Look at what a gateway left behind.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("check-events")
def check_events(
    path: Annotated[Path, typer.Argument(help="The event log, as .meeshy/events/gateway.jsonl.")],
) -> None:
    """Prove from an event log that transitions of a call never overlapped; exit code 1 if they did."""
    try:
        verdict = journal.check(journal.read(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    console.line(
        f"{verdict.calls} calls, {verdict.transitions} transitions: {verdict.completed} completed, "
        f"{verdict.rolled_back} rolled back, {verdict.cut_off} cut off, {len(verdict.problems)} problems"
    )
    if verdict.missing:
        console.notice(f"{verdict.missing} entries are missing: the log could not be written for a while")
    for problem in verdict.problems:
        console.notice(problem)
    if verdict.problems:
        raise typer.Exit(console.EXIT_ERROR)
