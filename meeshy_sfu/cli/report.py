"""``meeshy report``: judges a run again from its raw data. The figures are computed in simulator/."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from meeshy_sfu.cli.simulate import (
    checked_outputs,
    errors_shown,
    errors_written,
    parts_of,
    show,
    show_suite,
)
from meeshy_sfu.private_files import DIRECTORY_MODE


@dataclass(frozen=True, slots=True)
class _Files:
    junit: Path | None
    openmetrics: Path | None
    job_summary: bool


def report(
    *,
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Directory that `meeshy simulate` made.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
    with_plots: Annotated[
        bool, typer.Option("--plots", help="Write each plot as a picture, too: plots/NAME.png.")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="As of `meeshy simulate`.")] = None,
    job_summary: Annotated[bool, typer.Option("--job-summary", help="As of `meeshy simulate`.")] = False,
    openmetrics: Annotated[
        Path | None, typer.Option("--openmetrics", help="As of `meeshy simulate`.")
    ] = None,
) -> None:
    """Compute every figure again from raw samples, write the report anew, and end with the verdict's code."""
    os.umask(0o777 & ~DIRECTORY_MODE)
    with errors_shown(as_json=as_json):
        from simulator.report.write import write_report
        from simulator.runs.suite import is_suite, write_suite_report

        outputs = checked_outputs(_Files(junit, openmetrics, job_summary))
        page = run_dir / "report.html"
        with errors_written(outputs, run_dir.name):
            if is_suite(run_dir):
                whole = write_suite_report(run_dir, plots="files" if with_plots else "page")
                outputs.write(parts_of(whole), page)
                show_suite(whole, run_dir, as_json=as_json)
            summary = write_report(run_dir, plots="files" if with_plots else "page")
            outputs.write([("", None, summary)], page)
            show(summary, run_dir, as_json=as_json)
