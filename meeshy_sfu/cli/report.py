"""``meeshy report``: judges a run again from its raw data. The figures are computed in simulator/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.simulate import _MISSING, show, show_suite
from meeshy_sfu.private_files import DIRECTORY_MODE


def report(
    *,
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Directory that `meeshy simulate` made.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
) -> None:
    """Compute every figure again from raw samples, write the report anew, and end with the verdict's code."""
    os.umask(0o777 & ~DIRECTORY_MODE)
    try:
        from simulator.errors import SimulatorError
        from simulator.report.write import write_report
        from simulator.runs.suite import is_suite, write_suite_report
    except ModuleNotFoundError as error:
        console.notice(f"error: {_MISSING.format(error.name)}")
        raise typer.Exit(console.EXIT_USAGE) from None
    try:
        if is_suite(run_dir):
            show_suite(write_suite_report(run_dir), run_dir, as_json=as_json)
        summary = write_report(run_dir)
    except SimulatorError as error:
        console.notice(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    show(summary, run_dir, as_json=as_json)
