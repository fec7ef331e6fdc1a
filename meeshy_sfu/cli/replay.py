"""``meeshy replay``: repeats a recorded run: its scenario, its seed, what was done when.

Reads what was run; running it is in simulate.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meeshy_sfu.cli.simulate import errors_shown, run_and_show
from meeshy_sfu.cli.simulate_options import SimulateOptions, StateDirectory
from meeshy_sfu.private_files import make_new_files_private


def replay(
    *,
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Directory that `meeshy simulate` made.")
    ],
    server: Annotated[
        str | None, typer.Option("--server", help="As of `meeshy simulate`; it is not recorded.")
    ] = None,
    token_command: Annotated[
        str | None, typer.Option("--token-command", help="As of `meeshy simulate`; it is not recorded.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run directory to make; default: a new one in the state directory."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
    state_dir: StateDirectory = Path(".meeshy"),
) -> None:
    """Run again what a run did: the same scenario with the same seed, into a directory of its own."""
    make_new_files_private()
    with errors_shown(as_json=as_json):
        from simulator.runs.suite import recorded

        options = SimulateOptions(
            scenario=str(run_dir),
            server=server,
            token_command=token_command,
            out=out,
            as_json=as_json,
            state_dir=state_dir,
        )
        run_and_show(recorded(run_dir), options)
