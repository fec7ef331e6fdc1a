"""``meeshy report``: judges a run again from its raw data. The figures are computed in simulator/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from meeshy_sfu.cli.simulate import errors_shown, show, show_suite
from meeshy_sfu.private_files import DIRECTORY_MODE


def report(
    *,
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Directory that `meeshy simulate` made.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
    with_plots: Annotated[
        bool, typer.Option("--plots", help="Write each plot as a picture, too: plots/NAME.png.")
    ] = False,
) -> None:
    """Compute every figure again from raw samples, write the report anew, and end with the verdict's code."""
    os.umask(0o777 & ~DIRECTORY_MODE)
    with errors_shown(as_json=as_json):
        from simulator.report.write import write_report
        from simulator.runs.suite import is_suite, write_suite_report

        if is_suite(run_dir):
            show_suite(
                write_suite_report(run_dir, plots="files" if with_plots else "page"), run_dir, as_json=as_json
            )
        show(write_report(run_dir, plots="files" if with_plots else "page"), run_dir, as_json=as_json)
